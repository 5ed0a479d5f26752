"""multicat-nrsfm: one network lifts points of many categories by a basis of shapes learned from views alone.

A view's points go through a network that tells how the thing is turned and how much of each shape of a basis
it is; their sum, turned, must lie where the points were seen. A second network, which sees shapes from any
side, must find the same coefficients again: then a shape cannot be told in two turns. Coefficients below a
learned cut-off are zero, so that each category uses shapes of its own. No label in space is used.

Can, Paudel, Probst, Van Gool, "End-to-End Learning of Multi-Category 3D Pose and Shape Estimation",
arXiv 2021, the lifter, which is that of Novotny, Ravi, Graham, Neverova, Vedaldi, "C3DPO: Canonical 3D Pose
Networks for Non-Rigid Structure From Motion", ICCV 2019. https://arxiv.org/abs/2112.10196

    factorisation network, turn and coefficients   -> _Trunk, forward
    shape as a sum over the basis, its subset      -> _shape
    cut-off of coefficients                        -> _cut
    reprojection, over the points that are seen    -> loss ("reprojection")
    canonicalisation under random turns            -> loss ("canonical")
    two turns in the picture (C3DPO's code)        -> loss

Departs from the paper:
- what is not described there is C3DPO's, with the values of its code. The cut-off is a guess from the
  abstract: relu(a - tau), tau learned for each shape; the preset "linear" has C3DPO's plain coefficients.
- no picture: the detector in front of the lifter, and its context, are left out.
- coefficients come from the second turn in the picture, the rotation from the first, as in C3DPO's code.
- views are moved to their seen points' middle, and to a root mean square distance of one where `scaled`.
- presets other than "paper" have narrower trunks, Adam, and in-plane turns of any angle.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from asterism.geometry import affine
from asterism.geometry.so3 import exp
from asterism.methods.base import Trainable
from asterism.types import Keypoints3D, Recipe, Views2D


@dataclass(frozen=True)
class MulticatNrsfmConfig:
    n_keypoints: int = 17
    basis: int = 10  # D, shapes
    width: int = 1024  # of the trunks
    narrow: int = 256  # inside of a block
    blocks: int = 6
    turned: float = math.pi / 8  # largest turn in the picture, radians
    turns: int = 4  # random rotations of a shape for the second network
    soft: float = 0.01  # of the pseudo-Huber distance
    canonical: float = 1.0  # weight
    cut: bool = True  # coefficients below a learned cut-off are zero
    scaled: bool = True  # views come to one size; otherwise their size counts


@dataclass(frozen=True)
class Raw:
    coefficients: Float[Tensor, "B D"]
    rotation: Float[Tensor, "B 3 3"]  # view from shape
    shape: Float[Tensor, "B K 3"]


class MulticatNrsfm(Trainable[Views2D, Raw, Keypoints3D]):
    name = "multicat-nrsfm"
    family = "lift3d"
    paper = "Can, Paudel, Probst, Van Gool, End-to-End Learning of Multi-Category 3D Pose and Shape Estimation, arXiv 2021"  # noqa: E501
    link = "https://arxiv.org/abs/2112.10196"
    Config = MulticatNrsfmConfig
    presets: ClassVar = {
        "paper": MulticatNrsfmConfig(),
        "linear": MulticatNrsfmConfig(cut=False),
        "small": MulticatNrsfmConfig(width=256, narrow=128, blocks=4, turned=math.pi, cut=False),
        "tiny": MulticatNrsfmConfig(n_keypoints=6, basis=3, width=32, narrow=16, blocks=1),
    }
    takes = Views2D
    gives = Keypoints3D
    learns_from = Views2D
    recipe = Recipe(steps=110_000, batch_size=1024, optimiser="sgd", lr=1e-3, schedule="steps")
    recipes: ClassVar = {
        "small": Recipe(steps=6000, batch_size=256, lr=1e-3, clip=1.0, schedule="cosine"),
        "tiny": Recipe(steps=50, batch_size=8),
    }

    def __init__(self, config: MulticatNrsfmConfig) -> None:
        super().__init__(config)
        c, k = config, config.n_keypoints
        self.factor = _Trunk(3 * k, c)
        self.coefficients, self.turn = nn.Linear(c.width, c.basis), nn.Linear(c.width, 3)
        self.again = _Trunk(3 * k, c)
        self.coefficients_again = nn.Linear(c.width, c.basis)
        self.shapes = nn.Linear(c.basis, 3 * k)  # its bias is the mean shape
        self.cut_off = nn.Parameter(torch.zeros(c.basis)) if c.cut else None
        for layer in (self.coefficients, self.turn, self.coefficients_again, self.shapes):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.shapes.bias, std=0.1)

    def forward(self, batch: Views2D) -> Raw:
        seen, _ = self._normal(batch)
        told = self._told(seen, batch)
        return self._raw(told, told, batch)

    def decode(self, raw: Raw, batch: Views2D) -> Keypoints3D:
        """In the view's frame and the picture's unit; seen points stay where they were seen, in x and y.
        Depth is about the middle of the category's points.
        """
        seen, (size, middle) = self._normal(batch)
        there = raw.shape @ raw.rotation.mT
        flat, depth = there[..., :2], there[..., 2:]
        left = (seen - flat) * batch.valid[..., None]
        count = batch.valid.sum(1).clamp_min(1)[:, None, None]
        flat = torch.where(batch.valid[..., None], seen, flat + left.sum(1, keepdim=True) / count)
        own = batch.part[..., None]
        depth = depth - (depth * own).sum(1, keepdim=True) / own.sum(1, keepdim=True).clamp_min(1)
        growth = torch.linalg.det(batch.to_source[:, :, :2]).abs().sqrt()[:, None, None]
        xy = affine.apply(batch.to_source, flat * size + middle)
        xyz = torch.cat([xy, depth * size * growth], dim=-1)
        return Keypoints3D(xyz=xyz.masked_fill(~own, 0.0), score=batch.part.to(xyz.dtype), valid=batch.part)

    def loss(self, batch: Views2D) -> dict[str, Tensor]:
        c, (seen, _) = self.config, self._normal(batch)
        spin = [_in_picture(len(batch), c.turned, seen) for _ in range(2)]
        told = [self._told(seen @ turn[:, :2, :2].mT, batch) for turn in spin]
        raw = self._raw(told[0], told[1], batch)
        placed = self._centred((raw.shape @ raw.rotation.mT)[..., :2], batch)
        wanted = self._centred(seen @ spin[0][:, :2, :2].mT, batch)
        off = _soft(placed - wanted, c.soft) * batch.valid
        terms = {"reprojection": off.sum() / batch.valid.sum().clamp_min(1)}
        return terms | {"canonical": c.canonical * self._canonical(raw, batch)}

    def _canonical(self, raw: Raw, batch: Views2D) -> Tensor:
        """How far the shape is from that which the second network sees in it, turned at random."""
        c, own = self.config, batch.part[..., None]
        shape = raw.shape.repeat(c.turns, 1, 1)
        own, part = own.repeat(c.turns, 1, 1), batch.part.repeat(c.turns, 1)
        turn = _anyhow(len(shape), shape)
        trunk = self.again(torch.cat([(shape @ turn.mT * own).flatten(1)], dim=1))
        again = self._shape(self._cut(self.coefficients_again(trunk)), part)
        off = _soft(again - shape, c.soft) * part
        return off.sum() / part.sum().clamp_min(1)

    def _told(self, seen: Float[Tensor, "B K 2"], batch: Views2D) -> Float[Tensor, "B W"]:
        kept = batch.valid.to(seen.dtype)
        return self.factor(torch.cat([(seen * kept[..., None]).flatten(1), kept], dim=1))

    def _raw(self, first: Tensor, second: Tensor, batch: Views2D) -> Raw:
        coefficients = self._cut(self.coefficients(second))
        return Raw(
            coefficients=coefficients,
            rotation=exp(self.turn(first)),
            shape=self._shape(coefficients, batch.part),
        )

    def _cut(self, told: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        return told if self.cut_off is None else (told - self.cut_off).relu()

    def _shape(self, coefficients: Float[Tensor, "B D"], part: Tensor) -> Float[Tensor, "B K 3"]:
        """About the middle of the category's own points; zero elsewhere."""
        own = part[..., None]
        shape = self.shapes(coefficients).unflatten(1, (-1, 3)) * own
        return (shape - shape.sum(1, keepdim=True) / own.sum(1, keepdim=True).clamp_min(1)) * own

    def _normal(self, batch: Views2D) -> tuple[Float[Tensor, "B K 2"], tuple[Tensor, Tensor]]:
        """Points about their middle, of size one where views are scaled; and size and middle, "B 1 _"."""
        kept = batch.valid[..., None]
        xy = batch.xy.masked_fill(~kept, 0.0)
        count = kept.sum(1, keepdim=True).clamp_min(1)
        middle = xy.sum(1, keepdim=True) / count
        off = (xy - middle) * kept
        size = (off.square().sum((1, 2), keepdim=True) / count).sqrt()
        size = size.clamp_min(1e-12) if self.config.scaled else torch.ones_like(size)
        return off / size, (size, middle)

    def _centred(self, xy: Float[Tensor, "B K 2"], batch: Views2D) -> Float[Tensor, "B K 2"]:
        kept = batch.valid[..., None]
        return xy - (xy * kept).sum(1, keepdim=True) / kept.sum(1, keepdim=True).clamp_min(1)


