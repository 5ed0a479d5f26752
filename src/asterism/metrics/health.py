"""Is a set of discovered points alive? Scores that need no labels, and the flags that follow from them.

N pictures of one object, P points in pixels. `Objects` says where the object is in each picture, from its
mask, its box or a track: what is known of the object without the points. All lengths come out in object
sizes. What each way to fail looks like:

ring       a fixed ring or grid of points: spread 0 in the frame it is fixed in, follow 0, turning = the
           object's own, a large equivariance error
corners    of a bounding box, or its edges: spread large, turning = the object's own, boxed small
background follow 0, on_object 0
twins      two points on one part: a small distance between them
noise      equivariance error of the object's size, jitter / motion near sqrt(3)
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

_HALF = 0.5  # the box must leave less than half of what the best place on the object leaves
_PIXELS = 500  # of a mask, evenly, are enough to cover it


@dataclass(frozen=True)
class Objects:
    """`centre` and `size` (longest side) in pixels, `angle` of the object's own x axis in radians."""

    centre: Float[np.ndarray, "N 2"]
    angle: Float[np.ndarray, " N"]
    size: Float[np.ndarray, " N"]


@dataclass(frozen=True)
class Limits:
    """Where a score becomes a flag. Lengths in object sizes.

    still      a spread under this is dead. Real parts breathe and are measured with noise; 0.005 is a quarter
               of a pixel on an object of 50 px, under what a heatmap of a quarter of that can resolve
    presence   a mean score under this is absent
    follow     halfway between a point of the background (0) and one of the object (1)
    twins      a pair nearer than this on average is collapsed: half the radius of PCK@0.1
    on_object  a point that is off the object more often than on it
    loose      equivariance error above this: as far off as PCK@0.1 allows
    boxed      a point that stays as near as this to one place of the object's upright bounding box, while the
               object turns in it and no place on the object explains half as much, follows the box
    wander     motion of the object, in its sizes (standard deviation), under which `follow` says nothing
    turn       resultant length of the object's angle above which `turning` says nothing (25 degrees rms)
    """

    still: float = 0.005
    presence: float = 0.05
    follow: float = 0.5
    twins: float = 0.05
    on_object: float = 0.5
    loose: float = 0.1
    boxed: float = 0.1
    wander: float = 0.1
    turn: float = 0.9


@dataclass(frozen=True)
class Jitter:
    """Per point, medians over a clip: second difference in object sizes, and over the first difference.

    The ratio is 0 for steady motion and sqrt(3) for independent noise; None for a point that never moves.
    """

    size: tuple[float, ...]
    motion: tuple[float | None, ...]


@dataclass(frozen=True)
class Health:
    """Per point, in order, except for `twins` (a, b, distance), `extent`, `coverage` and `turning`.

    `flags[k]` are words: dead, absent, background, off the object, loose, bounding-box. `healthy` are the
    points without a flag that are not the second of a collapsed pair.
    """

    spread: tuple[float, ...]
    presence: tuple[float, ...]
    follow: tuple[float, ...] | None
    on_object: tuple[float, ...] | None
    equivariance: tuple[float, ...] | None
    boxed: tuple[float, ...] | None
    jitter: Jitter | None
    twins: tuple[tuple[int, int, float], ...]
    extent: float
    coverage: float | None
    turning: float | None
    flags: tuple[tuple[str, ...], ...]
    healthy: tuple[int, ...]


def health(
    points: Float[np.ndarray, "N P 2"],
    score: Float[np.ndarray, "N P"],
    objects: Objects,
    limits: Limits,
    *,
    mask: Bool[np.ndarray, "N H W"] | None = None,
    equivariance: Float[np.ndarray, " P"] | None = None,
    jitter: Jitter | None = None,
) -> Health:
    """All scores and flags. Optional parts need more than the points: a mask, known warps, a clip."""
    presence, spread_, follow_ = (
        score.mean(0),
        spread(points, objects),
        follow(points, objects, limits.wander),
    )
    on = None if mask is None else on_object(points, mask)
    boxed_ = None if mask is None else boxed(points, mask, objects, limits.turn)
    bad = {
        "dead": spread_ < limits.still,
        "absent": presence < limits.presence,
        "background": None if follow_ is None else follow_ < limits.follow,
        "off the object": None if on is None else on < limits.on_object,
        "loose": None if equivariance is None else equivariance > limits.loose,
        "bounding-box": None
        if boxed_ is None
        else (boxed_ < limits.boxed) & (boxed_ < _HALF * spread_) & (spread_ > limits.boxed),
    }
    count = points.shape[1]
    flags = tuple(
        tuple(w for w, is_bad in bad.items() if is_bad is not None and is_bad[k]) for k in range(count)
    )
    gaps = pair_distances(points, objects)
    twins_ = tuple(
        (a, b, float(gaps[a, b])) for a, b in combinations(range(count), 2) if gaps[a, b] < limits.twins
    )
    second = {b for _, b, _ in twins_}
    return Health(
        spread=_plain(spread_),
        presence=_plain(presence),
        follow=None if follow_ is None else _plain(follow_),
        on_object=None if on is None else _plain(on),
        equivariance=None if equivariance is None else _plain(equivariance),
        boxed=None if boxed_ is None else _plain(boxed_),
        jitter=jitter,
        twins=twins_,
        extent=extent(points, objects),
        coverage=None if mask is None else coverage(points, mask, objects),
        turning=turning(points, objects, limits.turn),
        flags=flags,
        healthy=tuple(k for k in range(count) if not flags[k] and k not in second),
    )


