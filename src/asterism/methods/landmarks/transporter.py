"""transporter: points that carry what is around them from one frame into another.

Features of an earlier frame are wiped out around its own points and around those of a later frame, and the
later frame's features are put in around the later points. If that is enough to redraw the later frame, the
points stand where things have moved; what is still needs no point, and a point that stays on nothing earns
nothing.

Tejas Kulkarni, Ankush Gupta, Catalin Ionescu, Sebastian Borgeaud, Malcolm Reynolds, Andrew Zisserman,
Volodymyr Mnih, Unsupervised Learning of Object Keypoints for Perception and Control, NeurIPS 2019,
https://arxiv.org/abs/1906.11883.

    section 3, PointNet: points and Gaussians          -> forward, _gaussians
    section 3, Eq. 1, transport                        -> transport
    section 3, Eq. 2, redrawing the target             -> draw, loss

Departs from the paper:
- points are transported one after the other, F <- (1 - Ha_k)(1 - Hb_k) F + Hb_k Fb, as the public code has
  it; the text sums the Gaussians first, which exceed 1 where points meet. The loop is written as products.
- GroupNorm, not batch normalisation: the public code itself says that the paper's BatchNorm is less stable
  than norms within a picture. Means over pictures, pixels and colours.
- convolutions that halve are 4x4 (nets.ladder); the renderer is the encoder's mirror.
- K = 7, the rate of 2e-4 and batches of 64 are those of a public re-implementation; it lowers the rate by a
  tenth every 30,000 steps, here it is constant.
- a single picture has no second frame: its later view is a random spline of it, which the paper does not do.
  Everything moves then, the background too, so that points settle on whatever has contrast.
- cures that the paper has not, off in its preset: every point starts in a Gaussian about a place of its own
  (`start_reach`), which is let go by `start_until` of the training, since logits that are all alike put every
  point into the middle; `beta`, because the mean over a map's row makes logits small; and both frames of a
  clip are seen in one random similarity (`view_*`), because a user's clip is short.
- the score (1 less the spread of the map, as a share of a flat map's) and the covariance are ours.
"""

from dataclasses import dataclass, replace
from math import sqrt
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from asterism.geometry import affine
from asterism.geometry.warp import Inverse
from asterism.methods.base import Trainable
from asterism.nets.ladder import Ladder, Renderer
from asterism.ops.heatmap import gaussian_maps
from asterism.ops.places import farness, hold_left, jittered, keypoints_by_spread
from asterism.ops.readout import Readout, marginal_softmax
from asterism.ops.sampling import valid_pixels, warp_image
from asterism.ops.views import Bend, random_similarity, random_spline, seen_alike, two_frames
from asterism.types import Clips, Images, Keypoints2D, Recipe


@dataclass(frozen=True)
class TransporterConfig:
    """`sigma` and `start_reach` are fractions of half the shorter side.

    Displacement and shift of the spline that stands in for a second frame are fractions of the shorter side,
    rotation is in degrees; see geometry.tps.ThinPlateSpline.random.
    """

    n_keypoints: int = 7
    input_size: tuple[int, int] = (84, 84)
    widths: tuple[int, ...] = (16, 32)  # of encoders and renderer, per halving
    fold: int = 1  # blocks of pixels that become channels before the first convolution
    sigma: float = 0.1  # the Gaussian is exp(-d^2 / sigma^2): no half
    beta: float = 1.0  # sharpness of the marginals' softmax
    grid: int = 4
    displacement: float = 0.03
    rotation: float = 8.0
    scale: float = 0.1
    shift: float = 0.1
    view_rotation: float = 0.0  # of both frames of a clip alike
    view_scale: float = 0.0
    view_shift: float = 0.0
    start_reach: float = 0.2
    start_until: float = 0.0  # of the training; 0 holds nothing


@dataclass(frozen=True)
class Pair:
    """Two frames, and how much each pixel of the later one counts (None: all of them)."""

    source: Float[Tensor, "B 3 H W"]
    target: Float[Tensor, "B 3 H W"]
    weight: Float[Tensor, "B 1 H W"] | None


