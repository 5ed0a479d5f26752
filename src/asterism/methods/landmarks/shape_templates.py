"""shape-templates: a jointed body of ellipses, written down by hand, is laid over every picture.

What a body is made of is known before the first picture is seen: so many parts, this long and that wide, hung
together so. A network moves every part of such a template by an affine map of its own, until a second network
can redraw the frame from the drawn parts and another frame of the same clip, which lends the appearance.
Where two parts hang together, both must say the same place. The points come out with names: where each part
ends.

Luca Schmidtke, Athanasios Vlontzos, Simon Ellershaw, Anna Lukens, Tomoki Arichi, Bernhard Kainz, Unsupervised
Human Pose Estimation Through Transforming Shape Templates, CVPR 2021, https://arxiv.org/abs/2105.04154.

    section 3, template of 2D Gaussians, anchor points -> Part, HUMAN, animal
    section 3, parameters of the parts' affine maps    -> forward
    section 3, transformed template                    -> _placed, _draw
    section 3, frame from template and another frame   -> _redraw
    section 3, reconstruction                          -> loss: reconstruction
    section 3, anchor points coincide                  -> loss: anchors
    section 3, parts stay inside the picture           -> loss: boundary

Written from the abstract, the authors' project page and facts read in their public code; the paper's own text
was not at hand, and its sections' parts are not numbered here for that reason.

Departs from the paper:
- a part's map turns and stretches it about its own centre; in the public code about the picture's corner, so
  that a part that turns has to be fetched back. Parts are drawn by their formula, not as warped pictures.
- the drawing network is a U-Net whose shortcuts carry the other frame's background; the public code's has
  none. Group normalisation, and two convolutions per scale; the picture's pixels go in by blocks.
- absolute differences at three scales and of a frozen random network's features instead of a VGG-19's.
- anchors: squared distances in the picture's shorter side, summed over the joints; the public code's mean
  over three coordinates, one of which is always 0, has a third of them. boundary: how far a point is
  outside, where the public code takes its whole distance from the middle (the same gradient, no jump), of
  all points; there a slip of the pen counts the trunk's alone.
- `rigid` over 0 keeps parts near their own size. In a short training a part is else soon anything: a tail
  that is as wide as the trunk. The paper does not do this; nor this:
- `ground` under 1 lets pixels that are like the still background in both frames count less, where one is
  known.
- proportions of the human template are those of D. Winter, Biomechanics and Motor Control of Human Movement,
  with the 18 parts of the public code's; the animal from above is ours.
- a folder of pictures has no second frame: it is a random thin-plate spline of the first.
- the score, ours, falls with the gap between a part and the one it hangs on; the root's is 1.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from asterism.geometry import affine
from asterism.geometry.coords import image_centre, xyn_from_xy
from asterism.geometry.precision import full_precision
from asterism.losses.reconstruction import multiscale_l1
from asterism.methods.base import Trainable
from asterism.nets.random_pyramid import RandomPyramid
from asterism.nets.unet import ConvBlock, UNet
from asterism.ops.raster import ellipses
from asterism.ops.sampling import warp_image
from asterism.ops.views import Bend, random_spline
from asterism.types import Clips, Images, Keypoints2D, Recipe

LOOSE = 0.1  # half sides: a gap between a part and its parent at which the score has fallen to exp(-1/2)


@dataclass(frozen=True)
class Part:
    """A Gaussian from `joint`, where it hangs on its parent, to `tip`, whose place is a keypoint.

    Coordinates are in half sides of the picture from its middle, x to the right and y down. Two thirds of the
    length are two standard deviations; `width` is the standard deviation across. The root has no parent.
    """

    name: str
    parent: str
    joint: tuple[float, float]
    tip: tuple[float, float]
    width: float


def _two(
    name: str, parent: str, joint: tuple[float, float], tip: tuple[float, float], width: float
) -> Iterator[Part]:
    """A part at positive x, the person's left, and its mirror image; their parent is one or a pair itself."""
    pair = parent in ("hip", "thigh", "shin", "shoulder", "arm", "forearm")
    for side, s in (("left", 1), ("right", -1)):
        above = f"{side} {parent}" if pair else parent
        yield Part(f"{side} {name}", above, (s * joint[0], joint[1]), (s * tip[0], tip[1]), width)


