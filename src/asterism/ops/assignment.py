"""Assigning features to labels, image by image: the projection onto partial permutations, and votes.

N features in a row, image after image; `offsets` (M + 1) says where each image begins. K labels, -1 is none.
"""

from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse
from scipy.optimize import linear_sum_assignment


def assign(
    scores: Float[np.ndarray, "N K"], offsets: Int[np.ndarray, " M1"], least: float = 0.0
) -> Int[np.ndarray, " N"]:
    """The label of every feature: in each image the one-to-one assignment with the greatest sum of scores.

    Only scores above `least` are taken. An image in which every feature's best label is wanted by no other
    is solved by that (it is the optimum); the rest by the Hungarian method.
    """
    n, k = scores.shape
    if n == 0 or k == 0:
        return np.full(n, -1, dtype=np.int64)
    labels = scores.argmax(1).astype(np.int64)
    labels[scores[np.arange(n), labels] <= least] = -1
    for i in np.unique(_images_with_conflicts(labels, offsets, k)):
        a, b = offsets[i], offsets[i + 1]
        block = np.maximum(scores[a:b] - least, 0)
        rows, columns = linear_sum_assignment(block, maximize=True)
        labels[a:b] = -1
        taken = block[rows, columns] > 0
        labels[a + rows[taken]] = columns[taken]
    return labels


def _images_with_conflicts(labels: np.ndarray, offsets: np.ndarray, k: int) -> np.ndarray:
    image = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    key = np.sort((image * k + labels)[labels >= 0])
    return key[1:][key[1:] == key[:-1]] // k


def votes(w: sparse.csr_array, labels: Int[np.ndarray, " N"], k: int) -> Float[np.ndarray, "N K"]:
    """W times the 0/1 matrix of the labels: how much weight of each feature goes to each label."""
    kept = np.where(labels < 0, k, labels)[w.indices]
    n = len(w.indptr) - 1
    rows = np.repeat(np.arange(n, dtype=np.int64), np.diff(w.indptr))
    counted = np.bincount(rows * (k + 1) + kept, weights=w.data, minlength=n * (k + 1))
    return counted.reshape(n, k + 1)[:, :k].astype(np.float32)


def agreement(w: sparse.csr_array, labels: Int[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """How much weight of each feature goes to features of its own label."""
    n = len(w.indptr) - 1
    rows = np.repeat(np.arange(n), np.diff(w.indptr))
    same = (labels[rows] == labels[w.indices]) & (labels[rows] >= 0)
    return np.bincount(rows[same], weights=w.data[same], minlength=n).astype(np.float64)


def projected_powers(
    w: sparse.csr_array, labels: Int[np.ndarray, " N"], offsets: Int[np.ndarray, " M1"], k: int, rounds: int
) -> Int[np.ndarray, " N"]:
    """U <- Proj(W U) until nothing changes, at most `rounds` times."""
    for _ in range(rounds):
        new = assign(votes(w, labels, k), offsets)
        if (new == labels).all():
            break
        labels = new
    return labels


def one_to_one(w: sparse.csr_array, offsets: Int[np.ndarray, " M1"]) -> sparse.csr_array:
    """In each block (pair of images) the one-to-one matches of the greatest sum; their weights are kept.

    A block that is one-to-one already is left as it is.
    """
    upper = sparse.triu(w, format="coo")
    if upper.nnz == 0:
        return w
    m = len(offsets) - 1
    image = np.repeat(np.arange(m), np.diff(offsets))
    key = image[upper.row].astype(np.int64) * m + image[upper.col]
    order = np.argsort(key, kind="stable")
    row, column, data, key = upper.row[order], upper.col[order], upper.data[order], key[order]
    starts = np.concatenate([[0], np.flatnonzero(np.diff(key)) + 1, [len(key)]])
    kept = np.ones(len(key), dtype=bool)
    for a, b in pairwise(starts):
        rows, r = np.unique(row[a:b], return_inverse=True)
        columns, c = np.unique(column[a:b], return_inverse=True)
        if len(rows) == b - a == len(columns):
            continue
        block = np.zeros((len(rows), len(columns)))
        block[r, c] = data[a:b]
        best = np.full(len(rows), -1)
        x, y = linear_sum_assignment(block, maximize=True)
        best[x] = y
        kept[a:b] = best[r] == c
    half = sparse.coo_array((data[kept], (row[kept], column[kept])), shape=w.shape)
    return sparse.csr_array(half + half.T)
