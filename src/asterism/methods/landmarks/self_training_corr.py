"""self-training-corr: generic keypoints that teach themselves which of them are parts.

Corners and dots are found in every picture, but which corner of one picture is which of another, nobody
says. Descriptors learned from warps of single pictures are clustered over many pictures, with at most one
point per picture and cluster; the clusters become the labels from which descriptor and detector learn
again, so that parts which recur gain and corners which do not recur are forgotten. At last a detector with
one heatmap per cluster learns from the pseudo-labels.

Dimitrios Mallis, Enrique Sanchez, Matt Bell, Georgios Tzimiropoulos, Unsupervised Learning of Object
Landmarks via Self-Training Correspondence, NeurIPS 2020,
https://proceedings.neurips.cc/paper/2020/hash/32508f53f24c46f685870a075eaaa29c-Abstract.html; extended as
From Keypoints to Object Landmarks via Self-Training Correspondence: A novel approach to Unsupervised Landmark
Discovery, TPAMI 2023, https://arxiv.org/abs/2205.15895.

    generic keypoints                                 -> _generic
    warm-up by equivariance                           -> loss, while stage is WARMUP
    correspondence recovery by clustering             -> _recluster, ops.cluster.two_way
    descriptor loss, negatives inside an image        -> losses.contrastive.margin_within_images
    landmark detector on pseudo-labels (stage 2)      -> loss: landmark, when stage is LANDMARKS
    landmarks that coincide are merged (NeurIPS)      -> _merge
    left and right from flipped pictures (TPAMI)      -> _learn_swap, decode

Departs from the paper:
- generic keypoints are corners and dots (Shi-Tomasi), because SuperPoint's weights are not free. Where the
  data know what changes against the still background, a corner counts by it, as the paper drops what lies
  outside its bounding boxes.
- a U-Net from random weights with three heads (keypoints, descriptors, landmarks) instead of a hourglass; the
  three stages are parts of one run and share it, where the paper trains stage 2 on its own.
- the batch carries no index of pictures, so pseudo-labels are made as batches come: points of the batch go
  to the nearest centre. Centres come from a bank of the last pictures' descriptors.
- after the warm-up a keypoint is still a corner, weighted by the learned detector. With the detector's own
  peaks and labels made on the fly, the points drifted off the picture's content within a few rounds.
- pictures are standardised, and a picture's mean descriptor is taken off its descriptors: what all its points
  share (style, colour) would otherwise cluster by picture.
- points that are in no cluster keep learning from the warps of their own picture after the warm-up.
- in the small presets there are half as many clusters again as keypoints; at most the surplus is merged, and
  the K that recur in the most pictures are kept. Flips are averaged only where mirrored landmarks agree.
- the preset "paper" has the lengths, M, margin and weight of the descriptor loss of the public code;
  strengths of the warps and colours, the bank's size and the weights of the two detectors are ours. The
  trunk's lower learning rate in stage 2 is left out.
"""

from dataclasses import dataclass, replace
from math import pi
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from asterism.geometry import affine
from asterism.geometry.coords import uv_from_xy, xy_from_uv
from asterism.geometry.tps import ThinPlateSpline
from asterism.geometry.warp import Inverse
from asterism.losses.contrastive import margin_within_images
from asterism.losses.heatmap import squared
from asterism.methods.base import Trainable
from asterism.nets.unet import UNet
from asterism.ops import cluster, peaks
from asterism.ops.corners import corners
from asterism.ops.heatmap import gaussian_maps
from asterism.ops.pairing import best_involution
from asterism.ops.sampling import sample, warp_image
from asterism.types import Images, Keypoints2D, Recipe

WARMUP, ROUNDS, LANDMARKS = 0, 1, 2  # stages


