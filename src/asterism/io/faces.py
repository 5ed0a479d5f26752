"""Faces: the .pts files of 300-W and 300-VW, and WFLW's lists.

A .pts file is one face in the picture of the same name. Its numbers count the first pixel as 1 (MATLAB;
menpo's importer says the same and subtracts 1), so 1 is subtracted here. The COCO files that others made of
300-W keep the numbers as they were, one pixel to the right and below: shift them, or read the .pts.

A line of a WFLW list is 98 points, then either the picture's name (197 columns) or the face's box x1 y1 x2
y2, six attributes and the name (207). Its authors do not say which pixel is the first; the
numbers are taken as they stand, as the common loaders take them.
"""

from pathlib import Path

import numpy as np

from asterism.errors import BadAnnotation
from asterism.io.images import IMAGE_SUFFIXES
from asterism.io.labelled import labelled_table, placed
from asterism.io.skeleton import Skeleton, published
from asterism.io.table import KeypointTable

_FIRST = 1.0  # what MATLAB calls the first pixel
_WFLW = {197: 196, 207: 206}  # columns of a line: where the name is


def read_pts(path: str | Path) -> KeypointTable:
    """A .pts file or a folder of them, also below it. Raises BadAnnotation naming file and line."""
    path = Path(path)
    files = sorted(path.rglob("*.pts")) if path.is_dir() else [path]
    if not files:
        raise BadAnnotation(f"{path}: holds no .pts files")
    faces = [_pts(file) for file in files]
    for file, face in zip(files, faces):
        if len(face) != len(faces[0]):
            raise BadAnnotation(
                f"{file}: n_points: has {len(face)} points, {files[0]} has {len(faces[0])}; read them apart"
            )
    k = len(faces[0])
    skeleton = published("300w-68") if k == 68 else Skeleton(names=tuple(f"point{i}" for i in range(k)))
    images, image = placed([_picture(file, path) for file in files])
    return labelled_table(
        path, skeleton, images, image, np.array(faces), np.ones((len(files), k), dtype=bool)
    )


def is_wflw(path: Path) -> bool:
    """Whether the first line of a text file has as many columns as WFLW's."""
    return len(next((line.split() for line in _text(path).splitlines() if line.strip()), [])) in _WFLW


def read_wflw(path: str | Path) -> KeypointTable:
    """A list such as list_98pt_rect_attr_test.txt. Raises BadAnnotation naming line and column."""
    path = Path(path)
    lines = [(n, line.split()) for n, line in enumerate(_text(path).splitlines(), 1) if line.strip()]
    if not lines:
        raise BadAnnotation(f"{path}: is empty; wanted a line per face")
    numbers: list[list[float]] = []
    names: list[str] = []
    for n, cells in lines:
        if len(cells) not in _WFLW or len(cells) != len(lines[0][1]):
            raise BadAnnotation(
                f"{path}: line {n}: {len(cells)} columns, wanted 197 (98 points, name) or 207 (also box "
                f"and six "
                "attributes) in every line"
            )
        numbers.append([_number(f"{path}: line {n}, column {i + 1}", c) for i, c in enumerate(cells[:-1])])
        names.append(cells[-1])
    values = np.array(numbers)
    box = np.zeros((len(lines), 4))
    if values.shape[1] > 196:
        corner, other = values[:, 196:198], values[:, 198:200]
        box = np.concatenate([corner, np.maximum(other - corner, 0)], axis=1)
    images, image = placed(names)
    labelled = np.ones((len(lines), 98), dtype=bool)
    return labelled_table(path, published("wflw-98"), images, image, values[:, :196], labelled, box=box)


def _pts(file: Path) -> list[tuple[float, float]]:
    lines = [line.strip() for line in _text(file).splitlines()]
    if "{" not in lines or "}" not in lines[lines.index("{") :]:
        raise BadAnnotation(
            f"{file}: wanted a line '{{', a line per point, a line '}}'; is this a .pts file?"
        )
    first, last = lines.index("{"), lines.index("}", lines.index("{"))
    points: list[tuple[float, float]] = []
    for n in range(first + 1, last):
        cells = lines[n].split()
        if len(cells) != 2:
            raise BadAnnotation(f"{file}: line {n + 1}: {len(cells)} numbers, wanted x and y")
        x, y = (_number(f"{file}: line {n + 1}", cell) for cell in cells)
        points.append((x - _FIRST, y - _FIRST))
    said = [line.partition(":")[2].strip() for line in lines[:first] if line.startswith("n_points")]
    if said and said[0] != str(len(points)):
        raise BadAnnotation(f"{file}: n_points: says {said[0]}, {len(points)} follow")
    if not points:
        raise BadAnnotation(f"{file}: has no points between the braces")
    return points


def _picture(file: Path, path: Path) -> str:
    """The picture beside the file; in 300-VW it lies in imgs/ beside annot/."""
    folders = [file.parent, file.parent.parent / "imgs", file.parent.parent / "images"]
    there = [f / (file.stem + s) for f in folders for s in IMAGE_SUFFIXES]
    found = next((name for name in there if name.is_file()), file.with_suffix(".png"))
    return str(found)


def _number(where: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        raise BadAnnotation(f"{where}: {cell!r} is no number") from None
    if not np.isfinite(value):
        raise BadAnnotation(f"{where}: {cell!r}, wanted a finite number")
    return value


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise BadAnnotation(f"{path}: does not exist") from error
    except (OSError, ValueError) as error:
        raise BadAnnotation(f"{path}: cannot be read as text ({error})") from error
