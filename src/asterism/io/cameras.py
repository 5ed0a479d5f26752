"""Calibrated cameras in files: our JSON, and anipose's TOML.

Both hold one entry per camera with `name`, `size`, `matrix` (3 x 3 intrinsics), `rotation` and `translation`
(from the world to the camera, OpenCV's axes) and `distortions` (k1, k2, p1, p2, k3). In JSON they are in the
list `cameras`, `rotation` is a 3 x 3 matrix and `size` is [height, width]. Anipose's tables are called cam_0,
cam_1, ...; `rotation` is a Rodrigues vector and `size` is [width, height].
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from asterism.errors import BadAnnotation
from asterism.io.atomic import write_json
from asterism.io.fields import Entry, as_object, entries, kind, read_json

_ROUND = 1e-3  # how far a written rotation may be from one: files keep few digits


@dataclass(frozen=True, kw_only=True)
class CameraTable:
    """V cameras; lengths are in the file's unit. `sizes` are (h, w), None where the file does not say."""

    names: tuple[str, ...]
    intrinsics: NDArray[np.float64]  # V 3 3
    cam_from_world: NDArray[np.float64]  # V 3 4
    distortion: NDArray[np.float64]  # V 5
    sizes: tuple[tuple[int, int] | None, ...]
    source: str = ""

    def __len__(self) -> int:
        return len(self.names)


def read_cameras(path: str | Path) -> CameraTable:
    """The cameras of a .json or .toml file. Raises BadAnnotation naming the file and the field."""
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".json":
        document = as_object(path, read_json(path), "the file")
        found = [(f"cameras[{i}]", entry) for i, entry in enumerate(entries(path, document, "cameras"))]
        return _table(path, [_camera(path, field, entry) for field, entry in found])
    if suffix == ".toml":
        found = [(name, entry) for name, entry in _toml(path).items() if name != "metadata"]
        return _table(path, [_anipose(path, name, as_object(path, entry, name)) for name, entry in found])
    raise BadAnnotation(f"{path}: cameras are read from .json and from anipose's .toml")


def write_cameras(path: str | Path, table: CameraTable) -> None:
    """Write our JSON; numbers are read back exactly."""
    cameras = []
    for v, name in enumerate(table.names):
        entry: dict[str, Any] = {"name": name, "matrix": table.intrinsics[v].tolist()}
        entry |= {"rotation": table.cam_from_world[v, :, :3].tolist()}
        entry |= {"translation": table.cam_from_world[v, :, 3].tolist()}
        entry |= {"distortions": table.distortion[v].tolist()}
        size = table.sizes[v]
        cameras.append(entry if size is None else entry | {"size": list(size)})
    write_json(path, {"cameras": cameras})


@dataclass(frozen=True, kw_only=True)
class _Camera:
    name: str
    matrix: NDArray[np.float64]
    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]
    distortion: NDArray[np.float64]
    size: tuple[int, int] | None


def _table(path: Path, cameras: list[_Camera]) -> CameraTable:
    if len(cameras) < 2:
        raise BadAnnotation(f"{path}: {len(cameras)} cameras; points in space want at least 2")
    names = [each.name for each in cameras]
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise BadAnnotation(f"{path}: name: {twice} occur twice; every camera needs a name of its own")
    poses = [np.concatenate([each.rotation, each.translation[:, None]], axis=1) for each in cameras]
    return CameraTable(
        names=tuple(names),
        intrinsics=np.stack([each.matrix for each in cameras]),
        cam_from_world=np.stack(poses),
        distortion=np.stack([each.distortion for each in cameras]),
        sizes=tuple(each.size for each in cameras),
        source=str(path),
    )


def _camera(path: Path, field: str, entry: Entry) -> _Camera:
    rotation = _array(path, entry, field, "rotation", (3, 3))
    off = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
    if off > _ROUND or np.linalg.det(rotation) < 0:
        raise BadAnnotation(
            f"{path}: {field}.rotation: is no rotation (R R' differs from 1 by {off:.2g}, determinant "
            f"{np.linalg.det(rotation):.2g}); wanted the 3 x 3 matrix from the world to the camera"
        )
    return _common(path, field, entry, rotation, flipped=False)


def _anipose(path: Path, field: str, entry: Entry) -> _Camera:
    if entry.get("fisheye"):
        raise BadAnnotation(
            f"{path}: {field}.fisheye: is true; only cameras with (k1, k2, p1, p2, k3) are read"
        )
    turn = _array(path, entry, field, "rotation", (3,))
    return _common(path, field, entry, Rotation.from_rotvec(turn).as_matrix(), flipped=True)


def _common(path: Path, field: str, entry: Entry, rotation: NDArray[np.float64], flipped: bool) -> _Camera:
    """`flipped` sizes are (width, height)."""
    name = entry.get("name", field)
    if not isinstance(name, str) or not name:
        raise BadAnnotation(f"{path}: {field}.name: wanted a name, found {kind(name)}")
    matrix = _array(path, entry, field, "matrix", (3, 3))
    if not np.array_equal(matrix[2], [0, 0, 1]) or matrix[1, 0] != 0 or min(matrix[0, 0], matrix[1, 1]) <= 0:
        rows = ", ".join(str(row) for row in matrix.tolist())
        raise BadAnnotation(
            f"{path}: {field}.matrix: wanted [fx, s, cx], [0, fy, cy], [0, 0, 1] with positive fx and fy, "
            f"found {rows}"
        )
    return _Camera(
        name=name,
        matrix=matrix,
        rotation=rotation,
        translation=_array(path, entry, field, "translation", (3,)),
        distortion=_distortion(path, entry, field),
        size=_size(path, entry, field, flipped),
    )


def _distortion(path: Path, entry: Entry, field: str) -> NDArray[np.float64]:
    given = entry.get("distortions", [0.0] * 5)
    if isinstance(given, list) and len(given) == 4:
        given = [*given, 0.0]
    return _array(path, {"distortions": given}, field, "distortions", (5,))


def _size(path: Path, entry: Entry, field: str, flipped: bool) -> tuple[int, int] | None:
    if "size" not in entry:
        return None
    a, b = _array(path, entry, field, "size", (2,)).tolist()
    if min(a, b) < 1 or a != int(a) or b != int(b):
        raise BadAnnotation(f"{path}: {field}.size: wanted two whole numbers above zero, found {a:g}, {b:g}")
    return (int(b), int(a)) if flipped else (int(a), int(b))


def _array(path: Path, entry: Entry, field: str, key: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Finite numbers of this shape. Raises BadAnnotation naming the field."""
    wanted = " x ".join(map(str, shape)) + " finite numbers"
    if key not in entry:
        raise BadAnnotation(f"{path}: {field}.{key}: is missing; wanted {wanted}")
    try:
        found = np.asarray(entry[key], dtype=np.float64)
    except (TypeError, ValueError):
        raise BadAnnotation(f"{path}: {field}.{key}: wanted {wanted}, found {kind(entry[key])}") from None
    if found.shape != shape:
        given = " x ".join(map(str, found.shape)) or kind(entry[key])
        raise BadAnnotation(f"{path}: {field}.{key}: wanted {wanted}, found {given}")
    if not np.isfinite(found).all():
        raise BadAnnotation(f"{path}: {field}.{key}: wanted {wanted}, found {found.tolist()}")
    return found


def _toml(path: Path) -> Entry:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadAnnotation(f"{path}: does not exist") from error
    except (OSError, ValueError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise BadAnnotation(f"{path}: cannot be read as TOML ({error})") from error
