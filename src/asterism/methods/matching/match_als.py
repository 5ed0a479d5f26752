"""match-als: a low-rank, doubly bounded matrix nearest to the matches, by alternating least squares.

The consistent matrix of all matches has low rank, entries from 0 to 1 and ones on its diagonal. Rank is asked
for softly, by the nuclear norm of a factorisation X = A B^T, so the number of labels need not be known
exactly.

X. Zhou, M. Zhu, K. Daniilidis, "Multi-Image Matching via Fast Alternating Minimization", ICCV 2015.
https://arxiv.org/abs/1505.04845

    min <beta - W, X> + alpha/2 (|A|^2 + |B|^2) s.t. X = A B^T, X in C   -> MatchAls._matrix
    A = (X + Y/mu) B (B^T B + alpha/mu)^-1, and B alike                  -> MatchAls._matrix
    X = projection of A B^T - (Y - W + beta)/mu on C                     -> MatchAls._matrix
    labels                                                               -> ops.spectrum.labels_from

Departs from the paper:
- C: symmetric, in [0, 1], diagonal blocks the identity; the paper also bounds the sums of rows and columns of
  each block by 1, which the rounding (one-to-one in each image) does here.
- mu is fixed, as in the paper; the rank of A and B is twice the number of labels (the paper's experiments: a
  multiple of the largest image). The start is the spectrum and not random numbers.
- Dense: memory grows with the square of the number of features, as the original's does.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from scipy import sparse

from asterism.errors import RequestError
from asterism.matches import Matches
from asterism.methods.synchroniser import Synchroniser
from asterism.ops.spectrum import labels_from, leading

_MOST_FEATURES = 8000  # half a gigabyte for each dense matrix in double precision


@dataclass(frozen=True)
class MatchAlsConfig:
    """alpha: weight of the nuclear norm; beta: of sparsity; mu: of the multipliers; tolerance: mean
    change.
    """

    alpha: float = 50.0
    beta: float = 0.1
    mu: float = 64.0
    tolerance: float = 5e-4
    rounds: int = 200
    anchors: int = 3


class MatchAls(Synchroniser):
    name = "match-als"
    paper = "Zhou, Zhu, Daniilidis, Multi-Image Matching via Fast Alternating Minimization, ICCV 2015"
    link = "https://arxiv.org/abs/1505.04845"
    Config = MatchAlsConfig

    def solve(self, matches: Matches, universe: int) -> Int[np.ndarray, " N"]:
        n = len(matches.image)
        if n > _MOST_FEATURES:
            raise RequestError(
                f"match-als: {n} features make dense matrices; wanted at most {_MOST_FEATURES}; try auto"
            )
        x = self._matrix(matches, universe)
        x[x < 0.05] = 0
        found = sparse.csr_array(x.astype(np.float32))
        _, vectors = leading(found, matches.offsets, universe)
        return labels_from(found, vectors, matches.offsets, universe, self.config.anchors, rounds=0)

    def _matrix(self, matches: Matches, universe: int) -> np.ndarray:
        c = self.config
        w = matches.w.toarray().astype(np.float64)
        n, rank = len(w), min(2 * universe, len(w))
        inside = matches.image[:, None] == matches.image[None]
        identity = np.eye(n)
        x, y = np.where(inside, identity, w), np.zeros_like(w)
        values, vectors = leading(matches.w, matches.offsets, rank)
        b = vectors * np.sqrt(np.maximum(values, 1e-3))
        ridge = c.alpha / c.mu * np.eye(b.shape[1])
        for _ in range(c.rounds):
            before = x
            target = x + y / c.mu
            a = target @ b @ np.linalg.inv(b.T @ b + ridge)
            b = target.T @ a @ np.linalg.inv(a.T @ a + ridge)
            low = a @ b.T
            x = low - (y - w + c.beta) / c.mu
            x = np.clip((x + x.T) / 2, 0, 1)
            x[inside] = identity[inside]
            y = y + c.mu * (x - low)
            if np.abs(x - before).mean() < c.tolerance and np.abs(x - low).mean() < c.tolerance:
                break
        return np.where(inside, 0, x)
