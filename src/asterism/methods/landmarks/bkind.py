"""bkind: keypoints that must draw where two frames of a clip differ.

What moves in a clip is what is of interest. A network finds K points in a frame and in one T frames later;
from the features of the earlier frame and nothing of the later one but its points, a decoder must draw the
map of where the two differ. A still background differs nowhere, so no point is needed for it. Later in
training the points must also turn with the picture, by quarter turns, and keep apart.

Jennifer Sun, Serim Ryou, Roni Goldshmid, Brandon Weissbourd, John Dabiri, David Anderson, Ann Kennedy, Yisong
Yue, Pietro Perona, Self-Supervised Keypoint Discovery in Behavioral Videos, CVPR 2022,
https://arxiv.org/abs/2112.05121.

    section 3.1, appearance encoder, geometry bottleneck -> forward
    section 3.1, Gaussians of both frames, decoder       -> _gaussians, _draw
    section 3.1, difference of two frames by SSIM        -> difference
    section 3.2, reconstruction                          -> _squared_at_scales
    section 3.2, rotation equivariance                   -> _turned
    section 3.2, separation                              -> losses.equivariance.separation
    section 3.2, curriculum                              -> recycle, loss

Departs from the paper:
- an encoder of two convolutions per scale from random weights instead of an ImageNet ResNet-50. What is above
  it, scale by scale a 1x1 convolution and a sum with the coarser one, is like the public code's GlobalNet;
  its intermediate predictions, on which no loss lies, are left out.
- squared differences at three scales instead of VGG-19's features; no random crops and no mask of the border.
- the difference is drawn once, not three times over, and at the stride of the finest Gaussians: that map
  is smooth. The public code takes the contrast and structure part of SSIM alone; here it is the whole SSIM.
- the public code's "inv_std" are variances, and its running averages that should balance the terms have no
  memory; the terms here have fixed weights, that of the reconstruction is ours. Its pictures must be square;
  these need not be.
- quarter turns of the later frame are drawn at random, `turns` of the three at each step; the public code
  takes all three. The unturned Gaussians get no gradient from this term, as there.
- separation is a mean over pairs of different points, not over all K x K entries, and over the views.
- `concentration` over 0, in the CPU presets, keeps a heatmap in one piece: the mean of two blobs is a place
  that the network chose as a number, not one that it saw. The paper has no such term.
- a folder of pictures has no second frame: it is a random thin-plate spline of the first, so that the
  background moves too. The paper does not do this, and little is to be hoped for from it.
- the score is the share of a heatmap in its best 3 x 3 cells; the covariance is the heatmap's.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import pi
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from asterism.geometry import affine
from asterism.losses.equivariance import concentration, separation
from asterism.losses.reconstruction import ssim_map
from asterism.methods.base import Trainable
from asterism.nets.unet import ConvBlock
from asterism.ops.heatmap import gaussian_maps
from asterism.ops.readout import spatial_softmax
from asterism.ops.sampling import crop, warp_image
from asterism.ops.views import Bend, random_spline
from asterism.types import Clips, Images, Keypoints2D, Recipe

BLUR_WINDOW, BLUR_SIGMA = 11, 1.0  # pixels: the public code's, of the map of differences
POOLS = (1, 2, 4)  # cells: scales at which the drawing is compared
BEST = 3  # cells: side of the block whose share of a heatmap is the score


@dataclass(frozen=True)
class BKindConfig:
    """Lengths are fractions of half the picture's shorter side, the paper's [-1, 1].

    `widths` are the channels at strides `stride`, 2 * stride and so on. `variances` are of the Gaussians that
    the decoder gets at each scale, coarsest first; it starts at the encoder's coarsest stride, and their
    number says how fine it draws.
    """

    n_keypoints: int = 10
    input_size: tuple[int, int] = (256, 256)
    stride: int = 4  # of the heatmaps
    widths: tuple[int, ...] = (64, 128, 256, 512)
    width: int = 64  # of the features that the heatmaps are read from
    variances: tuple[float, ...] = (0.1, 0.1, 0.01, 0.01, 0.001)
    reconstruction: float = 10.0  # ours: the paper's is the distance of VGG-19's features
    equivariance: float = 1.0
    turns: int = 3  # quarter turns per step, of three
    separation: float = 0.2  # 0.05 for each of the public code's four views
    separation_sigma: float = 0.08
    concentration: float = 0.0  # of a heatmap about its mean; not the paper's
    curriculum: float = 0.27  # of the training, without the last two terms: 4 of 15 epochs on CalMS21
    displacement: float = 0.05  # of the spline that stands in for a second frame; see ThinPlateSpline.random
    rotation: float = 15.0  # degrees, the same
    scale: float = 0.1  # the same
    shift: float = 0.05  # the same


@dataclass(frozen=True)
class Raw:
    xy: Float[Tensor, "B K 2"]  # network pixels
    cov: Float[Tensor, "B K 2 2"]
    maps: Float[Tensor, "B K h w"]  # sum 1 each
    appearance: Float[Tensor, "B C h2 w2"]  # the coarsest features


class BKind(Trainable[Images, Raw, Keypoints2D]):
    name = "bkind"
    family = "landmarks"
    paper = "Sun et al., Self-Supervised Keypoint Discovery in Behavioral Videos, CVPR 2022"
    link = "https://arxiv.org/abs/2112.05121"
    Config = BKindConfig
    presets: ClassVar = {
        "paper": BKindConfig(),
        "small": BKindConfig(
            n_keypoints=8,
            input_size=(64, 64),
            stride=2,
            widths=(16, 32, 64),
            width=24,
            variances=(0.1, 0.01, 0.005),
            concentration=0.05,
            turns=1,
        ),
        "whole": BKindConfig(
            n_keypoints=8,
            input_size=(96, 96),
            stride=2,
            widths=(16, 32, 64),
            width=24,
            variances=(0.1, 0.01, 0.0025),
            concentration=0.05,
            turns=1,
        ),
        "tiny": BKindConfig(
            n_keypoints=3,
            input_size=(32, 32),
            stride=2,
            widths=(8, 8, 16),
            width=8,
            variances=(0.1, 0.02, 0.02),
            turns=1,
            curriculum=0.0,
        ),
    }
    takes = Images
    gives = Keypoints2D
    learns_from = Clips
    clip_length: ClassVar[int] = 2
    recipe = Recipe(steps=50_000, batch_size=5, optimiser="sgd", lr=1e-3, weight_decay=1e-4)
    recipes: ClassVar = {
        "small": Recipe(
            steps=1500, batch_size=16, lr=2e-3, schedule="cosine", warmup=0.03, clip=5.0, ema=0.98
        )
    }

    progress: Tensor  # (): share of the training that is over; a buffer, so that a resumed run knows

    def __init__(self, config: BKindConfig) -> None:
        super().__init__(config)
        k, widths, levels = config.n_keypoints, config.widths, len(config.variances)
        coarsest = config.stride * 2 ** (len(widths) - 1)
        if coarsest % 2 ** (levels - 1):
            raise ValueError(
                f"variances: {levels} scales from stride {coarsest} on would be finer than a pixel"
            )
        if any(side % coarsest for side in config.input_size):
            raise ValueError(f"input_size: wanted multiples of {coarsest}, got {config.input_size}")
        # A block of pixels becomes channels: the finest scale is the dearest on a CPU.
        into = (3 * config.stride**2, *widths)
        self.encoder = nn.ModuleList(ConvBlock(a, b) for a, b in pairwise(into))
        self.across = nn.ModuleList(nn.Conv2d(w, config.width, 1) for w in widths)
        self.head = nn.Sequential(ConvBlock(config.width, config.width), nn.Conv2d(config.width, k, 1))
        out = [*reversed(widths), *[widths[0]] * levels][:levels]
        self.decoder = nn.ModuleList(ConvBlock(a + 2 * k, b) for a, b in pairwise((widths[-1], *out)))
        self.paint = nn.Conv2d(out[-1], 1, 1)
        self.strides = tuple(coarsest // 2**i for i in range(levels))
        self.register_buffer("progress", torch.zeros(()))

    @property
    def unit(self) -> float:
        """Half the shorter side, in network pixels."""
        return min(self.config.input_size) / 2

    # --------------------------------------------------------------------------------------- three verbs

    def forward(self, batch: Images) -> Raw:
        x, scales = F.pixel_unshuffle(batch.image, self.config.stride), []
        for level, block in enumerate(self.encoder):
            x = block(F.avg_pool2d(x, 2) if level else x)
            scales.append(x)
        read = [across(features) for across, features in zip(self.across, scales)]
        y = read.pop()
        while read:
            y = read.pop() + F.interpolate(y, scale_factor=2, mode="bilinear")
        found = spatial_softmax(self.head(F.relu(y)), 1.0, self.config.stride)
        return Raw(xy=found.xy, cov=found.cov, maps=found.maps, appearance=x)

    def decode(self, raw: Raw, batch: Images) -> Keypoints2D:
        """Means of the heatmaps; the score is the share of a heatmap in its best block of cells."""
        turn = batch.to_source[:, None, :, :2]
        best = F.avg_pool2d(raw.maps, BEST, 1).flatten(2).amax(-1) * BEST**2
        return Keypoints2D(
            xy=affine.apply(batch.to_source, raw.xy),
            score=best.clamp(0, 1),
            cov=turn @ raw.cov @ turn.mT,
            maps=raw.maps,
        )

    def loss(self, batch: Clips) -> dict[str, Tensor]:
        c = self.config
        now, later = self._pair(batch)
        b = len(now)
        still = affine.identity(2 * b, like=now)
        raw = self.forward(Images(image=torch.cat([now, later]), to_source=still))
        drawn = self._draw(raw.appearance[:b], raw.xy[:b], raw.xy[b:])
        target = F.avg_pool2d(difference(now, later), self.strides[-1])
        terms = {
            "reconstruction": c.reconstruction * _squared_at_scales(drawn - target),
            "concentration": c.concentration * concentration(raw.cov / self.unit**2),
        }
        if self.progress < c.curriculum:  # the names stay: the log takes means of every term
            return terms | {"equivariance": drawn.new_zeros(()), "separation": drawn.new_zeros(())}
        equivariance, turned = self._turned(later, raw.xy[b:])
        near = torch.stack([separation(xy / self.unit, c.separation_sigma) for xy in (raw.xy[b:], *turned)])
        return terms | {
            "equivariance": c.equivariance * equivariance,
            "separation": c.separation * near.mean(),
        }

    def recycle(self, batch: Clips, progress: float) -> str:
        """Remembers how much of the training is over: two terms wait for their share of it."""
        begins = self.progress < self.config.curriculum <= progress
        self.progress.fill_(progress)
        return "quarter turns and separation count from now on" if begins else ""

    # ------------------------------------------------------------------------------------------ the parts

    def _pair(self, batch: Clips) -> tuple[Float[Tensor, "B 3 H W"], Float[Tensor, "B 3 H W"]]:
        """The first frame and the last, seen through the first one's crop: what is still stays still."""
        c, now = self.config, batch.image[:, 0]
        if batch.image.shape[1] > 1:
            later_from_now = affine.compose(affine.inverse(batch.to_source[:, -1]), batch.to_source[:, 0])
            return now, crop(batch.image[:, -1], later_from_now, c.input_size)
        bend = Bend(displacement=c.displacement, rotation=c.rotation, scale=c.scale, shift=c.shift)
        return now, warp_image(now, random_spline(bend, now))

    def _gaussians(
        self, xy: Float[Tensor, "B K 2"], size: tuple[int, int], level: int
    ) -> Float[Tensor, "B K h w"]:
        """exp(-d^2 / 2 v) / sqrt(2 pi v) at one of the decoder's scales, as the public code has it."""
        stride, variance = self.strides[level], self.config.variances[level]
        cells = (size[0] // stride, size[1] // stride)
        maps = gaussian_maps(xy, cells, stride, variance**0.5 * self.unit / stride)
        return maps / (2 * pi * variance) ** 0.5

    def _draw(
        self,
        appearance: Float[Tensor, "B C h w"],
        now: Float[Tensor, "B K 2"],
        later: Float[Tensor, "B K 2"],
    ) -> Float[Tensor, "B 1 h2 w2"]:
        """The map of differences from the features of the first frame and the points of both."""
        x = appearance
        for level, block in enumerate(self.decoder):
            x = F.interpolate(x, scale_factor=2, mode="bilinear") if level else x
            dots = [self._gaussians(xy, self.config.input_size, level) for xy in (later, now)]
            x = block(torch.cat([x, *dots], dim=1))
        return self.paint(x)

    def _turned(
        self, image: Float[Tensor, "B 3 H W"], xy: Float[Tensor, "B K 2"]
    ) -> tuple[Float[Tensor, ""], list[Float[Tensor, "B K 2"]]]:
        """How far the Gaussians found in turned pictures are from the turned Gaussians; the points found."""
        upright = self._gaussians(xy.detach(), self.config.input_size, -1)
        costs, found = [], []
        for turn in (torch.randperm(3)[: self.config.turns] + 1).tolist():
            view = image.rot90(turn, (2, 3))
            there = self.forward(Images(image=view, to_source=affine.identity(len(view), like=view))).xy
            maps = self._gaussians(there, (view.shape[2], view.shape[3]), -1)
            costs.append((maps - upright.rot90(turn, (2, 3))).square().mean())
            found.append(there)
        return torch.stack(costs).mean(), found


def difference(a: Float[Tensor, "B 3 H W"], b: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 1 H W"]:
    """1 - structural similarity of two frames, mean over the colours, blurred: 0 where they are equal."""
    unlike = 1 - ssim_map(a, b).mean(1, keepdim=True)
    radius = BLUR_WINDOW // 2
    line = torch.arange(-radius, radius + 1, device=a.device, dtype=a.dtype)
    kernel = (-line.square() / (2 * BLUR_SIGMA**2)).exp()
    kernel = (kernel / kernel.sum()).expand(1, 1, 1, -1)
    padded = F.pad(unlike, (radius,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel), kernel.mT)


def _squared_at_scales(gap: Float[Tensor, "B 1 h w"]) -> Float[Tensor, ""]:
    return torch.stack([F.avg_pool2d(gap, pool).square().mean() for pool in POOLS]).sum()
