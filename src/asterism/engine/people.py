"""Several people per picture: finding them all in one look, and measuring what was found."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from asterism.data.base import ImageSet, Picture
from asterism.data.crops import cut, frames_of
from asterism.data.gathered import pictures as pictures_of
from asterism.data.people import whole_frames
from asterism.data.subset import Subset
from asterism.engine.ahead import ahead
from asterism.engine.bars import Progress
from asterism.engine.team import pick_device
from asterism.engine.tracks import Tracker
from asterism.geometry import affine
from asterism.io.table import KeypointTable
from asterism.methods.base import Method
from asterism.metrics import oks
from asterism.types import Images, People2D, Skeleton

_BATCH = 16

Draw = Callable[[ImageSet, int, Picture, KeypointTable], None]  # its set and index, itself, its rows


def people_table(
    method: Method,
    skeleton: Skeleton,
    images: ImageSet,
    size: tuple[int, int],
    *,
    device: str = "auto",
    draw: Draw | None = None,
    progress: Progress | None = None,
    tracker: Tracker | None = None,
) -> KeypointTable:
    """One row per person; pictures without anybody have none. `individual` counts within a picture, the best
    first; with a tracker, for pictures in time, it is the number that the person keeps.

    Three things go on at once: pictures are read ahead, the network looks, and people are put together.
    """
    where = pick_device(device)
    method.to(where)
    frames = whole_frames(images)
    tables: list[KeypointTable] = []

    def batches() -> Iterator[tuple[dict[int, Picture], Images]]:
        held, parts = {}, []
        for index, picture in pictures_of(images, set(range(len(images)))):
            at = affine.source_from_crop(frames_of(frames, np.array([index])), size)
            parts.append(cut(picture, at, size))
            held[index] = picture
            if len(parts) == _BATCH:
                yield held, Images.cat(parts)
                held, parts = {}, []
        if parts:
            yield held, Images.cat(parts)

    def looked() -> Iterator[tuple[dict[int, Picture], Images, Any]]:
        for held, batch in ahead(batches()):
            there = batch.to(where)
            with torch.inference_mode():
                raw = method.forward(there)
            yield held, there, raw

    training = method.training
    method.eval()
    for held, batch, raw in ahead(looked()):
        with torch.inference_mode():
            found = method.decode(raw, batch).to("cpu")
        for i, (index, picture) in enumerate(held.items()):
            rows = _rows(skeleton, images, index, found[i], tracker)
            tables.append(rows)
            if draw is not None:
                draw(images, index, picture, rows)
        if progress is not None:
            done = max(held) + 1
            progress(done / len(images), f"picture {done} of {len(images)}")
    method.train(training)
    return _together(skeleton, images, tables)


def _rows(
    skeleton: Skeleton, images: ImageSet, index: int, found: People2D, tracker: Tracker | None
) -> KeypointTable:
    """The people of one picture, whose name is the table's only one."""
    here = found.valid[0]
    score = found.score[0][here].double().numpy()
    there = score > 0
    xy = np.where(there[..., None], found.xy[0][here].double().numpy(), 0.0)
    individual = np.arange(len(xy)).astype(np.int64)
    if tracker is not None:
        individual = tracker.update(xy, extents(xy, there)[:, 2:].prod(1), there)
    return _table(skeleton, (images.name(index),), np.zeros(len(xy), np.int64), individual, xy, there, score)


def _table(
    skeleton: Skeleton,
    names: tuple[str, ...],
    image: NDArray[np.int64],
    individual: NDArray[np.int64],
    xy: Float[np.ndarray, "N K 2"],
    there: NDArray[np.bool_],
    score: Float[np.ndarray, "N K"],
) -> KeypointTable:
    n = len(xy)
    return KeypointTable(
        names=skeleton.names,
        images=names,
        image=image,
        individual=individual,
        xy=xy,
        labelled=there,
        visible=there.copy(),
        score=score,
        box=np.zeros((n, 4)),
        has_box=np.zeros(n, bool),
        area=np.zeros(n),
        edges=skeleton.edges,
        swap=skeleton.swap,
        sigma=skeleton.sigma,
    )


def _together(skeleton: Skeleton, images: ImageSet, tables: list[KeypointTable]) -> KeypointTable:
    k = len(skeleton)
    names = tuple(images.name(i) for i in range(len(images)))
    at = {name: i for i, name in enumerate(names)}
    image = np.array([at[t.images[0]] for t in tables for _ in range(len(t))], np.int64)
    order = np.argsort(image, kind="stable")
    empty = (np.zeros(0, np.int64), np.zeros((0, k, 2)), np.zeros((0, k), bool), np.zeros((0, k)))
    individual, xy, labelled, score = (
        np.concatenate([getattr(t, name) for t in tables] or [nothing])[order]
        for name, nothing in zip(("individual", "xy", "labelled", "score"), empty)
    )
    rest = (individual.astype(np.int64), xy, labelled.astype(bool), score)
    return _table(skeleton, names, image[order], *rest)


def measure_people(
    method: Method,
    skeleton: Skeleton,
    images: ImageSet,
    test: NDArray[np.int64],
    size: tuple[int, int],
    device: str = "auto",
) -> dict[str, Any]:
    """OKS average precision and recall on the pictures `test`, and how many people were found in them.

    A person's score is the mean of its points' scores, 0 for those not found. Truths without an area or a box
    have the area of the box of their points.
    """
    some = Subset(images, test)
    assert some.table is not None
    table = some.table
    found = people_table(method, skeleton, some, size, device=device)
    box = np.where(table.has_box[:, None], table.box, extents(table.xy, table.labelled))
    area = oks.object_area(table.area, box, np.ones(len(table), bool))
    crowd = np.zeros(len(table), bool)
    truth = oks.Truth(table.image, table.xy, table.labelled, area, box, crowd)
    sigma, source = oks.sigmas_for(table.names, table.sigma)
    numbers = oks.average_precision(truth, oks.Found(found.image, _filled(found), found.score.mean(1)), sigma)
    return {
        "oks_ap": numbers["AP"],
        "oks_sigma": source,
        **{f"oks_{name.lower()}": numbers[name] for name in ("AP50", "AP75", "AR")},
        "people": int(table.labelled.any(1).sum()),
        "people_found": len(found),
    }


def extents(xy: Float[np.ndarray, "N K 2"], counts: Bool[np.ndarray, "N K"]) -> Float[np.ndarray, "N 4"]:
    """x, y, width, height of the points that count; 0 where none does."""
    some = counts[..., None]
    low = np.where(some, xy, np.inf).min(1)
    high = np.where(some, xy, -np.inf).max(1)
    return np.where(counts.any(1, keepdims=True), np.concatenate([low, high - low + 1], axis=1), 0.0)


def _filled(found: KeypointTable) -> Float[np.ndarray, "N K 2"]:
    """Points that were not found at the middle of those that were: COCO counts a guess and a gap alike."""
    some = found.labelled[..., None]
    count = np.maximum(some.sum(1), 1)
    middle = np.where(some, found.xy, 0.0).sum(1) / count
    return np.where(some, found.xy, middle[:, None])
