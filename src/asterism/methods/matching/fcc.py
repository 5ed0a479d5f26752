"""fcc: a match is as good as the share of cycles through third images that confirm it.

For a right match between features a and b, third images often hold a feature that both are matched to; for a
wrong one they hold features that only one of the two is matched to. The ratio of common partners to partners
in common images is a score that needs no optimisation, no spectrum and no number of labels, so it serves
scenes of a million points.

Y. Shi, S. Li, T. Maunu, G. Lerman, "Scalable Cluster-Consistency Statistics for Robust Multi-Object
Matching", 3DV 2021. https://arxiv.org/abs/2201.04797

    cluster-consistency: common partners among partners in common images -> ops.cycles.cycle_scores
    labels from scored matches: best first, never two of an image        -> ops.cycles.greedy_tracks

Departs from the paper:
- The score is the ratio (W W) / (partners in images where both have one), with one imagined wrong cycle
  added, so that a match nothing speaks about scores low and a match with many cycles scores as it is; the
  paper's statistic of good and bad paths of length two is the same count. Written from the abstract and this
  idea, not from the released code.
- The paper filters matches; labels come from union-find over the scores, refusing a union that would put two
  features of one image together.
- Scores are computed twice: the second time cycles count as much as their matches scored.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from asterism.matches import Matches
from asterism.methods.synchroniser import Synchroniser
from asterism.ops.cycles import cycle_scores, greedy_tracks


@dataclass(frozen=True)
class FccConfig:
    """rounds: of scoring; least: share of confirming cycles below which a match is dropped."""

    rounds: int = 2
    least: float = 0.1


class Fcc(Synchroniser):
    name = "fcc"
    paper = "Shi et al., Scalable Cluster-Consistency Statistics for Robust Multi-Object Matching, 3DV 2021"
    link = "https://arxiv.org/abs/2201.04797"
    Config = FccConfig
    wants_universe = False

    def solve(self, matches: Matches, universe: int) -> Int[np.ndarray, " N"]:
        scores = cycle_scores(matches.w, matches.image, self.config.rounds)
        labels = greedy_tracks(scores, matches.image, self.config.least)
        return labels if not universe else np.where(labels < universe, labels, -1)
