"""Every method of the catalogue on its tiny preset, and a batch of what it learns from."""

import importlib
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from asterism import catalogue
from asterism.data.cloud_sets import ShapeWorld
from asterism.data.posed import PosedSamples
from asterism.geometry import affine
from asterism.geometry.coords import pixel_grid
from asterism.methods.base import Method, Trainable
from asterism.types import (
    Clips,
    Clouds,
    Images,
    LabelledImages,
    LabelledPeople,
    PosedViews,
    Struct,
    Views2D,
)

TEMPLATE = "asterism.methods._template"


def scene(b: int, k: int, size: tuple[int, int], seed: int) -> tuple[Tensor, Tensor]:
    """Pictures with one coloured blob per keypoint, and where the blobs are: it can be learned."""
    g = torch.Generator().manual_seed(seed)
    h, w = size
    grid = pixel_grid(size, like=torch.zeros(()))
    xy = (0.25 + 0.5 * torch.rand(b, k, 2, generator=g)) * torch.tensor([w - 1.0, h - 1.0])
    hue = torch.arange(k) * (2 * math.pi / k)
    colour = 0.5 + 0.5 * torch.stack([(hue + t).cos() for t in (0.0, 2.1, 4.2)], dim=-1)  # K 3
    dots = (-(grid - xy[:, :, None, None]).square().sum(-1) / (2 * (min(size) / 16) ** 2)).exp()
    image = torch.einsum("bkhw,kc->bchw", dots, colour) + 0.1 * torch.rand(b, 3, h, w, generator=g)
    return image.clamp(0, 1), xy


def images(config, b: int, seed: int = 0) -> Images:
    image, _ = scene(b, config.n_keypoints, config.input_size, seed)
    return Images(image=image, to_source=affine.identity(b, like=image))


def labelled_images(config, b: int, seed: int = 0) -> LabelledImages:
    image, xy = scene(b, config.n_keypoints, config.input_size, seed)
    every = torch.ones(xy.shape[:2], dtype=torch.bool)
    to_source = affine.identity(b, like=image)
    return LabelledImages(image=image, to_source=to_source, xy=xy, labelled=every, visible=every)


def labelled_people(config, b: int, seed: int = 0) -> LabelledPeople:
    """One individual in every picture, a row of padding, and a corner that does not count."""
    one = labelled_images(config, b, seed)
    nobody = torch.zeros(b, 1, config.n_keypoints, dtype=torch.bool)
    counts = torch.ones(b, 1, *config.input_size)
    counts[:, :, :4, :4] = 0.0
    return LabelledPeople(
        image=one.image,
        to_source=one.to_source,
        xy=torch.cat([one.xy[:, None], torch.full_like(one.xy, torch.nan)[:, None]], dim=1),
        labelled=torch.cat([one.labelled[:, None], nobody], dim=1),
        visible=torch.cat([one.visible[:, None], nobody], dim=1),
        valid=torch.tensor([True, False]).expand(b, 2),
        counts=counts,
    )


def clips(config, b: int, seed: int = 0) -> Clips:
    """Four pictures in which the blobs move, in front of a background that is known."""
    parts = [scene(b, config.n_keypoints, config.input_size, 100 * seed + t)[0] for t in range(4)]
    image = torch.stack(parts, dim=1)  # B T 3 H W
    change = (image.amax(2, keepdim=True) - 0.1).clamp(0, 1)
    to_source = affine.identity(b, like=image)[:, None].expand(b, 4, 2, 3).clone()
    return Clips(image=image, to_source=to_source, change=change)


def clouds(config, b: int, seed: int = 0) -> Clouds:
    """Bumpy boxes of different proportions, from -1 to 1; the last rows are padding nobody may look at."""
    g = torch.Generator().manual_seed(seed)
    n, sides = 96, 0.4 + 0.6 * torch.rand(b, 1, 3, generator=g)
    way = torch.randn(b, n, 3, generator=g)
    points = way / way.abs().amax(-1, keepdim=True) + 0.05 * torch.randn(b, n, 3, generator=g)
    valid = (torch.arange(n) < n - 6).expand(b, n).clone()
    points = (sides * points).clamp(-1, 1).masked_fill(~valid[..., None], torch.nan)
    return Clouds(points=points, valid=valid, to_source=torch.eye(4).expand(b, 4, 4).clone())


def views(config, b: int, seed: int = 0) -> Views2D:
    """Turned boxes of points of different sides, one hidden; the last point is of another category."""
    g = torch.Generator().manual_seed(seed)
    k = config.n_keypoints
    box = torch.randn(k, 3, generator=torch.Generator().manual_seed(7))
    xyz = box * (0.6 + 0.8 * torch.rand(b, 1, 3, generator=g))
    turn = torch.linalg.qr(torch.randn(b, 3, 3, generator=g)).Q
    part = (torch.arange(k) < k - 1).expand(b, k).clone()
    valid = part.clone()
    valid[torch.arange(b), torch.arange(b) % (k - 1)] = False
    xy = (xyz @ turn.mT)[..., :2].masked_fill(~valid[..., None], torch.nan)
    return Views2D(xy=xy, valid=valid, part=part, to_source=affine.identity(b, like=xy))


def posed_views(config, b: int, seed: int = 0) -> PosedViews:
    """Cars from two sides each."""
    cars = PosedSamples(
        ShapeWorld("cars", b, seed), range(b), config.input_size, config.field, config.distance, seed
    )
    return PosedViews.cat([cars[0, i] for i in range(b)])


MAKE: dict[type[Struct], Callable[..., Struct]] = {
    Images: images,
    LabelledImages: labelled_images,
    LabelledPeople: labelled_people,
    Clips: clips,
    Clouds: clouds,
    PosedViews: posed_views,
    Views2D: views,
}


def spoil(batch: Struct) -> Struct:
    """The batch with its first point of its first row not labelled, and NaN where nobody may look."""
    if not isinstance(batch, LabelledImages | LabelledPeople):
        return batch
    labelled, xy = batch.labelled.clone(), batch.xy.clone()
    labelled[0, 0], xy[0, 0] = False, torch.nan
    return replace(batch, labelled=labelled, visible=labelled, xy=xy)


def template() -> type[Method]:
    return importlib.import_module(TEMPLATE).BrightestSpot


# Solvers of matches keep a contract of their own: tests/matching/test_synchronisers.py.
NAMES = [*(name for name, row in catalogue.entries().items() if row.takes != "Matches"), "_template"]


@pytest.fixture(params=NAMES)
def method_class(request) -> type[Method]:
    return template() if request.param == "_template" else catalogue.method_class(request.param)


@pytest.fixture
def method(method_class) -> Method:
    torch.manual_seed(0)
    return method_class(method_class.presets["tiny"])


@pytest.fixture
def trainable(method) -> Trainable:
    if not isinstance(method, Trainable):
        pytest.skip("a classical method: nothing to learn")
    return method


@pytest.fixture
def batch(method) -> Struct:
    """Two rows of what the method takes."""
    return MAKE[method.takes](method.config, 2)


@pytest.fixture
def lesson(trainable) -> Struct:
    """Four rows of what the method learns from, with NaN planted."""
    return spoil(MAKE[trainable.learns_from](trainable.config, 4))
