"""A small detector that corrects a first guess by looking at the picture; `attach` learns it from few labels.

A U-Net sees the crop, what changed in it, and where the discovered points are. Its heatmaps are multiplied
with a Gaussian about the first guess, as wide as that guess is wrong on pictures it was not learned from: an
untrained network answers the guess, and a trained one need not search the whole picture. That is why twenty
labels are enough. Losses and augmentation are those of integral regression with heatmaps (X. Sun et al.,
Integral Human Pose Regression, ECCV 2018): cross-entropy against a Gaussian, and L1 on the map's mean.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from asterism.data import augment as augmenting
from asterism.geometry import affine
from asterism.geometry.coords import pixel_grid, uv_from_xy
from asterism.losses.heatmap import cross_entropy
from asterism.methods.base import Trainable
from asterism.nets.unet import UNet
from asterism.ops.heatmap import gaussian_maps, soft_argmax
from asterism.ops.sampling import crop
from asterism.types import Augment, Images, Keypoints2D, LabelledImages, Recipe

STRIDE = 2  # of the heatmaps
MARGIN = 1.5  # of the crops that are kept, so that turned and shifted views of them show real pixels


@dataclass(frozen=True, kw_only=True, repr=False)
class Guided(LabelledImages):
    """Labelled crops with the discovered points and the first guess, in network pixels."""

    points: Float[Tensor, "B P 2"]
    guess: Float[Tensor, "B K 2"]


@dataclass(frozen=True)
class RefinerConfig:
    """`sigma` of the target and `dot` of the drawn points are fractions of half the crop's shorter side."""

    n_keypoints: int = 3
    n_points: int = 8
    input_size: tuple[int, int] = (64, 64)
    widths: tuple[int, ...] = (24, 48, 64)
    sigma: float = 0.08
    dot: float = 0.11
    trust: float = 2.5  # how many times wider than the guess is wrong the Gaussian about it is
    gain: float = 2.0  # of a change before it saturates
    distance: float = 10.0  # weight of L1, in halves of the shorter side


@dataclass(frozen=True)
class Raw:
    logits: Float[Tensor, "B K h w"]
    xy: Float[Tensor, "B K 2"]  # network pixels
    cov: Float[Tensor, "B K 2 2"]
    prob: Float[Tensor, "B K h w"]


