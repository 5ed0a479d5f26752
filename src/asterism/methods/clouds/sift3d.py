"""sift3d: blobs of a value on a surface: places that stand out from their surroundings at some size.

A value of each point is smoothed by Gaussians of growing width along the surface; where the difference of two
neighbouring widths is largest or smallest among the nearest points and the widths beside it, there is a blob
of about that size. The value is how curved the surface is, or whatever a caller of `extrema` has measured.

Lowe, "Distinctive Image Features from Scale-Invariant Keypoints", IJCV 2004, section 3, as SIFTKeypoint of
the Point Cloud Library carries it to clouds. https://doi.org/10.1023/B:VISI.0000029664.99615.94

    scales sigma 2^((i - 1) / s) of an octave                 -> octave
    L(sigma): Gaussian mean within 3 sigma; D = L' - L        -> differences
    extrema among 25 neighbours and 3 differences, |D| >= c   -> octave
    each octave on a cloud thinned out to cells of its sigma  -> extrema

Departs from the paper:
- points are not refined below a cell, and no edges are left out (as in the library).
- the library takes the cloud's intensity; clouds here have none, so the value is the curvature (the
  library's other choice): the share of the variance that is along the normal, within twice the smallest
  scale.
- the library's contrast has no default; here the contrast is a share of the curvature's largest value, 1/3.
- scales without a value follow the cloud (ops.cloud_keypoints.radius_for).
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree  # pyright: ignore[reportAttributeAccessIssue]

from asterism.methods.base import Method
from asterism.ops.cloud_keypoints import Found, best, clouds_of, neighbours, radius_for, units_of, variation
from asterism.types import Clouds, Keypoints3D

_AROUND = 25  # nearest points, itself among them, that an extremum is the largest of (the library's)


@dataclass(frozen=True)
class Sift3dConfig:
    """`min_scale` is in the unit of the source; None is the multiple of the cloud's own spacing, and at least
    the share of its extent.
    """

    n_keypoints: int = 128  # the best so many, where there are so many
    min_scale: float | None = None
    min_scale_spacings: float = 2.0
    min_scale_share: float = 0.01
    octaves: int = 4
    scales_per_octave: int = 3
    contrast: float = 0.001


class Sift3d(Method[Clouds, list[Found], Keypoints3D]):
    name = "sift3d"
    family = "clouds"
    paper = "Lowe, Distinctive Image Features from Scale-Invariant Keypoints, IJCV 2004 (as in PCL)"
    link = "https://doi.org/10.1023/B:VISI.0000029664.99615.94"
    Config = Sift3dConfig
    presets: ClassVar = {
        "paper": Sift3dConfig(),
        "small": Sift3dConfig(),
        "tiny": Sift3dConfig(n_keypoints=8, octaves=2),
    }
    takes = Clouds
    gives = Keypoints3D

    def forward(self, batch: Clouds) -> list[Found]:
        """The extrema of each cloud's curvature and their contrasts."""
        c, found = self.config, []
        for points, unit in zip(clouds_of(batch), units_of(batch)):
            scale = radius_for(points, c.min_scale, unit, c.min_scale_spacings, c.min_scale_share)
            value = variation(points, 2 * scale) if scale > 0 else np.zeros(len(points))
            told = extrema(points, value, scale, c.octaves, c.scales_per_octave, c.contrast)
            found.append((told.places, told.contrast))
        return found

    def decode(self, raw: list[Found], batch: Clouds) -> Keypoints3D:
        """A score is the contrast over the cloud's largest."""
        return best(raw, self.config.n_keypoints, batch)


@dataclass(frozen=True)
class Extrema:
    """`scale` is the width of the narrower of the two Gaussians, `contrast` the difference's size."""

    places: Float[np.ndarray, "P 3"]
    scale: Float[np.ndarray, " P"]
    contrast: Float[np.ndarray, " P"]


def extrema(
    points: Float[np.ndarray, "N 3"],
    value: Float[np.ndarray, " N"],
    min_scale: float | int,
    octaves: int,
    per_octave: int,
    contrast: float | int,
) -> Extrema:
    """Extrema of the differences of Gaussians of `value`, fine octaves first."""
    places, scales, sizes = [np.zeros((0, 3))], [np.zeros(0)], [np.zeros(0)]
    held = np.concatenate([points, value[:, None]], axis=1)
    for level in range(octaves if min_scale > 0 else 0):
        base = min_scale * 2**level
        held = _cells(held, base)
        if len(held) < _AROUND:
            break
        rows, which, difference = octave(held[:, :3], held[:, 3], base, per_octave, contrast)
        places.append(held[rows, :3])
        scales.append(_widths(base, per_octave)[which])
        sizes.append(np.abs(difference))
    return Extrema(np.concatenate(places), np.concatenate(scales), np.concatenate(sizes))


def octave(
    points: Float[np.ndarray, "N 3"],
    value: Float[np.ndarray, " N"],
    base: float | int,
    per_octave: int,
    contrast: float | int,
) -> tuple[Int[np.ndarray, " P"], Int[np.ndarray, " P"], Float[np.ndarray, " P"]]:
    """Rows of extrema, which difference they are of (1..per_octave), and its value there; by row."""
    d = differences(points, value, _widths(base, per_octave))
    near = cKDTree(points).query(points, k=_AROUND)[1]
    low, high = d[near[:, 0]].copy(), d[near[:, 0]].copy()
    for column in near.T:
        low, high = np.minimum(low, d[column]), np.maximum(high, d[column])
    middle = d[:, 1:-1]
    least = (middle == low[:, 1:-1]) & (middle < low[:, :-2]) & (middle < low[:, 2:])
    most = (middle == high[:, 1:-1]) & (middle > high[:, :-2]) & (middle > high[:, 2:])
    rows, which = np.nonzero((least | most) & (np.abs(middle) >= contrast))
    return rows, which + 1, middle[rows, which]


def differences(
    points: Float[np.ndarray, "N 3"], value: Float[np.ndarray, " N"], widths: Float[np.ndarray, " S"]
) -> Float[np.ndarray, "N S-1"]:
    """Gaussian means of rising width, each within three widths, minus those of the width before."""
    smooth = np.zeros((len(points), len(widths)))
    for rows, i, j in neighbours(points, points, 3 * widths[-1]):
        squared = ((points[j] - points[rows[i]]) ** 2).sum(1)
        for s, width in enumerate(widths.tolist()):
            near = squared <= 9 * width**2
            weight = np.exp(-0.5 * squared[near] / width**2)
            total = np.bincount(i[near], weight, minlength=len(rows))
            smooth[rows, s] = np.bincount(i[near], weight * value[j[near]], minlength=len(rows)) / total
    return np.diff(smooth, axis=1)


def _widths(base: float, per_octave: int) -> np.ndarray:
    """One width below `base` and the rest above: the octave's, and one more at each end for the extrema."""
    return base * 2.0 ** ((np.arange(per_octave + 3) - 1) / per_octave)


def _cells(held: Float[np.ndarray, "N 4"], size: float) -> Float[np.ndarray, "M 4"]:
    """The mean of each cell of a grid whose corners are at multiples of `size`, as the library has them."""
    cell = np.floor(held[:, :3] / size).astype(np.int64)
    cell -= cell.min(0)
    sides = cell.max(0) + 1
    _, number = np.unique((cell[:, 2] * sides[1] + cell[:, 1]) * sides[0] + cell[:, 0], return_inverse=True)
    count = np.bincount(number)
    return np.stack([np.bincount(number, column) / count for column in held.T], axis=-1)
