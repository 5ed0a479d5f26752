"""Shapes in space from one view each of many objects of a kind: non-rigid structure from motion.

N orthographic views, each of another shape, xy "N K 2", of which points may be missing. A shape is mean + sum
c_s basis_s with c_s of variance one. With `swap` (the partner of each point, as in types.Skeleton) all shapes
are symmetric: the reflection is x -> -x of their frame, and a view of a symmetric shape is two views of one
half of it. Without, nothing but the views is known.

Bregler, Hertzmann, Biermann, "Recovering Non-Rigid 3D Shape from Image Streams", CVPR 2000 (the model);
Torresani, Hertzmann, Bregler, "Nonrigid Structure-from-Motion: Estimating Shape and Motion with Hierarchical
Priors", TPAMI 2008 (Gaussian coefficients, expectation-maximisation). Departs: rotations are no parameters
either. Once the directions are found with the best rotation of each view, the expectation is taken over
rotations, too, by sampling: the best rotation alone explains noise as shape.

    start: factorisation with metric constraints      -> geometry.nrsfm_start
    one direction after the other                     -> _grown
    expectation over rotation, scale, coefficients    -> geometry.nrsfm_views
    mean and basis by least squares                   -> geometry.nrsfm_shapes

What one view cannot tell: all shapes may be their mirror images in depth.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from asterism.geometry import nrsfm_views as sight
from asterism.geometry.nrsfm_shapes import next_direction, shapes
from asterism.geometry.nrsfm_start import by_pairs, by_rank, filled
from asterism.geometry.nrsfm_views import Kind, Samples, Views
from asterism.geometry.precision import full_precision

_GROWTH, _SWEEPS = 20, 60  # after each direction; with samples
_VIEW_STEPS = 6  # of a view's rotation per sweep
_LEARN, _LIFT = 60, 60  # samples of a view per sweep, and around each of its two best answers
_BATCH = 256  # views at a time


@dataclass(frozen=True, kw_only=True)
class Lifted:
    """Points of each view in its own frame and unit, about the mean of all K: what is expected, and how well
    it is known. `shift` puts them where they were seen; `error` is the root mean square distance there.
    """

    xyz: Float[Tensor, "N K 3"]
    cov: Float[Tensor, "N K 3 3"]
    shift: Float[Tensor, "N 2"]
    view_from_kind: Float[Tensor, "N 3 3"]  # the most probable one
    scale: Float[Tensor, " N"]
    coefficients: Float[Tensor, "N S"]
    error: Float[Tensor, " N"]


def learn(
    xy: Float[Tensor, "N K 2"],
    directions: int,
    *,
    ridge: float,
    scale_sd: float,
    swap: tuple[int, ...] = (),
    valid: Bool[Tensor, "N K"] | None = None,
) -> Kind:
    """Mean and basis from the views alone.

    `ridge` is the variance of what the basis leaves of a coordinate, in squared units of xy: coefficients are
    drawn to zero by it. Scales of views are about one: `scale_sd` is their standard deviation, zero where all
    are seen from one distance, large where nothing is known of it; xy should have a radius near one then.
    Raises ValueError for a swap that is no pairing.
    """
    partner = torch.tensor(swap or range(xy.shape[1]), device=xy.device)
    pairs = partner.shape == (xy.shape[1],) and sorted(swap or partner.tolist()) == list(range(xy.shape[1]))
    if not pairs or (partner[partner] != torch.arange(xy.shape[1], device=xy.device)).any():
        raise ValueError(f"swap={swap}: wanted the partner of each of {xy.shape[1]} points")
    dice = sight.Dice()
    with torch.no_grad(), full_precision(xy):
        views = _views(xy, valid)
        whole = filled(views)
        mean, rotation = by_pairs(whole, partner) if swap else by_rank(whole)
        mirror = partner if swap else None
        empty = Kind(mean=mean, basis=xy.new_zeros(0, *mean.shape), noise=ridge, scale_sd=scale_sd)
        kind = _grown(views, empty, rotation, directions, mirror)
        rotation, scale = _best(views, kind, dice)
        for _ in range(_SWEEPS):
            told = [
                sight.sampled(part, kind, rotation[rows, None], scale[rows, None], _LEARN, dice)
                for rows, part in _parts(views)
            ]
            best = [(s, torch.arange(len(s.scale)), s.likely.argmax(1)) for s in told]
            rotation = torch.cat([s.rotation[row, at] for s, row, at in best])
            scale = torch.cat([s.scale[row, at] for s, row, at in best])
            kind = shapes(views, kind, told, mirror)
    return kind


def lift(kind: Kind, xy: Float[Tensor, "N K 2"], valid: Bool[Tensor, "N K"] | None = None) -> Lifted:
    """Shape, rotation and scale of views, each by itself."""
    dice = sight.Dice()
    with torch.no_grad(), full_precision(xy):
        parts = []
        for _, views in _parts(_views(xy, valid)):
            rotation, scale = sight.searched(views, kind, sight.STARTS, dice)
            parts.append(_expected(views, kind, sight.sampled(views, kind, rotation, scale, _LIFT, dice)))
    fields = Lifted.__dataclass_fields__
    return Lifted(**{name: torch.cat([getattr(part, name) for part in parts]) for name in fields})


def _views(xy: Tensor, valid: Tensor | None) -> Views:
    valid = torch.ones(xy.shape[:2], dtype=torch.bool, device=xy.device) if valid is None else valid
    return Views(xy=xy.masked_fill(~valid[..., None], 0.0), valid=valid)


def _parts(views: Views) -> Iterator[tuple[Tensor, Views]]:
    for rows in torch.arange(len(views), device=views.xy.device).split(_BATCH):
        yield rows, views[rows]


def _best(views: Views, kind: Kind, dice: sight.Dice) -> tuple[Tensor, Tensor]:
    found = [sight.searched(part, kind, sight.STARTS, dice) for _, part in _parts(views)]
    return torch.cat([r[:, 0] for r, _ in found]), torch.cat([s[:, 0] for _, s in found])


def _grown(views: Views, kind: Kind, rotation: Tensor, directions: int, partner: Tensor | None) -> Kind:
    """One direction after the other, each time with the best rotation of every view alone."""
    scale = rotation.new_ones(len(views))
    for count in range(directions + 1):
        if count:
            more = next_direction(views, kind, rotation, scale, partner)
            kind = replace(kind, basis=torch.cat([kind.basis, more]))
        for _ in range(_GROWTH):
            _, c, _ = sight.given(views, kind, rotation[:, None], scale[:, None])
            rotation, scale = sight.turned(views, kind, kind.shape(c[:, 0]), rotation, _VIEW_STEPS)
            kind = shapes(views, kind, [sight.alone(views, kind, rotation, scale)], partner)
    return kind


def _expected(views: Views, kind: Kind, told: Samples) -> Lifted:
    """The mean over the samples, and the covariance of each point about it."""
    turn = told.scale[..., None, None] * told.rotation
    each = torch.einsum("njkd,njad->njka", kind.shape(told.c), turn)
    xyz = torch.einsum("nj,njka->nka", told.weight, each)
    basis = torch.einsum("njab,skb->njska", turn, kind.basis)
    cov = torch.einsum("nj,njska,njst,njtkb->nkab", told.weight, basis, told.cov, basis)
    off = each - xyz[:, None]
    cov = cov + torch.einsum("nj,njka,njkb->nkab", told.weight, off, off)
    left = (views.xy - xyz[..., :2]) * views.valid[..., None]
    count = views.valid.sum(1).clamp_min(1)
    shift = left.sum(1) / count[:, None]
    error = sight.centred(views.xy - xyz[..., :2], views.valid).square().sum((1, 2)) / count
    row, best = torch.arange(len(views)), told.likely.argmax(1)
    return Lifted(
        xyz=xyz,
        cov=cov,
        shift=shift,
        view_from_kind=told.rotation[row, best],
        scale=told.scale[row, best],
        coefficients=told.c[row, best],
        error=error.sqrt(),
    )
