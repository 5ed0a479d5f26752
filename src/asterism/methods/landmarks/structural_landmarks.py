"""structural-landmarks: points, and a word of appearance for each, from which the whole picture is redrawn.

A network shares every cell of a picture among K points and a background, so that points cannot fall together;
each point keeps a few numbers about how the picture looks around it. From the points' places, drawn as
Gaussians of several widths and filled with those numbers, a decoder must redraw the picture. Points that are
sharp, apart and follow every warp, and that say enough to redraw, settle on the parts of the object.

Yuting Zhang, Yijie Guo, Yixin Jin, Yijun Luo, Zhiyuan He, Honglak Lee, Unsupervised Discovery of Object
Landmarks as Structural Representations, CVPR 2018, https://arxiv.org/abs/1804.04412.

    section 3, softmax over K points and a background, moments  -> forward
    section 3, concentration constraint                         -> CONCENTRATION
    section 3, separation constraint                            -> losses.equivariance.separation
    section 3, equivariance constraint, two kinds of splines    -> _equivariance, CONTROL
    section 3, local latent descriptors                         -> describe
    section 3, landmark-based decoder                           -> rasters, redraw
    section 3, weighted sum, reconstruction rising in the run   -> loss, recycle

Departs from the paper:
- sizes and weights are the public code's (lmdis-rep) for ten points on faces, its units included: separation
  and concentration in sides of the picture, equivariance in half sides, sums over points and pixels.
- the concentration is the exponential of the entropy of the Gaussian with the map's variance, 2 pi e sigma^2,
  as in that code ("gaussian"); "entropy" is that of the map itself, which two sharp peaks satisfy too.
- a cell of the drawing weighs the points' densities against a background of 1, both per area of the picture;
  the code divides by sigma^4 instead of sigma^2, by which its wide Gaussians all but vanish.
- U-Nets with GroupNorm instead of hourglasses with batch normalisation, and pictures are not padded.
- splines are geometry.tps's: normal displacements as in the code, but turn, scale and shift uniform. Those
  that are held by the landmarks ("landmarks", which the code draws and never uses) also have the picture's
  corners to hold on to; where two landmarks lie too near to each other, a ring of regular places is held.
- a point that a warp takes out of the picture costs no equivariance. Colours are jittered as in the code,
  by as much as we chose.
- nothing for videos: the paper asks the points to follow the optical flow of Human3.6M, and there removes the
  background first. `background` "removed" does that where the data know what differs from a still one;
  elsewhere many points settle in a ring on the background, as those of the code do.
- presets other than "paper" are ours: half the resolution, small networks, narrower Gaussians. In whole
  pictures a minute or two teaches points where an animal is, not which way it faces.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from asterism.geometry import affine
from asterism.geometry.coords import image_centre, xy_from_xyn
from asterism.geometry.tps import ThinPlateSpline
from asterism.geometry.warp import Inverse, Warp
from asterism.losses import equivariance
from asterism.methods.base import Trainable
from asterism.nets.unet import UNet
from asterism.ops.raster import gaussian_scales
from asterism.ops.readout import Readout, channel_softmax
from asterism.ops.sampling import warp_image
from asterism.types import Augment, Images, Keypoints2D, Recipe

NEAREST = 0.02  # sides: landmarks nearer than that to each other cannot both hold a spline
GREY = 0.5


@dataclass(frozen=True)
class StructuralLandmarksConfig:
    """Lengths are fractions of the picture's shorter side, angles degrees."""

    n_keypoints: int = 10  # K
    input_size: tuple[int, int] = (80, 80)
    stride: int = 1  # of the maps and of what is drawn
    widths: tuple[int, ...] = (32, 64, 64, 64)  # of the detector, from fine to coarse
    feature_widths: tuple[int, ...] = (64, 128, 256, 512)
    decoder_widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    features: int = 64  # S, channels that are pooled, and those of a descriptor when it is drawn
    descriptor: int = 8  # C
    sigma: float = 1 / 8  # of the narrowest Gaussian that is drawn
    levels: int = 5  # widths of Gaussians, each sqrt 2 of the one before
    concentrate: str = "gaussian"  # or entropy
    concentration: float = 100.0
    separation: float = 20.0
    separation_sigma: float = 0.08
    equivariance: float = 1e4
    control: str = "grid"  # or landmarks
    grid: int = 7  # control points per side
    displacement: float = 0.05  # standard deviation, of each control point
    rotation: float = 17.0  # as much as a normal angle of 10 degrees
    scale: float = 0.38  # as much as a normal logarithm of log 1.25
    shift: float = 0.15
    reconstruction: tuple[float, ...] = (0.1, 1.0, 10.0)
    rises_at: tuple[float, ...] = (1 / 3, 2 / 3)  # of the run: the next weight of the reconstruction
    background: str = "kept"  # or removed, where the data know it


