"""Fewer points of a cloud: the mean of each cell of a grid, and farthest-point sampling.

Farthest-point sampling: Gonzalez, "Clustering to minimize the maximum intercluster distance", Theoretical
Computer Science 1985. Here only the buckets that a new point can reach are looked at again, as in Han et
al., "QuickFPS", TCAD 2023: a bucket whose farthest point is nearer to its own samples than its box is to
the new one cannot change. The samples are those of the plain algorithm, ties apart.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree  # pyright: ignore[reportAttributeAccessIssue]

_BUCKET = 256  # points of one: about as many as cost as much as the call that handles them


def grid_cells(points: Float[np.ndarray, "N 3"], voxel: float | int) -> Int[np.ndarray, " N"]:
    """The number of each point's cell: occupied cells are 0, 1, ... in the order of x, then y, then z.

    Raises ValueError for a voxel that is not above zero, or so small that its cells cannot be counted.
    """
    if not voxel > 0:
        raise ValueError(f"voxel {voxel}: wanted a length above zero")
    cell = np.floor((points - points.min(0)) / voxel)
    sides = cell.max(0) + 1
    if np.prod(sides) >= 2**62:
        raise ValueError(f"voxel {voxel:g}: gives {sides.tolist()} cells; wanted a longer one")
    x, y, z = cell.astype(np.int64).T
    key = (x * int(sides[1]) + y) * int(sides[2]) + z
    order = np.argsort(key, kind="stable")
    new = np.diff(key[order], prepend=-1) != 0
    number = np.empty(len(points), np.int64)
    number[order] = np.cumsum(new) - 1
    return number


def grid_subsample(points: Float[np.ndarray, "N 3"], voxel: float | int) -> Float[np.ndarray, "M 3"]:
    """The mean of the points of each occupied cell."""
    return cell_means(points, grid_cells(points, voxel))


def cell_means(values: Float[np.ndarray, "N C"], cells: Int[np.ndarray, " N"]) -> Float[np.ndarray, "M C"]:
    """The mean of the rows of each cell, whose numbers are 0..M-1."""
    count = np.bincount(cells)
    return np.stack([np.bincount(cells, column) / count for column in values.T], axis=-1)


def farthest_points(points: Float[np.ndarray, "N 3"], k: int, first: int = 0) -> Int[np.ndarray, " k"]:
    """Rows of k points, each the farthest from those before it, beginning with `first`.

    Raises ValueError where k is not 1..N or `first` not 0..N-1.
    """
    n = len(points)
    if not 1 <= k <= n or not 0 <= first < n:
        raise ValueError(f"k {k}, first {first}: wanted 1 <= k <= {n} and 0 <= first < {n}")
    order, edges = _buckets(points)
    held = np.ascontiguousarray(points[order], dtype=np.float64)
    low = np.minimum.reduceat(held, edges[:-1])
    high = np.maximum.reduceat(held, edges[:-1])
    squared = np.full(n, np.inf)
    farthest = np.full(len(low), np.inf)  # of the points of each bucket, to its nearest sample
    chosen = np.empty(k, np.int64)
    at = int(np.flatnonzero(order == first)[0])
    for i in range(k):
        chosen[i] = at
        new = held[at]
        gap = np.maximum(np.maximum(low - new, new - high), 0)
        reach = np.flatnonzero((gap * gap).sum(1) < farthest)
        for b in reach.tolist():
            part = slice(edges[b], edges[b + 1])
            step = held[part] - new
            left = np.minimum(squared[part], np.einsum("ij,ij->i", step, step))
            squared[part] = left
            farthest[b] = left.max()
        bucket = int(farthest.argmax())
        at = edges[bucket] + int(squared[edges[bucket] : edges[bucket + 1]].argmax())
    return order[chosen]


def _buckets(points: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Rows in the order of the leaves of a k-d tree, and where each leaf begins (and the last ends)."""
    tree = cKDTree(points, leafsize=_BUCKET, balanced_tree=True)
    edges: list[int] = []

    def walk(node) -> None:
        if node.lesser is None:
            edges.append(node.start_idx)
        else:
            walk(node.lesser)
            walk(node.greater)

    walk(tree.tree)
    return np.asarray(tree.indices, dtype=np.int64), [*edges, len(points)]
