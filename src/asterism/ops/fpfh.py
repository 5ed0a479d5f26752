"""Fast point feature histograms: how the normals around a point are turned, in 33 numbers.

Rusu, Blodow, Beetz, "Fast Point Feature Histograms (FPFH) for 3D Registration", ICRA 2009.

equations 1 (angles alpha, phi, theta)  _angles
SPFH and its weighted mean              fpfh

Departs from the paper: weights are 1/d^2 as in the Point Cloud Library (the paper says 1/w with w the
distance), and each of the three histograms of 11 bins sums to one.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse
from scipy.spatial import cKDTree  # pyright: ignore[reportAttributeAccessIssue]

BINS = 11  # of each angle, as in the paper's section III


def fpfh(
    points: Float[np.ndarray, "N 3"], normal: Float[np.ndarray, "N 3"], radius: float | int
) -> Float[np.ndarray, "N 33"]:
    """One descriptor per point from the points within `radius`. `normal` has unit length and a side.

    A point without neighbours has a descriptor of zeros.
    """
    n = len(points)
    pairs = cKDTree(points).query_pairs(float(radius), output_type="ndarray")
    spfh = _simple(points, normal, pairs)
    i, j = pairs.T
    squared = np.maximum(((points[i] - points[j]) ** 2).sum(1), 1e-12 * radius**2)
    weight = sparse.coo_array((1 / squared, (i, j)), shape=(n, n)).tocsr()
    around = (weight + weight.T) @ spfh
    return (_normalised(around) + _normalised(spfh)).astype(np.float32)


def _simple(points: np.ndarray, normal: np.ndarray, pairs: Int[np.ndarray, "P 2"]) -> np.ndarray:
    """Histograms of the pairs that a point is part of; the angles are the same from both of its ends."""
    n = len(points)
    i, j = pairs.T
    bins = [_binned(value, low, high) for value, low, high in _angles(points, normal, i, j)]
    flat = np.stack(bins, axis=-1) + BINS * np.arange(3)
    counts = np.bincount((i[:, None] * 3 * BINS + flat).ravel(), minlength=n * 3 * BINS)
    counts += np.bincount((j[:, None] * 3 * BINS + flat).ravel(), minlength=n * 3 * BINS)
    return counts.reshape(n, 3 * BINS).astype(np.float64)


def _angles(
    points: np.ndarray, normal: np.ndarray, i: np.ndarray, j: np.ndarray
) -> list[tuple[np.ndarray, float, float]]:
    """alpha, phi and theta with their ranges. The source is the point whose normal is nearer to the line.

    With u the source's normal, d the line and n the other normal: v = d x u / |d x u|, w = u x v, so that
    alpha = v.n = det(d, u, n) / |d x u| and w.n = (d.n - (u.n) (u.d)) / |d x u|: products of rows only.
    """
    p, q = points.astype(np.float32), normal.astype(np.float32)
    d = p[j] - p[i]
    d /= np.maximum(np.sqrt(np.einsum("ij,ij->i", d, d)), 1e-30)[:, None]
    one, two = q[i], q[j]
    along, other = np.einsum("ij,ij->i", d, one), np.einsum("ij,ij->i", d, two)
    both = np.einsum("ij,ij->i", one, two)
    swap = np.abs(along) < np.abs(other)
    phi, rest = np.where(swap, -other, along), np.where(swap, -along, other)
    det = np.einsum("ij,ij->i", d, _cross(one, two))  # swapping turns both d and the order: no change
    long = np.sqrt(np.maximum(1 - phi * phi, 1e-12))
    theta = np.arctan2((rest - both * phi) / long, both)
    return [(det / long, -1.0, 1.0), (phi, -1.0, 1.0), (theta, -np.pi, np.pi)]


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    x, y, z = a.T
    u, v, w = b.T
    return np.stack([y * w - z * v, z * u - x * w, x * v - y * u], axis=-1)


def _binned(value: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.floor(BINS * (value - low) / (high - low)).astype(np.int64).clip(0, BINS - 1)


def _normalised(histogram: np.ndarray) -> np.ndarray:
    parts = histogram.reshape(len(histogram), 3, BINS)
    total = parts.sum(2, keepdims=True)
    return np.where(total > 0, parts / np.where(total > 0, total, 1), 0).reshape(histogram.shape)
