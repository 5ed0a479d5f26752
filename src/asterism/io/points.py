"""What a file of points holds, whatever its format: the parts that all readers share."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from asterism.errors import BadCloud


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """N points in the file's own unit; a mesh has M triangles of their numbers.

    `normals` have length 1 (0 where the file says nothing useful), `colours` are 0 to 255.
    """

    points: Float[np.ndarray, "N 3"]
    normals: Float[np.ndarray, "N 3"] | None = None
    colours: NDArray[np.uint8] | None = None
    faces: Int[np.ndarray, "M 3"] | None = None

    def __len__(self) -> int:
        return len(self.points)

    def rows(self, which: NDArray[np.bool_] | NDArray[np.int64]) -> "Cloud":
        """Some of the points, without the triangles."""
        return Cloud(
            points=self.points[which],
            normals=None if self.normals is None else self.normals[which],
            colours=None if self.colours is None else self.colours[which],
        )


def cloud_of(path: Path, fields: Mapping[str, NDArray[Any]], faces: NDArray[np.int64] | None = None) -> Cloud:
    """A cloud from named columns: x y z, nx ny nz (or normal_x ...), red green blue. Raises BadCloud."""
    missing = [name for name in "xyz" if name not in fields]
    if missing:
        raise BadCloud(f"{path}: field {missing[0]}: is missing; the fields are {', '.join(fields)}")
    points = np.stack([fields[name].astype(np.float64) for name in "xyz"], axis=-1)
    if points.ndim != 2:
        raise BadCloud(f"{path}: fields x, y, z: hold {points.shape[1]} values per point; wanted one")
    return Cloud(
        points=points,
        normals=_normals(fields),
        colours=_colours(fields),
        faces=None if faces is None else checked_faces(path, faces, len(points)),
    )


def checked_faces(path: Path, faces: NDArray[np.int64], n: int) -> Int[np.ndarray, "M 3"]:
    """Triangles whose corners exist. Raises BadCloud with the first that does not."""
    wrong = ((faces < 0) | (faces >= n)).any(1)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise BadCloud(f"{path}: face {first}: {faces[first].tolist()} names a point outside 0..{n - 1}")
    return faces.astype(np.int64)


def triangles(path: Path, polygons: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Polygons cut into fans of triangles, M 3. Raises BadCloud for one of fewer than three corners."""
    if {len(corners) for corners in polygons} == {3}:
        return np.stack(polygons)
    out = []
    for i, corners in enumerate(polygons):
        if len(corners) < 3:
            raise BadCloud(f"{path}: face {i}: has {len(corners)} corners; wanted at least three")
        fan = np.stack([np.full(len(corners) - 2, corners[0]), corners[1:-1], corners[2:]], axis=-1)
        out.append(fan)
    return np.concatenate(out) if out else np.zeros((0, 3), np.int64)


def numbers_of(path: Path, text: str, where: str) -> NDArray[np.float64]:
    """Numbers between white space. Raises BadCloud with the word that is none."""
    words = text.split()
    try:
        return np.array(words, dtype=np.float64)
    except ValueError:
        word = next(word for word in words if not _is_number(word))
        raise BadCloud(f"{path}: {where}: '{word[:40]}' is no number") from None


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _normals(fields: Mapping[str, NDArray[Any]]) -> NDArray[np.float64] | None:
    for names in (("nx", "ny", "nz"), ("normal_x", "normal_y", "normal_z")):
        if all(name in fields for name in names):
            found = np.nan_to_num(np.stack([fields[name].astype(np.float64) for name in names], axis=-1))
            length = np.linalg.norm(found, axis=-1, keepdims=True)
            return np.where(length > 0, found / np.maximum(length, 1e-300), 0.0)
    return None


def _colours(fields: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8] | None:
    for names in (
        ("red", "green", "blue"),
        ("r", "g", "b"),
        ("diffuse_red", "diffuse_green", "diffuse_blue"),
    ):
        if all(name in fields for name in names):
            found = np.stack([fields[name] for name in names], axis=-1)
            if found.dtype.kind == "f":  # fractions, as some exporters write
                found = found * 255 if np.nanmax(found, initial=0.0) <= 1 else found
            elif found.dtype.itemsize == 2:  # LAS counts to 65535
                found = found // 257 if found.max(initial=0) > 255 else found
            return np.nan_to_num(found).round().clip(0, 255).astype(np.uint8)
    return None