SMALL = StructuralLandmarksConfig(
    n_keypoints=8,
    input_size=(64, 64),
    stride=2,
    widths=(16, 32, 48),
    feature_widths=(16,),
    decoder_widths=(16, 32, 48),
    features=16,
    levels=3,
    sigma=1 / 16,
    grid=4,
    separation=10.0,
    equivariance=1000.0,
    reconstruction=(1.0, 5.0),
    rises_at=(0.5,),
    background="removed",
)


@dataclass(frozen=True)
class Raw:
    points: Readout
    background: Float[Tensor, "B 1 h w"]  # the share of the picture that is no point's; sums to 1


class StructuralLandmarks(Trainable[Images, Raw, Keypoints2D]):
    name = "structural-landmarks"
    family = "landmarks"
    paper = (
        "Zhang, Guo, Jin, Luo, He, Lee, Unsupervised Discovery of Object Landmarks as Structural "
        "Representations, CVPR 2018"
    )
    link = "https://arxiv.org/abs/1804.04412"
    Config = StructuralLandmarksConfig
    presets: ClassVar = {
        "paper": StructuralLandmarksConfig(),
        "small": SMALL,
        "whole": replace(SMALL, input_size=(96, 96), sigma=1 / 24, separation_sigma=0.05),
        "tiny": StructuralLandmarksConfig(
            n_keypoints=3,
            input_size=(32, 32),
            stride=2,
            widths=(16, 32),
            feature_widths=(8,),
            decoder_widths=(16, 16),
            features=8,
            descriptor=4,
            levels=2,
            grid=3,
            separation_sigma=0.15,
            equivariance=1000.0,
            reconstruction=(20.0,),
            rises_at=(),
        ),
    }
    takes = Images
    gives = Keypoints2D
    learns_from = Images
    recipe = Recipe(
        steps=300_000,
        batch_size=16,
        lr=1e-3,
        weight_decay=1e-6,
        schedule="steps",
        milestones=(1 / 3, 2 / 3),
        augment=Augment(brightness=0.2, contrast=0.2),
    )
    recipes: ClassVar = dict.fromkeys(
        ("small", "whole"),
        Recipe(
            steps=1500,
            batch_size=16,
            optimiser="adamw",
            lr=2e-3,
            schedule="cosine",
            warmup=0.03,
            clip=5.0,
            ema=0.98,
            augment=Augment(brightness=0.1, contrast=0.1),
        ),
    )

    rises: Tensor  # (): the weight of the reconstruction now

    def __init__(self, config: StructuralLandmarksConfig) -> None:
        super().__init__(config)
        c = config
        for field, known in (("concentrate", CONCENTRATION), ("control", CONTROL), ("background", GROUND)):
            if getattr(c, field) not in known:
                raise ValueError(f"{field}: wanted {' or '.join(known)}, got {getattr(c, field)}")
        if len(c.reconstruction) != len(c.rises_at) + 1:
            raise ValueError(f"reconstruction: wanted {len(c.rises_at) + 1} weights, got {c.reconstruction}")
        k, seen = c.n_keypoints + 1, 3 * c.stride**2  # pixels of a cell become channels
        self.detector = UNet(seen, k, widths=c.widths)
        self.look = UNet(seen, c.features, widths=c.feature_widths)
        self.squeeze = nn.Parameter(torch.randn(k, c.features, c.descriptor) / math.sqrt(c.features))
        self.expand = nn.Parameter(torch.randn(k, c.descriptor, c.features) / math.sqrt(c.descriptor))
        self.draw = UNet(c.levels * (k + c.features), seen, widths=c.decoder_widths)
        self.register_buffer("rises", torch.tensor(float(c.reconstruction[0])))

    # --------------------------------------------------------------------------------------- three verbs

    def forward(self, batch: Images) -> Raw:
        logits = self.detector(self._cells(GROUND[self.config.background](batch))).float()
        ground = logits.softmax(1)[:, -1:]
        total = ground.sum((2, 3), keepdim=True).clamp(min=torch.finfo(ground.dtype).tiny)
        return Raw(points=channel_softmax(logits, self.config.stride), background=ground / total)

    def decode(self, raw: Raw, batch: Images) -> Keypoints2D:
        """Means of the maps; the score is the largest share that a point has of any cell."""
        found, turn = raw.points, batch.to_source[:, None, :, :2]
        return Keypoints2D(
            xy=affine.apply(batch.to_source, found.xy),
            score=found.presence,
            cov=turn @ found.cov @ turn.mT,
            maps=found.maps,
        )

    def loss(self, batch: Images) -> dict[str, Tensor]:
        c = self.config
        size = (batch.image.shape[2], batch.image.shape[3])
        side = min(size)
        raw = self.forward(batch)
        again, apart = self._equivariance(batch, raw.points.xy)
        both = torch.cat([raw.points.xy, again.xy]) / side
        pairs = c.n_keypoints * (c.n_keypoints - 1)
        image = GROUND[c.background](batch)
        spread = [CONCENTRATION[c.concentrate](found, size) for found in (raw.points, again)]
        return {
            "reconstruction": self.rises
            * (self.redraw(image, raw) - image).square().sum()
            / (2 * len(image)),
            "concentration": c.concentration * c.n_keypoints * (spread[0] + spread[1]) / 2,
            "separation": c.separation * pairs * equivariance.separation(both, c.separation_sigma),
            "equivariance": c.equivariance * c.n_keypoints * apart * 4 / side**2,
        }

    # ------------------------------------------------------------------------------------------ the parts

    def redraw(self, image: Float[Tensor, "B 3 H W"], raw: Raw) -> Float[Tensor, "B 3 H W"]:
        """The picture, drawn from the places of the points and their descriptors alone."""
        weights = torch.cat([raw.points.maps, raw.background], 1)
        words = self.describe(self.look(self._cells(image)), weights)
        drawn = self.draw(self.rasters(raw.points.xy, words, weights.shape[2:]))
        return F.pixel_shuffle(drawn, self.config.stride).sigmoid()

    def describe(
        self, features: Float[Tensor, "B S h w"], weights: Float[Tensor, "B K1 h w"]
    ) -> Float[Tensor, "B K1 C"]:
        """Features averaged where each point, or the background, is; each has a projection of its own."""
        pooled = torch.einsum("bshw,bkhw->bks", features, weights)
        return torch.einsum("bks,ksc->bkc", pooled, self.squeeze)

    def rasters(
        self, xy: Float[Tensor, "B K 2"], words: Float[Tensor, "B K1 C"], size: tuple[int, ...]
    ) -> Float[Tensor, "B D h w"]:
        """Per width of Gaussian: whose each cell is, and the descriptors spread out accordingly."""
        c, (h, w) = self.config, size
        side = min(h, w)
        sigmas = [c.sigma * side * math.sqrt(2) ** level for level in range(c.levels)]
        peaks = xy.new_tensor([side**2 / (2 * math.pi * sigma**2) for sigma in sigmas])
        density = gaussian_scales(xy, (h, w), c.stride, sigmas) * peaks[:, None, None]
        density = torch.cat([density, torch.ones_like(density[:, :1])], 1)  # B K1 L h w
        share = density / density.sum(1, keepdim=True)
        spoken = F.leaky_relu(torch.einsum("bkc,kcs->bks", words, self.expand))
        spread = torch.einsum("bklhw,bks->blshw", share, spoken)
        return torch.cat([share.flatten(1, 2), spread.flatten(1, 2)], 1)

    def recycle(self, batch: Images, progress: float) -> str:
        """The weight of the reconstruction rises in steps."""
        c = self.config
        weight = c.reconstruction[sum(at <= progress for at in c.rises_at)]
        if float(self.rises) == torch.tensor(float(weight)):
            return ""
        self.rises.fill_(weight)
        return f"the reconstruction weighs {weight:g} from here on"

    def _cells(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        return F.pixel_unshuffle(image, self.config.stride)

    def _equivariance(self, batch: Images, xy: Float[Tensor, "B K 2"]) -> tuple[Readout, Tensor]:
        """What is found in a warped picture, and its mean squared distance (px^2) from the points shown."""
        size = (batch.image.shape[2], batch.image.shape[3])
        warp = CONTROL[self.config.control](self.config, size, xy.detach())
        change = None if batch.change is None else warp_image(batch.change, warp)
        seen = Images(image=warp_image(batch.image, warp), to_source=batch.to_source, change=change)
        again = self.forward(seen).points
        with torch.no_grad():
            moved = warp.points(xy)
            inside = ((moved >= 0) & (moved <= moved.new_tensor([size[1] - 1, size[0] - 1]))).all(-1)
        return again, equivariance.align_points(warp.inverse_points(again.xy), xy, inside)


def _random(
    c: StructuralLandmarksConfig, size: tuple[int, int], like: Tensor, displacement: int | float
) -> Inverse:
    """The picture is warped by the inverse of a random spline, which is a random spline as well."""
    spline = ThinPlateSpline.random(
        len(like),
        size,
        grid=c.grid,
        displacement=displacement,
        rotation=math.radians(c.rotation),
        scale=c.scale,
        shift=c.shift,
        generator=None,
        like=like,
    )
    return Inverse(spline)


def _held_by_grid(c: StructuralLandmarksConfig, size: tuple[int, int], xy: Tensor) -> Warp:
    return _random(c, size, xy, c.displacement)


def _held_by_landmarks(c: StructuralLandmarksConfig, size: tuple[int, int], xy: Tensor) -> Warp:
    """Each landmark moves on its own, by about a quarter of the way to its neighbour at most."""
    k = xy.shape[1]
    turn = torch.arange(k, device=xy.device, dtype=xy.dtype) * (2 * math.pi / k)
    ring = torch.stack([turn.cos(), turn.sin()], -1) * (min(size) / 3) + image_centre(size, like=xy)
    crowded = _to_neighbour(xy).amin(-1) < NEAREST * min(size)
    xy = torch.where(crowded[:, None, None], ring, xy)
    reach = (_to_neighbour(xy) / 4).clamp(max=c.displacement * min(size))
    return held_by(xy, torch.randn_like(xy) * reach[..., None], size, _random(c, size, xy, 0.0))


def held_by(
    xy: Float[Tensor, "B K 2"], drawn: Float[Tensor, "B K 2"], size: tuple[int, int], rest: Warp
) -> Inverse:
    """A warp that takes points where `rest` does, moved by `drawn`, and the corners where `rest` does."""
    edge = xy.new_tensor([[-1, -1], [1, -1], [-1, 1], [1, 1]])
    control = torch.cat([xy, xy_from_xyn(edge, size).expand(len(xy), 4, 2)], 1)
    moved = rest.points(control) + F.pad(drawn, (0, 0, 0, 4))
    return Inverse(ThinPlateSpline.from_points(moved, control))


def _to_neighbour(xy: Float[Tensor, "B K 2"]) -> Float[Tensor, "B K"]:
    """Distance from each point to the nearest other one."""
    itself = torch.eye(xy.shape[1], device=xy.device, dtype=torch.bool)
    return torch.cdist(xy, xy).masked_fill(itself, torch.inf).amin(-1)


def _gaussian_entropy(found: Readout, size: tuple[int, int]) -> Tensor:
    """2 pi e sigma^2, sigma^2 the mean of both variances, in squared sides of the picture."""
    return math.pi * math.e * equivariance.concentration(found.cov) / min(size) ** 2


def _map_entropy(found: Readout, size: tuple[int, int]) -> Tensor:
    """The area that the map is spread over, in squared sides of the picture."""
    return equivariance.entropy_concentration(found.maps) * (max(size) / min(size))


def _kept(batch: Images) -> Tensor:
    return batch.image


def _removed(batch: Images) -> Tensor:
    """Grey where nothing differs from the still background; the picture itself where none is known."""
    if batch.change is None:
        return batch.image
    peak = batch.change.flatten(1).quantile(0.99, dim=1).clamp(min=0.02)
    on = (2 * batch.change / peak[:, None, None, None]).clamp(0, 1)
    return batch.image * on + GREY * (1 - on)


CONTROL: Mapping[str, Callable[[StructuralLandmarksConfig, tuple[int, int], Tensor], Warp]] = {
    "grid": _held_by_grid,
    "landmarks": _held_by_landmarks,
}
CONCENTRATION: Mapping[str, Callable[[Readout, tuple[int, int]], Tensor]] = {
    "gaussian": _gaussian_entropy,
    "entropy": _map_entropy,
}
GROUND: Mapping[str, Callable[[Images], Tensor]] = {"kept": _kept, "removed": _removed}
