"""How large clouds are, whichever way they are turned, and the best points not too near each other."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def spread(points: Float[Tensor, "B N 3"], valid: Bool[Tensor, "B N"]) -> Float[Tensor, " B"]:
    """The root of the mean squared distance to the middle; unlike a box it does not change with a turn."""
    held = points.masked_fill(~valid[..., None], 0.0)
    count = valid.sum(1).clamp_min(1)[:, None]
    gap = (held - (held.sum(1) / count)[:, None]).square().sum(-1)
    return (gap.masked_fill(~valid, 0.0).sum(1, keepdim=True) / count).sqrt()[:, 0]


def best_apart(
    points: Float[Tensor, "B N 3"],
    valid: Bool[Tensor, "B N"],
    response: Float[Tensor, "B N"],
    k: int,
    radius: Float[Tensor, " B"],
) -> tuple[Int[Tensor, "B k"], Bool[Tensor, "B k"]]:
    """Rows of up to k points: again and again the one of largest response of those farther than `radius` from
    all before it. The flags are False once there are none. Rows that are not valid may be anything.
    """
    rows = torch.arange(len(points), device=points.device)
    held = points.masked_fill(~valid[..., None], 0.0)
    left = response.masked_fill(~valid, -torch.inf)
    chosen, kept = [], []
    for _ in range(k):
        at = left.argmax(1)
        chosen.append(at)
        kept.append(left[rows, at] > -torch.inf)
        gap = (held - held[rows, at][:, None]).square().sum(-1)
        left = left.masked_fill(gap <= radius[:, None].square(), -torch.inf)
    return torch.stack(chosen, dim=1), torch.stack(kept, dim=1)
