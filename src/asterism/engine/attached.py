"""attached: discovered points, a linear head that reads named points from them, a detector on top.

No paper: the method that `attach` writes. Everything happens in crop pixels, and a crop is cut out in the
object's frame, so an answer turns with the object.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from asterism.catalogue import method_class
from asterism.engine.refiner import Guided, Refiner, RefinerConfig
from asterism.geometry import affine
from asterism.methods.base import Method
from asterism.metrics.heads import LinearHead
from asterism.types import Images, Keypoints2D

NAME = "attached"


@dataclass(frozen=True)
class AttachedConfig:
    """`method` found the points, with the configuration `inner`; `refiner` None where there is none."""

    method: str = ""
    inner: Any = None
    n_points: int = 8
    n_keypoints: int = 3
    input_size: tuple[int, int] = (64, 64)
    refiner: RefinerConfig | None = None


@dataclass(frozen=True)
class Raw:
    """In network pixels."""

    xy: Float[Tensor, "B K 2"]
    cov: Float[Tensor, "B K 2 2"]
    score: Float[Tensor, "B K"]


class Attached(Method[Images, Raw, Keypoints2D]):
    name = NAME
    family = "attached"
    paper = link = ""
    Config = AttachedConfig
    presets: ClassVar = dict.fromkeys(("paper", "small", "tiny"), AttachedConfig())
    takes = Images
    gives = Keypoints2D

    # Buffers, so that they are saved and move with the weights.
    weight: Tensor  # P 2 K 2: the linear answer from the discovered points
    intercept: Tensor  # K 2
    refined: Tensor  # K: points that the refiner answers
    cov: Tensor  # K 2 2: of the errors on pictures that were not learned from, network pixels^2
    near: Tensor  # K: share of these within a tenth of the object
    usual: Tensor  # P: the discovered points' usual scores

    def __init__(self, config: AttachedConfig) -> None:
        super().__init__(config)
        p, k = config.n_points, config.n_keypoints
        self.inner = method_class(config.method)(config.inner)
        self.refiner = None if config.refiner is None else Refiner(config.refiner)
        self.register_buffer("weight", torch.zeros(p, 2, k, 2))
        self.register_buffer("intercept", torch.zeros(k, 2))
        self.register_buffer("refined", torch.zeros(k, dtype=torch.bool))
        self.register_buffer("cov", torch.eye(2).repeat(k, 1, 1))
        self.register_buffer("near", torch.ones(k))
        self.register_buffer("usual", torch.ones(p))

    def forward(self, batch: Images) -> Raw:
        found = points_of(self.inner, batch)
        xy = torch.einsum("bpi,pikj->bkj", found.xy, self.weight) + self.intercept
        score = self._trust(found.score)
        cov = self.cov.expand(len(xy), *self.cov.shape)
        if self.refiner is None:
            return Raw(xy=xy, cov=cov, score=score)
        seen = self.refiner(guided(batch, found.xy, xy))
        sharp = self.refiner.sharpness(seen).sqrt()
        return Raw(
            xy=torch.where(self.refined[:, None], seen.xy, xy),
            cov=cov,
            score=torch.where(self.refined, score * sharp, score),
        )

    def _trust(self, score: Float[Tensor, "B P"]) -> Float[Tensor, "B K"]:
        """How often the point is near, less where the discovered points it is read from are unsure."""
        share = self.weight.square().sum((1, 3)).sqrt()  # P K
        share = share / share.sum(0).clamp(min=1e-9)
        sure = (score / self.usual.clamp(min=1e-6)).clamp(max=1.0)
        read = share.sum(0) > 0  # a point that is the mean label leans on none
        return self.near * torch.where(read, sure @ share, torch.ones_like(self.near)).clamp(0, 1)

    def decode(self, raw: Raw, batch: Images) -> Keypoints2D:
        turn = batch.to_source[:, None, :, :2]
        return Keypoints2D(
            xy=affine.apply(batch.to_source, raw.xy), score=raw.score, cov=turn @ raw.cov @ turn.mT
        )


def points_of(method: Method, batch: Images) -> Keypoints2D:
    """The discovered points in network pixels."""
    still = replace(batch, to_source=affine.identity(len(batch), like=batch.to_source))
    return method.decode(method.forward(still), still)


def guided(batch: Images, points: Float[Tensor, "B P 2"], guess: Float[Tensor, "B K 2"]) -> Guided:
    """A batch for a refiner, without labels."""
    none = torch.zeros_like(guess[..., 0], dtype=torch.bool)
    given = {f.name: getattr(batch, f.name) for f in fields(Images)}
    empty = torch.zeros_like(guess)
    return Guided(**given, xy=empty, labelled=none, visible=none, points=points, guess=guess)


# -------------------------------------------------------------------------------------------- linear answers


def flattened(head: LinearHead) -> tuple[Float[np.ndarray, "P 2 K 2"], Float[np.ndarray, "K 2"]]:
    """A head as weight and intercept alone: one that follows the points' centroid is linear in them too."""
    if not head.follows_centroid:
        return head.weight, head.intercept
    carried = np.eye(2)[:, None] - head.weight.sum(0)  # 2 K 2
    return head.weight + carried / len(head.weight), head.intercept


def toward(head: LinearHead, anchor: LinearHead, share: Float[np.ndarray, " K"]) -> LinearHead:
    """The head's answer taken `share` of the way from the anchor's, which looks at nothing."""
    weight, intercept = flattened(head)
    return replace(
        head,
        follows_centroid=False,
        weight=weight * share[:, None],
        intercept=anchor.intercept + share[:, None] * (intercept - anchor.intercept),
    )
