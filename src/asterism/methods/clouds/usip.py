"""usip: each small region of a cloud says where its keypoint is and how sure it is; in two turned views of
one cloud the keypoints must meet, and those that cannot say so by a large sigma.

Nobody labels anything, and there is no category: shapes, rooms and scans are all the same to it. Points are
those of smallest sigma that are not near to each other, so a cloud tells where its own keypoints are exact.

Li, Lee, "USIP: Unsupervised Stable Interest Point Detection from 3D Point Clouds", ICCV 2019.
https://arxiv.org/abs/1904.00229

    farthest points, each point to the nearest  -> regions_of
    feature proposal network                    -> forward
    neighbours of a node                        -> _neighbours
    probabilistic Chamfer loss                  -> asterism.losses.clouds.probabilistic_chamfer
    point-to-point loss                         -> asterism.losses.clouds.point_to_point
    two turned views of one cloud               -> _view
    smallest sigmas, apart from each other      -> decode

Departs from the paper:
- as in the authors' code, read and not run: a region is looked at from the mean of its points, which is where
  its keypoint begins (the last layer starts near zero), and not from the farthest point that began it; the
  neighbours of a region are those nearest in space, not in features; losses are means over regions.
- a region and its neighbours are looked at in a frame of the region's own, from the points within `frame`:
  z is the direction of their least scatter, away from where they lie, x the way from the region to their
  mean, across z. So what is said turns with the cloud. The published network, which has to learn every turn,
  had learned nothing after the 200 steps in which this one had begun to (docs/usip.md).
- lengths are shares of the cloud's spread (root mean squared distance to the middle), which no turn changes,
  so no scales are drawn while learning; sigma's floor and the weight lambda are the authors' for objects,
  lambda 4 in the small preset, which otherwise draws in to the middle (docs/usip.md).
- coordinates alone go in; the code adds normals and curvature, to "almost no effect" as its author says, and
  the batches that all methods of clouds learn from carry none.
- both views are turned, the authors turn one: shapes of a set stand upright, and nothing else does.
- the two views are random parts of one sample of the shape, of a fourth of its points up to all of them.
- points that are valid alone are normalised over the batch; a region without points is left out.
- the small preset learns with fewer regions than it is used with, which then hear of as many more others: it
  learns faster, and more places of a shape have a region that can tell of them.
- where nothing is learned the farthest points are those of the whole cloud, beginning with the one farthest
  from its middle, so that a prediction is always the same.
- what comes out as `sigma` is the standard deviation of a coordinate. Before training is over it is what the
  paper's distribution says: distances have the mean square 2 sigma^2, shared by three coordinates of two
  views. Then `settle` measures distances on clouds that were kept back; they are those of a normal error
  of each coordinate rather than of the paper's distribution (docs/usip.md), so it is by that they are scaled.
- the authors' rate is halved every 40 epochs; here it falls along a cosine.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from scipy.special import gammaincinv
from torch import Tensor, nn

from asterism.losses.clouds import point_to_point, probabilistic_chamfer, squared_distances
from asterism.methods.base import Trainable
from asterism.ops.cloud_spread import best_apart, spread
from asterism.ops.farthest import farthest
from asterism.types import Clouds, Keypoints3D, Recipe

_MEDIAN = math.sqrt(2 * gammaincinv(1.5, 0.5))  # of the length of three normal numbers of deviation 1


@dataclass(frozen=True)
class UsipConfig:
    """Defaults are the authors' for whole objects (ModelNet); lengths are shares of the cloud's spread."""

    n_keypoints: int = 128  # the best so many, where there are so many
    n_points: int = 5000  # of each shape
    nodes: int = 512  # regions while learning, M
    nodes_used: int = 512  # regions where nothing is learned
    neighbours: int = 32  # of M regions, that a region looks at, itself included: the receptive field, K
    first: tuple[int, ...] = (64, 64, 64)  # for each point
    second: tuple[int, ...] = (128, 128)  # for each point that knows its region
    third: tuple[int, ...] = (256, 256, 256)  # for each neighbour
    fourth: tuple[int, ...] = (512, 512)  # for each neighbour that knows the others
    head: tuple[int, ...] = (512, 256)
    frame: float = 0.6  # radius of a region's own frame
    floor: float = 1e-4  # below which no sigma goes
    weight: float = 1.0  # lambda, of the point-to-point loss
    sparse: float = 0.25  # share of the points among which farthest points are looked for, while learning
    least: float = 0.25  # share of the points that a view holds, at least
    noise: float = 0.01  # on the points of a view
    noise_limit: float = 2.0  # in noises: none is larger
    non_max: float = 0.0  # how near to each other two keypoints may not be


@dataclass(frozen=True)
class Raw:
    """What the regions say, in the batch's unit; those without points are not `valid`."""

    xyz: Float[Tensor, "B M 3"]
    sigma: Float[Tensor, "B M"]
    valid: Bool[Tensor, "B M"]
    size: Float[Tensor, " B"]  # the cloud's spread


