"""Heatmaps: points to maps and back. A codec owns both directions, so that conventions cannot be mixed.

Targets are unbiased: the Gaussian sits where the point is, never on a rounded cell. Sizes of maps (h, w) and
`sigma` are in cells, `stride` is network pixels per cell, xy is in network pixels until `decode` applies
`to_source`. What a decoder costs, as the mean round trip in pixels at stride 4 and sigma 2: Gaussian 1.5,
QuarterOffset 0.8, Dark, Udp and SoftArgmax less than 0.01 (the tests measure it). Rounded alone is biased: it
reads networks that were trained on rounded targets. CODECS are those that a Config can name.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from asterism.errors import RequestError
from asterism.geometry import affine
from asterism.geometry.coords import uv_from_xy, xy_from_uv
from asterism.ops import peaks
from asterism.types import Keypoints2D


def gaussian_maps(
    xy: Float[Tensor, "B K 2"], size: tuple[int, int], stride: int | float, sigma: int | float
) -> Float[Tensor, "B K h w"]:
    """exp(-d^2 / 2 sigma^2) around each point: 1 at the point itself. `size` and `sigma` are in cells."""
    return _gaussians(uv_from_xy(xy, stride), size, sigma)


def soft_argmax(
    logits: Float[Tensor, "B K h w"], beta: int | float, stride: int | float
) -> tuple[Float[Tensor, "B K 2"], Float[Tensor, "B K 2 2"], Float[Tensor, "B K h w"]]:
    """Mean (pixels) and covariance (pixels^2) of softmax(beta * logits), and that probability itself.

    A mean over the whole map: mass that lies far away pulls the point, and a blob that leaves the map is cut.
    """
    h, w = logits.shape[-2:]
    prob = (beta * logits.flatten(2)).softmax(-1).unflatten(-1, (h, w))
    u, v = _axis(w, prob), _axis(h, prob)
    along_u, along_v = prob.sum(-2), prob.sum(-1)  # B K w, B K h
    mean = torch.stack([(along_u * u).sum(-1), (along_v * v).sum(-1)], dim=-1)
    du, dv = u - mean[..., :1], v - mean[..., 1:]
    uu, vv = (along_u * du.square()).sum(-1), (along_v * dv.square()).sum(-1)
    uv = ((prob * du[..., None, :]).sum(-1) * dv).sum(-1)
    cov = torch.stack([uu, uv, uv, vv], dim=-1).unflatten(-1, (2, 2)) * stride**2
    return xy_from_uv(mean, stride), cov, prob


@dataclass(frozen=True)
class Codec(ABC):
    """Points to maps of peak 1 (`encode`) and maps to points in the source image (`decode`).

    `mirror_shift`: cells by which maps of a mirrored picture, mirrored back, lie too far left (ops/flip).
    """

    mirror_shift: ClassVar[int] = 0
    stride: int | float
    sigma: int | float

    def encode(self, xy: Float[Tensor, "B K 2"], size: tuple[int, int]) -> Float[Tensor, "B K h w"]:
        """Target maps of `size` (h, w) in cells for points in network pixels."""
        return gaussian_maps(xy, size, self.stride, self.sigma)

    def decode(self, maps: Float[Tensor, "B K h w"], to_source: Float[Tensor, "B 2 3"]) -> Keypoints2D:
        """Points in the source image; the score is the value of the highest cell, cut to [0, 1]."""
        xy = xy_from_uv(self.locate(maps), self.stride)
        score = maps.flatten(2).amax(-1).clamp(0, 1)
        return Keypoints2D(xy=affine.apply(to_source, xy), score=score, maps=maps)

    @abstractmethod
    def locate(self, maps: Float[Tensor, "B K h w"]) -> Float[Tensor, "B K 2"]:
        """uv of each map's point, in cells."""


@dataclass(frozen=True)
class Gaussian(Codec):
    """The highest cell: half a cell of quantisation, the control for the others."""

    def locate(self, maps: Float[Tensor, "B K h w"]) -> Float[Tensor, "B K 2"]:
        return peaks.highest(maps)[0]


