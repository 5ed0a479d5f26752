"""Measures against a method that is right, and one that answers the mean."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

from asterism.data.frames import Memory, find_frames
from asterism.data.sources import open_data
from asterism.data.subset import Subset
from asterism.engine import predict as predicting
from asterism.engine.evaluate import measure_detector, measure_landmarks
from asterism.engine.lesson import mean_shape
from asterism.engine.looks import look_at, turned_looks
from asterism.engine.view import View, view_of
from asterism.geometry import affine
from asterism.geometry.coords import pixel_grid
from asterism.methods.base import Method
from asterism.types import Images, Keypoints2D


@dataclass(frozen=True)
class SeerConfig:
    n_keypoints: int = 2


class Seer(Method[Images, torch.Tensor, Keypoints2D]):
    """Two points at the centroid of what is brighter than half and of what is dimmer."""

    name = "seer"
    family = "pose2d"
    paper = "nobody"
    link = "nowhere"
    Config = SeerConfig
    presets: ClassVar = {"paper": SeerConfig(), "small": SeerConfig(), "tiny": SeerConfig()}
    takes = Images
    gives = Keypoints2D

    def forward(self, batch):
        grey = batch.image[:, 0]
        peak = grey.flatten(1).argmax(1)
        h, w = grey.shape[1:]
        at = torch.stack([peak % w, peak // w], -1).float()[:, None]
        grid = pixel_grid((h, w), like=grey)
        near = ((grid - at[:, :, None]) ** 2).sum(-1) < (w / 8) ** 2  # B h w
        weights = torch.stack([grey * near, grey * ~near], 1)[..., None]  # B 2 h w 1
        return (weights * grid).sum((2, 3)) / weights.sum((2, 3)).clamp(min=1e-6)

    def decode(self, raw, batch):
        return Keypoints2D(xy=affine.apply(batch.to_source, raw), score=torch.ones_like(raw[..., 0]))


@pytest.fixture
def far(labelled):
    """The labelled set without the pictures whose two dots touch."""
    images = open_data(labelled)
    assert images.table is not None
    gap = np.linalg.norm(images.table.xy[:, 0] - images.table.xy[:, 1], axis=1)
    return images, np.flatnonzero(gap > 11)


@pytest.mark.parametrize("kind", ["boxes", "whole"])
def test_who_sees_errs_little_also_when_turned(far, kind):
    images, good = far
    view = View(kind=kind, size=(64, 64), memory=Memory())
    mean = np.zeros((2, 2))
    answer = measure_detector(Seer(SeerConfig()), view, images, good, mean, 0, "cpu")
    assert answer["mean_px"] < 0.5  # the window about the brightest pixel moves by whole pixels
    assert answer["rotated_mean_px"] == pytest.approx(answer["mean_px"], abs=0.1)
    assert answer["pck_0.1"] == answer["rotated_pck_0.1"] == 1
    assert answer["frame"] == kind


def test_the_mean_position_is_the_mean_over_crops(far):
    images, _ = far
    table = images.table
    view = View(kind="boxes", size=(36, 36), memory=Memory())
    look = look_at(images, view, np.arange(20))
    shape = mean_shape(look.frames, table, view.size)
    # The box of 36 enlarged by a quarter is 45 source pixels for 36 of the crop, its middle is (19.5, 19.5).
    np.testing.assert_allclose(shape, (table.xy.mean(0) - 19.5) / 1.25 + 17.5)
    answer = measure_detector(Seer(SeerConfig()), view, images, np.arange(20), shape, 0, "cpu")
    expected = np.linalg.norm(table.xy - table.xy.mean(0), axis=-1).mean()
    assert answer["mean_position_px"] == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["boxes", "whole"])
def test_every_picture_is_turned_once_and_looked_at_from_as_near(far, kind):
    images, _ = far
    view = View(kind=kind, size=(32, 32), memory=Memory())
    test = np.array([1, 4, 5, 9, 12, 13, 19])
    looks = turned_looks(images, view, test, seed=0)
    assert sorted(np.concatenate([look.labels.image for look in looks])) == test.tolist()
    plain = look_at(images, view, test)
    for look in looks:
        assert set(look.frames.scale) == set(plain.frames.scale)
        for at, row in zip(look.labels.image, range(len(look.frames))):
            before = plain.labels.xy[plain.labels.image == at][0]
            after = look.labels.xy[row]
            assert np.linalg.norm(after[0] - after[1]) == pytest.approx(np.linalg.norm(before[0] - before[1]))
            seen = look.images.picture(int(look.frames.image[row]))
            x, y = np.rint(after[0]).astype(int)
            assert seen[y, x, 0] > 200 or not look.labels.labelled[row, 0]
    assert np.concatenate([look.labels.labelled for look in looks]).mean() > 0.9


def test_a_seer_without_labels_is_judged_well(far):
    images, good = far
    view = View(kind="whole", size=(64, 64), memory=Memory())
    method = Seer(SeerConfig())
    report = measure_landmarks(method, method, view, images, good[:9], good[9:], 0, device="cpu")
    scores = {score.name: score.curve[-1].forward.mean_px for score in report.sets}
    assert scores["points"] < 0.5 < scores["mean shape"]
    assert scores["untrained"] == pytest.approx(scores["points"])  # the same draws


def test_rows_come_back_in_the_order_of_the_frames(far, monkeypatch):
    images, good = far
    view = View(kind="boxes", size=(64, 64), memory=Memory())
    look = look_at(images, view, good)
    backwards = look.frames.rows(np.arange(len(look.frames))[::-1])
    monkeypatch.setattr(predicting, "_BATCH", 3)
    method = Seer(SeerConfig())
    one = predicting.keypoints(method, images, look.frames, view.size, device="cpu")
    two = predicting.keypoints(method, images, backwards, view.size, device="cpu")
    np.testing.assert_allclose(one[0], two[0][::-1], atol=1e-4)
    np.testing.assert_allclose(one[1], two[1][::-1])


def test_a_lone_point_without_a_box_has_no_pck(far):
    images, good = far
    table = images.table
    table.has_box[:] = False
    table.labelled[:, 1] = False
    view = View(kind="whole", size=(64, 64), memory=Memory())
    answer = measure_detector(Seer(SeerConfig()), view, images, good, np.zeros((2, 2)), 0, "cpu")
    assert answer["pck_0.1"] is None and answer["mean_px"] < 0.5
    assert answer["per_point_px"]["dim"] is None


def test_a_few_pictures_are_turned_with_the_background_that_is_remembered():
    images = open_data("world:creatures?clips=1&n=60&size=96&background=textured&seed=3")
    frames = find_frames(images, "moments")
    view = view_of(frames, (32, 32))
    few = Subset(images, [10, 20, 30])
    plain, looks = look_at(few, view, np.arange(3)), turned_looks(few, view, np.arange(3), seed=0)
    assert sum(len(look.frames) for look in looks) == len(plain.frames) == 3
    for look in looks:
        assert look.frames.kind == "moments"
        for row, index in enumerate(look.labels.image):
            scale = plain.frames.scale[plain.labels.image == index]
            assert look.frames.scale[row] == pytest.approx(scale, rel=0.12)  # blurred by turning
            labelled = look.labels.labelled[row]
            gap = np.linalg.norm(look.labels.xy[row, labelled].mean(0) - look.frames.centre[row])
            assert gap < 0.5 * look.frames.scale[row]