class Refiner(Trainable[Guided, Raw, Keypoints2D]):
    name = "refiner"
    family = "attached"
    paper = link = ""
    Config = RefinerConfig
    presets: ClassVar = dict.fromkeys(("paper", "small", "tiny"), RefinerConfig())
    takes = Guided
    gives = Keypoints2D
    learns_from = Guided
    recipe = Recipe(
        steps=600,
        batch_size=8,
        optimiser="adamw",
        lr=2e-3,
        weight_decay=0.01,
        schedule="cosine",
        warmup=0.05,
        clip=5.0,
        ema=0.98,
    )

    # Buffers, so that they are saved with the weights.
    error: Tensor  # K: how wrong the first guess is, network pixels
    peak: Tensor  # (): the usual largest change, to which changes are scaled

    def __init__(self, config: RefinerConfig) -> None:
        super().__init__(config)
        inputs = 4 * STRIDE**2 + config.n_points
        self.net = UNet(inputs, config.n_keypoints, widths=config.widths)
        with torch.no_grad():  # the first answer is the guess
            self.net.head.weight.mul_(0.3)
            if self.net.head.bias is not None:
                self.net.head.bias.zero_()
        self.register_buffer("error", torch.ones(config.n_keypoints))
        self.register_buffer("peak", torch.ones(()))

    @property
    def unit(self) -> float:
        return min(self.config.input_size) / 2

    @property
    def cells(self) -> float:
        """Standard deviation of the target, in cells."""
        return self.config.sigma * self.unit / STRIDE

    def forward(self, batch: Guided) -> Raw:
        image = torch.cat([batch.image, self._change(batch)], 1)
        h, w = image.shape[2:]
        whole = STRIDE * self.net.coarsest
        image = F.pixel_unshuffle(F.pad(image, (0, -w % whole, 0, -h % whole)), STRIDE)
        size = (image.shape[2], image.shape[3])
        dots = gaussian_maps(batch.points, size, STRIDE, self.config.dot * self.unit / STRIDE)
        logits = self.net(torch.cat([image, dots], 1)).float()
        logits = logits + self._near(batch.guess, logits)
        logits = logits[..., : -(-h // STRIDE), : -(-w // STRIDE)]
        xy, cov, prob = soft_argmax(logits, 1.0, STRIDE)
        return Raw(logits=logits, xy=xy, cov=cov, prob=prob)

    def _change(self, batch: Images) -> Float[Tensor, "B 1 H W"]:
        if batch.change is None:
            return torch.zeros_like(batch.image[:, :1])
        return (self.config.gain * batch.change / self.peak).clamp(0, 1)

    def _near(self, guess: Float[Tensor, "B K 2"], like: Tensor) -> Float[Tensor, "B K h w"]:
        """Logarithm of the Gaussian about the guess; never narrower than the target."""
        wide = (self.config.trust * self.error / STRIDE).clamp(min=self.cells)[:, None, None]
        grid = pixel_grid((like.shape[2], like.shape[3]), like=like)
        gap = grid - uv_from_xy(guess, STRIDE)[:, :, None, None]
        return -gap.square().sum(-1) / (2 * wide**2)

    def decode(self, raw: Raw, batch: Guided) -> Keypoints2D:
        """Means of the maps; the score is their sharpness."""
        turn = batch.to_source[:, None, :, :2]
        xy = affine.apply(batch.to_source, raw.xy)
        return Keypoints2D(xy=xy, score=self.sharpness(raw), cov=turn @ raw.cov @ turn.mT)

    def sharpness(self, raw: Raw) -> Float[Tensor, "B K"]:
        """1 for maps as sharp as the targets, less for wider ones."""
        return (raw.prob.flatten(2).amax(-1) * (2 * math.pi * self.cells**2)).clamp(0, 1)

    def loss(self, batch: Guided) -> dict[str, Tensor]:
        raw = self.forward(batch)
        size = (raw.logits.shape[2], raw.logits.shape[3])
        target = gaussian_maps(batch.xy, size, STRIDE, self.cells)
        gap = (raw.xy - batch.xy)[batch.labelled].abs()
        return {
            "map": cross_entropy(raw.logits, target, batch.labelled),
            "distance": self.config.distance * gap.sum() / (self.unit * max(gap.numel(), 1)),
        }


def augmentation(turned: bool) -> Augment:
    """Random changes of the training crops; objects that are looked at in their own frame are turned more."""
    return Augment(rotation=20.0 if turned else 10.0, scale=0.2, shift=0.06, brightness=0.3)


class GuidedSamples:
    """What a Refiner learns from: crops cut once with a margin, then turned, scaled and shifted each time."""

    def __init__(
        self,
        wide: Images,
        size: tuple[int, int],
        points: Float[np.ndarray, "N P 2"],
        guess: Float[np.ndarray, "N K 2"],
        xy: Float[np.ndarray, "N K 2"],
        labelled: Bool[np.ndarray, "N K"],
        augment: Augment,
        seed: int,
    ) -> None:
        self.layers = wide.image if wide.change is None else torch.cat([wide.image, wide.change], 1)
        self.size = size
        self.points, self.guess = (torch.from_numpy(each).float() for each in (points, guess))
        self.xy, self.labelled = torch.from_numpy(xy).float(), torch.from_numpy(labelled)
        self.augment = augment
        self.seed = seed

    def __len__(self) -> int:
        return len(self.xy)

    def __getitem__(self, key: tuple[int, int]) -> Guided:
        epoch, index = key
        (h, w), i = self.size, slice(index, index + 1)
        change = augmenting.draw(self.augment, self.size, np.random.default_rng([self.seed, epoch, index]))
        plain_from_view = augmenting.crop_from_changed(change, self.size, like=self.xy)
        view_from_plain = affine.inverse(plain_from_view)
        wide_from_view = plain_from_view.clone()
        margin = [(a - b) / 2 for a, b in zip(self.layers.shape[:1:-1], (w, h))]
        wide_from_view[..., 2] += self.xy.new_tensor(margin)
        view = crop(self.layers[i], wide_from_view, self.size)
        xy = affine.apply(view_from_plain, self.xy[i])
        inside = ((xy >= 0) & (xy <= self.xy.new_tensor([w - 1, h - 1]))).all(-1)
        labelled = self.labelled[i] & inside
        return Guided(
            image=augmenting.recolour(view[:, :3], change),
            to_source=affine.identity(1, like=view),
            change=view[:, 3:] if self.layers.shape[1] > 3 else None,
            xy=torch.where(labelled[..., None], xy, 0.0),
            labelled=labelled,
            visible=labelled,
            points=affine.apply(view_from_plain, self.points[i]),
            guess=affine.apply(view_from_plain, self.guess[i]),
        )


def usual_peak(change: Float[Tensor, "N 1 H W"] | None) -> float:
    """The usual largest change of a crop."""
    if change is None or not len(change):
        return 1.0
    return max(float(change.flatten(1).quantile(0.99, dim=1).median()), 0.02)
