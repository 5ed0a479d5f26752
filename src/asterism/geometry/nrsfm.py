"""Shapes in space from one view each of many objects of a kind: non-rigid structure from motion.

N orthographic views, each of another shape, xy "N K 2" about the mean of its points; every point is seen. A
shape is mean + sum c_s basis_s with c_s of variance one. With `swap` (the partner of each point, as in
types.Skeleton) all shapes are symmetric: the reflection is x -> -x of their frame, and a view of a symmetric
shape is two views of one half of it. Without, nothing but the views is known.

Bregler, Hertzmann, Biermann, "Recovering Non-Rigid 3D Shape from Image Streams", CVPR 2000 (the model);
Torresani, Hertzmann, Bregler, "Nonrigid Structure-from-Motion: Estimating Shape and Motion with Hierarchical
Priors", TPAMI 2008 (Gaussian coefficients, expectation-maximisation); Gao and Yuille, "Exploiting Symmetry
and/or Manhattan Properties for 3D Object Structure Estimation from Single and Multiple Images", CVPR 2017
(pair differences and sums).

    start: factorisation with metric constraints      -> _start, _start_by_pairs
    rotation and scale of each view                   -> _turned
    coefficients, and how well they are known         -> _coefficients
    mean and basis by least squares                   -> _shapes

What one view cannot tell: all shapes may be their mirror images in depth.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from asterism.geometry.precision import full_precision
from asterism.geometry.so3 import nearest

_SWEEPS, _GROWTH, _VIEW_STEPS = (
    60,
    20,
    6,
)  # of all; before each further direction; of a view's rotation per sweep
_FIT_STEPS = 40


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What shapes of a kind are like; c_s has variance one, `noise` is that of a coordinate of a view."""

    mean: Float[Tensor, "K 3"]
    basis: Float[Tensor, "S K 3"]
    noise: float
    scale_sd: float


@dataclass(frozen=True, kw_only=True)
class Lifted:
    """Shapes in the kind's frame, where their views are, and how they fit.

    `error` is the root mean square distance in the picture.
    """

    xyz: Float[Tensor, "N K 3"]
    view_from_kind: Float[Tensor, "N 3 3"]
    scale: Float[Tensor, " N"]
    coefficients: Float[Tensor, "N S"]
    error: Float[Tensor, " N"]

    def in_view(self) -> Float[Tensor, "N K 3"]:
        return self.scale[:, None, None] * (self.xyz @ self.view_from_kind.mT)


def learn(
    xy: Float[Tensor, "N K 2"], directions: int, *, ridge: float, scale_sd: float, swap: tuple[int, ...] = ()
) -> Kind:
    """Mean and basis from the views alone, one direction at a time.

    `ridge` is the variance of what the basis leaves of a coordinate, in squared units of xy: coefficients are
    drawn to zero by it. `scale_sd` is the standard deviation of the views' scales about their mean: nearly
    zero where all are seen from one distance, large where nothing is known of it. Raises ValueError for a
    swap that is no pairing.
    """
    partner = torch.tensor(swap or range(xy.shape[1]), device=xy.device)
    pairs = partner.shape == (xy.shape[1],) and sorted(swap or partner.tolist()) == list(range(xy.shape[1]))
    if not pairs or (partner[partner] != torch.arange(xy.shape[1], device=xy.device)).any():
        raise ValueError(f"swap={swap}: wanted the partner of each of {xy.shape[1]} points")
    with torch.no_grad(), full_precision(xy):
        firm = ridge / max(scale_sd, 1e-9) ** 2
        xy = xy - xy.mean(1, keepdim=True)
        mean, rotation = _start_by_pairs(xy, partner) if swap else _start(xy)
        basis, scale = xy.new_zeros(0, *mean.shape), xy.new_ones(len(xy))
        for count in range(directions + 1):
            if count:
                basis = torch.cat(
                    [basis, _next(xy, rotation, scale, mean, basis, ridge, partner, bool(swap))]
                )
            for _ in range(_SWEEPS if count == directions else _GROWTH):
                c, cov = _coefficients(xy, rotation, scale, mean, basis, ridge)
                rotation, scale = _turned(xy, rotation, mean + _sum(c, basis), _VIEW_STEPS, firm)
                c, cov = _coefficients(xy, rotation, scale, mean, basis, ridge)
                mean, basis = _shapes(xy, rotation, scale, c, cov, partner if swap else None)
                mean, basis = _normal(mean, basis, c, cov)
    return Kind(mean=mean, basis=basis, noise=float(ridge), scale_sd=float(scale_sd))


