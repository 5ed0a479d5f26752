"""How far one cloud is from another."""

from jaxtyping import Bool, Float
from torch import Tensor


def squared_distances(a: Float[Tensor, "B N 3"], b: Float[Tensor, "B M 3"]) -> Float[Tensor, "B N M"]:
    """Between all pairs, never below zero; squares, because the root has no gradient at zero."""
    gap = a.square().sum(-1)[:, :, None] + b.square().sum(-1)[:, None] - 2 * a @ b.mT
    return gap.clamp_min(0)


def chamfer(
    a: Float[Tensor, "B N 3"],
    b: Float[Tensor, "B M 3"],
    a_valid: Bool[Tensor, "B N"] | None = None,
    b_valid: Bool[Tensor, "B M"] | None = None,
) -> Float[Tensor, " B"]:
    """Mean squared distance to the nearest point of the other cloud, from a to b plus from b to a.

    Rows that are not valid (every row is, without the flags) are neither measured nor met.
    """
    gap = squared_distances(a, b)
    if a_valid is not None:
        gap = gap.masked_fill(~a_valid[:, :, None], float("inf"))
    if b_valid is not None:
        gap = gap.masked_fill(~b_valid[:, None], float("inf"))
    return _mean(gap.amin(2), a_valid) + _mean(gap.amin(1), b_valid)


def _mean(nearest: Tensor, valid: Tensor | None) -> Tensor:
    if valid is None:
        return nearest.mean(1)
    return nearest.masked_fill(~valid, 0.0).sum(1) / valid.sum(1).clamp_min(1)
