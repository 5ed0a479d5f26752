"""From maps and fields to what people are put together from: peaks, and pairs that a limb may join.

Everything is in cells (uv) of the map, at the size that the network gives it: a peak is placed to a fraction
of a cell and the field is read between its cells, so nothing is enlarged first. One picture at a time.

Cao, Simon, Wei, Sheikh, CVPR 2017: a pair's score is the line integral of the limb's field along it. Which
pairs are taken at all (a share of the samples above a level) is the authors' code, not the paper.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from asterism.errors import RequestError
from asterism.ops import peaks as tops
from asterism.ops.sampling import sample
from asterism.types import Skeleton

_FLOOR = 1e-3  # the logarithm of less would be of noise


@dataclass(frozen=True, kw_only=True)
class Limbs:
    """Which parts a limb joins, from first to second; `redundant` numbers those that close a circle.

    Without its redundant limbs a skeleton is a tree: each part hangs on one way. With them it holds together
    when a part is not found.
    """

    ends: tuple[tuple[int, int], ...]
    redundant: frozenset[int] = frozenset()


def limbs_of(ends: tuple[tuple[int, int], ...]) -> Limbs:
    """Limbs in the order of `ends`; redundant are those whose parts earlier ones have joined already."""
    group: dict[int, int] = {}
    redundant = set()
    for l, (a, b) in enumerate(ends):
        one, two = group.setdefault(a, a), group.setdefault(b, b)
        if one == two:
            redundant.add(l)
        group = {part: one if g == two else g for part, g in group.items()}
    return Limbs(ends=ends, redundant=frozenset(redundant))


def unjoined(limbs: Limbs, parts: int) -> list[int]:
    """The parts, of 0 to parts - 1, that no way along the limbs leads to from part 0."""
    reached = {0}
    for _ in range(parts):
        reached |= {part for ends in limbs.ends if reached & set(ends) for part in ends}
    return [part for part in range(parts) if part not in reached]


def limbs_for(skeleton: Skeleton, what: str) -> Limbs:
    """The skeleton's edges as limbs, for the method `what`.

    Raises RequestError where they do not hold all points together.
    """
    limbs = limbs_of(skeleton.edges)
    if lone := unjoined(limbs, len(skeleton)):
        raise RequestError(
            f"{what}: edges: {', '.join(skeleton.names[k] for k in lone)} cannot be reached from "
            f"{skeleton.names[0]}; a person is put together along the edges, so they must join all points"
        )
    return limbs


def bridges(edges: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    """Limbs that pass over one part: between parts two edges apart that no edge joins, in their order.

    As redundant limbs beside `edges` they keep a person in one piece whichever one part is missing.
    """
    joined = {frozenset(edge) for edge in edges}
    over: dict[frozenset[int], tuple[int, int]] = {}
    for i, one in enumerate(edges):
        for two in edges[i + 1 :]:
            ends = frozenset(one) ^ frozenset(two)
            if len(ends) == 2 and ends not in joined:
                over.setdefault(ends, (min(ends), max(ends)))
    return tuple(over.values())


@dataclass(frozen=True)
class Peaks:
    """Up to M peaks of each of K parts; rows beyond those found have `valid` False and score 0."""

    uv: Float[Tensor, "K M 2"]
    score: Float[Tensor, "K M"]
    valid: Bool[Tensor, "K M"]


@dataclass(frozen=True)
class Pairs:
    """n pairs that may be limbs: number of the limb, rows of its first and second part's peaks, score."""

    limb: Int[np.ndarray, " n"]
    first: Int[np.ndarray, " n"]
    second: Int[np.ndarray, " n"]
    score: Float[np.ndarray, " n"]


@dataclass(frozen=True)
class Integral:
    """How a field is read along a pair: at `samples` places, ends included.

    A pair is taken when at least `share` of the samples have a component along it above `above`
    (lightweight OpenPose: 10 samples, 0.05, 0.8; OpenPose's C++ reads 5 to 25 and wants 0.95 of them).
    """

    samples: int = 10
    above: float = 0.05
    share: float = 0.8

    @property
    def least(self) -> int:
        """How many samples must be above."""
        return math.ceil(self.share * self.samples - 1e-9)


INTEGRAL = Integral()
Score = Callable[[Float[Tensor, "n S 2"], Float[Tensor, "n 2"]], Float[Tensor, " n"]]  # field read, direction


