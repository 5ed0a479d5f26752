"""The same model of shapes without depth, turned in the picture alone: what a lifting must beat.

Where views of solid shapes are told as well by flat ones that bend, nothing is known of depth.
"""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from asterism.geometry.nrsfm_shapes import next_direction, shapes
from asterism.geometry.nrsfm_start import filled
from asterism.geometry.nrsfm_views import Kind, Views, alone, centred, given, scaled
from asterism.geometry.precision import full_precision

_GROWTH, _SETTLE = 20, 20  # rounds after each direction; of a view whose kind is known


def learn_flat(
    xy: Float[Tensor, "N K 2"],
    directions: int,
    *,
    ridge: float,
    scale_sd: float,
    valid: Bool[Tensor, "N K"],
) -> Kind:
    """As nrsfm.learn; every third coordinate is zero."""
    with torch.no_grad(), full_precision(xy):
        views = Views(xy=xy.masked_fill(~valid[..., None], 0.0), valid=valid)
        whole = filled(views)
        first = int(valid.sum(1).argmax())
        mean = torch.cat([whole[first], whole.new_zeros(whole.shape[1], 1)], dim=-1)
        kind = Kind(mean=mean, basis=mean.new_zeros(0, *mean.shape), noise=ridge, scale_sd=scale_sd)
        rotation, scale = _turned(views, kind, kind.mean.expand(len(views), -1, -1))
        for count in range(directions + 1):
            if count:
                more = next_direction(views, kind, rotation, scale, None)
                kind = replace(kind, basis=torch.cat([kind.basis, more]))
            for _ in range(_GROWTH):
                kind = shapes(views, kind, [alone(views, kind, rotation, scale)], None)
                _, c, _ = given(views, kind, rotation[:, None], scale[:, None])
                rotation, scale = _turned(views, kind, kind.shape(c[:, 0]))
    return kind


def complete_flat(
    kind: Kind, xy: Float[Tensor, "N K 2"], valid: Bool[Tensor, "N K"]
) -> Float[Tensor, "N K 2"]:
    """All points of each view, also those that are not valid, where the flat shape has them."""
    with torch.no_grad(), full_precision(xy):
        views = Views(xy=xy.masked_fill(~valid[..., None], 0.0), valid=valid)
        xyz = kind.mean.expand(len(xy), -1, -1)
        rotation, scale = _turned(views, kind, xyz)
        for _ in range(_SETTLE):
            _, c, _ = given(views, kind, rotation[:, None], scale[:, None])
            xyz = kind.shape(c[:, 0])
            rotation, scale = _turned(views, kind, xyz)
        placed = scale[:, None, None] * xyz @ rotation[:, :2].mT
        count = valid.sum(1).clamp_min(1)[:, None, None]
        return placed + ((views.xy - placed) * valid[..., None]).sum(1, keepdim=True) / count


def _turned(views: Views, kind: Kind, xyz: Float[Tensor, "N K 3"]) -> tuple[Tensor, Tensor]:
    """Rotation in the picture and scale of least squared distance."""
    xy, there = centred(views.xy, views.valid), centred(xyz[..., :2], views.valid)
    along = (there * xy).sum((1, 2))
    across = (there[..., 0] * xy[..., 1] - there[..., 1] * xy[..., 0]).sum(1)
    angle = torch.atan2(across, along)
    rotation = torch.eye(3, dtype=xy.dtype, device=xy.device).repeat(len(xy), 1, 1)
    rotation[:, 0, 0] = rotation[:, 1, 1] = angle.cos()
    rotation[:, 1, 0], rotation[:, 0, 1] = angle.sin(), -angle.sin()
    firm = kind.noise / max(kind.scale_sd, 1e-9) ** 2
    return rotation, scaled(xy, there @ rotation[:, :2, :2].mT, firm)
