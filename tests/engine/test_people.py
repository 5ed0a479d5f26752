"""A method that finds everybody in one look: trained, evaluated, and its rows written."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

from asterism.data.people import whole_frames
from asterism.data.worlds.figures import Figures
from asterism.engine.evaluate import evaluate_run
from asterism.engine.lesson import lesson_of, trainable
from asterism.engine.people import measure_people, people_table
from asterism.engine.predict_files import predict_to
from asterism.engine.train import train_on
from asterism.errors import RequestError
from asterism.io.keypoints import read_keypoints
from asterism.methods.base import Method
from asterism.types import Images, People2D, Skeleton


@dataclass(frozen=True)
class OracleConfig:
    input_size: tuple[int, int] = (32, 32)


class Oracle(Method[Images, People2D, People2D]):
    """Says what the table says, in the order of the pictures."""

    name = "oracle"
    family = "control"
    paper = link = ""
    Config = OracleConfig
    presets: ClassVar = dict.fromkeys(("paper", "small", "tiny"), OracleConfig())
    takes = Images
    gives = People2D

    def __init__(self, table, shift=0.0):
        super().__init__(OracleConfig())
        self.table, self.at, self.shift = table, 0, shift

    def forward(self, batch):
        b, k, most = len(batch), len(self.table.names), 5
        xy, score = torch.zeros(b, most, k, 2), torch.zeros(b, most, k)
        valid = torch.zeros(b, most, dtype=torch.bool)
        for i in range(b):
            rows = np.flatnonzero(self.table.image == self.at)
            xy[i, : len(rows)] = torch.from_numpy(self.table.xy[rows]).float() + self.shift
            score[i, : len(rows)] = torch.from_numpy(self.table.labelled[rows]).float()
            valid[i, : len(rows)] = True
            self.at += 1
        return People2D(xy=xy, score=score, valid=valid)

    def decode(self, raw, batch):
        return raw


def test_perfect_people_have_an_average_precision_of_one_and_their_rows_are_counted():
    figures = Figures(n=20, seed=3, size=(64, 64), people=(1, 3))
    table = figures.table
    found = people_table(Oracle(table), figures.skeleton, figures, (32, 32))
    assert np.array_equal(found.image, table.image) and np.array_equal(found.individual, table.individual)
    np.testing.assert_allclose(found.xy, np.where(table.labelled[..., None], table.xy, 0), atol=1e-4)
    every = np.arange(20)
    numbers = measure_people(Oracle(table), figures.skeleton, figures, every, (32, 32))
    assert numbers["oks_ap"] == pytest.approx(1) and numbers["oks_sigma"] == "COCO"
    off = measure_people(Oracle(table, 5.0), figures.skeleton, figures, every, (32, 32))
    assert off["oks_ap"] < 0.5 and off["people_found"] == len(table)


def test_nobody_found_is_an_empty_table():
    figures = Figures(n=2, seed=3, size=(64, 64))
    empty = Oracle(figures.table)
    empty.at = 100
    found = people_table(empty, figures.skeleton, figures, (32, 32))
    assert len(found) == 0 and len(found.images) == 2


def test_whole_pictures_are_frames():
    frames = whole_frames(Figures(n=2, size=(40, 60)))
    assert frames.scale.tolist() == [30, 30] and frames.centre.tolist() == [[29.5, 19.5]] * 2


def test_limbs_come_from_the_skeleton_of_the_data():
    figures = Figures(n=10, seed=3, size=(64, 64), people=(1, 2))
    cls = trainable("openpose", "small")
    lesson = lesson_of(cls, "small", figures, "figures", seed=0, frame="auto", objects=None)
    assert lesson.config.limbs == figures.skeleton.edges and lesson.config.n_keypoints == 17
    assert len(lesson.config.redundant) == len(figures.skeleton.edges) - 16
    assert lesson.frames.kind == "whole" and len(lesson.frames) == 8
    assert lesson.about["mean_shape"] is None
    with pytest.raises(RequestError, match="--frame boxes"):
        lesson_of(cls, "small", figures, "figures", seed=0, frame="boxes", objects=None)


def test_edges_that_do_not_join_all_points_are_refused():
    cls = trainable("openpose", "small")
    loose = Skeleton(names=("nose", "tail", "paw"), edges=((0, 1),))
    with pytest.raises(RequestError, match="paw cannot be reached from nose"):
        cls.config_for(cls.presets["small"], loose)


def test_from_labels_to_rows_with_individuals(tmp_path):
    run, data = tmp_path / "run", "world:figures?n=10&people=1-2&size=64x64"
    train_on(data, "openpose", run, preset="tiny", steps=2)
    numbers = evaluate_run(run)
    assert numbers["test_pictures"] == 2 and 0 <= numbers["oks_ap"] <= 1
    answer = predict_to(run, [data], tmp_path / "out.csv")
    assert answer["pictures"] == 10 and answer["points"] == 17
    assert len(read_keypoints(tmp_path / "out.csv")) == answer["rows"] or answer["rows"] == 0