def find_peaks(maps: Float[Tensor, "K h w"], threshold: int | float = 0.05, most: int = 100) -> Peaks:
    """Cells above `threshold` that none of their 8 neighbours exceeds, placed to a fraction of a cell.

    Of a plateau the first cell. At most `most` of a part, the highest. Only cells above the threshold are
    looked at, so the time follows what is there and not the size of the map. A picture's rim counts as 0.
    """
    k, h, w = maps.shape
    padded = F.pad(maps, (1, 1, 1, 1)).flatten()
    at = (maps.flatten() > threshold).nonzero()[:, 0]
    part, v, u = at // (h * w), at // w % h, at % w
    steps = torch.arange(-1, 2, device=maps.device)
    around = (steps[:, None] * (w + 2) + steps).flatten()  # 9, in the order of the cells
    here = part * ((h + 2) * (w + 2)) + (v + 1) * (w + 2) + u + 1
    near = padded[here[:, None] + around]  # n 9
    own = near[:, 4:5]
    top = (((own > near[:, :4]).all(1)) & (own >= near[:, 5:]).all(1)).nonzero()[:, 0]
    part, value = part[top], own[top, 0]
    uv = torch.stack([u[top], v[top]], dim=-1).to(maps.dtype)
    return _padded(_placed(maps, part, uv), value, part, k, most)


def _placed(
    maps: Float[Tensor, "K h w"], part: Int[Tensor, " n"], uv: Float[Tensor, "n 2"]
) -> Float[Tensor, "n 2"]:
    """The top of the parabola through the logarithm of the 3x3 cells; see ops.peaks.refine."""
    _, h, w = maps.shape
    if min(h, w) < 3 or not len(uv):
        return uv
    middle = torch.minimum(uv.clamp(min=1), uv.new_tensor([w - 2, h - 2]))
    steps = torch.arange(-1, 2, device=maps.device)
    around = (steps[:, None] * w + steps).flatten()
    at = part * (h * w) + (middle[:, 1] * w + middle[:, 0]).long()
    patch = maps.flatten()[at[:, None] + around].clamp(min=_FLOOR).log().unflatten(-1, (3, 3))
    local = uv - middle + 1  # the patch's own cells: its middle is (1, 1)
    return middle - 1 + tops.refine(patch[None], local[None])[0]


def _padded(
    uv: Float[Tensor, "n 2"], value: Float[Tensor, " n"], part: Int[Tensor, " n"], k: int, most: int
) -> Peaks:
    """Rows of one list, in the order of their parts, as rows by part; of too many the highest."""
    order = torch.argsort(value, descending=True, stable=True)
    order = order[torch.argsort(part[order], stable=True)]
    uv, value, part = uv[order], value[order], part[order]
    rank, m = _ranks(part, k)
    kept, m = rank < most, min(m, most)
    part, rank = part[kept], rank[kept]
    where, score = uv.new_zeros(k, m, 2), uv.new_zeros(k, m)
    valid = torch.zeros(k, m, dtype=torch.bool, device=uv.device)
    where[part, rank], score[part, rank], valid[part, rank] = uv[kept], value[kept], True
    return Peaks(where, score, valid)


