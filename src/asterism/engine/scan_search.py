"""The motion that brings one scan onto another: where candidates come from, and what speaks for each.

Scans are judged by their surfaces and by their air. Surface must come to lie on surface that faces the same
way, and neither scan may put matter where the other has seen through. A corner of a room fits into every
corner of every room; only the air, and what stands in the room, tell which.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree  # pyright: ignore[reportAttributeAccessIssue]

from asterism.ops import icp
from asterism.ops.cloud_neighbours import normals, one_sided
from asterism.ops.cloud_places import Seen, cell_for, frame, places, turns
from asterism.ops.cloud_sampling import grid_subsample
from asterism.ops.cloud_sight import Sight, find_eye, sight
from asterism.ops.consensus import distinct, motions
from asterism.ops.fpfh import fpfh

_REACH = 6  # of a descriptor, in coarse voxels
_MATCHES = 1500  # the likeliest are kept
_DESCRIBED = 30  # motions that descriptors may add
_PROBES, _FEW = 900, 300  # points that judge a motion, and that move it at first
_BENT = 0.03  # surface variation that counts as no plane at all
_REFINED, _FINISHED = 12, 8  # motions that are refined with all probes, and with the fine points
_MARGIN = 2.0  # voxels that something must stick out into the air, at least, among rough motions
_AIR, _NO_SUPPORT = 12.0, 0.05  # weight of the air among rough motions
# What tells the right motion from the others, by conditional logistic regression over all candidates of 60
# generated rooms (seeds 1000 to 1039 and 2000 to 2039): the first bit of air that is filled says more than
# the next, so its square root counts, and the fine surface says what the coarse one cannot.
_SUPPORT, _FINE, _AIR_NEAR, _AIR_DEEP = 1.63, 1.56, 8.5, 9.5
_NO_FINE = 0.02
_EXACT = 0.3  # fine voxels: the standard deviation of surfaces that are the same
_SEEN = 20_000  # points that a sight is made of
_CLEAR = 1.5  # cells before a surface in which no air is looked for


@dataclass(frozen=True, kw_only=True)
class Scan:
    """A cloud at two densities; `sight` is None where nothing tells from where it was taken."""

    fine: icp.Surface
    coarse: icp.Surface  # normals have a side
    weight: Float[np.ndarray, " N"]  # of the coarse points: planes say little; sums to 1
    probes: icp.Surface  # some coarse points, drawn with their weight
    sight: Sight | None


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What speaks for a motion, both ways added."""

    support: float  # shares of probes that lie on the other's surface, facing the same way
    fine: float  # the same of the fine points, each by how exactly it lies
    air: float  # shares of the surface, by weight, where the other has seen through by a voxel
    deep: float  # and by two voxels

    @property
    def score(self) -> float:
        """The logarithm of how likely this motion is, of all that were looked at, but for a constant."""
        surface = _SUPPORT * np.log(self.support + _NO_SUPPORT) + _FINE * np.log(self.fine + _NO_FINE)
        return float(surface - _AIR_NEAR * np.sqrt(self.air) - _AIR_DEEP * np.sqrt(self.deep))


NOTHING = Judged(support=0.0, fine=0.0, air=0.0, deep=0.0).score  # of a motion that nothing speaks for


def scan(dice: np.random.Generator, points: Float[np.ndarray, "N 3"], voxel: float, fine: float) -> Scan:
    """What is known of a cloud before it is compared. Coarse and fine cells in the cloud's unit."""
    few, many = grid_subsample(points, voxel), grid_subsample(points, fine)
    normal, bend = normals(few, few, 12)
    eye = find_eye(dice, points)
    if eye.known:
        rows = dice.permutation(len(points))[:_SEEN]
        seen = sight(points[rows], eye.place)
        normal = normal * np.where(((eye.place - few) * normal).sum(1) < 0, -1, 1)[:, None]
    else:
        seen, normal = None, one_sided(few, normal)
    coarse = icp.Surface(points=few, normals=normal, tree=cKDTree(few))
    weight = 0.1 + np.minimum(bend / _BENT, 1)
    weight /= weight.sum()
    row = np.unique(np.searchsorted(np.cumsum(weight), (np.arange(_PROBES) + 0.5) / _PROBES))
    return Scan(
        fine=icp.Surface(points=many, normals=normals(many, many, 16)[0], tree=cKDTree(many)),
        coarse=coarse,
        weight=weight,
        probes=replace(coarse, points=few[row], normals=normal[row]),
        sight=seen,
    )


def by_frames(a: Scan, b: Scan, voxel: float) -> tuple[Float[np.ndarray, "S 4 4"], float]:
    """Candidates from the main directions of both, and how far off they may be."""
    rotations = turns(frame(a.coarse.normals), frame(b.coarse.normals))
    eyes = [np.zeros((0, 3)) if x.sight is None else x.sight.eye[None] for x in (a, b)]
    one, two = (np.concatenate([x.coarse.points, eye]) for x, eye in zip((a, b), eyes))
    cell = max(cell_for(one, two), voxel)
    return places(_seen(a, cell), _seen(b, cell), rotations, cell), cell


def by_descriptors(a: Scan, b: Scan, voxel: float) -> tuple[Float[np.ndarray, "S 4 4"], float]:
    """Candidates from mutually nearest descriptors that keep distances, and how far off they may be."""
    words = [fpfh(x.coarse.points, x.coarse.normals, _REACH * voxel) for x in (a, b)]
    matches = _matches(*words)
    if len(matches) < 3:
        return np.zeros((0, 4, 4)), 2 * voxel
    one, two = a.coarse.points[matches[:, 0]], b.coarse.points[matches[:, 1]]
    found = motions(one, two, 1.5 * voxel, seeds=1000).b_from_a
    return found[distinct(found, a.coarse.points[::10], 4 * voxel, _DESCRIBED)], 2 * voxel


