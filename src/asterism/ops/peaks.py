"""Peaks of maps: the highest cell, all local maxima, and the fraction of a cell by which the top is off.

Everything is in cells (uv) of the map; heatmap.py turns cells into pixels.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

# Further than half a cell from its centre, the top would belong to the next cell.
REACH = 0.5


def highest(maps: Float[Tensor, "B K h w"]) -> tuple[Float[Tensor, "B K 2"], Float[Tensor, "B K"]]:
    """uv of the highest cell of each map and its value. Of equal cells, the first."""
    value, index = maps.flatten(2).max(-1)
    return _uv(index, maps.shape[-1], maps), value


def local_maxima(
    maps: Float[Tensor, "B K h w"], *, threshold: float, radius: int, most: int
) -> tuple[Float[Tensor, "B K P 2"], Float[Tensor, "B K P"], Bool[Tensor, "B K P"]]:
    """Cells above `threshold` that nothing within `radius` cells (a square) exceeds: uv, value, valid.

    At most `most` per map, highest first; rows beyond those found are invalid with value 0. Of a plateau of
    equal cells within reach of each other, the first one is kept.
    """
    h, w = maps.shape[-2:]
    top = (maps == _greatest(maps, radius)) & (maps > threshold)
    first = -torch.arange(h * w, device=maps.device, dtype=torch.float64).unflatten(0, (h, w))
    rank = torch.where(top, first, -torch.inf)
    top &= rank == _greatest(rank, radius)
    value, index = torch.where(top, maps, -torch.inf).flatten(2).topk(min(most, h * w), dim=-1)
    valid = value > -torch.inf
    return _uv(index, w, maps), torch.where(valid, value, 0.0), valid


def refine(maps: Float[Tensor, "B K h w"], uv: Float[Tensor, "B K 2"]) -> Float[Tensor, "B K 2"]:
    """The top of the parabola through the 3x3 cells around uv (whole numbers), at most REACH away.

    Exact when the map is quadratic there, as the logarithm of a Gaussian is. On the border of the map the
    parabola is fitted one cell further in. Where it has no top (flat, saddle, fewer than 3 cells), uv stays.
    """
    h, w = maps.shape[-2:]
    if min(h, w) < 3:
        return uv
    limit = uv.new_tensor([w - 2, h - 2])
    centre = torch.minimum(uv.clamp(min=1), limit)
    n = _neighbours(maps, centre)  # B K 3 3
    g_x, g_y = (n[..., 1, 2] - n[..., 1, 0]) / 2, (n[..., 2, 1] - n[..., 0, 1]) / 2
    g_xx = n[..., 1, 2] - 2 * n[..., 1, 1] + n[..., 1, 0]
    g_yy = n[..., 2, 1] - 2 * n[..., 1, 1] + n[..., 0, 1]
    g_xy = (n[..., 2, 2] - n[..., 2, 0] - n[..., 0, 2] + n[..., 0, 0]) / 4
    det = g_xx * g_yy - g_xy.square()
    has_top = (g_xx < 0) & (det > torch.finfo(maps.dtype).tiny)
    det = torch.where(has_top, det, 1.0)
    step = torch.stack([g_xy * g_y - g_yy * g_x, g_xy * g_x - g_xx * g_y], dim=-1) / det[..., None]
    off = (centre + step - uv).clamp(-REACH, REACH)
    return uv + torch.where(has_top[..., None], off, 0.0)


def _greatest(maps: Float[Tensor, "B K h w"], radius: int) -> Float[Tensor, "B K h w"]:
    """The highest value within `radius` cells of each: along rows, then along columns, which costs less."""
    along = F.max_pool2d(maps, (1, 2 * radius + 1), 1, (0, radius))
    return F.max_pool2d(along, (2 * radius + 1, 1), 1, (radius, 0))


def _neighbours(maps: Float[Tensor, "B K h w"], centre: Float[Tensor, "B K 2"]) -> Float[Tensor, "B K 3 3"]:
    """The 3x3 cells around centres that are not on the border."""
    w = maps.shape[-1]
    side = torch.arange(-1, 2, device=maps.device)
    around = (side[:, None] * w + side).flatten()  # 9
    index = (centre[..., 1] * w + centre[..., 0]).long()[..., None] + around
    return maps.flatten(2).gather(-1, index).unflatten(-1, (3, 3))


def _uv(index: Tensor, w: int, like: Tensor) -> Tensor:
    return torch.stack([index % w, index // w], dim=-1).to(like.dtype)