def line_integral(read: Float[Tensor, "n S 2"], unit: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
    """The paper's score: the mean over the samples of the field's component along the pair, 1 at best."""
    return _flow(read, unit).mean(-1)


def agreement(read: Float[Tensor, "n S 2"], unit: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
    """1 minus the mean distance between the field and the pair's unit vector, at least 0.

    A pair that is off by a small angle a loses a, and with the line integral only a^2 / 2, which is less than
    the cells' coarseness: among people who overlap it tells more of the limbs that nearly coincide apart
    (bench/pose2d_assembly.py measures how many).
    """
    # torch.norm over an axis of 2 takes many times as long.
    off = torch.hypot(read[..., 0] - unit[:, None, 0], read[..., 1] - unit[:, None, 1])
    return (1 - off.mean(-1)).clamp(min=0)


def find_pairs(
    peaks: Peaks,
    fields: Float[Tensor, "L2 h w"],
    limbs: Limbs,
    integral: Integral = INTEGRAL,
    score: Score = agreement,
) -> Pairs:
    """All pairs of all limbs at once whose field runs along them, and their scores."""
    ends = np.array(limbs.ends, np.int64).reshape(-1, 2)
    field = fields.unflatten(0, (-1, 2))
    places = sorted(np.linspace(0, 1, integral.samples).tolist(), key=lambda t: abs(t - 0.5))  # middle first
    limb, first, second = _possible(peaks, field, ends, integral, places)
    device = fields.device
    group, one, two = (torch.from_numpy(rows).to(device) for rows in (limb, first, second))
    of = torch.from_numpy(ends).to(device)[group]
    start = peaks.uv[of[:, 0], one]
    along = peaks.uv[of[:, 1], two] - start
    rank, count = _ranks(group, len(ends))
    both = peaks.uv.new_zeros(2, len(ends), count, 2)  # rows of one list as rows by limb
    both[:, group, rank] = torch.stack([start, along])
    read = _read(field, both[0], both[1], places)[group, rank]  # n S 2
    unit = along / torch.hypot(along[:, 0], along[:, 1]).clamp(min=1e-12)[:, None]
    taken = (_flow(read, unit) > integral.above).sum(-1) >= integral.least
    kept = taken.cpu().numpy()
    found = score(read[taken], unit[taken]).double().cpu().numpy()
    return Pairs(limb[kept], first[kept], second[kept], found)


def _possible(
    peaks: Peaks,
    field: Float[Tensor, "L 2 h w"],
    ends: Int[np.ndarray, "L 2"],
    integral: Integral,
    places: Sequence[float],
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Limb, rows of first and second peak, of the pairs that may have enough samples above the level.

    What is read between four cells is no longer than the longest of the four, so a place whose four cells are
    all short fails, and that is one look into a map of yes and no. A pair that fails at one place more than
    it may is out: most are after the first of them. No pair is lost.
    """
    long = _long(field.cpu().numpy(), integral.above)
    uv, there = peaks.uv.cpu().numpy(), peaks.valid.cpu().numpy()
    start, stop = uv[ends[:, 0]], uv[ends[:, 1]]  # L M 2
    every = np.arange(len(ends))[:, None, None]
    enough = (
        integral.samples - integral.least + 1
    )  # places, one of which a pair must pass, whichever they are
    passed = _passed(long, every, start[:, :, None], stop[:, None], places[:enough])
    alive = (passed > 0) & there[ends[:, 0], :, None] & there[ends[:, 1], None]
    limb, first, second = alive.nonzero()
    passed = passed[limb, first, second]
    for low, high in ((enough, enough + 2), (enough + 2, len(places))):
        a, b = start[limb, first], stop[limb, second]
        passed = passed + _passed(long, limb, a, b, places[low:high])
        alive = passed + max(len(places) - high, 0) >= integral.least
        limb, first, second, passed = limb[alive], first[alive], second[alive], passed[alive]
    return limb, first, second


def _long(field: Float[np.ndarray, "L 2 h w"], above: int | float) -> Bool[np.ndarray, "L h w"]:
    """Whether any of a cell, its right, its lower and its lower right neighbour is longer than `above`."""
    long = field[:, 0] * field[:, 0] + field[:, 1] * field[:, 1] > above**2
    long = np.pad(long, ((0, 0), (0, 1), (0, 1)))
    long = long[:, :, :-1] | long[:, :, 1:]
    return long[:, :-1] | long[:, 1:]


def _passed(
    long: Bool[np.ndarray, "L h w"],
    limb: Int[np.ndarray, "*#n"],
    start: Float[np.ndarray, "*#n 2"],
    stop: Float[np.ndarray, "*#n 2"],
    places: Sequence[float],
) -> Int[np.ndarray, "*#n"]:
    """How many of the places (0 to 1) along the pairs are `long`. Beyond the rim is as at the rim."""
    _, h, w = long.shape
    total: Any = 0
    for t in places:
        u = (start[..., 0] * (1 - t) + stop[..., 0] * t).astype(np.int64).clip(0, w - 1)
        v = (start[..., 1] * (1 - t) + stop[..., 1] * t).astype(np.int64).clip(0, h - 1)
        total = total + long.reshape(-1).take(limb * (h * w) + v * w + u)
    return total


def _read(
    field: Float[Tensor, "L 2 h w"],
    start: Float[Tensor, "L N 2"],
    along: Float[Tensor, "L N 2"],
    places: Sequence[float],
) -> Float[Tensor, "L N S 2"]:
    """The fields between their cells, at `places` (0 to 1) along each pair."""
    # One place after the other: broadcasting against a last axis of 2 takes several times as long.
    uv = torch.stack([torch.add(start, along, alpha=t) for t in places], dim=2)
    return sample(field, uv.flatten(1, 2)).unflatten(1, (-1, len(places))) if uv.numel() else uv


def _flow(read: Float[Tensor, "*n S 2"], unit: Float[Tensor, "*n 2"]) -> Float[Tensor, "*n S"]:
    """The field's component along the pair."""
    return read[..., 0] * unit[..., None, 0] + read[..., 1] * unit[..., None, 1]


def _ranks(group: Int[Tensor, " n"], groups: int) -> tuple[Int[Tensor, " n"], int]:
    """Place of each row within its group, rows being in the order of groups; the largest group."""
    count = torch.bincount(group, minlength=groups)
    rank = torch.arange(len(group), device=group.device) - (count.cumsum(0) - count)[group]
    return rank, int(count.max()) if len(count) else 0
