"""Costs of maps and fields of whole pictures, where some regions do not count."""

from jaxtyping import Float
from torch import Tensor


def regional(
    predicted: Float[Tensor, "B C h w"],
    target: Float[Tensor, "B C h w"],
    weight: Float[Tensor, "B 1 h w"],
    energy: Float[Tensor, ""],
    balance: int | float = 0.0,
) -> Float[Tensor, ""]:
    """Sum of W(p) (predicted - target)^2 over cells, channels and pictures, divided by `energy`.

    Cao et al., CVPR 2017, eq. 5 and 6, up to the divisor. Cells are weighted 1 + balance * |target| besides:
    a target is near zero almost everywhere, and with balance 0 zeros are nearly as good as peaks a bit off.
    """
    cost = weight * (1 + balance * target.abs()) * (predicted - target).square()
    return cost.sum() / energy


def energy_of(target: Float[Tensor, "B C h w"]) -> Float[Tensor, ""]:
    """What predicting zeros would cost; at least one cell per picture, for pictures without anybody."""
    return target.square().sum().clamp(min=len(target))
