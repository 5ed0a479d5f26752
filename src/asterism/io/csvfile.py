"""The plain table of this library: a line per individual, columns image, individual, <name>_x, _y, _score.

An empty cell is a missing point. A line whose individual is empty says that its picture has nobody in it.
Boxes, areas and occlusion are not kept (COCO's files keep them).
"""

import csv
import io
import math
from pathlib import Path

import numpy as np

from asterism.errors import BadAnnotation
from asterism.io.atomic import write_text
from asterism.io.locate import locate, relative_name
from asterism.io.names import infer_swap
from asterism.io.skeleton import known_sigma
from asterism.io.table import KeypointTable

_PARTS = ("x", "y", "score")


def read_csv(path: str | Path) -> KeypointTable:
    """Raises BadAnnotation with the line and the column. `_score` columns may be absent."""
    header, *lines = read_rows(path)
    names, parts = _header(path, header)
    images: dict[str, int] = {}
    seen: dict[tuple[int, int], int] = {}
    points: list[list[tuple[float, float, float] | None]] = []
    for line, cells in enumerate(lines, 2):
        if len(cells) != len(header):
            raise BadAnnotation(f"{path}: line {line}: {len(cells)} cells, the header has {len(header)}")
        if not cells[0]:
            raise BadAnnotation(f"{path}: line {line}, column image: is empty; wanted a picture's name")
        image = images.setdefault(cells[0], len(images))
        if cells[1] == "":
            continue
        if not cells[1].isascii() or not cells[1].isdigit() or len(cells[1]) > 18:  # 18 digits fit 64 bits
            raise BadAnnotation(f"{path}: line {line}, column individual: {cells[1]!r} is no whole number")
        key = (image, int(cells[1]))
        if seen.setdefault(key, line) != line:
            raise BadAnnotation(
                f"{path}: line {line}: '{cells[0]}', individual {key[1]} is already in line {seen[key]}"
            )
        where = f"{path}: line {line}, column"
        points.append(
            [
                read_point(f"{where} {name}", cells[at : at + parts])
                for name, at in zip(names, range(2, len(header), parts))
            ]
        )
    return point_table(path, names, list(images), list(seen), points)


def write_csv(path: str | Path, table: KeypointTable) -> None:
    """Write the points of a table; numbers are written so that they are read back exactly."""
    path = Path(path)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["image", "individual", *(f"{name}_{part}" for name in table.names for part in _PARTS)])
    rows: list[list[int]] = [[] for _ in table.images]
    for row, image in enumerate(table.image.tolist()):
        rows[image].append(row)
    for image, name in enumerate(table.images):
        name = relative_name(name, path.parent)
        if not rows[image]:
            writer.writerow([name, "", *[""] * (3 * len(table.names))])
        for row in rows[image]:
            writer.writerow([name, int(table.individual[row]), *point_cells(table, row, 3)])
    write_text(path, out.getvalue())


def point_cells(table: KeypointTable, row: int, parts: int) -> list[str]:
    """x, y and, with 3 `parts`, score of every point of a row; empty where nothing is labelled."""
    cells: list[str] = []
    for xy, score, labelled in zip(table.xy[row].tolist(), table.score[row].tolist(), table.labelled[row]):
        cells += [repr(value) if labelled else "" for value in (*xy, score)[:parts]]
    return cells


def read_rows(path: str | Path) -> list[list[str]]:
    """The cells of every line that is not blank. Raises BadAnnotation for no file, no CSV, or no lines."""
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            rows = [row for row in csv.reader(file, strict=True) if row]
    except FileNotFoundError as error:
        raise BadAnnotation(f"{path}: does not exist") from error
    except (OSError, ValueError, csv.Error) as error:
        raise BadAnnotation(f"{path}: cannot be read as CSV ({error})") from error
    if not rows:
        raise BadAnnotation(f"{path}: is empty; wanted a header and a line per picture")
    return rows


def read_point(where: str, cells: list[str]) -> tuple[float, float, float] | None:
    """(x, y, score) from two or three cells, None for a missing point. `where` begins the error's message."""
    values = []
    for part, cell in zip(_PARTS, cells):
        try:
            value = float(cell) if cell.strip() else math.nan
        except ValueError:
            raise BadAnnotation(f"{where}_{part}: {cell!r} is no number") from None
        if math.isinf(value):
            raise BadAnnotation(f"{where}_{part}: {cell!r}, wanted a finite number or an empty cell")
        values.append(value)
    x, y, score = (*values, 1.0)[:3]
    if math.isnan(x) and math.isnan(y):
        return None
    if math.isnan(x) or math.isnan(y):
        part, cell = ("x", cells[0]) if math.isnan(x) else ("y", cells[1])
        given = repr(cell) if cell.strip() else "empty"
        raise BadAnnotation(f"{where}_{part}: is {given}, its other coordinate is not")
    return x, y, 1.0 if math.isnan(score) else score


def point_table(
    path: str | Path,
    names: list[str],
    images: list[str],
    rows: list[tuple[int, int]],
    points: list[list[tuple[float, float, float] | None]],
) -> KeypointTable:
    """A table of points and nothing else; `rows` are (image, individual)."""
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise BadAnnotation(f"{path}: header: {twice} occur twice; every keypoint needs a name of its own")
    if not images:
        raise BadAnnotation(f"{path}: has a header and no lines below it; there is nothing to learn from")
    n, k = len(rows), len(names)
    flat = [point for row in points for point in row]
    labelled = np.array([point is not None for point in flat], dtype=bool).reshape(n, k)
    values = np.array([point or (0.0, 0.0, 0.0) for point in flat], dtype=np.float64).reshape(n, k, 3)
    keys = np.array(rows, dtype=np.int64).reshape(n, 2)
    return KeypointTable(
        names=tuple(names),
        images=locate(images, path),
        image=keys[:, 0],
        individual=keys[:, 1],
        xy=values[..., :2],
        labelled=labelled,
        visible=labelled,
        score=values[..., 2],
        box=np.zeros((n, 4)),
        has_box=np.zeros(n, dtype=bool),
        area=np.zeros(n),
        swap=infer_swap(names),
        sigma=known_sigma(names),
        source=str(path),
    )


def _header(path: str | Path, header: list[str]) -> tuple[list[str], int]:
    """Names of the keypoints, and 2 or 3 columns per point."""
    if header[:2] != ["image", "individual"]:
        raise BadAnnotation(f"{path}: header: begins with {header[:2]}, wanted image, individual")
    columns = header[2:]
    parts = 3 if len(columns) > 2 and columns[2].endswith("_score") else 2
    names = [column[:-2] for column in columns[::parts]]
    wanted = [f"{name}_{part}" for name in names for part in _PARTS[:parts]]
    for at, (found, want) in enumerate(zip(columns + [""] * len(wanted), wanted)):
        if found != want:
            raise BadAnnotation(f"{path}: header: column {at + 3} is {found!r}, wanted {want!r}")
    if not names:
        raise BadAnnotation(f"{path}: header: has no keypoints; wanted columns like nose_x, nose_y")
    return names, parts
