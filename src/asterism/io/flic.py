"""FLIC: examples.mat, frames of films with people's upper bodies.

`coords` has 29 columns of which eleven are labelled (left and right shoulder, elbow, wrist 1-6, left hip 7,
right hip 10, left eye 13, right eye 14, nose 17); the others are NaN and left out. Left and right are the
person's. The file is MATLAB's and counts the first pixel as 1, so 1 is subtracted. `torsobox` (x1 y1 x2 y2)
becomes the box.
"""

from pathlib import Path
from typing import Any

import numpy as np

from asterism.errors import BadAnnotation
from asterism.io.labelled import labelled_table, placed
from asterism.io.matlab import as_list, read_mat
from asterism.io.skeleton import published
from asterism.io.table import KeypointTable

_FIRST = 1.0  # what MATLAB calls the first pixel
_COLUMNS = [column - 1 for column in (1, 2, 3, 4, 5, 6, 7, 10, 13, 14, 17)]


def read_flic(path: str | Path) -> KeypointTable:
    """All examples. Raises BadAnnotation naming the example and the field."""
    found = read_mat(path).get("examples")
    examples = as_list(found)
    if not examples:
        raise BadAnnotation(f"{path}: examples: is missing or empty; is this FLIC's examples.mat?")
    names: list[str] = []
    coords, boxes = [], []
    for i, example in enumerate(examples, 1):
        names.append(_name(path, i, example))
        coords.append(_array(path, i, example, "coords", (2, 29)))
        boxes.append(_array(path, i, example, "torsobox", (4,)) if "torsobox" in example else np.zeros(4))
    xy = np.array(coords)[:, :, _COLUMNS].transpose(0, 2, 1) - _FIRST
    corners = np.array(boxes)
    box = np.concatenate([corners[:, :2] - _FIRST, corners[:, 2:] - corners[:, :2]], axis=1)
    images, image = placed(names)
    labelled = np.asarray(np.isfinite(xy).all(-1))
    return labelled_table(path, published("flic-11"), images, image, xy, labelled, box=box)


def _name(path: str | Path, i: int, example: Any) -> str:
    name = example.get("filepath") if isinstance(example, dict) else None
    if not isinstance(name, str) or not name:
        raise BadAnnotation(f"{path}: examples({i}).filepath: wanted a file's name, found {name!r}")
    return name


def _array(
    path: str | Path, i: int, example: dict[str, Any], field: str, shape: tuple[int, ...]
) -> np.ndarray:
    try:
        value = np.asarray(example[field], dtype=np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise BadAnnotation(f"{path}: examples({i}).{field}: is missing or holds no numbers") from error
    if value.shape != shape:
        raise BadAnnotation(f"{path}: examples({i}).{field}: has shape {value.shape}, wanted {shape}")
    return value
