"""irgcl: weights of whole pairs of images from their cycles, and a graph Laplacian reweighted by them.

Some pairs of images are matched badly altogether. Composing two pairs into a third and comparing tells which:
a pair that cycles contradict loses weight, the labels are found again with these weights, and what
contradicts the labels loses weight in turn.

Y. Shi, S. Li, G. Lerman, "Robust Multi-Object Matching via Iterative Reweighting of the Graph Connection
Laplacian", NeurIPS 2020. https://arxiv.org/abs/2006.06658
CEMP: G. Lerman, Y. Shi, "Robust Group Synchronization via Cycle-Edge Message Passing", 2019.
https://arxiv.org/abs/1912.11347

    CEMP: s_ij = sum_k w_ik w_jk <X_ij, X_ik X_kj> / sum, w = e^(beta s) -> cemp
    weighted graph connection Laplacian, leading eigenvectors, rounding  -> ops.spectrum
    weights again from residuals of the rounded labels                   -> Irgcl.solve

Departs from the paper:
- Partial matches are normalised by the number of matches that both sides of a cycle could have had.
- beta runs 1, 2, 4, ... as CEMP's schedule does in its paper [from memory]; IRGCL's mixture of cycle weights
  and residual weights is a plain average.
- The operator is centred (ops/spectrum.py), and rounding is ours.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from asterism.matches import Matches
from asterism.methods.synchroniser import Synchroniser
from asterism.ops.spectrum import labels_from, leading


@dataclass(frozen=True)
class IrgclConfig:
    """beta: CEMP's sharpness in its rounds; rounds: of reweighting; sharpness: of weights from residuals."""

    beta: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)
    rounds: int = 3
    sharpness: float = 8.0
    anchors: int = 3


class Irgcl(Synchroniser):
    name = "irgcl"
    paper = "Shi, Li, Lerman, Robust Multi-Object Matching via Iterative Reweighting (IRGCL), NeurIPS 2020"
    link = "https://arxiv.org/abs/2006.06658"
    Config = IrgclConfig

    def solve(self, matches: Matches, universe: int) -> Int[np.ndarray, " N"]:
        c = self.config
        one, two = _sides(matches)
        by_cycles = cemp(matches, np.array(c.beta))
        weight, labels = by_cycles, np.full(len(matches.image), -1)
        m = matches.n_images
        for _ in range(c.rounds):
            w = matches.w.copy()
            w.data = w.data * (weight[one, two] + 1e-3).astype(np.float32)
            _, vectors = leading(w, matches.offsets, universe)
            labels = labels_from(w, vectors, matches.offsets, universe, c.anchors, rounds=0)
            rows = np.repeat(np.arange(len(labels)), np.diff(w.indptr))
            same = (labels[rows] == labels[w.indices]) & (labels[rows] >= 0)
            right = np.bincount(one * m + two, matches.w.data * same, m * m).reshape(m, m)
            total = np.bincount(one * m + two, matches.w.data, m * m).reshape(m, m)
            share = right / np.maximum(total, 1e-12)
            weight = (by_cycles + np.exp(c.sharpness * (share - 1))) / 2
        return labels


def _sides(matches: Matches) -> tuple[np.ndarray, np.ndarray]:
    """The two images of every entry of W."""
    image = matches.image
    return np.repeat(image, np.diff(matches.w.indptr)), image[matches.w.indices]


def cemp(matches: Matches, beta: Float[np.ndarray, " R"]) -> Float[np.ndarray, "M M"]:
    """Weights in [0, 1] of pairs of images: the share of a pair's matches that weighted cycles confirm."""
    m, image = matches.n_images, matches.image
    one, two = _sides(matches)
    pattern = matches.w.copy()
    pattern.data = np.ones_like(pattern.data)
    to_image = sparse.csr_array(
        (np.ones(len(image), np.float32), (np.arange(len(image)), image)), shape=(len(image), m)
    )
    total = np.bincount(one * m + two, minlength=m * m).reshape(m, m).astype(np.float64)
    weight = (total > 0).astype(np.float64)
    for sharp in beta:
        scaled = pattern.copy()
        scaled.data = weight[one, two].astype(np.float32)
        closed = (scaled @ scaled).multiply(pattern).tocsr()
        seen = sparse.csr_array(scaled @ to_image)
        possible = sparse.csr_array(seen @ seen.T).multiply(pattern).tocsr()
        share = (to_image.T @ closed @ to_image).toarray() / np.maximum(
            (to_image.T @ possible @ to_image).toarray(), 1e-12
        )
        weight = np.where(total > 0, np.exp(sharp * (np.clip(share, 0, 1) - 1)), 0)
    return weight
