"""ukpgan: a shape's points are scored by how much they tell of it: from the features of the few points that
may have a high score the whole shape is built again.

What is around each point is put into a small grid that turns with the surface, so scores do not change when
the cloud is turned. Nobody labels anything; how many points may stand out is said by a distribution of
scores, most of them 0 and some 1.

You, Liu, Ze, Li, Wang, Lu, "UKPGAN: A General Self-Supervised Keypoint Detector", CVPR 2022.
https://arxiv.org/abs/2011.11974

    local reference frame                       -> asterism.ops.local_frame.toldi_frames
    smoothed-density grid                       -> asterism.ops.density_grid
    score and embedding of a point              -> forward
    keypoint sparsity control, Beta prior       -> asterism.losses.prior: CriticPrior, QuantilePrior
    salient information distillation, TopNet    -> rebuilt
    symmetric regularisation                    -> _asymmetry
    best points apart from each other           -> decode

Departs from the paper:
- numbers (grid, layers, weights of the losses, Beta's concentrations) are those of the authors' code, read
  and not run. Of its dropout of .7 it was not known whether so much is kept or left out; here .7 is kept.
- lengths are shares of the cloud's spread (root mean squared distance to the middle), which no turn changes.
  A radius of .15 on shapes of unit diagonal is .53 to .73 of it on generated chairs and planes; here .6.
- the critic sees sorted scores at a fixed number of levels. The code's sees them in the order of the points,
  and exactly 2048 of them.
- without a critic (preset "small"; "small-critic" has one) sorted scores are compared with the
  distribution's quantiles, which is the distance that the critic estimates.
- one linear layer takes what was distilled to the length of TopNet's code.
- the mirror plane is x = 0 of the training shapes, as in the code; a point's partner is the point nearest to
  its mirror image, and the cost the mean square of what differs in embedding and logit.
- keypoints are the k best apart from each other; the paper thresholds the score at .5.
- the small presets learn from clouds with noise, of which up to half the points are dropped.
- frames and grids are computed on the CPU, whatever the device.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from asterism.losses.clouds import chamfer, squared_distances
from asterism.losses.prior import CriticPrior, QuantilePrior
from asterism.methods.base import Trainable, Update
from asterism.nets.topnet import TopNet
from asterism.ops.cloud_keypoints import clouds_of
from asterism.ops.cloud_spread import best_apart, spread
from asterism.ops.density_grid import density_grids
from asterism.ops.local_frame import toldi_frames
from asterism.types import Clouds, Keypoints3D, Recipe

_POINTS = 512  # whose grids go through the network at once where nothing is learned


@dataclass(frozen=True)
class UkpganConfig:
    """Defaults are the authors'; lengths are shares of the cloud's spread."""

    n_keypoints: int = 64  # the best so many, where there are so many
    n_points: int = 2048  # of each shape, while learning
    radius: float = 0.6  # half the side of the grid
    cells: int = 16  # of the grid, along each side
    smoothing: float = 0.875  # width of the Gaussian in cells: half of 3DSmoothNet's 1.75
    most_neighbours: int = 2048  # that fill a grid
    widths: tuple[int, ...] = (32, 32, 64, 64, 128, 128)  # of the convolutions
    strides: tuple[int, ...] = (1, 1, 2, 1, 2, 1)
    kept: float = 0.7  # of the last features, while learning
    embedding: int = 128
    concentration1: float = 0.01  # of the Beta distribution: 1/6 of the points may stand out
    concentration0: float = 0.05
    levels: int = 2048  # at which sorted scores are looked at
    critic: tuple[int, ...] = (512, 256, 128, 64)  # hidden layers; without any, quantiles and no critic
    penalty: float = 1.0  # on the critic's gradient
    code: int = 256
    arms: tuple[int, ...] = (2, 4, 4, 4, 4, 4)  # children of a node on each level of TopNet: 2048 points
    branch: int = 8  # numbers that a node holds
    tree: tuple[int, ...] = (256, 64)  # hidden layers of each of TopNet's levels
    eta_reconstruction: float = 10.0
    eta_prior: float = 1.0
    eta_symmetry: float = 0.1
    noise: float = 0.0  # on the points while learning, a share of the spread
    dropped: float = 0.0  # of the points while learning, at most
    non_max: float = 0.1  # how near to each other two keypoints may not be


_SMALL = UkpganConfig(
    n_points=1024,
    cells=8,
    most_neighbours=96,
    widths=(16, 32, 64),
    strides=(2, 2, 2),
    kept=1.0,
    embedding=64,
    levels=256,
    critic=(),
    code=128,
    arms=(4, 4, 4, 8),
    tree=(64,),
    noise=0.03,
    dropped=0.5,
)


class Ukpgan(Trainable[Clouds, Tensor, Keypoints3D]):
    name = "ukpgan"
    family = "clouds"
    paper = "You, Liu, Ze, Li, Wang, Lu, UKPGAN: A General Self-Supervised Keypoint Detector, CVPR 2022"
    link = "https://arxiv.org/abs/2011.11974"
    Config = UkpganConfig
    presets: ClassVar = {
        "paper": UkpganConfig(),
        "small": _SMALL,
        "small-critic": replace(_SMALL, critic=(128, 64, 32)),
        "tiny": replace(
            _SMALL,
            n_keypoints=6,
            n_points=96,
            cells=4,
            most_neighbours=32,
            widths=(8, 16),
            strides=(2, 2),
            embedding=8,
            levels=32,
            code=16,
            arms=(4, 8),
            tree=(16,),
            noise=0.0,
            dropped=0.0,
        ),
    }
    takes = Clouds
    gives = Keypoints3D
    learns_from = Clouds
    recipe = Recipe(steps=10_000, batch_size=1, lr=1e-4, weight_decay=1e-4, clip=0.3)
    recipes: ClassVar = {
        "small": Recipe(steps=300, batch_size=4, lr=2e-3, clip=1.0, schedule="cosine"),
        "small-critic": Recipe(steps=300, batch_size=4, lr=1e-3, clip=1.0, schedule="cosine"),
        "tiny": Recipe(steps=50, batch_size=4),
    }

    def __init__(self, config: UkpganConfig) -> None:
        super().__init__(config)
        c, layers, before, side = config, [], 1, config.cells
        for width, stride in zip(c.widths, c.strides, strict=True):
            layers += [nn.Conv3d(before, width, 3, stride, 1, bias=False), nn.BatchNorm3d(width), nn.ReLU()]
            before, side = width, -(-side // stride)
        layers += [nn.Flatten(), nn.Dropout(1 - c.kept), nn.Linear(before * side**3, c.embedding + 1)]
        self.reader = nn.Sequential(*layers)
        self.coder = nn.Linear(c.embedding, c.code)
        self.decoder = TopNet(c.code, c.arms, c.branch, c.tree)
        about = (c.concentration1, c.concentration0, c.levels)
        self.critic = CriticPrior(*about, c.critic, c.penalty) if c.critic else None
        self.quantiles = None if c.critic else QuantilePrior(*about)

    def forward(self, batch: Clouds) -> Tensor:
        """Embedding and, last, the logit of the score of each point: B N D+1, zero where it is not valid."""
        sizes = spread(batch.points, batch.valid).tolist()
        grids = [self._grids(points, size) for points, size in zip(clouds_of(batch), sizes)]
        read = torch.from_numpy(np.concatenate(grids)).to(batch.points.device)[:, None]
        parts = [read] if torch.is_grad_enabled() else read.split(_POINTS)
        told = torch.cat([self.reader(part) for part in parts])
        empty = told.new_zeros(*batch.valid.shape, told.shape[-1])
        return empty.index_put((batch.valid,), told)

    def _grids(self, points: np.ndarray, size: float) -> Float[np.ndarray, "N c c c"]:
        """Scaled so that a cell holds 1 on average."""
        c, half = self.config, self.config.radius * size
        if not half > 0:
            return np.zeros((len(points), c.cells, c.cells, c.cells), np.float32)
        frames = toldi_frames(points, points, np.sqrt(3) * half)
        grids = density_grids(points, points, frames, half, c.cells, c.smoothing, c.most_neighbours)
        return grids * np.float32(c.cells**3)

    def decode(self, raw: Tensor, batch: Clouds) -> Keypoints3D:
        """The best points apart from each other. Those that are missing have score 0 and lie in the origin of
        the batch's own unit.
        """
        c, logit = self.config, raw[..., -1]
        radius = c.non_max * spread(batch.points, batch.valid)
        rows, kept = best_apart(batch.points, batch.valid, logit, c.n_keypoints, radius)
        inside = batch.points.gather(1, rows[..., None].expand(-1, -1, 3)).masked_fill(~kept[..., None], 0.0)
        matrix = batch.to_source
        xyz = inside @ matrix[:, :3, :3].mT + matrix[:, None, :3, 3]
        return Keypoints3D(xyz=xyz, score=logit.gather(1, rows).sigmoid().masked_fill(~kept, 0.0), valid=kept)

    def rebuilt(self, raw: Tensor, batch: Clouds) -> Float[Tensor, "B M 3"]:
        """The shape from what points with high scores tell: embeddings times scores, the largest of each."""
        told = nn.functional.normalize(raw[..., :-1], dim=-1) * raw[..., -1:].sigmoid()
        distilled = told.masked_fill(~batch.valid[..., None], -torch.inf).amax(1)
        return self.decoder(self.coder(distilled))

    def loss(self, batch: Clouds) -> dict[str, Tensor]:
        """With a critic its own term is the last; it and the others give no gradient to each other."""
        seen = self.worn(batch)
        raw = self.forward(seen)
        terms = self._terms(raw, seen, batch)
        return terms if self.critic is None else terms | {"critic": self._critic_term(raw, seen)}

    def worn(self, batch: Clouds) -> Clouds:
        """The clouds with noise on their points and some of them dropped, as scans have it."""
        c, dice = self.config, torch.rand(*batch.valid.shape, device=batch.points.device)
        dice = dice.masked_fill(~batch.valid, 2.0)
        share = 1 - c.dropped * torch.rand(len(batch), 1, device=dice.device)
        share = share.maximum(dice.amin(1, keepdim=True))  # at least one point stays
        size = c.noise * spread(batch.points, batch.valid)[:, None, None]
        points = batch.points + size * torch.randn_like(batch.points)
        return replace(batch, points=points, valid=batch.valid & (dice <= share))

    def _terms(self, raw: Tensor, seen: Clouds, batch: Clouds) -> dict[str, Tensor]:
        """Of what was told of the points that were seen; the whole cloud is to be built from it."""
        c, scores = self.config, raw[..., -1].sigmoid()
        points = batch.points.masked_fill(~batch.valid[..., None], 0.0)
        prior = self.quantiles or (self.critic.deceived if self.critic is not None else None)
        assert prior is not None, "one of the two is built"
        gap = chamfer(self.rebuilt(raw, seen), points, None, batch.valid)
        return {
            "reconstruction": c.eta_reconstruction * gap.mean(),
            "prior": c.eta_prior * prior(scores, seen.valid),
            "symmetry": c.eta_symmetry * _asymmetry(raw, seen),
        }

    def _critic_term(self, raw: Tensor, batch: Clouds) -> Tensor:
        assert self.critic is not None, "only asked where there is one"
        return self.critic.learned(raw[..., -1].sigmoid(), batch.valid)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """The critic has an optimiser of its own."""
        parts = {"main": [p for name, p in self.named_parameters() if not name.startswith("critic.")]}
        return parts if self.critic is None else parts | {"critic": list(self.critic.parameters())}

    def step(self, batch: Clouds, update: Update) -> dict[str, Tensor]:
        """The critic first, then what it judges."""
        if self.critic is None:
            return super().step(batch, update)
        seen = self.worn(batch)
        raw = self.forward(seen)
        critic = self._critic_term(raw, seen)
        update(critic, "critic")
        terms = self._terms(raw, seen, batch)
        update(torch.stack(list(terms.values())).sum(), "main")
        return {name: term.detach() for name, term in (terms | {"critic": critic}).items()}


def _asymmetry(raw: Tensor, seen: Clouds) -> Float[Tensor, ""]:
    """How different the network's words are for points that are each other's image in x = 0."""
    points = seen.points.masked_fill(~seen.valid[..., None], 0.0)
    mirrored = points * points.new_tensor([-1.0, 1.0, 1.0])
    gap = squared_distances(mirrored, points).masked_fill(~seen.valid[:, None], torch.inf)
    partner = raw.gather(1, gap.argmin(-1)[..., None].expand_as(raw))
    return (raw - partner)[seen.valid].square().mean()
