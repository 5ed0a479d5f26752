"""keypoint-deformer: keypoints of a category of shapes, found by what they are for: moving them moves the
shape.

A network finds K points on every shape. The points of one shape are moved to those of another, a cage around
the shape follows them, and the shape follows its cage; if that makes it look like the other shape, the points
mean the same on both. Nobody labels anything. Afterwards people drag the points.

Jakab, Tucker, Makadia, Wu, Snavely, Kanazawa, "KeypointDeformer: Unsupervised 3D Keypoint Discovery for Shape
Control", CVPR 2021. https://arxiv.org/abs/2104.11224

    keypoint network (PointNet and a decoder)                -> forward
    cage: icosphere pulled towards the shape                 -> cage_of
    influence W = W_C + W_I(x), on the nearest cage vertices -> influence_of
    deformation: c' = c + W^T (p' - p), x' = MVC(x, c) c'    -> deform
    similarity loss, keypoint regulariser, influence loss    -> loss
    keypoints first, then everything                         -> step
    categorical shape prior                                  -> asterism.ops.shape_prior

Departs from the paper:
- numbers (layers, cage of 42 vertices, weights of the losses, 200 steps of keypoints alone) are those of the
  authors' code, read and not run; it weighs W_I by the mean of squares where the text has a Frobenius norm.
- a shape's target is the next shape of the batch, so that keypoints are computed once per shape, not twice.
- W_C is ten times a parameter, which for Adam is the authors' ten times higher rate.
- one Adam moves all parameters; the code has two of the same rate.
- padded rows are left out of everything, and farthest points begin at a random valid row.
- the prior is absent from the authors' code; here it is a Gaussian of principal components, conditioned
  exactly.
"""

import itertools
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from asterism.losses.clouds import chamfer, squared_distances
from asterism.methods.base import Trainable, Update
from asterism.nets.pointnet import PointNet
from asterism.ops.cage import icosphere, pulled_in
from asterism.ops.farthest import farthest
from asterism.ops.mean_value import mean_value_coordinates
from asterism.types import Clouds, Keypoints3D, Recipe

_FASTER = 10.0  # the rate of W_C over that of the networks (authors' code)


@dataclass(frozen=True)
class KeypointDeformerConfig:
    """Defaults are the authors'; shapes fill the box from -1 to 1."""

    n_keypoints: int = 8  # 8 for planes, 12 for chairs
    n_points: int = 1024  # of each shape, while learning
    widths: tuple[int, ...] = (64, 128, 256)  # of the keypoint network's PointNet
    hidden: tuple[int, ...] = (512, 256)  # of its decoder
    subdivisions: int = 1  # of the cage's icosahedron: 42 vertices, 80 faces
    cage_size: float = 1.4
    cage_distance: float = 0.4  # where the cage's vertices stop before the shape
    cage_steps: int = 100
    cage_step: float = 0.01
    least_influenced: int = 5  # cage vertices that follow one keypoint, or V / K if that is more
    farthest_per_keypoint: int = 2
    lambda_chamfer: float = 1.0
    lambda_init: float = 2.0
    lambda_influence: float = 1e6
    warmup_steps: int = 200  # of the keypoint network alone


