"""A small method, a small set of samples, and the catalogue knowing them."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from asterism.engine import weights
from asterism.methods.base import Trainable
from asterism.types import Images, Keypoints2D, LabelledImages, Recipe


@dataclass(frozen=True)
class DotConfig:
    n_keypoints: int = 2
    input_size: tuple[int, int] = (16, 16)
    widths: tuple[int, ...] = (8,)


class Dot(Trainable[Images, torch.Tensor, Keypoints2D]):
    """A regressor with batch norm and dropout: it has running statistics and draws random numbers."""

    name = "dot"
    family = "pose2d"
    paper = "nobody"
    link = "nowhere"
    Config = DotConfig
    presets: ClassVar = {"paper": DotConfig(), "small": DotConfig(), "tiny": DotConfig()}
    takes = Images
    gives = Keypoints2D
    learns_from = LabelledImages
    recipe = Recipe(steps=12, batch_size=4, schedule="cosine", warmup=0.2, clip=1.0, ema=0.9)

    def __init__(self, config):
        super().__init__(config)
        (width,) = config.widths
        self.net = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.1), nn.Flatten()
        )
        h, w = config.input_size
        self.head = nn.Linear(width * h * w // 4, 2 * config.n_keypoints)

    def forward(self, batch):
        return self.head(self.net(batch.image))

    def decode(self, raw, batch):
        from asterism.geometry import affine

        xy = raw.unflatten(1, (-1, 2)) * self.config.input_size[0]
        return Keypoints2D(xy=affine.apply(batch.to_source, xy), score=torch.ones_like(xy[..., 0]))

    def loss(self, batch):
        wrong = self.forward(batch).unflatten(1, (-1, 2)) - batch.xy / self.config.input_size[0]
        return {"distance": wrong[batch.labelled].square().mean()}


class Dots:
    """Samples that depend on (epoch, index) alone."""

    def __init__(self, n=10, k=2, poison=None):
        self.n, self.k, self.poison = n, k, poison

    def __len__(self):
        return self.n

    def __getitem__(self, key):
        epoch, index = key
        random = np.random.default_rng([epoch, index])
        image = torch.from_numpy(random.random((1, 3, 16, 16), dtype=np.float32))
        xy = torch.from_numpy(random.random((1, self.k, 2), dtype=np.float32)) * 16
        if self.poison == index:
            xy = xy * float("nan")
        yes = torch.ones(1, self.k, dtype=torch.bool)
        to_source = torch.eye(2, 3)[None]
        return LabelledImages(image=image, to_source=to_source, xy=xy, labelled=yes, visible=yes)


@pytest.fixture
def dot():
    torch.manual_seed(0)
    return Dot(DotConfig())


@pytest.fixture
def dots():
    return Dots


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """load_weights finds the small method by its name."""
    real = weights.method_class
    monkeypatch.setattr(weights, "method_class", lambda name: Dot if name == "dot" else real(name))
