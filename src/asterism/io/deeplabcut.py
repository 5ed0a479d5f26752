"""DeepLabCut's label files: CSV with three header lines (scorer, bodyparts, coords), four with individuals.

A picture's name is one column or one column per piece of its path. In predictions the name is the number of a
frame and every point has a likelihood. An individual without a single point in a picture has no row here.
"""

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from asterism.errors import BadAnnotation
from asterism.io.atomic import write_text
from asterism.io.csvfile import point_cells, point_table, read_point, read_rows
from asterism.io.locate import locate, relative_name
from asterism.io.table import KeypointTable
from asterism.io.video import VIDEO_SUFFIXES

_LABEL_FILES = "CollectedData*.csv"


def read_deeplabcut(path: str | Path) -> KeypointTable:
    """A label file, a project (its config.yaml gives the skeleton), or a folder of label files and pictures.

    Raises BadAnnotation with the file, the line and the column.
    """
    path = Path(path)
    if not path.is_dir():
        return _read_file(path)
    files = sorted({f for at in ("", "*/", "labeled-data/*/") for f in path.glob(at + _LABEL_FILES)})
    files = files or [f for f in sorted(path.glob("*.csv")) if is_deeplabcut(f)]
    if not files:
        raise BadAnnotation(
            f"{path}: holds no labels: no {_LABEL_FILES} in it, in its folders or in labeled-data/*; "
            "labels in .h5 must be saved as .csv"
        )
    table = _join(path, [_read_file(file) for file in files])
    return replace(table, edges=_skeleton(path / "config.yaml", table.names), source=str(path))


def write_deeplabcut(path: str | Path, table: KeypointTable, scorer: str) -> None:
    """Write one label file. Scores become `likelihood` columns where one of them is not 1.

    Inside labeled-data/<folder> names are written as seen from the project, as DeepLabCut wants them.
    """
    path = Path(path)
    parts = 2 if (table.score[table.labelled] == 1).all() else 3
    individuals = sorted(set(table.individual.tolist())) or [0]
    labels = [f"individual{i + 1}" for i in individuals]
    columns = [(i, name, c) for i in labels for name in table.names for c in ("x", "y", "likelihood")[:parts]]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["scorer", *[scorer] * len(columns)])
    if individuals != [0]:
        writer.writerow(["individuals", *(individual for individual, _, _ in columns)])
    writer.writerow(["bodyparts", *(name for _, name, _ in columns)])
    writer.writerow(["coords", *(coordinate for _, _, coordinate in columns)])
    folder = path.parent.parent.parent if path.parent.parent.name == "labeled-data" else path.parent
    rows = {(int(i), int(who)): row for row, (i, who) in enumerate(zip(table.image, table.individual))}
    for image, name in enumerate(table.images):
        cells: list[str] = []
        for who in individuals:
            row = rows.get((image, who))
            cells += [""] * (parts * len(table.names)) if row is None else point_cells(table, row, parts)
        writer.writerow([relative_name(name, folder), *cells])
    write_text(path, out.getvalue())


def is_deeplabcut(path: str | Path) -> bool:
    """Whether a CSV begins as DeepLabCut's do."""
    return read_rows(path)[0][0] == "scorer"


def _read_file(path: Path) -> KeypointTable:
    rows = read_rows(path)
    header, first = _header(path, rows)
    lines = rows[len(header) :]
    columns = list(zip(header.get("individuals", [""] * len(header["coords"])), header["bodyparts"]))
    parts = 3 if "likelihood" in header["coords"] else 2
    who = list(dict.fromkeys(individual for individual, _ in columns))
    names = list(dict.fromkeys(name for _, name in columns))
    images: dict[str, int] = {}
    keys: list[tuple[int, int]] = []
    points: list[list[tuple[float, float, float] | None]] = []
    for line, cells in enumerate(lines, len(header) + 1):
        if len(cells) != first + len(columns):
            raise BadAnnotation(f"{path}: line {line}: {len(cells)} cells, wanted {first + len(columns)}")
        image = _image_name(cells[:first])
        if images.setdefault(image, len(images)) != line - len(header) - 1:
            earlier = images[image] + len(header) + 1
            raise BadAnnotation(f"{path}: line {line}: '{image}' is already in line {earlier}")
        found: dict[str, list[tuple[float, float, float] | None]] = {w: [None] * len(names) for w in who}
        for at in range(0, len(columns), parts):
            individual, name = columns[at]
            where = f"{path}: line {line}, column {' '.join(filter(None, columns[at]))}"
            point = read_point(where, cells[first + at : first + at + parts])
            found[individual][names.index(name)] = point
        for w, number in zip(who, _numbers_of(who)):
            if any(found[w]):
                keys.append((images[image], number))
                points.append(found[w])
    return point_table(path, names, _frames(path, list(images)), keys, points)