class _Trunk(nn.Module):
    """A layer of points, and blocks that go through fewer numbers and back."""

    def __init__(self, channels: int, c: MulticatNrsfmConfig) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(channels, c.width), nn.BatchNorm1d(c.width), nn.ReLU())
        self.blocks = nn.ModuleList(_block(c.width, c.narrow) for _ in range(c.blocks))

    def forward(self, told: Float[Tensor, "B C"]) -> Float[Tensor, "B W"]:
        held = self.first(told)
        for block in self.blocks:
            held = (held + block(held)).relu()
        return held


def _block(width: int, narrow: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in ((width, narrow), (narrow, narrow), (narrow, width)):
        layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _soft(off: Float[Tensor, "B K D"], soft: float) -> Float[Tensor, "B K"]:
    """The pseudo-Huber distance: straight where far, round where near."""
    return ((1 + off.square().sum(-1) / soft**2).sqrt() - 1) * soft


def _in_picture(count: int, most: float, like: Tensor) -> Float[Tensor, "B 3 3"]:
    angle = most * (2 * torch.rand(count, 1, device=like.device, dtype=like.dtype) - 1)
    return exp(angle * torch.tensor([0.0, 0.0, 1.0], device=like.device, dtype=like.dtype))


def _anyhow(count: int, like: Tensor) -> Float[Tensor, "B 3 3"]:
    """Rotations, uniform over all: the frames of Gaussian pairs of vectors."""
    a, b = torch.randn(2, count, 3, device=like.device, dtype=like.dtype)
    x = nn.functional.normalize(a, dim=1)
    z = nn.functional.normalize(torch.linalg.cross(x, b), dim=1)
    return torch.stack([x, torch.linalg.cross(z, x), z], dim=1)
