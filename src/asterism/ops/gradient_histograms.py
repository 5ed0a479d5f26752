"""Which way a picture brightens around a point, as histograms: SIFT's orientations and descriptors.

Lowe, "Distinctive Image Features from Scale-Invariant Keypoints", IJCV 2004, sections 5 and 6. A place is a
row (x, y, sigma, ..., angle) in pixels of a stack of L smoothed pictures of one size; `level` says which of
them it is seen in. Gradients are read between the pixels, at offsets that turn and grow with the place.
Descriptors end with the square root of their shares (Arandjelovic, Zisserman, "Three things everyone should
know to improve object retrieval", CVPR 2012).
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from asterism.ops.sampling import sample

CELLS, DIRECTIONS = 4, 8  # of a descriptor, to a side; of a histogram
_PER_CELL = 4  # samples to a side
_BINS = 36  # of the histogram of orientations
_MOST = 512  # places that are described at a time


def gradients(levels: Float[Tensor, "L H W"]) -> Float[Tensor, "L 2 H W"]:
    """Central differences along x and along y; the border is repeated outwards."""
    held = F.pad(levels[:, None], (1, 1, 1, 1), mode="replicate")
    dx, dy = held[..., 1:-1, 2:] - held[..., 1:-1, :-2], held[..., 2:, 1:-1] - held[..., :-2, 1:-1]
    return torch.cat([dx, dy], dim=1) / 2


def with_angles(
    slopes: Float[Tensor, "L 2 H W"],
    places: Float[Tensor, "M C"],
    level: Int[Tensor, " M"],
    peak: float | int = 0.8,
) -> tuple[Float[Tensor, "M2 C1"], Int[Tensor, " M2"]]:
    """Places with where they point to as a last column (radians, x towards y), and their levels.

    One whose second direction has at least `peak` of the first's weight is there twice.
    """
    if not len(places):
        return F.pad(places, (0, 1)), level
    grid = _square(18, 4.5, places)  # three times 1.5 sigma
    weight = (-grid.square().sum(-1) / (2 * 1.5**2)).exp()
    slope = _seen(slopes, places, level, grid * places[:, 2, None, None])
    turn = torch.atan2(slope[..., 1], slope[..., 0]) / (2 * math.pi) * _BINS
    low = turn.floor()
    share = turn - low
    heavy = weight * slope.norm(dim=-1)
    bins = places.new_zeros(len(places), _BINS)
    bins.scatter_add_(1, low.long() % _BINS, heavy * (1 - share))
    bins.scatter_add_(1, (low.long() + 1) % _BINS, heavy * share)
    for _ in range(2):  # binomial, 1 4 6 4 1 in all
        bins = (bins.roll(1, 1) + 2 * bins + bins.roll(-1, 1)) / 4
    before, after = bins.roll(1, 1), bins.roll(-1, 1)
    high = (bins > before) & (bins >= after) & (bins >= peak * bins.amax(1, keepdim=True))
    top = (before - after) / (2 * (before + after - 2 * bins)).clamp(max=-1e-12)
    angle = (torch.arange(_BINS, device=bins.device) + top) * 2 * math.pi / _BINS
    best = bins.masked_fill(~high, 0.0).topk(2, dim=1)
    row, rank = (best.values > 0).nonzero().unbind(1)
    return torch.cat([places[row], angle[row, best.indices[row, rank]][:, None]], dim=1), level[row]


def described(
    slopes: Float[Tensor, "L 2 H W"],
    places: Float[Tensor, "M C"],
    level: Int[Tensor, " M"],
    cell: float | int = 3.0,
    clip: float | int = 0.2,
) -> Float[Tensor, "M 128"]:
    """4 x 4 histograms of 8 directions, of length 1; the angle is the last column of `places`.

    `cell` is the side of a histogram's cell in sigmas; entries above `clip` are cut before the last scaling.
    """
    side = (CELLS + 1) * _PER_CELL
    grid = _square(side, (CELLS + 1) / 2, places)  # in cells
    weight = (-grid.square().sum(-1) / (2 * (CELLS / 2) ** 2)).exp()
    centre = torch.arange(CELLS, device=places.device, dtype=places.dtype) - (CELLS - 1) / 2
    near_x, near_y = ((1 - (grid[:, i, None] - centre).abs()).clamp(min=0) for i in (0, 1))
    near = (near_y[:, :, None] * near_x[:, None]).flatten(1) * weight[:, None]  # S 16
    direction = torch.arange(DIRECTIONS, device=places.device)
    out = [places.new_zeros(0, CELLS**2 * DIRECTIONS)]
    for part, here in zip(places.split(_MOST), level.split(_MOST)):
        angle, width = part[:, -1], cell * part[:, 2]
        cos, sin = angle.cos(), angle.sin()
        turn = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)  # M 2 2
        slope = _seen(slopes, part, here, grid @ (width[:, None, None] * turn).mT)
        towards = torch.atan2(slope[..., 1], slope[..., 0]) - angle[:, None]
        place = towards / (2 * math.pi) * DIRECTIONS  # in bins
        gap = (place[..., None] - direction + DIRECTIONS / 2) % DIRECTIONS - DIRECTIONS / 2
        share = (1 - gap.abs()).clamp(min=0) * slope.norm(dim=-1, keepdim=True)  # M S 8
        held = F.normalize((near.T @ share).flatten(1), dim=1).clamp(max=clip)
        out.append(F.normalize(held, p=1, dim=1).sqrt())
    return torch.cat(out)


def _seen(slopes: Tensor, places: Tensor, level: Tensor, offset: Float[Tensor, "M S 2"]) -> Tensor:
    """Gradients, M S 2, at offsets (pixels) from places."""
    out = torch.zeros_like(offset)
    for one in level.unique().tolist():
        rows = level == one
        xy = (places[rows, None, :2] + offset[rows]).flatten(0, 1)
        out[rows] = sample(slopes[one : one + 1], xy[None])[0].view(-1, *offset.shape[1:])
    return out


def _square(side: int, reach: float, like: Tensor) -> Float[Tensor, "S 2"]:
    """side x side places, evenly over -reach to reach, x first."""
    line = (torch.arange(side, device=like.device, dtype=like.dtype) + 0.5) / side * 2 - 1
    y, x = torch.meshgrid(line, line, indexing="ij")
    return reach * torch.stack([x, y], dim=-1).flatten(0, 1)
