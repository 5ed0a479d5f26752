"""Rotations as matrices: their tangent vectors, and the nearest one to a matrix.

Rodrigues 1840; the nearest rotation by SVD: Arun, Huang, Blostein, "Least-squares fitting of two 3-D point
sets", TPAMI 1987.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from asterism.geometry.precision import full_precision


def skew(vector: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3 3"]:
    """The matrix of the cross product: skew(a) b = a x b."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))


def exp(vector: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3 3"]:
    """The rotation about `vector` by its length in radians."""
    square = vector.square().sum(-1)[..., None, None]
    angle = square.clamp_min(torch.finfo(vector.dtype).tiny).sqrt()
    cross = skew(vector)
    small = square < 1e-8
    first = torch.where(small, 1 - square / 6, angle.sin() / angle)
    second = torch.where(small, 0.5 - square / 24, (1 - angle.cos()) / square.clamp_min(1e-8))
    eye = torch.eye(3, dtype=vector.dtype, device=vector.device)
    return eye + first * cross + second * (cross @ cross)


def nearest(matrix: Float[Tensor, "*n 3 3"]) -> Float[Tensor, "*n 3 3"]:
    """The rotation of largest trace(R^T matrix)."""
    u, _, vh = torch.linalg.svd(matrix)
    sign = torch.where(torch.linalg.det(u @ vh) < 0, -1.0, 1.0).to(matrix.dtype)
    ones = torch.ones_like(sign)
    return (u * torch.stack([ones, ones, sign], dim=-1)[..., None, :]) @ vh


def angle_between(a: Float[Tensor, "*n 3 3"], b: Float[Tensor, "*n 3 3"]) -> Float[Tensor, "*n"]:
    """The angle, in radians from 0 to pi, of the turn from b to a; exact also near 0."""
    off = (a - b).square().sum((-2, -1)).clamp_min(0).sqrt()
    return 2 * torch.asin((off / 8**0.5).clamp(max=1))  # |a - b| = 2 sqrt(2) sin(angle / 2)


def moved(pose: Float[Tensor, "B 3 4"], step: Float[Tensor, "B 6"]) -> Float[Tensor, "B 3 4"]:
    """The pose followed by a small turn (radians) and shift: exp(turn) R X + t + shift."""
    with full_precision(pose):
        rotation = exp(step[:, :3]) @ pose[..., :3]
    return torch.cat([rotation, pose[..., 3:] + step[:, 3:, None]], dim=-1)
