"""harris3d: corners of a surface: points around which the normals look in three directions.

What the gradients are to Harris's corners of pictures the normals are here: the mean of n n^T around a point
has one large eigenvalue on a plane, two on an edge and three in a corner, so its determinant finds corners.
A corner may then be moved to where the planes around it meet.

Sipiran, Bustos, "Harris 3D: a robust extension of the Harris operator for interest point detection on 3D
meshes", The Visual Computer 2011, carries Harris to surfaces; this is HarrisKeypoint3D of the Point Cloud
Library, its response HARRIS. https://doi.org/10.1007/s00371-011-0610-y

    C, the mean of n n^T within the radius              -> responses
    h = det C - kappa (tr C)^2                          -> responses
    local maxima above the threshold                    -> decode
    refinement: x = (sum n n^T)^-1 sum n n^T p, repeated -> meeting_point

Departs from the paper:
- the paper fits a quadratic surface to rings of a mesh and takes its derivatives; the library, and this file,
  take the normals of a cloud, which are the cloud's own where it has some.
- normals have length 1, so tr C = 1 where there are any: the library's 0.04 + det C - 0.04 (tr C)^2, kappa =
  0.04, is det C there, from 0 to 1/27, and that is what is computed.
- the library refines until a step is below 1e-3 of its unit; here until it is below a thousandth of the
  radius. A point that leaves its radius, or whose planes do not meet in a point, stays where it was found.
- points stay points of the cloud: refinement, the library's default, is off here unless it is asked for.
- of neighbours with equal values one stays; the library keeps them all.
- radii without a value follow the cloud (ops.cloud_keypoints.radius_for); the library's default is 0.01.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree  # pyright: ignore[reportAttributeAccessIssue]

from asterism.methods.base import Method
from asterism.ops.cloud_keypoints import (
    Found,
    best,
    clouds_of,
    local_maxima,
    neighbours,
    outer_sums,
    radius_for,
    surface,
    units_of,
)
from asterism.types import Clouds, Keypoints3D

_FLAT = 1e-3  # of the largest eigenvalue: below it planes meet in a line, not in a point
_STILL = 1e-3  # of the radius: a step of the refinement that is none


@dataclass(frozen=True)
class Harris3dConfig:
    """`radius` is in the unit of the source; None is the multiple of the cloud's own spacing, and at least
    the share of its extent.
    """

    n_keypoints: int = 128  # the best so many, where there are so many
    radius: float | None = None  # of the normals, of their mean, and between maxima
    radius_spacings: float = 5.0
    radius_share: float = 0.03
    threshold: float = 0.0  # of the response, which is at most 1/27
    refinements: int = 0  # steps; the library takes 10 at most


class Harris3d(Method[Clouds, list[Found], Keypoints3D]):
    name = "harris3d"
    family = "clouds"
    paper = "Sipiran, Bustos, Harris 3D, The Visual Computer 2011 (as in PCL)"
    link = "https://doi.org/10.1007/s00371-011-0610-y"
    Config = Harris3dConfig
    presets: ClassVar = {
        "paper": Harris3dConfig(),
        "small": Harris3dConfig(),
        "tiny": Harris3dConfig(n_keypoints=8, refinements=3),
    }
    takes = Clouds
    gives = Keypoints3D

    def forward(self, batch: Clouds) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Points, their normals and their responses."""
        found = []
        for row, (points, radius) in enumerate(zip(clouds_of(batch), self._radii(batch))):
            if batch.normals is None:
                normal = surface(points, radius)[0]
            else:
                normal = batch.normals[row][batch.valid[row]].detach().cpu().double().numpy()
            found.append((points, normal, responses(points, normal, radius)))
        return found

    def decode(self, raw: list[tuple[np.ndarray, np.ndarray, np.ndarray]], batch: Clouds) -> Keypoints3D:
        """A score is the response over the cloud's largest."""
        c, kept = self.config, []
        for (points, normal, told), radius in zip(raw, self._radii(batch)):
            rows = local_maxima(points, np.where(told >= c.threshold, told, 0.0), radius)
            rows = rows[np.argsort(-told[rows], kind="stable")]
            places = points[rows]
            if c.refinements:
                places[: c.n_keypoints] = meeting_point(
                    points, normal, places[: c.n_keypoints], radius, c.refinements
                )
            kept.append((places, told[rows]))
        return best(kept, c.n_keypoints, batch)

    def _radii(self, batch: Clouds) -> list[float]:
        c = self.config
        return [
            radius_for(points, c.radius, unit, c.radius_spacings, c.radius_share)
            for points, unit in zip(clouds_of(batch), units_of(batch))
        ]


def responses(
    points: Float[np.ndarray, "N 3"], normal: Float[np.ndarray, "N 3"], radius: float | int
) -> Float[np.ndarray, " N"]:
    """det of the mean of n n^T within the radius, from 0 to 1/27; normals of length zero do not count."""
    told = np.zeros(len(points))
    there = (normal != 0).any(1)
    for rows, i, j in neighbours(points, points, radius):
        total = outer_sums(normal[j], i, len(rows))
        count = np.bincount(i, there[j], minlength=len(rows))
        told[rows] = np.linalg.det(total / np.maximum(count, 1)[:, None, None])
    return told.clip(0)


def meeting_point(
    points: Float[np.ndarray, "N 3"],
    normal: Float[np.ndarray, "N 3"],
    places: Float[np.ndarray, "P 3"],
    radius: float | int,
    steps: int,
) -> Float[np.ndarray, "P 3"]:
    """Where the planes of the points near each place meet, in the sense of least squares, again and again
    from where the last step led.
    """
    tree, out = cKDTree(points), places.copy()
    for row, start in enumerate(places):
        at = start
        for _ in range(steps):
            near = tree.query_ball_point(at, radius)
            n = normal[near]
            sums = n.T @ n
            value = np.linalg.eigvalsh(sums)
            if not value[0] > _FLAT * value[2]:
                at = start
                break
            after = at + np.linalg.solve(sums, n.T @ (n * (points[near] - at)).sum(1))
            step, at = np.linalg.norm(after - at), after
            if step <= _STILL * radius:
                break
        out[row] = at if np.linalg.norm(at - start) <= radius else start
    return out
