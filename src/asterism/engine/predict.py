"""Keypoints for pictures of any number, in bounded memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from asterism.data.base import FrameTable, ImageSet, Picture
from asterism.data.crops import background_of, cut, frames_of
from asterism.data.gathered import pictures as pictures_of
from asterism.engine.bars import Progress
from asterism.engine.people import Draw
from asterism.engine.team import pick_device
from asterism.errors import RequestError
from asterism.geometry import affine
from asterism.io.table import KeypointTable
from asterism.methods.base import Method
from asterism.types import Features, Images, Keypoints2D, Skeleton

_BATCH = 32


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
    if method.gives is Features:
        raise RequestError(
            f"{method.name} finds other points in every picture; match them: asterism match A B --method RUN"
        )
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
