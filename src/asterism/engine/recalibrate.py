"""Cameras moved by what they see, judged by what they have not seen.

The moments are cut into blocks, which alternate between two halves. Cameras adjusted on one half are judged
on the other, camera by camera: how far is what it saw from the point of all OTHER cameras? Only where the
distance falls on both halves, and no more points are lost, are cameras adjusted on all moments and kept.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from asterism.engine.triangulate import Observed, Rule, distances, held_out, solve
from asterism.errors import RequestError
from asterism.geometry import bundle
from asterism.types import Cameras

_BLOCKS, _ROUNDS, _MOST = 10, 3, 600  # blocks of moments, of solving and adjusting, points per adjustment
LEAST_GAIN = 0.02  # less is no reason to move a camera
LEAST_MOMENTS = 4


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Cameras, whether they are the adjusted ones, and held-out distances in pixels on each half.

    `lost` is the change of the share of observations that the other cameras agree on no point for.
    """

    cameras: Cameras
    accepted: bool
    before: tuple[float, float]
    after: tuple[float, float]
    lost: float
    turned: Tensor  # V: radians
    moved: Tensor  # V: world units

    def told(self) -> str:
        """The decision in words."""
        now, then = sum(self.after) / 2, sum(self.before) / 2
        seen = f"held-out cameras on held-out moments: {then:.3g} px before, {now:.3g} px after"
        if self.accepted:
            return f"the cameras were adjusted; {seen}"
        return f"the cameras are left as they were, adjusting did not help; {seen}"


def refine_cameras(cameras: Cameras, seen: Observed, rule: Rule) -> Judged:
    """Bundle adjustment of the poses from the keypoints alone, kept where it helps what it has not seen.

    Scale and place of the world stay as those of most cameras. Raises RequestError for fewer than three
    cameras or LEAST_MOMENTS moments.
    """
    if len(cameras) < 3 or len(seen.frame) < LEAST_MOMENTS:
        raise RequestError(
            f"--refine-cameras: {len(cameras)} cameras and {len(seen.frame)} moments; judging wants 3 or "
            f"more cameras and {LEAST_MOMENTS} or more moments"
        )
    count = len(seen.frame)
    half = torch.arange(count) * min(_BLOCKS, count) // count % 2
    before, after, lost = [], [], []
    for side in (0, 1):
        learn, judge = seen.only(_at(half == side)), seen.only(_at(half != side))
        trial = adjusted(cameras, learn, rule)
        old, new, gone = _compared(cameras, trial, judge, rule)
        before.append(old)
        after.append(new)
        lost.append(gone)
    good = all(new < (1 - LEAST_GAIN) * old for old, new in zip(before, after)) and max(lost) <= LEAST_GAIN
    final = adjusted(cameras, seen, rule) if good else cameras
    turned, moved = bundle.motion(final, cameras)
    return Judged(
        cameras=final,
        accepted=good,
        before=(before[0], before[1]),
        after=(after[0], after[1]),
        lost=max(lost),
        turned=turned,
        moved=moved,
    )


def adjusted(cameras: Cameras, seen: Observed, rule: Rule) -> Cameras:
    """Points of the cameras, cameras of the points, again.

    All that was seen of an accepted point pulls, not only what agreed: a camera that was kicked agrees on
    nothing at first. The scale of the loss falls from the worst camera's distance to the noise.
    """
    start = cameras
    for left in reversed(range(_ROUNDS)):
        solved = solve(cameras, seen, rule)
        points = solved.points
        used = seen.valid & points.valid[:, None]
        off = distances(cameras, seen, points.xyz)
        worst = max(_median(off[:, v][used[:, v]]) for v in range(len(cameras)))
        noise = max(solved.sigma, 1e-3)
        sigma = noise * max(worst / noise, 1.0) ** (left / (_ROUNDS - 1))
        rows = _at(points.valid.flatten())
        rows = rows[torch.linspace(0, len(rows) - 1, min(len(rows), _MOST)).round().long()]
        xy, ok = (x.transpose(0, 1).flatten(1, 2)[:, rows] for x in (seen.xy, used))
        xyz = points.xyz.flatten(0, 1)[rows]
        cameras, xyz = bundle.adjust(cameras, xy, ok, xyz, sigma=sigma)
        cameras, _ = bundle.like(cameras, xyz, start)
    return cameras


def _median(distance: Tensor) -> float:
    finite = distance[distance.isfinite()]
    return float(finite.median()) if len(finite) else 0.0


def _compared(old: Cameras, new: Cameras, seen: Observed, rule: Rule) -> tuple[float, float, float]:
    """Held-out pixels of both, on the same observations and with the same threshold; and what is lost.

    The mean over cameras of each camera's median: one that is wrong counts, however many are right.
    """
    threshold = solve(old, seen, rule).threshold
    far = [held_out(each, seen, rule, threshold) for each in (old, new)]
    both = far[0].isfinite() & far[1].isfinite()
    asked = ~far[0].isnan()
    if not both.any():
        return torch.inf, torch.inf, 1.0
    gone = [float((each.isinf() & asked).sum() / asked.sum()) for each in far]
    some = [v for v in range(len(old)) if both[:, v].any()]
    middle = [sum(float(each[:, v][both[:, v]].median()) for v in some) / len(some) for each in far]
    return middle[0], middle[1], gone[1] - gone[0]


def _at(chosen: Tensor) -> Tensor:
    return chosen.nonzero()[:, 0]


def moved_table(judged: Judged, names: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Degrees and world units of every camera."""
    angle = torch.rad2deg(judged.turned).tolist()
    return {n: {"degrees": a, "moved": m} for n, a, m in zip(names, angle, judged.moved.tolist())}
