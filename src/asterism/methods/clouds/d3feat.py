"""d3feat: one network describes every point of a cloud and says which are worth a keypoint; matching parts of
two clouds teach it both.

A point is detected where one channel of its descriptor stands out from its neighbours and from the other
channels. Descriptors learn to be nearer to those of the same place in another view than to any other place;
scores learn from how well that went. Nobody labels anything: two views are two parts of one cloud, or two
scans whose motion is known.

Bai, Luo, Zhou, Fu, Quan, Tai, "D3Feat: Joint Learning of Dense Detection and Description of 3D Local
Features", CVPR 2020. https://arxiv.org/abs/2003.03164

    density-normalised kernel point convolution    -> asterism.nets.kpconv.KPConv
    network on the grid's points                   -> asterism.nets.kpconv_unet.KPConvUNet
    hard selection of local maxima                 -> _saliency (detected), decode
    density-invariant saliency, channel maximum    -> _saliency (score)
    contrastive loss with a safe radius            -> asterism.losses.descriptors.contrastive
    detector loss                                  -> asterism.losses.descriptors.detector
    two views                                      -> views_of
    matching places                                -> _matches

Departs from the paper:
- numbers are those of the authors' code, read and not run. What that code does otherwise than it is described
  is done as described: a convolution is divided by the number of neighbours, not of those whose features sum
  to more than zero; the hardest negative is one outside the safe radius; scores are normalised per cloud; the
  hard selection is done. docs/d3feat.md measures the first two.
- lengths are in cells. A cell is `voxel` of the file's unit in the preset "paper" and a share of the cloud's
  spread (root mean squared distance to the middle) in the others, which know no unit.
- in the small presets a kernel point is the circle that it describes around the normal of the point that is
  asked: a neighbour is known by its height along the normal (which looks to the cloud's middle) and its
  distance from it, so that a turn of the cloud is nothing to be learned. The published network learns every
  turn, as "paper" does.
- every layer has the same kernel points; the authors turn those of each layer at random.
- a convolution between two layers of single points is a fourth as wide as its block.
- the two views of a cloud without a partner are what is left on one side of a random plane, from `least` of
  its points up to all, thinned at random, with noise, turned. Scales are not drawn where a cell follows the
  spread; nor are they in "paper".
- "paper" learns from the contrastive loss, as the paper describes; the other presets from the circle loss
  (asterism.losses.descriptors.circle), as the authors' second code does.
- stochastic descent has a momentum of .9 (authors: .98), and the rate falls along a cosine.
- the pyramid of grids is computed on the CPU, whatever the device.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree  # pyright: ignore[reportAttributeAccessIssue]
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from asterism.losses.descriptors import circle, contrastive, descriptor_distances, detector
from asterism.methods.base import Trainable
from asterism.nets.kpconv import Around, kernel_points, neighbours_of
from asterism.nets.kpconv_pyramid import Reach, pyramid
from asterism.nets.kpconv_unet import KPConvUNet
from asterism.ops.cloud_keypoints import clouds_of, units_of
from asterism.ops.cloud_sampling import grid_subsample
from asterism.ops.cloud_spread import best_apart, spread
from asterism.types import CloudPairs, Clouds, Keypoints3D, Recipe

_MOST = float(nn.functional.softplus(torch.ones(())))  # of a score: a feature of 1 among zeros


@dataclass(frozen=True)
class D3FeatConfig:
    """Defaults are the authors' for indoor scans in metres; lengths without a unit are in cells."""

    n_keypoints: int = 250  # the best so many, where there are so many
    n_points: int = 20_000  # of each cloud, where it is sampled
    voxel: float | None = 0.03  # a cell in the file's unit; without it `share` of the cloud's spread
    share: float = 0.03
    kernel: int = 15
    radius: float = 2.5  # of a convolution
    extent: float = 1.0  # how far a kernel point sees
    neighbours: int = 40  # at most
    normal: int = 0  # neighbours from which normals are found, around which kernels are turned; 0: none
    width: int = 64
    levels: int = 5
    descriptor: int = 32  # channels, each of which can detect
    pairs: int = 256  # matching places of two views, at most
    match: float = 1.0  # how near to each other the two points of a place are, at most
    safe: float = 0.1 / 0.03  # how near to each other two places are one, R
    positive: float = 0.1  # margins
    negative: float = 1.4
    scale: float = 0.0  # of the circle loss; 0: the contrastive loss
    weight: float = 1.0  # lambda, of the detector loss
    noise: float = 0.005 / 0.03  # on the points of a view
    least: float = 0.6  # share of the points on the side of the plane that a view keeps, at least
    dropped: float = 0.5  # of those, at most
    non_max: float = 0.0  # how near to each other two keypoints may not be


