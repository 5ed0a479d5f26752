"""Cycles of matches through third images: what they say of a match, and tracks made from scored matches."""

import numpy as np
from jaxtyping import Int
from scipy import sparse


def cycle_scores(w: sparse.csr_array, image: Int[np.ndarray, " N"], rounds: int) -> sparse.csr_array:
    """W with each weight replaced by the share of its cycles that close, in [0, 1].

    For a match (a, b): the third images in which both have a partner, counted; those where it is the same
    partner, over all and one more. From the second round on partners count by their scores. O(N degree^2).
    """
    n, m = len(image), int(image.max(initial=-1)) + 1
    pattern = w.copy()
    pattern.data = np.ones_like(pattern.data)
    to_image = sparse.csr_array((np.ones(n, np.float32), (np.arange(n), image)), shape=(n, m))
    scores = pattern
    for _ in range(rounds):
        closed = sparse.csr_array(scores @ scores).multiply(pattern).tocsr()
        seen = sparse.csr_array(scores @ to_image)
        seen.data = np.minimum(seen.data, 1)
        both = (
            sparse.csr_array(seen @ seen.T).multiply(pattern).tocsr()
            if n < 20_000
            else _rowwise(seen, pattern)
        )
        both.data = 1 / (both.data + 1)
        scores = sparse.csr_array(closed.multiply(both))
        scores.data = np.minimum(scores.data, 1).astype(np.float32)
    return scores


def _rowwise(seen: sparse.csr_array, pattern: sparse.csr_array) -> sparse.csr_array:
    """(seen seen^T) where pattern has entries, in slices of the entries: the product itself would be
    dense.
    """
    out = pattern.copy()
    rows = np.repeat(np.arange(len(pattern.indptr) - 1), np.diff(pattern.indptr))
    for a in range(0, len(rows), 200_000):
        part = slice(a, a + 200_000)
        out.data[part] = np.asarray(seen[rows[part]].multiply(seen[pattern.indices[part]]).sum(axis=1))
    return out


def greedy_tracks(
    scores: sparse.csr_array, image: Int[np.ndarray, " N"], least: float
) -> Int[np.ndarray, " N"]:
    """Union-find over matches, best first; two tracks that hold features of one image are never joined.

    Matches that score `least` or less are not looked at. Labels are numbered by falling length of the track.
    """
    upper = sparse.triu(scores, format="coo")
    order = np.argsort(-upper.data.astype(np.float64), kind="stable")
    order = order[upper.data[order] > least]
    label = list(range(len(image)))
    members: dict[int, list[int]] = {}
    images: dict[int, set[int]] = {}
    of = image.tolist()
    for a, b in zip(upper.row[order].tolist(), upper.col[order].tolist()):
        one, two = label[a], label[b]
        if one == two:
            continue
        held = images.setdefault(one, {of[one]}), images.setdefault(two, {of[two]})
        if not held[0].isdisjoint(held[1]):
            continue
        if len(held[0]) < len(held[1]):
            one, two = two, one
        moved = members.pop(two, [two])
        members.setdefault(one, [one]).extend(moved)
        images[one] |= images.pop(two)
        for feature in moved:
            label[feature] = one
    found, back, times = np.unique(label, return_inverse=True, return_counts=True)
    place = np.empty(len(found), dtype=np.int64)
    place[np.argsort(-times, kind="stable")] = np.arange(len(found))
    return np.where(times > 1, place, -1)[back]
