"""latent-3d-keypoints: the points in space by which two views of a thing tell how it was turned.

A picture gives, for each keypoint, a map of where it is and a map of how far away; their means are a point in
space, also where the thing hides it. Two views of one thing, with known cameras, must give the same points,
spread out over the thing, and by them the turn from one view to the other. Nobody says which points: those
are found from which that turn is told best, the same ones on every thing of a kind.

Suwajanakorn, Snavely, Tompson, Norouzi, "Discovery of Latent 3D Keypoints via End-to-end Geometric
Reasoning", NeurIPS 2018 (KeypointNet). https://arxiv.org/abs/1807.03146

    dilated fully convolutional network, maps and depths  -> _Trunk, _look
    multi-view consistency                                -> _consistent
    relative pose by Procrustes, with noise on the points -> _turned
    separation, silhouette, variance                      -> loss
    where the thing's axis ends, told to the network      -> _ahead, loss ("ahead")

Departs from the paper:
- as in the authors' code, points are apart when the squared distance, not the distance, exceeds `apart`, and
  only the turn is asked of the pose, not the shift. A point's distance to itself, a constant, is left out.
- told is where the front and the back end of the axis are in the picture (each pixel's offsets from both),
  not only which of them is further to the right: what the paper's second network finds anyway, from the
  same labels. With the sign alone the points take many times as many steps to turn with the thing.
- the true axis is told until `own_from` of the training, and the network's own from `own_to` on; the code
  counts steps (30,000 and 60,000 of 200,000).
- silhouette and variance gain their weight between `sharp_from` and `sharp_to`, in the small preset: maps
  that are narrow from the first steps on hold their points in the middle of the thing, where they stay.
- a thing's front is -z of its own coordinates, y up; the authors' is x.
- what comes out is in the picture: x and y in pixels, and depth in pixels from `distance`, where the middle
  of the thing should be. `unprojected` makes points in front of the camera of it.
- the preset "small" looks at a quarter of the resolution (for the axis at an eighth), through layers of
  stride 2, is narrower, and asks more of the pose and less of the maps.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from asterism.geometry import affine, rigid
from asterism.geometry.coords import image_centre, pixel_grid, uv_from_xy, xyn_from_xy
from asterism.methods.base import Trainable
from asterism.ops.readout import spatial_softmax
from asterism.types import Images, Keypoints3D, PosedViews, Recipe

_NEAR = 2.0  # cells about a point: what of its map lies there is its score


@dataclass(frozen=True)
class Latent3dKeypointsConfig:
    n_keypoints: int = 10
    input_size: tuple[int, int] = (128, 128)
    field: float = 5.0  # of view, degrees, of the shorter side
    distance: float = 30.0  # of the middle of the thing, in radii of it
    filters: int = 64
    ahead_filters: int = 32  # of the network that finds the axis
    strided: int = 0  # layers of stride 2 in front
    ahead_strided: int = 0  # the same, of the network that finds the axis
    dilations: tuple[int, ...] = (1, 1, 2, 4, 8, 16, 1, 2, 4, 8, 16, 1)
    consistency: float = 1.0  # weights of the terms of the loss
    pose: float = 0.2
    separation: float = 1.0
    silhouette: float = 1.0
    variance: float = 0.5
    ahead: float = 1.0
    apart: float = 0.05  # squared, radii
    noise: float = 0.1  # standard deviation, on the points from which the turn is told
    sharp_from: float = 0.0  # progress until which maps may be as wide as they like
    sharp_to: float = 0.0  # progress from which silhouette and variance have all their weight
    own_from: float = 0.15  # progress until which the true axis is told
    own_to: float = 0.3  # progress from which the network's own is


@dataclass(frozen=True)
class Raw:
    xy: Float[Tensor, "B K 2"]  # pixels
    depth: Float[Tensor, "B K"]  # radii of the thing, beyond `distance`
    spread: Float[Tensor, "B K"]  # variance of the map, pixels^2
    maps: Float[Tensor, "B K h w"]


class Latent3dKeypoints(Trainable[Images, Raw, Keypoints3D]):
    name = "latent-3d-keypoints"
    family = "lift3d"
    paper = "Suwajanakorn, Snavely, Tompson, Norouzi, Discovery of Latent 3D Keypoints via End-to-end Geometric Reasoning, NeurIPS 2018"  # noqa: E501
    link = "https://arxiv.org/abs/1807.03146"
    Config = Latent3dKeypointsConfig
    presets: ClassVar = {
        "paper": Latent3dKeypointsConfig(),
        "small": Latent3dKeypointsConfig(
            filters=32,
            ahead_filters=32,
            strided=2,
            ahead_strided=3,
            dilations=(1, 2, 4, 8, 1, 2, 4, 1),
            pose=0.6,
            silhouette=0.2,
            variance=0.1,
            sharp_from=0.3,
            sharp_to=0.7,
            own_from=0.4,
            own_to=0.7,
        ),
        "tiny": Latent3dKeypointsConfig(
            n_keypoints=4,
            input_size=(32, 32),
            filters=8,
            ahead_filters=8,
            strided=1,
            ahead_strided=1,
            dilations=(1, 2, 4),
        ),
    }
    takes = Images
    gives = Keypoints3D
    learns_from = PosedViews
    recipe = Recipe(steps=200_000, batch_size=256, lr=1e-3)
    recipes: ClassVar = {
        "small": Recipe(steps=4000, batch_size=16, lr=2e-3, schedule="cosine", warmup=0.02, clip=1.0),
        "tiny": Recipe(steps=50, batch_size=4, lr=3e-3),
    }

    progress: Tensor  # (): share of the training that is over; a buffer: resumed runs, all processes know it

    def __init__(self, config: Latent3dKeypointsConfig) -> None:
        super().__init__(config)
        c = config
        self.stride, self.ahead_stride = 2**c.strided, 2**c.ahead_strided
        self.looks = _Trunk(3, c.ahead_filters, c.ahead_strided, c.dilations)
        self.ends = nn.Conv2d(c.ahead_filters, 2, 3, padding=1)
        self.trunk = _Trunk(7, c.filters, c.strided, c.dilations)
        self.places = nn.Conv2d(c.filters, c.n_keypoints, 3, padding=1)
        self.depths = nn.Conv2d(c.filters, c.n_keypoints, 3, padding=1)
        self.register_buffer("progress", torch.zeros(()))

    def forward(self, batch: Images) -> Raw:
        return self._look(batch.image, self._ahead(batch.image))

    def decode(self, raw: Raw, batch: Images) -> Keypoints3D:
        """x and y in source pixels, depth in source pixels from the thing's middle.

        `score` is the share of a point's map that lies within two cells of it.
        """
        growth = torch.linalg.det(batch.to_source[:, :, :2]).abs().sqrt()[:, None]
        depth = raw.depth * (self._focal() / self.config.distance) * growth
        h, w = raw.maps.shape[-2:]
        grid = pixel_grid((h, w), like=raw.xy)
        off = grid - uv_from_xy(raw.xy, self.stride)[:, :, None, None]
        near = (off.square().sum(-1) <= _NEAR**2) * raw.maps
        xyz = torch.cat([affine.apply(batch.to_source, raw.xy), depth[..., None]], dim=-1)
        score = near.sum((2, 3)).clamp(0, 1)
        return Keypoints3D(xyz=xyz, score=score, valid=torch.ones_like(score, dtype=torch.bool))

    def loss(self, batch: PosedViews) -> dict[str, Tensor]:
        c, v = self.config, batch.image.shape[1]
        image, inner = batch.image.flatten(0, 1), batch.intrinsics.flatten(0, 1)  # BV
        pose = batch.cam_from_thing.flatten(0, 1)
        wanted, ends = _axis(inner, pose), self._ahead(image)
        over = float(self.progress)
        told = torch.lerp(wanted, ends.detach(), _share(over, c.own_from, c.own_to))
        sharp = _share(over, c.sharp_from, c.sharp_to)
        raw = self._look(image, told)
        points = _in_front(raw.xy, raw.depth + c.distance, inner)
        other = torch.arange(v, device=image.device).roll(-1)  # each view and the next one
        moved = lambda x: x.unflatten(0, (-1, v))[:, other].flatten(0, 1)  # noqa: E731
        other_from_this = rigid.compose(moved(pose), rigid.inverse(pose))
        size = c.input_size
        inside = F.avg_pool2d(batch.inside.flatten(0, 1)[:, None].to(image.dtype), self.stride)
        return {
            "consistency": c.consistency
            * self._consistent(points, other_from_this, moved(inner), moved(raw.xy)),
            "pose": c.pose * self._turned(points, moved(points), other_from_this),
            "separation": c.separation * _crowded(points, c.apart),
            "silhouette": -c.silhouette * sharp * ((raw.maps * inside).sum((2, 3)) + 1e-12).log().mean(),
            "variance": c.variance * sharp * raw.spread.mean() * (2 / min(size)) ** 2,
            "ahead": c.ahead * (xyn_from_xy(ends, size) - xyn_from_xy(wanted, size)).square().sum(-1).mean(),
        }

    def recycle(self, batch: PosedViews, progress: float) -> str:
        """How much of the axis is told, and how narrow maps must be, depends on the progress."""
        self.progress.fill_(progress)
        return ""

    def unprojected(self, xyz: Float[Tensor, "B K 3"]) -> Float[Tensor, "B K 3"]:
        """What `decode` gives of a picture of the network's own size, in its camera, in radii."""
        c = self.config
        depth = c.distance * (1 + xyz[..., 2:] / self._focal())
        off = (xyz[..., :2] - image_centre(c.input_size, like=xyz)) / self._focal()
        return torch.cat([off * depth, depth], dim=-1)

    def _focal(self) -> float:
        """Pixels, of a camera with the configured field of view."""
        half = torch.deg2rad(torch.tensor(self.config.field / 2, dtype=torch.float64))
        return min(self.config.input_size) / 2 / float(half.tan())

    def _look(self, image: Float[Tensor, "B 3 H W"], told: Float[Tensor, "B 2 2"]) -> Raw:
        size = self.config.input_size
        grid = xyn_from_xy(pixel_grid(size, like=image), size)
        off = (grid - xyn_from_xy(told, size)[:, :, None, None]).permute(0, 1, 4, 2, 3).flatten(1, 2)
        feature = self.trunk(torch.cat([image, off.to(image.dtype)], dim=1))
        found = spatial_softmax(self.places(feature), 1.0, self.stride)
        depth = (found.maps * self.depths(feature).float()).sum((2, 3))
        spread = found.cov.diagonal(dim1=-2, dim2=-1).sum(-1)
        return Raw(xy=found.xy, depth=depth, spread=spread, maps=found.maps)

    def _ahead(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 2 2"]:
        """Pixels of the front and of the back end of the thing's axis."""
        return spatial_softmax(self.ends(self.looks(image)), 1.0, self.ahead_stride).xy

    def _consistent(
        self,
        points: Float[Tensor, "B K 3"],
        other_from_this: Float[Tensor, "B 3 4"],
        inner: Float[Tensor, "B 3 3"],
        seen: Float[Tensor, "B K 2"],
    ) -> Tensor:
        """How far points of this view are from those of the other, in its normalised picture."""
        there = rigid.apply(other_from_this, points)
        xy = affine.apply(inner[:, :2], there[..., :2] / there[..., 2:].clamp_min(1e-3))
        size = self.config.input_size
        return (xyn_from_xy(xy, size) - xyn_from_xy(seen, size)).square().sum(-1).mean()

    def _turned(
        self,
        points: Float[Tensor, "B K 3"],
        others: Float[Tensor, "B K 3"],
        other_from_this: Float[Tensor, "B 3 4"],
    ) -> Tensor:
        """The angle, in radians, between the turn that the points tell and the true one."""
        a, b = (p + self.config.noise * torch.randn_like(p) for p in (points, others))
        off = rigid.kabsch(a, b)[..., :3] - other_from_this[..., :3]
        share = off.square().sum((1, 2)).clamp_min(1e-12).sqrt() / 8**0.5
        return 2 * share.clamp(max=1 - 1e-6).asin().mean()  # at 0 and at half a turn its slope is infinite


class _Trunk(nn.Module):
    """Layers of stride 2, then dilated ones."""

    def __init__(self, channels: int, filters: int, strided: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(strided):  # an even kernel: a cell's centre is that of its pixels
            layers += _normal(nn.Conv2d(channels, filters, 4, stride=2, padding=1, bias=False))
            channels = filters
        for d in dilations:
            layers += _normal(nn.Conv2d(channels, filters, 3, padding=d, dilation=d, bias=False))
            channels = filters
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B F h w"]:
        return self.layers(image.contiguous(memory_format=torch.channels_last))  # a quarter faster on a CPU


def _normal(layer: nn.Conv2d) -> list[nn.Module]:
    nn.init.kaiming_normal_(layer.weight, a=0.1)
    return [layer, nn.BatchNorm2d(layer.out_channels), nn.LeakyReLU(0.1)]


def _share(progress: float, start: float, end: float) -> float:
    """0 until the start, 1 from the end on."""
    if progress >= end:
        return 1.0
    return max(progress - start, 0.0) / (end - start)


def _axis(inner: Float[Tensor, "B 3 3"], pose: Float[Tensor, "B 3 4"]) -> Float[Tensor, "B 2 2"]:
    """Pixels of the true front, (0, 0, -1) of the thing, and back."""
    ends = torch.tensor([[0.0, 0.0, -1.0], [0.0, 0.0, 1.0]], device=pose.device, dtype=pose.dtype)
    there = rigid.apply(pose, ends.expand(len(pose), 2, 3))
    return affine.apply(inner[:, :2], there[..., :2] / there[..., 2:])


def _in_front(
    xy: Float[Tensor, "B K 2"], depth: Float[Tensor, "B K"], inner: Float[Tensor, "B 3 3"]
) -> Float[Tensor, "B K 3"]:
    """Points in the camera."""
    ray = affine.apply(affine.inverse(inner[:, :2]), xy)
    return torch.cat([ray, torch.ones_like(ray[..., :1])], dim=-1) * depth[..., None]


def _crowded(points: Float[Tensor, "B K 3"], apart: float) -> Tensor:
    """How far squared distances of points of one view fall short of `apart`, per point."""
    k = points.shape[1]
    off = (points[:, :, None] - points[:, None]).square().sum(-1)
    short = (apart - off).clamp_min(0) * ~torch.eye(k, dtype=torch.bool, device=points.device)
    return short.sum((1, 2)).mean() / k