@dataclass(frozen=True)
class Raw:
    """Of P points of the grids of all clouds of the batch, one cloud after the other."""

    xyz: Float[Tensor, "P 3"]
    owner: Int[Tensor, " P"]  # which cloud
    descriptor: Float[Tensor, "P D"]
    score: Float[Tensor, " P"]
    detected: Bool[Tensor, " P"]
    cell: Float[Tensor, " B"]


_SMALL = D3FeatConfig(
    n_keypoints=64,
    n_points=4096,
    voxel=None,
    share=0.06,
    extent=1.2,
    neighbours=32,
    normal=16,
    scale=10.0,
    width=16,
    levels=3,
    non_max=2.0,
)


class D3Feat(Trainable[Clouds, Raw, Keypoints3D]):
    name = "d3feat"
    family = "clouds"
    paper = "Bai, Luo, Zhou, Fu, Quan, Tai, D3Feat: Joint Learning of Dense Detection and Description of 3D Local Features, CVPR 2020"  # noqa: E501
    link = "https://arxiv.org/abs/2003.03164"
    Config = D3FeatConfig
    presets: ClassVar = {
        "paper": D3FeatConfig(),
        "small": _SMALL,
        "rooms": replace(  # scans in metres, on a CPU
            _SMALL, n_keypoints=250, n_points=8192, voxel=0.05, levels=4, safe=2.0, non_max=4.0
        ),
        "tiny": replace(
            _SMALL,
            n_keypoints=6,
            n_points=96,
            share=0.2,
            neighbours=12,
            width=8,
            levels=2,
            descriptor=8,
            pairs=24,
            safe=2.0,
            noise=0.05,
            least=0.8,
            dropped=0.2,
        ),
    }
    takes = Clouds
    gives = Keypoints3D
    learns_from = Clouds
    recipe = Recipe(steps=300_000, batch_size=1, optimiser="sgd", lr=0.05, clip=100.0, schedule="cosine")
    recipes: ClassVar = {
        "small": Recipe(steps=1500, batch_size=2, lr=3e-3, clip=10.0, schedule="cosine"),
        "rooms": Recipe(steps=1000, batch_size=1, lr=3e-3, clip=10.0, schedule="cosine"),
        "tiny": Recipe(steps=50, batch_size=4),
    }

    def __init__(self, config: D3FeatConfig) -> None:
        super().__init__(config)
        c = config
        self.network = KPConvUNet(c.kernel, c.width, c.levels, c.descriptor)
        self.points: Tensor
        self.register_buffer("points", torch.from_numpy(kernel_points(c.kernel)).float())

    def forward(self, batch: Clouds) -> Raw:
        return self._look(clouds_of(batch), self._cells(batch))

    def _cells(self, batch: Clouds) -> list[float]:
        """How long a cell of each cloud is, in the batch's unit."""
        c = self.config
        if c.voxel is not None:
            return [c.voxel / unit for unit in units_of(batch)]
        sizes = spread(batch.points.double(), batch.valid)
        return [c.share * size or 1.0 for size in sizes.tolist()]  # of points in one place: any

    def _look(self, clouds: list[np.ndarray], cells: list[float]) -> Raw:
        c, device = self.config, self.points.device
        grids = [grid_subsample(points, cell) for points, cell in zip(clouds, cells)]
        reach = Reach(c.levels, c.radius, c.extent, c.neighbours, c.normal)
        seen = pyramid(grids, cells, self.points.double().cpu().numpy(), reach).to(device)
        told = self.network(seen)
        score, detected = _saliency(told, seen.own[0], seen.owner[0], len(clouds))
        return Raw(
            xyz=seen.points[0],
            owner=seen.owner[0],
            descriptor=nn.functional.normalize(told, dim=1),
            score=score,
            detected=detected,
            cell=torch.tensor(cells, device=device),
        )

    def decode(self, raw: Raw, batch: Clouds) -> Keypoints3D:
        """Of the points that are detected those of largest score, apart from each other. The ones that are
        missing have score 0, a descriptor of zeros, and lie in the origin of the batch's own unit.
        """
        c, b = self.config, len(batch)
        sizes = raw.owner.bincount(minlength=b).tolist()
        xyz, score, detected, told = (
            pad_sequence(list(part.split(sizes)), batch_first=True)
            for part in (raw.xyz, raw.score, raw.detected, raw.descriptor)
        )
        rows, kept = best_apart(xyz, detected, score, c.n_keypoints, c.non_max * raw.cell)
        inside = xyz.gather(1, rows[..., None].expand(-1, -1, 3)).masked_fill(~kept[..., None], 0.0)
        told = told.gather(1, rows[..., None].expand(-1, -1, told.shape[-1]))
        matrix = batch.to_source
        return Keypoints3D(
            xyz=inside.to(matrix) @ matrix[:, :3, :3].mT + matrix[:, None, :3, 3],
            score=(score.gather(1, rows) / _MOST).masked_fill(~kept, 0.0).to(matrix),
            valid=kept,
            descriptor=told.masked_fill(~kept[..., None], 0.0).to(matrix),
        )

    def loss(self, batch: Clouds) -> dict[str, Tensor]:
        """A batch of CloudPairs has its two views; of others two are made of each cloud."""
        c, b = self.config, len(batch)
        one, two, two_from_one = self.views_of(batch)
        raw = self._look(clouds_of(one) + clouds_of(two), self._cells(one) + self._cells(two))
        descriptors, detections = [], []
        for row in range(b):
            i, j, away = self._matches(raw, row, b + row, two_from_one[row])
            gap = descriptor_distances(raw.descriptor[i], raw.descriptor[j])
            apart = away > c.safe * (raw.cell[row] + raw.cell[b + row]) / 2
            margins = c.positive, c.negative
            cost = circle(gap, apart, *margins, c.scale) if c.scale else contrastive(gap, apart, *margins)
            descriptors.append(cost)
            detections.append(detector(gap, apart, raw.score[i], raw.score[j]))
        return {
            "descriptor": torch.stack(descriptors).mean(),
            "detector": c.weight * torch.stack(detections).mean(),
        }

    @torch.no_grad()
    def _matches(
        self, raw: Raw, one: int, two: int, two_from_one: Float[Tensor, "4 4"]
    ) -> tuple[Int[Tensor, " S"], Int[Tensor, " S"], Float[Tensor, "S S"]]:
        """Rows of points of clouds `one` and `two` at the same places, a random choice of them, and how far
        the places are from each other.
        """
        c, first, other = self.config, *(torch.nonzero(raw.owner == cloud)[:, 0] for cloud in (one, two))
        there = raw.xyz[first] @ two_from_one[:3, :3].T + two_from_one[:3, 3]
        near = c.match * float(raw.cell[one] + raw.cell[two]) / 2
        tree = cKDTree(raw.xyz[other].double().cpu().numpy())
        gap, at = tree.query(there.double().cpu().numpy(), distance_upper_bound=near)
        met = torch.from_numpy(np.flatnonzero(np.isfinite(gap))).to(first.device)
        met = met[torch.randperm(len(met), device=met.device)[: c.pairs]]
        j = other[torch.from_numpy(at).to(first.device)[met]]
        return first[met], j, torch.cdist(raw.xyz[j], raw.xyz[j])

    def views_of(self, batch: Clouds) -> tuple[Clouds, Clouds, Float[Tensor, "B 4 4"]]:
        """Two worn views, each in a frame of its own, and the motion of the one onto the other."""
        c, motion = self.config, torch.eye(4).to(batch.points).expand(len(batch), 4, 4)
        one = Clouds(points=batch.points, valid=batch.valid, to_source=batch.to_source)
        two, least = one, c.least
        if isinstance(batch, CloudPairs):
            two = replace(one, points=batch.others, valid=batch.others_valid)
            motion, least = batch.other_from_this, 1.0
        (one, turn), (two, other) = (self._view(part, least) for part in (one, two))
        return one, two, other @ motion @ turn.mT

    def _view(self, batch: Clouds, least: float) -> tuple[Clouds, Float[Tensor, "B 4 4"]]:
        """At least the share `least` of the points, those on one side of a plane, thinned, with noise, turned
        about the origin; and that turn.
        """
        c, valid = self.config, batch.valid
        points = batch.points.masked_fill(~valid[..., None], 0.0)
        turn = _turns(len(batch), points)
        share = least + (1 - least) * torch.rand(len(batch), 1, device=valid.device)
        valid = _first(points @ turn[:, 0, :, None], valid, share)
        share = 1 - c.dropped * torch.rand(len(batch), 1, device=valid.device)
        valid = _first(torch.rand(*valid.shape, 1, device=valid.device), valid, share)
        cell = torch.tensor(self._cells(batch)).to(points)[:, None, None]
        turn = _turns(len(batch), points)
        points = (points + c.noise * cell * torch.randn_like(points)) @ turn.mT
        move = torch.eye(4).to(turn).repeat(len(batch), 1, 1)
        move[:, :3, :3] = turn
        return replace(batch, points=points, valid=valid), move