_SMALL = UsipConfig(
    n_keypoints=64,
    n_points=2048,
    nodes=64,
    nodes_used=256,
    neighbours=16,
    first=(32, 32, 32),
    second=(64, 64),
    third=(64, 64, 64),
    fourth=(128, 128),
    head=(128, 64),
    weight=4.0,
    noise=0.03,
    non_max=0.1,
)


class Usip(Trainable[Clouds, Raw, Keypoints3D]):
    name = "usip"
    family = "clouds"
    paper = "Li, Lee, USIP: Unsupervised Stable Interest Point Detection from 3D Point Clouds, ICCV 2019"
    link = "https://arxiv.org/abs/1904.00229"
    Config = UsipConfig
    presets: ClassVar = {
        "paper": UsipConfig(),
        "small": _SMALL,
        "tiny": replace(
            _SMALL,
            n_keypoints=6,
            n_points=96,
            nodes=12,
            nodes_used=12,
            neighbours=4,
            first=(8, 8),
            second=(8,),
            third=(8, 8),
            fourth=(16,),
            head=(16,),
            sparse=0.5,
            least=0.5,
        ),
    }
    takes = Clouds
    gives = Keypoints3D
    learns_from = Clouds
    recipe = Recipe(steps=300_000, batch_size=4, lr=1e-3, schedule="cosine")
    recipes: ClassVar = {
        "small": Recipe(steps=3000, batch_size=4, lr=5e-3, schedule="cosine"),
        "tiny": Recipe(steps=50, batch_size=4),
    }

    def __init__(self, config: UsipConfig) -> None:
        super().__init__(config)
        c = config
        self.points = _mlp(3, c.first)
        self.regions = _mlp(2 * c.first[-1], c.second)
        self.near = _mlp(3 + c.second[-1], c.third)
        self.around = _mlp(2 * c.third[-1], c.fourth)
        self.head = _mlp(c.fourth[-1] + c.second[-1], c.head)
        self.last = nn.Linear(c.head[-1], 4)
        nn.init.normal_(self.last.weight, std=1e-4)
        nn.init.zeros_(self.last.bias)
        self.calibration: Tensor
        self.register_buffer("calibration", torch.tensor(3**-0.5))

    def forward(self, batch: Clouds) -> Raw:
        """Where each region's keypoint is, and the sigma of its distance to that of another view."""
        c, valid = self.config, batch.valid
        size = spread(batch.points, valid)
        unit = size.clamp_min(torch.finfo(size.dtype).tiny)[:, None, None]
        points = batch.points.masked_fill(~valid[..., None], 0.0) / unit
        owner, centre, full = self.regions_of(points, valid)
        frame = _frames(points, valid, centre, c.frame)
        local = points[valid] - centre.flatten(0, 1)[owner]
        local = (frame.flatten(0, 1)[owner] @ local[:, :, None])[:, :, 0]
        count = full.numel()
        told = self.points(local)
        told = self.regions(torch.cat([told, _largest(told, owner, count)[owner]], dim=1))
        told = _largest(told, owner, count).view(*full.shape, -1)  # B M D
        near = self._neighbours(centre, told, full)[full]  # R k rows, of the regions that have points
        step = (centre.flatten(0, 1)[near] - centre[full][:, None]) @ frame[full].mT
        heard = _each(self.near, torch.cat([step, told.flatten(0, 1)[near]], dim=-1))  # R k D
        heard = torch.cat([heard, heard.amax(1, keepdim=True).expand_as(heard)], dim=-1)
        heard = _each(self.around, heard).amax(1)
        said = self.last(self.head(torch.cat([heard, told[full]], dim=1)))
        offset = (said[:, None, :3] @ frame[full])[:, 0]
        said = torch.cat([offset, said[:, 3:]], dim=1)
        said = said.new_zeros(*full.shape, 4).index_put((full,), said)
        sigma = nn.functional.softplus(said[..., 3]) + c.floor
        xyz = (centre + said[..., :3]) * unit
        return Raw(xyz=xyz, sigma=sigma * size[:, None], valid=full, size=size)

    def regions_of(
        self, points: Float[Tensor, "B N 3"], valid: Bool[Tensor, "B N"]
    ) -> tuple[Int[Tensor, " P"], Float[Tensor, "B M 3"], Bool[Tensor, "B M"]]:
        """Of each valid point its region's row (0 to B M - 1), the means of the regions, and which have
        points.

        Where a cloud has fewer different points than there are regions, some are empty.
        """
        c, some = self.config, valid
        middle = points.sum(1) / valid.sum(1).clamp_min(1)[:, None]  # rows that are not valid are zero
        far = (points - middle[:, None]).square().sum(-1).masked_fill(~valid, -1.0)
        if self.training:
            dice = torch.rand(valid.shape, device=points.device).masked_fill(~valid, 2.0)
            wanted = (c.sparse * valid.sum(1)).clamp_min(c.nodes).ceil().long()
            some = valid & (dice.argsort(1).argsort(1) < wanted[:, None])
            far = torch.where(some, dice, -1.0)
        many = c.nodes if self.training else c.nodes_used
        nodes = farthest(points, some, many, far.argmax(1))
        owner = squared_distances(points, nodes).argmin(2)
        owner = (owner + many * torch.arange(len(points), device=points.device)[:, None])[valid]
        count = owner.bincount(minlength=len(points) * many)
        total = points.new_zeros(len(count), 3).index_add(0, owner, points[valid])
        centre = total / count.clamp_min(1)[:, None]
        return owner, centre.view_as(nodes), (count > 0).view(nodes.shape[:2])

    def _neighbours(
        self, centre: Float[Tensor, "B M 3"], told: Float[Tensor, "B M D"], full: Bool[Tensor, "B M"]
    ) -> Int[Tensor, "B M k"]:
        """Rows (0 to B M - 1) of the nearest regions that have points, each one's own among them; where there
        are fewer, its own again. Of more regions than there were while learning, as many as fill the space.
        """
        b, m = full.shape
        k = min(m, round(self.config.neighbours * m / self.config.nodes))
        gap = squared_distances(centre, centre).masked_fill(~full[:, None], torch.inf)
        gap, near = gap.topk(max(k, 1), dim=2, largest=False)
        near = torch.where(gap.isfinite(), near, torch.arange(m, device=near.device)[:, None])
        return near + m * torch.arange(b, device=near.device)[:, None, None]

    def decode(self, raw: Raw, batch: Clouds) -> Keypoints3D:
        """Those of smallest sigma apart from each other. The ones that are missing have score 0, the largest
        sigma of their cloud, and lie in the origin of the batch's own unit.

        A score is exp(-sigma), sigma as a share of the cloud's spread.
        """
        c = self.config
        rows, kept = best_apart(raw.xyz, raw.valid, -raw.sigma, c.n_keypoints, c.non_max * raw.size)
        inside = raw.xyz.gather(1, rows[..., None].expand(-1, -1, 3)).masked_fill(~kept[..., None], 0.0)
        sigma = torch.where(kept, raw.sigma.gather(1, rows), raw.sigma.amax(1, keepdim=True))
        tiny = torch.finfo(sigma.dtype).tiny
        score = (-sigma / raw.size.clamp_min(tiny)[:, None]).exp().masked_fill(~kept, 0.0)
        matrix = batch.to_source
        xyz = inside @ matrix[:, :3, :3].mT + matrix[:, None, :3, 3]
        unit = torch.linalg.det(matrix[:, :3, :3]).abs() ** (1 / 3)
        return Keypoints3D(xyz=xyz, score=score, valid=kept, sigma=self.calibration * sigma * unit[:, None])

    def loss(self, batch: Clouds) -> dict[str, Tensor]:
        size = spread(batch.points, batch.valid).clamp_min(torch.finfo(batch.points.dtype).tiny)
        met, nearby = [], batch.points.new_zeros(len(batch))
        for _ in range(2):
            seen, turn = self._view(batch)
            raw = self.forward(seen)
            points = seen.points.masked_fill(~seen.valid[..., None], 0.0)
            nearby = nearby + point_to_point(raw.xyz, points, raw.valid, seen.valid) / size
            met.append((raw.xyz @ turn / size[:, None, None], raw.sigma / size[:, None], raw.valid))
        (a, a_sigma, a_valid), (b, b_sigma, b_valid) = met
        chamfer = probabilistic_chamfer(a, b, a_sigma, b_sigma, a_valid, b_valid)
        return {"chamfer": chamfer.mean(), "point_to_point": self.config.weight * nearby.mean()}

    def _view(self, batch: Clouds) -> tuple[Clouds, Float[Tensor, "B 3 3"]]:
        """Some of the points, with noise, turned about the origin; and the turn: seen_from_batch."""
        c, valid = self.config, batch.valid
        dice = torch.rand(valid.shape, device=valid.device).masked_fill(~valid, 2.0)
        share = c.least + (1 - c.least) * torch.rand(len(batch), 1, device=valid.device)
        kept = dice.argsort(1).argsort(1) < (share * valid.sum(1, keepdim=True)).clamp_min(1)
        size = spread(batch.points, valid)[:, None, None]
        noise = torch.randn_like(batch.points).clamp(-c.noise_limit, c.noise_limit)
        turn = _turns(len(batch), batch.points)
        points = (batch.points + c.noise * size * noise) @ turn.mT
        return replace(batch, points=points, valid=valid & kept, normals=None), turn

    def settle(self, kept: Iterable[Clouds]) -> str:
        """Measures on clouds that were not learned how far keypoints of two views are from each other,
        against the length that their sigmas say, and keeps the factor: by the median, because a few meet by
        mistake.
        """
        told = [self.distances(batch) for batch in kept]
        gap, sigma = (torch.cat(part) for part in zip(*told))
        if not len(gap):
            return "no keypoint was found again: sigma stays as it is"
        factor = (gap / sigma).median() / _MEDIAN
        self.calibration.copy_(self.calibration * factor)
        return f"sigma is multiplied by {float(factor):.3g}, from {len(gap)} pairs"

    @torch.no_grad()
    def distances(self, batch: Clouds) -> tuple[Float[Tensor, " P"], Float[Tensor, " P"]]:
        """Distances between the keypoints of two views that are each other's nearest, and the standard
        deviation of the difference of a coordinate that their sigmas say, in the batch's unit.
        """
        here = torch.eye(4).to(batch.points).expand(len(batch), 4, 4)
        found, turns = [], []
        for _ in range(2):
            seen, turn = self._view(batch)
            found.append(self.predict(replace(seen, to_source=here)))
            turns.append(turn)
        (a, b), gaps, sigmas = found, [], []
        for row in range(len(batch)):
            one, two = a.xyz[row][a.valid[row]] @ turns[0][row], b.xyz[row][b.valid[row]] @ turns[1][row]
            gap = torch.cdist(one, two)
            to, back = gap.argmin(1), gap.argmin(0)
            rows = torch.arange(len(one), device=to.device)
            rows = rows[back[to] == rows]
            assert a.sigma is not None and b.sigma is not None, "decode gives them"
            gaps.append(gap[rows, to[rows]])
            sigmas.append(torch.hypot(a.sigma[row][a.valid[row]][rows], b.sigma[row][b.valid[row]][to[rows]]))
        return torch.cat(gaps), torch.cat(sigmas)


