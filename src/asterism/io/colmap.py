"""COLMAP's database of keypoints and matches, with the sqlite3 of the standard library.

COLMAP's origin is the corner of the upper left pixel, ours its centre: half a pixel is taken off on the way
in and put on on the way out. Keypoints are float32 rows (x, y, ...), matches uint32 rows of two indices, and
a pair's number is 2147483647 * smaller image id + larger image id.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from asterism.errors import BadMatches, RequestError
from asterism.io.atomic import atomic_write
from asterism.io.pairs import block_matrix, consistent_pairs
from asterism.matches import Matches, Tracks

_PAIRS = 2**31 - 1
_HALF = 0.5
_SIMPLE_RADIAL, _FOCAL_PRIOR = (
    2,
    1.2,
)  # COLMAP's camera model 2: f, cx, cy, k; its guess of f is 1.2 longest sides
_TABLES = """
CREATE TABLE cameras (camera_id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, model INTEGER NOT NULL,
 width INTEGER NOT NULL, height INTEGER NOT NULL, params BLOB, prior_focal_length INTEGER NOT NULL);
CREATE TABLE images (image_id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, name TEXT NOT NULL UNIQUE,
 camera_id INTEGER NOT NULL);
CREATE TABLE keypoints (image_id INTEGER PRIMARY KEY NOT NULL, rows INTEGER NOT NULL,
 cols INTEGER NOT NULL, data BLOB);
CREATE TABLE descriptors (image_id INTEGER PRIMARY KEY NOT NULL, rows INTEGER NOT NULL,
 cols INTEGER NOT NULL, data BLOB);
CREATE TABLE matches (pair_id INTEGER PRIMARY KEY NOT NULL, rows INTEGER NOT NULL,
 cols INTEGER NOT NULL, data BLOB);
CREATE TABLE two_view_geometries (pair_id INTEGER PRIMARY KEY NOT NULL,
 rows INTEGER NOT NULL, cols INTEGER NOT NULL,
 data BLOB, config INTEGER NOT NULL, F BLOB, E BLOB, H BLOB, qvec BLOB, tvec BLOB);
"""


def read_colmap_matches(path: str | Path) -> Matches:
    """The matches of a database, before COLMAP's own verification; images in the order of their ids.

    Raises BadMatches with the file and the table.
    """
    try:
        with _opened(Path(path)) as base:
            rows = base.execute(
                "SELECT image_id, name, width, height FROM images JOIN cameras USING (camera_id)"
                " ORDER BY image_id"
            ).fetchall()
            place = {row[0]: i for i, row in enumerate(rows)}
            points = {
                i: _blob(data, n, c, "<f4")
                for i, n, c, data in base.execute("SELECT image_id, rows, cols, data FROM keypoints")
            }
            xy = [points.get(row[0], np.zeros((0, 2)))[:, :2].astype(np.float64) - _HALF for row in rows]
            counts = np.array([len(p) for p in xy], dtype=np.int64)
            pairs = []
            for pair, n, c, data in base.execute(
                "SELECT pair_id, rows, cols, data FROM matches WHERE rows > 0"
            ):
                one, two = divmod(pair, _PAIRS)
                index = _blob(data, n, c, "<u4").astype(np.int64)
                pairs.append((place[one], place[two], index, np.ones(len(index))))
    except (sqlite3.Error, KeyError, ValueError, TypeError) as error:
        raise BadMatches(
            f"{path}: is no COLMAP database with images, keypoints and matches ({error})"
        ) from error
    w = block_matrix(str(path), counts, pairs)
    every = np.concatenate(xy) if xy else np.zeros((0, 2))
    sizes = [(int(h), int(w)) for _, _, w, h in rows]
    return Matches.of(w, counts, every, [row[1] for row in rows], sizes, where=str(path))


def write_colmap_matches(path: str | Path, tracks: Tracks, matches: Matches, source: str | Path = "") -> None:
    """The tracks as a database: that of `source` with other matches, or a new one of names, sizes and xy.

    Verified geometries are left out: COLMAP makes them again. Raises RequestError where something is not
    known.
    """
    known = Path(source).suffix == ".db" and Path(source).is_file()
    if not known and not (matches.names and matches.sizes and matches.xy is not None):
        raise RequestError(
            f"-o {path}: a COLMAP database needs names, sizes and xy of the images, which the input "
            "lacks; write .npz"
        )
    with atomic_write(path) as temporary, contextlib.closing(sqlite3.connect(temporary)) as base:
        if known:
            with _opened(Path(source)) as old:
                old.backup(base)
            base.executescript("DELETE FROM matches; DELETE FROM two_view_geometries;")
        else:
            base.executescript(_TABLES)
            _write_images(base, matches)
        ids = [row[0] for row in base.execute("SELECT image_id FROM images ORDER BY image_id")]
        for i, j, index, _ in consistent_pairs(tracks, matches):
            data = index.astype("<u4").tobytes()
            base.execute(
                "INSERT INTO matches VALUES (?, ?, 2, ?)", (ids[i] * _PAIRS + ids[j], len(index), data)
            )
        base.commit()


def _write_images(base: sqlite3.Connection, matches: Matches) -> None:
    assert matches.xy is not None
    for i, (name, (h, w)) in enumerate(zip(matches.names, matches.sizes)):
        camera = np.array([_FOCAL_PRIOR * max(h, w), w / 2, h / 2, 0.0], "<f8").tobytes()
        base.execute("INSERT INTO cameras VALUES (?, ?, ?, ?, ?, 0)", (i + 1, _SIMPLE_RADIAL, w, h, camera))
        base.execute("INSERT INTO images VALUES (?, ?, ?)", (i + 1, name, i + 1))
        xy = (matches.xy[matches.offsets[i] : matches.offsets[i + 1]] + _HALF).astype("<f4")
        base.execute("INSERT INTO keypoints VALUES (?, ?, 2, ?)", (i + 1, len(xy), xy.tobytes()))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The database, to read only: another program may be using it."""
    with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as base:
        yield base


def _blob(data: bytes | None, rows: int, columns: int, kind: str) -> np.ndarray:
    return np.frombuffer(data or b"", dtype=kind).reshape(rows, columns)
