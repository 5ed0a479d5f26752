"""quickmatch: clusters are the peaks of the density of features, each feature linked to a denser one nearby.

Every feature is joined to the nearest feature of higher density, as in quick shift; links are cut where they
are long beside the distance to other features of the same image, and never put two features of one image
together.

R. Tron, X. Zhou, C. Esteves, K. Daniilidis, "Fast Multi-Image Matching via Density-Based Clustering", ICCV
2017. https://openaccess.thecvf.com/content_iccv_2017/html/Tron_Fast_Multi-Image_Matching_ICCV_2017_paper.html

    density: a kernel sum over the features' neighbours                  -> Quickmatch.solve
    parents: the nearest denser feature; tree edges shortest first       -> Quickmatch.solve
    merging that respects images                                         -> ops.cycles.greedy_tracks

Departs from the paper:
- The paper clusters descriptors. Matches are all that is known here: two features are as near as the cosine
  of their rows of W (with themselves on the diagonal) says, so features with the same partners are near.
- The cut by distinctiveness (rho times the distance to the nearest feature of the same image) is a least
  cosine.
- After the paper's tree, remaining edges are used too, shortest first: with partial matches trees break too
  soon.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from scipy import sparse

from asterism.matches import Matches
from asterism.methods.synchroniser import Synchroniser
from asterism.ops.cycles import greedy_tracks


@dataclass(frozen=True)
class QuickmatchConfig:
    """least: cosine of two features' rows of W below which they are not linked."""

    least: float = 0.2


class Quickmatch(Synchroniser):
    name = "quickmatch"
    paper = "Tron et al., Fast Multi-Image Matching via Density-Based Clustering, ICCV 2017"
    link = "https://openaccess.thecvf.com/content_iccv_2017/html/Tron_Fast_Multi-Image_Matching_ICCV_2017_paper.html"
    Config = QuickmatchConfig
    wants_universe = False

    def solve(self, matches: Matches, universe: int) -> Int[np.ndarray, " N"]:
        n = len(matches.image)
        rows = sparse.csr_array(matches.w + sparse.eye_array(n, format="csr"))
        length = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
        rows = sparse.csr_array(sparse.dia_array(((1 / length)[None], 0), shape=(n, n)) @ rows)
        near = sparse.csr_array((rows @ rows.T).multiply(matches.w > 0))
        density = np.asarray(near.sum(axis=1)).ravel()
        of = np.repeat(np.arange(n), np.diff(near.indptr))
        rank = np.empty(n, dtype=np.int64)
        rank[np.argsort(density, kind="stable")] = np.arange(n)
        up = np.where(rank[near.indices] > rank[of], near.data, 0)
        order = np.lexsort((-up, of))
        first = order[np.unique(of[order], return_index=True)[1]]
        tree = near.copy()
        tree.data = near.data / 2  # other edges come after the tree's
        tree.data[first[up[first] > 0]] += 0.5
        tree.data[near.data <= self.config.least] = 0
        labels = greedy_tracks(sparse.csr_array(tree.maximum(tree.T)), matches.image, 0.0)
        return labels if not universe else np.where(labels < universe, labels, -1)
