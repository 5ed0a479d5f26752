"""Cameras in our JSON and in the TOML of anipose and Pose2Sim.

All hold one entry per camera with `name`, `size`, `matrix` (3 x 3 intrinsics), `rotation` and `translation`
(from the world to the camera, OpenCV's axes) and `distortions` (k1, k2, p1, p2, k3; or the first four). In
JSON they are in the list `cameras`, `rotation` is a 3 x 3 matrix and `size` is [height, width]. In TOML every
table but `metadata` is a camera (anipose's are cam_0, cam_1, ...; Pose2Sim's are called as it likes);
`rotation` is a Rodrigues vector and `size` is [width, height]. Pixels are taken as they stand: both begin
with OpenCV's.
"""

import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from asterism.errors import BadAnnotation
from asterism.io.atomic import write_json, write_text
from asterism.io.camera_table import (
    TERMS,
    Camera,
    CameraTable,
    array,
    as_table,
    matrix_of,
    name_of,
    rotation_of,
    size_of,
)
from asterism.io.fields import Entry, as_object, entries, read_json


def read_json_cameras(path: Path) -> CameraTable:
    """Our JSON. Raises BadAnnotation naming the file and the field."""
    document = as_object(path, read_json(path), "the file")
    found = [(f"cameras[{i}]", entry) for i, entry in enumerate(entries(path, document, "cameras"))]
    return as_table(
        path, [_camera(path, f, e, rotation_of(path, e, f, "rotation"), flipped=False) for f, e in found]
    )


def write_json_cameras(path: str | Path, table: CameraTable) -> None:
    """Numbers are read back exactly."""
    cameras = []
    for v, name in enumerate(table.names):
        entry: dict[str, Any] = {"name": name, "matrix": table.intrinsics[v].tolist()}
        entry |= {"rotation": table.cam_from_world[v, :, :3].tolist()}
        entry |= {"translation": table.cam_from_world[v, :, 3].tolist()}
        entry |= {"distortions": table.distortion[v].tolist()}
        size = table.sizes[v]
        cameras.append(entry if size is None else entry | {"size": list(size)})
    write_json(path, {"cameras": cameras})


def read_toml_cameras(path: Path) -> CameraTable:
    """Anipose's and Pose2Sim's TOML. Raises BadAnnotation naming the file and the field."""
    cameras = []
    for field, value in _toml(path).items():
        if field == "metadata":
            continue
        entry = as_object(path, value, field)
        if entry.get("fisheye"):
            raise BadAnnotation(
                f"{path}: {field}.fisheye: is true; only cameras with (k1, k2, p1, p2, k3) are read"
            )
        turn = Rotation.from_rotvec(array(path, entry, field, "rotation", (3,))).as_matrix()
        cameras.append(_camera(path, field, entry, turn, flipped=True))
    return as_table(path, cameras)


def write_toml_cameras(path: str | Path, table: CameraTable) -> None:
    """A TOML that anipose, Pose2Sim and this library read."""
    turns = Rotation.from_matrix(table.cam_from_world[:, :, :3]).as_rotvec()
    lines: list[str] = []
    for v, name in enumerate(table.names):
        size = table.sizes[v]
        lines += [f"[cam_{v}]", f"name = {json.dumps(name)}"]
        lines += [] if size is None else [f"size = [{size[1]}, {size[0]}]"]
        lines += [f"matrix = {table.intrinsics[v].tolist()}", f"distortions = {table.distortion[v].tolist()}"]
        lines += [
            f"rotation = {turns[v].tolist()}",
            f"translation = {table.cam_from_world[v, :, 3].tolist()}",
        ]
        lines += ["fisheye = false", ""]
    write_text(path, "\n".join([*lines, "[metadata]", ""]))


def _camera(path: Path, field: str, entry: Entry, rotation: NDArray[np.float64], *, flipped: bool) -> Camera:
    given = entry.get("distortions", [0.0] * TERMS)
    if isinstance(given, list) and len(given) == TERMS - 1:
        given = [*given, 0.0]
    return Camera(
        name=name_of(path, entry, field),
        matrix=matrix_of(path, entry, field, "matrix"),
        rotation=rotation,
        translation=array(path, entry, field, "translation", (3,)),
        distortion=array(path, {"distortions": given}, field, "distortions", (TERMS,)),
        size=size_of(path, entry["size"], field, flipped=flipped) if "size" in entry else None,
    )


def _toml(path: Path) -> Entry:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadAnnotation(f"{path}: does not exist") from error
    except (OSError, ValueError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise BadAnnotation(f"{path}: cannot be read as TOML ({error})") from error
