"""The contract of solvers that make the matches of many images consistent; it lies beside `Method`.

Method is a torch module over a batch whose rows do not know each other. Here the rows are all one problem,
the input is a sparse matrix of any raggedness, nothing is learned and nothing runs on a GPU: a Synchroniser
takes Matches and gives Tracks, in numpy. It keeps the rest: one file per paper, a name, a frozen Config with
the paper's symbols, and one way in, `predict`, that no solver overrides.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, final

import numpy as np
from jaxtyping import Int

from asterism.errors import RequestError
from asterism.matches import Matches, Tracks, repeated
from asterism.ops.assignment import agreement
from asterism.ops.spectrum import estimated_universe


class Synchroniser(ABC):
    """A solver of one paper. Subclasses are checked when they are created, like methods."""

    name: ClassVar[str]
    family: ClassVar[str] = "matching"
    paper: ClassVar[str]
    link: ClassVar[str]
    Config: ClassVar[type]
    takes: ClassVar[type] = Matches
    gives: ClassVar[type] = Tracks
    wants_universe: ClassVar[bool] = True  # False: the solver finds the number of labels by itself

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if missing := [w for w in ("name", "paper", "link", "Config") if not hasattr(cls, w)]:
            raise TypeError(f"synchroniser {cls.__name__} lacks {', '.join(missing)}")

    def __init__(self, config: Any = None) -> None:
        self.config = self.Config() if config is None else config
        if not isinstance(self.config, self.Config):
            raise TypeError(f"{self.name} wants a {self.Config.__name__}, got {type(config).__name__}")

    @abstractmethod
    def solve(self, matches: Matches, universe: int) -> Int[np.ndarray, " N"]:
        """Labels of features that all have a match: -1 or 0..universe-1, each at most once in an image.

        `universe` is 0 where nobody gave it and the solver does not want it.
        """

    @final
    def predict(self, matches: Matches, universe: int | None = None) -> Tracks:
        """Consistent tracks. Without `universe` the number of labels is estimated from the matches.

        Features without a match, and labels that occur in one image only, get -1. Labels are numbered by
        how many images they occur in. Raises RequestError for a universe below 1.
        """
        if universe is not None and universe < 1:
            raise RequestError(f"universe {universe}: wanted a whole number above zero, such as 10")
        n = len(matches.image)
        alive = np.flatnonzero(np.diff(matches.w.indptr) > 0)
        labels = np.full(n, -1, dtype=np.int64)
        if len(alive):
            part = _part(matches, alive)
            if universe is None:
                universe = estimated_universe(part.w, part.offsets) if self.wants_universe else 0
            labels[alive] = self.solve(part, universe)
        labels = numbered(labels)
        if repeated(labels, matches.counts).any():
            raise AssertionError(f"{self.name} gave a label twice in one image")
        return Tracks(labels=labels, confidence=_confidence(matches, labels), counts=matches.counts)


def _part(matches: Matches, alive: np.ndarray) -> Matches:
    if len(alive) == len(matches.image):
        return matches
    return Matches(
        w=matches.w[alive][:, alive],
        counts=np.bincount(matches.image[alive], minlength=matches.n_images),
        xy=None if matches.xy is None else matches.xy[alive],
        names=matches.names,
        sizes=matches.sizes,
    )


def numbered(labels: Int[np.ndarray, " N"]) -> Int[np.ndarray, " N"]:
    """Labels that occur at least twice, as 0, 1, ... by falling frequency; all others -1."""
    found, back, times = np.unique(labels, return_inverse=True, return_counts=True)
    times = np.where((found >= 0) & (times > 1), times, 0)
    order = np.argsort(-times, kind="stable")
    place = np.empty(len(found), dtype=np.int64)
    place[order] = np.arange(len(found))
    return np.where(times > 0, place, -1)[back]


def _confidence(matches: Matches, labels: np.ndarray) -> np.ndarray:
    total = np.asarray(matches.w.sum(axis=1), dtype=np.float64).ravel()
    return np.where(total > 0, agreement(matches.w, labels) / np.maximum(total, 1e-12), 0.0).clip(0, 1)
