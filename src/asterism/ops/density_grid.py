"""Smoothed-density values: what the surroundings of a point look like in its own frame, as a small grid.

Gojcic, Zhou, Wegner, Wieser, "The Perfect Match: 3D Point Cloud Matching with Smoothed Densities", CVPR
2019, section 3.1 ("3DSmoothNet"): each cell holds the mean of a Gaussian over the points near it, and the
cells of a grid add up to one, so that how densely the cloud was sampled matters little.

Departs from the paper: "near" is a cube of half side three widths, not a ball, because then all three axes
can be summed one after the other.
"""

import numpy as np
from jaxtyping import Float, Int

from asterism.ops.cloud_keypoints import neighbours

_NUMBERS = 4_000_000  # held at once: 32 MB
_CUT = 3.0  # widths beyond which the Gaussian is left out (the paper's)


def density_grids(
    points: Float[np.ndarray, "N 3"],
    asked: Float[np.ndarray, "M 3"],
    frames: Float[np.ndarray, "M 3 3"],
    half: float | int,
    cells: int,
    width: float | int,
    most: int,
) -> Float[np.ndarray, "M c c c"]:
    """Grids of `cells` along x, y and z of each frame, from -half to half around the asked point; `width` is
    the Gaussian's standard deviation in cells. Points within sqrt(3) `half` count: the ball around the grid.
    Where there are more than `most`, so many are taken, spread evenly over their order of distance.

    Grids add up to one; where a frame is zero, or nothing is near, they are zero.
    """
    out = np.zeros((len(asked), cells, cells, cells), np.float32)
    edge = 2 * half / cells
    centres = edge * (np.arange(cells) - (cells - 1) / 2)
    for rows, i, j in neighbours(points, asked, np.sqrt(3) * half):
        kept = np.any(frames[rows], axis=(1, 2))[i]
        i, j = _thinned(i[kept], j[kept], points, asked[rows], most)
        count = np.bincount(i, minlength=len(rows))
        start = np.concatenate([[0], np.cumsum(count)])
        few = max(1, _NUMBERS // (max(int(count.max()), 1) * cells * cells))
        for first in range(0, len(rows), few):
            part = slice(first, min(first + few, len(rows)))
            span = slice(start[part.start], start[part.stop])
            step = points[j[span]] - asked[rows[i[span]]]
            local = np.einsum("pab,pb->pa", frames[rows[i[span]]], step)
            slot = np.arange(span.start, span.stop) - start[i[span]]
            held = np.full((part.stop - part.start, int(count[part].max(initial=0)), 3), np.inf, np.float32)
            held[i[span] - first, slot] = local
            out[rows[part]] = _smoothed(held, centres, width * edge)
    return out


def _thinned(
    i: Int[np.ndarray, " P"], j: Int[np.ndarray, " P"], points: np.ndarray, asked: np.ndarray, most: int
) -> tuple[Int[np.ndarray, " Q"], Int[np.ndarray, " Q"]]:
    """Pairs in the order of their owners; of owners with more than `most`, every so many-th by distance."""
    step = points[j] - asked[i]
    squared = np.einsum("pb,pb->p", step, step)
    order = np.argsort(i + squared / (2 * squared.max(initial=1e-300)))  # one key sorts faster
    i, j = i[order], j[order]
    count = np.bincount(i, minlength=len(asked))
    rank = np.arange(len(i)) - (np.cumsum(count) - count)[i]
    kept = rank * most // count[i] != (rank - 1) * most // count[i]  # as many changes as are wanted
    kept |= count[i] <= most
    return i[kept], j[kept]


def _smoothed(
    local: Float[np.ndarray, "R k 3"], centres: Float[np.ndarray, " c"], sigma: float
) -> Float[np.ndarray, "R c c c"]:
    """Points at infinity are padding."""
    step = local[:, :, :, None] - centres.astype(np.float32)  # R k 3 c
    near = np.abs(step) <= _CUT * sigma
    bell = np.where(near, np.exp(-0.5 * (np.where(near, step, 0) / sigma) ** 2), 0).astype(np.float32)
    value = _product(bell) / np.maximum(_product(near.astype(np.float32)), 1)
    total = value.sum((1, 2, 3), keepdims=True)
    return np.where(total > 0, value / np.where(total > 0, total, 1), 0)


def _product(parts: Float[np.ndarray, "R k 3 c"]) -> Float[np.ndarray, "R c c c"]:
    """Sums over the points of the product of their three factors."""
    x, y, z = parts[:, :, 0], parts[:, :, 1], parts[:, :, 2]
    r, k, c = x.shape
    across = (x[:, :, :, None] * y[:, :, None, :]).reshape(r, k, c * c)
    return (across.transpose(0, 2, 1) @ z).reshape(r, c, c, c)
