"""Between lists of matches per pair of images, as files hold them, and the block matrix."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from asterism.errors import BadMatches
from asterism.matches import Matches, Tracks

Pair = tuple[int, int, Int[np.ndarray, "_ 2"], Float[np.ndarray, " _"]]  # images, feature indices, weights


def block_matrix(where: str, counts: Int[np.ndarray, " M"], pairs: Iterable[Pair]) -> sparse.csr_array:
    """W of pairs of images. Raises BadMatches naming the pair when an index is none of the image's
    features.
    """
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    rows, columns, data = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0)]
    for i, j, index, weight in pairs:
        if len(index) and ((index < 0).any() or (index.max(0) >= [counts[i], counts[j]]).any()):
            raise BadMatches(
                f"{where}: images {i} and {j} have {counts[i]} and {counts[j]} features, but a match names "
                f"feature {index.max(0).tolist()}"
            )
        rows.append(offsets[i] + index[:, 0])
        columns.append(offsets[j] + index[:, 1])
        data.append(weight)
    n = int(offsets[-1])
    half = (np.concatenate(data), (np.concatenate(rows), np.concatenate(columns)))
    return sparse.csr_array(sparse.coo_array(half, shape=(n, n)))


def consistent_pairs(tracks: Tracks, matches: Matches) -> Iterable[Pair]:
    """For each pair of images that had matches: the features of equal labels, weighted by confidence."""
    offsets = matches.offsets
    for i, j in matches.pairs().tolist():
        a, b = tracks.labels[offsets[i] : offsets[i + 1]], tracks.labels[offsets[j] : offsets[j + 1]]
        _, x, y = np.intersect1d(np.where(a < 0, -1, a), np.where(b < 0, -2, b), return_indices=True)
        weight = np.minimum(tracks.confidence[offsets[i] + x], tracks.confidence[offsets[j] + y])
        yield i, j, np.stack([x, y], axis=1), weight