def _mlp(channels: int, widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in zip((channels, *widths), widths):
        layers += [nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.ReLU()]
    return nn.Sequential(*layers)


def _each(layers: nn.Sequential, values: Float[Tensor, "R k C"]) -> Float[Tensor, "R k D"]:
    """Layers of single rows, for each neighbour of each region."""
    return layers(values.flatten(0, 1)).unflatten(0, values.shape[:2])


def _largest(told: Float[Tensor, "P D"], owner: Int[Tensor, " P"], count: int) -> Float[Tensor, "count D"]:
    """The largest of each number over the points of each region; 0 where there are none."""
    rows = owner[:, None].expand_as(told)
    return told.new_zeros(count, told.shape[1]).scatter_reduce(0, rows, told, "amax", include_self=False)


@torch.no_grad()
def _frames(
    points: Float[Tensor, "B N 3"], valid: Bool[Tensor, "B N"], centre: Float[Tensor, "B M 3"], radius: float
) -> Float[Tensor, "B M 3 3"]:
    """Rows are the axes x, y, z of each region, right-handed: `frame @ (q - centre)` are the coordinates
    of q. Points weigh by how much nearer than `radius` they are. Where the mean of them lies along z, x and
    y are zero.
    """
    weight = (radius - squared_distances(centre, points).sqrt()).clamp_min(0) * valid[:, None]
    weight = weight / weight.sum(2, keepdim=True).clamp_min(torch.finfo(weight.dtype).tiny)
    mean = weight @ points
    outer = (points[..., :, None] * points[..., None, :]).flatten(2)
    scatter = (weight @ outer).unflatten(2, (3, 3)) - mean[..., :, None] * mean[..., None, :]
    z, lean = torch.linalg.eigh(scatter)[1][..., 0], mean - centre
    height = (lean * z).sum(-1, keepdim=True)
    x = nn.functional.normalize(lean - height * z, dim=-1)
    z = torch.where(height > 0, -z, z)
    return torch.stack([x, torch.linalg.cross(z, x, dim=-1), z], dim=-2)


def _turns(count: int, like: Tensor) -> Float[Tensor, "count 3 3"]:
    """Rotations, uniform over all of them: unit quaternions of any direction."""
    q = nn.functional.normalize(torch.randn(count, 4, device=like.device, dtype=like.dtype), dim=1)
    w, v = q[:, 0, None, None], q[:, 1:]
    zero = torch.zeros_like(q[:, 0])
    x, y, z = v.unbind(1)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).view(-1, 3, 3)
    eye = torch.eye(3, device=like.device, dtype=like.dtype)
    return eye + 2 * w * cross + 2 * cross @ cross
