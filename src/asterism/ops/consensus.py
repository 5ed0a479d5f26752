"""Rigid motions from matches most of which are wrong: pairs of matches that keep their distance support
each other.

Chen et al., "SC^2-PCR: A Second Order Spatial Compatibility for Efficient and Robust Point Cloud
Registration", CVPR 2022. Two matches are compatible when the distance of their points is the same in both
clouds (section 3.2); their second-order measure is how many matches are compatible with both (equation 5),
which separates right from wrong far better. Each seed and the matches nearest to it by that measure give
one motion.

Departs from the paper: one stage instead of two, and the motion of a seed is weighted by the measure itself
rather than by a leading eigenvector. Nothing is random.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclass(frozen=True, kw_only=True)
class Motions:
    """S candidate motions b_from_a, the best first, and how many matches each carries to within the
    tolerance.
    """

    b_from_a: Float[np.ndarray, "S 4 4"]
    inliers: Int[np.ndarray, " S"]


def rigid_fit(
    a: Float[np.ndarray, "*S N 3"], b: Float[np.ndarray, "*S N 3"], weight: Float[np.ndarray, "*S N"]
) -> Float[np.ndarray, "*S 4 4"]:
    """b_from_a of least weighted squared error (Kabsch 1976), never a reflection.

    As geometry.rigid.kabsch without its gradient, in numpy: what only reads clouds need not load torch.
    """
    share = weight / np.maximum(weight.sum(-1, keepdims=True), 1e-300)
    mean_a = np.einsum("...n,...ni->...i", share, a)
    mean_b = np.einsum("...n,...ni->...i", share, b)
    centred = (a - mean_a[..., None, :]) * share[..., None]
    u, _, vh = np.linalg.svd(np.swapaxes(b - mean_b[..., None, :], -1, -2) @ centred)
    sign = np.ones(u.shape[:-1])
    sign[..., 2] = np.where(np.linalg.det(u @ vh) < 0, -1.0, 1.0)
    found = np.zeros((*u.shape[:-2], 4, 4))
    found[..., :3, :3] = (u * sign[..., None, :]) @ vh
    found[..., :3, 3] = mean_b - np.einsum("...ij,...j->...i", found[..., :3, :3], mean_a)
    found[..., 3, 3] = 1
    return found


def motions(
    a: Float[np.ndarray, "N 3"],
    b: Float[np.ndarray, "N 3"],
    tolerance: float | int,
    *,
    seeds: int = 200,
    members: int = 24,
) -> Motions:
    """Candidate motions from N matches (row i of a is thought to be row i of b), one per seed.

    `tolerance` is the largest error of a right match's points. Raises ValueError for fewer than three
    matches.
    """
    n = len(a)
    if n < 3:
        raise ValueError(f"motions: got {n} matches; wanted at least three")
    compatible = _compatible(a, b, float(tolerance))
    second = (compatible @ compatible) * compatible
    chosen = np.argsort(-second.sum(1), kind="stable")[: min(seeds, n)]
    members = min(members, n)
    rows = second[chosen]
    rows[np.arange(len(chosen)), chosen] = rows.max(1) + 1  # a seed belongs to its own set
    near = np.argpartition(-rows, members - 1, axis=1)[:, :members]
    weight = np.take_along_axis(rows, near, 1).astype(np.float64)
    found = rigid_fit(a[near], b[near], weight)
    for _ in range(2):  # all that agree are fitted again
        found = rigid_fit(
            np.broadcast_to(a, (len(found), n, 3)),
            np.broadcast_to(b, (len(found), n, 3)),
            agreeing(found, a, b, tolerance).astype(np.float64) + 1e-12,
        )
    inliers = agreeing(found, a, b, tolerance).sum(1)
    order = np.argsort(-inliers, kind="stable")
    return Motions(b_from_a=found[order], inliers=inliers[order])


def _compatible(a: np.ndarray, b: np.ndarray, tolerance: float) -> Float[np.ndarray, "N N"]:
    """1 where the distance of two matches is kept, as floats. Matches that share a point are never both
    right.
    """
    one, two = (_distances(x.astype(np.float32)) for x in (a - a.mean(0), b - b.mean(0)))
    kept = np.abs(one - two) <= 2 * tolerance
    kept &= np.minimum(one, two) > 2 * tolerance  # the same place twice says nothing new
    return kept.astype(np.float32)


def _distances(x: np.ndarray) -> np.ndarray:
    long = (x * x).sum(1)
    return np.sqrt(np.maximum(long[:, None] + long - 2 * (x @ x.T), 0))


def agreeing(
    b_from_a: Float[np.ndarray, "S 4 4"],
    a: Float[np.ndarray, "N 3"],
    b: Float[np.ndarray, "N 3"],
    tolerance: float | int,
) -> Bool[np.ndarray, "S N"]:
    """Which matches each motion carries to within the tolerance."""
    moved = np.einsum("sij,nj->sni", b_from_a[:, :3, :3], a) + b_from_a[:, None, :3, 3]
    return ((moved - b) ** 2).sum(-1) <= float(tolerance) ** 2


def distinct(
    b_from_a: Float[np.ndarray, "S 4 4"], points: Float[np.ndarray, "N 3"], apart: float | int, most: int
) -> Int[np.ndarray, " D"]:
    """Rows of at most `most` motions, in order, that move `points` by more than `apart` (root mean square)
    from all those taken before.
    """
    moved = np.einsum("sij,nj->sni", b_from_a[:, :3, :3], points) + b_from_a[:, None, :3, 3]
    taken: list[int] = []
    for i in range(len(moved)):
        gaps = ((moved[taken] - moved[i]) ** 2).sum(-1).mean(-1)
        if not taken or gaps.min() > float(apart) ** 2:
            taken.append(i)
            if len(taken) == most:
                break
    return np.array(taken, dtype=np.int64)
