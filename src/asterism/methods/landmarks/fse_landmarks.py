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
- batch normalisation without ReLU behind the last convolution: a ReLU would put a floor under the logits and
  with it a share of the probability everywhere. The public re-implementation has one.
- both views are random thin-plate splines of the same picture (the re-implementation warps by affine maps
  alone, and the first view hardly); their strengths, the weights of the terms and the block of 4 cells are
  not from the paper's text. The unit of length is the map's shorter side; blocks do not overlap.
- no weight decay; Adam at 1e-3 with cosine decay, batches of 16.
- the score (share of the probability in the best block) and the covariance are ours.
- no photometric change, as in the paper. The convolutions are not padded, as in the paper: points cannot lie
  within 22 pixels of the border, and the border cannot tell the network where it is.
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
from asterism.geometry.coords import pixel_grid, uv_from_xy, xy_from_uv
from asterism.geometry.tps import ThinPlateSpline
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
    rotation: float = 15.0
    scale: float = 0.1
    shift: float = 0.05


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
        "small": FseLandmarksConfig(n_keypoints=10, input_size=(96, 96), widths=(16, 24, 32, 48, 64)),
        "tiny": FseLandmarksConfig(n_keypoints=3, input_size=(64, 64), widths=(8, 8, 8), grid=3),
    }
    takes = Images
    gives = Keypoints2D
    learns_from = Images
    recipe = Recipe(steps=40_000, batch_size=16, lr=1e-3, schedule="cosine", ema=0.99)
    recipes: ClassVar = {"small": replace(recipe, steps=1500)}

    def __init__(self, config: FseLandmarksConfig) -> None:
        super().__init__(config)
        for field, known in (("align", ALIGN), ("diversity", DIVERSITY)):
            if getattr(config, field) not in known:
                raise ValueError(f"{field}: wanted {' or '.join(known)}, got {getattr(config, field)}")
        self.net = _network(config.widths, config.n_keypoints)

    @property
    def margin(self) -> int:
        """Pixels that the convolutions without padding take from each side: 22 in the paper's network."""
        return KERNEL // 2 * (1 + STRIDE * len(self.config.widths))

    def forward(self, batch: Images) -> Raw:
        xy, cov, prob = soft_argmax(self.net(batch.image), 1.0, STRIDE)
        return Raw(xy=xy + self.margin, cov=cov, prob=prob)

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
        first, second = self._warp(batch.image), self._warp(batch.image)
        views = torch.cat([warp_image(batch.image, first), warp_image(batch.image, second)])
        raw = self.forward(Images(image=views, to_source=torch.cat([batch.to_source] * 2)))
        side = min(raw.prob.shape[2:])

        def move(uv: Float[Tensor, "B N 2"]) -> Float[Tensor, "B N 2"]:
            """Cells of the first view to cells of the second: g = g2 o g1^-1."""
            xy = xy_from_uv(uv, STRIDE) + self.margin
            return uv_from_xy(second.points(first.inverse_points(xy)) - self.margin, STRIDE)

        return {
            "align": c.align_weight * ALIGN[c.align](raw.prob[:b], raw.prob[b:], move) / side**2,
            "diversity": c.diversity_weight * DIVERSITY[c.diversity](raw.prob, c.block),
        }

    def _warp(self, image: Float[Tensor, "B 3 H W"]) -> ThinPlateSpline:
        c = self.config
        return ThinPlateSpline.random(
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


def _network(widths: tuple[int, ...], n_keypoints: int) -> nn.Sequential:
    """5x5 convolutions without padding, each with batch normalisation; ReLU behind all but the last."""
    layers: list[nn.Module] = []
    channels = (3, *widths, n_keypoints)
    for i, (a, b) in enumerate(pairwise(channels)):
        layers += [nn.Conv2d(a, b, KERNEL, bias=False), nn.BatchNorm2d(b)]
        layers += [nn.ReLU(inplace=True)] if i < len(widths) else []
        layers += [nn.MaxPool2d(STRIDE)] if i == 0 else []
    return nn.Sequential(*layers)


Move = Callable[[Tensor], Tensor]


def _align_points(prob: Tensor, prob_warped: Tensor, move: Move) -> Tensor:
    """Between means; points that the warp takes off the map do not count."""
    h, w = prob.shape[2:]
    cells = pixel_grid((h, w), like=prob).flatten(0, 1)
    # Written out, not as a matmul: autocast would round the coordinates to half precision.
    first, found = ((p.flatten(2)[..., None] * cells).sum(2) for p in (prob, prob_warped))
    moved = move(first)
    inside = ((moved >= 0) & (moved <= cells[-1])).all(-1)
    return equivariance.align_points(moved, found, inside)


def _align_maps(prob: Tensor, prob_warped: Tensor, move: Move) -> Tensor:
    cells = pixel_grid((prob.shape[2], prob.shape[3]), like=prob).flatten(0, 1).expand(len(prob), -1, 2)
    return equivariance.align_maps(prob.flatten(2), prob_warped.flatten(2), move(cells), cells)


def _pairwise(prob: Tensor, block: int) -> Tensor:
    return equivariance.diversity_pairwise(prob.flatten(2))


ALIGN: Mapping[str, Callable[[Tensor, Tensor, Move], Tensor]] = {"points": _align_points, "maps": _align_maps}
DIVERSITY: Mapping[str, Callable[[Tensor, int], Tensor]] = {
    "pairwise": _pairwise,
    "pooled": equivariance.diversity_pooled,
}