def best(
    a: Scan,
    b: Scan,
    candidates: Iterable[Float[np.ndarray, "4 4"]],
    off: float,
    voxel: float,
    fine: float,
) -> tuple[Float[np.ndarray, "R 4 4"], list[Judged]]:
    """The candidates that are best after a refinement, the best first; all more than 2 voxels apart."""
    step = _PROBES // _FEW
    few = replace(a.probes, points=a.probes.points[::step], normals=a.probes.normals[::step])
    near = [icp.refine(few, b.coarse, m, 1.5 * off, smallest=1.5 * voxel, rounds=8) for m in candidates]
    if not near:
        return np.zeros((0, 4, 4)), []
    rough = np.argsort([-_rough(a, b, motion, 1.5 * voxel) for motion in near], kind="stable")
    found = [
        icp.refine(a.probes, b.coarse, near[i], 3 * voxel, smallest=voxel, rounds=12)
        for i in rough[:_REFINED]
    ]
    found = _ordered(a, found, [_rough(a, b, motion, voxel) for motion in found], voxel)[:_FINISHED]
    third = replace(a.fine, points=a.fine.points[::3], normals=a.fine.normals[::3])
    found = [icp.refine(third, b.fine, m, 4 * fine, smallest=1.5 * fine, rounds=15) for m in found]
    told = [judge(a, b, motion, voxel, fine) for motion in found]
    order = np.argsort([-j.score for j in told], kind="stable")
    apart = distinct(np.stack(found)[order], a.coarse.points[::10], 2 * voxel, len(order))
    return np.stack(found)[order[apart]], [told[i] for i in order[apart]]


def _ordered(a: Scan, found: list[np.ndarray], score: list[float], voxel: float) -> list[np.ndarray]:
    """The best first, without those that are as good as the same."""
    order = np.argsort([-s for s in score], kind="stable")
    ordered = np.stack(found)[order]
    return list(ordered[distinct(ordered, a.coarse.points[::10], 2 * voxel, len(order))])


def _rough(a: Scan, b: Scan, b_from_a: Float[np.ndarray, "4 4"], radius: float) -> float:
    """What speaks for a motion that is not exact yet; surfaces agree within `radius`."""
    support = _support(a, b, b_from_a, radius)
    return float(np.log(support + _NO_SUPPORT) - _AIR * np.sqrt(_air(a, b, b_from_a, [_MARGIN * radius])[0]))


def judge(a: Scan, b: Scan, b_from_a: Float[np.ndarray, "4 4"], voxel: float, fine: float) -> Judged:
    """What speaks for a refined motion."""
    air, deep = _air(a, b, b_from_a, [voxel, 2 * voxel])
    exact = 0.0
    for one, two, motion in ((a, b, b_from_a), (b, a, np.linalg.inv(b_from_a))):
        found = icp.paired(one.fine, two.fine, motion, 3 * fine)
        exact += float((found.agrees * np.exp(-0.5 * (found.error / (_EXACT * fine)) ** 2)).mean())
    return Judged(support=_support(a, b, b_from_a, voxel), fine=exact, air=air, deep=deep)


def _air(a: Scan, b: Scan, b_from_a: Float[np.ndarray, "4 4"], margins: list[float]) -> list[float]:
    """Shares of the surface, by weight, that stick out into what the other has seen through, both ways."""
    filled = [0.0 for _ in margins]
    for seer, other, motion in ((b, a, b_from_a), (a, b, np.linalg.inv(b_from_a))):
        if seer.sight is not None:
            there = icp.moved(motion, other.coarse.points)
            for i, margin in enumerate(margins):
                filled[i] += float(other.weight @ seer.sight.before(there, margin))
    return filled


def _support(a: Scan, b: Scan, b_from_a: Float[np.ndarray, "4 4"], radius: float) -> float:
    """Shares of probes that lie on the other's surface and face the same way, both ways added."""
    total = 0.0
    for one, two, motion in ((a, b, b_from_a), (b, a, np.linalg.inv(b_from_a))):
        found = icp.paired(one.probes, two.coarse, motion, 3 * radius)
        facing = ((one.probes.normals @ motion[:3, :3].T) * two.coarse.normals[found.row]).sum(1)
        total += float((found.agrees & (np.abs(found.error) <= radius) & (facing > 0)).mean())
    return total


def _seen(what: Scan, cell: float) -> Seen:
    """The surface, and places a cell apart in the air before it."""
    points, air = what.coarse.points, np.zeros((0, 3))
    if what.sight is not None:
        both = np.concatenate([points, what.sight.eye[None]])
        low, high = both.min(0), both.max(0)
        axes = [np.arange(l, h + cell, cell) for l, h in zip(low, high)]
        every = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        air = every[what.sight.before(every, _CLEAR * cell)]
    return Seen(points=points, normals=what.coarse.normals, air=air)


def _matches(a: Float[np.ndarray, "N 33"], b: Float[np.ndarray, "M 33"]) -> Int[np.ndarray, "P 2"]:
    """Rows that are each other's most similar, the most similar pairs."""
    far = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * (a @ b.T)
    i, j = np.arange(len(a)), far.argmin(1)
    mutual = far.argmin(0)[j] == i
    i, j = i[mutual], j[mutual]
    order = np.argsort(far[i, j], kind="stable")[:_MATCHES]
    return np.stack([i[order], j[order]], axis=-1)