HUMAN = (
    Part("core", "", (0.0, 0.05), (0.0, -0.42), 0.13),
    Part("head", "core", (0.0, -0.42), (0.0, -0.76), 0.08),
    *_two("hip", "core", (0.0, 0.05), (0.11, 0.08), 0.07),
    *_two("thigh", "hip", (0.11, 0.08), (0.14, 0.49), 0.06),
    *_two("shin", "thigh", (0.14, 0.49), (0.15, 0.88), 0.045),
    *_two("foot", "shin", (0.15, 0.88), (0.2, 0.96), 0.035),
    *_two("shoulder", "core", (0.0, -0.42), (0.2, -0.4), 0.06),
    *_two("arm", "shoulder", (0.2, -0.4), (0.52, -0.4), 0.045),
    *_two("forearm", "arm", (0.52, -0.4), (0.77, -0.4), 0.035),
    *_two("hand", "forearm", (0.77, -0.4), (0.87, -0.4), 0.03),
)


def animal(k: int) -> tuple[Part, ...]:
    """k parts of a four-legged animal that is seen from above and looks along +x.

    Chest, head, rump and tail first, then the paws; what is left over divides the tail.
    """
    body = (
        Part("chest", "", (-0.07, 0.0), (0.28, 0.0), 0.11),
        Part("head", "chest", (0.28, 0.0), (0.65, 0.0), 0.08),
        Part("rump", "chest", (-0.07, 0.0), (-0.42, 0.0), 0.12),
    )
    paws = tuple(
        Part(f"{side} {end} paw", parent, (x, s * 0.08), (x + out, s * 0.28), 0.04)
        for end, parent, x, out in (("fore", "chest", 0.2, 0.05), ("hind", "rump", -0.25, -0.03))
        for side, s in (("left", -1), ("right", 1))
    )
    n = max(1, k - len(body) - len(paws))
    bend = [-0.42 - 0.5 * i / n for i in range(n + 1)]
    tail = tuple(
        Part(f"tail {i}", f"tail {i - 1}" if i else "rump", (a, 0.0), (b, 0.0), 0.03)
        for i, (a, b) in enumerate(pairwise(bend))
    )
    return (*body, tail[0], *paws, *tail[1:])[:k]


@dataclass(frozen=True)
class ShapeTemplatesConfig:
    """An empty `template` is the animal from above with n_keypoints parts; else it must have as many."""

    n_keypoints: int = 18
    input_size: tuple[int, int] = (256, 256)
    template: tuple[Part, ...] = HUMAN
    size: float = 1.0  # times the template's own
    stride: int = 1  # of the drawing; blocks of pixels become channels
    regressor: tuple[int, ...] = (32, 64, 128, 256, 512, 512, 512)  # at strides `stride`, 2 * stride, ...
    hidden: int = 512
    translator: tuple[int, ...] = (32, 64, 128, 256)
    reconstruction: float = 1.0
    features: float = 1.0
    anchors: float = 0.5
    boundary: float = 1.0
    rigid: float = 0.0  # of how far a part's linear map is from a turn; not the paper's
    ground: float = 1.0  # weight of a pixel that is like the still background
    displacement: float = 0.05  # of the spline that stands in for a second frame; see ThinPlateSpline.random
    rotation: float = 15.0  # degrees, the same
    scale: float = 0.1  # the same
    shift: float = 0.05  # the same


Raw = Tensor  # "B P 6": of each part a linear map less the identity, and a shift in half sides


@dataclass(frozen=True)
class Placed:
    """The parts in network pixels."""

    turn: Float[Tensor, "B P 2 2"]  # linear part of each map
    centre: Float[Tensor, "B P 2"]
    cov: Float[Tensor, "B P 2 2"]
    joint: Float[Tensor, "B P 2"]
    tip: Float[Tensor, "B P 2"]
    wanted: Float[Tensor, "B P 2"]  # where the parent says the joint is; the root agrees with itself


