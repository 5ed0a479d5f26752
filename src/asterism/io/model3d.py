"""Named points of an object in space, rigid or with a basis of shapes, in JSON.

Rigid: {"points": {"nose": [x, y, z], ...}}. With a basis: {"names": [...], "mean": [[x, y, z], ...], "basis":
[a list of as many rows as mean, for each direction], "variance": [one per direction]}: a shape is mean + sum
c basis, and c has that variance. `unit` is optional in both.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asterism.errors import BadAnnotation
from asterism.io.atomic import write_json
from asterism.io.camera_table import array
from asterism.io.fields import as_object, kind, read_json


@dataclass(frozen=True, kw_only=True)
class PointModel:
    """K named points and S directions in which they vary; rigid where S is 0."""

    names: tuple[str, ...]
    mean: NDArray[np.float64]  # K 3
    basis: NDArray[np.float64]  # S K 3
    variance: NDArray[np.float64]  # S
    unit: str = "unknown"


def read_model(path: str | Path) -> PointModel:
    """Raises BadAnnotation naming the file and the field."""
    path = Path(path)
    held = as_object(path, read_json(path), "the file")
    unit = held.get("unit", "unknown")
    if not isinstance(unit, str):
        raise BadAnnotation(f"{path}: unit: wanted a text, found {kind(unit)}")
    if "points" in held:
        points = as_object(path, held["points"], "points")
        rows = [array(path, points, "points", name, (3,)) for name in points]
        return _checked(
            path, tuple(points), np.array(rows).reshape(-1, 3), np.zeros((0, len(rows), 3)), np.zeros(0), unit
        )
    names = held.get("names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadAnnotation(
            f"{path}: wanted points, an object of name: [x, y, z]; or names, mean, basis and variance; found "
            f"{', '.join(held) or 'nothing'}"
        )
    variance = held.get("variance", [])
    count = len(variance) if isinstance(variance, list) else 0
    mean = array(path, held, "", "mean", (len(names), 3))
    basis = array(path, held, "", "basis", (count, len(names), 3)) if count else np.zeros((0, len(names), 3))
    known = array(path, {"variance": variance}, "", "variance", (count,))
    if (known <= 0).any():
        raise BadAnnotation(f"{path}: variance: wanted numbers above zero, found {known.tolist()}")
    return _checked(path, tuple(names), mean, basis, known, unit)


def write_model(path: str | Path, model: PointModel) -> None:
    """Numbers are read back exactly."""
    body = {"names": list(model.names), "mean": model.mean.tolist(), "basis": model.basis.tolist()}
    write_json(path, body | {"variance": model.variance.tolist(), "unit": model.unit})


def _checked(
    path: Path,
    names: tuple[str, ...],
    mean: NDArray[np.float64],
    basis: NDArray[np.float64],
    variance: NDArray[np.float64],
    unit: str,
) -> PointModel:
    if len(set(names)) != len(names):
        raise BadAnnotation(f"{path}: names: {sorted({n for n in names if names.count(n) > 1})} occur twice")
    if len(names) < 4:
        raise BadAnnotation(f"{path}: {len(names)} points; a pose wants 4 at least, and is checked from 5 on")
    return PointModel(names=names, mean=mean, basis=basis, variance=variance, unit=unit)
