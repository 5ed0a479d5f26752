"""Rotations, similarities and their best fit between point sets, as "B 3 4" matrices named b_from_a.

Kabsch, "A solution for the best rotation to relate two sets of vectors", Acta Cryst. 1976; Umeyama, "Least-
squares estimation of transformation parameters between two point patterns", TPAMI 1991.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from asterism.geometry.precision import full_precision


def apply(b_from_a: Float[Tensor, "B 3 4"], xyz: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N 3"]:
    """Points of a, in b."""
    with full_precision(xyz):
        return xyz @ b_from_a[..., :3].mT + b_from_a[:, None, :, 3]


def compose(c_from_b: Float[Tensor, "B 3 4"], b_from_a: Float[Tensor, "B 3 4"]) -> Float[Tensor, "B 3 4"]:
    """c_from_a: first b_from_a, then c_from_b."""
    with full_precision(b_from_a):
        moved = c_from_b[..., :3] @ b_from_a
    return torch.cat([moved[..., :3], moved[..., 3:] + c_from_b[..., 3:]], dim=-1)


def inverse(b_from_a: Float[Tensor, "B 3 4"]) -> Float[Tensor, "B 3 4"]:
    """a_from_b of a rotation or similarity; its scale must not be zero."""
    linear = b_from_a[..., :3]
    back = linear.mT / linear.square().sum((1, 2), keepdim=True).div(3)  # (s R)^-1 = (s R)^T / s^2
    with full_precision(b_from_a):
        return torch.cat([back, -back @ b_from_a[..., 3:]], dim=-1)


def kabsch(
    a: Float[Tensor, "B N 3"], b: Float[Tensor, "B N 3"], weight: Float[Tensor, "B N"] | None = None
) -> Float[Tensor, "B 3 4"]:
    """The rotation and shift b_from_a of least weighted squared error. Never a reflection.

    Differentiable, with finite gradients also where singular values coincide or points lie on a line; what
    the points do not determine is chosen by the decomposition and gets no gradient.
    """
    share, mean_a, mean_b = _means(a, b, weight)
    rotation = _rotation(_covariance(share, a - mean_a, b - mean_b))
    return _with_shift(rotation, mean_a, mean_b)


def umeyama(
    a: Float[Tensor, "B N 3"], b: Float[Tensor, "B N 3"], weight: Float[Tensor, "B N"] | None = None
) -> Float[Tensor, "B 3 4"]:
    """As kabsch, with one positive scale. Points of a that all coincide get the scale zero."""
    share, mean_a, mean_b = _means(a, b, weight)
    covariance = _covariance(share, a - mean_a, b - mean_b)
    rotation = _rotation(covariance)
    spread = (share * (a - mean_a).square()).sum((1, 2))
    known = spread > 0
    scale = torch.where(known, (rotation * covariance).sum((1, 2)) / torch.where(known, spread, 1), 0)
    return _with_shift(scale[:, None, None] * rotation, mean_a, mean_b)


def scale_of(b_from_a: Float[Tensor, "B 3 4"]) -> Float[Tensor, " B"]:
    """Lengths in b per length in a, of a similarity."""
    return (b_from_a[..., :3].square().sum((1, 2)) / 3).sqrt()


def _means(a: Tensor, b: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Weights that sum to one "B N 1" and the weighted means "B 1 3"."""
    w = torch.ones_like(a[..., 0]) if weight is None else weight
    share = (w / w.sum(1, keepdim=True).clamp_min(torch.finfo(w.dtype).tiny))[..., None]
    return share, (share * a).sum(1, keepdim=True), (share * b).sum(1, keepdim=True)


def _covariance(share: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """sum w b a^T, "B 3 3"."""
    with full_precision(a):
        return (share * b).mT @ a


def _with_shift(linear: Tensor, mean_a: Tensor, mean_b: Tensor) -> Tensor:
    with full_precision(linear):
        return torch.cat([linear, mean_b.mT - linear @ mean_a.mT], dim=-1)


def _rotation(m: Tensor) -> Tensor:
    """The rotation R of largest trace(R^T m), by SVD, with its gradient by one Newton step on the sphere.

    The SVD's own gradient divides by differences of singular values; the rotation's divides by their sums
    only. At R0, the residual of the optimality condition is g = vee(R0^T m - m^T R0), which is zero in value
    and not in derivative, and the step is w = (tr(S) I - S)^-1 g with S = R0^T m.
    """
    with torch.no_grad(), full_precision(m):
        u, s, vh = torch.linalg.svd(m)
        sign = torch.ones_like(s)
        sign[:, 2] = torch.where(torch.linalg.det(u @ vh) < 0, -1.0, 1.0)  # Umeyama's guard
        r0 = (u * sign[:, None]) @ vh
        signed = sign * s
        sums = signed.sum(1, keepdim=True) - signed  # s_j + s_k about axis i
        known = sums > 16 * torch.finfo(m.dtype).eps * s[:, :1]
        inverse_sums = torch.where(known, 1 / torch.where(known, sums, 1), 0)
        step = (vh.mT * inverse_sums[:, None]) @ vh
    with full_precision(m):
        n = r0.mT @ m
        g = torch.stack([n[:, 2, 1] - n[:, 1, 2], n[:, 0, 2] - n[:, 2, 0], n[:, 1, 0] - n[:, 0, 1]], dim=-1)
        w = (step @ g[..., None])[..., 0]
        zero = torch.zeros_like(w[:, 0])
        cross = [zero, -w[:, 2], w[:, 1], w[:, 2], zero, -w[:, 0], -w[:, 1], w[:, 0], zero]
        return r0 + r0 @ torch.stack(cross, dim=-1).unflatten(-1, (3, 3))