class ShapeTemplates(Trainable[Images, Raw, Keypoints2D]):
    name = "shape-templates"
    family = "landmarks"
    paper = (
        "Schmidtke et al., Unsupervised Human Pose Estimation Through Transforming Shape Templates, CVPR 2021"
    )
    link = "https://arxiv.org/abs/2105.04154"
    Config = ShapeTemplatesConfig
    small: ClassVar = ShapeTemplatesConfig(
        n_keypoints=8,
        input_size=(64, 64),
        template=(),
        stride=2,
        regressor=(16, 24, 48, 64),
        hidden=128,
        translator=(16, 32, 48),
        features=3.0,
        rigid=0.02,
        ground=0.2,
    )
    presets: ClassVar = {
        "paper": ShapeTemplatesConfig(),
        "small": small,
        "whole": replace(small, input_size=(96, 96), size=0.6, regressor=(16, 24, 48, 64, 64)),
        "human": replace(
            small, n_keypoints=18, input_size=(96, 96), template=HUMAN, regressor=(16, 24, 48, 64, 64)
        ),
        "tiny": replace(
            small, n_keypoints=3, input_size=(32, 32), regressor=(8, 8, 16), hidden=16, translator=(8, 8)
        ),
    }
    takes = Images
    gives = Keypoints2D
    learns_from = Clips
    clip_length: ClassVar[int] = 2
    # The public code's 50 epochs; how many steps that is depends on the frames
    recipe = Recipe(steps=50_000, batch_size=48, lr=1e-4)
    brief = Recipe(steps=1500, batch_size=16, lr=1e-3, schedule="cosine", warmup=0.03, clip=5.0, ema=0.98)
    recipes: ClassVar = {"small": brief, "whole": brief, "human": brief}

    # What the template says, in network pixels
    joint: Float[Tensor, "P 2"]
    tip: Float[Tensor, "P 2"]
    cov: Float[Tensor, "P 2 2"]
    parent: Int64[Tensor, " P"]

    def __init__(self, config: ShapeTemplatesConfig) -> None:
        super().__init__(config)
        parts = config.template or animal(config.n_keypoints)
        if len(parts) != config.n_keypoints:
            raise ValueError(
                f"n_keypoints: the template has {len(parts)} parts and gives as many points, not "
                f"{config.n_keypoints}; leave the template empty for an animal of any number of parts"
            )
        h, w = config.input_size
        coarsest = config.stride * 2 ** (max(len(config.regressor), len(config.translator)) - 1)
        if h % coarsest or w % coarsest:
            raise ValueError(f"input_size: wanted multiples of {coarsest}, got {config.input_size}")
        self._write_down(parts)
        block = 3 * config.stride**2
        self.regressor = nn.ModuleList(ConvBlock(a, b) for a, b in pairwise((block, *config.regressor)))
        last = config.stride * 2 ** (len(config.regressor) - 1)
        cells = (h // last) * (w // last) * config.regressor[-1]
        self.hidden = nn.Sequential(nn.Linear(cells, config.hidden), nn.ReLU())
        self.maps = nn.Linear(config.hidden, 6 * len(parts))
        nn.init.zeros_(self.maps.weight)  # the untrained network lays down the template as it is
        nn.init.zeros_(self.maps.bias)
        self.translator = UNet(block + len(parts), block, widths=config.translator)
        self.pyramid = RandomPyramid()

    def _write_down(self, parts: Sequence[Part]) -> None:
        """The template as buffers. They follow from the config and are not saved."""
        index = {part.name: i for i, part in enumerate(parts)}
        roots = [part.name for part in parts if not part.parent]
        lost = [part.name for part in parts if part.parent and part.parent not in index]
        if len(roots) != 1 or lost or len(index) != len(parts):
            raise ValueError(
                f"template: wanted one root, known parents and names that differ; roots are {roots}, "
                f"without a parent in the template are {lost}, the names are {[p.name for p in parts]}"
            )
        middle = image_centre(self.config.input_size, like=torch.zeros(()))
        scale = self.config.size * self.unit
        ends = [[part.joint, part.tip] for part in parts]
        joint, tip = (middle + scale * torch.tensor(ends, dtype=middle.dtype)).unbind(1)
        along = (tip - joint) / 3
        across = torch.stack([-along[:, 1], along[:, 0]], -1) / along.norm(dim=-1, keepdim=True)
        across = across * scale * torch.tensor([[part.width] for part in parts])
        axes = torch.stack([along, across], -1)
        self.register_buffer("joint", joint, persistent=False)
        self.register_buffer("tip", tip, persistent=False)
        self.register_buffer("cov", axes @ axes.mT, persistent=False)
        parent = torch.tensor([index.get(part.parent, i) for i, part in enumerate(parts)])
        self.register_buffer("parent", parent, persistent=False)

    @property
    def unit(self) -> float:
        """Half the shorter side, in network pixels."""
        return min(self.config.input_size) / 2

    # --------------------------------------------------------------------------------------- three verbs

    def forward(self, batch: Images) -> Raw:
        x = F.pixel_unshuffle(batch.image, self.config.stride)
        for level, block in enumerate(self.regressor):
            x = block(F.avg_pool2d(x, 2) if level else x)
        x = self.hidden(x.flatten(1))
        with full_precision(x):
            return self.maps(x.float()).unflatten(1, (-1, 6))

    def decode(self, raw: Raw, batch: Images) -> Keypoints2D:
        """The parts' ends; the score falls with the gap between a part and the one that it hangs on."""
        placed = self._placed(raw)
        gap = (placed.joint - placed.wanted).square().sum(-1) / self.unit**2
        return Keypoints2D(
            xy=affine.apply(batch.to_source, placed.tip),
            score=(-gap / (2 * LOOSE**2)).exp(),
            maps=self._draw(placed),
        )

    def loss(self, batch: Clips) -> dict[str, Tensor]:
        c = self.config
        image, other, weight = self._pair(batch)
        placed = self._placed(self.forward(Images(image=image, to_source=batch.to_source[:, 0])))
        drawn = self._redraw(other, self._draw(placed))
        gap = (placed.joint - placed.wanted).square().sum(-1) / (2 * self.unit) ** 2
        eye = torch.eye(2, device=gap.device, dtype=gap.dtype)
        ends = xyn_from_xy(torch.cat([placed.joint, placed.tip], 1), c.input_size)
        features = [
            ((a - b).abs() * F.adaptive_avg_pool2d(weight, (a.shape[2], a.shape[3]))).mean()
            for a, b in zip(self.pyramid(drawn)[1:], self.pyramid(image)[1:])
        ]
        return {
            "reconstruction": c.reconstruction * multiscale_l1(drawn, image, weight),
            "features": c.features * torch.stack(features).mean(),
            "anchors": c.anchors * gap.sum(1).mean(),
            "boundary": c.boundary * (ends.abs() - 1).relu().sum((1, 2)).mean(),
            "rigid": c.rigid * (placed.turn @ placed.turn.mT - eye).square().sum((2, 3)).mean(),
        }

    # ------------------------------------------------------------------------------------------ the parts

    def _placed(self, raw: Float[Tensor, "B P 6"]) -> Placed:
        """The template with every part under its own map, about its own centre."""
        turn = raw[..., :4].unflatten(-1, (2, 2)) + torch.eye(2, device=raw.device, dtype=raw.dtype)
        centre = (self.joint + self.tip) / 2
        moved = centre + raw[..., 4:] * self.unit  # B P 2

        def under(map_of: Tensor, point: Float[Tensor, "P 2"]) -> Float[Tensor, "B P 2"]:
            away = (point - centre[map_of])[..., None]
            return moved[:, map_of] + (turn[:, map_of] @ away)[..., 0]

        own = torch.arange(len(self.parent), device=raw.device)
        return Placed(
            turn=turn,
            centre=moved,
            cov=turn @ self.cov @ turn.mT,
            joint=under(own, self.joint),
            tip=under(own, self.tip),
            wanted=under(self.parent, self.joint),
        )

    def _draw(self, placed: Placed) -> Float[Tensor, "B P h w"]:
        h, w = (side // self.config.stride for side in self.config.input_size)
        return ellipses(placed.centre, placed.cov, (h, w), self.config.stride)

    def _redraw(
        self, other: Float[Tensor, "B 3 H W"], parts: Float[Tensor, "B P h w"]
    ) -> Float[Tensor, "B 3 H W"]:
        """The frame that the parts are of, with the appearance of another one."""
        block = F.pixel_unshuffle(other, self.config.stride)
        return F.pixel_shuffle(self.translator(torch.cat([block, parts], 1)), self.config.stride)

    def _pair(self, batch: Clips) -> tuple[Tensor, Tensor, Float[Tensor, "B 1 H W"]]:
        """The first frame, the last, and how much each pixel counts."""
        c, image = self.config, batch.image[:, 0]
        still = image.new_zeros(image.shape[0], 1, *image.shape[2:])
        if batch.image.shape[1] > 1:
            moved = still + 1 if batch.change is None else batch.change[:, [0, -1]].amax(1)
            return image, batch.image[:, -1], self._weight(moved)
        bend = Bend(displacement=c.displacement, rotation=c.rotation, scale=c.scale, shift=c.shift)
        moved = still + 1 if batch.change is None else batch.change[:, 0]
        other = warp_image(image, random_spline(bend, image))
        return image, other, self._weight(moved)

    def _weight(self, moved: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B 1 H W"]:
        share = (moved / moved.amax((2, 3), keepdim=True).clamp(min=1e-3)).clamp(0, 1)
        return self.config.ground + (1 - self.config.ground) * share
