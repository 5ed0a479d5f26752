"""video-difference: keypoints of whatever moves in a clip, from nothing but the clip.

The idea of B-KinD: points that must redraw what differs from the still scene can only lie on what moves. A
small U-Net turns a picture into K heatmaps; Gaussians at their means, each with a learned colour vector of
its own and no picture to lean on, must redraw the difference. In the object's own frame (data/frames) turning
is removed before learning starts, and the points settle on parts.

Jennifer Sun, Serim Ryou, Roni Goldshmid, Brandon Weissbourd, John Dabiri, David Anderson, Ann Kennedy, Yisong
Yue, Pietro Perona, Self-Supervised Keypoint Discovery in Behavioral Videos, CVPR 2022,
https://arxiv.org/abs/2112.05121.

    section 3.1, target S = difference of two frames             -> _target
    section 3.1, keypoint bottleneck, Gaussians to decoder       -> _readout, _draw
    section 3.2, rotation equivariance, separation               -> loss: equivariance, separation

Departs from the paper:
- the other frame is the still background, the median of the clip, where the data know one; only a moving
  camera leaves the difference of two frames. The target is the difference and the picture times the
  difference (4 channels), not an SSIM map.
- no appearance encoder: the decoder sees the Gaussians alone. With the paper's a point may lie anywhere,
  since the picture's own features tell the decoder where the animal is.
- a random similarity of +-8 degrees instead of turns by 90: the frame has removed the large ones.
- a U-Net of 0.2 M parameters from random weights instead of an ImageNet ResNet-50; L1 at two scales instead
  of VGG features.
- `coverage`, the mean distance from what changed to the nearest point, is ours: a drawing of few Gaussians
  pays little for a thin limb or tail that it leaves out, and on creatures no point went there without it.
- cures for dead points, none of them in the paper: a presence per point (M. Minderer et al., Unsupervised
  Learning of Object Structure and Dynamics from Videos, NeurIPS 2019, section 3.1), starting places on what
  moves, twice as many candidates as points of which the useful are kept, and useless candidates moved to
  where the drawing is worst (the empty-cluster rule of k-means).
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from asterism.geometry import affine
from asterism.geometry.coords import pixel_grid, xy_from_uv
from asterism.methods.base import Trainable
from asterism.nets.unet import UNet
from asterism.ops.heatmap import gaussian_maps, soft_argmax
from asterism.ops.sampling import crop
from asterism.types import Clips, Images, Keypoints2D, Recipe

STRIDE = 2  # of the heatmaps


@dataclass(frozen=True)
class VideoDifferenceConfig:
    """Lengths are fractions of half the picture's shorter side, so that presets differ in size alone."""

    n_keypoints: int = 8
    input_size: tuple[int, int] = (64, 64)
    widths: tuple[int, ...] = (24, 48, 64)
    embedding: int = 24  # length of a point's colour vector
    sigma: float = 0.11  # of the drawn Gaussians
    separation_sigma: float = 0.1
    rotation: float = 8.0  # degrees, of the two views
    scale: float = 0.1
    shift: float = 0.1
    reconstruction: float = 20.0
    coarse: float = 40.0  # of the 4 x 4 pooled drawing: pulls from further away
    equivariance: float = 100.0
    separation: float = 0.2
    variance: float = 5.0  # of a heatmap about its mean
    on_object: float = 0.5  # of -log of the heatmap's share on what changed
    coverage: float = 8.0  # of the mean distance from what changed to the nearest point
    presence: float = 0.02  # price of a point that is present
    gain: float = 2.0  # of a change before it saturates: dim parts then count like bright ones
    candidates: int = 2  # per point
    seed_until: float = 0.25  # of the training: the starting places are forgotten
    select_at: float = 0.3  # of the training: the useful candidates are kept
    move_until: float = 0.5  # of the training: a candidate that draws nothing starts anew


@dataclass(frozen=True)
class Raw:
    xy: Float[Tensor, "B N 2"]  # network pixels
    cov: Float[Tensor, "B N 2 2"]
    prob: Float[Tensor, "B N h w"]
    presence: Float[Tensor, "B N"]


