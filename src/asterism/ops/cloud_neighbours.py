"""Neighbours in a cloud and what follows from them: normals and how flat the surroundings are.

Normals are the direction of least variance of the neighbours (Hoppe et al., "Surface Reconstruction from
Unorganized Points", SIGGRAPH 1992, section 3.2), without a side; `one_sided` gives
them one (section 3.3).
"""

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse
from scipy.sparse import csgraph
from scipy.spatial import cKDTree  # pyright: ignore[reportAttributeAccessIssue]


def nearest(
    tree: cKDTree, asked: Float[np.ndarray, "M 3"], k: int
) -> tuple[Float[np.ndarray, "M k"], Int[np.ndarray, "M k"]]:
    """Distances and rows of the k nearest points of the tree, in the order of distance.

    Raises ValueError where the tree holds fewer than k points.
    """
    if not 1 <= k <= tree.n:
        raise ValueError(f"k {k}: the cloud has {tree.n} points; wanted 1 <= k <= {tree.n}")
    return tree.query(asked, k=np.arange(1, k + 1), workers=-1)


def nearest_within(
    tree: cKDTree, asked: Float[np.ndarray, "M 3"], k: int, radius: float | int
) -> tuple[Float[np.ndarray, "M k"], Int[np.ndarray, "M k"]]:
    """As `nearest`, of the points within `radius` only: the k nearest of these; absent ones have the distance
    infinity and the row N, one past the last. This is the truncated radius search of convolutions on points.
    """
    limit = np.nextafter(float(radius), np.inf)  # the search takes what is less than its bound
    return tree.query(asked, k=np.arange(1, k + 1), distance_upper_bound=limit, workers=-1)


def local_pca(
    points: Float[np.ndarray, "N 3"], neighbours: Int[np.ndarray, "M k"]
) -> tuple[Float[np.ndarray, "M 3"], Float[np.ndarray, "M 3 3"]]:
    """Variances along the principal directions of each row's neighbours, rising, and those directions as
    columns: `[:, :, 0]` is the normal, with no side.
    """
    near = points[neighbours]
    near = near - near.mean(1, keepdims=True)
    return np.linalg.eigh(np.einsum("mki,mkj->mij", near, near, optimize=True) / near.shape[1])


def normals(
    points: Float[np.ndarray, "N 3"], asked: Float[np.ndarray, "M 3"], k: int = 16
) -> tuple[Float[np.ndarray, "M 3"], Float[np.ndarray, " M"]]:
    """Unit normals at `asked`, of the surface that `points` lie on, and its variation there: the share of the
    variance that is along the normal, from 0 (a plane) to 1/3 (no surface).
    """
    _, row = nearest(cKDTree(points), asked, min(k, len(points)))
    variance, direction = local_pca(points, row)
    total = variance.sum(1)
    return direction[:, :, 0], np.where(total > 0, variance[:, 0] / np.where(total > 0, total, 1), 0).clip(0)


def one_sided(
    points: Float[np.ndarray, "N 3"], normal: Float[np.ndarray, "N 3"], k: int = 8
) -> Float[np.ndarray, "N 3"]:
    """The normals, turned so that neighbours agree along the flattest tree that joins them; of each connected
    piece most look towards the middle of the cloud, as the surfaces of a room do from within.
    """
    n, k = len(points), min(k, len(points) - 1)
    if k < 1:
        return normal
    row = nearest(cKDTree(points), points, k + 1)[1][:, 1:].ravel()
    start = np.repeat(np.arange(n), k)
    bend = 1 + 1e-6 - np.abs((normal[start] * normal[row]).sum(1))
    low, high = np.minimum(start, row), np.maximum(start, row)
    key, first = np.unique(low * n + high, return_index=True)
    graph = sparse.csr_array((bend[first], (key // n, key % n)), shape=(n, n))
    tree = csgraph.minimum_spanning_tree(graph)
    pieces, piece = csgraph.connected_components(tree, directed=False)
    sign = np.ones(n)
    for root in np.unique(piece, return_index=True)[1]:
        order, before = csgraph.breadth_first_order(tree, root, directed=False)
        turns = np.sign((normal[order[1:]] * normal[before[order[1:]]]).sum(1))
        for i, j, turn in zip(order[1:].tolist(), before[order[1:]].tolist(), turns.tolist()):
            sign[i] = sign[j] * (turn or 1.0)
    votes = np.sign(((points.mean(0) - points) * normal).sum(1)) * sign
    sign *= np.where(np.bincount(piece, votes, pieces) < 0, -1, 1)[piece]
    return normal * sign[:, None]
