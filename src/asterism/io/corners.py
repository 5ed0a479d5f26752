"""Corners of a calibration board that cameras saw: csv with columns camera, frame, corner, x, y.

Frames of the same number were taken at the same moment. Columns width and height, the size of the camera's
pictures, may follow. The order of lines means nothing.
"""

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from asterism.errors import BadAnnotation
from asterism.io.atomic import write_text
from asterism.io.csvfile import read_rows

_HEAD = ["camera", "frame", "corner", "x", "y"]
_SIZE = ["width", "height"]
Row = tuple[int, int, float, float]  # frame, corner, x, y


@dataclass(frozen=True, kw_only=True)
class Corners:
    """M corners in pixels, sorted by camera, frame and corner; cameras in the order of their names.

    `camera` indexes `names`; `sizes` are (h, w), None where the file does not say.
    """

    names: tuple[str, ...]
    sizes: tuple[tuple[int, int] | None, ...]
    camera: Int[np.ndarray, " M"]
    frame: Int[np.ndarray, " M"]
    corner: Int[np.ndarray, " M"]
    xy: Float[np.ndarray, "M 2"]
    source: str = ""

    def __len__(self) -> int:
        return len(self.camera)


def natural(name: str) -> tuple[str, str]:
    """Sort key under which cam2 comes before cam10."""
    padded = "".join(part.zfill(12) if part.isdigit() else part for part in _parts(name.lower()))
    return padded, name


def _parts(name: str) -> list[str]:
    out = [""]
    for letter in name:
        if out[-1] and out[-1][-1].isdecimal() != letter.isdecimal():
            out.append("")
        out[-1] += letter
    return out


def as_corners(
    seen: Mapping[str, list[Row]], sizes: Mapping[str, tuple[int, int] | None], source: str = ""
) -> Corners:
    """Whatever the order of cameras and rows: the same table."""
    names = sorted(seen, key=natural)
    rows = [(c, *row) for c, name in enumerate(names) for row in sorted(seen[name])]
    whole = np.array([row[:3] for row in rows], np.int64).reshape(-1, 3)
    return Corners(
        names=tuple(names),
        sizes=tuple(sizes[name] for name in names),
        camera=whole[:, 0],
        frame=whole[:, 1],
        corner=whole[:, 2],
        xy=np.array([row[3:] for row in rows], np.float64).reshape(-1, 2),
        source=source,
    )


def read_corners(path: str | Path, corners: int) -> Corners:
    """Corners of a board that has so many. Raises BadAnnotation with the line and the column."""
    head, *lines = read_rows(path)
    if head not in (_HEAD, _HEAD + _SIZE):
        raise BadAnnotation(
            f"{path}: header: is {', '.join(head)}; wanted {', '.join(_HEAD)} [width, height]"
        )
    seen: dict[str, dict[tuple[int, int], Row]] = {}
    sizes: dict[str, tuple[int, int] | None] = {}
    for line, cells in enumerate(lines, 2):
        where = f"{path}: line {line}"
        if len(cells) != len(head):
            raise BadAnnotation(f"{where}: {len(cells)} cells, the header has {len(head)}")
        name, row = _row(where, cells, corners)
        rows = seen.setdefault(name, {})
        if row[:2] in rows:
            raise BadAnnotation(f"{where}: camera {name}, frame {row[0]}, corner {row[1]} occurs twice")
        rows[row[:2]] = row
        size = (_whole(where, "height", cells[6]), _whole(where, "width", cells[5])) if cells[5:] else None
        if sizes.setdefault(name, size) != size:
            raise BadAnnotation(f"{where}: camera {name} has pictures of another size above")
    if not seen:
        raise BadAnnotation(f"{path}: has a header and no corners below it")
    return as_corners({name: list(rows.values()) for name, rows in seen.items()}, sizes, str(path))


def _row(where: str, cells: list[str], corners: int) -> tuple[str, Row]:
    name = cells[0]
    if not name:
        raise BadAnnotation(f"{where}, column camera: is empty")
    frame, corner = (_whole(where, column, cell) for column, cell in zip(_HEAD[1:], cells[1:3]))
    if corner >= corners:
        raise BadAnnotation(f"{where}, column corner: {corner}; the board has the corners 0 to {corners - 1}")
    values = []
    for column, cell in zip("xy", cells[3:5]):
        try:
            values.append(float(cell))
        except ValueError:
            raise BadAnnotation(f"{where}, column {column}: {cell!r} is no number") from None
        if not math.isfinite(values[-1]):
            raise BadAnnotation(f"{where}, column {column}: {cell!r}, wanted a finite number")
    return name, (frame, corner, values[0], values[1])


def _whole(where: str, column: str, cell: str) -> int:
    if not cell.isascii() or not cell.isdigit() or len(cell) > 18:
        raise BadAnnotation(f"{where}, column {column}: {cell!r} is no whole number")
    return int(cell)


def write_corners(path: str | Path, table: Corners) -> None:
    """Numbers are read back exactly."""
    sized = all(size is not None for size in table.sizes)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_HEAD + _SIZE if sized else _HEAD)
    for c, frame, corner, (x, y) in zip(
        table.camera.tolist(), table.frame.tolist(), table.corner.tolist(), table.xy.tolist()
    ):
        size = table.sizes[c]
        writer.writerow(
            [table.names[c], frame, corner, repr(x), repr(y), *((size[1], size[0]) if sized and size else ())]
        )
    write_text(path, out.getvalue())


def with_sizes(table: Corners, size: tuple[int, int] | None) -> Corners:
    """The same, pictures of unknown size being of `size`. Raises BadAnnotation where one stays unknown."""
    sizes = tuple(known or size for known in table.sizes)
    lost = [name for name, known in zip(table.names, sizes) if known is None]
    if lost:
        raise BadAnnotation(
            f"{table.source}: the size of the pictures of {', '.join(lost)} is not known; wanted the columns "
            "width and height, or --size WIDTHxHEIGHT"
        )
    return replace(table, sizes=sizes)


def without(table: Corners, names: tuple[str, ...]) -> Corners:
    """The same without some cameras. Raises BadAnnotation for a name that is not there."""
    for name in names:
        if name not in table.names:
            raise BadAnnotation(f"--leave-out {name}: the cameras are {', '.join(table.names)}")
    left = [c for c, name in enumerate(table.names) if name not in names]
    rows = np.isin(table.camera, left)
    return Corners(
        names=tuple(table.names[c] for c in left),
        sizes=tuple(table.sizes[c] for c in left),
        camera=np.searchsorted(left, table.camera[rows]),
        frame=table.frame[rows],
        corner=table.corner[rows],
        xy=table.xy[rows],
        source=table.source,
    )
