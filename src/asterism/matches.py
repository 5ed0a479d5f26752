"""Partial permutations of many images, and the tracks that explain them: numpy and scipy, without torch.

It lies beside `errors`, below io and below the floors, because files (io) and solvers (methods) both speak it
and may not import each other. M images hold N features in one row, image after image; features of one image
are never matched to each other. W is symmetric and sparse; an entry is a weight, 1 for a plain match. A
matcher may give several candidates for one feature: nothing here has to be one-to-one or consistent.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from asterism.errors import BadMatches


@dataclass(frozen=True, kw_only=True)
class Matches:
    """The symmetric block matrix W, how many features each image has, and what else is known of them.

    w: N x N, scipy CSR, float32, not negative; counts: features per image; xy: pixels at centres, where
    known; names and sizes (h, w): of the images, where known. Build it with `Matches.of`, which checks.
    """

    w: sparse.csr_array
    counts: Int[np.ndarray, " M"]
    xy: Float[np.ndarray, "N 2"] | None = None
    names: tuple[str, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()
    offsets: Int[np.ndarray, " M1"] = field(
        init=False
    )  # of the images in the row of features, and N at the end

    def __post_init__(self) -> None:
        object.__setattr__(self, "offsets", np.concatenate([[0], np.cumsum(self.counts)]).astype(np.int64))

    @classmethod
    def of(
        cls,
        w: Any,  # any sparse array: scipy's types say little of them
        counts: Sequence[int] | Int[np.ndarray, " M"],
        xy: Float[np.ndarray, "N 2"] | None = None,
        names: Sequence[str] = (),
        sizes: Sequence[tuple[int, int]] = (),
        where: str = "matches",
    ) -> "Matches":
        """Checked, symmetric, and without matches inside of an image.

        An entry given on one side only is mirrored. Raises BadMatches, naming `where` and the field, when
        something does not fit.
        """
        counts = np.asarray(counts)
        _check_counts(where, counts)
        n = int(counts.sum())
        if w.shape != (n, n):
            raise BadMatches(
                f"{where}: shape is {w.shape}, but counts add up to {n} features: wanted {(n, n)}"
            )
        w = sparse.csr_array(w, dtype=np.float32)
        if not np.isfinite(w.data).all() or (w.data < 0).any():
            raise BadMatches(f"{where}: data holds weights that are negative, infinite or no numbers")
        w = sparse.csr_array(w.maximum(w.T))
        image = np.repeat(np.arange(len(counts)), counts)
        rows = np.repeat(np.arange(n), np.diff(w.indptr))
        w.data[image[rows] == image[w.indices]] = 0
        w.eliminate_zeros()
        w.sort_indices()
        if xy is not None:
            xy = np.asarray(xy, dtype=np.float64)
            if xy.shape != (n, 2) or not np.isfinite(xy).all():
                raise BadMatches(f"{where}: xy is {xy.shape}; wanted {n} finite rows of (x, y)")
        for name, values in (("names", names), ("sizes", sizes)):
            if len(values) not in (0, len(counts)):
                raise BadMatches(f"{where}: {name} has {len(values)} rows for {len(counts)} images")
        return cls(w=w, counts=counts.astype(np.int64), xy=xy, names=tuple(names), sizes=tuple(sizes))

    @property
    def n_images(self) -> int:
        return len(self.counts)

    @property
    def image(self) -> Int[np.ndarray, " N"]:
        """The image of every feature."""
        return np.repeat(np.arange(self.n_images), self.counts)

    def with_w(self, w: Any) -> "Matches":
        """The same features with other weights, which must be symmetric already."""
        return Matches(
            w=sparse.csr_array(w, dtype=np.float32),
            counts=self.counts,
            xy=self.xy,
            names=self.names,
            sizes=self.sizes,
        )

    def pairs(self) -> Int[np.ndarray, "P 2"]:
        """Pairs of images (a < b) that share at least one entry."""
        image, upper = self.image, sparse.triu(self.w, format="coo")
        key = np.unique(image[upper.row] * self.n_images + image[upper.col])
        return np.stack([key // max(self.n_images, 1), key % max(self.n_images, 1)], axis=1)

    def __repr__(self) -> str:
        return f"Matches({self.n_images} images, {len(self.image)} features, {self.w.nnz // 2} matches)"


@dataclass(frozen=True, kw_only=True)
class Tracks:
    """One label per feature, -1 for none; in one image a label occurs at most once, so tracks are consistent.

    confidence in [0, 1]: the share of a feature's matches that agree with its label, 0 where it has none.
    """

    labels: Int[np.ndarray, " N"]
    confidence: Float[np.ndarray, " N"]
    counts: Int[np.ndarray, " M"]

    def __post_init__(self) -> None:
        n = int(self.counts.sum())
        if self.labels.shape != (n,) or self.confidence.shape != (n,):
            raise ValueError(f"tracks: {self.labels.shape} labels for {n} features")
        twice = repeated(self.labels, self.counts)
        if twice.any():
            image = int(np.repeat(np.arange(len(self.counts)), self.counts)[twice][0])
            raise ValueError(f"tracks: a label occurs twice in image {image}; tracks would not be consistent")

    @property
    def universe(self) -> int:
        """How many labels occur."""
        return len(np.unique(self.labels[self.labels >= 0]))

    def matrix(self) -> sparse.csr_array:
        """The features as rows of a 0/1 matrix, N x universe; P P^T is the consistent block matrix."""
        rows = np.flatnonzero(self.labels >= 0)
        width = int(self.labels.max(initial=-1)) + 1
        ones = np.ones(len(rows), np.float32)
        return sparse.csr_array((ones, (rows, self.labels[rows])), shape=(len(self.labels), width))


def repeated(labels: Int[np.ndarray, " N"], counts: Int[np.ndarray, " M"]) -> np.ndarray:
    """Which features carry a label that occurs more than once in their image."""
    image = np.repeat(np.arange(len(counts)), counts)
    width = int(labels.max(initial=-1)) + 1
    key = np.where(labels >= 0, image * (width + 1) + labels, -1)
    _, back, times = np.unique(key, return_inverse=True, return_counts=True)
    return (times[back] > 1) & (labels >= 0)


def _check_counts(where: str, counts: np.ndarray) -> None:
    if counts.ndim != 1 or not np.issubdtype(counts.dtype, np.integer) or (counts < 0).any():
        raise BadMatches(f"{where}: counts must be one whole number, not negative, for each image")
