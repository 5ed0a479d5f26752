"""fse-landmarks: points that follow every warp of the picture, and nothing else.

A detector of landmarks must commute with deformation: what it finds in a warped picture is what it found in
the picture, warped. Trained on that alone, with a second term that keeps the K points apart, a small network
on single photographs without any label finds points that sit on parts and stay there from object to object.

James Thewlis, Hakan Bilen, Andrea Vedaldi, Unsupervised Learning of Object Landmarks by Factorized Spatial
Embeddings, ICCV 2017, https://arxiv.org/abs/1705.02193.

    section 3.1, detector as mean of a softmax map   -> forward
    section 3.2, alignment of points                 -> losses.equivariance.align_points
    section 3.2, alignment of probability maps       -> losses.equivariance.align_maps
    section 3.2, diversity, pairwise                 -> losses.equivariance.diversity_pairwise
    section 3.2, diversity, maximum of pooled maps   -> losses.equivariance.diversity_pooled
    section 4, network of 20-48-64-80-256-K filters  -> _network

Departs from the paper:
- where we know no number of the paper's it is the public re-implementation's (alldbi): blocks of 4 cells,
  diversity 500 where a length of 1 is a cell of a map of 42, turns of 0.5 radians, Adam at 1e-4 with decay
  5e-4 in batches of 32. Adam's first momentum is 0.9, theirs 0.5; how long to train is ours.
- batch normalisation without ReLU behind the last convolution: a ReLU would put a floor under the logits and
  with it a share of the probability everywhere. The re-implementation has one.
- both views are warped by the inverses of random thin-plate splines, and points are compared in the picture
  they both come from: that needs no inverse of a spline. The re-implementation warps by affine maps alone,
  the first view hardly. Scale and shift are ours. The unit of length is the map's shorter side.
- blocks do not overlap, and hold sums; the re-implementation slides them and takes means, a sixteenth of it.
- the score (share of the probability in the best block) and the covariance are ours.
- no photometric change, and convolutions without padding, as in the paper: points cannot lie within 22 pixels
  of the border, and the border cannot tell the network where it is. In presets other than "paper" and "tiny"
  the picture's border is repeated outwards by as much, so that points can lie everywhere; these presets have
  fewer layers, and see 30 pixels around a point.
- nothing keeps points on an object: a still background that is in every picture draws them as much. Seen
  after a minute on a CPU: in crops turned with the animal, points sit on nose and tail base but change places
  between a dark animal and a light one; in whole pictures, and from cats to people, they mean nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from math import pi
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from asterism.geometry import affine
from asterism.geometry.coords import pixel_grid, xy_from_uv
from asterism.geometry.tps import ThinPlateSpline
from asterism.geometry.warp import Inverse
from asterism.losses import equivariance
from asterism.methods.base import Trainable
from asterism.ops.heatmap import soft_argmax
from asterism.ops.sampling import warp_image
from asterism.types import Images, Keypoints2D, Recipe

KERNEL = 5
STRIDE = 2  # of the maps: one 2x2 pooling, behind the first convolution


@dataclass(frozen=True)
class FseLandmarksConfig:
    """`align` is points or maps, `diversity` pairwise or pooled: the forms that the paper compares.

    `border` is lost (as far as convolutions reach) or repeated.
    Displacement and shift are fractions of the shorter side, scale of 1, rotation is in degrees; see
    geometry.tps.ThinPlateSpline.random.
    """

    n_keypoints: int = 30
    input_size: tuple[int, int] = (128, 128)
    widths: tuple[int, ...] = (20, 48, 64, 80, 256)
    align: str = "maps"
    diversity: str = "pooled"
    block: int = 4  # cells, of the pooled diversity and of the score
    align_weight: float = 1.0
    diversity_weight: float = 0.28  # 500 / 42^2: the re-implementation's, whose unit is a cell of 42
    grid: int = 5  # control points per side
    displacement: float = 0.04
    rotation: float = 28.6
    scale: float = 0.15
    shift: float = 0.1
    border: str = "lost"


SMALL = FseLandmarksConfig(
    n_keypoints=8,
    input_size=(64, 64),
    widths=(16, 24, 32),
    rotation=15.0,
    shift=0.05,
    border="repeated",
)


@dataclass(frozen=True)
class Raw:
    xy: Float[Tensor, "B K 2"]  # network pixels
    cov: Float[Tensor, "B K 2 2"]
    prob: Float[Tensor, "B K h w"]


class FseLandmarks(Trainable[Images, Raw, Keypoints2D]):
    name = "fse-landmarks"
    family = "landmarks"
    paper = (
        "Thewlis, Bilen, Vedaldi, Unsupervised Learning of Object Landmarks by Factorized Spatial "
        "Embeddings, ICCV 2017"
    )
    link = "https://arxiv.org/abs/1705.02193"
    Config = FseLandmarksConfig
    presets: ClassVar = {
        "paper": FseLandmarksConfig(),
        "small": SMALL,
        "whole": replace(SMALL, input_size=(96, 96)),
        "tiny": FseLandmarksConfig(
            n_keypoints=3, input_size=(64, 64), widths=(8, 8, 8), grid=3, rotation=15.0, scale=0.1, shift=0.05
        ),
    }
    takes = Images
    gives = Keypoints2D
    learns_from = Images
    recipe = Recipe(steps=100_000, batch_size=32, lr=1e-4, weight_decay=5e-4)
    recipes: ClassVar = dict.fromkeys(
        ("small", "whole"), Recipe(steps=1500, batch_size=8, lr=2e-3, schedule="cosine", ema=0.98)
    )

    def __init__(self, config: FseLandmarksConfig) -> None:
        super().__init__(config)
        for field, known in (("align", ALIGN), ("diversity", DIVERSITY), ("border", BORDER)):
            if getattr(config, field) not in known:
                raise ValueError(f"{field}: wanted {' or '.join(known)}, got {getattr(config, field)}")
        self.net = _network(config.widths, config.n_keypoints)

    @property
    def margin(self) -> int:
        """Pixels that the convolutions without padding take from each side: 22 in the paper's network."""
        return KERNEL // 2 * (1 + STRIDE * len(self.config.widths))

    @property
    def first(self) -> int:
        """Pixels from the border of the picture to that of the map, whose cells see all they want to."""
        return self.margin - BORDER[self.config.border](self.margin)

    def forward(self, batch: Images) -> Raw:
        image, repeated = batch.image, self.margin - self.first
        if repeated:
            image = F.pad(image, (repeated,) * 4, mode="replicate")
        logits = self.net(image).float()  # a mean over the map needs more than 8 bits
        xy, cov, prob = soft_argmax(logits, 1.0, STRIDE)
        return Raw(xy=xy + self.first, cov=cov, prob=prob)

    def decode(self, raw: Raw, batch: Images) -> Keypoints2D:
        """Means of the maps; the score is the share of the probability in the best block."""
        block = min(self.config.block, *raw.prob.shape[2:])
        best = F.avg_pool2d(raw.prob, block, 1).flatten(2).amax(-1) * block**2
        turn = batch.to_source[:, None, :, :2]
        return Keypoints2D(
            xy=affine.apply(batch.to_source, raw.xy),
            score=best.clamp(0, 1),
            cov=turn @ raw.cov @ turn.mT,
            maps=raw.prob,
        )

    def loss(self, batch: Images) -> dict[str, Tensor]:
        c, b = self.config, len(batch)
        warps = self._warp(batch.image), self._warp(batch.image)
        views = torch.cat([warp_image(batch.image, warp) for warp in warps])
        raw = self.forward(Images(image=views, to_source=torch.cat([batch.to_source] * 2)))
        cells = pixel_grid((raw.prob.shape[2], raw.prob.shape[3]), like=raw.xy).flatten(0, 1)
        pair = Pair(
            xy=(raw.xy[:b], raw.xy[b:]),
            prob=(raw.prob[:b].flatten(2), raw.prob[b:].flatten(2)),
            cells=xy_from_uv(cells, STRIDE) + self.first,
            warps=warps,
        )
        side = STRIDE * min(raw.prob.shape[2:])
        return {
            "align": c.align_weight * ALIGN[c.align](pair) / side**2,
            "diversity": c.diversity_weight * DIVERSITY[c.diversity](raw.prob, c.block),
        }

    def _warp(self, image: Float[Tensor, "B 3 H W"]) -> Inverse:
        c = self.config
        spline = ThinPlateSpline.random(
            len(image),
            (image.shape[2], image.shape[3]),
            grid=c.grid,
            displacement=c.displacement,
            rotation=c.rotation * pi / 180,
            scale=c.scale,
            shift=c.shift,
            generator=None,
            like=image,
        )
        return Inverse(spline)


