"""The frame in which an object is looked at: centre, scale and angle, found before any method runs.

Looking at an object in its own frame is the largest single gain known for single-object clips (a blob's
moments alone place four points on a mouse to 0.06 of a body length; learning in their frame halves that).
Three kinds: `boxes` from the labels, `moments` of what stands out from a background that stands still or is
held still (data/scenes), and `whole`, the whole picture, when there is no object to find. find_frames chooses
and says why.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from asterism.data.base import FrameTable, ImageSet, Picture
from asterism.data.heading import find_heading
from asterism.data.moments import REACH, Blobs, Follower
from asterism.data.scenes import Ground, ground_of, scenes_of
from asterism.errors import RequestError
from asterism.io.table import KeypointTable

KINDS = ("auto", "whole", "boxes", "moments")
BOX_MARGIN = 1.25  # HRNet, lib/dataset/coco.py: the box is enlarged by a quarter
_ROUND = 0.85  # short / long axis from which an object has no clear axis: it is not turned


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What a run remembers of the pictures it learned from, to look at new ones the same way."""

    objects: int | None = None
    look: NDArray[np.float32] | None = None
    background: Picture | None = None


def find_frames(
    images: ImageSet, kind: str = "auto", objects: int | None = None, memory: Memory | None = None
) -> FrameTable:
    """One frame per individual and picture.

    `objects` is the number of individuals for `moments` (None counts them). Raises RequestError when `kind`
    is unknown or cannot be had from these pictures; auto never raises.
    """
    memory = memory or Memory()
    if kind not in KINDS:
        raise RequestError(f"--frame {kind}: wanted one of {', '.join(KINDS)}")
    table = images.table
    if kind in ("boxes", "auto") and table is not None and len(table) and table.has_box.all():
        return _of_boxes(table)
    if kind == "boxes":
        raise RequestError(f"--frame boxes: {images.title} has no boxes; try --frame auto")
    grounds = [ground_of(scene, memory.background) for scene in scenes_of(images)]
    if kind == "whole":
        return _whole(images, "asked for", grounds)
    found, why = _moments(images, objects or memory.objects, memory, grounds, sure=kind == "moments")
    if found is not None:
        return found
    if kind == "moments":
        raise RequestError(f"--frame moments: {images.title}: {why}; try --frame whole")
    return _whole(images, why, grounds)


# ------------------------------------------------------------------------------------------ boxes and whole


def _of_boxes(table: KeypointTable) -> FrameTable:
    n = len(table)
    side = table.box[:, 2:].max(axis=1)
    return FrameTable(
        kind="boxes",
        why="the labels have boxes",
        image=table.image.copy(),
        individual=table.individual.copy(),
        row=np.arange(n),
        centre=table.box[:, :2] + (table.box[:, 2:] - 1) / 2,
        scale=np.maximum(side * BOX_MARGIN / 2, 1.0),
        angle=np.zeros(n),
        doubt=np.zeros(n),
        background=np.full(n, -1),
        found=np.ones(n, bool),
    )


def _whole(images: ImageSet, why: str, grounds: list[Ground | None]) -> FrameTable:
    """Whole pictures; a steady scene keeps its background, so that what changes in it can be seen."""
    n = len(images)
    sizes = np.array([images.picture_size(j) for j in range(n)]).reshape(n, 2)
    known = [ground for ground in grounds if ground is not None and ground.steady]
    which, backgrounds, placed = _backgrounds(n, known)
    one_each = FrameTable(
        kind="whole",
        why=why,
        image=np.arange(n),
        individual=np.zeros(n, np.int64),
        row=np.full(n, -1),
        centre=(sizes[:, ::-1] - 1) / 2,
        scale=sizes.max(axis=1) / 2,
        angle=np.zeros(n),
        doubt=np.zeros(n),
        background=which,
        found=np.ones(n, bool),
        backgrounds=backgrounds,
        placed=placed,
    )
    return _with_rows(one_each, images.table)


def _backgrounds(
    n: int, grounds: list[Ground]
) -> tuple[NDArray[np.int64], tuple[NDArray[np.uint8], ...], NDArray[np.float64] | None]:
    """FrameTable's `background`, `backgrounds` and `placed` for each of n pictures."""
    which, every, placed = np.full(n, -1), [], np.tile(np.eye(3), (n, 1, 1))
    for ground in grounds:
        members = ground.scene.members
        which[members] = ground.which + len(every)
        every.extend(ground.backgrounds)
        if ground.placed is not None:
            placed[members] = ground.placed
    moves = any(ground.placed is not None for ground in grounds)
    return which, tuple(every), placed if moves else None


# --------------------------------------------------------------------------------------------------- moments

_LEAST = 1e-3  # of the picture: less foreground is noise
_UNSTEADY = 0.35  # spread of an object's length over its mean: flies 0.05 to 0.13, a mouse's paws 0.5
_OWN = 0.6  # the objects must explain this share of the foreground


def _moments(
    images: ImageSet, objects: int | None, memory: Memory, grounds: list[Ground | None], sure: bool
) -> tuple[FrameTable | None, str]:
    """Frames from moments, or None and the reason why there are none. `sure` skips the judgement."""
    parts: list[tuple[Ground, Blobs]] = []
    for ground in grounds:
        if ground is None:
            return None, "fewer than five pictures of one size, so there is no background to stand out from"
        follower = Follower(ground.level, objects or max(ground.seen, 1), ground.scene.is_clip)
        for t, picture in enumerate(ground.scene):
            follower.add(picture, ground.behind(t, picture))
        blobs = follower.blobs()
        if not sure and (why := _judge(blobs, ground)):
            return None, why
        parts.append((ground, blobs))
    return _joined(images, parts, memory), ""


