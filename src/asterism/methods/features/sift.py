"""sift: blobs that stay where they are at every scale, told apart by which way the picture brightens there.

Differences of Gaussians of growing width are searched for points that exceed all their neighbours in place
and in width; each is moved to where a parabola has its top, and dropped where it is faint or lies on an edge.
What is near to it, seen at its own width and turned to where most of it points, becomes sixteen histograms.

Lowe, "Distinctive Image Features from Scale-Invariant Keypoints", IJCV 2004.
https://doi.org/10.1023/B:VISI.0000029664.99615.94

    section 3, scale space, extrema over 26 neighbours      -> _octaves, _extrema
    equations 2 and 3, the parabola's top                   -> _refined
    section 4.1, the ratio of curvatures                    -> _refined
    section 5, orientations                                 -> ops.gradient_histograms.with_angles
    section 6, 4 x 4 histograms of 8 directions             -> ops.gradient_histograms.described

Departs from the paper:
- descriptors end with the square root of their shares (Arandjelovic, Zisserman, "Three things everyone should
  know to improve object retrieval", CVPR 2012): Euclidean distances are then Hellinger's.
- gradients are read between the pixels, at places that turn and grow with the feature, four to a cell's side.
- a feature has at most two directions.
- the threshold of contrast is divided by the number of levels, as is common (OpenCV), because levels that are
  nearer to each other differ less.
- the features of an image are the best `n_keypoints` by contrast; the paper keeps all.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from asterism.geometry import affine
from asterism.geometry.coords import xy_from_xyn, xyn_from_xy
from asterism.methods.base import Method
from asterism.ops.corners import blur
from asterism.ops.gradient_histograms import described, gradients, with_angles
from asterism.types import Features, Images

_LEAST = 16  # pixels: the smaller side of the last octave, at least
_BORDER = 5  # pixels of an octave in which nothing is found
_STEPS, _FAR = 4, 0.6  # of a point towards the top of its parabola; how far that may be in the end
_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True)
class SiftConfig:
    """The paper's values; lengths in pixels of the image before it is doubled, sigma after."""

    n_keypoints: int = 2048
    input_size: tuple[int, int] = (1200, 1600)  # larger pictures are shrunk to fit
    levels: int = 3  # of an octave, s
    sigma: float = 1.6  # of the first Gaussian
    blur: float = 0.5  # that the picture is thought to have
    contrast: float = 0.04  # least, of pictures from 0 to 1, times the number of levels
    edge: float = 10.0  # greatest ratio of the two curvatures, r
    peak: float = 0.8  # of the greatest: a second direction
    cell: float = 3.0  # of a descriptor, in sigmas
    clip: float = 0.2  # of a descriptor's entries
    upright: bool = False  # every feature points along x: for pictures that are not turned


Octave = Float[Tensor, "_ _ _ _"]  # pictures, Gaussians of growing width, and half the size of the one before


