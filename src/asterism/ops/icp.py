"""Two surfaces brought together: iterated closest points, plane to plane, robust, with an uncertainty.

Rusinkiewicz, "A Symmetric Objective Function for ICP", SIGGRAPH 2019: the error of a pair is measured along
the sum of both normals, which is zero wherever the two points lie on one patch of constant curvature, so it
converges from farther than the point-to-plane error and, like Generalized ICP (Segal et al., RSS 2009),
believes both surfaces. Pairs are weighted by Geman and McClure's function, whose width falls with the
radius.

The covariance is that of clustered errors (Liang and Zeger, Biometrika 1986): neighbouring pairs err
together, so the scatter of the gradient is summed over blocks of space instead of over pairs.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree  # pyright: ignore[reportAttributeAccessIssue]
from scipy.spatial.transform import Rotation

_FLAT_ENOUGH = 0.5  # cosine of two normals that are taken to be of one surface: 60 degrees


@dataclass(frozen=True, kw_only=True)
class Surface:
    """Points with unit normals (no side needed) and the tree of the points."""

    points: Float[np.ndarray, "N 3"]
    normals: Float[np.ndarray, "N 3"]
    tree: cKDTree


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Each asked point's nearest point of b, where there is one near whose normal agrees."""

    near: Bool[np.ndarray, " N"]  # a point of b lies within the radius
    agrees: Bool[np.ndarray, " N"]  # and its normal fits
    row: Int[np.ndarray, " N"]  # of b; 0 where there is none
    error: Float[np.ndarray, " N"]  # along the mean of both normals; 0 where there is none
    lever: Float[np.ndarray, "N 6"]  # its derivative by a small turn about b's axes and a shift


def moved(b_from_a: Float[np.ndarray, "4 4"], points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
    """Points of a, in b."""
    return points @ b_from_a[:3, :3].T + b_from_a[:3, 3]


def paired(a: Surface, b: Surface, b_from_a: Float[np.ndarray, "4 4"], radius: float | int) -> Pairs:
    """Where the points of a come to lie on b."""
    p, n = moved(b_from_a, a.points), a.normals @ b_from_a[:3, :3].T
    far, row = b.tree.query(p, distance_upper_bound=float(radius))
    near = np.isfinite(far)
    row = np.where(near, row, 0)
    other = b.normals[row]
    cosine = (n * other).sum(1)
    both = n + np.where(cosine < 0, -1, 1)[:, None] * other
    both /= np.maximum(np.linalg.norm(both, axis=1, keepdims=True), 1e-12)
    gap = p - b.points[row]
    error = np.where(near, (gap * both).sum(1), 0.0)
    lever = np.concatenate([np.cross(p, both), both], axis=1)
    return Pairs(near=near, agrees=near & (np.abs(cosine) >= _FLAT_ENOUGH), row=row, error=error, lever=lever)


def refine(
    a: Surface,
    b: Surface,
    b_from_a: Float[np.ndarray, "4 4"],
    radius: float | int,
    *,
    smallest: float | int,
    rounds: int = 30,
) -> Float[np.ndarray, "4 4"]:
    """The motion that brings a onto b, from one that is nearly right.

    Pairs are sought within `radius`, which shrinks by a fifth each round down to `smallest`. Stops when a
    round moves nothing by more than a thousandth of `smallest`, or when fewer than six pairs are left.
    """
    reach, size = float(radius), float(np.abs(a.points - a.points.mean(0)).max())
    for _ in range(rounds):
        found = paired(a, b, b_from_a, reach)
        if found.agrees.sum() < 6:
            break
        step = _step(found, reach / 3)
        b_from_a = _small(step) @ b_from_a
        if reach == smallest and np.abs(step[:3]).max() * size + np.abs(step[3:]).max() < 1e-3 * smallest:
            break
        reach = max(0.8 * reach, float(smallest))
    return b_from_a


def _weight(error: np.ndarray, width: float) -> np.ndarray:
    return (1 + (error / width) ** 2) ** -2.0


def _step(found: Pairs, width: float) -> Float[np.ndarray, "6"]:
    error, lever = found.error[found.agrees], found.lever[found.agrees]
    centre = np.zeros(6)  # turning about the pairs' middle keeps the normal equations well scaled
    weight = _weight(error, width)[:, None]
    scale = np.ones(6)
    scale[:3] = 1 / max(float(np.sqrt((lever[:, :3] ** 2).sum(1).mean())), 1e-300)
    scaled = lever * scale
    h = (weight * scaled).T @ scaled
    h += 1e-9 * np.trace(h) * np.eye(6)  # what the pairs do not fix stays
    return centre - scale * np.linalg.solve(h, (weight * scaled).T @ error)


def _small(step: Float[np.ndarray, "6"]) -> Float[np.ndarray, "4 4"]:
    out = np.eye(4)
    out[:3, :3] = Rotation.from_rotvec(step[:3]).as_matrix()
    out[:3, 3] = step[3:]
    return out


def covariance(
    a: Surface,
    b: Surface,
    b_from_a: Float[np.ndarray, "4 4"],
    radius: float | int,
    block: float | int,
    about: Float[np.ndarray, "3"],
) -> Float[np.ndarray, "6 6"]:
    """Of a small turn (radians, about axes through `about`, a point of b) and a shift, in b's axes.

    Pairs of one cube of edge `block` are taken to err together. Infinite (on the diagonal, nothing beside it)
    where fewer than 12 pairs or 3 cubes are left, or where the pairs leave a direction free.
    """
    free = np.diag(np.full(6, np.inf))
    found = paired(a, b, b_from_a, radius)
    use = found.agrees
    if use.sum() < 12:
        return free
    error, lever = found.error[use], found.lever[use].copy()
    lever[:, :3] -= np.cross(np.broadcast_to(about, (len(lever), 3)), lever[:, 3:])
    weight = _weight(error, float(radius) / 3)
    scale = np.ones(6)
    scale[:3] = 1 / max(float(np.sqrt((lever[:, :3] ** 2).sum(1).mean())), 1e-300)
    scaled = lever * scale
    h = (weight[:, None] * scaled).T @ scaled
    value, vector = np.linalg.eigh(h)
    cube = np.floor(moved(b_from_a, a.points)[use] / float(block)).astype(np.int64)
    _, cube = np.unique(cube, axis=0, return_inverse=True)
    count = int(cube.max()) + 1
    if count < 3 or value[0] <= 1e-6 * value[-1]:
        return free
    gradient = weight[:, None] * scaled * error[:, None]
    sums = np.stack([np.bincount(cube.ravel(), column, count) for column in gradient.T], axis=-1)
    inverse = (vector / value) @ vector.T
    clustered = inverse @ (sums.T @ sums) @ inverse * count / (count - 1)
    return scale[:, None] * clustered * scale