def lift(kind: Kind, xy: Float[Tensor, "N K 2"]) -> Lifted:
    """Shape, rotation and scale of views, each by itself: the most probable ones."""
    with torch.no_grad(), full_precision(xy):
        xy = xy - xy.mean(1, keepdim=True)
        firm = kind.noise / max(kind.scale_sd, 1e-9) ** 2
        rotation, scale = _affine(xy, kind.mean)
        rotation, scale = _turned(xy, rotation, kind.mean.expand(len(xy), -1, -1), _FIT_STEPS, firm)
        c = xy.new_zeros(len(xy), len(kind.basis))
        for _ in range(_FIT_STEPS):
            c, _ = _coefficients(xy, rotation, scale, kind.mean, kind.basis, kind.noise)
            rotation, scale = _turned(xy, rotation, kind.mean + _sum(c, kind.basis), _VIEW_STEPS, firm)
        xyz = kind.mean + _sum(c, kind.basis)
        off = scale[:, None, None] * (xyz @ rotation[:, :2].mT) - xy
    return Lifted(
        xyz=xyz,
        view_from_kind=rotation,
        scale=scale,
        coefficients=c,
        error=off.square().sum(-1).mean(1).sqrt(),
    )


def _sum(c: Tensor, basis: Tensor) -> Tensor:
    return torch.einsum("ns,skd->nkd", c, basis)


def _turned(xy: Tensor, rotation: Tensor, xyz: Tensor, steps: int, firm: float) -> tuple[Tensor, Tensor]:
    """Rotations and scales of least squared distance in the view: the depth is filled in, again and again.

    `firm` draws the scales to one: it counts as so much squared length of the picture.
    """
    xyz = xyz - xyz.mean(1, keepdim=True)
    scale = _scale(xy, xyz @ rotation[:, :2].mT, firm)
    for _ in range(steps):
        depth = xyz @ rotation[:, 2:].mT
        rotation = nearest(torch.cat([xy / scale[:, None, None], depth], dim=-1).mT @ xyz)
        scale = _scale(xy, xyz @ rotation[:, :2].mT, firm)
    return rotation, scale


def _scale(xy: Tensor, placed: Tensor, firm: float) -> Tensor:
    along, square = (placed * xy).sum((1, 2)), placed.square().sum((1, 2)).clamp_min(1e-300)
    return ((along + firm) / (square + firm)).clamp_min(1e-6)


def _coefficients(
    xy: Tensor, rotation: Tensor, scale: Tensor, mean: Tensor, basis: Tensor, ridge: float
) -> tuple[Tensor, Tensor]:
    """The coefficients' posterior: mean "N S" and covariance "N S S"."""
    s = len(basis)
    camera = scale[:, None, None] * rotation[:, :2]
    shown = torch.einsum("nij,skj->nski", camera, basis).flatten(2)  # N S 2K
    left = (xy - mean @ camera.mT).flatten(1)
    eye = torch.eye(s, dtype=xy.dtype, device=xy.device)
    cov = torch.linalg.inv(shown @ shown.mT / ridge + eye)
    return (cov @ (shown @ left[..., None]))[..., 0] / ridge, cov


