"""imm: where things are from one view, what they look like from another, and together they are the picture.

A picture is redrawn from the appearance of a second view of the same object and from K points of its own. The
points are all that may tell the renderer where things have gone, and they are too few to carry colours: so
they settle on parts. The second view is another frame of the clip or, for single pictures, a random
thin-plate spline of it.

Tomas Jakab, Ankush Gupta, Hakan Bilen, Andrea Vedaldi, Unsupervised Learning of Object Landmarks through
Conditional Image Generation, NeurIPS 2018, https://arxiv.org/abs/1806.07823.

    section 3.1, pose of K points, softmax of the marginals    -> ops.readout.marginal_softmax, in forward
    section 3.1, Gaussians around the points                   -> _gaussians
    section 3.1, generator from appearance and points          -> draw
    section 3.2, perceptual loss, terms balanced as they go    -> _features_cost, losses.reconstruction
    section 4, pairs from a clip or from two splines           -> _pair

Departs from the paper:
- the perceptual network (a VGG-16 trained to colour pictures) cannot be shipped. `reconstruction` chooses
  what stands in for it: the picture itself ("l1", at three scales), its "gradient", its structure ("ssim"),
  features of a frozen random network ("pyramid") or of a slow copy of the detector ("self"). The small
  presets take "ssim": after 45 seconds in the frames of generated animals, one seed, errors from 50 labels
  are 4.7 px with it, 5.4 with "l1" and 5.7 to 5.9 with the others (bench/landmark_losses.py).
- GroupNorm, not batch normalisation; convolutions that halve are 4x4 (nets.ladder). Gaussians are drawn on
  the map that the renderer starts from and nowhere else, as the public code has it.
- splines are a displacement of control points and uniform similarities, of about the standard deviations of
  the public code's normal coefficients. The loss counts the pixels that the spline shows, with a sharp edge,
  where the public code fades a fixed margin out. The public code's weight decay is left out.
- the two frames of a clip are drawn in either order, without a spline on top.
- cures that the paper has not, off in its preset: every point starts in a Gaussian about a place of its own
  (`start_reach`), which is let go by `start_until` of the training, since logits that are all alike put every
  point into the middle; `beta`, because the mean over a map's row makes logits small; and both frames of a
  clip are seen in one random similarity (`view_*`), because a user's clip is short.
- the score (1 less the spread of the map, as a share of a flat map's) and the covariance are ours.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import sqrt
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from asterism.geometry import affine
from asterism.geometry.warp import Inverse
from asterism.losses import reconstruction
from asterism.methods.base import Trainable
from asterism.nets.averaged import follow, frozen_copy
from asterism.nets.ladder import Ladder, Renderer
from asterism.nets.random_pyramid import RandomPyramid
from asterism.ops.heatmap import gaussian_maps
from asterism.ops.places import farness, hold_left, jittered, keypoints_by_spread
from asterism.ops.readout import Readout, marginal_softmax
from asterism.ops.sampling import valid_pixels, warp_image
from asterism.ops.views import Bend, random_similarity, random_spline, seen_alike, two_frames
from asterism.types import Clips, Images, Keypoints2D, Recipe

FEATURES = ("pyramid", "self")


# Shifts are uniform, with the standard deviation of 0.1 of half the side that the public code has.
TARGET = Bend(grid=10, displacement=0.02, rotation=0.0, scale=0.0, shift=0.087)
SOURCE = Bend(grid=10, displacement=0.04, rotation=8.7, scale=0.17, shift=0.087)


@dataclass(frozen=True)
class ImmConfig:
    """`sigma` and `start_reach` are fractions of half the shorter side."""

    n_keypoints: int = 10
    input_size: tuple[int, int] = (128, 128)
    widths: tuple[int, ...] = (32, 64, 128, 256)  # of encoders and renderer, per halving
    fold: int = 1  # blocks of pixels that become channels before the first convolution
    sigma: float = 0.1  # the Gaussian is exp(-d^2 / sigma^2): no half
    beta: float = 1.0  # sharpness of the marginals' softmax
    reconstruction: str = "pyramid"
    decay: float = 0.99  # of the terms' usual sizes and of the slow copy of the detector
    target: Bend = TARGET  # from the picture to what is redrawn
    source: Bend = SOURCE  # and on to what gives its colours
    view_rotation: float = 0.0  # of both frames of a clip alike
    view_scale: float = 0.0
    view_shift: float = 0.0
    start_reach: float = 0.2
    start_until: float = 0.0  # of the training; 0 holds nothing


@dataclass(frozen=True)
class Pair:
    """Two views, and how much each pixel of the target counts (None: all of them)."""

    source: Float[Tensor, "B 3 H W"]
    target: Float[Tensor, "B 3 H W"]
    weight: Float[Tensor, "B 1 H W"] | None


class Imm(Trainable[Images, Readout, Keypoints2D]):
    name = "imm"
    family = "landmarks"
    paper = (
        "Jakab, Gupta, Bilen, Vedaldi, Unsupervised Learning of Object Landmarks through Conditional Image "
        "Generation, NeurIPS 2018"
    )
    link = "https://arxiv.org/abs/1806.07823"
    Config = ImmConfig
    presets: ClassVar = {"paper": ImmConfig()}
    presets["small"] = ImmConfig(
        n_keypoints=8,
        input_size=(64, 64),
        widths=(16, 32),
        fold=2,
        beta=8.0,
        reconstruction="ssim",
        target=replace(TARGET, grid=4),
        source=replace(SOURCE, grid=4),
        view_rotation=10.0,
        view_scale=0.1,
        view_shift=0.1,
        start_until=0.25,
    )
    presets["whole"] = replace(presets["small"], input_size=(96, 96), start_reach=0.1)
    presets["tiny"] = replace(
        presets["small"],
        n_keypoints=3,
        input_size=(32, 32),
        widths=(8, 16),
        sigma=0.2,  # 0.57 cells, as in the others
        view_rotation=0.0,
        view_scale=0.0,
        view_shift=0.0,
    )
    takes = Images
    gives = Keypoints2D
    learns_from = Clips
    clip_length = 2
    recipe = Recipe(steps=150_000, batch_size=50, lr=1e-3, schedule="constant", clip=1.0)
    _quick = Recipe(steps=1500, batch_size=16, lr=2e-3, schedule="cosine", warmup=0.03, clip=1.0, ema=0.98)
    recipes: ClassVar = {"small": _quick, "whole": _quick}

    # Buffers, so that they are saved and move with the weights.
    start: Tensor  # K 2: where each point starts, network pixels
    hold: Tensor  # (): how strongly it is held there
    usual: Tensor  # L: the usual size of each term of the features' cost

    def __init__(self, config: ImmConfig) -> None:
        super().__init__(config)
        if config.reconstruction not in COSTS:
            known = ", ".join(COSTS)
            raise ValueError(f"reconstruction: wanted one of {known}, got {config.reconstruction}")
        c, k = config, config.n_keypoints
        self.appearance = Ladder(3, c.widths, fold=c.fold)
        self.pose = Ladder(3, c.widths, fold=c.fold)
        self.head = nn.Conv2d(c.widths[-1], k, 1)
        self.renderer = Renderer(c.widths[-1] + k, 3, c.widths, fold=c.fold)
        self.random = RandomPyramid() if c.reconstruction == "pyramid" else None
        self.slow = frozen_copy(self.pose) if c.reconstruction == "self" else None
        terms = {"pyramid": 4, "self": 1 + len(c.widths)}.get(c.reconstruction, 0)
        self.register_buffer("usual", torch.zeros(terms))
        self.register_buffer("start", jittered(k, c.input_size))
        self.register_buffer("hold", torch.tensor(float(c.start_until > 0)))

    @property
    def unit(self) -> float:
        """Half the shorter side, in network pixels."""
        return min(self.config.input_size) / 2

    # --------------------------------------------------------------------------------------- three verbs

    def forward(self, batch: Images) -> Readout:
        logits = self.head(self.pose(batch.image)).float()
        stride, beta = self.pose.stride, self.config.beta
        far = farness(
            self.start, (logits.shape[2], logits.shape[3]), stride, self.config.start_reach * self.unit
        )
        return marginal_softmax(logits - self.hold / beta * far, beta, stride)

    def decode(self, raw: Readout, batch: Images) -> Keypoints2D:
        """Means of the maps; the score is 1 less the spread, as a share of that of a flat map."""
        return keypoints_by_spread(raw, batch)

    def loss(self, batch: Clips) -> dict[str, Tensor]:
        pair = self._pair(batch)
        drawn = self.draw(pair.source, pair.target)
        return {"reconstruction": COSTS[self.config.reconstruction](self, drawn, pair)}

    # ------------------------------------------------------------------------------------------ the parts

    def draw(
        self, source: Float[Tensor, "B 3 H W"], target: Float[Tensor, "B 3 H W"]
    ) -> Float[Tensor, "B 3 H W"]:
        """The target, from the source's appearance and the target's points alone."""
        still = affine.identity(len(target), like=target)
        found = self.forward(Images(image=target, to_source=still))
        return self.render(self.appearance(source), found.xy)

    def render(self, look: Float[Tensor, "B F h w"], xy: Float[Tensor, "B K 2"]) -> Float[Tensor, "B 3 H W"]:
        return self.renderer(torch.cat([look, self._gaussians(xy, (look.shape[2], look.shape[3]))], dim=1))

    def _gaussians(self, xy: Float[Tensor, "B K 2"], size: tuple[int, int]) -> Float[Tensor, "B K h w"]:
        sigma = self.config.sigma * self.unit / sqrt(2)  # exp(-d^2 / s^2) has the deviation s / sqrt 2
        return gaussian_maps(xy, size, self.pose.stride, sigma / self.pose.stride)

    def _pair(self, batch: Clips) -> Pair:
        """Two different frames in either order; of a single picture, its bent view and that one's."""
        if batch.image.shape[1] > 1:
            return self._frames(batch)
        image = batch.image[:, 0]
        first, second = (
            Inverse(random_spline(bend, image)) for bend in (self.config.target, self.config.source)
        )
        target = warp_image(image, first)
        shown = valid_pixels(first, (image.shape[2], image.shape[3]), like=image)
        return Pair(source=warp_image(target, second), target=target, weight=shown[:, None].to(image))

    def _features_cost(self, drawn: Tensor, pair: Pair) -> Tensor:
        """Squared differences of features, each level over its own usual size."""
        if self.slow is not None:
            if self.training:
                follow(self.slow, self.pose, self.config.decay)
            slow = self.slow
            found, wanted = [drawn, *slow.features(drawn)], [pair.target, *slow.features(pair.target)]
        else:
            assert self.random is not None
            found, wanted = self.random(drawn), self.random(pair.target)
        costs = reconstruction.feature_costs(found, wanted, pair.weight)
        if self.training:
            self.usual.copy_(reconstruction.running_mean(self.usual, costs, self.config.decay))
        return reconstruction.balanced(costs, self.usual)

    # ----------------------------------------------------------------------------------------- the cures

    def _frames(self, batch: Clips) -> Pair:
        """Two different frames in either order, in one random view."""
        c = self.config
        source, target = two_frames(batch.image)
        if max(c.view_rotation, c.view_scale, c.view_shift) > 0:
            view = random_similarity(
                len(source),
                (source.shape[2], source.shape[3]),
                rotation=c.view_rotation,
                scale=c.view_scale,
                shift=c.view_shift,
                like=source,
            )
            source, target = seen_alike(source, target, view)
        return Pair(source=source, target=target, weight=None)

    def recycle(self, batch: Clips, progress: float) -> str:
        """The points are let go of their starting places, little by little."""
        held = float(self.hold) > 0
        self.hold.fill_(hold_left(progress, self.config.start_until))
        return "points are free of their starting places" if held and float(self.hold) == 0 else ""


def _l1(method: Imm, drawn: Tensor, pair: Pair) -> Tensor:
    return reconstruction.multiscale_l1(drawn, pair.target, pair.weight)


def _gradient(method: Imm, drawn: Tensor, pair: Pair) -> Tensor:
    return reconstruction.gradient_l1(drawn, pair.target, pair.weight)


def _ssim(method: Imm, drawn: Tensor, pair: Pair) -> Tensor:
    return reconstruction.ssim(drawn, pair.target, pair.weight)


COSTS: Mapping[str, Callable[[Imm, Tensor, Pair], Tensor]] = {
    "l1": _l1,
    "gradient": _gradient,
    "ssim": _ssim,
    "pyramid": Imm._features_cost,
    "self": Imm._features_cost,
}