def _network(widths: tuple[int, ...], n_keypoints: int) -> nn.Sequential:
    """5x5 convolutions without padding, each with batch normalisation; ReLU behind all but the last."""
    layers: list[nn.Module] = []
    channels = (3, *widths, n_keypoints)
    for i, (a, b) in enumerate(pairwise(channels)):
        layers += [nn.Conv2d(a, b, KERNEL, bias=False), nn.BatchNorm2d(b)]
        layers += [nn.ReLU(inplace=True)] if i < len(widths) else []
        layers += [nn.MaxPool2d(STRIDE)] if i == 0 else []
    return nn.Sequential(*layers)


@dataclass(frozen=True)
class Pair:
    """What was found in two views of the same pictures."""

    xy: tuple[Tensor, Tensor]  # B K 2, pixels of the views
    prob: tuple[Tensor, Tensor]  # B K N
    cells: Tensor  # N 2, pixels: where the cells of the maps lie
    warps: tuple[Inverse, Inverse]  # from the picture to the views


def _align_points(pair: Pair) -> Tensor:
    """Between means; points of the first view that are off the second's map do not count."""
    first, second = (warp.inverse_points(xy) for warp, xy in zip(pair.warps, pair.xy))
    with torch.no_grad():
        seen = pair.warps[1].points(first)
        inside = ((seen >= pair.cells[0]) & (seen <= pair.cells[-1])).all(-1)
    return equivariance.align_points(first, second, inside)


def _align_maps(pair: Pair) -> Tensor:
    cells = pair.cells.expand(len(pair.xy[0]), -1, 2)
    first, second = (warp.inverse_points(cells) for warp in pair.warps)
    return equivariance.align_maps(*pair.prob, first, second)


def _pairwise(prob: Tensor, block: int) -> Tensor:
    return equivariance.diversity_pairwise(prob.flatten(2))


ALIGN: Mapping[str, Callable[[Pair], Tensor]] = {"points": _align_points, "maps": _align_maps}
DIVERSITY: Mapping[str, Callable[[Tensor, int], Tensor]] = {
    "pairwise": _pairwise,
    "pooled": equivariance.diversity_pooled,
}
BORDER: Mapping[str, Callable[[int], int]] = {"lost": lambda _: 0, "repeated": lambda margin: margin}
