"""How fine and how large a cloud is, so that voxels and radii need no unit: everything scales with the
points.
"""

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree  # pyright: ignore[reportAttributeAccessIssue]

from asterism.ops.cloud_sampling import grid_cells

_ASKED = 2000  # points whose nearest neighbour is looked up
_ROUNDS = 8  # of the search for a voxel: the number of cells falls with its square, so few are needed


def extent(points: Float[np.ndarray, "N 3"]) -> float:
    """The diagonal of the box that holds the middle 98 % of the points along each axis: outliers do not
    count.
    """
    low, high = np.percentile(points, (1, 99), axis=0)
    return float(np.linalg.norm(high - low))


def spacing(points: Float[np.ndarray, "N 3"]) -> float:
    """The median distance to the nearest other point, over at most 2,000 points spread over the rows."""
    if len(points) < 2:
        return 0.0
    asked = points[:: max(1, len(points) // _ASKED)]
    return float(np.median(cKDTree(points).query(asked, k=2)[0][:, 1]))


def voxel_for(points: Float[np.ndarray, "N 3"], wanted: int) -> float:
    """The edge of the cells of which about `wanted` (within 5 %) are occupied; 0 where there are fewer
    points.

    Never so small that most cells hold one point only because the cloud is sparse: a cloud of N points gives
    at most N cells, and `wanted` above 0.8 N is answered with the voxel of 0.8 N.
    """
    wanted = min(wanted, int(0.8 * len(points)))
    size = extent(points)
    if size == 0 or wanted < 1:
        return 0.0
    low, high = 0.0, np.inf
    voxel = size / max(wanted, 4) ** 0.5
    for _ in range(_ROUNDS):
        cells = int(grid_cells(points, voxel).max()) + 1
        if abs(cells - wanted) <= 0.05 * wanted:
            break
        if cells > wanted:
            low = voxel
        else:
            high = voxel
        guess = voxel * (cells / wanted) ** 0.5  # surfaces fill cells as the square
        voxel = guess if low < guess < high else (low + high) / 2 if np.isfinite(high) else 2 * low
    return float(voxel)
