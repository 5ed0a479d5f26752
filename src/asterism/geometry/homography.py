"""Projective maps of the plane as "B 3 3" matrices named b_from_a. Use as `homography.apply`."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from asterism.geometry import affine
from asterism.geometry.linear import solve2
from asterism.geometry.precision import full_precision
from asterism.types import Struct


def apply(b_from_a: Float[Tensor, "B 3 3"], xy: Float[Tensor, "B K 2"]) -> Float[Tensor, "B K 2"]:
    """Points of a, in b. A point on the horizon, where the denominator is zero, goes to infinity."""
    upper, w = _numerators(b_from_a, xy)
    return upper / w


def compose(c_from_b: Float[Tensor, "B 3 3"], b_from_a: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B 3 3"]:
    """c_from_a: first b_from_a, then c_from_b."""
    with full_precision(b_from_a):
        return c_from_b @ b_from_a


def inverse(b_from_a: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B 3 3"]:
    """a_from_b by the adjugate; a singular map gives infinities, not an error."""
    r0, r1, r2 = b_from_a.unbind(-2)
    columns = [torch.linalg.cross(r1, r2), torch.linalg.cross(r2, r0), torch.linalg.cross(r0, r1)]
    det = (r0 * columns[0]).sum(-1)
    return torch.stack(columns, dim=-1) / det[:, None, None]


def from_affine(b_from_a: Float[Tensor, "B 2 3"]) -> Float[Tensor, "B 3 3"]:
    """The same map with the row 0 0 1."""
    last = b_from_a.new_tensor([0, 0, 1]).expand(len(b_from_a), 1, 3)
    return torch.cat([b_from_a, last], dim=1)


def from_points(
    a: Float[Tensor, "B K 2"], b: Float[Tensor, "B K 2"], weight: Float[Tensor, "B K"] | None = None
) -> Float[Tensor, "B 3 3"]:
    """b_from_a of least algebraic error: the direct linear transform, weighted (all one when None).

    Hartley, "In defense of the eight-point algorithm", TPAMI 1997: both sides are moved to zero mean and
    mean square sqrt(2). There the last entry is the denominator at the centroid, which no view puts on the
    horizon, so it may be set to one and the rest is linear least squares. Differentiable. A weight of zero
    leaves a point out; fewer than four points in general position give finite nonsense. Raises ValueError
    for K < 4.
    """
    if a.shape[1] < 4:
        raise ValueError(f"a homography needs at least 4 points, got {a.shape[1]}")
    w = torch.ones_like(a[..., 0]) if weight is None else weight
    na, nb = normaliser(a, w), normaliser(b, w)
    (x, y), (u, v) = affine.apply(na, a).unbind(-1), affine.apply(nb, b).unbind(-1)
    o, z = torch.ones_like(x), torch.zeros_like(x)
    rows = [torch.stack([x, y, o, z, z, z, -u * x, -u * y], dim=-1)]
    rows += [torch.stack([z, z, z, x, y, o, -v * x, -v * y], dim=-1)]
    positive = w > 0
    root = torch.where(positive, torch.where(positive, w, 1).sqrt(), 0).repeat(1, 2)[..., None]  # B 2K 1
    ridge = torch.finfo(a.dtype).eps * torch.eye(8, device=a.device, dtype=a.dtype).expand(len(a), 8, 8)
    with full_precision(a):
        q, r = torch.linalg.qr(torch.cat([root * torch.cat(rows, dim=1), ridge], dim=1))
        right = torch.cat(
            [root * torch.cat([u, v], dim=1)[..., None], torch.zeros_like(ridge[..., :1])], dim=1
        )
        h = torch.linalg.solve_triangular(r, q.mT @ right, upper=True)[..., 0]  # B 8
    normal = torch.cat([h, torch.ones_like(h[:, :1])], dim=1).unflatten(1, (3, 3))
    return compose(from_affine(affine.inverse(nb)), compose(normal, from_affine(na)))


def sampson(
    b_from_a: Float[Tensor, "B 3 3"], a: Float[Tensor, "B K 2"], b: Float[Tensor, "B K 2"]
) -> Float[Tensor, "B K"]:
    """Squared distance, in the space of (a, b), to the nearest pair that the map explains, to first order.

    Where a and b are both seen with noise of variance s^2 it has the mean 2 s^2 (Hartley and Zisserman,
    Multiple View Geometry, section 4.2.6). Exact for an affine map.
    """
    upper, w = _numerators(b_from_a, a)
    error = upper - b * w  # B K 2, zero where b is the image of a
    by_a = b_from_a[:, None, :2, :2] - b[..., None] * b_from_a[:, None, 2:, :2]  # B K 2 2
    one = torch.eye(2, dtype=a.dtype, device=a.device)
    both = (by_a[..., :, None, :] * by_a[..., None, :, :]).sum(-1) + w[..., None].square() * one
    return (error * solve2(both, error)).sum(-1)


def _numerators(b_from_a: Tensor, xy: Tensor) -> tuple[Tensor, Tensor]:
    m = b_from_a[:, None]  # B 1 3 3
    q = m[..., 0] * xy[..., :1] + m[..., 1] * xy[..., 1:] + m[..., 2]
    return q[..., :2], q[..., 2:]


def normaliser(xy: Float[Tensor, "B K 2"], w: Float[Tensor, "B K"]) -> Float[Tensor, "B 2 3"]:
    """The similarity to weighted zero mean and mean square length 2."""
    share = (w / w.sum(1, keepdim=True).clamp_min(torch.finfo(w.dtype).tiny))[..., None]
    mean = (share * xy).sum(1)
    square = (share * (xy - mean[:, None]).square()).sum((1, 2))
    scale = (2 / square.clamp_min(torch.finfo(w.dtype).tiny)).sqrt()
    return affine.similarity(torch.zeros_like(scale), scale, -scale[:, None] * mean)


@dataclass(frozen=True, kw_only=True, repr=False)
class Homography(Struct):
    """A projective map as a Warp."""

    b_from_a: Float[Tensor, "B 3 3"]

    def points(self, xy: Float[Tensor, "B K 2"]) -> Float[Tensor, "B K 2"]:
        return apply(self.b_from_a, xy)

    def inverse_points(self, xy: Float[Tensor, "B K 2"]) -> Float[Tensor, "B K 2"]:
        return apply(inverse(self.b_from_a), xy)

    def jacobian(self, xy: Float[Tensor, "B K 2"]) -> Float[Tensor, "B K 2 2"]:
        upper, w = _numerators(self.b_from_a, xy)
        linear, horizon = self.b_from_a[:, None, :2, :2], self.b_from_a[:, None, 2:, :2]
        return (linear - (upper / w)[..., None] * horizon) / w[..., None]