@dataclass(frozen=True)
class SelfTrainingCorrConfig:
    """Lengths are fractions of the picture's shorter side where nothing else is said."""

    n_keypoints: int = 10  # K
    n_clusters: int = 40  # M
    candidates: float = 1.5  # clusters per keypoint, of which those that recur most are kept
    input_size: tuple[int, int] = (64, 64)
    stride: int = 4  # of the maps
    widths: tuple[int, ...] = (32, 64, 64)
    descriptor: int = 32  # length of a descriptor
    most: int = 16  # generic keypoints per picture
    radius: int = 3  # pixels in which a generic keypoint is the best
    border: int = 4  # pixels without keypoints along the edge
    quality: float = 0.01  # of the best corner's response that a corner must have
    floor: float = 0.1  # that the learned detector leaves a corner it does not know
    sigma: float = 1.0  # cells, of the targets
    margin: float = 0.8
    descriptor_weight: float = 10.0
    keypoint_weight: float = 0.1
    landmark_weight: float = 3.0
    deviations: float = 1.0  # above the mean distance at which a member of a cluster is dropped
    warmup: float = 0.25  # of the training
    rounds: float = 0.5  # of the training: until then descriptors are clustered anew
    overlap: float = 0.7  # of the pictures in which two landmarks coincide, from which they are one
    bank: int = 512  # pictures whose descriptors are clustered
    iterations: int = 10  # of k-means
    attempts: int = 3
    agreement: float = 0.5  # of the points with their mirrored partners, from which flips are averaged
    grid: int = 3  # control points of the warp, per side
    displacement: float = 0.03
    rotation: float = 15.0  # degrees
    scale: float = 0.15
    shift: float = 0.1
    colour: float = 0.3  # of brightness, contrast and the three colours
    cutout: float = 0.3


@dataclass(frozen=True)
class Raw:
    keypoint: Float[Tensor, "B 1 h w"]
    descriptor: Float[Tensor, "B D h w"]
    landmark: Float[Tensor, "B N h w"]


@dataclass(frozen=True)
class Found:
    """Generic keypoints of a batch: network pixels, real row or padding, normed descriptor."""

    xy: Float[Tensor, "B P 2"]
    valid: Bool[Tensor, "B P"]
    descriptor: Float[Tensor, "B P D"]