class KeypointDeformer(Trainable[Clouds, Tensor, Keypoints3D]):
    name = "keypoint-deformer"
    family = "clouds"
    paper = "Jakab, Tucker, Makadia, Wu, Snavely, Kanazawa, KeypointDeformer, CVPR 2021"
    link = "https://arxiv.org/abs/2104.11224"
    Config = KeypointDeformerConfig
    presets: ClassVar = {
        "paper": KeypointDeformerConfig(),
        "small": KeypointDeformerConfig(n_points=256),
        "tiny": KeypointDeformerConfig(
            n_keypoints=4, n_points=64, widths=(16, 32), hidden=(32,), cage_steps=20, warmup_steps=0
        ),
    }
    takes = Clouds
    gives = Keypoints3D
    learns_from = Clouds
    recipe = Recipe(steps=2000, batch_size=16)
    recipes: ClassVar = {"small": Recipe(steps=2000, batch_size=8), "tiny": Recipe(steps=50, batch_size=4)}

    sphere: Tensor
    steps: Tensor

    def __init__(self, config: KeypointDeformerConfig) -> None:
        super().__init__(config)
        code = config.widths[-1]
        self.trunk = PointNet(config.widths)
        self.decoder = _layers((code, code, *config.hidden, 3 * config.n_keypoints))
        vertices, self.faces = icosphere(config.subdivisions)
        unit = vertices / vertices.abs().amax()  # fills the box, as the shapes do
        self.register_buffer("sphere", config.cage_size * unit, persistent=False)
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        size = config.n_keypoints * len(vertices)
        self.common = nn.Parameter(torch.zeros(config.n_keypoints, len(vertices)))  # W_C / 10
        self.own_trunk = PointNet((*config.widths[:-1], size))
        self.own_decoder = _layers((size, size, size, size))

    def forward(self, batch: Clouds) -> Tensor:
        """The keypoints, B K 3, in the box of the shapes."""
        found = self.decoder(self.trunk(batch.points, batch.valid))
        return found.view(len(batch), 3, self.config.n_keypoints).mT.clamp(-1, 1)

    def decode(self, raw: Tensor, batch: Clouds) -> Keypoints3D:
        """In the source's unit. The method knows no doubt: every score is 1."""
        matrix = batch.to_source
        xyz = raw @ matrix[:, :3, :3].mT + matrix[:, None, :3, 3]
        every = torch.ones(raw.shape[:2], dtype=torch.bool, device=raw.device)
        return Keypoints3D(xyz=xyz, score=torch.ones_like(raw[..., 0]), valid=every)

    def cage_of(self, batch: Clouds) -> Float[Tensor, "B V 3"]:
        """The sphere, each vertex pulled to where it is near the shape."""
        c = self.config
        return pulled_in(self.sphere, _filled(batch), c.cage_distance, c.cage_steps, c.cage_step)

    def influence_of(
        self, batch: Clouds, xyz: Float[Tensor, "B K 3"], cage: Float[Tensor, "B V 3"]
    ) -> tuple[Float[Tensor, "B K V"], Float[Tensor, "B K V"]]:
        """How far each cage vertex follows each keypoint, and the part of it that is this shape's own, W_I.

        A keypoint moves only the vertices nearest to it.
        """
        own = self.own_decoder(self.own_trunk(batch.points, batch.valid)).view(len(batch), *self.common.shape)
        k, v = self.common.shape
        gap = squared_distances(xyz, cage)
        reach = gap.kthvalue(max(self.config.least_influenced, v // k), dim=-1, keepdim=True).values
        return (_FASTER * self.common + own) * (gap <= reach), own

    def deform(
        self,
        batch: Clouds,
        xyz: Float[Tensor, "B K 3"],
        moved: Float[Tensor, "B K 3"],
        what: Float[Tensor, "B M 3"],
    ) -> Float[Tensor, "B M 3"]:
        """Where the points `what` (all of a mesh's vertices) go when the keypoints go from `xyz` to `moved`.

        The cage and its influences are those of the shape in `batch`; everything is in the box of the shapes.
        """
        cage = self.cage_of(batch)
        influence, _ = self.influence_of(batch, xyz, cage)
        return self._bent(cage, influence, moved - xyz, what)

    def _bent(self, cage: Tensor, influence: Tensor, shift: Tensor, what: Tensor) -> Tensor:
        with torch.no_grad():
            weights = mean_value_coordinates(what, cage, self.faces.to(what.device))
        # x + MVC(x) (c' - c): equal to MVC(x) c', without the rounding of MVC(x) c
        return what + weights @ (influence.mT @ shift)

    def loss(self, batch: Clouds) -> dict[str, Tensor]:
        c, xyz = self.config, self.forward(batch)
        with torch.no_grad():
            cage = self.cage_of(batch)
        influence, own = self.influence_of(batch, xyz, cage)
        points = _filled(batch)
        bent = self._bent(cage, influence, xyz.roll(-1, 0) - xyz, points)
        other, other_valid = points.roll(-1, 0), batch.valid.roll(-1, 0)
        return {
            "init_points": self._init_points(batch, xyz),
            "chamfer": c.lambda_chamfer * chamfer(bent, other, batch.valid, other_valid).mean(),
            "influence": c.lambda_influence * own.square().mean(),
        }

    def _init_points(self, batch: Clouds, xyz: Tensor) -> Float[Tensor, ""]:
        """Keypoints near farthest points of the shape, and the other way round."""
        first = torch.multinomial(batch.valid.float(), 1)[:, 0]
        count = self.config.farthest_per_keypoint * self.config.n_keypoints
        return (
            self.config.lambda_init * chamfer(xyz, farthest(_filled(batch), batch.valid, count, first)).mean()
        )

    def step(self, batch: Clouds, update: Update) -> dict[str, Tensor]:
        """The keypoint network alone to begin with; terms that do not count yet are written as zero."""
        self.steps += 1
        if int(self.steps) > self.config.warmup_steps:
            return super().step(batch, update)
        alone = self._init_points(batch, self.forward(batch))
        update(alone, "main")
        zero = torch.zeros_like(alone)
        return {"init_points": alone.detach(), "chamfer": zero, "influence": zero}


def _layers(sizes: tuple[int, ...]) -> nn.Sequential:
    """Linear layers with leaky ReLU between them."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])


def _filled(batch: Clouds) -> Float[Tensor, "B N 3"]:
    """The points, with the first valid one in the place of each that is not."""
    rows = torch.arange(len(batch), device=batch.points.device)
    first = batch.points[rows, batch.valid.int().argmax(1)]
    return torch.where(batch.valid[..., None], batch.points, first[:, None])