# ---------------------------------------------------------------------------------- one score at a time


def in_object(points: Float[np.ndarray, "N P 2"], objects: Objects) -> Float[np.ndarray, "N P 2"]:
    """Points in the object's own frame: centre 0, its x axis along x, in object sizes."""
    out = (points - objects.centre[:, None]) @ _axes(objects.angle)
    return out / objects.size[:, None, None]


def spread(points: Float[np.ndarray, "N P 2"], objects: Objects) -> Float[np.ndarray, " P"]:
    """Root mean squared distance from the point's mean place in the object's frame, in object sizes.

    0 is a point fixed in the frame. Parts of a body have some; a point that ignores the object's rotation
    has about its distance from the centre.
    """
    local = in_object(points, objects)
    return np.sqrt(((local - local.mean(0)) ** 2).sum(-1).mean(0))


def follow(
    points: Float[np.ndarray, "N P 2"], objects: Objects, wander: float = Limits.wander
) -> Float[np.ndarray, " P"] | None:
    """Pixels a point moves per pixel that the object's centre moves (least squares): 1 object, 0 background.

    None when the centre moves less than `wander` object sizes (standard deviation), where it says nothing.
    """
    centre = objects.centre - objects.centre.mean(0)
    power = (centre**2).sum()
    if np.sqrt(power / len(centre)) < wander * objects.size.mean():
        return None
    return np.einsum("npi,ni->p", points - points.mean(0), centre) / power


def turning(points: Float[np.ndarray, "N P 2"], objects: Objects, turn: float = Limits.turn) -> float | None:
    """Do the points turn with the object? Mean resultant length of (angle of the points - its angle).

    The angle of the points is that of the least-squares similarity from their mean shape in the object's
    frame. 1: they turn with it. Points that never turn get the resultant length of the object's own angle,
    0 for an object seen from all sides. None when the object turns less than `turn` allows to tell, or when
    there are fewer than two points.
    """
    if points.shape[1] < 2 or np.abs(np.exp(1j * objects.angle).mean()) > turn:
        return None
    z = points[..., 0] + 1j * points[..., 1]  # N P
    z = z - z.mean(1, keepdims=True)
    # The mean shape is taken upright: in the object's frame a shape that never turns would cancel itself.
    still, bound = z.mean(0), (z * np.exp(-1j * objects.angle)[:, None]).mean(0)
    shape = bound if np.abs(bound).sum() > np.abs(still).sum() else still
    angle = np.angle((z * shape.conj()).sum(1)) - objects.angle
    return float(np.abs(np.exp(1j * angle).mean()))


def pair_distances(points: Float[np.ndarray, "N P 2"], objects: Objects) -> Float[np.ndarray, "P P"]:
    """Mean distance of every two points, in object sizes."""
    gap = points[:, :, None] - points[:, None]  # N P P 2
    return (np.hypot(gap[..., 0], gap[..., 1]) / objects.size[:, None, None]).mean(0)


def extent(points: Float[np.ndarray, "N P 2"], objects: Objects) -> float:
    """Longest side of the points' bounding box in object sizes, mean over pictures."""
    return float(((points.max(1) - points.min(1)).max(1) / objects.size).mean())


def on_object(points: Float[np.ndarray, "N P 2"], mask: Bool[np.ndarray, "N H W"]) -> Float[np.ndarray, " P"]:
    """Share of pictures in which the pixel under the point belongs to the object; outside it does not."""
    h, w = mask.shape[1:]
    x, y = np.rint(points[..., 0]), np.rint(points[..., 1])
    inside = (x >= 0) & (y >= 0) & (x < w) & (y < h)
    column, row = (np.where(inside, v, 0).astype(np.int64) for v in (x, y))
    return (mask[np.arange(len(mask))[:, None], row, column] & inside).mean(0)