def _header(path: Path, rows: list[list[str]]) -> tuple[dict[str, list[str]], int]:
    """The header lines without the columns of the picture's name, and how many those are."""
    words = ("scorer", "individuals", "bodyparts", "coords")
    header = {row[0]: row for row in rows[:4] if row[0] in words}
    found = tuple(row[0] for row in rows[: len(header)])
    if found not in (words, (words[0], *words[2:])):
        raise BadAnnotation(f"{path}: header: begins with {', '.join(found)}; wanted {', '.join(words)}")
    coords = header["coords"]
    first = coords.index("x") if "x" in coords else len(coords)
    header = {word: row[first:] for word, row in header.items()}
    for word, row in header.items():
        if len(row) != len(coords) - first:
            raise BadAnnotation(f"{path}: {word}: {len(row)} columns, coords has {len(coords) - first}")
    parts = ["x", "y", "likelihood"] if "likelihood" in coords else ["x", "y"]
    if not header["coords"] or header["coords"] != parts * (len(header["coords"]) // len(parts)):
        raise BadAnnotation(f"{path}: coords: wanted {', '.join(parts)} again and again")
    columns = list(zip(*(header[word] for word in header)))
    for at in range(0, len(columns), len(parts)):
        group = {column[:-1] for column in columns[at : at + len(parts)]}
        if len(group) != 1:
            raise BadAnnotation(f"{path}: bodyparts: columns {first + at + 1} and the next name two points")
    points = [column[:-1] for column in columns[:: len(parts)]]
    if twice := [point for point in points if points.count(point) > 1]:
        raise BadAnnotation(f"{path}: bodyparts: {' '.join(twice[0][1:])} occurs twice")
    return header, first


def _image_name(pieces: list[str]) -> str:
    """One path from its pieces. Labels made under Windows have backslashes."""
    name = "/".join(filter(None, pieces))
    return name.replace("\\", "/") if name.startswith("labeled-data\\") else name


def _numbers_of(individuals: list[str]) -> list[int]:
    """individual3 is number 2; other names count as they come."""
    matches = [re.fullmatch(r"individual([1-9]\d{0,17})", name) for name in individuals]
    if all(matches):
        return [int(match[1]) - 1 for match in matches if match]
    return list(range(len(individuals)))


def _frames(path: Path, names: list[str]) -> list[str]:
    """Frame numbers of predictions -> clip.mp4#12. The clip is what the file is called before "DLC"."""
    if not all(name.isascii() and name.isdigit() for name in names):
        return names
    stem = path.stem.partition("DLC")[0]
    clips = [stem + suffix for suffix in VIDEO_SUFFIXES if (path.parent / (stem + suffix)).is_file()]
    return [f"{(clips or [stem])[0]}#{int(name)}" for name in names]


def _join(path: Path, tables: list[KeypointTable]) -> KeypointTable:
    """The label files of a project as one table; they must agree on the points and share no picture."""
    first = tables[0]
    place: dict[str, str] = {}
    for table in tables:
        if table.names != first.names:
            raise BadAnnotation(f"{table.source}: bodyparts: {table.names}; {first.source} has {first.names}")
        for image in table.images:
            if image in place:
                raise BadAnnotation(f"{table.source}: '{image}' is already labelled in {place[image]}")
            place[image] = table.source
    starts = np.cumsum([0] + [len(table.images) for table in tables])
    rows = {
        name: np.concatenate([getattr(table, name) for table in tables])
        for name in ("individual", "xy", "labelled", "visible", "score", "box", "has_box", "area")
    }
    image = np.concatenate([table.image + start for table, start in zip(tables, starts)])
    images = tuple(name for table in tables for name in table.images)
    return replace(first, images=locate(images, path), image=image, **rows)


def _skeleton(config: Path, names: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """The pairs under `skeleton:` of a config.yaml, written as [a, b] or as nested dashes.

    Pairs with unknown names are passed over: new projects begin with an example of other names.
    """
    if not config.is_file():
        return ()
    text = config.read_text(encoding="utf-8", errors="replace")
    block = re.search(r"^skeleton:(.*(?:\n(?:[ \t-].*)?)*)", text, re.MULTILINE)
    if block is None:
        return ()
    pairs = re.findall(r"\[([^\[\],]+),([^\[\],]+)\]", block[1])
    pairs += re.findall(r"^\s*-\s+-\s+(.+)\n\s+-\s+(.+)$", block[1], re.MULTILINE)
    index = {name: i for i, name in enumerate(names)}
    found = [tuple(index.get(name.strip().strip("'\""), -1) for name in pair) for pair in pairs]
    return tuple((a, b) for a, b in found if a >= 0 and b >= 0 and a != b)
