"""Local reference frames: axes that follow the surface around a point, so that what is told in them does not
turn with the cloud.

weighted scatter, signs by majority   shot_frames   Tombari, Salti, Di Stefano, "Unique Signatures of
                                      Histograms for Local Surface Description", ECCV 2010, section 3.1
normal of the near, lean of the far   toldi_frames  Yang, Zhang, Xiao, Cao, "TOLDI: An effective and robust
                                      approach for 3D local shape description", Pattern Recognition 2017
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from asterism.ops.cloud_keypoints import neighbours, outer_sums

_LEAST = 5  # neighbours, the point itself not counted, without which there is no frame (as in PCL)


def shot_frames(
    points: Float[np.ndarray, "N 3"], asked: Float[np.ndarray, "M 3"], radius: float | int
) -> Float[np.ndarray, "M 3 3"]:
    """Rows are the axes x, y, z, right-handed: `frame @ (q - p)` are the local coordinates of q.

    z is the direction of least weighted scatter within `radius` and x that of the most; each looks to where
    most of the neighbours are, and where as many are on both sides, to where most are of the five whose
    distances are in the middle. A point with fewer than five neighbours has a frame of zeros.
    """
    out = np.zeros((len(asked), 3, 3))
    for rows, i, step, distance in _around(points, asked, radius):
        n = len(rows)
        weight = radius - distance
        scatter = outer_sums(step * np.sqrt(weight)[:, None], i, n)
        total = np.bincount(i, weight, minlength=n)
        good = (np.bincount(i, minlength=n) >= _LEAST) & (total > 0)
        axes = np.linalg.eigh(scatter / np.where(good, total, 1)[:, None, None])[1]
        x = _faced(axes[:, :, 2], step, distance, i, good)
        z = _faced(axes[:, :, 0], step, distance, i, good)
        out[rows[good]] = np.stack([x, np.cross(z, x), z], axis=1)[good]
    return out


def toldi_frames(
    points: Float[np.ndarray, "N 3"], asked: Float[np.ndarray, "M 3"], radius: float | int
) -> Float[np.ndarray, "M 3 3"]:
    """Rows are the axes x, y, z, right-handed: `frame @ (q - p)` are the local coordinates of q.

    z is the normal of the points within a third of `radius`, away from where the points within `radius` lie.
    x is the sum of the neighbours' directions in the plane across z, weighed by (radius - distance)^2 and by
    the square of their height over that plane. A frame is zero where there are fewer than three neighbours
    within the third, fewer than five at all, or nothing that leans.
    """
    out = np.zeros((len(asked), 3, 3))
    for rows, i, step, distance in _around(points, asked, radius):
        n, near = len(rows), distance <= radius / 3
        count = np.bincount(i[near], minlength=n) + 1.0  # the point itself lies in the mean
        middle = _sums(step[near], i[near], n) / count[:, None]
        scatter = (
            outer_sums(step[near], i[near], n) - count[:, None, None] * middle[:, :, None] * middle[:, None]
        )
        z = np.linalg.eigh(scatter)[1][:, :, 0]
        z = np.where((_sums(step, i, n) * z).sum(1, keepdims=True) > 0, -z, z)
        height = (step * z[i]).sum(1)
        weight = (radius - distance) ** 2 * height**2
        lean = _sums(weight[:, None] * (step - height[:, None] * z[i]), i, n)
        long = np.linalg.norm(lean, axis=1)
        good = (count >= 4) & (np.bincount(i, minlength=n) >= _LEAST) & (long > 0)
        x = lean / np.where(good, long, 1)[:, None]
        x -= (x * z).sum(1, keepdims=True) * z  # what rounding left
        out[rows[good]] = np.stack([x, np.cross(z, x), z], axis=1)[good]
    return out


def _around(points: np.ndarray, asked: np.ndarray, radius: float | int):
    """Rows, and for each pair its owner, the step to the neighbour and its length; no point is its own."""
    for rows, i, j in neighbours(points, asked, radius):
        step = points[j] - asked[rows[i]]
        distance = np.linalg.norm(step, axis=1)
        other = (distance > 0) & (distance <= radius)
        yield rows, i[other], step[other], distance[other]


def _sums(
    vectors: Float[np.ndarray, "P 3"], owner: Int[np.ndarray, " P"], n: int
) -> Float[np.ndarray, "n 3"]:
    total = [np.bincount(owner, column, minlength=n) for column in vectors.T]
    return np.stack(total, axis=-1).astype(np.float64)  # without any pair they are whole numbers


def _faced(
    axis: Float[np.ndarray, "R 3"],
    step: Float[np.ndarray, "P 3"],
    distance: Float[np.ndarray, " P"],
    owner: Int[np.ndarray, " P"],
    good: Bool[np.ndarray, " R"],
) -> Float[np.ndarray, "R 3"]:
    """The axes, turned round where most neighbours are behind."""
    n = len(axis)
    ahead = (step * axis[owner]).sum(1) >= 0
    count = np.bincount(owner, minlength=n)
    votes = 2 * np.bincount(owner, ahead, minlength=n) - count
    tied = np.flatnonzero((votes == 0) & good)
    order = np.lexsort((distance, owner))
    first = np.concatenate([[0], np.cumsum(count)[:-1]])
    middle = order[(first + count // 2)[tied, None] + np.arange(_LEAST) - _LEAST // 2]
    votes[tied] = 2 * ahead[middle].sum(1) - _LEAST
    return np.where(votes[:, None] < 0, -axis, axis)
