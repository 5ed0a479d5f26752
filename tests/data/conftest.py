"""Small sets of pictures with and without labels, for all tests of data."""

import numpy as np
import pytest
import torch

from asterism.data.base import FrameTable, ImageSet
from asterism.data.tables import skeleton_of
from asterism.io.table import KeypointTable

NAMES = ("left", "right", "nose")


def labels(xy, labelled=None, swap=(1, 0, 2)):
    xy = np.asarray(xy, float)
    n, k = xy.shape[:2]
    labelled = np.ones((n, k), bool) if labelled is None else np.asarray(labelled)
    return KeypointTable(
        names=NAMES[:k],
        images=tuple(f"{i}.png" for i in range(n)),
        image=np.arange(n),
        individual=np.zeros(n, np.int64),
        xy=xy,
        labelled=labelled,
        visible=labelled.copy(),
        score=np.ones((n, k)),
        box=np.zeros((n, 4)),
        has_box=np.zeros(n, bool),
        area=np.zeros(n),
        swap=swap,
    )


class Held(ImageSet):
    def __init__(self, pictures, table=None, is_clip=False):
        self.title, self.is_clip = "held", is_clip
        self.pictures, self.table = pictures, table
        self.skeleton = None if table is None else skeleton_of(table)
        self.reads = 0

    def __len__(self):
        return len(self.pictures)

    def picture(self, index):
        self.reads += 1
        return self.pictures[index]

    def name(self, index):
        return f"{index}.png"

    def fingerprint(self):
        return "held"


def frames(centre, scale, angle, rows=True, backgrounds=()):
    n = len(centre)
    return FrameTable(
        kind="boxes",
        why="a test",
        image=np.arange(n),
        individual=np.zeros(n, np.int64),
        row=np.arange(n) if rows else np.full(n, -1),
        centre=np.asarray(centre, float),
        scale=np.asarray(scale, float),
        angle=np.asarray(angle, float),
        doubt=np.zeros(n),
        background=np.full(n, 0 if backgrounds else -1),
        found=np.ones(n, bool),
        backgrounds=backgrounds,
    )


def blob(xy, size, sigma=2.5):
    """A smooth dot, so that its place survives interpolation."""
    y, x = np.mgrid[: size[0], : size[1]]
    v = np.exp(-((x - xy[0]) ** 2 + (y - xy[1]) ** 2) / (2 * sigma**2))
    return np.repeat((v * 255).round().astype(np.uint8)[..., None], 3, -1)


def centroid(image):
    w = image.mean(0).double()
    y, x = torch.meshgrid(*(torch.arange(s, dtype=torch.float64) for s in w.shape), indexing="ij")
    return torch.stack([(w * x).sum(), (w * y).sum()]) / w.sum()


@pytest.fixture(name="labels")
def _labels():
    return labels


@pytest.fixture(name="Held")
def _held():
    return Held


@pytest.fixture(name="frames")
def _frames():
    return frames


@pytest.fixture(name="blob")
def _blob():
    return blob


@pytest.fixture(name="centroid")
def _centroid():
    return centroid
