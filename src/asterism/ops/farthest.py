"""Farthest-point sampling of batches of small clouds, in torch; large single ones: ops/cloud_sampling."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def farthest(
    points: Float[Tensor, "B N 3"], valid: Bool[Tensor, "B N"], k: int, first: Int[Tensor, " B"]
) -> Float[Tensor, "B k 3"]:
    """k points of each cloud, every one the farthest from those before it; `first` are the rows to begin
    with.

    Where a cloud has fewer valid points than k, some come twice.
    """
    rows = torch.arange(len(points), device=points.device)
    gap = torch.where(valid, torch.inf, -1.0).to(points.dtype)
    at, chosen = first, []
    for _ in range(k):
        here = points[rows, at]
        chosen.append(here)
        gap = torch.where(valid, torch.minimum(gap, (points - here[:, None]).square().sum(-1)), gap)
        at = gap.argmax(-1)
    return torch.stack(chosen, dim=1)
