"""Costs of a picture against the one it should be, without a pretrained network.

Pictures are in [0, 1]. `weight` says how much each pixel counts (0 where a warp shows nothing real); the
averages are over weighted pixels and channels, and 0 where nothing has weight.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

SCALES = (1, 2, 4)  # pixels: the picture itself and its means over 2x2 and 4x4
WINDOW, WINDOW_SIGMA = 11, 1.5  # Wang, Bovik, Sheikh, Simoncelli, Image quality assessment, TIP 2004
C1, C2 = 0.01**2, 0.03**2  # the same, for a range of 1


def multiscale_l1(
    image: Float[Tensor, "B C H W"],
    target: Float[Tensor, "B C H W"],
    weight: Float[Tensor, "B 1 H W"] | None = None,
) -> Float[Tensor, ""]:
    """Mean absolute difference, averaged over the picture and its 2x2 and 4x4 means.

    The coarse scales pull on what is misplaced by more than a pixel, where the fine one has no gradient.
    """
    difference = image - target
    costs = []
    for scale in SCALES:
        w = None if weight is None else F.avg_pool2d(weight, scale)
        costs.append(_mean(F.avg_pool2d(difference, scale).abs(), w))
    return torch.stack(costs).mean()


def gradient_l1(
    image: Float[Tensor, "B C H W"],
    target: Float[Tensor, "B C H W"],
    weight: Float[Tensor, "B 1 H W"] | None = None,
) -> Float[Tensor, ""]:
    """Mean absolute difference of neighbouring differences: edges must be where they are in the target."""
    difference = image - target
    costs = []
    for axis in (-2, -1):
        n = difference.shape[axis] - 1
        w = None
        if weight is not None:  # a difference counts as much as the lesser of its two pixels
            w = torch.minimum(weight.narrow(axis, 0, n), weight.narrow(axis, 1, n))
        costs.append(_mean(difference.diff(dim=axis).abs(), w))
    return torch.stack(costs).mean()


def ssim_map(image: Float[Tensor, "B C H W"], target: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    """Structural similarity at every pixel, in [-1, 1]; the border is repeated outwards."""
    mu_a, mu_b = _window(image), _window(target)
    var_a = _window(image.square()) - mu_a.square()
    var_b = _window(target.square()) - mu_b.square()
    cov = _window(image * target) - mu_a * mu_b
    luminance = (2 * mu_a * mu_b + C1) / (mu_a.square() + mu_b.square() + C1)
    return luminance * (2 * cov + C2) / (var_a + var_b + C2)


def ssim(
    image: Float[Tensor, "B C H W"],
    target: Float[Tensor, "B C H W"],
    weight: Float[Tensor, "B 1 H W"] | None = None,
) -> Float[Tensor, ""]:
    """(1 - structural similarity) / 2: 0 for equal pictures, at most 1."""
    return _mean((1 - ssim_map(image, target)) / 2, weight)


def feature_costs(
    found: Sequence[Float[Tensor, "B _c _h _w"]],
    wanted: Sequence[Float[Tensor, "B _c _h _w"]],
    weight: Float[Tensor, "B 1 H W"] | None = None,
) -> Float[Tensor, " L"]:
    """Mean squared difference of two pictures' features, level by level; `weight` is averaged over cells.

    Johnson, Alahi, Fei-Fei, Perceptual losses for real-time style transfer and super-resolution, ECCV 2016.
    """
    costs = []
    for a, b in zip(found, wanted):
        w = None if weight is None else F.adaptive_avg_pool2d(weight, (a.shape[-2], a.shape[-1]))
        costs.append(_mean((a - b).square(), w))
    return torch.stack(costs)


def running_mean(
    usual: Float[Tensor, " L"], costs: Float[Tensor, " L"], decay: int | float
) -> Float[Tensor, " L"]:
    """The usual size of each cost after one more; a 0 has seen none and takes the first one whole."""
    costs = costs.detach()
    return torch.where(usual > 0, decay * usual + (1 - decay) * costs, costs)


def balanced(costs: Float[Tensor, " L"], usual: Float[Tensor, " L"]) -> Float[Tensor, ""]:
    """Mean of costs, each over its usual size, so that none drowns the others.

    Jakab et al., NeurIPS 2018. The sizes are constants: a gradient through them would reward a term for being
    large. A cost that has no size yet counts as it is.
    """
    usual = usual.detach()
    return (costs / torch.where(usual > 0, usual, torch.ones_like(usual))).mean()


def _mean(cost: Float[Tensor, "B C H W"], weight: Float[Tensor, "B 1 H W"] | None) -> Float[Tensor, ""]:
    if weight is None:
        return cost.mean()
    total = weight.sum() * cost.shape[1]
    return (cost * weight).sum() / total.clamp(min=torch.finfo(cost.dtype).eps)


def _window(x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    """Mean in a Gaussian window around every pixel."""
    radius = WINDOW // 2
    line = torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype)
    kernel = (-line.square() / (2 * WINDOW_SIGMA**2)).exp()
    kernel = (kernel / kernel.sum()).expand(x.shape[1], 1, 1, -1)
    padded = F.pad(x, (radius,) * 4, mode="replicate")
    rows = F.conv2d(padded, kernel, groups=x.shape[1])
    return F.conv2d(rows, kernel.mT, groups=x.shape[1])
