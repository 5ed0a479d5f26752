"""Costs of heatmaps against targets, over labelled points only.

Maps of points that are not labelled are selected away before anything is computed, so a NaN in them reaches
neither the cost nor the gradient. Without any labelled point the cost is 0, and so is its gradient.
"""

from jaxtyping import Bool, Float
from torch import Tensor


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