class VideoDifference(Trainable[Images, Raw, Keypoints2D]):
    name = "video-difference"
    family = "landmarks"
    paper = "Sun et al., Self-Supervised Keypoint Discovery in Behavioral Videos, CVPR 2022 (its idea)"
    link = "https://arxiv.org/abs/2112.05121"
    Config = VideoDifferenceConfig
    presets: ClassVar = {
        "paper": VideoDifferenceConfig(n_keypoints=10, input_size=(256, 256), widths=(64, 96, 128, 128)),
        "small": VideoDifferenceConfig(),
        "whole": VideoDifferenceConfig(input_size=(96, 96), sigma=0.06, separation_sigma=0.06),
        "tiny": VideoDifferenceConfig(n_keypoints=3, input_size=(32, 32), widths=(8, 16), embedding=8),
    }
    takes = Images
    gives = Keypoints2D
    learns_from = Clips
    recipe = Recipe(steps=1500, batch_size=32, lr=2e-3, schedule="cosine", warmup=0.03, clip=5.0, ema=0.98)

    # On a CPU many small batches beat few large ones: after one minute on creatures the term
    # `reconstruction` is .76 with 8 pictures, .86 with 16, .94 with 32.
    _quick = replace(recipe, batch_size=8, lr=4e-3)
    recipes: ClassVar = {"small": _quick, "whole": _quick}

    # Buffers, so that they are saved and move with the weights.
    chosen: Tensor  # K: the candidates that are the keypoints
    active: Tensor  # N: 1 for candidates that draw
    start: Tensor  # N 2: starting places, uv cells
    hold: Tensor  # N: how strongly a candidate is held at its place
    peak: Tensor  # (): the usual largest difference, to which the target is scaled

    def __init__(self, config: VideoDifferenceConfig) -> None:
        super().__init__(config)
        n = config.n_keypoints * config.candidates
        # Pixels of a 2 x 2 block become channels: the finest scale of a U-Net is the dearest on a CPU.
        self.net = UNet(4 * STRIDE**2, n, widths=config.widths)
        self.colour = nn.Parameter(torch.randn(n, config.embedding) * 0.3)
        wide = 2 * config.embedding
        self.draw = nn.Sequential(
            nn.Conv2d(config.embedding, wide, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(wide, wide // 2, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(wide // 2, 4, 3, padding=1),
        )
        h, w = config.input_size
        middle = torch.tensor([w / STRIDE - 1, h / STRIDE - 1]) / 2
        self.register_buffer("chosen", torch.arange(config.n_keypoints))
        self.register_buffer("active", torch.ones(n))
        self.register_buffer("start", middle.repeat(n, 1))
        self.register_buffer("hold", torch.zeros(n))
        self.register_buffer("peak", torch.zeros(()))

    @property
    def unit(self) -> float:
        """Half the shorter side, in network pixels."""
        return min(self.config.input_size) / 2

    # --------------------------------------------------------------------------------------- three verbs

    def forward(self, batch: Images) -> Raw:
        return self._readout(self._layers(batch.image, batch.change))

    def decode(self, raw: Raw, batch: Images) -> Keypoints2D:
        """Means of the chosen heatmaps; the score is the presence, less where the heatmap is spread out."""
        turn = batch.to_source[:, None, :, :2]
        cov = raw.cov[:, self.chosen]
        wide = cov.diagonal(dim1=-2, dim2=-1).sum(-1) / (8 * (self.config.sigma * self.unit) ** 2)
        return Keypoints2D(
            xy=affine.apply(batch.to_source, raw.xy[:, self.chosen]),
            score=raw.presence[:, self.chosen] * (-wide).exp(),
            cov=turn @ cov @ turn.mT,
            maps=raw.prob[:, self.chosen],
        )

    def loss(self, batch: Clips) -> dict[str, Tensor]:
        c = self.config
        whole, change = self._frames(batch)
        base = torch.cat([whole.image, change], 1)
        b = len(base)
        first, second = self._random_similarity(base), self._random_similarity(base)
        views = torch.cat([crop(base, first, c.input_size), crop(base, second, c.input_size)])
        known = None if whole.change is None else views[:, 3:]
        still = affine.identity(2 * b, like=views)
        raw = self.forward(Images(image=views[:, :3], to_source=still, change=known))
        drawn = self._draw(raw.xy[:b], raw.presence[:b] * self.active)
        target = self._target(views[:b, :3], views[:b, 3:])
        on = self.active > 0
        xy = raw.xy[:, on] / self.unit
        there = [affine.apply(m, p) for m, p in zip((first, second), raw.xy[:, on].split(b))]
        apart = (there[0] - there[1]).square().sum(-1) / self.unit**2
        return {
            "reconstruction": c.reconstruction * (drawn - target).abs().mean(),
            "coarse": c.coarse * F.avg_pool2d(drawn - target, 4).abs().mean(),
            "equivariance": c.equivariance * apart.mean(),
            "separation": c.separation * _crowding(xy, c.separation_sigma),
            "variance": c.variance * raw.cov[:, on].diagonal(dim1=-2, dim2=-1).sum(-1).mean() / self.unit**2,
            "on_object": -c.on_object * self._share_on(raw.prob[:, on], views[:, 3:]).log().mean(),
            "coverage": c.coverage * self._uncovered(raw.xy[:, on], views[:, 3:]),
            "presence": c.presence * raw.presence[:, on].mean(),
        }

    # ------------------------------------------------------------------------------------------ the parts

    def _layers(self, image: Tensor, change: Tensor | None) -> Float[Tensor, "B 4 H W"]:
        """Picture and scaled change; no change is known of a single picture without a background."""
        if change is None:
            return torch.cat([image, torch.zeros_like(image[:, :1])], 1)
        return torch.cat([image, self._scaled(change)], 1)

    def _scaled(self, change: Tensor) -> Tensor:
        peak = torch.where(self.peak > 0, self.peak, torch.ones_like(self.peak))
        return (self.config.gain * change / peak).clamp(0, 1)

    def _frames(self, batch: Clips) -> tuple[Images, Tensor]:
        """B*T pictures as the network will see them, and what is to be redrawn of each.

        Without a background that is the difference between the first and the last frame, and the network is
        not shown it: a single picture does not have it either.
        """
        if batch.change is not None:
            change = batch.change
        else:
            between = (batch.image[:, 0] - batch.image[:, -1]).abs().amax(1, keepdim=True)
            change = between[:, None].expand(-1, batch.image.shape[1], -1, -1, -1)
        change = change.flatten(0, 1)
        if self.training:
            usual = change.flatten(1).quantile(0.99, dim=1).median().clamp(min=0.02)
            self.peak.copy_(torch.where(self.peak > 0, self.peak.lerp(usual, 0.02), usual))
        image = batch.image.flatten(0, 1)
        known = None if batch.change is None else change
        return Images(image=image, to_source=affine.identity(len(image), like=image), change=known), change

    def _readout(self, layers: Float[Tensor, "B 4 H W"]) -> Raw:
        logits = self.net(F.pixel_unshuffle(layers, STRIDE)).float()  # the mean needs more than 8 bits
        grid = pixel_grid((logits.shape[2], logits.shape[3]), like=logits)
        distance = (grid - self.start[:, None, None]).square().sum(-1)  # N h w
        reach = 0.15 * min(logits.shape[2:])  # cells: how far from its starting place a held point may look
        held = logits - self.hold[:, None, None] * distance / (2 * reach**2)
        xy, cov, prob = soft_argmax(held, 1.0, STRIDE)
        cells = logits.shape[2] * logits.shape[3]
        presence = torch.sigmoid(logits.flatten(2).logsumexp(-1) - torch.tensor(float(cells)).log())
        return Raw(xy=xy, cov=cov, prob=prob, presence=presence)

    def _draw(self, xy: Float[Tensor, "B N 2"], weight: Float[Tensor, "B N"]) -> Float[Tensor, "B 4 h w"]:
        h, w = (s // STRIDE for s in self.config.input_size)
        dots = gaussian_maps(xy, (h, w), STRIDE, self.config.sigma * self.unit / STRIDE)
        return self.draw(torch.einsum("bnhw,bn,ne->behw", dots, weight, self.colour))

    def _target(self, image: Tensor, change: Tensor) -> Float[Tensor, "B 4 h w"]:
        """What differs, in the picture's colours, and how much."""
        change = self._scaled(change)
        return F.avg_pool2d(torch.cat([image * change, change], 1), STRIDE)

    def _share_on(self, prob: Float[Tensor, "B N h w"], change: Tensor) -> Float[Tensor, "B N"]:
        change = F.avg_pool2d(change, STRIDE)
        change = change / change.amax((2, 3), keepdim=True).clamp(min=1e-3)
        return (prob * change).sum((2, 3)) + 1e-3  # finite where nothing changes

    def _uncovered(self, xy: Float[Tensor, "B N 2"], change: Float[Tensor, "B 1 H W"]) -> Tensor:
        """Mean distance from what changed to the nearest point, in units; nothing where nothing changed."""
        weight = F.avg_pool2d((2 * self._scaled(change) - 1).clamp(min=0), STRIDE).flatten(1)
        grid = xy_from_uv(pixel_grid((change.shape[2] // STRIDE, change.shape[3] // STRIDE), like=xy), STRIDE)
        nearest = torch.cdist(grid.flatten(0, 1).expand(len(xy), -1, -1), xy).amin(-1) / self.unit
        return (weight * nearest).sum() / weight.sum().clamp(min=1.0)

    def _random_similarity(self, like: Tensor) -> Float[Tensor, "B 2 3"]:
        """base_from_view: turned, scaled and shifted about the middle of the picture."""
        c, b = self.config, len(like)
        h, w = c.input_size
        middle = like.new_tensor([w - 1, h - 1]) / 2
        angle = (torch.rand(b, device=like.device) * 2 - 1) * (c.rotation * torch.pi / 180)
        scale = 1 + (torch.rand(b, device=like.device) * 2 - 1) * c.scale
        shift = (torch.rand(b, 2, device=like.device) * 2 - 1) * c.shift * self.unit
        to_middle = affine.similarity(torch.zeros_like(angle), torch.ones_like(scale), (-middle).expand(b, 2))
        return affine.compose(affine.similarity(angle, scale, shift + middle), to_middle)

    # ------------------------------------------------------------------------------------------ the cures

    def recycle(self, batch: Clips, progress: float) -> str:
        """Start on what moves, move useless candidates to where the drawing is worst, keep the useful."""
        c = self.config
        with torch.no_grad():
            seen, change = self._frames(batch)
            if float(self.hold.abs().sum()) == 0 and progress < c.seed_until / 2:
                self.start.copy_(_spread_on(F.avg_pool2d(change, STRIDE).mean((0, 1)), len(self.start)))
                self.hold.fill_(1.0)
                return "candidates start on what moves"
            if progress < c.seed_until:
                self.hold.fill_(1.0 - progress / c.seed_until)
                return ""
            self.hold.zero_()
            if progress >= c.select_at and int(self.active.sum()) > c.n_keypoints:
                return self._select(seen, change)
            return self._move_useless(seen, change) if progress < c.move_until else ""

    def usefulness(self, seen: Images, change: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "N 2"]:
        """How much worse the drawing and the coverage get without a candidate, as fractions."""
        raw, target = self.forward(seen), self._target(seen.image, change)

        def costs(active: Tensor) -> tuple[Tensor, Tensor]:
            drawn = self._draw(raw.xy, raw.presence * active)
            return (drawn - target).abs().mean(), self._uncovered(raw.xy[:, active > 0], change)

        error, uncovered = costs(self.active)
        rise = self.active.new_full((len(self.active), 2), torch.inf)
        for k in torch.nonzero(self.active)[:, 0].tolist():
            without = self.active.clone()
            without[k] = 0
            worse = costs(without)
            rise[k, 0], rise[k, 1] = worse[0] / error - 1, worse[1] / uncovered.clamp(min=1e-6) - 1
        return rise

    def _select(self, seen: Images, change: Tensor) -> str:
        """Drops the least useful candidate, one after the other, until K are left."""
        while int(self.active.sum()) > self.config.n_keypoints:
            self.active[self.usefulness(seen, change).sum(1).argmin()] = 0
        self.chosen.copy_(torch.nonzero(self.active)[:, 0])
        return f"kept the {len(self.chosen)} most useful of {len(self.active)} candidates"

    def _move_useless(self, seen: Images, change: Tensor) -> str:
        """One dead candidate a time: its channel starts anew, held where the residual is largest."""
        rise = self.usefulness(seen, change)[:, 0]
        worst = int(rise.argmin())
        if rise[worst] > 1e-3:
            return ""
        raw, target = self.forward(seen), self._target(seen.image, change)
        residual = (self._draw(raw.xy, raw.presence * self.active) - target).abs().mean((0, 1))
        taken = gaussian_maps(raw.xy.mean(0, keepdim=True), (len(residual), residual.shape[1]), STRIDE, 3.0)[
            0
        ].amax(0)
        place = int((residual * (1 - taken)).argmax())
        self.start[worst] = residual.new_tensor([place % residual.shape[1], place // residual.shape[1]])
        self.hold[worst] = 1.0
        self.net.head.weight[worst] *= 0.1
        return f"candidate {worst} drew nothing and starts anew where the drawing is worst"


def _crowding(xy: Float[Tensor, "B N 2"], sigma: float) -> Tensor:
    """Mean over points of sum over others of exp(-d^2 / 2 sigma^2)."""
    distance = (xy[:, :, None] - xy[:, None]).square().sum(-1)
    near = (-distance / (2 * sigma**2)).exp()
    return (near.sum((1, 2)) - xy.shape[1]).mean() / xy.shape[1]


def _spread_on(weight: Float[Tensor, "h w"], n: int) -> Float[Tensor, "n 2"]:
    """n places (uv cells) that cover a weight map: weighted k-means started by farthest points."""
    h, w = weight.shape
    grid = pixel_grid((h, w), like=weight).flatten(0, 1)
    mass = (weight.flatten() - 0.1 * weight.max()).clamp(min=0) + 1e-6
    places = grid[mass.argmax()][None]
    for _ in range(n - 1):
        far = torch.cdist(grid, places).amin(1) * mass.sqrt()
        places = torch.cat([places, grid[far.argmax()][None]])
    for _ in range(10):
        owner = F.one_hot(torch.cdist(grid, places).argmin(1), n).to(mass) * mass[:, None]
        total = owner.sum(0)[:, None]
        places = torch.where(total > 0, owner.T @ grid / total.clamp(min=1e-9), places)
    return places
