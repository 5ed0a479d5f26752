"""Maps and part affinity fields of several people in one picture, and the weight of its regions.

Cao, Simon, Wei, Sheikh, Realtime Multi-Person 2D Pose Estimation using Part Affinity Fields, CVPR 2017: a
limb is drawn as the unit vector from its first part to its second on all cells near it; where limbs of one
kind overlap, their mean. Sizes of maps (h, w), `sigma` and `half_width` are in cells, `stride` is network
pixels per cell, points and boxes are in network pixels. Maps and fields share one grid: a cell is read at its
centre (in the authors' code the fields lie a little less than half a cell beside the maps).

Points that are not labelled may hold any number, NaN included: they are selected away first.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from asterism.geometry.coords import pixel_grid, uv_from_xy
from asterism.ops.heatmap import gaussian_maps


def people_maps(
    xy: Float[Tensor, "B P K 2"],
    labelled: Bool[Tensor, "B P K"],
    size: tuple[int, int],
    stride: int | float,
    sigma: int | float,
) -> Float[Tensor, "B K h w"]:
    """exp(-d^2 / 2 sigma^2) of the nearest labelled point of each kind: the largest of everybody's maps.

    The largest and not the sum or the mean, so that the peaks of people who stand close stay two.
    """
    b, p, k = labelled.shape
    here = torch.where(labelled[..., None], xy, 0.0)
    highest = xy.new_zeros(b, k, *size)
    for i in range(p):
        maps = gaussian_maps(here[:, i], size, stride, sigma)
        highest = torch.maximum(highest, maps * labelled[:, i, :, None, None])
    return highest


def with_background(maps: Float[Tensor, "B K h w"]) -> Float[Tensor, "B K1 h w"]:
    """One more channel, the last: 1 minus the highest of the others."""
    return torch.cat([maps, 1 - maps.amax(1, keepdim=True)], dim=1)


def limb_fields(
    xy: Float[Tensor, "B P K 2"],
    labelled: Bool[Tensor, "B P K"],
    limbs: Sequence[tuple[int, int]],
    size: tuple[int, int],
    stride: int | float,
    half_width: int | float,
) -> Float[Tensor, "B L2 h w"]:
    """Channels 2 l and 2 l + 1 hold x and y of the unit vector along limb l, 0 where no limb is near.

    A cell belongs to a limb when its centre is within `half_width` cells of the line between the two points:
    a band with round ends, so that a limb shorter than a cell still has cells. Over limbs of several people
    the mean of those that the cell belongs to. A limb needs both its points labelled and apart.
    """
    b = len(labelled)
    first, second = (torch.tensor([limb[i] for limb in limbs], dtype=torch.long) for i in (0, 1))
    uv = uv_from_xy(torch.where(labelled[..., None], xy, 0.0), stride)
    start, along = uv[:, :, first], uv[:, :, second] - uv[:, :, first]  # B P L 2
    there = labelled[:, :, first] & labelled[:, :, second] & (along.norm(dim=-1) > 0)
    picture, _, limb = there.nonzero().unbind(1)  # only limbs that are there are drawn
    near, unit = _bands(start[there], along[there], size, half_width)
    total = uv.new_zeros(b * len(limbs), 3, *size)  # x, y, how many
    one = torch.cat([unit, torch.ones_like(unit[:, :1])], dim=1)[..., None, None]
    total.index_add_(0, picture * len(limbs) + limb, near[:, None] * one)
    mean = total[:, :2] / total[:, 2:].clamp(min=1)
    return mean.reshape(b, 2 * len(limbs), *size)


def _bands(
    start: Float[Tensor, "N 2"], along: Float[Tensor, "N 2"], size: tuple[int, int], half_width: int | float
) -> tuple[Float[Tensor, "N h w"], Float[Tensor, "N 2"]]:
    """1 on the cells near each limb, and its unit vector."""
    length = along.norm(dim=-1)
    unit = along / length[:, None]
    x = torch.arange(size[1], device=start.device, dtype=start.dtype) - start[:, :1]  # N w
    y = torch.arange(size[0], device=start.device, dtype=start.dtype) - start[:, 1:]  # N h
    reached = (x * unit[:, :1])[:, None] + (y * unit[:, 1:])[:, :, None]
    across = (x * unit[:, 1:])[:, None] - (y * unit[:, :1])[:, :, None]
    beyond = reached - reached.clamp(min=0).minimum(length[:, None, None])
    return (beyond.square() + across.square() <= half_width**2).to(start.dtype), unit


def region_weight(
    boxes: Float[Tensor, "B P 4"], unlabelled: Bool[Tensor, "B P"], size: tuple[int, int]
) -> Float[Tensor, "B 1 H W"]:
    """W(p): 0 inside the boxes (x, y, width, height) of those who are there but have no label, else 1.

    A region outlined more closely than by a box is the caller's to make; this is what most files say.
    """
    grid = pixel_grid(size, like=boxes)[None, None]  # 1 1 H W 2
    low, extent = boxes[..., None, None, :2], boxes[..., None, None, 2:]
    inside = ((grid >= low) & (grid < low + extent)).all(-1) & unlabelled[..., None, None]
    return (~inside.any(1, keepdim=True)).to(boxes.dtype)


def cell_weight(counts: Float[Tensor, "B 1 H W"], size: tuple[int, int]) -> Float[Tensor, "B 1 h w"]:
    """The weight of each cell of maps of `size` (h, w): the mean over its pixels."""
    return F.adaptive_avg_pool2d(counts, size)