def boxed(
    points: Float[np.ndarray, "N P 2"],
    mask: Bool[np.ndarray, "N H W"],
    objects: Objects,
    turn: float = Limits.turn,
) -> Float[np.ndarray, " P"] | None:
    """How far a point is from what the object's upright bounding box would say, in object sizes (rms).

    What it can say: one place of the box, such as a corner or the middle of an edge, or the outermost pixels
    on one of its four sides; the best of these counts. None where the object turns less than `turn` allows to
    tell, for then the box turns as little as the body, and where fewer than three pictures show it.
    """
    shown = mask.any((1, 2))
    if shown.sum() < 3 or np.abs(np.exp(1j * objects.angle[shown]).mean()) > turn:
        return None
    boxes = [_box(rows) for rows in mask[shown]]
    low, high, outer = (np.stack([box[i] for box in boxes]) for i in range(3))  # n 2, n 2, n 4 2
    at, size = points[shown], objects.size[shown, None]
    place = ((at - low[:, None]) / np.maximum(high - low, 1.0)[:, None]).mean(0)  # P 2
    says = [low[:, None] + place * (high - low)[:, None], *np.moveaxis(outer[:, :, None], 1, 0)]
    off = [np.sqrt(((((at - say) ** 2).sum(-1)) / size**2).mean(0)) for say in says]
    return np.min(off, axis=0)


def _box(rows: Bool[np.ndarray, "H W"]) -> tuple[NDArray, NDArray, NDArray]:
    """Corners of a mask without its outermost hundredth, and its middle on each of the four sides."""
    xy = np.argwhere(rows)[:, ::-1].astype(float)
    low, high = np.percentile(xy, [1, 99], axis=0)
    sides = [xy[:, 0] <= low[0], xy[:, 0] >= high[0], xy[:, 1] <= low[1], xy[:, 1] >= high[1]]
    return low, high, np.stack([xy[side].mean(0) for side in sides])


def points_to_cover(
    mask: Bool[np.ndarray, "H W"], size: float, reach: float = 0.15, share: float = 0.9
) -> int:
    """How many points it takes until `share` of the object's pixels lie within `reach` object sizes of one.

    Points stand on pixels; the next one is put where it reaches most that no other does. 0 for no pixels.
    """
    xy = np.argwhere(mask).astype(float)
    xy = xy[:: max(1, len(xy) // _PIXELS)]
    near = np.hypot(*(xy[:, None] - xy).transpose(2, 0, 1)) <= reach * size
    left, count = np.ones(len(xy), bool), 0
    while left.sum() > (1 - share) * len(xy):
        left &= ~near[(near & left).sum(1).argmax()]
        count += 1
    return count


def coverage(
    points: Float[np.ndarray, "N P 2"],
    mask: Bool[np.ndarray, "N H W"],
    objects: Objects,
    reach: float = 0.15,
) -> float:
    """Share of the object's pixels within `reach` object sizes of some point, mean over pictures.

    Pictures without a pixel of the object are left out; 0 when there is none.
    """
    shares = []
    for xy, rows, size in zip(points, mask, objects.size):
        pixels = np.argwhere(rows)[:, ::-1]  # pixels 2, as (x, y)
        if len(pixels):
            gap = pixels[:, None] - xy[None]  # pixels P 2
            shares.append((np.hypot(gap[..., 0], gap[..., 1]).min(1) <= reach * size).mean())
    return float(np.mean(shares)) if shares else 0.0


def jitter(points: Float[np.ndarray, "T P 2"], size: float) -> Jitter:
    """Tremble of points along a clip; `size` is the object's, in pixels. Needs three frames or more."""
    if len(points) < 3:
        raise ValueError(f"jitter needs at least 3 frames in order, got {len(points)}")
    first, second = (np.linalg.norm(np.diff(points, order, axis=0), axis=-1) for order in (1, 2))
    step, tremble = np.median(first, 0), np.median(second, 0)
    ratio = tuple(float(t / s) if s > 0 else None for t, s in zip(tremble, step))
    return Jitter(size=_plain(tremble / size), motion=ratio)


def equivariance_error(
    points: Float[np.ndarray, "N P 2"],
    warped: Float[np.ndarray, "N P 2"],
    warped_from_image: Callable[[Float[np.ndarray, "N P 2"]], Float[np.ndarray, "N P 2"]],
    size: Float[np.ndarray, " N"],
) -> Float[np.ndarray, " P"]:
    """Mean distance between the points found in the warped picture and the warped points, in object sizes.

    `size` is the object's in the warped picture. Warps must turn by tens of degrees: points that stick to
    the picture pass under small ones.
    """
    gap = warped - warped_from_image(points)
    return (np.hypot(gap[..., 0], gap[..., 1]) / size[:, None]).mean(0)


def _axes(angle: Float[np.ndarray, " N"]) -> NDArray[np.float64]:
    """N 2 2: columns are the object's x and y axes in the picture."""
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], -2)


def _plain(values: Float[np.ndarray, " P"]) -> tuple[float, ...]:
    return tuple(float(v) for v in values)
