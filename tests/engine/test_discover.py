"""Discovery from end to end on generated clips, shortly: what is written, what is said, what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest

from asterism.data.frames import find_frames
from asterism.data.gathered import frame_gap, gather
from asterism.data.sources import open_data
from asterism.data.subset import Unlabelled
from asterism.engine import discover as discovering
from asterism.engine.discover import METHODS, Attempt, choose_k, choose_method, discover
from asterism.engine.judge import Verdict
from asterism.engine.lesson import unnamed
from asterism.engine.predict import predict_table
from asterism.engine.runs import Run
from asterism.engine.view import read_view
from asterism.engine.weights import load_weights
from asterism.errors import RequestError
from asterism.io.keypoints import read_keypoints
from asterism.types import Clips, Images

STILL = "world:creatures?clips=1&n=120&size=96&background=textured&seed=3"
PANNING = "world:creatures?clips=1&n=60&size=96&background=moving&seed=3"


@pytest.fixture(scope="module")
def looked():
    images = Unlabelled(open_data(STILL))
    return images, find_frames(images)


@pytest.fixture(scope="module")
def panned():
    images = Unlabelled(open_data(PANNING))
    return images, find_frames(images)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    run = tmp_path_factory.mktemp("discover") / "run"
    return run, discover(STILL, 4, run, minutes=0.06, seed=1)


def test_the_run_holds_points_for_every_picture(found):
    run, report = found
    table = read_keypoints(run / "keypoints.csv")
    assert table.xy.shape == (120, 4, 2)
    assert len(table.names) == 4
    assert table.labelled.all()
    assert report["numbers"]["pictures"] == 120
    assert report["numbers"]["frame"] == "moments"


def test_the_run_can_be_used_like_any_other(found):
    run, report = found
    method, skeleton = load_weights(run / "best")
    assert method.name == report["numbers"]["method"] == "video-difference"
    assert skeleton is not None
    assert len(skeleton) == 4
    view = read_view(Run(run))
    assert view.kind == "moments"
    assert view.memory.objects == 1
    assert view.memory.look is not None


def test_the_report_is_honest_json(found):
    _, report = found
    text = json.dumps(report, allow_nan=False)
    for word in ("dead", "collapsed", "off_object", "loose", "equivariance_error", "tries"):
        assert f'"{word}"' in text
    assert len(report["sentences"]) >= 4
    healthy, troubles = report["numbers"]["healthy"], report["sentences"][1]
    assert healthy == 4 or "Not to be trusted" in troubles
    assert (len(report["numbers"]["tries"]) == 2) == ("Tried again" in " ".join(report["sentences"]))


def test_a_run_is_not_written_over(found):
    run, _ = found
    with pytest.raises(RequestError, match="holds a run already"):
        discover(STILL, 4, run, minutes=0.01)


def test_the_minutes_are_those_of_all_tries_together(found):
    _, report = found
    tries = report["numbers"]["tries"]
    assert sum(one["seconds"] for one in tries) < 60 * 0.06 + 4.0  # and the last step of each
    assert tries[0]["seconds"] < 60 * 0.6 * 0.06 + 2.0
    assert any("of 0.06 minutes" in sentence for sentence in report["sentences"])


@pytest.mark.parametrize(("troubles", "wanted"), [((), [6.0]), (("dead points",), [6.0, 4.0])])
def test_a_second_try_gets_what_the_first_left(tmp_path, monkeypatch, looked, troubles, wanted):
    frames = looked[1]
    given = []

    def attempt(learner, crops, images, frames, place, seed, minutes, device):
        given.append(minutes)
        place.folder.mkdir(parents=True, exist_ok=True)
        table = predict_table(learner, unnamed(4), images, frames.rows(np.arange(3)), (64, 64))
        verdict = Verdict(troubles=troubles, badness=1.0, sentences=("so so",), numbers={})
        return Attempt(
            method=learner, seed=seed, table=table, verdict=verdict, trained={"seconds": 60 * minutes}
        )

    monkeypatch.setattr(discovering, "_attempt", attempt)
    monkeypatch.setattr(discovering, "find_frames", lambda *_: frames)
    report = discover(STILL, None, tmp_path / "run", minutes=10.0, format="sleap-csv")
    assert given == pytest.approx(wanted)
    assert len(report["numbers"]["tries"]) == len(wanted)
    assert (tmp_path / "run" / "keypoints-sleap-csv.csv").read_text().startswith("track,frame_idx")


def test_a_format_nobody_knows_is_refused_before_any_work(tmp_path):
    with pytest.raises(RequestError, match="format 'dlt'"):
        discover(STILL, 4, tmp_path / "run", format="dlt")
    assert not (tmp_path / "run").exists()


def test_as_many_points_as_cover_the_object(looked):
    images, frames = looked
    crops = gather(images, frames, (64, 64), clips=True)
    k, why = choose_k(crops, frames)
    assert 5 <= k <= 12
    assert f"{k} points" in why and "cover what moves" in why
    whole = find_frames(images, "whole")
    k, why = choose_k(gather(images, whole, (32, 32), clips=True, most=10), whole)
    assert k == 8 and "no object" in why


def test_the_method_suits_the_data(looked, panned):
    stills = Unlabelled(open_data("world:figures?n=6&size=64"))
    assert choose_method(*looked) == METHODS["still"]
    name, why = choose_method(*panned)
    assert (name, "held against the scene" in why) == ("video-difference", True)
    lost = replace(panned[1], backgrounds=(), placed=None)
    assert choose_method(panned[0], lost) == METHODS["moving"]
    assert choose_method(stills, find_frames(stills)) == METHODS["pictures"]


def test_what_needs_labels_is_refused(tmp_path):
    with pytest.raises(RequestError, match="stacked-hourglass needs labels"):
        discover(STILL, 4, tmp_path / "run", method="stacked-hourglass")
    assert not (tmp_path / "run").exists()


# ------------------------------------------------------------------------------------------------- gathering


def test_gathered_crops_are_the_pictures_in_their_frames(looked):
    images, frames = looked
    crops = gather(images, frames, (32, 32), most=10, clips=True)
    one = crops[0, 3]
    assert isinstance(one, Clips)
    assert tuple(one.image.shape) == (1, 1, 3, 32, 32)
    assert one.change is not None
    assert float(one.change[..., 10:22, 10:22].mean()) > 2 * float(one.change[..., :4, :].mean())
    row = crops.rows[3]
    middle = one.to_source[0, 0, :, :2].numpy() @ [15.5, 15.5] + one.to_source[0, 0, :, 2].numpy()
    np.testing.assert_allclose(middle, frames.centre[row], atol=1e-3)
    assert isinstance(gather(images, frames, (32, 32), most=10, clips=False)[0, 0], Images)


def test_what_changes_is_known_before_a_moving_camera(panned):
    images, frames = panned
    assert frames.kind == "moments" and frames.placed is not None
    crops = gather(images, frames, (32, 32), most=20, clips=True)
    one = crops[0, 3]
    assert one.image.shape[1] == 1
    assert float(one.change[..., 10:22, 10:22].mean()) > 2 * float(one.change[..., :4, :].mean())


def test_a_scene_that_cannot_be_held_gives_pairs(panned):
    images, frames = panned[0], find_frames(panned[0].images, "whole")
    lost = replace(frames, background=np.full(60, -1), backgrounds=(), placed=None, row=np.full(60, -1))
    crops = gather(images, lost, (32, 32), most=400, clips=True)
    assert crops.gap >= 1
    assert len(crops) == 60 - crops.gap
    one = crops[0, 0]
    assert isinstance(one, Clips)
    assert one.image.shape[1] == 2
    assert one.change is None
    later = crops[0, crops.gap]
    np.testing.assert_array_equal(one.image[:, 1].numpy(), later.image[:, 0].numpy())


def test_the_gap_waits_for_slow_motion():
    class Slow(Unlabelled):
        """A square that moves a pixel every eighth frame."""

        def __init__(self):
            self.title, self.is_clip, self.table, self.skeleton = "slow", True, None, None

        def __len__(self):
            return 120

        def picture(self, index):
            out = np.zeros((64, 64, 3), np.uint8)
            at = 4 * (index // 8)
            out[20:44, at : at + 16] = 255
            return out

        def __iter__(self):
            return (self.picture(i) for i in range(len(self)))

    assert frame_gap(Slow()) >= 16
