"""Keypoints for pictures of any number, in bounded memory."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from asterism.data.base import FrameTable, ImageSet, Picture
from asterism.data.crops import background_of, cut, frames_of
from asterism.data.folder import PictureFiles
from asterism.data.gathered import pictures as pictures_of
from asterism.data.sources import open_data
from asterism.data.tables import joined
from asterism.engine.bars import Progress, bar
from asterism.engine.flipped import flipped
from asterism.engine.people import people_table
from asterism.engine.runs import Run
from asterism.engine.team import pick_device
from asterism.engine.view import frames_for, read_view
from asterism.engine.weights import load_weights
from asterism.errors import RequestError
from asterism.geometry import affine
from asterism.io.images import IMAGE_SUFFIXES
from asterism.io.keypoints import check_format, write_keypoints
from asterism.io.table import KeypointTable
from asterism.methods.base import Method
from asterism.types import Images, Keypoints2D, People2D, Skeleton

_BATCH = 32

Draw = Callable[[ImageSet, int, Picture, KeypointTable], None]  # its set and index, itself, its rows


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Some whole pictures, their frames (`rows` of the FrameTable), and the keypoints found in these."""

    rows: NDArray[np.int64]
    pictures: dict[int, Picture]  # by index in the set
    found: Keypoints2D


def predict(
    method: Method,
    images: ImageSet,
    frames: FrameTable,
    size: tuple[int, int],
    *,
    device: str = "auto",
    progress: Progress | None = None,
) -> Iterator[Chunk]:
    """Keypoints for every frame, in the order of the pictures; never more than a batch of pictures is held.

    Raises RequestError for a method that does not take images and give one set of keypoints.
    """
    if method.takes is not Images or method.gives is not Keypoints2D:
        raise RequestError(f"{method.name} takes {method.takes.__name__}; only pictures can be given here")
    where = pick_device(device)
    method.to(where)
    rows_of = _rows_by_picture(frames)
    parts: list[Images] = []
    rows: list[NDArray[np.int64]] = []
    pictures: dict[int, Picture] = {}
    for index, picture in pictures_of(images, set(rows_of)):
        here = rows_of[index]
        at = affine.source_from_crop(frames_of(frames, here), size)
        parts.append(cut(picture, at, size, background_of(frames, int(here[0]), picture)))
        rows.append(here)
        pictures[index] = picture
        if sum(map(len, rows)) >= _BATCH:
            yield _chunk(method, parts, rows, pictures, where)
            parts, rows, pictures = [], [], {}
            if progress is not None:
                progress((index + 1) / len(images), f"picture {index + 1} of {len(images)}")
    if parts:
        yield _chunk(method, parts, rows, pictures, where)


def _rows_by_picture(frames: FrameTable) -> dict[int, NDArray[np.int64]]:
    order = np.argsort(frames.image, kind="stable")
    shown, starts = np.unique(frames.image[order], return_index=True)
    return dict(zip(shown.tolist(), np.split(order, starts[1:])))


def _chunk(
    method: Method,
    parts: list[Images],
    rows: list[NDArray[np.int64]],
    pictures: dict[int, Picture],
    device: torch.device,
) -> Chunk:
    found = method.predict(Images.cat(parts).to(device))
    found = Keypoints2D(xy=found.xy.cpu(), score=found.score.cpu())  # maps of a long clip would fill memory
    return Chunk(rows=np.concatenate(rows), pictures=pictures, found=found)


def keypoints(
    method: Method, images: ImageSet, frames: FrameTable, size: tuple[int, int], *, device: str = "auto"
) -> tuple[Float[np.ndarray, "N K 2"], Float[np.ndarray, "N K"]]:
    """Only where the points are, in source pixels, and their scores, in the order of the frames."""
    parts = [(chunk.rows, chunk.found) for chunk in predict(method, images, frames, size, device=device)]
    order = np.argsort(np.concatenate([rows for rows, _ in parts]))
    found = Keypoints2D.cat([part for _, part in parts])
    return found.xy.double().numpy()[order], found.score.double().numpy()[order]


