"""MPII human pose: the MATLAB release, the JSON lists made of it, and the .h5 of the stacked hourglass.

All of them count the first pixel as 1, because the release is MATLAB's and the exports keep its numbers
(the same people have the same numbers in HRNet's JSON and the hourglass' .h5): 1 is subtracted. HRNet does so
when it loads; code that does not is a pixel off.

The box is what the users of MPII cut out: the square of side 200 x scale around the centre. The .h5 has had
15 x scale added to the centre's y and its scale multiplied by 1.25; that is undone, so that the three agree.
Its numbers are cut to whole ones, which moves neck and head top by up to a pixel.
A joint that is labelled and not visible is told apart in the release and the .h5 only. Head sizes for PCKh
(`normalize`, the head box) are not part of a table.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asterism.errors import BadAnnotation
from asterism.io.fields import as_object, kind, numbers
from asterism.io.labelled import labelled_table, placed
from asterism.io.matlab import as_list, read_mat
from asterism.io.skeleton import published
from asterism.io.sleap import require_h5py
from asterism.io.table import KeypointTable

_FIRST = 1.0  # what MATLAB calls the first pixel
_SIDE = 200.0  # a person of scale 1 is 200 pixels high (readme of the release)
_PADDED, _LOWERED = 1.25, 15.0  # what the hourglass' .h5 did to scale and centre


def read_mpii_json(path: str | Path, found: list[Any]) -> KeypointTable:
    """HRNet's list (image, joints, joints_vis, center, scale), or the one with img_paths and joint_self."""
    joints, names, frames = [], [], []
    for i, row in enumerate(found):
        row = as_object(path, row, f"[{i}]")
        name = row.get("image", row.get("img_paths"))
        if not isinstance(name, str) or not name:
            raise BadAnnotation(f"{path}: [{i}].image: wanted a file's name, found {kind(name)}")
        names.append(name)
        joints.append(_joints(path, i, row))
        centre = row.get("center", row.get("objpos", [0, 0]))
        scale = row.get("scale", row.get("scale_provided", 0))
        field = "center" if "center" in row else "objpos"
        frames.append(
            [*numbers(path, centre, f"[{i}].{field}", 2), *numbers(path, [scale], f"[{i}].scale", 1)]
        )
    values, frame = np.array(joints, dtype=np.float64).reshape(-1, 16, 3), np.array(frames, dtype=np.float64)
    images, image = placed(names)
    labelled = (values[..., 2] > 0) & (values[..., :2] > 0).any(-1)
    box = _box(frame[:, :2], frame[:, 2])
    return labelled_table(
        path, published("mpii-16"), images, image, values[..., :2] - _FIRST, labelled, box=box
    )


def read_mpii_h5(path: str | Path) -> KeypointTable:
    """valid.h5 or train.h5 of the stacked hourglass. A joint at (0, 0) is not labelled. Needs h5py."""
    h5py = require_h5py(f"reading {path}")
    wanted = ("imgname", "part", "visible", "center", "scale")
    try:
        with h5py.File(path, "r") as file:
            if missing := [name for name in wanted if name not in file]:
                raise BadAnnotation(
                    f"{path}: has no '{missing[0]}'; wanted MPII's {', '.join(wanted)} (DeepLabCut's "
                    f".h5 must "
                    "be saved as .csv)"
                )
            held = {name: np.asarray(file[name][:]) for name in wanted}
    except (OSError, TypeError, ValueError) as error:
        raise BadAnnotation(f"{path}: cannot be read as HDF5 ({error})") from error
    n = len(held["imgname"])
    for name, shape in {"part": (n, 16, 2), "visible": (n, 16), "center": (n, 2), "scale": (n,)}.items():
        if held[name].shape != shape:
            raise BadAnnotation(f"{path}: {name}: has shape {held[name].shape}, wanted {shape}")
    images, image = placed([bytes(name).decode() for name in held["imgname"].tolist()])
    scale = held["scale"] / _PADDED
    centre = held["center"] - np.stack([np.zeros(n), _LOWERED * scale], axis=1)
    labelled = (held["part"] != 0).any(-1)
    return labelled_table(
        path,
        published("mpii-16"),
        images,
        image,
        held["part"] - _FIRST,
        labelled,
        visible=held["visible"] > 0,
        box=_box(centre, scale),
    )


