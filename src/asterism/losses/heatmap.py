"""Costs of heatmaps against targets, over labelled points only.

Maps of points that are not labelled are selected away before anything is computed, so a NaN in them reaches
neither the cost nor the gradient. Without any labelled point the cost is 0, and so is its gradient.
"""

import math

from jaxtyping import Bool, Float
from torch import Tensor

from asterism.ops.heatmap import Codec, SoftArgmax, gaussian_maps


def against_points(
    codec: Codec,
    maps: Float[Tensor, "B K h w"],
    xy: Float[Tensor, "B K 2"],
    labelled: Bool[Tensor, "B K"],
    balance: int | float = 0.0,
) -> Float[Tensor, ""]:
    """Cost of maps that `codec` will read, where the points are `xy` in network pixels.

    `squared` over pi sigma^2, the energy of the codec's Gaussian: empty maps cost 1 whatever their size. Maps
    of SoftArgmax are logits of a distribution: their cost is `cross_entropy`, without `balance`.
    """
    size = (maps.shape[-2], maps.shape[-1])
    if isinstance(codec, SoftArgmax):
        target = gaussian_maps(xy, size, codec.stride, codec.sigma)
        return cross_entropy(codec.beta * maps, target, labelled)
    return squared(maps, codec.encode(xy, size), labelled, balance) / (math.pi * codec.sigma**2)


def squared(
    maps: Float[Tensor, "B K h w"],
    target: Float[Tensor, "B K h w"],
    labelled: Bool[Tensor, "B K"],
    balance: int | float = 0.0,
) -> Float[Tensor, ""]:
    """Sum of squared differences over each map's cells, averaged over the labelled maps.

    Cells are weighted 1 + balance * target: a target is near zero almost everywhere, and with balance 0 a map
    of zeros is nearly as good as one with a peak a little off. The best map is the target at any balance.
    """
    t = target[labelled]  # n h w
    cost = (1 + balance * t) * (maps[labelled] - t).square()
    return cost.sum() / max(len(t), 1)


def cross_entropy(
    logits: Float[Tensor, "B K h w"], target: Float[Tensor, "B K h w"], labelled: Bool[Tensor, "B K"]
) -> Float[Tensor, ""]:
    """Cross-entropy of softmax(logits) over a map's cells against the target scaled to sum 1, in nats.

    Averaged over the labelled maps. A target without mass (its point lies far outside) costs nothing.
    """
    t = target[labelled].flatten(1)  # n hw
    share = t / t.sum(-1, keepdim=True).clamp(min=1e-12)
    return -(share * logits[labelled].flatten(1).log_softmax(-1)).sum() / max(len(t), 1)