class Transporter(Trainable[Images, Readout, Keypoints2D]):
    name = "transporter"
    family = "landmarks"
    paper = (
        "Kulkarni et al., Unsupervised Learning of Object Keypoints for Perception and Control, NeurIPS 2019"
    )
    link = "https://arxiv.org/abs/1906.11883"
    Config = TransporterConfig
    presets: ClassVar = {"paper": TransporterConfig()}
    presets["small"] = TransporterConfig(
        n_keypoints=8,
        input_size=(64, 64),
        fold=2,
        beta=8.0,
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
    recipe = Recipe(steps=1_000_000, batch_size=64, lr=2e-4)
    _quick = Recipe(steps=1500, batch_size=16, lr=2e-3, schedule="cosine", warmup=0.03, clip=1.0, ema=0.98)
    recipes: ClassVar = {"small": _quick, "whole": _quick}

    # Buffers, so that they are saved and move with the weights.
    start: Tensor  # K 2: where each point starts, network pixels
    hold: Tensor  # (): how strongly it is held there

    def __init__(self, config: TransporterConfig) -> None:
        super().__init__(config)
        c = config
        self.encoder = Ladder(3, c.widths, fold=c.fold)
        self.pose = Ladder(3, c.widths, fold=c.fold)
        self.head = nn.Conv2d(c.widths[-1], c.n_keypoints, 1)
        self.renderer = Renderer(c.widths[-1], 3, c.widths, fold=c.fold)
        self.register_buffer("start", jittered(c.n_keypoints, c.input_size))
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
        error = (self.draw(pair.source, pair.target) - pair.target).square()
        if pair.weight is None:
            return {"reconstruction": error.mean()}
        counted = (error * pair.weight).sum() / (3 * pair.weight.sum()).clamp(min=1)
        return {"reconstruction": counted}

    # ------------------------------------------------------------------------------------------ the parts

    def draw(
        self, source: Float[Tensor, "B 3 H W"], target: Float[Tensor, "B 3 H W"]
    ) -> Float[Tensor, "B 3 H W"]:
        """The target, from the source's features and what is carried over; the source's are constants."""
        still = affine.identity(len(target), like=target)
        with torch.no_grad():
            fa, xy_a = self.encoder(source), self.forward(Images(image=source, to_source=still)).xy
        xy_b = self.forward(Images(image=target, to_source=still)).xy
        return self.render(fa, xy_a, self.encoder(target), xy_b)

    def render(
        self,
        fa: Float[Tensor, "B F h w"],
        xy_a: Float[Tensor, "B K 2"],
        fb: Float[Tensor, "B F h w"],
        xy_b: Float[Tensor, "B K 2"],
    ) -> Float[Tensor, "B 3 H W"]:
        size = (fa.shape[2], fa.shape[3])
        return self.renderer(transport(fa, self._gaussians(xy_a, size), fb, self._gaussians(xy_b, size)))

    def _gaussians(self, xy: Float[Tensor, "B K 2"], size: tuple[int, int]) -> Float[Tensor, "B K h w"]:
        sigma = self.config.sigma * self.unit / sqrt(2)  # exp(-d^2 / s^2) has the deviation s / sqrt 2
        return gaussian_maps(xy, size, self.pose.stride, sigma / self.pose.stride)

    def _pair(self, batch: Clips) -> Pair:
        """Two different frames in either order; of a single picture, it and a random spline of it."""
        if batch.image.shape[1] > 1:
            return self._frames(batch)
        c, image = self.config, batch.image[:, 0]
        bend = Bend(
            grid=c.grid, displacement=c.displacement, rotation=c.rotation, scale=c.scale, shift=c.shift
        )
        warp = Inverse(random_spline(bend, image))
        shown = valid_pixels(warp, (image.shape[2], image.shape[3]), like=image)
        return Pair(source=image, target=warp_image(image, warp), weight=shown[:, None].to(image))

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


def transport(
    fa: Float[Tensor, "B F h w"],
    ha: Float[Tensor, "B K h w"],
    fb: Float[Tensor, "B F h w"],
    hb: Float[Tensor, "B K h w"],
) -> Float[Tensor, "B F h w"]:
    """F <- (1 - ha_k)(1 - hb_k) F + hb_k fb for k = 1..K, from F = fa.

    What is left of fa has passed every k; what k put in has passed those behind it.
    """
    passes = (1 - ha) * (1 - hb)
    behind = passes.flip(1).cumprod(1).flip(1)  # of k and all behind it
    later = torch.cat([behind[:, 1:], torch.ones_like(behind[:, :1])], dim=1)
    return behind[:, :1] * fa + (hb * later).sum(1, keepdim=True) * fb
