"""fps: farthest points: each is the one farthest from those before it.

The points cover the cloud evenly, tips and corners first; they look at no shape, so they move when the cloud
does (what another view adds or hides shifts them), and are a control for detectors.

Gonzalez, "Clustering to minimize the maximum intercluster distance", Theoretical Computer Science 1985.
https://doi.org/10.1016/0304-3975(85)90224-5

    the point farthest from all heads so far -> forward (asterism.ops.cloud_sampling.farthest_points)

Departs from the paper:
- it begins with any point; here with the one farthest from the mean, so that neither the order of the points
  nor a rotation changes what is found (ties apart).
- a point's response is its distance from those before it when it was chosen; the first has the second's.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from asterism.methods.base import Method
from asterism.ops.cloud_keypoints import Found, best, clouds_of
from asterism.ops.cloud_sampling import farthest_points
from asterism.types import Clouds, Keypoints3D


@dataclass(frozen=True)
class FpsConfig:
    n_keypoints: int = 128  # fewer where the cloud has fewer points


class Fps(Method[Clouds, list[Found], Keypoints3D]):
    name = "fps"
    family = "clouds"
    paper = "Gonzalez, Clustering to minimize the maximum intercluster distance, TCS 1985"
    link = "https://doi.org/10.1016/0304-3975(85)90224-5"
    Config = FpsConfig
    presets: ClassVar = {"paper": FpsConfig(), "small": FpsConfig(), "tiny": FpsConfig(n_keypoints=8)}
    takes = Clouds
    gives = Keypoints3D

    def forward(self, batch: Clouds) -> list[Found]:
        """At most n_keypoints points of each cloud with the distances at which they were chosen."""
        return [_farthest(points, self.config.n_keypoints) for points in clouds_of(batch)]

    def decode(self, raw: list[Found], batch: Clouds) -> Keypoints3D:
        return best(raw, self.config.n_keypoints, batch)


def _farthest(points: np.ndarray, k: int) -> Found:
    first = int(((points - points.mean(0)) ** 2).sum(1).argmax())
    places = points[farthest_points(points, min(k, len(points)), first)]
    gap = np.array([np.linalg.norm(places[:i] - places[i], axis=1).min() for i in range(1, len(places))])
    first_gap = np.nextafter(gap[:1], np.inf)  # so that the first stays the first
    return places, np.concatenate([first_gap, gap]) if len(gap) else np.ones(1)
