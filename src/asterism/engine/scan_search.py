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
_REFINED = 12  # motions that are refined with all probes
_AIR, _MARGIN = 30.0, 2.0  # what a share of probes in the other's air costs; voxels that is deep, at least
_ACROSS = 0.5  # what a share of probes that cross the other's surface costs
_SEEN = 20_000  # points that a sight is made of
_CLEAR = 1.5  # cells before a surface in which no air is looked for


@dataclass(frozen=True, kw_only=True)
class Scan:
    """A cloud at two densities; `sight` is None where nothing tells from where it was taken."""

    fine: icp.Surface
    coarse: icp.Surface  # normals have a side
    probes: icp.Surface  # some coarse points, rather those that are on no plane
    sight: Sight | None


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What speaks for a motion, both ways added. `score` is support less what the other two cost."""

    support: float  # shares of probes that lie on the other's surface, facing the same way
    across: float  # shares that are near it and do not
    air: float  # shares where the other has seen through
    score: float


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
    weight = np.cumsum(0.1 + np.minimum(bend / _BENT, 1))
    row = np.unique(np.searchsorted(weight / weight[-1], (np.arange(_PROBES) + 0.5) / _PROBES))
    return Scan(
        fine=icp.Surface(points=many, normals=normals(many, many, 16)[0], tree=cKDTree(many)),
        coarse=coarse,
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
    a: Scan, b: Scan, candidates: Iterable[Float[np.ndarray, "4 4"]], off: float, voxel: float
) -> tuple[Float[np.ndarray, "R 4 4"], list[Judged]]:
    """The candidates that are best after a refinement, the best first; all more than 4 voxels apart."""
    few = replace(
        a.probes, points=a.probes.points[:: _PROBES // _FEW], normals=a.probes.normals[:: _PROBES // _FEW]
    )
    near = [icp.refine(few, b.coarse, m, 1.5 * off, smallest=1.5 * voxel, rounds=8) for m in candidates]
    if not near:
        return np.zeros((0, 4, 4)), []
    rough = np.argsort([-judge(a, b, motion, 1.5 * voxel).score for motion in near], kind="stable")
    found = [
        icp.refine(a.probes, b.coarse, near[i], 3 * voxel, smallest=voxel, rounds=12)
        for i in rough[:_REFINED]
    ]
    told = [judge(a, b, motion, voxel) for motion in found]
    order = np.argsort([-j.score for j in told], kind="stable")
    ordered = np.stack([found[i] for i in order])
    apart = distinct(ordered, a.coarse.points[::10], 4 * voxel, len(ordered))
    return ordered[apart], [told[order[i]] for i in apart]


def judge(a: Scan, b: Scan, b_from_a: Float[np.ndarray, "4 4"], radius: float) -> Judged:
    """What speaks for a motion; surfaces agree within `radius`."""
    a_from_b = np.linalg.inv(b_from_a)
    air = 0.0
    for seer, other, motion in ((b, a, b_from_a), (a, b, a_from_b)):
        if seer.sight is not None:
            air += seer.sight.before(icp.moved(motion, other.probes.points), _MARGIN * radius).mean()
    (one, past), (two, gone) = _lying(a, b, b_from_a, radius), _lying(b, a, a_from_b, radius)
    support, across = one + two, past + gone
    return Judged(
        support=support, across=across, air=float(air), score=support - _ACROSS * across - _AIR * float(air)
    )


def _lying(a: Scan, b: Scan, b_from_a: np.ndarray, radius: float) -> tuple[float, float]:
    """Shares of a's probes that lie on b facing the same way, and that are near it otherwise."""
    found = icp.paired(a.probes, b.coarse, b_from_a, 3 * radius)
    facing = ((a.probes.normals @ b_from_a[:3, :3].T) * b.coarse.normals[found.row]).sum(1)
    lies = found.agrees & (np.abs(found.error) <= radius) & (facing > 0)
    return float(lies.mean()), float((found.near & ~lies).mean())


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
