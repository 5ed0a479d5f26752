"""Generic keypoints without learning: corners and dots of any picture.

Shi, Tomasi, Good Features to Track, CVPR 1994: a point can be followed where the picture changes in both
directions, which is where the smaller eigenvalue of the windowed gradient matrix is large. Gradients of the
three colours are added (Di Zenzo, A note on the gradient of a multi-image, CVGIP 1986), so that two colours
of one brightness have an edge.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from asterism.ops import peaks


def blur(maps: Float[Tensor, "B C H W"], sigma: int | float) -> Float[Tensor, "B C H W"]:
    """Smoothed by a Gaussian cut at 3 sigma (pixels); the border is repeated outwards."""
    radius = math.ceil(3 * sigma)
    line = torch.arange(-radius, radius + 1, device=maps.device, dtype=maps.dtype)
    kernel = (-line.square() / (2 * sigma**2)).exp()
    kernel = (kernel / kernel.sum()).expand(maps.shape[1], 1, 1, -1)
    padded = F.pad(maps, (radius,) * 4, mode="replicate")
    rows = F.conv2d(padded, kernel, groups=maps.shape[1])
    return F.conv2d(rows, kernel.mT, groups=maps.shape[1])


def corner_response(
    image: Float[Tensor, "B 3 H W"], sigma: int | float = 1.0, window: int | float = 2.0
) -> Float[Tensor, "B 1 H W"]:
    """Smaller eigenvalue of the gradient matrix, at every pixel; it turns with the picture.

    `sigma` (pixels) smooths the picture, `window` the gradient matrix. A dot up to about the window's size
    has one maximum, in its middle. Zero for a picture of one colour.
    """
    smooth = F.pad(blur(image, sigma), (1, 1, 1, 1), mode="replicate")
    dx = (smooth[..., 1:-1, 2:] - smooth[..., 1:-1, :-2]) / 2
    dy = (smooth[..., 2:, 1:-1] - smooth[..., :-2, 1:-1]) / 2
    products = torch.stack([dx.square().sum(1), dy.square().sum(1), (dx * dy).sum(1)], dim=1)
    xx, yy, xy = blur(products, window).unbind(1)
    root = ((xx - yy).square() / 4 + xy.square()).sqrt()
    return ((xx + yy) / 2 - root).clamp(min=0)[:, None]


def corners(
    image: Float[Tensor, "B 3 H W"],
    *,
    most: int,
    radius: int,
    quality: float = 0.01,
    border: int = 0,
    sigma: int | float = 1.0,
    window: int | float = 2.0,
    weight: Float[Tensor, "B 1 H W"] | None = None,
) -> tuple[Float[Tensor, "B P 2"], Float[Tensor, "B P"], Bool[Tensor, "B P"]]:
    """Keypoints of each picture, best first: xy in pixels to a fraction, response, valid.

    At most `most`, none within `radius` pixels (a square) of a better one or `border` pixels of the edge,
    none below `quality` of the picture's best. `weight` says how much each pixel counts.
    """
    response = corner_response(image, sigma, window)
    response = response if weight is None else response * weight
    if border:
        inner = torch.zeros_like(response)
        inner[..., border:-border, border:-border] = response[..., border:-border, border:-border]
        response = inner
    # Relative to the best: one threshold for pictures of any contrast.
    share = response / response.amax((2, 3), keepdim=True).clamp(min=torch.finfo(response.dtype).tiny)
    uv, value, valid = peaks.local_maxima(share, threshold=quality, radius=radius, most=most)
    xy = peaks.refine(response.expand(-1, uv.shape[2], -1, -1), uv[:, 0])  # stride 1: cells are pixels
    return xy, value[:, 0], valid[:, 0]
