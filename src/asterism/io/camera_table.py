"""Calibrated cameras as one numpy table, and the checks that every format of a camera file shares."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asterism.errors import BadAnnotation
from asterism.io.fields import Entry, kind

ROUND = 1e-3  # how far a written rotation may be from one: files keep few digits
TERMS = 5  # k1, k2, p1, p2, k3


@dataclass(frozen=True, kw_only=True)
class CameraTable:
    """V cameras; lengths are in the file's unit. `sizes` are (h, w), None where the file does not say."""

    names: tuple[str, ...]
    intrinsics: NDArray[np.float64]  # V 3 3
    cam_from_world: NDArray[np.float64]  # V 3 4
    distortion: NDArray[np.float64]  # V 5: k1, k2, p1, p2, k3
    sizes: tuple[tuple[int, int] | None, ...]
    source: str = ""

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, kw_only=True)
class Camera:
    """One camera of a file, checked."""

    name: str
    matrix: NDArray[np.float64]
    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]
    distortion: NDArray[np.float64]
    size: tuple[int, int] | None


def as_table(path: Path, cameras: list[Camera]) -> CameraTable:
    """Raises BadAnnotation where there is no camera, or two have one name."""
    if not cameras:
        raise BadAnnotation(f"{path}: holds no camera")
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


def matrix_of(path: Path, entry: Entry, field: str, key: str) -> NDArray[np.float64]:
    """The 3 x 3 intrinsics. Raises BadAnnotation for any that no pinhole camera has."""
    found = array(path, entry, field, key, (3, 3))
    if not np.array_equal(found[2], [0, 0, 1]) or found[1, 0] != 0 or min(found[0, 0], found[1, 1]) <= 0:
        rows = ", ".join(str(row) for row in found.tolist())
        hint = "; its transpose would do" if np.array_equal(found[:, 2], [0, 0, 1]) else ""
        raise BadAnnotation(
            f"{path}: {dotted(field, key)}: wanted [fx, s, cx], [0, fy, cy], [0, 0, 1] with positive fx and "
            f"fy, found {rows}{hint}"
        )
    return found


def rotation_of(path: Path, entry: Entry, field: str, key: str) -> NDArray[np.float64]:
    """The 3 x 3 rotation from the world to the camera. Raises BadAnnotation for what is none."""
    found = array(path, entry, field, key, (3, 3))
    off = float(np.abs(found @ found.T - np.eye(3)).max())
    if off > ROUND or np.linalg.det(found) < 0:
        raise BadAnnotation(
            f"{path}: {dotted(field, key)}: is no rotation (R R' differs from 1 by {off:.2g}, determinant "
            f"{np.linalg.det(found):.2g}); wanted the 3 x 3 matrix from the world to the camera"
        )
    return found


def five_terms(path: Path, found: NDArray[np.float64], field: str, key: str) -> NDArray[np.float64]:
    """k1, k2, p1, p2, k3 of OpenCV's 4, 5, 8, 12 or 14; the terms after the fifth must be zero."""
    if not np.isfinite(found).all() or len(found) not in (0, 4, 5, 8, 12, 14):
        raise BadAnnotation(
            f"{path}: {dotted(field, key)}: wanted 4 or 5 finite numbers (k1, k2, p1, p2, k3), found "
            f"{found.tolist()}"
        )
    if (found[TERMS:] != 0).any():
        raise BadAnnotation(
            f"{path}: {dotted(field, key)}: has {len(found)} terms and those after k3 are not zero "
            f"({found[TERMS:].tolist()}); wanted a calibration with (k1, k2, p1, p2, k3) alone"
        )
    return np.concatenate([found, np.zeros(TERMS)])[:TERMS]


def size_of(path: Path, given: object, field: str, *, flipped: bool) -> tuple[int, int]:
    """(h, w); `flipped` files say (width, height)."""
    a, b = array(path, {"size": given}, field, "size", (2,)).tolist()
    if min(a, b) < 1 or a != int(a) or b != int(b):
        raise BadAnnotation(
            f"{path}: {dotted(field, 'size')}: wanted two whole numbers above zero, found {a:g}, {b:g}"
        )
    return (int(b), int(a)) if flipped else (int(a), int(b))


def name_of(path: Path, entry: Entry, field: str) -> str:
    name = entry.get("name", field)
    if not isinstance(name, str) or not name:
        raise BadAnnotation(f"{path}: {field}.name: wanted a name, found {kind(name)}")
    return name


def array(path: Path, entry: Entry, field: str, key: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Finite numbers of this shape. Raises BadAnnotation naming the field."""
    told, wanted = dotted(field, key), " x ".join(map(str, shape)) + " finite numbers"
    if key not in entry:
        raise BadAnnotation(f"{path}: {told}: is missing; wanted {wanted}")
    try:
        found = np.asarray(entry[key], dtype=np.float64)
    except (TypeError, ValueError):
        raise BadAnnotation(f"{path}: {told}: wanted {wanted}, found {kind(entry[key])}") from None
    if found.shape != shape:
        given = " x ".join(map(str, found.shape)) or kind(entry[key])
        raise BadAnnotation(f"{path}: {told}: wanted {wanted}, found {given}")
    if not np.isfinite(found).all():
        raise BadAnnotation(f"{path}: {told}: wanted {wanted}, found {found.tolist()}")
    return found


def dotted(field: str, key: str) -> str:
    return f"{field}.{key}" if field else key
