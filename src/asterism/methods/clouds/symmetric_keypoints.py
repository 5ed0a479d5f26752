"""symmetric-keypoints: the points of a category of shapes as one small symmetric model that turns and bends.

A model of a kind of shape has few points, each with a mirror image, and a few ways to bend. A network sees a
cloud, whichever way it faces, and says how the model is turned and bent there; another part of it proposes
points of this very cloud, in no order. Proposals and model must meet on every shape, so point k of the model
becomes the same part of all. Nobody labels anything.

Fernandez-Labrador, Chhatkuli, Paudel, Guerrero, Demonceaux, Van Gool, "Unsupervised Learning of
Category-Specific Symmetric 3D Keypoints from Point Sets", ECCV 2020.
https://hal.archives-ouvertes.fr/hal-02916278

    node branch                                     -> proposed
    pose branch                                     -> heading
    coefficients branch, symmetric linear basis     -> modelled
    mirror plane that holds the vertical            -> mirror
    instance-wise symmetry, symmetric deformations  -> SymmetricKeypointsConfig.sets
    Chamfer, coverage and inclusivity losses        -> loss
    points too near to each other                   -> settle

Departs from the paper:
- only its first pages were read; numbers, layers apart, are those of the authors' code, read and not run, and
  layers are a small network's of our own.
- the rotation learns. In the authors' code the angle is cut off from the gradient, and clouds are turned by
  22.5 degrees at most; here by any angle about the vertical.
- the heading is a sum of the points as seen from the axis, weighed by what no turn about it changes, so it
  turns with the cloud, and of a symmetric shape it lies in the mirror plane. A network that has to learn
  every turn (the pose branch as published) is measured in docs/symmetric-keypoints.md.
- the coefficients are read from the cloud turned back by the heading, so they do not change with a turn.
- the mirror plane begins along the heading, not at random, and its normal is free to turn.
- lengths are shares of the cloud's spread (root mean squared distance to the middle), and the middle is the
  mean of the points: no turn changes either.
- keypoints are the model's points, which have an order; the proposed ones have none.
- points that lie on each other on the median of the shapes kept back are told once (a point near the mirror
  plane lies on its own image). The authors' code looks for them where it draws, shape by shape.
- the small preset learns from a fourth of the points that it is used with: it learns faster, and what more
  points tell it is a surer heading.
- a model without symmetry is not here but in bench/clouds_symmetric.py, as a control.
- "paper": the rate falls tenfold where the authors' halvings every 40 epochs would have it so; steps are 280
  epochs of 4000 shapes.
"""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from asterism.errors import RequestError
from asterism.losses.clouds import chamfer, coverage, inclusivity, squared_distances
from asterism.methods.base import Trainable
from asterism.nets.pointnet import PointNet
from asterism.ops.cloud_spread import spread
from asterism.ops.farthest import farthest
from asterism.types import Clouds, Keypoints3D, Recipe


@dataclass(frozen=True)
class SymmetricKeypointsConfig:
    """Defaults are the authors', layers apart; lengths are shares of the cloud's spread."""

    n_keypoints: int = 14  # M, an even number: half of them are the mirror images of the others
    n_points: int = 1600  # of each shape
    n_seen: int = 1600  # of these, while learning
    basis: int = 10  # K, ways to bend
    sets: int = 1  # of coefficients: 1, every shape is symmetric; 2, only the ways to bend are
    neighbours: int = 3  # nodes that a node hears of, itself included
    near: tuple[int, ...] = (64, 64)  # for each point of a node
    around: tuple[int, ...] = (128, 128)  # for each neighbour of a node
    head: tuple[int, ...] = (128,)
    pose: tuple[int, ...] = (64, 128, 256)
    pose_head: tuple[int, ...] = (128,)
    bend: tuple[int, ...] = (64, 128, 256)
    bend_head: tuple[int, ...] = (128,)
    turned: float = 180.0  # degrees about the vertical, either way, while learning
    lambda_chamfer: float = 1.0
    lambda_coverage: float = 1.0
    lambda_inclusivity: float = 2.0
    non_max: float = 0.2  # how near to each other two keypoints may not be


