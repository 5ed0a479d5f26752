"""A small method, a small set of samples, and the catalogue knowing them."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from asterism.engine import cloud_lesson, lesson, weights
from asterism.io.coco import write_coco
from asterism.io.table import KeypointTable
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


class Free(Dot):
    """The same network, learning without labels: points that follow the brightest colour, somehow."""

    name = "free"
    learns_from = Images
    recipe = Recipe(steps=4, batch_size=4)

    def forward(self, batch):
        return super().forward(batch)

    def loss(self, batch):
        return {"size": self.forward(batch).square().mean()}


@pytest.fixture
def labelled(tmp_path):
    """20 pictures of a bright dot and a dim one, in a COCO file with boxes."""
    random = np.random.default_rng(0)
    xy = random.uniform(10, 30, (20, 2, 2))
    y, x = np.mgrid[:40, :44]
    (tmp_path / "set").mkdir()
    for n, points in enumerate(xy):
        dots = [np.exp(-((x - px) ** 2 + (y - py) ** 2) / 8) * v for (px, py), v in zip(points, (255, 120))]
        picture = np.repeat(np.maximum(*dots).astype(np.uint8)[..., None], 3, -1)
        Image.fromarray(picture).save(tmp_path / "set" / f"{n}.png")
    table = KeypointTable(
        names=("bright", "dim"),
        images=tuple(f"{n}.png" for n in range(20)),
        image=np.arange(20),
        individual=np.zeros(20, np.int64),
        xy=xy,
        labelled=np.ones((20, 2), bool),
        visible=np.ones((20, 2), bool),
        score=np.ones((20, 2)),
        box=np.tile([2.0, 2, 36, 36], (20, 1)),
        has_box=np.ones(20, bool),
        area=np.full(20, 1296.0),
        sizes=((40, 44),) * 20,
    )
    write_coco(tmp_path / "set" / "labels.json", table)
    return str(tmp_path / "set" / "labels.json")


@pytest.fixture
def dot():
    torch.manual_seed(0)
    return Dot(DotConfig())


@pytest.fixture
def dots():
    return Dots


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """The catalogue's place knows the small methods by their names."""
    real = weights.method_class
    small = {"dot": Dot, "free": Free}
    for module in (weights, lesson, cloud_lesson):
        monkeypatch.setattr(module, "method_class", lambda name: small.get(name) or real(name))