@dataclass(frozen=True)
class QuarterOffset(Codec):
    """A quarter of a cell towards the higher neighbour, per axis; none on the border.

    Newell, Yang, Deng, Stacked Hourglass Networks, ECCV 2016, section 3.1.
    """

    def locate(self, maps: Float[Tensor, "B K h w"]) -> Float[Tensor, "B K 2"]:
        uv, _ = peaks.highest(maps)
        padded = F.pad(maps, (1, 1, 1, 1))
        at = [_gather(padded, uv + uv.new_tensor(d)) for d in ((2, 1), (0, 1), (1, 2), (1, 0))]
        last = uv.new_tensor([maps.shape[-1] - 1, maps.shape[-2] - 1])
        inside = (uv > 0) & (uv < last)
        slope = torch.stack([at[0] - at[1], at[2] - at[3]], dim=-1)
        return uv + torch.where(inside, slope.sign() / 4, 0.0)


@dataclass(frozen=True)
class Rounded(QuarterOffset):
    """A Gaussian on a whole cell, the one nearest to xy / stride; read by QuarterOffset, times the stride.

    As in the code of SimpleBaseline (Xiao, Wu, Wei, ECCV 2018) and HRNet (Sun et al., CVPR 2019), to read
    weights trained so: there cells start where the picture starts instead of being centred on their pixels.
    """

    mirror_shift: ClassVar[int] = 1

    def encode(self, xy: Float[Tensor, "B K 2"], size: tuple[int, int]) -> Float[Tensor, "B K h w"]:
        return _gaussians((xy / self.stride + 0.5).floor(), size, self.sigma)

    def decode(self, maps: Float[Tensor, "B K h w"], to_source: Float[Tensor, "B 2 3"]) -> Keypoints2D:
        xy = self.locate(maps) * self.stride
        score = maps.flatten(2).amax(-1).clamp(0, 1)
        return Keypoints2D(xy=affine.apply(to_source, xy), score=score, maps=maps)


@dataclass(frozen=True)
class Dark(Codec):
    """The top of the parabola through the logarithm of the smoothed map.

    Zhang, Zhu, Dai, Ye, Zhu, Distribution-Aware Coordinate Representation for Human Pose Estimation, CVPR
    2020: smoothing by the target's own Gaussian, then one Newton step on the logarithm. The step is cut to
    half a cell, which the authors' code does not do; it keeps a noisy map from throwing its point away.
    """

    def locate(self, maps: Float[Tensor, "B K h w"]) -> Float[Tensor, "B K 2"]:
        return _distribution_aware(maps, self.sigma)


@dataclass(frozen=True)
class Udp(Codec):
    """Dark on maps whose outer cell CENTRES are the image's outer pixel centres.

    Huang, Zhu, Guo, Huang, The Devil is in the Details: Delving into Unbiased Data Processing for Human Pose
    Estimation, CVPR 2020: lengths are counted in gaps between pixels, (n - 1), in the image and in the map.
    Use it for networks trained that way; maps of the other codecs are shifted against these.
    """

    def encode(self, xy: Float[Tensor, "B K 2"], size: tuple[int, int]) -> Float[Tensor, "B K h w"]:
        return _gaussians(xy / self._gaps(size, xy), size, self.sigma)

    def decode(self, maps: Float[Tensor, "B K h w"], to_source: Float[Tensor, "B 2 3"]) -> Keypoints2D:
        xy = self.locate(maps) * self._gaps((maps.shape[-2], maps.shape[-1]), maps)
        score = maps.flatten(2).amax(-1).clamp(0, 1)
        return Keypoints2D(xy=affine.apply(to_source, xy), score=score, maps=maps)

    def locate(self, maps: Float[Tensor, "B K h w"]) -> Float[Tensor, "B K 2"]:
        return _distribution_aware(maps, self.sigma)

    def _gaps(self, size: tuple[int, int], like: Tensor) -> Float[Tensor, "2"]:
        """Pixels per cell: (W - 1) / (w - 1) and (H - 1) / (h - 1)."""
        return like.new_tensor([(n * self.stride - 1) / max(n - 1, 1) for n in reversed(size)])


