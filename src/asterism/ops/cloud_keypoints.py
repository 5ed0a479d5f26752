"""What detectors of points in clouds share: sums over neighbours, local maxima, radii, and the best as a
batch.

Detectors work in numpy and in double precision, on each cloud by itself; rows that are not valid are never
looked at.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree  # pyright: ignore[reportAttributeAccessIssue]

from asterism.ops.cloud_scale import extent, spacing
from asterism.types import Clouds, Keypoints3D

_ROWS = 8192  # points whose neighbours are held at once: at 300 each some hundred megabytes

# Two arrays per cloud: places P 3, and a response above zero of each, in any order.
Found = tuple[Float[np.ndarray, "_ 3"], Float[np.ndarray, " _"]]


def clouds_of(batch: Clouds) -> list[Float[np.ndarray, "_ 3"]]:
    """The valid points of each row."""
    points, valid = batch.points.detach().cpu().double().numpy(), batch.valid.cpu().numpy()
    return [p[v] for p, v in zip(points, valid)]


def units_of(batch: Clouds) -> list[float]:
    """How long one unit of the batch is in the unit of the source, for each row."""
    volume = torch.linalg.det(batch.to_source[:, :3, :3].double()).abs()
    return (volume ** (1 / 3)).tolist()


def radius_for(
    points: Float[np.ndarray, "N 3"],
    asked: float | int | None,
    unit: float | int,
    spacings: float | int,
    share: float | int,
) -> float:
    """A radius in the unit of the points: `asked`, in the source's unit, or without it one that follows the
    cloud: `spacings` times the distance between neighbours, and at least `share` of the cloud's extent.

    The second keeps the radius where it was when a cloud is thinned out, the first holds enough neighbours.
    Raises ValueError for a radius that is not above zero.
    """
    if asked is None:
        return max(spacings * spacing(points), share * extent(points)) if len(points) > 1 else 0.0
    if not asked > 0:
        raise ValueError(f"radius {asked}: wanted a length above zero")
    return asked / unit


def neighbours(
    points: Float[np.ndarray, "N 3"], asked: Float[np.ndarray, "M 3"], radius: float | int
) -> Iterator[tuple[Int[np.ndarray, " R"], Int[np.ndarray, " P"], Int[np.ndarray, " P"]]]:
    """Rows of `asked` a few thousand at a time, and with them all pairs (i, j): `points[j]` within `radius`
    of `asked[rows[i]]`, itself included.
    """
    tree = cKDTree(points)
    order = np.asarray(cKDTree(asked).indices, dtype=np.int64)  # near to each other: their trees overlap less
    for start in range(0, len(asked), _ROWS):
        rows = order[start : start + _ROWS]
        pairs = cKDTree(asked[rows]).sparse_distance_matrix(tree, float(radius), output_type="ndarray")
        yield rows, pairs["i"].astype(np.int64), pairs["j"].astype(np.int64)


def outer_sums(
    vectors: Float[np.ndarray, "P 3"], owner: Int[np.ndarray, " P"], n: int
) -> Float[np.ndarray, "n 3 3"]:
    """Sums of v v^T over the vectors of each owner 0..n-1."""
    total = np.empty((n, 3, 3))
    for a in range(3):
        for b in range(a + 1):
            total[:, a, b] = total[:, b, a] = np.bincount(owner, vectors[:, a] * vectors[:, b], minlength=n)
    return total


def local_maxima(
    points: Float[np.ndarray, "N 3"],
    response: Float[np.ndarray, " N"],
    radius: float | int,
    least: int = 1,
) -> Int[np.ndarray, " P"]:
    """Rows with a response above zero that no neighbour within `radius` exceeds, and that have at least
    `least` points there, themselves included. Of equal neighbours the first in the order of x, y, z stays:
    all points of a fragment smaller than the radius have the same surroundings.
    """
    rank = np.empty(len(points), np.int64)
    rank[np.lexsort((*points.T[::-1], -response))] = np.arange(len(points))
    candidates = np.flatnonzero(response > 0)
    keep = np.zeros(len(candidates), bool)
    for rows, i, j in neighbours(points, points[candidates], radius) if len(candidates) else ():
        beaten = np.bincount(i, rank[j] < rank[candidates[rows[i]]], minlength=len(rows)) > 0
        keep[rows] = ~beaten & (np.bincount(i, minlength=len(rows)) >= least)
    return candidates[keep]


def variation(points: Float[np.ndarray, "N 3"], radius: float | int) -> Float[np.ndarray, " N"]:
    """How little flat the surroundings are: the share of the variance within `radius` that is along the
    normal, from 0 (a plane) to 1/3; 0 with fewer than three neighbours. PCL calls it curvature.
    """
    return surface(points, radius)[1]


def surface(
    points: Float[np.ndarray, "N 3"], radius: float | int
) -> tuple[Float[np.ndarray, "N 3"], Float[np.ndarray, " N"]]:
    """Unit normals, without a side, from all points within `radius`, and `variation`; a normal is zero where
    there are fewer than three points.
    """
    normal, share = np.zeros((len(points), 3)), np.zeros(len(points))
    for rows, i, j in neighbours(points, points, radius):
        count = np.bincount(i, minlength=len(rows)).astype(np.float64)
        step = points[j] - points[rows[i]]  # from the point itself: the sums stay small
        mean = np.stack([np.bincount(i, column, minlength=len(rows)) for column in step.T], axis=-1)
        mean /= count[:, None]
        spread = outer_sums(step, i, len(rows)) / count[:, None, None]
        value, axes = np.linalg.eigh(spread - mean[:, :, None] * mean[:, None])
        total = value.sum(1)
        good = (count >= 3) & (total > 0)
        normal[rows[good]] = axes[good, :, 0]
        share[rows[good]] = (value[good, 0] / total[good]).clip(0, 1 / 3)
    return normal, share


def best(found: Sequence[Found], k: int, batch: Clouds) -> Keypoints3D:
    """The k best of each cloud, in the coordinates of the source; a score is the response over the cloud's
    largest. Rows without a point are not valid, score 0, and lie in the origin of the batch's own unit.

    Equal responses stand in the order of their places, whichever order the points came in.
    """
    xyz, score = np.zeros((len(found), k, 3)), np.zeros((len(found), k))
    valid = np.zeros((len(found), k), bool)
    for row, (places, response) in enumerate(found):
        order = np.lexsort((*places.T[::-1], -response))[:k]
        xyz[row, : len(order)] = places[order]
        score[row, : len(order)] = response[order] / max(response.max(initial=0.0), np.finfo(float).tiny)
        valid[row, : len(order)] = True
    like = batch.points
    to_source = batch.to_source.double().cpu()
    places = torch.from_numpy(xyz) @ to_source[:, :3, :3].mT + to_source[:, None, :3, 3]
    flags: Bool[torch.Tensor, "B K"] = torch.from_numpy(valid).to(like.device)
    return Keypoints3D(xyz=places.to(like), score=torch.from_numpy(score).to(like), valid=flags)
