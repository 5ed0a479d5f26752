"""From logits to points: the five readouts that methods without labels differ in.

spatial     softmax over the map, mean: Thewlis et al., ICCV 2017. Mass far away pulls the point.
marginal    softmax of each axis' mean logit: Jakab et al., NeurIPS 2018. One mode at most, a smooth gradient.
channel     softmax over points AND a background at every cell, then each map's moments: Zhang et al., CVPR
            2018. Points compete for cells, so they cannot fall together.
softplus    softplus maps, moments, and a presence from the mean activation: Minderer et al., NeurIPS 2019. A
            point can switch off.
refined     the highest cell and the top of the parabola around it, for inference: no gradient to speak of.

Logits are taken in float32: a mean over a map needs more than bfloat16's 8 bits.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from asterism.geometry.coords import pixel_grid, xy_from_uv
from asterism.ops import peaks
from asterism.ops.heatmap import soft_argmax

_EMPTY = 1e-8  # mass of a map under which its mean would be rounding noise


@dataclass(frozen=True)
class Readout:
    """`maps` sum to 1 each; `presence` is in [0, 1], 1 where the readout knows no absence."""

    xy: Float[Tensor, "B K 2"]  # network pixels
    cov: Float[Tensor, "B K 2 2"]  # network pixels^2
    maps: Float[Tensor, "B K h w"]
    presence: Float[Tensor, "B K"]


def spatial_softmax(logits: Float[Tensor, "B K h w"], beta: int | float, stride: int | float) -> Readout:
    """Moments of softmax(beta * logits) over each map."""
    xy, cov, prob = soft_argmax(logits.float(), beta, stride)
    return Readout(xy=xy, cov=cov, maps=prob, presence=xy.new_ones(xy.shape[:2]))


def marginal_softmax(logits: Float[Tensor, "B K h w"], beta: int | float, stride: int | float) -> Readout:
    """Moments of softmax(beta * mean logit) along each axis; `maps` is the product of the two."""
    logits = logits.float()
    along_u = (beta * logits.mean(-2)).softmax(-1)  # B K w
    along_v = (beta * logits.mean(-1)).softmax(-1)  # B K h
    return _moments(along_v[..., None] * along_u[..., None, :], stride)


def channel_softmax(logits: Float[Tensor, "B C h w"], stride: int | float) -> Readout:
    """Each cell is shared among the points and, in the last channel, the background; C = K + 1.

    `presence` is the highest share that a point has of any cell.
    """
    share = logits.float().softmax(1)[:, :-1]
    return _moments(share, stride, presence=share.flatten(2).amax(-1))


def softplus_presence(logits: Float[Tensor, "B K h w"], stride: int | float) -> Readout:
    """Moments of softplus(logits); presence is the mean activation over that of the most active point."""
    activation = F.softplus(logits.float())
    mean = activation.mean((-2, -1))  # B K
    return _moments(activation, stride, presence=mean / mean.amax(1, keepdim=True).clamp(min=_EMPTY))


def refined_peak(maps: Float[Tensor, "B K h w"], stride: int | float) -> Readout:
    """The highest cell of each map and the top of the parabola there; presence is its height in [0, 1]."""
    uv, height = peaks.highest(maps.float())
    mass = maps.float().clamp(min=0)
    spread = _moments(mass, stride)
    xy = xy_from_uv(peaks.refine(maps.float(), uv), stride)
    return Readout(xy=xy, cov=spread.cov, maps=spread.maps, presence=height.clamp(0, 1))


def _moments(
    mass: Float[Tensor, "B K h w"], stride: int | float, presence: Float[Tensor, "B K"] | None = None
) -> Readout:
    """Mean and covariance of maps of any mass; a map without mass reads as the middle."""
    total = mass.sum((-2, -1), keepdim=True)
    h, w = mass.shape[-2:]
    prob = (mass + _EMPTY / (h * w)) / (total + _EMPTY)
    grid = pixel_grid((h, w), like=prob)
    u, v = grid[0, :, 0], grid[:, 0, 1]
    along_u, along_v = prob.sum(-2), prob.sum(-1)
    mean_u, mean_v = (along_u * u).sum(-1), (along_v * v).sum(-1)
    du, dv = u - mean_u[..., None], v - mean_v[..., None]
    uu, vv = (along_u * du.square()).sum(-1), (along_v * dv.square()).sum(-1)
    uv = ((prob * du[..., None, :]).sum(-1) * dv).sum(-1)
    xy = xy_from_uv(torch.stack([mean_u, mean_v], dim=-1), stride)
    cov = torch.stack([uu, uv, uv, vv], dim=-1).unflatten(-1, (2, 2)) * stride**2
    there = presence if presence is not None else uu.new_ones(uu.shape)
    return Readout(xy=xy, cov=cov, maps=prob, presence=there)