@dataclass(frozen=True)
class Raw:
    """In the batch's unit. `proposed` have no order; `modelled` are the keypoints."""

    proposed: Float[Tensor, "B M 3"]
    modelled: Float[Tensor, "B M 3"]
    heading: Float[Tensor, "B 2"]  # cosine and sine of the angle about y by which the model is turned


_SMALL = SymmetricKeypointsConfig(
    n_points=1024,
    n_seen=256,
    near=(32, 32),
    around=(64, 64),
    head=(64,),
    pose=(32, 32),
    pose_head=(32,),
    bend=(32, 64, 128),
    bend_head=(64,),
)


class SymmetricKeypoints(Trainable[Clouds, Raw, Keypoints3D]):
    name = "symmetric-keypoints"
    family = "clouds"
    paper = (
        "Fernandez-Labrador, Chhatkuli, Paudel, Guerrero, Demonceaux, Van Gool, Unsupervised Learning of "
        "Category-Specific Symmetric 3D Keypoints from Point Sets, ECCV 2020"
    )
    link = "https://hal.archives-ouvertes.fr/hal-02916278"
    Config = SymmetricKeypointsConfig
    presets: ClassVar = {
        "paper": SymmetricKeypointsConfig(),
        "small": _SMALL,
        "tiny": replace(
            _SMALL,
            n_keypoints=6,
            n_points=64,
            n_seen=64,
            basis=3,
            near=(8, 16),
            around=(16,),
            head=(16,),
            pose=(8, 8),
            pose_head=(8,),
            bend=(16, 32),
            bend_head=(16,),
        ),
    }
    takes = Clouds
    gives = Keypoints3D
    learns_from = Clouds
    recipe = Recipe(steps=35_000, batch_size=32, schedule="steps", milestones=(0.475, 0.95))
    recipes: ClassVar = {
        "small": Recipe(steps=3000, batch_size=16, lr=3e-3, schedule="cosine"),
        "tiny": Recipe(steps=50, batch_size=4),
    }

    kept: Tensor

    def __init__(self, config: SymmetricKeypointsConfig) -> None:
        super().__init__(config)
        c = config
        if c.n_keypoints < 2 or c.n_keypoints % 2:
            raise RequestError(
                f"{c.n_keypoints} points: wanted an even number such as -k 14, half are mirrored"
            )
        if c.sets not in (1, 2):
            raise RequestError(f"sets {c.sets}: wanted 1 (symmetric shapes) or 2 (symmetric ways to bend)")
        self.near = _layers((3, *c.near))
        self.around = _layers((3 + c.near[-1], *c.around))
        self.last = nn.Sequential(_layers((c.around[-1] + c.near[-1], *c.head)), nn.Linear(c.head[-1], 3))
        self.about = _layers((2, *c.pose))
        self.weigh = nn.Sequential(_layers((2 * c.pose[-1], *c.pose_head)), nn.Linear(c.pose_head[-1], 1))
        self.bend = PointNet(c.bend)
        told = nn.Linear(c.bend_head[-1], c.sets * c.basis)
        self.bend_head = nn.Sequential(_layers((c.bend[-1], *c.bend_head)), told)
        self.shapes = nn.Parameter(torch.rand(c.basis, c.n_keypoints // 2, 3) - 0.5)
        self.plane = nn.Parameter(torch.tensor([1.0, 0.0]))  # x and z of the plane's normal, of any length
        self.register_buffer("kept", torch.ones(c.n_keypoints, dtype=torch.bool))

    def forward(self, batch: Clouds) -> Raw:
        middle, size = _middle(batch), spread(batch.points, batch.valid)
        unit = size.clamp_min(torch.finfo(size.dtype).tiny)[:, None, None]
        points = (batch.points.masked_fill(~batch.valid[..., None], 0.0) - middle) / unit
        points = points.masked_fill(~batch.valid[..., None], 0.0)
        heading = self.heading(points, batch.valid)
        return Raw(
            proposed=self.proposed(points, batch.valid) * unit + middle,
            modelled=self.modelled(points, batch.valid, heading) * unit + middle,
            heading=heading,
        )

    def proposed(self, points: Float[Tensor, "B N 3"], valid: Bool[Tensor, "B N"]) -> Float[Tensor, "B M 3"]:
        """One point for each part of the cloud, in no order: from the middle of the part a step that what is
        around it tells.
        """
        b, m = len(points), self.config.n_keypoints
        far = points.square().sum(-1).masked_fill(~valid, -1.0)
        if self.training:
            far = torch.rand_like(far).masked_fill(~valid, -1.0)
        nodes = farthest(points, valid, m, far.argmax(1))
        owner = squared_distances(points, nodes).argmin(2).masked_fill(~valid, m)  # m: nobody's
        count = nn.functional.one_hot(owner, m + 1).sum(1).to(points)[:, :m, None]
        total = points.new_zeros(b, m + 1, 3).scatter_add(1, _wide(owner, 3), points)[:, :m]
        centre = torch.where(count > 0, total / count.clamp_min(1), nodes)  # the same point came twice
        local = points - torch.cat([centre, centre[:, :1]], dim=1).gather(1, _wide(owner, 3))
        told = self.near(local)
        empty, rows = told.new_zeros(b, m + 1, told.shape[-1]), _wide(owner, told.shape[-1])
        told = empty.scatter_reduce(1, rows, told, "amax", include_self=False)[:, :m]
        k = min(self.config.neighbours, m)
        near = squared_distances(centre, centre).topk(k, dim=2, largest=False).indices
        rows = torch.arange(b, device=near.device)[:, None, None]
        step = centre[rows, near] - centre[:, :, None]
        heard = self.around(torch.cat([step, told[rows, near]], dim=-1)).amax(2)
        return centre + self.last(torch.cat([heard, told], dim=-1))

    def heading(self, points: Float[Tensor, "B N 3"], valid: Bool[Tensor, "B N"]) -> Float[Tensor, "B 2"]:
        """Cosine and sine of the angle about y by which the model is turned to face as the cloud does: where
        the points lie as seen from the axis, each weighed by what its height and its distance from the axis
        say, so that the heading turns with the cloud.
        """
        across = points[..., [0, 2]]
        away = (across.square().sum(-1) + 1e-12).sqrt()
        told = self.about(torch.stack([points[..., 1], away], dim=-1))
        every = told.masked_fill(~valid[..., None], -torch.inf).amax(1, keepdim=True).expand_as(told)
        weight = self.weigh(torch.cat([told, every], dim=-1)).masked_fill(~valid[..., None], 0.0)
        x, z = ((weight * across).sum(1) / valid.sum(1).clamp_min(1)[:, None]).unbind(1)
        return nn.functional.normalize(torch.stack([z, x], dim=1), dim=1)

    def modelled(
        self, points: Float[Tensor, "B N 3"], valid: Bool[Tensor, "B N"], heading: Float[Tensor, "B 2"]
    ) -> Float[Tensor, "B M 3"]:
        """The model as it is turned and bent in this cloud: half of the points, then their mirror images."""
        c, turn = self.config, about_y(heading)
        told = self.bend_head(self.bend(points @ turn, valid))
        one = told.view(len(told), c.sets, c.basis)
        halves = torch.einsum("bsk,kmc->bsmc", one, self.shapes)
        there = halves[:, -1] @ mirror(self.plane)
        return torch.cat([halves[:, 0], there], dim=1) @ turn.mT

    def decode(self, raw: Raw, batch: Clouds) -> Keypoints3D:
        """In the source's unit. The method knows no doubt: every score is 1. A point that lies on another one
        throughout the category is not valid (see `settle`).
        """
        matrix = batch.to_source
        xyz = raw.modelled @ matrix[:, :3, :3].mT + matrix[:, None, :3, 3]
        valid = self.kept.expand(raw.modelled.shape[:2]).clone()
        return Keypoints3D(xyz=xyz, score=torch.ones_like(xyz[..., 0]), valid=valid)

    def loss(self, batch: Clouds) -> dict[str, Tensor]:
        c = self.config
        seen = self._turned(batch)
        raw = self.forward(seen)
        size = spread(seen.points, seen.valid).clamp_min(torch.finfo(batch.points.dtype).tiny)
        unit = size[:, None, None]
        points = seen.points.masked_fill(~seen.valid[..., None], 0.0) / unit
        proposed, model = raw.proposed / unit, raw.modelled / unit
        return {
            "chamfer": c.lambda_chamfer * chamfer(proposed, model).mean(),
            "coverage": c.lambda_coverage * coverage(proposed, points, seen.valid).mean(),
            "inclusivity": c.lambda_inclusivity * inclusivity(proposed, points, seen.valid).mean(),
        }

    def _turned(self, batch: Clouds) -> Clouds:
        """Some of the points of each cloud, turned about y by a random angle."""
        c, device = self.config, batch.points.device
        dice = torch.rand(batch.valid.shape, device=device).masked_fill(~batch.valid, 2.0)
        rows = dice.argsort(1)[:, : c.n_seen]
        angle = math.radians(c.turned) * (2 * torch.rand(len(batch), device=device) - 1)
        turn = about_y(torch.stack([angle.cos(), angle.sin()], dim=1).to(batch.points))
        points = batch.points.gather(1, _wide(rows, 3)) @ turn.mT
        return replace(batch, points=points, valid=batch.valid.gather(1, rows), normals=None)

    def settle(self, kept: Iterable[Clouds]) -> str:
        """Points that lie on an earlier one on the median shape that was kept back are marked not valid."""
        gaps = []
        for batch in kept:
            xyz = self.forward(batch).modelled / spread(batch.points, batch.valid)[:, None, None]
            gaps.append(squared_distances(xyz, xyz).sqrt())
        gap = torch.cat(gaps).median(0).values
        for k in range(self.config.n_keypoints):
            earlier = gap[k, :k][self.kept[:k]]
            self.kept[k] = not bool((earlier < self.config.non_max).any())
        return f"{int(self.kept.sum())} of {self.config.n_keypoints} points lie apart from each other"


def about_y(heading: Float[Tensor, "B 2"]) -> Float[Tensor, "B 3 3"]:
    """Rotations about y by the angles of these cosines and sines: z turns towards x."""
    c, s = heading.unbind(1)
    zero, one = torch.zeros_like(c), torch.ones_like(c)
    return torch.stack([c, zero, s, zero, one, zero, -s, zero, c], dim=1).view(-1, 3, 3)


def mirror(plane: Float[Tensor, "2"]) -> Float[Tensor, "3 3"]:
    """The reflection I - 2 n n^T in the plane through the origin and the y axis whose normal has these x and
    z.
    """
    x, z = nn.functional.normalize(plane, dim=0)
    normal = torch.stack([x, torch.zeros_like(x), z])
    return torch.eye(3).to(plane) - 2 * normal[:, None] * normal


def _middle(batch: Clouds) -> Float[Tensor, "B 1 3"]:
    """The mean of the valid points, which turns with them."""
    held = batch.points.masked_fill(~batch.valid[..., None], 0.0)
    return held.sum(1, keepdim=True) / batch.valid.sum(1).clamp_min(1)[:, None, None]


def _wide(owner: Int[Tensor, "B N"], d: int) -> Int[Tensor, "B N d"]:
    return owner[..., None].expand(-1, -1, d)


def _layers(sizes: tuple[int, ...]) -> nn.Sequential:
    """Linear layers, each with a leaky ReLU after it."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after), nn.LeakyReLU(0.1)]
    return nn.Sequential(*layers)
