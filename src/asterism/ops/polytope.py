"""The polytope of soft labellings of many images, and the nearest point of it.

N features in a row, image after image; `offsets` (M + 1) says where each image begins. K labels. A soft
labelling is not negative, no feature has more than one label in all (rows sum to 1 at most), and in each
image a label is somewhere (columns sum to 1) or at most there (`least` 0).

Sets that are easy to project on, in turns, with what each took away kept for its next turn: Dykstra, "An
algorithm for restricted least squares regression", JASA 1983. One simplex by sorting: Held, Wolfe, Crowder,
"Validation of subgradient optimization", Mathematical Programming 1974.
"""

import numpy as np
from jaxtyping import Float, Int

_FAR = -1e30  # of entries that are none: further down than any


def rows_at_most_one(y: Float[np.ndarray, "N K"]) -> Float[np.ndarray, "N K"]:
    """The nearest matrix that is not negative and whose rows sum to 1 at most."""
    out = np.maximum(y, 0)
    over = out.sum(1) > 1
    if over.any():
        out[over] = _simplex(y[over])
    return out


def columns_between(
    y: Float[np.ndarray, "N K"], offsets: Int[np.ndarray, " M1"], least: float
) -> Float[np.ndarray, "N K"]:
    """The nearest matrix that is not negative and whose columns, in each image, sum to `least` or more and 1
    or less.

    An image with fewer features than labels cannot show all of them: there `least` is 0.
    """
    counts = np.diff(offsets)
    if not len(y) or not y.shape[1]:
        return np.maximum(y, 0)
    image = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(y)) - offsets[:-1][image]
    padded = np.full((len(counts), y.shape[1], int(counts.max())), _FAR)
    padded[image, :, place] = y
    held = np.maximum(padded, 0)
    total = held.sum(2)
    if (over := total > 1).any():
        held[over] = _simplex(padded[over])
    under = (total < least) & (counts >= y.shape[1])[:, None]
    if under.any():
        held[under] = least * _simplex(padded[under] / least)
    return held[image, :, place]


def nearest_labelling(
    y: Float[np.ndarray, "N K"],
    offsets: Int[np.ndarray, " M1"],
    least: float,
    *,
    sweeps: int = 200,
    tolerance: float = 1e-8,
) -> Float[np.ndarray, "N K"]:
    """The nearest soft labelling, until a sweep moves nothing by more than `tolerance`.

    Rows come last: they are met exactly, and columns within the tolerance where the sweeps were enough.
    """
    from_columns, from_rows = np.zeros_like(y), np.zeros_like(y)
    for _ in range(sweeps):
        middle = columns_between(y + from_columns, offsets, least)
        from_columns = y + from_columns - middle
        new = rows_at_most_one(middle + from_rows)
        from_rows = middle + from_rows - new
        gap = max(float(np.abs(new - y).max(initial=0)), float(np.abs(new - middle).max(initial=0)))
        y = new
        if gap <= tolerance:
            break
    return y


def _simplex(rows: Float[np.ndarray, "R P"]) -> Float[np.ndarray, "R P"]:
    """Each row's nearest point that is not negative and sums to 1."""
    falling = -np.sort(-rows, axis=1)
    over = (np.cumsum(falling, axis=1) - 1) / np.arange(1, rows.shape[1] + 1)
    last = np.count_nonzero(falling > over, axis=1) - 1
    return np.maximum(rows - over[np.arange(len(rows)), last][:, None], 0)
