"""The scores of discovered points that need no labels, on pictures to test on."""

from dataclasses import asdict
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from asterism.data.base import FrameTable, ImageSet
from asterism.data.gathered import gather
from asterism.engine.judge import equivariance, objects_of
from asterism.engine.looks import Looked
from asterism.engine.predict import keypoints
from asterism.engine.view import View
from asterism.methods.base import Method
from asterism.metrics.health import Jitter, Limits, health, jitter

_MASKED = 60  # pictures whose masks are compared, evenly over those tested on
_STRETCH = 120  # pictures of a clip in a row, in its middle, along which tremble is measured
_LOOSE = 0.5  # of the error of points that do not move at all, as in engine.judge


@runtime_checkable
class Masked(Protocol):
    """A set that knows which pixels are objects: generated worlds do."""

    def mask(self, index: int) -> NDArray[np.uint8]: ...


def health_of(method: Method, look: Looked, every: FrameTable, view: View, device: str) -> dict[str, Any]:
    """metrics.health of the points in the frames of `look`; None where a score cannot be had.

    `every` are the frames of the whole set, among which a clip's stretch is taken. Lengths in object sizes.
    """
    images, frames = look.images, look.frames.rows(look.frames.found)
    if not len(frames):
        return {"pictures": 0}
    xy, score = keypoints(method, images, frames, view.size, device=device)
    crops = gather(images, frames, view.size, clips=False)
    steady, stuck = equivariance(method.to("cpu"), crops, frames)
    rows = np.unique(np.linspace(0, len(frames) - 1, _MASKED).round().astype(np.int64))
    mask = _masks(images, frames, rows)
    some = slice(None) if mask is None else rows
    found = health(
        xy[some],
        score[some],
        objects_of(frames, np.arange(len(frames))[some]),
        Limits(loose=_LOOSE * float(stuck.mean())),
        mask=mask,
        equivariance=steady,
        jitter=_jitter(method, images, every, view, device),
    )
    return {
        "pictures": len(np.unique(frames.image)),
        "points": xy.shape[1],
        "healthy": len(found.healthy),
        "dead": sum("dead" in flags or "absent" in flags for flags in found.flags),
        "collapsed": len(found.twins),
        "on_object": None if found.on_object is None else float(np.mean(found.on_object)),
        "coverage": found.coverage,
        "equivariance_error": float(steady.mean()),
        "equivariance_error_of_fixed_points": float(stuck.mean()),
        "jitter": None if found.jitter is None else float(np.median(found.jitter.size)),
        "per_point": asdict(found),
    }


def _masks(images: ImageSet, frames: FrameTable, rows: NDArray[np.int64]) -> NDArray[np.bool_] | None:
    """All objects of each row's picture: points count as on the object when they are on any."""
    if not isinstance(images, Masked):
        return None
    return np.stack([images.mask(int(index)) > 0 for index in frames.image[rows]])


def _jitter(method: Method, images: ImageSet, every: FrameTable, view: View, device: str) -> Jitter | None:
    """Tremble of the first object along a stretch of the clip in which it is always found."""
    if not images.is_clip:
        return None
    rows = np.flatnonzero((every.individual == 0) & every.found)
    rows = rows[np.argsort(every.image[rows], kind="stable")]
    rows = _middle(rows[_longest_run(every.image[rows])])
    if len(rows) < 3:
        return None
    frames = every.rows(rows)
    xy: Float[np.ndarray, "T P 2"] = keypoints(method, images, frames, view.size, device=device)[0]
    return jitter(xy, float(np.median(objects_of(frames, np.arange(len(frames))).size)))


def _longest_run(image: NDArray[np.int64]) -> slice:
    """Where the longest run of consecutive numbers lies."""
    breaks = np.flatnonzero(np.diff(image) != 1) + 1
    starts, stops = np.r_[0, breaks], np.r_[breaks, len(image)]
    longest = int((stops - starts).argmax())
    return slice(int(starts[longest]), int(stops[longest]))


def _middle(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    start = max(0, (len(rows) - _STRETCH) // 2)
    return rows[start : start + _STRETCH]
