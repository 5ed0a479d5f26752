"""How often keypoints of clouds are found again, and whether they mean the same on every shape of a kind.

Repeatability as published counts the points of one cloud that have a point of the other near them, many to
one, wherever they are; so it rewards clusters and is bounded by the overlap. `mutual` counts pairs, one to
one, within the overlap. Either grows with the number of points and of what is called near: `chance` is the
level that as many random points reach.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree  # pyright: ignore[reportAttributeAccessIssue]


@dataclass(frozen=True, kw_only=True)
class Repeatability:
    """Shares in [0, 1]; `points` is the mean number of the two clouds' keypoints within the overlap."""

    one_sided: float
    mutual: float
    points: float


def repeatability(
    a: Float[np.ndarray, "P 3"],
    b: Float[np.ndarray, "Q 3"],
    near: float | int,
    overlap: tuple[Float[np.ndarray, "N 3"], Float[np.ndarray, "M 3"]] | None = None,
) -> Repeatability:
    """Of two clouds' keypoints in ONE frame, found again within `near`.

    `one_sided`: the share of a's points that have one of b near (USIP, ICCV 2019). `mutual`: pairs that are
    each other's nearest and near, over the mean number of points of the two. With `overlap`, the points of
    both clouds in that same frame, `mutual` looks only at keypoints that have a point of the other cloud
    near; without it both clouds are of the whole shape. Without any point a share is 0.
    """
    gap = np.linalg.norm(a[:, None] - b[None], axis=-1)
    one_sided = float((gap <= near).any(1).mean()) if gap.size else 0.0
    if overlap is not None:
        here = cKDTree(overlap[1]).query(a)[0] <= near if len(a) else np.zeros(0, bool)
        there = cKDTree(overlap[0]).query(b)[0] <= near if len(b) else np.zeros(0, bool)
        gap = gap[here][:, there]
    count = (gap.shape[0] + gap.shape[1]) / 2
    found = mutual_pairs(gap, near)
    return Repeatability(one_sided=one_sided, mutual=len(found[0]) / count if count else 0.0, points=count)


def mutual_pairs(gap: Float[np.ndarray, "P Q"], near: float | int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pairs that are each other's nearest and not farther than `near`. Of equal
    distances the first row or column is the nearest.
    """
    if not gap.size:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    to, rows = gap.argmin(1), np.arange(len(gap))
    kept = (gap.argmin(0)[to] == rows) & (gap[rows, to] <= near)
    return rows[kept], to[kept]


def chance(
    clouds: tuple[Float[np.ndarray, "N 3"], Float[np.ndarray, "M 3"]],
    counts: tuple[int, int],
    near: float | int,
    dice: np.random.Generator,
    whole: bool = True,
    rounds: int = 10,
) -> Repeatability:
    """The level of as many points drawn at random, none twice, from two clouds in ONE frame; the mean of
    `rounds` draws. `whole` is False for clouds that overlap in part. Counts above a cloud's number of points
    draw all of them.
    """
    told = []
    for _ in range(rounds):
        a, b = (c[dice.permutation(len(c))[:k]] for c, k in zip(clouds, counts))
        one = repeatability(a, b, near, None if whole else clouds)
        told.append((one.one_sided, one.mutual, one.points))
    one_sided, mutual, points = np.mean(told, axis=0).tolist()
    return Repeatability(one_sided=one_sided, mutual=mutual, points=points)


@dataclass(frozen=True, kw_only=True)
class Semantics:
    """Shares in [0, 1]: `pck` of points within the radius of the truth they were given, `same_part` of points
    whose nearest truth that is. `_offset`: after each index's mean offset was taken away.
    """

    pck_plain: float
    same_part_plain: float
    pck_offset: float
    same_part_offset: float


def semantics(
    found: Float[np.ndarray, "S K 3"],
    truth: Float[np.ndarray, "S T 3"],
    longest: Float[np.ndarray, " S"],
    radius: float | int = 0.1,
) -> Semantics:
    """Whether index k of K points is the same part of all shapes: on the first half of the shapes each index
    is given one truth and none twice (Hungarian, by the mean distance), on the second half it is measured.

    `radius` is a share of each shape's `longest` side. Raises ValueError for fewer than two shapes.
    """
    half = len(found) // 2
    if half < 1:
        raise ValueError(f"{len(found)} shapes: wanted two at least, to give truths and to measure")
    step = found[:half, :, None] - truth[:half, None]  # half K T 3
    offset = step.mean(0)
    away = np.linalg.norm(step - offset, axis=-1).mean(0)
    plain = np.linalg.norm(step, axis=-1).mean(0)
    pck, same = [], []
    for cost, shift in ((plain, np.zeros_like(offset)), (away + plain, offset)):
        k, t = linear_sum_assignment(cost)
        moved = found[half:][:, k] - shift[k, t]
        gap = np.linalg.norm(moved[:, :, None] - truth[half:, None], axis=-1)  # S K T
        own = np.take_along_axis(gap, np.broadcast_to(t[:, None], (len(gap), len(t), 1)), axis=2)[..., 0]
        pck.append(float((own <= radius * longest[half:, None]).mean()))
        same.append(float((gap.argmin(-1) == t).mean()))
    return Semantics(pck_plain=pck[0], same_part_plain=same[0], pck_offset=pck[1], same_part_offset=same[1])
