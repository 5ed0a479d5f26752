"""The first guess of non-rigid structure from motion: one shape for all views, by factorisation.

Tomasi and Kanade, "Shape and Motion from Image Streams under Orthography", IJCV 1992; Gao and Yuille,
"Exploiting Symmetry and/or Manhattan Properties for 3D Object Structure Estimation from Single and Multiple
Images", CVPR 2017 (differences and sums of pairs).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from asterism.geometry.nrsfm_views import Views, centred, completed

_FILL = 100  # rounds of filling in what is missing
_RANK = 3  # of the views of one shape about their means


def filled(views: Views) -> Float[Tensor, "N K 2"]:
    """About their means, missing points filled in by what has rank three: what one shape would show."""
    xy = centred(views.xy, views.valid)
    if views.valid.all():
        return xy
    n, k, _ = xy.shape
    kept = views.valid[..., None].expand_as(xy).mT.reshape(2 * n, k)
    seen = xy.mT.reshape(2 * n, k)
    whole = seen
    for _ in range(_FILL):
        middle = whole.mean(1, keepdim=True)
        u, s, vh = torch.linalg.svd(whole - middle, full_matrices=False)
        whole = torch.where(kept, seen, (u[:, :_RANK] * s[:_RANK]) @ vh[:_RANK] + middle)
    whole = whole - whole.mean(1, keepdim=True)
    return whole.unflatten(0, (n, 2)).mT


def by_rank(xy: Float[Tensor, "N K 2"]) -> tuple[Float[Tensor, "K 3"], Float[Tensor, "N 3 3"]]:
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
    return _unit(mean), completed(camera @ root)[0]


def by_pairs(
    xy: Float[Tensor, "N K 2"], partner: Int[Tensor, " K"]
) -> tuple[Float[Tensor, "K 3"], Float[Tensor, "N 3 3"]]:
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
    return _unit(mean), completed(camera)[0]


def _root(metric: Tensor) -> Tensor:
    """A square root of the nearest positive definite matrix, up to sign."""
    if torch.trace(metric) < 0:
        metric = -metric
    values, vectors = torch.linalg.eigh(metric)
    return vectors * values.clamp_min(1e-6 * float(values[-1])).sqrt()


def _unit(mean: Tensor) -> Tensor:
    mean = mean - mean.mean(0)
    return mean / mean.square().sum(-1).mean().sqrt()
