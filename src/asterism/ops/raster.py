"""From points to maps that a decoder can draw with. Sizes (h, w) are in cells, points in network pixels.

The isotropic Gaussian of one width is ops.heatmap.gaussian_maps; here are several widths at once and
Gaussians with a covariance of their own, which is also what a part of a body template is: an ellipse that was
moved by an affine map.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from asterism.geometry.coords import pixel_grid, uv_from_xy
from asterism.ops.heatmap import gaussian_maps

_THINNEST = 0.1  # cells^2, least variance of an ellipse: narrower ones fall between the cells


def gaussian_scales(
    xy: Float[Tensor, "B K 2"], size: tuple[int, int], stride: int | float, sigmas: Sequence[int | float]
) -> Float[Tensor, "B K S h w"]:
    """exp(-d^2 / 2 sigma^2) around each point for each of S sigmas (cells)."""
    return torch.stack([gaussian_maps(xy, size, stride, sigma) for sigma in sigmas], dim=2)


def ellipses(
    xy: Float[Tensor, "B K 2"], cov: Float[Tensor, "B K 2 2"], size: tuple[int, int], stride: int | float
) -> Float[Tensor, "B K h w"]:
    """exp(-d^T cov^-1 d / 2) around each point: 1 at the point. `cov` is in network pixels^2.

    Both variances are raised by a tenth of a cell, so that a line has a gradient too.
    """
    grid = pixel_grid(size, like=xy)
    du, dv = (grid - uv_from_xy(xy, stride)[:, :, None, None]).unbind(-1)  # B K h w
    a, b, d = (cov[..., i, j, None, None] / stride**2 for i, j in ((0, 0), (0, 1), (1, 1)))
    a, d = a + _THINNEST, d + _THINNEST
    inverse = (d * du.square() - 2 * b * du * dv + a * dv.square()) / (a * d - b.square())
    return (-inverse / 2).exp()


def moved_ellipses(
    xy: Float[Tensor, "B K 2"], cov: Float[Tensor, "B K 2 2"], b_from_a: Float[Tensor, "B K 2 3"]
) -> tuple[Float[Tensor, "B K 2"], Float[Tensor, "B K 2 2"]]:
    """Centre and covariance of each part of a template after its own affine map."""
    turn = b_from_a[..., :2]
    return (turn @ xy[..., None])[..., 0] + b_from_a[..., 2], turn @ cov @ turn.mT