def _judge(blobs: Blobs, ground: Ground) -> str:
    """Why these blobs are no objects worth a frame; empty when they are."""
    if not ground.steady:
        return "most of the picture differs from the median picture: the camera moves or the scene changes"
    if ground.share < _LEAST or blobs.found.mean() < 0.5:
        return "hardly anything stands out from the background"
    if blobs.border[blobs.found].mean() > 0.5:
        return "what moves touches the edge of the picture: no whole object is seen"
    long = np.where(blobs.found, blobs.long, np.nan)
    if (np.nanstd(long, axis=0) / np.nanmean(long, axis=0)).max() > _UNSTEADY:
        return "what moves keeps no size from picture to picture: parts, not a whole object"
    if blobs.mass.sum(1).mean() < _OWN:
        return "what moves is scattered over the picture: no compact object is seen"
    return ""


def _joined(images: ImageSet, parts: list[tuple[Ground, Blobs]], memory: Memory) -> FrameTable:
    """The scenes' blobs as one table; each scene finds its own front, as its animal may look otherwise."""
    look = memory.look
    columns: dict[str, list[NDArray]] = {name: [] for name in ("image", "individual", "centre", "scale")}
    columns |= {name: [] for name in ("angle", "doubt", "found")}
    for ground, blobs in parts:
        across = ground.moved(blobs.centre)
        heading = find_heading(blobs, ground.scene.is_clip, memory.look, across)
        look = heading.look if look is None else look
        t, n = blobs.found.shape
        round_ = np.median(blobs.short / np.maximum(blobs.long, 1e-9)) > _ROUND
        columns["image"].append(np.repeat(ground.scene.members, n))
        columns["individual"].append(np.tile(np.arange(n), t))
        columns["centre"].append(blobs.centre.reshape(-1, 2))
        columns["scale"].append((REACH * _steady(blobs)).ravel())
        columns["angle"].append(np.zeros(t * n) if round_ else heading.angle.ravel())
        columns["doubt"].append(heading.doubt.ravel())
        columns["found"].append(blobs.found.ravel())
    joined = {name: np.concatenate(values) for name, values in columns.items()}
    order = np.argsort(joined["image"], kind="stable")  # scenes may be mixed; the pictures' order rules
    joined = {name: values[order] for name, values in joined.items()}
    which, backgrounds, placed = _backgrounds(len(images), [ground for ground, _ in parts])
    count = int(joined["individual"].max()) + 1
    table = FrameTable(
        kind="moments",
        why=_why(count, [ground for ground, _ in parts]),
        row=np.full(len(order), -1),
        background=which[joined["image"]],
        backgrounds=backgrounds,
        placed=None if placed is None else placed[joined["image"]],
        look=look,
        objects=count,
        **joined,
    )
    return _with_rows(table, images.table)


def _why(count: int, grounds: list[Ground]) -> str:
    moving = sum(ground.moves for ground in grounds)
    flickering = sum(ground.placed is not None for ground in grounds) - moving
    if not moving and not flickering:
        return f"{count} object(s) stand out from a still background"
    what = "the camera moves" if moving else "the light changes"
    where = "" if len(grounds) == 1 else f" in {moving or flickering} of {len(grounds)} scenes"
    return f"{what}{where}; {count} object(s) stand out from the scene held still"


def _steady(blobs: Blobs) -> NDArray[np.float64]:
    """Standard deviation of the long axis, T N: constant where the object keeps its size, else what it is."""
    out = np.maximum(blobs.long, 1.0)
    for k in range(out.shape[1]):
        low, middle, high = (
            np.percentile(out[blobs.found[:, k], k], [10, 50, 90]) if blobs.found[:, k].any() else (1, 1, 1)
        )
        if high < 1.5 * low:
            out[:, k] = middle
        out[~blobs.found[:, k], k] = middle
    return out


def _with_rows(frames: FrameTable, table: KeypointTable | None) -> FrameTable:
    """Label rows joined to the frames of their picture, so that the centres are nearest in all."""
    if table is None or len(table) == 0:
        return frames
    take, rows = [], []
    for j in np.unique(table.image).tolist():
        here, mine = np.flatnonzero(frames.image == j), np.flatnonzero(table.image == j)
        middle = np.stack([_middle(table, int(row), frames.centre[here].mean(0)) for row in mine])
        apart = np.linalg.norm(middle[:, None] - frames.centre[here], axis=-1)  # rows frames
        apart = np.tile(apart, -(-len(mine) // len(here)))  # more rows than frames: frames are shared
        row, column = linear_sum_assignment(apart)
        take.extend(here[column % len(here)])
        rows.extend(mine[row])
    order = np.argsort(rows)
    joined = frames.rows(np.array(take, np.int64)[order])
    return replace(joined, row=np.array(rows, np.int64)[order], individual=table.individual.copy())


def _middle(table: KeypointTable, row: int, otherwise: NDArray) -> NDArray:
    on = table.labelled[row]
    return table.xy[row][on].mean(0) if on.any() else otherwise
