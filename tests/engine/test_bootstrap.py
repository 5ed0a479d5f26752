"""Rounds of bootstrapping: a detector that is truth, noise and strays, and one that knows nothing."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from asterism.data.multiview import views_of
from asterism.data.worlds import Rig
from asterism.engine import bootstrap as engine
from asterism.engine.bootstrap import Teaching, bootstrap
from asterism.engine.predict_files import predict_to
from asterism.engine.relabel import Rule
from asterism.engine.runs import Run
from asterism.errors import RequestError
from asterism.io.keypoints import read_keypoints

SHORT = Teaching(method="dot", preset="tiny", steps=2, minutes=None, frame="whole", device="cpu")


@pytest.fixture(scope="module")
def images():
    return views_of(Rig(n=4, views=5, subjects=1, seed=3, size=(64, 64)))


@pytest.fixture
def few(images):
    rows = np.array([1, 6, 11])
    columns = ("image", "individual", "xy", "labelled", "visible", "score", "box", "has_box", "area")
    return replace(images.table, **{name: getattr(images.table, name)[rows] for name in columns})


@pytest.fixture
def fake(images, monkeypatch):
    """Every look of a detector: the truth with noise, one view of each point anywhere."""
    calls = []

    def detected(method, ground, device):
        rng = np.random.default_rng(len(calls))
        calls.append(method)
        xy = images.table.xy + rng.normal(0, 0.3, images.table.xy.shape)
        xy = np.moveaxis(xy.reshape(5, 4, 17, 2), 0, 1).copy()
        stray = rng.integers(0, 5, (4, 17))
        at = (np.arange(4)[:, None], stray, np.arange(17)[None])
        xy[at] = rng.uniform(0, 63, (4, 17, 2))
        return torch.from_numpy(xy), torch.full((4, 5, 17), 0.9, dtype=torch.float64)

    monkeypatch.setattr(engine, "detected", detected)
    return calls


def test_each_round_learns_from_more_and_is_a_run(images, few, fake, tmp_path):
    report = bootstrap(images, few, tmp_path / "b", rounds=2, rule=Rule(window=2), teaching=SHORT)
    assert len(fake) == 3
    lines = report["numbers"]["rounds"]
    assert [line["pictures"] for line in lines] == [3, 10 + 3 - _shared(few, tmp_path), lines[2]["pictures"]]
    assert lines[0]["accepted"] > 0.95 and lines[0]["chosen_moments"] == 2
    assert report["numbers"]["rule"]["inlier"] == pytest.approx(16.0)  # 4 pixels of 16, of pictures of 64
    assert json.loads((tmp_path / "b" / "report.json").read_text()) == report
    for turn in range(3):
        info = Run(tmp_path / "b" / f"round-{turn}").info()
        assert info["kind"] == "bootstrap" and info["trained_frames"] == lines[turn]["pictures"]
    out = tmp_path / "points.csv"
    predict_to(tmp_path / "b" / "round-2", ["world:rig?n=1&views=2&subjects=1&size=64"], out, device="cpu")
    assert read_keypoints(out).xy.shape == (2, 17, 2)


def _shared(few, tmp_path):
    """Labelled pictures that show one of the chosen moments."""
    names = read_keypoints(tmp_path / "b" / "labels-1.csv").images
    own = {few.images[i] for i in few.image}
    moments = {name.split("/")[1] for name in names if name not in own}
    return sum(name.split("/")[1] in moments for name in own)


def test_new_labels_are_right_and_those_made_by_hand_stay(images, few, fake, tmp_path):
    bootstrap(images, few, tmp_path / "b", rounds=1, rule=Rule(inlier=2.0, window=2), teaching=SHORT)
    table = read_keypoints(tmp_path / "b" / "labels-1.csv")
    index = np.array([[images.name(i) for i in range(20)].index(name) for name in table.images])[table.image]
    both = table.labelled & images.table.labelled[index]
    gap = np.linalg.norm(table.xy - images.table.xy[index], axis=-1)[both]
    assert gap.mean() < 0.4 and np.quantile(gap, 0.99) < 1.5
    for row in np.flatnonzero(np.isin(index, few.image)):
        own = few.xy[few.image == index[row]][0]
        assert np.array_equal(table.xy[row], own)


def test_detections_are_laid_out_by_moment_and_view(images, dot):
    ground = engine.look(images, (16, 16), "whole")
    method = type(dot)(replace(dot.config, n_keypoints=17))
    xy, score = engine.detected(method, ground, "cpu")
    assert xy.shape == (4, 5, 17, 2) and score.shape == (4, 5, 17)
    one = engine.keypoints(method, ground.images, ground.frames.rows(np.array([3 * 4 + 2])), (16, 16))[0]
    np.testing.assert_allclose(xy[2, 3], one[0], atol=1e-4)


def test_a_detector_that_knows_nothing_is_told(images, few, tmp_path):
    with pytest.raises(
        RequestError, match="in no moment 30% of the points were agreed on by 3 views within 1 "
    ):
        bootstrap(images, few, tmp_path / "b", rounds=1, rule=Rule(inlier=1.0), teaching=SHORT)


def test_impossible_requests_are_refused_before_anything_is_written(images, few, tmp_path):
    with pytest.raises(RequestError, match="rounds=0"):
        bootstrap(images, few, tmp_path / "b", rounds=0, teaching=SHORT)
    with pytest.raises(RequestError, match="does not learn from labels"):
        bootstrap(images, few, tmp_path / "b", teaching=replace(SHORT, method="free"))
    twice = replace(few, image=np.array([1, 1, 11]))
    with pytest.raises(RequestError, match="several individuals"):
        bootstrap(images, twice, tmp_path / "b", teaching=SHORT)
    assert not (tmp_path / "b").exists()
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "mine.txt").write_text("x")
    with pytest.raises(RequestError, match="other files"):
        bootstrap(images, few, tmp_path / "c", teaching=SHORT)
