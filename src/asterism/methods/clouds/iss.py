"""iss: points around which the cloud spreads in three directions, each clearly less than the one before.

The scatter of a point's surroundings has three eigenvalues. Where two are alike the surroundings turn into
themselves (a plane, a sphere), so a frame could not be told; such points are left out. Of the others those
stay whose smallest eigenvalue, the salience, is the largest near them.

Zhong, "Intrinsic Shape Signatures: A Shape Descriptor for 3D Object Recognition", ICCV Workshops 2009,
section 2.2, by the rules of the Point Cloud Library. https://doi.org/10.1109/ICCVW.2009.5457637

    scatter of the points within the salient radius       -> saliences
    l2 / l1 < gamma_21 and l3 / l2 < gamma_32, salience l3 -> saliences
    local maxima within the other radius                   -> decode

Departs from the paper:
- each neighbour has weight one, as in the Point Cloud Library; the paper weighs it by the inverse of how many
  points it has around it.
- the scatter is about the point, not about the mean of its neighbours (as there).
- points on the border of a scan are not left out (the library's option, off there too).
- of neighbours with equal values one stays; the library keeps them all.
- radii without a value follow the cloud: ops.cloud_keypoints.radius_for. The library has no default; its
  test takes 6 and 4 times the cloud's resolution, which are the multiples here.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from asterism.methods.base import Method
from asterism.ops.cloud_keypoints import (
    Found,
    best,
    clouds_of,
    local_maxima,
    neighbours,
    outer_sums,
    radius_for,
    units_of,
)
from asterism.types import Clouds, Keypoints3D


@dataclass(frozen=True)
class IssConfig:
    """Radii are in the unit of the source; None is the multiple of the cloud's own spacing, and at least the
    share of its extent.
    """

    n_keypoints: int = 128  # the best so many, where there are so many
    gamma_21: float = 0.975
    gamma_32: float = 0.975
    min_neighbours: int = 5  # the point itself among them
    salient_radius: float | None = None
    non_max_radius: float | None = None
    salient_spacings: float = 6.0
    non_max_spacings: float = 4.0
    salient_share: float = 0.03
    non_max_share: float = 0.02


class Iss(Method[Clouds, list[Found], Keypoints3D]):
    name = "iss"
    family = "clouds"
    paper = "Zhong, Intrinsic Shape Signatures, ICCV Workshops 2009"
    link = "https://doi.org/10.1109/ICCVW.2009.5457637"
    Config = IssConfig
    presets: ClassVar = {"paper": IssConfig(), "small": IssConfig(), "tiny": IssConfig(n_keypoints=8)}
    takes = Clouds
    gives = Keypoints3D

    def forward(self, batch: Clouds) -> list[Found]:
        """The points and their saliences."""
        c, found = self.config, []
        for points, unit in zip(clouds_of(batch), units_of(batch)):
            radius = radius_for(points, c.salient_radius, unit, c.salient_spacings, c.salient_share)
            told = saliences(points, radius, c.gamma_21, c.gamma_32, c.min_neighbours)
            found.append((points, told))
        return found

    def decode(self, raw: list[Found], batch: Clouds) -> Keypoints3D:
        """A score is the salience over the cloud's largest."""
        c, kept = self.config, []
        for (points, told), unit in zip(raw, units_of(batch)):
            radius = radius_for(points, c.non_max_radius, unit, c.non_max_spacings, c.non_max_share)
            rows = local_maxima(points, told, radius, c.min_neighbours)
            kept.append((points[rows], told[rows]))
        return best(kept, c.n_keypoints, batch)


def saliences(
    points: Float[np.ndarray, "N 3"],
    radius: float | int,
    gamma_21: float | int,
    gamma_32: float | int,
    least: int,
) -> Float[np.ndarray, " N"]:
    """The smallest eigenvalue of the scatter, summed about each point; 0 where two eigenvalues are too alike
    or fewer than `least` points are near.
    """
    told = np.zeros(len(points))
    for rows, i, j in neighbours(points, points, radius):
        value = np.linalg.eigvalsh(outer_sums(points[j] - points[rows[i]], i, len(rows)))
        smallest, middle, largest = value.T
        differ = (middle < gamma_21 * largest) & (smallest < gamma_32 * middle) & (smallest > 0)
        told[rows] = np.where(differ & (np.bincount(i, minlength=len(rows)) >= least), smallest, 0.0)
    return told