def _saliency(
    told: Float[Tensor, "P C"], around: Around, owner: Int[Tensor, " P"], clouds: int
) -> tuple[Float[Tensor, " P"], Bool[Tensor, " P"]]:
    """Scores, and which points are detected. Features are shares of their channel's largest in the cloud.

    A channel scores ln(1 + exp(feature - mean of its neighbours)) times its share of the point's largest, and
    the point what its best channel does. It is detected if in its largest channel no neighbour exceeds it.
    """
    tiny = torch.finfo(told.dtype).eps
    held = told.relu()
    top = held.new_zeros(clouds, held.shape[1])
    top = top.scatter_reduce(0, owner[:, None].expand_as(held), held, "amax")
    held = held / (top + tiny)[owner]
    near = neighbours_of(held, around)  # P k C
    alpha = nn.functional.softplus(held - near.sum(1) / around.count.clamp_min(1)[:, None])
    largest, channel = held.max(1)
    beta = held / (largest + tiny)[:, None]
    rival = near.amax(1).gather(1, channel[:, None])[:, 0]
    return (alpha * beta).amax(1), (largest >= rival) & (largest > 0)


def _first(
    order: Float[Tensor, "B N 1"], valid: Bool[Tensor, "B N"], share: Float[Tensor, "B 1"]
) -> Bool[Tensor, "B N"]:
    """The valid rows that come first in `order`, as large a share of them, one at least."""
    rank = order[..., 0].masked_fill(~valid, torch.inf).argsort(1).argsort(1)
    return valid & (rank < (share * valid.sum(1, keepdim=True)).clamp_min(1))


def _turns(count: int, like: Tensor) -> Float[Tensor, "count 3 3"]:
    """Rotations, uniform over all of them: unit quaternions of any direction."""
    q = nn.functional.normalize(torch.randn(count, 4, device=like.device, dtype=like.dtype), dim=1)
    w, (x, y, z) = q[:, :1, None], q[:, 1:].T
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).view(-1, 3, 3)
    return torch.eye(3).to(q) + 2 * w * cross + 2 * cross @ cross
