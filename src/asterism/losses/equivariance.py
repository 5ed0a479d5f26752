"""Costs that make points follow a known warp, stay apart and be sharp.

Thewlis, Bilen, Vedaldi, Unsupervised learning of object landmarks by factorized spatial embeddings, ICCV 2017
(align_*, diversity_*); Zhang, Guo, Jin, Luo, He, Lee, Unsupervised Discovery of Object Landmarks as
Structural Representations, CVPR 2018 (separation, concentration). Distances are in the unit of the
coordinates that are handed in; everything is averaged over the batch.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def align_points(
    moved: Float[Tensor, "B K 2"], found: Float[Tensor, "B K 2"], valid: Bool[Tensor, "B K"]
) -> Float[Tensor, ""]:
    """Squared distance between points moved by the warp and points found in the warped image.

    Points that the warp took out of the image are not valid and do not count; without any, 0.
    """
    gap = moved[valid] - found[valid]  # n 2
    return gap.square().sum() / max(len(gap), 1)


def align_maps(
    prob: Float[Tensor, "B K N"],
    prob_warped: Float[Tensor, "B K N"],
    moved: Float[Tensor, "B N 2"],
    at: Float[Tensor, "B N 2"],
) -> Float[Tensor, ""]:
    """Expected squared distance between g(u) and v, u drawn from `prob` and v from `prob_warped`.

    moved is g of the N cells in the first image, `at` the N cells of the warped one. Written as the squared
    distance of the two means plus both variances, so that no N x N table is built; the variances are why it
    sharpens the maps.
    """
    mean_u, mean_v = _mean(prob, moved), _mean(prob_warped, at)  # B K 2
    spread_u = (prob * moved.square().sum(-1)[:, None]).sum(-1) - mean_u.square().sum(-1)
    spread_v = (prob_warped * at.square().sum(-1)[:, None]).sum(-1) - mean_v.square().sum(-1)
    return ((mean_u - mean_v).square().sum(-1) + spread_u + spread_v).mean()


def diversity_pairwise(prob: Float[Tensor, "B K N"]) -> Float[Tensor, ""]:
    """Overlap sum_u p(u|k) p(u|k') of different points' maps, summed over pairs, over K^2."""
    total = prob.sum(1).square().sum(-1)  # B: sum over all pairs, equal ones included
    own = prob.square().sum((1, 2))
    return ((total - own) / prob.shape[1] ** 2).mean()


def diversity_pooled(prob: Float[Tensor, "B K h w"], block: int) -> Float[Tensor, ""]:
    """K - sum_u max_k P(u|k), P the probability in blocks of block x block cells.

    0 when every point has its mass in blocks of its own, K - 1 when all of them lie in the same ones.
    """
    h, w = prob.shape[-2:]
    padded = F.pad(prob, (0, -w % block, 0, -h % block))
    pooled = F.avg_pool2d(padded, block) * block**2
    return (prob.shape[1] - pooled.amax(1).sum((-1, -2))).mean()


def separation(xy: Float[Tensor, "B K 2"], sigma: int | float) -> Float[Tensor, ""]:
    """exp(-d^2 / 2 sigma^2), averaged over pairs of different points; 0 for a single one."""
    k = xy.shape[1]
    a, b = torch.triu_indices(k, k, offset=1, device=xy.device)
    near = (-(xy[:, a] - xy[:, b]).square().sum(-1) / (2 * sigma**2)).exp()  # B pairs
    return near.sum() / max(near.numel(), 1)


def concentration(cov: Float[Tensor, "B K 2 2"]) -> Float[Tensor, ""]:
    """Variance of the points' maps, over both axes together."""
    return cov.diagonal(dim1=-2, dim2=-1).sum(-1).mean()


def entropy_concentration(maps: Float[Tensor, "B K h w"]) -> Float[Tensor, ""]:
    """exp(entropy) of each map over its cells: how many cells it is spread over, as a share of all.

    Maps sum to 1. 1 for a flat map, 1 / (h w) for a single cell.
    """
    cells = maps.shape[-2] * maps.shape[-1]
    entropy = torch.special.entr(maps.flatten(2)).sum(-1)
    return (entropy - math.log(cells)).exp().mean()


def temporal_separation(xy: Float[Tensor, "B T K 2"], sigma: int | float) -> Float[Tensor, ""]:
    """exp(-d^2 / 2 sigma^2), d^2 the mean over time of the squared distance between centred tracks.

    Two points that move alike are close, wherever they lie: Minderer et al., Unsupervised Learning of Object
    Structure and Dynamics from Videos, NeurIPS 2019. Averaged over pairs; 0 for a single point.
    """
    k = xy.shape[2]
    centred = xy - xy.mean(1, keepdim=True)
    a, b = torch.triu_indices(k, k, offset=1, device=xy.device)
    apart = (centred[:, :, a] - centred[:, :, b]).square().sum(-1).mean(1)  # B pairs
    near = (-apart / (2 * sigma**2)).exp()
    return near.sum() / max(near.numel(), 1)


def _mean(prob: Float[Tensor, "B K N"], at: Float[Tensor, "B N 2"]) -> Float[Tensor, "B K 2"]:
    return torch.stack([(prob * at[:, None, :, i]).sum(-1) for i in range(2)], dim=-1)
