"""Who is who through a video: people found picture by picture get numbers that stay with them.

A person is where the last two sightings say (constant velocity over at most a few pictures), and is the
detection there that OKS finds most alike; all are assigned at once, so that two people who cross do not both
take the nearer one. Tracking by OKS: Xiao, Wu, Wei, Simple Baselines for Human Pose Estimation and Tracking,
ECCV 2018, section 2.2, which assigns greedily and moves the last pose by optical flow instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment

from asterism.metrics.oks_nms import similarity

ALIKE = (
    0.2  # OKS under which two sightings are two people; people move between pictures, so less than an AP's
)
PATIENCE = 15  # pictures for which somebody may be out of sight: half a second of a usual video
GLIDE = 3  # pictures for which the last motion is believed


@dataclass
class _Person:
    number: int
    xy: Float[np.ndarray, "K 2"]
    counts: Bool[np.ndarray, " K"]
    area: float
    velocity: Float[np.ndarray, "2"] = field(default_factory=lambda: np.zeros(2))
    unseen: int = 0

    def expected(self) -> Float[np.ndarray, "K 2"]:
        return self.xy + self.velocity * min(self.unseen + 1, GLIDE)


class Tracker:
    """Give it the detections of each picture in order; it answers with their numbers, 0, 1, 2 and so on.

    `sigma` are the skeleton's OKS constants. A number is never given to a second person; who is out of sight
    for more than `patience` pictures and comes back is somebody new.
    """

    def __init__(self, sigma: Sequence[float], alike: float = ALIKE, patience: int = PATIENCE) -> None:
        self.sigma, self.alike, self.patience = tuple(sigma), alike, patience
        self._people: list[_Person] = []
        self._next = 0

    def update(
        self,
        xy: Float[np.ndarray, "N K 2"],
        area: Float[np.ndarray, " N"],
        counts: Bool[np.ndarray, "N K"] | None = None,
    ) -> Int[np.ndarray, " N"]:
        """Numbers of the detections of one picture. `area` in squared pixels; only points that `counts` say
        are compared (None: all)."""
        counts = np.ones(xy.shape[:2], bool) if counts is None else counts
        numbers = np.full(len(xy), -1, np.int64)
        for person, detection in self._pairs(xy, area, counts):
            one = self._people[person]
            both = one.counts & counts[detection]
            if both.any():
                step = (xy[detection, both] - one.xy[both]).mean(0) / (one.unseen + 1)
                one.velocity = step if not one.velocity.any() else (one.velocity + step) / 2
            one.xy, one.counts, one.area = xy[detection], counts[detection], float(area[detection])
            one.unseen = -1
            numbers[detection] = one.number
        for one in self._people:
            one.unseen += 1
        self._people = [one for one in self._people if one.unseen <= self.patience]
        for i in np.flatnonzero(numbers < 0).tolist():
            self._people.append(_Person(self._next, xy[i], counts[i], float(area[i])))
            numbers[i] = self._next
            self._next += 1
        return numbers

    def _pairs(
        self, xy: Float[np.ndarray, "N K 2"], area: Float[np.ndarray, " N"], counts: Bool[np.ndarray, "N K"]
    ) -> list[tuple[int, int]]:
        """People and detections that belong together: the assignment with the largest sum of likenesses."""
        m = len(self._people)
        if not m or not len(xy):
            return []
        alike = similarity(
            np.concatenate([np.stack([one.expected() for one in self._people]), xy]),
            np.concatenate([[one.area for one in self._people], area]),
            self.sigma,
            np.concatenate([np.stack([one.counts for one in self._people]), counts]),
        )[:m, m:]
        people, found = linear_sum_assignment(np.where(alike >= self.alike, alike, 0.0), maximize=True)
        return [(p, d) for p, d in zip(people.tolist(), found.tolist()) if alike[p, d] >= self.alike]


def followed(
    picture: Int[np.ndarray, " N"],
    xy: Float[np.ndarray, "N K 2"],
    area: Float[np.ndarray, " N"],
    counts: Bool[np.ndarray, "N K"],
    sigma: Sequence[float],
) -> Int[np.ndarray, " N"]:
    """Numbers of the rows of a whole clip, `picture` being each row's place in time; rows in any order."""
    numbers = np.full(len(picture), -1, np.int64)
    tracker = Tracker(sigma)
    if not len(picture):
        return numbers
    for t in range(int(picture.min()), int(picture.max()) + 1):
        rows = np.flatnonzero(picture == t)
        numbers[rows] = tracker.update(xy[rows], area[rows], counts[rows])
    return numbers
