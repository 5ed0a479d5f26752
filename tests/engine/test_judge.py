"""The judge of discovered points: points that do not move are caught by their own control."""

import numpy as np
import pytest
import torch

from asterism.data.frames import find_frames
from asterism.data.gathered import gather
from asterism.data.sources import open_data
from asterism.data.subset import Unlabelled
from asterism.engine.judge import equivariance, judge, objects_of
from asterism.engine.lesson import unnamed
from asterism.engine.predict import predict_table
from asterism.geometry import affine
from asterism.methods.base import Method
from asterism.types import Images, Keypoints2D

WORLD = "world:creatures?clips=1&n=100&size=96&background=textured&seed=3"


class Ring(Method[Images, torch.Tensor, Keypoints2D]):
    """Points of a ring in the crop, whatever it shows: the method that cheats."""

    name = "ring"
    family = "landmarks"
    paper = link = ""
    Config = object
    presets = {"paper": None, "small": None, "tiny": None}  # noqa: RUF012
    takes = Images
    gives = Keypoints2D

    def forward(self, batch):
        angle = torch.arange(4) * torch.pi / 2
        ring = 31.5 + 20 * torch.stack([angle.cos(), angle.sin()], -1)
        return ring.expand(len(batch), 4, 2)

    def decode(self, raw, batch):
        return Keypoints2D(xy=affine.apply(batch.to_source, raw), score=torch.ones(len(batch), 4))


@pytest.fixture(scope="module")
def looked():
    images = Unlabelled(open_data(WORLD))
    frames = find_frames(images, "moments", objects=1)
    return images, frames, gather(images, frames, (64, 64), clips=True)


def test_a_ring_does_as_badly_as_points_that_never_move(looked):
    steady, stuck = equivariance(Ring(object()), looked[2], looked[1])
    np.testing.assert_allclose(steady, stuck, rtol=1e-4)
    assert steady.min() > 0.03


def test_the_verdict_on_a_ring_is_not_kind(looked):
    images, frames, crops = looked
    ring = Ring(object())
    table = predict_table(ring, unnamed(4), images, frames, (64, 64))
    verdict = judge(ring, images, frames, crops, table)
    assert set(verdict.numbers["loose"]) == {"point0", "point1", "point2", "point3"}
    assert verdict.numbers["healthy"] == 0
    assert "0 of 4 points are healthy" in verdict.sentences[0]
    assert verdict.badness > 1.5


def test_sizes_of_objects(looked):
    _, frames, _ = looked
    size = objects_of(frames, np.arange(5)).size
    # The animal is 0.27 to 0.4 of 96 pixels from nose to tail base, and has a tail.
    assert ((size > 26) & (size < 75)).all()


class Boxed(Ring):
    """Corners of the upright box of the bright animal's change: points that follow the box, not the body."""

    name = "boxed"

    def decode(self, raw, batch):
        out = []
        for change, to_source in zip(batch.change[:, 0], batch.to_source):
            y, x = torch.nonzero(change > 0.35 * change.max(), as_tuple=True)
            xy = affine.apply(to_source[None], torch.stack([x, y], -1)[None].float())[0]
            low, high = xy.quantile(0.02, dim=0), xy.quantile(0.98, dim=0)
            out.append(torch.stack([low, torch.stack([high[0], low[1]]), high, (low + high) / 2]))
        return Keypoints2D(xy=torch.stack(out), score=torch.ones(len(batch), 4))


def test_corners_of_the_box_are_named(looked):
    images, frames, crops = looked
    boxed = Boxed(object())
    table = predict_table(boxed, unnamed(4), images, frames, (64, 64))
    verdict = judge(boxed, images, frames, crops, table)
    assert set(verdict.numbers["bounding_box"]) >= {"point0", "point1", "point2"}
    assert "bounding-box points" in verdict.sentences[0]


def test_a_moving_camera_is_judged_against_its_scene():
    images = Unlabelled(open_data(WORLD.replace("textured", "moving").replace("n=100", "n=60")))
    frames = find_frames(images)
    assert frames.placed is not None
    crops = gather(images, frames, (64, 64), clips=True)
    ring = Ring(object())
    found = judge(ring, images, frames, crops, predict_table(ring, unnamed(4), images, frames, (64, 64)))
    assert 0 < found.numbers["health"]["coverage"] < 1