def read_mpii_mat(path: str | Path) -> KeypointTable:
    """mpii_human_pose_v1_u12_1.mat: everybody in it whose joints are labelled (the training pictures)."""
    release = read_mat(path).get("RELEASE")
    if not isinstance(release, dict) or "annolist" not in release:
        raise BadAnnotation(f"{path}: RELEASE.annolist: is missing; is this MPII's release?")
    names, points, frames = [], [], []
    for i, picture in enumerate(as_list(release["annolist"])):
        for j, person in enumerate(as_list(picture.get("annorect"))):
            where = f"annolist({i + 1}).annorect({j + 1})"
            held = person.get("annopoints") if isinstance(person, dict) else None
            if not isinstance(held, dict):
                continue
            name = picture["image"].get("name") if isinstance(picture.get("image"), dict) else None
            if not isinstance(name, str):
                raise BadAnnotation(f"{path}: annolist({i + 1}).image.name: wanted a file's name")
            names.append(name)
            points.append(_release_points(path, where, as_list(held.get("point"))))
            at = person.get("objpos")
            frames.append([at["x"], at["y"], person["scale"]] if isinstance(at, dict) else [0, 0, 0])
    values = np.array(points, dtype=np.float64).reshape(-1, 16, 4)
    frame = np.array(frames, dtype=np.float64).reshape(-1, 3)
    images, image = placed(names)
    return labelled_table(
        path,
        published("mpii-16"),
        images,
        image,
        values[..., :2] - _FIRST,
        values[..., 2] > 0,
        visible=values[..., 3] > 0,
        box=_box(frame[:, :2], frame[:, 2]),
    )


def _joints(path: str | Path, i: int, row: dict[str, Any]) -> list[list[float]]:
    """16 of x, y, seen, as they stand."""
    field = "joints" if "joints" in row else "joint_self"
    joints = row.get(field)
    if not isinstance(joints, list) or len(joints) != 16:
        given = f"{len(joints)}" if isinstance(joints, list) else kind(joints)
        raise BadAnnotation(f"{path}: [{i}].{field}: wanted 16 joints, found {given}")
    if field == "joint_self":
        own = [numbers(path, joint, f"[{i}].joint_self[{k}]", 3) for k, joint in enumerate(joints)]
        return [[float(v) for v in joint] for joint in own]
    seen = numbers(path, row.get("joints_vis"), f"[{i}].joints_vis", 16)
    xy = [numbers(path, joint, f"[{i}].joints[{k}]", 2) for k, joint in enumerate(joints)]
    return [[float(pair[0]), float(pair[1]), float(one)] for pair, one in zip(xy, seen)]


def _release_points(path: str | Path, where: str, found: list[Any]) -> list[list[float]]:
    """16 of x, y, labelled, visible; `is_visible` is a number, a letter, or empty (then the joint is
    seen)."""
    points = [[0.0, 0.0, 0.0, 0.0] for _ in range(16)]
    for point in found:
        joint = point.get("id") if isinstance(point, dict) else None
        if not isinstance(joint, int) or joint not in range(16):
            raise BadAnnotation(f"{path}: {where}.annopoints.point.id: wanted 0..15, found {joint!r}")
        seen = point.get("is_visible", 1)
        hidden = not isinstance(seen, np.ndarray) and seen in (0, "0")
        points[joint] = [float(point["x"]), float(point["y"]), 1.0, float(not hidden)]
    return points


def _box(centre: NDArray[np.float64], scale: NDArray[np.float64]) -> NDArray[np.float64]:
    side = _SIDE * np.maximum(scale, 0.0)[:, None]
    return np.concatenate([centre - _FIRST - side / 2, side, side], axis=1)
