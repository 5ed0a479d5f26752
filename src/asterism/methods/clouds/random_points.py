"""random-points: points of the cloud, drawn at random: what every detector has to beat.

Each point draws a number, and the points with the largest are kept. Two views of one thing share such points
only by chance, so this is the chance level of a repeatability, and on dense clouds with many points a high
one.

Efraimidis, Spirakis, "Weighted random sampling with a reservoir", Information Processing Letters 2006, with
equal weights. https://doi.org/10.1016/j.ipl.2005.11.003

    keys u ~ U(0, 1), the k largest -> forward, decode

Departs from the paper:
- all points are at hand, so there is no reservoir; the seed is a field, so that the same cloud in the same
  order gives the same points.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from asterism.methods.base import Method
from asterism.ops.cloud_keypoints import Found, best, clouds_of
from asterism.types import Clouds, Keypoints3D


@dataclass(frozen=True)
class RandomPointsConfig:
    n_keypoints: int = 128  # fewer where the cloud has fewer points
    seed: int = 0


class RandomPoints(Method[Clouds, list[Found], Keypoints3D]):
    name = "random-points"
    family = "clouds"
    paper = "Efraimidis, Spirakis, Weighted random sampling with a reservoir, IPL 2006"
    link = "https://doi.org/10.1016/j.ipl.2005.11.003"
    Config = RandomPointsConfig
    presets: ClassVar = {
        "paper": RandomPointsConfig(),
        "small": RandomPointsConfig(),
        "tiny": RandomPointsConfig(n_keypoints=8),
    }
    takes = Clouds
    gives = Keypoints3D

    def forward(self, batch: Clouds) -> list[Found]:
        """Every valid point and its key; the same keys for every row of the batch."""
        return [(p, np.random.default_rng(self.config.seed).random(len(p))) for p in clouds_of(batch)]

    def decode(self, raw: list[Found], batch: Clouds) -> Keypoints3D:
        """A score is the key over the cloud's largest: it says nothing of the point."""
        return best(raw, self.config.n_keypoints, batch)