@dataclass(frozen=True)
class SoftArgmax(Codec):
    """The mean of softmax(beta * maps); maps are logits, and `encode` gives those of a Gaussian.

    Sun, Xiao, Wei, Liang, Wei, Integral Human Pose Regression, ECCV 2018. The score is the highest
    probability over that of the target Gaussian, 1 / (2 pi sigma^2), cut to [0, 1]. Points nearer to the
    border than about 3 sigma are pulled inwards, because the part of the blob outside the map is missing.
    """

    beta: int | float = 1.0

    def encode(self, xy: Float[Tensor, "B K 2"], size: tuple[int, int]) -> Float[Tensor, "B K h w"]:
        u, v = (uv[..., None] for uv in uv_from_xy(xy, self.stride).unbind(-1))
        du, dv = _axis(size[1], xy) - u, _axis(size[0], xy) - v
        return -(du.square()[..., None, :] + dv.square()[..., None]) / (2 * self.sigma**2 * self.beta)

    def decode(self, maps: Float[Tensor, "B K h w"], to_source: Float[Tensor, "B 2 3"]) -> Keypoints2D:
        xy, cov, prob = soft_argmax(maps, self.beta, self.stride)
        turn = to_source[:, None, :, :2]  # B 1 2 2
        score = (prob.flatten(2).amax(-1) * (2 * math.pi * self.sigma**2)).clamp(0, 1)
        return Keypoints2D(xy=affine.apply(to_source, xy), score=score, cov=turn @ cov @ turn.mT, maps=prob)

    def locate(self, maps: Float[Tensor, "B K h w"]) -> Float[Tensor, "B K 2"]:
        return uv_from_xy(soft_argmax(maps, self.beta, self.stride)[0], self.stride)


CODECS: dict[str, type[Codec]] = {
    "argmax": Gaussian,
    "quarter-offset": QuarterOffset,
    "dark": Dark,
    "udp": Udp,
    "soft-argmax": SoftArgmax,
    "rounded": Rounded,
}


def codec_named(name: str, stride: int | float, sigma: int | float) -> Codec:
    """The codec that a Config's field `codec` names. Raises RequestError for a name that is not in CODECS."""
    if name not in CODECS:
        raise RequestError(f"codec: {name!r} is unknown; wanted one of {', '.join(CODECS)}")
    return CODECS[name](stride, sigma)


def _distribution_aware(maps: Float[Tensor, "B K h w"], sigma: int | float) -> Float[Tensor, "B K 2"]:
    """The highest cell of the raw map (as the authors do), refined on the logarithm of the smoothed one.

    Smoothing a blob that the border cuts moves it inwards, by up to two cells at sigma 2. Cut mass matters
    where the product of blob and kernel, of width sigma / sqrt 2, reaches over the border: there the
    refinement reads the map as it is.
    """
    uv, _ = peaks.highest(maps)
    floor = 1e-10  # as in the authors' code
    smooth = peaks.refine(_blur(maps, sigma).clamp(min=floor).log(), uv)
    raw = peaks.refine(maps.clamp(min=floor).log(), uv)
    last = uv.new_tensor([maps.shape[-1] - 1, maps.shape[-2] - 1])
    to_border = torch.minimum(uv, last - uv).amin(-1, keepdim=True)
    return torch.where(to_border < 3 * sigma / math.sqrt(2) + 1, raw, smooth)


def _blur(maps: Float[Tensor, "B K h w"], sigma: int | float) -> Float[Tensor, "B K h w"]:
    """Smoothed by a Gaussian cut at 3 sigma; outside the map counts as zero."""
    radius = math.ceil(3 * sigma)
    line = _axis(2 * radius + 1, maps) - radius
    kernel = (-line.square() / (2 * sigma**2)).exp()
    kernel = kernel / kernel.sum()
    flat = maps.flatten(0, 1)[:, None]  # BK 1 h w
    flat = F.conv2d(flat, kernel[None, None, None], padding=(0, radius))
    return F.conv2d(flat, kernel[None, None, :, None], padding=(radius, 0))[:, 0].unflatten(0, maps.shape[:2])


def _gaussians(
    uv: Float[Tensor, "B K 2"], size: tuple[int, int], sigma: int | float
) -> Float[Tensor, "B K h w"]:
    u, v = (axis[..., None] for axis in uv.unbind(-1))
    along_u = (-(_axis(size[1], uv) - u).square() / (2 * sigma**2)).exp()  # B K w
    along_v = (-(_axis(size[0], uv) - v).square() / (2 * sigma**2)).exp()
    return along_v[..., None] * along_u[..., None, :]


def _gather(maps: Float[Tensor, "B K h w"], uv: Float[Tensor, "B K 2"]) -> Float[Tensor, "B K"]:
    index = (uv[..., 1] * maps.shape[-1] + uv[..., 0]).long()
    return maps.flatten(2).gather(-1, index[..., None])[..., 0]


def _axis(n: int, like: Tensor) -> Tensor:
    return torch.arange(n, device=like.device, dtype=like.dtype)
