"""How well tracks explain a set of images: recall and precision over all pairs of features.

A pair is two features of different images. It is true where both have the same truth (not -1), found where
both have the same label (not -1). Counted from a contingency table, so that millions of pairs cost nothing.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int


@dataclass(frozen=True)
class PairScore:
    """Shares in [0, 1]; recall is 1 where nothing is true, precision 1 where nothing is found."""

    recall: float
    precision: float


def pair_score(labels: Int[np.ndarray, " N"], truth: Int[np.ndarray, " N"]) -> PairScore:
    """Recall and precision of labels; in one image neither labels nor truth may occur twice."""
    both = (labels >= 0) & (truth >= 0)
    width = int(truth.max(initial=0)) + 1
    right = _pairs(labels[both] * width + truth[both])
    true, found = _pairs(truth[truth >= 0]), _pairs(labels[labels >= 0])
    return PairScore(right / true if true else 1.0, right / found if found else 1.0)


def _pairs(values: np.ndarray) -> float:
    times = np.unique(values, return_counts=True)[1].astype(np.float64)
    return float((times * (times - 1) / 2).sum())
