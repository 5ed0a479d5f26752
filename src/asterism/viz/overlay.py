"""A whole data set with its keypoints drawn on: streams of pictures, sheets, and clips."""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asterism.data.base import ImageSet
from asterism.data.gathered import pictures as pictures_of
from asterism.errors import RequestError
from asterism.io.images import write_image
from asterism.io.table import KeypointTable
from asterism.io.video import video_writer
from asterism.viz import draw
from asterism.viz.draw import Picture

_FPS = 25.0  # of an overlay clip whose source does not say its own
_SMALL = 400  # pictures whose longer side is shorter are enlarged by a whole factor
_CELL = 320  # longer side of one picture of a sheet
_CLOSE = 2.0  # how much larger a close-up is than the largest box of points on its sheet
_LEAST = 0.3  # and at least this share of the picture: points that huddle should be seen to do so


def rows_by_picture(images: ImageSet, table: KeypointTable) -> dict[int, NDArray[np.int64]]:
    """For each picture of `images` with rows in `table`: those rows. Pictures are matched by their names."""
    where = {os.path.abspath(images.name(i)): i for i in range(len(images))}
    found: dict[int, list[int]] = {}
    for row, index in enumerate(table.image.tolist()):
        if (picture := where.get(os.path.abspath(table.images[index]))) is not None:
            found.setdefault(picture, []).append(row)
    if len(table) and not found:
        given, wanted = table.images[0], images.name(0)
        raise RequestError(
            f"{table.source}: its pictures ({given}, ...) are not those of the data ({wanted}, ...)"
        )
    return {picture: np.array(rows) for picture, rows in found.items()}


def painted(picture: Picture, table: KeypointTable, rows: NDArray[np.int64]) -> Picture:
    """The picture with the points of these rows; a small picture is enlarged, so that they can be seen."""
    size = picture.shape[:2]
    if max(size) < _SMALL:
        picture = draw.fit(picture, max(size) * (_SMALL // max(size) + 1))
    for row in rows.tolist():
        xy = draw.moved(table.xy[row], size, picture.shape[:2])
        picture = draw.points(
            picture, xy, shown=table.labelled[row], score=table.score[row], edges=table.edges
        )
    return picture


class Painter:
    """Pictures with their points, written while they are at hand: a clip becomes one clip, a picture a PNG.

    A context: `with Painter(folder) as draw: draw(images, index, picture, rows)`. The pictures of a clip must
    come in order. `written` are the files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.written: list[Path] = []
        self._clip: ImageSet | None = None
        self._add: Callable[[Picture], None] | None = None
        self._open = ExitStack()

    def __enter__(self) -> "Painter":
        return self

    def __exit__(self, *reason: Any) -> bool | None:
        return self._open.__exit__(*reason)

    def __call__(self, images: ImageSet, index: int, picture: Picture, table: KeypointTable) -> None:
        shown = painted(picture, table, np.arange(len(table)))
        if not images.is_clip:
            path = self._free(f"{_file_name(images.name(index))}.png")
            write_image(path, shown)
            return
        if self._add is None or images is not self._clip:
            self._open.close()
            path = self._free(f"{Path(images.title).stem or 'clip'}-points.mp4")
            self._clip, self._add = images, self._open.enter_context(video_writer(path, images.fps or _FPS))
        self._add(shown)

    def _free(self, name: str) -> Path:
        """Two folders may hold pictures of the same name."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / name
        if path in self.written:
            path = path.with_name(f"{path.stem}-{len(self.written)}{path.suffix}")
        self.written.append(path)
        return path


def _file_name(name: str) -> str:
    return Path(name.replace("#", "-")).stem if "#" not in name else Path(name).name.replace("#", "-")


def spread(candidates: Sequence[int], n: int) -> list[int]:
    """n of the candidates, evenly spaced from the first to the last; all where there are fewer."""
    if len(candidates) <= n:
        return list(candidates)
    return [candidates[round(i)] for i in np.linspace(0, len(candidates) - 1, n)]


def sheet(images: ImageSet, table: KeypointTable, pictures: Sequence[int], *, columns: int = 4) -> Picture:
    """A sheet of whole pictures with their points, captioned with their names."""
    rows, none = rows_by_picture(images, table), np.empty(0, np.int64)
    cells = [
        _cell(p, table, rows.get(i, none), images.name(i)) for i, p in pictures_of(images, set(pictures))
    ]
    return draw.contact_sheet(cells, columns)


def close_ups(
    images: ImageSet, table: KeypointTable, pictures: Sequence[int], *, columns: int = 4
) -> Picture:
    """A sheet of the objects alone: a square around each individual's points, large enough to judge them."""
    rows, cells = rows_by_picture(images, table), []
    chosen = [i for i in pictures if i in rows and table.labelled[rows[i]].any()]
    widest = max((_extent(table, row) for i in chosen for row in rows[i].tolist()), default=0.0)
    for index, picture in pictures_of(images, set(chosen)):
        for row in rows[index][table.labelled[rows[index]].any(1)].tolist():
            xy = table.xy[row][table.labelled[row]]
            left, top, right, bottom = _square((xy.min(0) + xy.max(0)) / 2, widest, picture.shape[:2])
            part = np.ascontiguousarray(picture[top:bottom, left:right])
            cells.append(_cell(part, table, np.array([row]), images.name(index), (left, top)))
    return draw.contact_sheet(cells, columns)


def _extent(table: KeypointTable, row: int) -> float:
    """The longer side of the box of a row's points; 0 for none."""
    xy = table.xy[row][table.labelled[row]]
    return float(np.ptp(xy, axis=0).max()) if len(xy) else 0.0


def _cell(
    picture: Picture,
    table: KeypointTable,
    rows: NDArray[np.int64],
    name: str,
    corner: tuple[int, int] = (0, 0),
) -> Picture:
    """One cell of a sheet: resized first and painted then, so that marks look alike in all cells."""
    cell = draw.fit(picture, _CELL)
    for row in rows.tolist():
        xy = draw.moved(table.xy[row] - corner, picture.shape[:2], cell.shape[:2])
        cell = draw.points(cell, xy, shown=table.labelled[row], score=table.score[row], edges=table.edges)
    return draw.caption(cell, Path(name).name)


def _square(middle: NDArray[np.float64], widest: float, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """left, top, right, bottom of a close-up around `middle`, inside a picture of `size` (h, w)."""
    h, w = size
    side = int(min(max(_LEAST * min(h, w), _CLOSE * widest), min(h, w)))
    left = int(np.clip(round(middle[0] - side / 2), 0, w - side))
    top = int(np.clip(round(middle[1] - side / 2), 0, h - side))
    return left, top, left + side, top + side