class Sift(Method[Images, list[Octave], Features]):
    name = "sift"
    family = "features"
    paper = "Lowe, Distinctive Image Features from Scale-Invariant Keypoints, IJCV 2004"
    link = "https://doi.org/10.1023/B:VISI.0000029664.99615.94"
    Config = SiftConfig
    presets: ClassVar = {
        "paper": SiftConfig(),
        "small": SiftConfig(),
        "tiny": SiftConfig(n_keypoints=6, input_size=(48, 64)),
    }
    takes = Images
    gives = Features

    def forward(self, batch: Images) -> list[Octave]:
        return _octaves(batch.image, self.config)

    def decode(self, raw: list[Octave], batch: Images) -> Features:
        found = [self._features([octave[i] for octave in raw]) for i in range(len(batch))]
        xy, score, valid, scale, angle, told = (torch.stack(part) for part in zip(*found))
        matrix = batch.to_source
        linear = matrix[:, :, :2]
        growth = torch.linalg.det(linear).abs().sqrt()[:, None]
        along = torch.stack([angle.cos(), angle.sin()], dim=-1) @ linear.mT
        return Features(
            xy=affine.apply(matrix, xy).masked_fill(~valid[..., None], 0.0),
            score=score,
            valid=valid,
            scale=scale * growth,
            angle=torch.atan2(along[..., 1], along[..., 0]).masked_fill(~valid, 0.0),
            descriptor=told,
        )

    def _features(self, octaves: list[Float[Tensor, "_ _ _"]]) -> tuple[Tensor, ...]:
        """Of one picture, padded to n_keypoints: xy, score, valid, scale, angle, descriptor."""
        c, n = self.config, self.config.n_keypoints
        points = [_extrema(octave, c) for octave in octaves]
        best = torch.cat([p[:, 3] for p in points]).argsort(descending=True, stable=True)[:n]
        kept = torch.zeros(sum(map(len, points)), dtype=torch.bool, device=best.device)
        kept[best] = True
        rows, told = [], []
        for o, (octave, here, on) in enumerate(zip(octaves, points, kept.split([len(p) for p in points]))):
            slopes, spots = gradients(octave), here[on]
            level = (c.levels * (spots[:, 2] / c.sigma).log2()).round().long().clamp(0, len(octave) - 1)
            turned = F.pad(spots, (0, 1))
            if not c.upright:
                turned, level = with_angles(slopes, spots, level, c.peak)
            told.append(described(slopes, turned, level, c.cell, c.clip))
            x, y, sigma, contrast, angle = turned.unbind(1)
            pixel = 2.0**o / 2  # of the doubled picture's octave, in pixels of the picture
            rows.append(torch.stack([x * 2**o, y * 2**o, contrast.clamp(max=1), sigma * pixel, angle], dim=1))
        row, desc = torch.cat(rows), torch.cat(told)
        order = row[:, 2].argsort(descending=True, stable=True)[:n]
        row, desc = (F.pad(part[order], (0, 0, 0, n - len(order))) for part in (row, desc))
        valid = torch.arange(n, device=row.device) < len(order)
        doubled = (octaves[0].shape[1], octaves[0].shape[2])
        xy = xy_from_xyn(xyn_from_xy(row[:, :2], doubled), (doubled[0] // 2, doubled[1] // 2))
        return xy, row[:, 2], valid, row[:, 3], row[:, 4], desc


def _octaves(image: Float[Tensor, "B 3 H W"], c: SiftConfig) -> list[Octave]:
    """Levels + 3 Gaussians each; the first octave is of the picture at twice its size."""
    grey = torch.einsum("bchw,c->bhw", image, image.new_tensor(_GREY))[:, None]
    held = F.interpolate(grey, scale_factor=2, mode="bilinear")
    held = blur(held, math.sqrt(max(c.sigma**2 - (2 * c.blur) ** 2, 0.01)))
    growth, octaves = 2 ** (1 / c.levels), []
    while True:
        levels = [held]
        for i in range(1, c.levels + 3):
            wide = c.sigma * growth ** (i - 1)
            levels.append(blur(levels[-1], wide * math.sqrt(growth**2 - 1)))
        octaves.append(torch.cat(levels, dim=1))
        if min(held.shape[2:]) < 2 * _LEAST:
            return octaves
        held = levels[c.levels][..., ::2, ::2]


def _extrema(octave: Float[Tensor, "L H W"], c: SiftConfig) -> Float[Tensor, "M 4"]:
    """x, y and sigma in pixels of the octave, and contrast, of points of the differences of Gaussians."""
    found = octave[1:] - octave[:-1]
    least = c.contrast / c.levels
    some = torch.zeros_like(found, dtype=torch.bool)
    middle, inner = found[1:-1, 1:-1, 1:-1], some[1:-1, 1:-1, 1:-1]
    for sign in (1, -1):
        inner |= (sign * middle == _greatest(sign * found)) & (sign * middle > 0.5 * least)
    some[:, :_BORDER], some[:, -_BORDER:] = False, False
    some[:, :, :_BORDER], some[:, :, -_BORDER:] = False, False
    return _refined(found, some.nonzero(), c)


def _greatest(held: Tensor) -> Tensor:
    """Of each point and its 26 neighbours, without the border."""
    for dim in range(3):
        first, middle, last = (held.narrow(dim, i, held.shape[dim] - 2) for i in range(3))
        held = torch.maximum(torch.maximum(first, middle), last)
    return held


def _refined(found: Float[Tensor, "L H W"], at: Tensor, c: SiftConfig) -> Float[Tensor, "M 4"]:
    """Points moved to the top of their parabolas, without the faint ones and those on edges."""
    low = at.new_tensor([1, _BORDER, _BORDER])
    high = at.new_tensor(found.shape) - 1 - low
    for _ in range(_STEPS):
        move = _top(*_parabola(found, at)[1:])
        far = (move.abs() > _FAR).any(1)
        at = torch.where(far[:, None], at + move.clamp(-1, 1).round().long(), at)
        at = at[((at >= low) & (at <= high)).all(1)]
    value, slope, curve = _parabola(found, at)
    move = _top(slope, curve)
    contrast = (value + (slope * move).sum(1) / 2).abs()
    trace = curve[:, 1, 1] + curve[:, 2, 2]
    det = curve[:, 1, 1] * curve[:, 2, 2] - curve[:, 1, 2] ** 2
    kept = (move.abs() <= _FAR).all(1) & (contrast >= c.contrast / c.levels)
    kept &= (det > 0) & (trace**2 * c.edge < (c.edge + 1) ** 2 * det)
    place = (at + move)[kept]
    sigma = c.sigma * 2 ** (place[:, 0] / c.levels)
    rows = torch.stack([place[:, 2], place[:, 1], sigma, contrast[kept]], dim=1)
    flat = (at[kept] * at.new_tensor([found[0].numel(), found.shape[2], 1])).sum(1)
    _, first = torch.unique(flat, return_inverse=True)  # two that have moved to one place are one
    alone = torch.full((len(flat),), len(flat), device=at.device).scatter_reduce(
        0, first, torch.arange(len(flat), device=at.device), "amin"
    )
    return rows[alone[alone < len(flat)]]


def _top(slope: Float[Tensor, "M 3"], curve: Float[Tensor, "M 3 3"]) -> Float[Tensor, "M 3"]:
    """How far the top is; very far where there is none."""
    firm = 1e-12 * torch.eye(3, device=curve.device)
    move = -torch.linalg.solve_ex(curve + firm, slope[..., None])[0][..., 0]
    return move.nan_to_num(9.0, 9.0, -9.0)


def _parabola(found: Float[Tensor, "L H W"], at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Value, slope "M 3" and curvature "M 3 3" (level, y, x) by differences."""
    step = torch.eye(3, dtype=torch.long, device=at.device)

    def here(*move: Tensor) -> Tensor:
        s, y, x = (at + sum(move)).unbind(1)
        return found[s, y, x]

    value = found[tuple(at.unbind(1))]
    ahead, back = ([here(sign * e) for e in step] for sign in (1, -1))
    slope = torch.stack([(a - b) / 2 for a, b in zip(ahead, back)], dim=1)
    curve = slope.new_zeros(len(at), 3, 3)
    for i in range(3):
        curve[:, i, i] = ahead[i] + back[i] - 2 * value
        for j in range(i):
            mixed = here(step[i], step[j]) + here(-step[i], -step[j])
            mixed = mixed - here(step[i], -step[j]) - here(-step[i], step[j])
            curve[:, i, j] = curve[:, j, i] = mixed / 4
    return value, slope, curve
