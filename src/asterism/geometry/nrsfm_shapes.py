"""What shapes of a kind are like, once it is known where each view is seen from: mean and basis by least
squares, and the direction that comes next.
"""

from dataclasses import replace
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor

from asterism.geometry.nrsfm_views import Kind, Samples, Views, centred, given


def next_direction(
    views: Views,
    kind: Kind,
    rotation: Float[Tensor, "N 3 3"],
    scale: Float[Tensor, " N"],
    partner: Int[Tensor, " K"] | None,
) -> Float[Tensor, "1 K 3"]:
    """The direction that the views' residuals, put back without depth, vary most along."""
    _, c, _ = given(views, kind, rotation[:, None], scale[:, None])
    camera = scale[:, None, None] * rotation[:, :2]
    left = centred(views.xy - kind.shape(c[:, 0]) @ camera.mT, views.valid)
    back = (left / scale[:, None, None]) @ rotation[:, :2]  # N K 3
    if partner is not None:
        back = (back + _mirror(back) * back[:, partner]) / 2
    _, values, directions = torch.linalg.svd(back.flatten(1), full_matrices=False)
    return (directions[0] * values[0] / len(views) ** 0.5).reshape(1, *kind.mean.shape)


def _mirror(like: Tensor) -> Tensor:
    return torch.tensor([-1.0, 1, 1], dtype=like.dtype, device=like.device)


def shapes(views: Views, kind: Kind, told: list[Samples], partner: Int[Tensor, " K"] | None) -> Kind:
    """Mean and basis of least expected squared distance; symmetric where there are partners.

    The coefficients have mean zero and variance one again.
    """
    parts = [_moments(part, each, kind) for part, each in zip(_split(views, told), told)]
    normal, right, middle, square = (torch.stack(each).sum(0) for each in zip(*parts))
    s = len(kind.basis) + 1
    if partner is not None:
        flip = _mirror(right).repeat(s)
        normal = normal + flip[:, None] * normal[partner] * flip
        right = right + flip * right[partner]
    eye = torch.eye(3 * s, dtype=right.dtype, device=right.device)
    firm = 1e-9 * normal.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] + 1e-12
    solved = torch.linalg.solve(normal + firm * eye, right).unflatten(1, (s, 3)).transpose(0, 1)
    solved = solved - solved.mean(1, keepdim=True)
    mean, basis = solved[0], solved[1:]
    if len(basis):
        middle, square = middle / len(views), square / len(views)
        mean = mean + torch.einsum("s,skd->kd", middle, basis)
        spread = square - middle[:, None] * middle
        basis = torch.einsum("st,skd->tkd", torch.linalg.cholesky(spread), basis)
    return replace(kind, mean=mean, basis=basis)


def _split(views: Views, told: list[Samples]) -> list[Views]:
    ends = torch.tensor([0, *(len(s.scale) for s in told)]).cumsum(0).tolist()
    rows = torch.arange(len(views), device=views.xy.device)
    return [views[rows[a:b]] for a, b in pairwise(ends)]


def _moments(views: Views, told: Samples, kind: Kind) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of each point the normal equations "K 3(S+1) 3(S+1)" and "K 3(S+1)" of mean and basis, and the sums of
    the coefficients "S" and of their squares "S S".
    """
    camera, kept = told.camera(), views.valid[:, None]
    one = torch.cat([torch.ones_like(told.weight)[..., None], told.c], dim=-1)
    moment = one[..., :, None] * one[..., None, :]
    moment[..., 1:, 1:] += told.cov
    placed = torch.einsum("njkd,njad->njka", kind.shape(told.c), camera)
    off = views.xy[:, None] - placed
    count = kept.sum(-1).clamp_min(1)[..., None, None]
    shift = (off * kept[..., None]).sum(-2, keepdim=True) / count
    seen = (views.xy[:, None] - shift) * kept[..., None]
    gram = camera.mT @ camera
    each = torch.einsum("nj,njst,njab->nsatb", told.weight, moment, gram).flatten(3).flatten(1, 2)
    normal = torch.einsum("nk,nxy->kxy", views.valid.to(each.dtype), each)
    right = torch.einsum("nj,njs,njab,njka->ksb", told.weight, one, camera, seen).flatten(1)
    middle = torch.einsum("nj,njs->s", told.weight, told.c)
    square = torch.einsum("nj,njst->st", told.weight, moment[..., 1:, 1:])
    return normal, right, middle, square
