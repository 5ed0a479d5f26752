"""Costs of descriptors of matching places in two pictures or clouds: each must be nearer to its own than to
any other place, and what is detected must be what can be told apart.

`gap[i, j]` is the distance between the descriptor of place i in one and of place j in the other; places with
one number are the same. `apart[i, j]` is True where they are too far from each other to be taken for one
place: only these are negatives, so a neighbour that looks alike, as it should, is never pushed away.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def descriptor_distances(a: Float[Tensor, "N D"], b: Float[Tensor, "M D"]) -> Float[Tensor, "N M"]:
    """Between all pairs of descriptors of length 1, from 0 to 2; the slope is finite where they are equal."""
    squared = (2 - 2 * a @ b.mT).clamp_min(0)
    return (squared + torch.finfo(a.dtype).eps).sqrt()


def hardest(gap: Float[Tensor, "N N"], apart: Bool[Tensor, "N N"]) -> Float[Tensor, " N"]:
    """The smallest distance of each row to a negative; infinite where it has none."""
    return gap.masked_fill(~apart, torch.inf).amin(1) if len(gap) else gap.new_zeros(0)


def contrastive(
    gap: Float[Tensor, "N N"],
    apart: Bool[Tensor, "N N"],
    positive: float | int = 0.1,
    negative: float | int = 1.4,
) -> Float[Tensor, ""]:
    """The mean of relu(d_i - positive) + relu(negative - n_i): d_i of the pair i, n_i its hardest negative.

    Equation 10 of D3Feat (Bai et al., CVPR 2020), whose margins these are. A pair without a negative has the
    first term alone; without pairs the cost is 0.
    """
    cost = (gap.diagonal() - positive).relu() + (negative - hardest(gap, apart)).relu()
    return cost.sum() / max(len(gap), 1)


def circle(
    gap: Float[Tensor, "N N"],
    apart: Bool[Tensor, "N N"],
    positive: float | int = 0.1,
    negative: float | int = 1.4,
    scale: float | int = 10,
) -> Float[Tensor, ""]:
    """Circle loss (Sun et al., CVPR 2020, equation 6) of distances: all negatives count, and each pair the
    more the farther it is from where it should be. With p = relu(d_i - positive) and
    n = relu(negative - d_ij) it is the mean of ln(1 + sum_j exp(scale (p^2 + n^2))) / scale over the pairs
    that have a negative; one factor of each square gives no gradient. Without any the cost is 0.
    """
    own = gap.diagonal()
    pull = (own - positive).detach().relu() * (own - positive) * scale
    push = (negative - gap).detach().relu() * (negative - gap) * scale
    some = apart.any(1)
    told = push.masked_fill(~apart, -torch.inf)[some].logsumexp(1) + pull[some]
    return torch.nn.functional.softplus(told).sum() / (scale * max(int(some.sum()), 1))


def detector(
    gap: Float[Tensor, "N N"],
    apart: Bool[Tensor, "N N"],
    score: Float[Tensor, " N"],
    other: Float[Tensor, " N"],
) -> Float[Tensor, ""]:
    """The mean of (d_i - n_i) (score_i + other_i): a place that is told apart from its hardest negative n_i
    should score high in both, and one that is taken for another low.

    Equation 11 of D3Feat. Pairs without a negative are left out; without any the cost is 0.
    """
    some = apart.any(1)
    lead = gap.diagonal()[some] - hardest(gap, apart)[some]
    return (lead * (score + other)[some]).sum() / max(int(some.sum()), 1)
