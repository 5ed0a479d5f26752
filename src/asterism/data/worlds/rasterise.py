"""Triangles as a camera sees them: which one covers each pixel, and how far away it is there.

One pass over all (triangle, pixel) pairs whose boxes meet, without a loop over triangles. Inverse depth is
linear in the picture, so depth is exact under perspective. A pixel belongs to what covers its centre.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True, kw_only=True)
class Covered:
    """`face` is -1, and `depth` infinite, where there is nothing."""

    face: Int[np.ndarray, "H W"]
    depth: Float[np.ndarray, "H W"]


def rasterise(
    xy: Float[np.ndarray, "V 2"],
    depth: Float[np.ndarray, " V"],
    faces: Int[np.ndarray, "M 3"],
    size: tuple[int, int],
) -> Covered:
    """Of vertices at `xy` (pixels at centres), `depth` in front of the camera. Triangles with a vertex behind
    it are left out. Both sides are seen.
    """
    h, w = size
    face = np.full(h * w, -1, np.int64)
    far = np.full(h * w, np.inf)
    corner = xy[faces]  # M 3 2
    low = np.maximum(np.ceil(corner.min(1)), 0.0)
    high = np.minimum(np.floor(corner.max(1)), [w - 1.0, h - 1.0])
    area = _twice_area(corner[:, 0], corner[:, 1], corner[:, 2])
    there = (low <= high).all(1) & (area != 0) & (depth[faces] > 0).all(1)
    chosen = np.flatnonzero(there)
    if len(chosen):
        at, pixel = _pairs(low[chosen].astype(np.int64), high[chosen].astype(np.int64), w)
        of = chosen[at]
        p = np.stack([pixel % w, pixel // w], -1).astype(float)
        a, b, c = (corner[of, i] for i in range(3))
        share = np.stack([_twice_area(p, b, c), _twice_area(a, p, c), _twice_area(a, b, p)]) / area[of]
        inside = (share >= 0).all(0)
        of, pixel, share = of[inside], pixel[inside], share[:, inside]
        near = 1 / np.einsum("in,ni->n", share, 1 / depth[faces[of]])
        np.minimum.at(far, pixel, near)
        first = near == far[pixel]
        face[pixel[first]] = of[first]
    return Covered(face=face.reshape(h, w), depth=far.reshape(h, w))


def _twice_area(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    return (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (
        c[..., 0] - a[..., 0]
    )


def _pairs(low: np.ndarray, high: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of boxes (corners included) and the pixels in them, all pairs."""
    side = high - low + 1
    count = side.prod(1)
    at = np.repeat(np.arange(len(low)), count)
    k = np.arange(len(at)) - np.repeat(np.cumsum(count) - count, count)
    dy, dx = np.divmod(k, side[at, 0])
    return at, (low[at, 1] + dy) * width + low[at, 0] + dx
