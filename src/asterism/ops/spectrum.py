"""The spectrum of a block matrix of matches: its leading subspace, universe size, and labels from it.

Where each image has its features in common with the others, W acts on indicator vectors of labels like the
graph of images does on numbers. Vectors that are constant in every image say nothing about labels, and W has
as many large eigenvalues for them as the graph of images has: with local neighbours that is one for every
slow wave along the ring, and they drown the labels. Hence the operator is centred in every image before and
after; the labels' eigenvalue then stands alone, K - 1 times. With single matches replaced at random, a share
p of them right and d neighbours, it stands at p (d - 1) + 1 / p above noise that ends at 2 sqrt(d - 1), as
soon as p > 1 / sqrt(d - 1): half of where the plain count of 2 / sqrt(d) gives up.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, eigsh

from asterism.ops.assignment import agreement, assign, projected_powers

_DENSE = 600  # up to here the whole spectrum at once is faster than Lanczos


def normalised(w: sparse.csr_array) -> sparse.csr_array:
    """D^-1/2 W D^-1/2; a feature without matches keeps a row of zeros. Degrees are damped by their mean.

    D is half the feature's own degree and half the mean: a feature with a single wrong match then has no
    eigenvalue of its own near 1.
    """
    degree = np.asarray(w.sum(axis=1)).ravel()
    alive = degree > 0
    root = np.zeros(len(degree), np.float32)
    root[alive] = 1 / np.sqrt((degree[alive] + degree[alive].mean()) / 2)
    scale = sparse.dia_array((root[None], 0), shape=w.shape)
    return sparse.csr_array(scale @ w @ scale)


class _Centring:
    """Subtracts from each feature the mean of its image."""

    def __init__(self, offsets: np.ndarray) -> None:
        counts = np.diff(offsets)
        held = counts > 0
        self.starts, self.counts = offsets[:-1][held], counts[held]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        mean = np.add.reduceat(x, self.starts, axis=0)
        mean = mean / self.counts.reshape(-1, *([1] * (x.ndim - 1)))
        return x - np.repeat(mean, self.counts, axis=0)


def leading(
    w: sparse.csr_array, offsets: Int[np.ndarray, " M1"], k: int
) -> tuple[Float[np.ndarray, " R"], Float[np.ndarray, "N R"]]:
    """The k greatest eigenvalues, falling, of the centred normalised W, and their vectors (fewer if N is
    small).
    """
    a = normalised(w)
    n = len(a.indptr) - 1
    centre = _Centring(offsets)
    k = min(k, n)
    if n <= _DENSE or k >= n - 2:
        dense = centre(centre(a.toarray().astype(np.float64)).T)
        values, vectors = np.linalg.eigh((dense + dense.T) / 2)
        return values[::-1][:k], vectors[:, ::-1][:, :k]
    operator = LinearOperator((n, n), matvec=lambda x: centre(a @ centre(x.ravel())), dtype=np.float32)  # type: ignore[call-arg]
    start = np.sin(1.0 + np.arange(n) * 12.9898).astype(np.float32)  # any vector with a part in everything
    values, vectors = eigsh(operator, k=k, which="LA", v0=start, tol=1e-2, ncv=min(n - 1, 2 * k + 20))  # type: ignore[arg-type]
    order = np.argsort(-values)
    return values[order].astype(np.float64), vectors[:, order].astype(np.float64)


def universe_size(values: Float[np.ndarray, " R"], most: int) -> int:
    """How many labels: one more than the eigenvalues before the widest relative gap, at most `most`."""
    if len(values) < 2 or values[0] <= 0:
        return 1
    above, below = values[:-1][:most], np.maximum(values[1:][:most], 0)
    gap = (above - below) / (np.maximum(above, 0) + values[0] / 4)  # the tail's small steps are no gaps
    return int(np.argmax(gap)) + 2


def _pivots(rows: np.ndarray, k: int, first: np.ndarray) -> np.ndarray:
    """Indices of k rows as independent as can be (greedy QR): from `first` while they last, then from all."""
    left = rows.copy()
    norms = (left**2).sum(1)
    small = 0.1 * np.sort(norms)[-min(len(norms), 10 * k) :].mean()
    allowed = np.zeros(len(rows), dtype=bool)
    allowed[first] = True
    chosen: list[int] = []
    for _ in range(min(k, len(rows))):
        best = int(np.argmax(np.where(allowed, norms, -1)))
        if norms[best] <= small and not allowed.all():
            allowed[:] = True
            best = int(np.argmax(norms))
        chosen.append(best)
        direction = left[best] / max(np.sqrt(norms[best]), 1e-12)
        left -= (left @ direction)[:, None] * direction
        norms = (left**2).sum(1)
        norms[chosen] = -1
    return np.array(chosen)


def labels_from(
    w: sparse.csr_array,
    vectors: Float[np.ndarray, "N R"],
    offsets: Int[np.ndarray, " M1"],
    k: int,
    anchors: int,
    rounds: int,
) -> Int[np.ndarray, " N"]:
    """Labels from the subspace of K labels: from several anchor images, the best by agreement with W kept.

    An anchor's features (completed by the most independent features of all) are the first centres; features
    go to centres one-to-one in each image, centres become means, three times; then projected powers, `rounds`
    times.
    """
    rows = np.concatenate([vectors[:, : k - 1], np.zeros((len(vectors), 1))], axis=1)
    size = np.sqrt((rows**2).sum(1))
    rows[:, -1] = (
        np.median(size[size > 0]) / np.sqrt(max(k - 1, 1)) if (size > 0).any() else 0
    )  # a simplex has a height
    rows = rows.astype(np.float32)
    strength = np.add.reduceat(np.append(size**2, 0), np.minimum(offsets[:-1], len(size)))
    strength[np.diff(offsets) == 0] = 0
    best, most = np.full(len(rows), -1), -1.0
    sample = _sample(offsets, 20_000)
    for anchor in np.argsort(-strength, kind="stable")[:anchors]:
        own = np.arange(int(offsets[anchor]), int(offsets[anchor + 1]))
        pool = np.union1d(sample, own)
        chosen = pool[_pivots(rows[pool], k, np.searchsorted(pool, own))]
        centres = rows[chosen]
        labels = assign(rows @ centres.T, offsets)
        for _ in range(3):
            centres = _means(rows, labels, centres)
            labels = assign(rows @ centres.T, offsets)
        labels = projected_powers(w, labels, offsets, k, rounds)
        reached = float(agreement(w, labels).sum())
        if reached > most:
            best, most = labels, reached
    return best


def _sample(offsets: np.ndarray, most: int) -> np.ndarray:
    """Features of images spread over all of them, about `most`."""
    m = len(offsets) - 1
    step = max(1, int(np.ceil(offsets[-1] / most)))
    return np.concatenate([np.arange(int(offsets[i]), int(offsets[i + 1])) for i in range(0, m, step)])


def _means(rows: np.ndarray, labels: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    k = len(otherwise)
    held = np.flatnonzero(labels >= 0)
    member = sparse.csr_array((np.ones(len(held), np.float32), (labels[held], held)), shape=(k, len(rows)))
    total = np.bincount(labels[held], minlength=k)
    means = (member @ rows) / np.maximum(total, 1)[:, None]
    means = np.where((total > 0)[:, None], means, otherwise)
    size = np.sqrt((means**2).sum(1, keepdims=True))
    return (means / np.maximum(size, 1e-12)).astype(np.float32)


def estimated_universe(w: sparse.csr_array, offsets: Int[np.ndarray, " M1"]) -> int:
    """universe_size of W itself. Looked for up to twice the features of the fullest image."""
    most = 2 * int(np.diff(offsets).max(initial=0)) + 2
    values, _ = leading(w, offsets, most + 2)
    return universe_size(values, most)