def _shapes(
    xy: Tensor, rotation: Tensor, scale: Tensor, c: Tensor, cov: Tensor, partner: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Mean and basis of least expected squared distance; symmetric where there are partners."""
    s = c.shape[1]
    one = torch.cat([c.new_ones(len(c), 1), c], dim=1)  # N S+1
    moment = one[:, :, None] * one[:, None]
    moment[:, 1:, 1:] += cov
    camera = scale[:, None, None] * rotation[:, :2]
    gram = camera.mT @ camera
    right = torch.einsum("ns,nij,nki->ksj", one, camera, xy)  # K S+1 3
    if partner is not None:
        mirror = torch.tensor([-1.0, 1, 1], dtype=xy.dtype, device=xy.device)
        gram = gram + mirror[:, None] * gram * mirror
        right = right + mirror * right[partner]
    normal = torch.einsum("nst,nij->sitj", moment, gram).reshape(3 * (s + 1), -1)
    eye = torch.eye(len(normal), dtype=xy.dtype, device=xy.device)
    normal = normal + 1e-9 * normal.diagonal().mean() * eye
    solved = torch.linalg.solve(normal, right.flatten(1).mT).mT.unflatten(1, (s + 1, 3)).transpose(0, 1)
    solved = solved - solved.mean(1, keepdim=True)
    return solved[0], solved[1:]


def _normal(mean: Tensor, basis: Tensor, c: Tensor, cov: Tensor) -> tuple[Tensor, Tensor]:
    """The same shapes with coefficients of mean zero and variance one, in radius one."""
    if len(basis):
        middle = c.mean(0)
        spread = (c - middle).mT @ (c - middle) / len(c) + cov.mean(0)
        mean = mean + _sum(middle[None], basis)[0]
        basis = torch.einsum("st,skd->tkd", torch.linalg.cholesky(spread), basis)
    unit = mean.square().sum(-1).mean().sqrt()
    return mean / unit, basis / unit


def _next(
    xy: Tensor,
    rotation: Tensor,
    scale: Tensor,
    mean: Tensor,
    basis: Tensor,
    ridge: float,
    partner: Tensor,
    symmetric: bool,
) -> Tensor:
    """The direction that the views' residuals, put back without depth, vary most along, "1 K 3"."""
    c, _ = _coefficients(xy, rotation, scale, mean, basis, ridge)
    camera = scale[:, None, None] * rotation[:, :2]
    left = (xy - (mean + _sum(c, basis)) @ camera.mT) / scale[:, None, None]
    back = left @ rotation[:, :2]  # N K 3
    if symmetric:
        mirror = torch.tensor([-1.0, 1, 1], dtype=xy.dtype, device=xy.device)
        back = (back + mirror * back[:, partner]) / 2
    _, values, directions = torch.linalg.svd(back.flatten(1), full_matrices=False)
    return (directions[0] * values[0] / len(xy) ** 0.5).reshape(1, *mean.shape)


# ------------------------------------------------------------------------------------------ the first guess


def _affine(xy: Tensor, xyz: Tensor) -> tuple[Tensor, Tensor]:
    """Rotations "N 3 3" and scales near the best affine cameras of one shape "K 3"."""
    xyz = xyz - xyz.mean(0)
    rows = torch.linalg.lstsq(xyz, xy.transpose(0, 1).flatten(1)).solution.mT.unflatten(0, (len(xy), 2))
    return _completed(rows)


def _completed(rows: Tensor) -> tuple[Tensor, Tensor]:
    third = torch.linalg.cross(rows[:, 0], rows[:, 1])[:, None]
    third = third / third.square().sum(-1, keepdim=True).clamp_min(1e-300) ** 0.25
    rotation = nearest(torch.cat([rows, third], dim=1))
    return rotation, ((rows * rotation[:, :2]).sum((1, 2)) / 2).clamp_min(1e-6)


def _start(xy: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and rotations by factorisation of rank three (Tomasi and Kanade 1992), scales unknown."""
    u, s, vh = torch.linalg.svd(xy.mT.reshape(-1, xy.shape[1]), full_matrices=False)
    camera, shape = (u[:, :3] * s[:3]).unflatten(0, (-1, 2)), vh[:3]
    pairs = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
    a, b = camera[:, 0], camera[:, 1]

    def product(p: Tensor, q: Tensor) -> Tensor:
        return torch.stack([p[:, i] * q[:, j] + (i != j) * p[:, j] * q[:, i] for i, j in pairs], dim=-1)

    known = torch.linalg.svd(torch.cat([product(a, b), product(a, a) - product(b, b)]))[2][-1]
    metric = xy.new_zeros(3, 3)
    for value, (i, j) in zip(known, pairs):
        metric[i, j] = metric[j, i] = value
    root = _root(metric)
    mean = torch.linalg.solve(root, shape).mT
    return _unit(mean), _completed(camera @ root)[0]


def _start_by_pairs(xy: Tensor, partner: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and rotations of symmetric shapes: differences of pairs have rank one, their sums rank two."""
    apart, together = (xy - xy[:, partner]) / 2, (xy + xy[:, partner]) / 2
    u, s, vh = torch.linalg.svd(apart.mT.reshape(-1, xy.shape[1]), full_matrices=False)
    across, x = (u[:, 0] * s[0]).unflatten(0, (-1, 2)), vh[0]
    u, s, vh = torch.linalg.svd(together.mT.reshape(-1, xy.shape[1]), full_matrices=False)
    plane, yz = (u[:, :2] * s[:2]).unflatten(0, (-1, 2)), vh[:2]
    a, b = plane[:, 0], plane[:, 1]

    def product(p: Tensor, q: Tensor, i: int, j: int) -> Tensor:
        both = [p[:, 0] * q[:, 0], p[:, 0] * q[:, 1] + p[:, 1] * q[:, 0], p[:, 1] * q[:, 1]]
        return torch.stack([across[:, i] * across[:, j], *both], dim=-1)

    rows = torch.cat([product(a, b, 0, 1), product(a, a, 0, 0) - product(b, b, 1, 1)])
    known = torch.linalg.svd(rows)[2][-1]
    known = known * torch.where(known[0] < 0, -1, 1)
    root = _root(torch.stack([torch.stack([known[1], known[2]]), torch.stack([known[2], known[3]])]))
    width = known[0].clamp_min(1e-12).sqrt()
    mean = torch.stack([x / width, *torch.linalg.solve(root, yz)], dim=-1)
    camera = torch.cat([across[..., None] * width, plane @ root], dim=-1)
    return _unit(mean), _completed(camera)[0]


def _root(metric: Tensor) -> Tensor:
    """A square root of the nearest positive definite matrix, up to sign."""
    if torch.trace(metric) < 0:
        metric = -metric
    values, vectors = torch.linalg.eigh(metric)
    return vectors * values.clamp_min(1e-6 * float(values[-1])).sqrt()


def _unit(mean: Tensor) -> Tensor:
    mean = mean - mean.mean(0)
    return mean / mean.square().sum(-1).mean().sqrt()