class SelfTrainingCorr(Trainable[Images, Raw, Keypoints2D]):
    name = "self-training-corr"
    family = "landmarks"
    paper = (
        "Mallis, Sanchez, Bell, Tzimiropoulos, Unsupervised Learning of Object Landmarks via Self-Training "
        "Correspondence, NeurIPS 2020"
    )
    link = "https://arxiv.org/abs/2205.15895"
    Config = SelfTrainingCorrConfig
    presets: ClassVar = {
        "paper": SelfTrainingCorrConfig(
            n_keypoints=30,
            n_clusters=100,
            candidates=1.0,
            input_size=(256, 256),
            widths=(64, 128, 128, 128, 128),
            descriptor=256,
            most=60,
            radius=4,
            warmup=0.1,  # 30 thousand steps of 200 and 100 thousand
            rounds=2 / 3,
            iterations=100,
            attempts=10,
            cutout=80 / 256,
        ),
        "small": SelfTrainingCorrConfig(),
        "whole": SelfTrainingCorrConfig(input_size=(96, 96)),
        "tiny": SelfTrainingCorrConfig(
            n_keypoints=3,
            n_clusters=6,
            candidates=1.0,
            input_size=(32, 32),
            widths=(8, 16),
            descriptor=8,
            most=6,
            landmark_weight=1.0,
            bank=64,
        ),
    }
    takes = Images
    gives = Keypoints2D
    learns_from = Images
    recipe = Recipe(steps=300_000, batch_size=16, optimiser="rmsprop", lr=1e-4, weight_decay=1e-5)
    recipes: ClassVar = {
        name: Recipe(steps=1000, batch_size=8, lr=2e-3, schedule="cosine", warmup=0.02, clip=5.0, ema=0.98)
        for name in ("small", "whole", "tiny")
    }

    # Buffers, so that they are saved and move with the weights.
    stage: Tensor  # ()
    filled: Tensor  # (): pictures that went into the bank
    bank: Tensor  # pictures P D: descriptors of generic keypoints; the oldest is in row filled % pictures
    banked: Tensor  # pictures P: which of them are real
    coarse: Tensor  # N D: centres, and their radii
    coarse_radius: Tensor
    fine: Tensor  # M D
    fine_radius: Tensor
    owner: Tensor  # N: the candidate that a candidate was merged into
    overlap: Tensor  # N N: share of pictures in which two candidates coincide
    met: Tensor  # N N: how often a candidate's mirror image was which candidate
    chosen: Tensor  # K: the candidates that are the keypoints
    swap: Tensor  # N: a candidate's partner in the mirror

    def __init__(self, config: SelfTrainingCorrConfig) -> None:
        super().__init__(config)
        k, m, d = config.n_keypoints, config.n_clusters, config.descriptor
        n = round(k * config.candidates)
        # Pixels of a 2 x 2 block become channels: the finest scale of a U-Net is the dearest on a CPU.
        self.net = UNet(3 * config.stride**2, 1 + d + n, widths=config.widths)
        self.register_buffer("stage", torch.tensor(WARMUP))
        self.register_buffer("filled", torch.tensor(0))
        self.register_buffer("bank", torch.zeros(config.bank, config.most, d))
        self.register_buffer("banked", torch.zeros(config.bank, config.most, dtype=torch.bool))
        self.register_buffer("coarse", torch.zeros(n, d))
        self.register_buffer("coarse_radius", torch.zeros(n))
        self.register_buffer("fine", torch.zeros(m, d))
        self.register_buffer("fine_radius", torch.zeros(m))
        self.register_buffer("owner", torch.arange(n))
        self.register_buffer("overlap", torch.zeros(n, n))
        self.register_buffer("met", torch.zeros(n, n))
        self.register_buffer("chosen", torch.arange(k))
        self.register_buffer("swap", torch.arange(n))

    # --------------------------------------------------------------------------------------- three verbs

    def forward(self, batch: Images) -> Raw:
        image = batch.image - batch.image.mean((1, 2, 3), keepdim=True)
        image = image / image.std((1, 2, 3), keepdim=True).clamp(min=0.05)
        maps = self.net(F.pixel_unshuffle(image, self.config.stride)).float()
        keypoint, descriptor, landmark = maps.split([1, self.config.descriptor, len(self.coarse)], dim=1)
        # What the whole picture has in common says nothing about its parts.
        descriptor = descriptor - descriptor.mean((2, 3), keepdim=True)
        return Raw(keypoint=keypoint, descriptor=descriptor, landmark=landmark)

    def decode(self, raw: Raw, batch: Images) -> Keypoints2D:
        """The highest cell of each landmark's map, to a fraction, averaged with that of the mirrored picture
        where mirroring exchanges the landmarks in pairs; the score is the height."""
        maps = raw.landmark[:, self.chosen]
        if self._mirrors():
            mirrored = self.forward(replace(batch, image=batch.image.flip(-1)))
            maps = (maps + mirrored.landmark[:, self.swap[self.chosen]].flip(-1)) / 2
        uv, value = peaks.highest(maps)
        xy = xy_from_uv(peaks.refine(maps, uv), self.config.stride)
        return Keypoints2D(xy=affine.apply(batch.to_source, xy), score=value.clamp(0, 1), maps=maps)

    def loss(self, batch: Images) -> dict[str, Tensor]:
        c, b, size = self.config, len(batch), self.config.input_size
        warp = Inverse(self._spline(batch.image))
        second = self._cutout(self._recolour(warp_image(batch.image, warp)))
        views = torch.cat([self._recolour(batch.image), second])
        raw = self.forward(Images(image=views, to_source=torch.cat([batch.to_source] * 2)))
        found = self._generic(batch, raw)
        moved = warp.points(found.xy)
        last = moved.new_tensor([size[1] - 1, size[0] - 1])
        seen = found.valid & ((moved >= 0) & (moved <= last)).all(-1)
        xy, valid = torch.cat([found.xy, moved]), torch.cat([found.valid, seen])
        if self.training:
            self._remember(found, raw.landmark[:b])
        kept, part, label = self._pseudo_labels(found)
        descriptor = torch.cat([found.descriptor, self._at(raw.descriptor[b:], moved)])
        picture = torch.arange(b, device=xy.device)[:, None].expand_as(found.valid)
        positive, negative = margin_within_images(
            descriptor[valid], label.repeat(2, 1)[valid], picture.repeat(2, 1)[valid], c.margin
        )
        corner = self._targets(xy, valid & kept.repeat(2, 1)).amax(1, keepdim=True)
        every = torch.ones_like(valid[:, :1])
        place, present = self._landmarks(xy, valid & kept.repeat(2, 1), part.repeat(2, 1))
        return {
            "positive": c.descriptor_weight * positive,
            "negative": c.descriptor_weight * negative,
            "keypoint": c.keypoint_weight * squared(raw.keypoint, corner, every),
            "landmark": c.landmark_weight * squared(raw.landmark, self._targets(place, present), present),
        }

    # ----------------------------------------------------------------------------------------- the parts

    def _generic(self, batch: Images, raw: Raw) -> Found:
        """Corners; after the warm-up, a corner counts by what the learned detector says of its place."""
        c = self.config
        weight = torch.ones_like(batch.image[:, :1]) if batch.change is None else batch.change
        if int(self.stage) != WARMUP:
            learned = raw.keypoint[: len(batch)].detach().clamp(c.floor, 1)
            weight = weight * F.interpolate(learned, weight.shape[2:], mode="bilinear")
        xy, _, valid = corners(
            batch.image, most=c.most, radius=c.radius, quality=c.quality, border=c.border, weight=weight
        )
        return Found(xy=xy, valid=valid, descriptor=self._at(raw.descriptor[: len(batch)], xy))

    def _at(self, descriptor: Float[Tensor, "B D h w"], xy: Float[Tensor, "B P 2"]) -> Float[Tensor, "B P D"]:
        """Descriptors at points of the picture, of length 1."""
        return F.normalize(sample(descriptor, uv_from_xy(xy, self.config.stride)), dim=-1)

    def _pseudo_labels(
        self, found: Found
    ) -> tuple[Bool[Tensor, "B P"], Int[Tensor, "B P"], Int[Tensor, "B P"]]:
        """Which keypoints are in a cluster, in which of the N, and labels for the descriptor loss.

        Of the latter there are M in the rounds and N when landmarks are learned; a keypoint in no cluster has
        a label of its own.
        """
        valid = found.valid
        own = len(self.coarse) + len(self.fine) + torch.arange(valid.numel(), device=valid.device)
        own = own.view_as(valid)
        if int(self.stage) == WARMUP:
            return valid, torch.zeros_like(own), own
        descriptor, picture = found.descriptor.detach()[valid], torch.nonzero(valid)[:, 0]
        member, label = self._members(
            cluster.assign(descriptor, picture, self.coarse, self.coarse_radius), picture
        )
        kept, part = torch.zeros_like(valid), torch.zeros_like(own)
        kept[valid], part[valid] = member, label
        if int(self.stage) == LANDMARKS:
            return kept, part, torch.where(kept, part, own)
        fine = cluster.assign(descriptor[member], picture[member], self.fine, self.fine_radius)
        finer = own.clone()
        finer[kept] = torch.where(fine.member, fine.label, own[kept])
        return kept, part, finer

    def _members(
        self, found: cluster.Clusters, picture: Int[Tensor, " n"]
    ) -> tuple[Bool[Tensor, " n"], Int[Tensor, " n"]]:
        """Members and labels when clusters that were merged are one: again at most one per picture."""
        label, member = self.owner[found.label], found.member.clone()
        member[found.member] = cluster.best_per_image(
            label[found.member], found.distance[found.member], picture[found.member]
        )
        return member, label

    def _landmarks(
        self, xy: Float[Tensor, "V P 2"], kept: Bool[Tensor, "V P"], part: Int[Tensor, "V P"]
    ) -> tuple[Float[Tensor, "V N 2"], Bool[Tensor, "V N"]]:
        """Pseudo-labels of the landmarks in each view; none before the last stage."""
        n = len(self.coarse)
        place, present = xy.new_zeros(len(xy), n, 2), kept.new_zeros(len(xy), n)
        if int(self.stage) == LANDMARKS:
            view, row = torch.nonzero(kept, as_tuple=True)
            place[view, part[view, row]] = xy[view, row].detach()
            present[view, part[view, row]] = True
        return place, present

    def _targets(self, xy: Float[Tensor, "V P 2"], valid: Bool[Tensor, "V P"]) -> Float[Tensor, "V P h w"]:
        h, w = (s // self.config.stride for s in self.config.input_size)
        maps = gaussian_maps(xy.detach(), (h, w), self.config.stride, self.config.sigma)
        return maps * valid[..., None, None]

    @torch.no_grad()
    def _remember(self, found: Found, landmark: Float[Tensor, "B N h w"]) -> None:
        """Descriptors into the bank, and which landmarks coincide."""
        rows = (self.filled + torch.arange(len(found.xy), device=self.filled.device)) % len(self.bank)
        self.bank[rows], self.banked[rows] = found.descriptor.detach(), found.valid
        self.filled += len(rows)
        if int(self.stage) == LANDMARKS:
            uv, _ = peaks.highest(landmark)
            near = torch.cdist(uv, uv) < 1.5  # cells: the same or a neighbour
            self.overlap.lerp_(near.to(self.overlap).mean(0), 0.05)

    # ---------------------------------------------------------------------------------- from time to time

    def recycle(self, batch: Images, progress: float) -> str:
        """Cluster the bank's descriptors anew. When landmarks are learned, follow the clusters, merge those
        that coincide, keep those that recur most and learn left from right."""
        c = self.config
        if progress < c.warmup:
            return ""
        picture, descriptor = torch.nonzero(self.banked)[:, 0], self.bank[self.banked]
        if len(descriptor) < 2 * len(self.coarse):
            return f"{len(descriptor)} keypoints are too few for {len(self.coarse)} clusters"
        if int(self.stage) < LANDMARKS:
            words = self._recluster(descriptor, picture)
            self.stage.fill_(ROUNDS if progress < c.rounds else LANDMARKS)
            return words
        centre = cluster.lloyd(descriptor, self.coarse, 1)
        found = cluster.at_most_one(descriptor, picture, centre, c.deviations)
        self._take("coarse", found)
        words = self._merge() if progress > (1 + c.rounds) / 2 else ""
        member, label = self._members(found, picture)
        count = F.one_hot(label[member], len(self.coarse)).sum(0)
        self.chosen.copy_(count.topk(c.n_keypoints).indices.sort().values)
        return words + self._learn_swap(batch)

    def _recluster(self, descriptor: Float[Tensor, "n D"], picture: Int[Tensor, " n"]) -> str:
        c = self.config
        coarse, fine = cluster.two_way(
            descriptor,
            picture,
            len(self.coarse),
            c.n_clusters,
            iterations=c.iterations,
            attempts=c.attempts,
            deviations=c.deviations,
        )
        self._take("coarse", coarse)
        self._take("fine", fine)
        n = int(picture.unique().numel())
        kept = f"{int(coarse.member.sum()) / n:.1f} of {len(picture) / n:.1f}"
        return f"{kept} keypoints per picture are in clusters"

    def _take(self, name: str, found: cluster.Clusters) -> None:
        """Centres and radii into the buffers; what is not used is where nothing comes."""
        centre, radius = getattr(self, name), getattr(self, f"{name}_radius")
        centre.fill_(1e3)
        radius.zero_()
        centre[: len(found.centre)], radius[: len(found.centre)] = found.centre, found.radius

    def _merge(self) -> str:
        """The two landmarks that coincide most become one, while there are more than K."""
        alone = self.owner == torch.arange(len(self.owner), device=self.owner.device)
        if int(alone.sum()) <= self.config.n_keypoints:
            return ""
        share = self.overlap.triu(1) * (alone[:, None] & alone)
        a, b = divmod(int(share.argmax()), len(share))
        if share[a, b] < self.config.overlap:
            return ""
        self.owner[self.owner == b] = a
        return f"landmarks {a} and {b} were one; "

    @torch.no_grad()
    def _learn_swap(self, batch: Images) -> str:
        """Which landmark a landmark becomes in the mirror, by the descriptors at the mirrored places."""
        raw, mirrored = (self.forward(replace(batch, image=i)) for i in (batch.image, batch.image.flip(-1)))
        found = self._generic(batch, raw)
        kept, part, _ = self._pseudo_labels(found)
        last = self.config.input_size[1] - 1
        there = torch.stack([last - found.xy[..., 0], found.xy[..., 1]], dim=-1)
        seen = Found(xy=there, valid=kept, descriptor=self._at(mirrored.descriptor, there))
        again, other, _ = self._pseudo_labels(seen)
        both = kept & again
        pair = F.one_hot(part[both] * len(self.met) + other[both], len(self.met) ** 2).sum(0)
        self.met.mul_(0.9).add_(pair.view_as(self.met))
        self.swap.copy_(torch.tensor(best_involution(self.met.double().cpu().numpy())))
        return f"mirrored landmarks agree in {self._agreement():.0%}"

    def _agreement(self) -> float:
        """Share of the mirrored landmarks that were the partner."""
        met = self.met[self.chosen]  # K N
        return float(met.gather(1, self.swap[self.chosen][:, None]).sum() / met.sum().clamp(min=1))

    def _mirrors(self) -> bool:
        return int(self.stage) == LANDMARKS and self._agreement() > self.config.agreement

    # --------------------------------------------------------------------------------------- augmentation

    def _spline(self, image: Float[Tensor, "B 3 H W"]) -> ThinPlateSpline:
        c = self.config
        return ThinPlateSpline.random(
            len(image),
            (image.shape[2], image.shape[3]),
            grid=c.grid,
            displacement=c.displacement,
            rotation=c.rotation * pi / 180,
            scale=c.scale,
            shift=c.shift,
            generator=None,
            like=image,
        )

    def _recolour(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        """Contrast, brightness and each colour changed by random factors."""

        def factor(channels: int) -> Tensor:
            draw = torch.rand(len(image), channels, 1, 1, device=image.device)
            return 1 + self.config.colour * (2 * draw - 1)

        mean = image.mean((1, 2, 3), keepdim=True)
        return ((image - mean) * factor(1) + mean * factor(1) * factor(3)).clamp(0, 1)

    def _cutout(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        """Half of the pictures lose a square, when landmarks are learned."""
        if int(self.stage) < LANDMARKS or not self.config.cutout:
            return image
        b, _, h, w = image.shape
        side = self.config.cutout * min(h, w)
        x, y = (torch.arange(n, device=image.device) for n in (w, h))
        draw = torch.rand(3, b, 1, device=image.device)
        left, top = draw[0] * (w - side), draw[1] * (h - side)
        inside_x, inside_y = (x >= left) & (x < left + side), (y >= top) & (y < top + side)
        gone = inside_y[:, :, None] & inside_x[:, None] & (draw[2] < 1 / 2)[:, :, None]
        return torch.where(gone[:, None], image.mean((2, 3), keepdim=True), image)
