"""spectral-sync: labels from the leading eigenvectors of all matches at once.

If every match were right, W would be P P^T, with P the 0/1 matrix that says which feature has which label,
and its leading eigenvectors would span the labels' columns. Wrong matches are noise around it; the subspace
hardly moves.

D. Pachauri, R. Kondor, V. Singh, "Solving the multi-way matching problem by permutation synchronization",
NIPS 2013. https://papers.nips.cc/paper_files/paper/2013/hash/3df1d4b96d8976ff5986393e8767f5b2-Abstract.html

    the leading K eigenvectors of the block matrix of matches        -> ops.spectrum.leading
    labels by comparing with one image's rows, one-to-one (Hungarian) -> ops.spectrum.labels_from
    how many labels                                                   -> ops.spectrum.universe_size

Departs from the paper:
- W may be partial and weighted: it is normalised by (damped) degrees. The paper has full permutations.
- The operator is centred in every image, which removes eigenvectors that say nothing about labels; on sparse
  graphs of images with local neighbours this halves the share of right matches that is needed
  (ops/spectrum.py says why).
- The image that all others are compared with is the best of several, by agreement with W, and its rows are
  replaced by means before the last assignment; the paper takes the first image as it is.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from asterism.matches import Matches
from asterism.methods.synchroniser import Synchroniser
from asterism.ops.spectrum import labels_from, leading


@dataclass(frozen=True)
class SpectralSyncConfig:
    """anchors: images that are tried as the one to compare with."""

    anchors: int = 5


class SpectralSync(Synchroniser):
    name = "spectral-sync"
    paper = (
        "Pachauri et al., Solving the Multi-way Matching Problem by Permutation Synchronization, NIPS 2013"
    )
    link = "https://papers.nips.cc/paper_files/paper/2013/hash/3df1d4b96d8976ff5986393e8767f5b2-Abstract.html"
    Config = SpectralSyncConfig

    def solve(self, matches: Matches, universe: int) -> Int[np.ndarray, " N"]:
        _, vectors = leading(matches.w, matches.offsets, universe)
        return labels_from(matches.w, vectors, matches.offsets, universe, self.config.anchors, rounds=0)
