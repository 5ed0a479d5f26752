"""hippi: projected powers, W U projected onto partial permutations again and again, with geometry where it is
known.

Each round lets every feature ask its matches for their labels and settles the votes one-to-one in each image.
With coordinates, votes of neighbouring features that keep their distance to each other count more, so the
geometry of the set is used without ever comparing pairs of pairs.

F. Bernard, J. Thunberg, P. Swoboda, C. Theobalt, "HiPPI: Higher-Order Projected Power Iterations for Scalable
Multi-Matching", ICCV 2019. https://arxiv.org/abs/1903.10956

    U <- proj(W U), the simplest form                      -> ops.assignment.projected_powers
    U <- proj(W U U^T A U ...), A: adjacency in each image -> Hippi._with_geometry
    initial U                                              -> ops.spectrum.labels_from

Departs from the paper:
- Without `xy` this is plain projected powers (U <- proj(W U)), to a fixed point. With `xy` the higher-order
  term is A W U S: S is how often two labels are near each other over the set, A which features are near each
  other in their image. The paper's term has the form W U U^T A U; it is the same information, kept sparse.
- The start is the centred spectrum (ops/spectrum.py); the paper starts from another solver's result.
- Written from memory of the paper's idea, without its code: iterates are not those of the released MATLAB.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from scipy import sparse
from scipy.spatial import KDTree

from asterism.matches import Matches
from asterism.methods.synchroniser import Synchroniser
from asterism.ops.assignment import agreement, assign, projected_powers, votes
from asterism.ops.spectrum import labels_from, leading


@dataclass(frozen=True)
class HippiConfig:
    """rounds: of projections at most; anchors: starts; neighbours: in an image; geometry: weight of their
    votes.
    """

    rounds: int = 50
    anchors: int = 5
    neighbours: int = 4
    geometry: float = 0.5


class Hippi(Synchroniser):
    name = "hippi"
    paper = "Bernard et al., HiPPI: Higher-Order Projected Power Iterations, ICCV 2019"
    link = "https://arxiv.org/abs/1903.10956"
    Config = HippiConfig

    def solve(self, matches: Matches, universe: int) -> Int[np.ndarray, " N"]:
        _, vectors = leading(matches.w, matches.offsets, universe)
        c = self.config
        labels = labels_from(matches.w, vectors, matches.offsets, universe, c.anchors, c.rounds)
        if matches.xy is None:
            return labels
        return self._with_geometry(matches, labels, universe)

    def _with_geometry(self, matches: Matches, labels: np.ndarray, k: int) -> np.ndarray:
        """Rounds in which neighbours vote too; kept only where they do not cost agreement with W."""
        near = neighbours(matches, self.config.neighbours)
        before, start = agreement(matches.w, labels).sum(), labels
        for _ in range(self.config.rounds):
            own = votes(matches.w, labels, k)
            around = votes(near, labels, k)
            held = labels >= 0
            together = np.zeros((k, k))
            np.add.at(together, labels[held], around[held])
            together /= np.maximum(together.sum(1, keepdims=True), 1e-12)
            share = own / np.maximum(own.sum(1, keepdims=True), 1e-12)
            new = assign(share + self.config.geometry * share.max() * (around @ together.T), matches.offsets)
            if (new == labels).all():
                break
            labels = new
        labels = projected_powers(matches.w, labels, matches.offsets, k, self.config.rounds)
        return labels if agreement(matches.w, labels).sum() >= before else start


def neighbours(matches: Matches, most: int) -> sparse.csr_array:
    """Which features are among the nearest of each other in their image; rows sum to one."""
    assert matches.xy is not None
    rows, columns = [np.zeros(0, int)], [np.zeros(0, int)]
    for a, b in zip(matches.offsets[:-1], matches.offsets[1:]):
        k = min(most, b - a - 1)
        if k < 1:
            continue
        found = KDTree(matches.xy[a:b]).query(matches.xy[a:b], k=k + 1)[1]
        own = np.repeat(np.arange(a, b), k + 1)
        other = a + found.ravel()
        keep = own != other
        rows.append(own[keep])
        columns.append(other[keep])
    row, column = np.concatenate(rows), np.concatenate(columns)
    ones = np.ones(len(row), np.float32) / most
    return sparse.csr_array((ones, (row, column)), shape=matches.w.shape)