def table_of(
    skeleton: Skeleton,
    images: Sequence[str],
    image: NDArray[np.int64],
    individual: NDArray[np.int64],
    found: Keypoints2D,
    stood_out: NDArray[np.bool_],
) -> KeypointTable:
    """Keypoints as a table of rows; `image` indexes the names of the pictures.

    Rows in whose frame no object stood out (`stood_out` False) hold no point: a guess is no finding.
    """
    n, k = found.score.shape
    here = np.repeat(stood_out[:, None], k, axis=1)
    return KeypointTable(
        names=skeleton.names,
        images=tuple(images),
        image=image,
        individual=individual,
        xy=np.where(here[..., None], found.xy.double().numpy(), 0.0),
        labelled=here,
        visible=here.copy(),
        score=np.where(here, found.score.double().numpy(), 0.0),
        box=np.zeros((n, 4)),
        has_box=np.zeros(n, bool),
        area=np.zeros(n),
        edges=skeleton.edges,
        swap=skeleton.swap,
        sigma=skeleton.sigma,
    )


def predict_table(
    method: Method,
    skeleton: Skeleton,
    images: ImageSet,
    frames: FrameTable,
    size: tuple[int, int],
    *,
    device: str = "auto",
    draw: Draw | None = None,
    progress: Progress | None = None,
) -> KeypointTable:
    """One row per frame. `draw` is called once per picture with its rows, while the picture is at hand."""
    rows: list[NDArray[np.int64]] = []
    found: list[Keypoints2D] = []
    for chunk in predict(method, images, frames, size, device=device, progress=progress):
        rows.append(chunk.rows)
        found.append(chunk.found)
        if draw is None:
            continue
        for index, picture in chunk.pictures.items():
            here = frames.image[chunk.rows] == index
            own = chunk.found[torch.from_numpy(here)]
            which = chunk.rows[here]
            at, name = np.zeros(len(own), np.int64), images.name(index)
            rest = (frames.individual[which], own, frames.found[which])
            draw(images, index, picture, table_of(skeleton, [name], at, *rest))
    names = [images.name(index) for index in range(len(images))]
    order = np.concatenate(rows) if rows else np.zeros(0, np.int64)
    empty = Keypoints2D(xy=torch.zeros(0, len(skeleton), 2), score=torch.zeros(0, len(skeleton)))
    every = Keypoints2D.cat(found) if found else empty
    columns = (frames.image[order], frames.individual[order], every, frames.found[order])
    return table_of(skeleton, names, *columns)


def predict_to(
    run: Path,
    inputs: Sequence[str],
    output: Path,
    *,
    format: str | None = None,
    draw: Draw | None = None,
    device: str = "auto",
    flip: bool = False,
) -> dict[str, Any]:
    """Keypoints of all inputs (pictures, folders, clips, label files) into one file; returns its numbers.

    The ending of `output` chooses the format unless `format` names one; it is written wholly, in the end.
    `not_found` counts the rows in which no object stood out: their points are left empty. `flip` looks at the
    mirrored pictures, too (engine.flipped).
    Raises RequestError before any work when an input or the output cannot be.
    """
    check_format(output, format)
    view = read_view(Run(run))
    method, skeleton = load_weights(run / "best")
    if skeleton is None:
        raise RequestError(f"{run}: its weights do not say what the points are called; train it again")
    if flip:
        method = flipped(method, skeleton)
    began = time.monotonic()
    tables, looks, lost = [], [], 0
    for images in _sets(inputs):
        shown: AbstractContextManager[Progress | None] = (
            bar(images.title) if len(images) > 1 else nullcontext()
        )
        with shown as progress:
            if method.gives is People2D:
                looks.append("whole: everybody is found in one look")
                asked = {"device": device, "draw": draw, "progress": progress}
                tables.append(people_table(method, skeleton, images, view.size, **asked))
                continue
            frames = frames_for(images, view)
            looks.append(f"{frames.kind}: {frames.why}")
            lost += int((~frames.found).sum())
            table = predict_table(
                method, skeleton, images, frames, view.size, device=device, draw=draw, progress=progress
            )
        tables.append(table)
    table = joined(tables)
    write_keypoints(output, table, format)
    seconds = time.monotonic() - began
    return {
        "output": str(output),
        "pictures": len(table.images),
        "rows": len(table),
        "not_found": lost,
        "points": len(skeleton),
        "frame": " | ".join(dict.fromkeys(looks)),
        "seconds": seconds,
        "pictures_per_second": len(table.images) / seconds,
    }


def _sets(inputs: Sequence[str]) -> list[ImageSet]:
    """One set per folder, clip or label file; single pictures go together, as from one camera."""
    if not inputs:
        raise RequestError("nothing to look at: name pictures, folders or clips")
    sets = [open_data(what) for what in inputs]
    single = [what for what in inputs if Path(what).suffix.lower() in IMAGE_SUFFIXES]
    if len(single) < 2:
        return sets
    others = [images for what, images in zip(inputs, sets) if what not in single]
    return [PictureFiles(f"{len(single)} pictures", tuple(single)), *others]
