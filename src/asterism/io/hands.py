"""FreiHAND: training_xyz.json (21 points per hand in metres, seen from the camera) with training_K.json.

The points are projected with the camera: x = fx X / Z + cx. Its files do not say whether the
intrinsics mean corners or centres of pixels, so the numbers are taken as they come; half a pixel is in doubt.
Picture n is rgb/NNNNNNNN.jpg; the training set repeats its labels for three other backgrounds, which are
numbered on and not listed here.
"""

from pathlib import Path
from typing import Any

import numpy as np

from asterism.errors import BadAnnotation
from asterism.io.fields import kind, read_json
from asterism.io.labelled import labelled_table
from asterism.io.skeleton import published
from asterism.io.table import KeypointTable

_END = "_xyz.json"


def read_freihand(path: str | Path, found: list[Any]) -> KeypointTable:
    """`found` is what NAME_xyz.json holds; NAME_K.json must lie beside it. Raises BadAnnotation."""
    path = Path(path)
    if not path.name.endswith(_END):
        raise BadAnnotation(
            f"{path}: a list of lists of numbers is read as FreiHAND's points, whose file's name ends "
            f"in {_END}"
        )
    other = path.with_name(path.name.removesuffix(_END) + "_K.json")
    if not other.is_file():
        raise BadAnnotation(f"{path}: the cameras {other.name} must lie beside it; they do not")
    cameras = read_json(other)
    xyz, intrinsics = _array(path, found, (21, 3)), _array(other, cameras, (3, 3))
    if len(xyz) != len(intrinsics):
        raise BadAnnotation(
            f"{other}: {len(intrinsics)} cameras, wanted {len(xyz)}: one per hand in {path.name}"
        )
    for n, k in np.argwhere(xyz[..., 2] <= 0)[:1]:
        raise BadAnnotation(f"{path}: [{n}][{k}][2]: {xyz[n, k, 2]:g}, wanted a distance above 0")
    seen = np.einsum("nij,nkj->nki", intrinsics, xyz)
    part = path.name.removesuffix(_END)
    folder = next((f"{at}/rgb" for at in (part, f"../{part}") if (path.parent / at / "rgb").is_dir()), "rgb")
    images = [f"{folder}/{n:08d}.jpg" for n in range(len(xyz))]
    labelled = np.ones((len(xyz), 21), dtype=bool)
    uv = seen[..., :2] / seen[..., 2:]
    return labelled_table(path, published("hand-21"), images, list(range(len(xyz))), uv, labelled)


def _array(path: Path, found: Any, shape: tuple[int, int]) -> np.ndarray:
    if not isinstance(found, list):
        raise BadAnnotation(f"{path}: wanted a list, found {kind(found)}")
    for n, entry in enumerate(found):
        try:
            one = np.asarray(entry, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise BadAnnotation(f"{path}: [{n}]: wanted {shape[0]} x {shape[1]} numbers ({error})") from error
        if one.shape != shape or not np.isfinite(one).all():
            raise BadAnnotation(
                f"{path}: [{n}]: wanted {shape[0]} x {shape[1]} finite numbers, found the shape {one.shape}"
            )
    return np.asarray(found, dtype=np.float64).reshape(-1, *shape)
