"""From a name of data to a run, and on from there."""

import json

import numpy as np
import pytest
import torch

from asterism.engine.evaluate import evaluate_run
from asterism.engine.predict import table_of
from asterism.engine.predict_files import predict_to
from asterism.engine.runs import Run
from asterism.engine.train import train_on
from asterism.engine.view import read_view
from asterism.engine.weights import load_weights
from asterism.errors import BadAnnotation, BadImage, BadWeights, RequestError
from asterism.io.csvfile import write_csv
from asterism.io.keypoints import read_keypoints
from asterism.io.table import KeypointTable
from asterism.types import Keypoints2D, Skeleton


@pytest.fixture
def run(labelled, tmp_path):
    train_on(labelled, "dot", tmp_path / "run", steps=3, device="cpu")
    return tmp_path / "run"


def test_a_run_says_how_it_was_made(run, labelled):
    info = Run(run).info()
    assert info["view"]["frame"] == "boxes" and info["view"]["size"] == [16, 16]
    assert info["config"]["n_keypoints"] == 2 and info["recipe"]["steps"] == 3
    assert len(info["split"]["train"]) == 16 and len(info["split"]["test"]) == 4
    assert not set(info["split"]["train"]) & set(info["split"]["test"])
    assert info["data"]["path"] == labelled and info["trained_frames"] == 16
    method, skeleton = load_weights(run / "best")
    assert skeleton is not None and skeleton.names == ("bright", "dim")
    assert method.config.n_keypoints == 2
    assert read_view(Run(run)).size == (16, 16)


def test_resume_goes_on_with_the_same_request(run, labelled, tmp_path):
    answer = train_on(labelled, "dot", run, steps=5, resume=True, device="cpu")
    assert answer["steps"] == 5
    with pytest.raises(RequestError, match="is a run of dot, not of free"):
        train_on(labelled, "free", run, resume=True)
    with pytest.raises(RequestError, match="which has changed or is another set"):
        train_on("world:figures?n=4&size=64", "dot", run, resume=True)
    with pytest.raises(RequestError, match="holds a run already"):
        train_on(labelled, "dot", run, steps=1)


def test_bad_requests_write_nothing(labelled, tmp_path):
    folder = str(tmp_path / "set")
    (tmp_path / "set" / "labels.json").rename(tmp_path / "labels.json")
    for arguments, message in [
        ((folder, "dot"), "dot learns from labels and there are none here"),
        ((folder, "dots"), "no method is called 'dots'"),
        ((folder + "x", "free"), "there is no such file or folder"),
    ]:
        with pytest.raises(RequestError, match=message):
            train_on(*arguments, tmp_path / "new")
    with pytest.raises(RequestError, match="--preset huge: free has paper, small, tiny"):
        train_on(folder, "free", tmp_path / "new", preset="huge")
    assert not (tmp_path / "new").exists()


def test_predictions_of_every_frame(run, labelled, tmp_path):
    seen: list[tuple[str, tuple[int, ...], KeypointTable]] = []
    out = tmp_path / "out.csv"
    answer = predict_to(
        run, [labelled], out, draw=lambda s, i, p, t: seen.append((s.name(i), p.shape, t)), device="cpu"
    )
    assert answer["rows"] == 20 and answer["points"] == 2 and answer["not_found"] == 0
    table = read_keypoints(out)
    assert table.names == ("bright", "dim") and len(table) == 20
    assert [name for name, _, _ in seen] == list(table.images)
    for row, (_, shape, one) in enumerate(seen):
        assert shape == (40, 44, 3) and len(one) == 1
        np.testing.assert_allclose(one.xy[0], table.xy[row], atol=1e-3)


def test_predictions_without_boxes_say_so(run, labelled, tmp_path):
    pictures = [str(tmp_path / "set" / f"{n}.png") for n in (3, 1)]
    answer = predict_to(run, pictures, tmp_path / "out.json", device="cpu")
    assert answer["pictures"] == answer["rows"] == 2
    assert "learned in labelled boxes and there are none here" in answer["frame"]
    with pytest.raises(RequestError, match="name pictures, folders or clips"):
        predict_to(run, [], tmp_path / "out.csv")
    with pytest.raises(RequestError, match=r"ends in \.csv, \.json or \.slp"):
        predict_to(run, pictures, tmp_path / "out.txt")
    (run / "view.npz").write_bytes(b"PK")
    with pytest.raises(BadWeights, match=r"view\.npz do not say how it looks"):
        predict_to(run, pictures, tmp_path / "out.csv")


def test_a_detector_is_measured(run, labelled):
    answer = evaluate_run(run, device="cpu")
    assert answer["test_pictures"] == 4 and answer["n"] == 8
    assert "warning" not in answer
    low, high = answer["ci95"]
    assert low <= answer["mean_px"] <= high and 0 <= answer["pck_0.1"] <= 1
    assert set(answer["per_point_px"]) == {"bright", "dim"}
    assert answer["rotated_mean_px"] > 0 and answer["mean_position_px"] > 0
    assert 0 <= answer["oks_ap"] <= 1 and answer["oks_sigma"] == "default 0.1"
    assert json.loads(json.dumps(answer)) is not None
    every = evaluate_run(run, everything=True, device="cpu")
    assert every["test_pictures"] == 20 and "trained on" in every["warning"]
    again = evaluate_run(run, device="cpu")
    assert again == answer


def test_other_data_are_named(run, labelled, tmp_path):
    path = tmp_path / "set" / "labels.json"
    about = json.loads(path.read_text())
    path.write_text(json.dumps(about).replace("bright", "shiny"))
    with pytest.raises(RequestError, match="has the points shiny, dim; the run finds bright, dim"):
        evaluate_run(run, str(path))
    about["annotations"][0]["keypoints"][0] += 1
    path.write_text(json.dumps(about))
    answer = evaluate_run(run, str(path), device="cpu")
    assert answer["test_pictures"] == 20 and answer["warning"] == "other data than those of the run"
    path.rename(tmp_path / "labels.json")
    with pytest.raises(RequestError, match="has no labels to measure against"):
        evaluate_run(run, str(tmp_path / "set"))


def test_discovered_points_are_judged_with_controls(labelled, tmp_path):
    train_on(labelled, "free", tmp_path / "run", steps=2, device="cpu")
    skeleton = load_weights(tmp_path / "run" / "best")[1]
    assert skeleton is not None and skeleton.names == ("point0", "point1")
    answer = evaluate_run(tmp_path / "run", device="cpu")
    assert answer["test_pictures"] == 4 and answer["head_pictures"] == 16
    assert set(answer["controls"]) == {"mean shape", "untrained", "mean shape in the frame"}
    assert answer["mean_px"] > 0 and answer["rotated_mean_px"] > 0
    assert answer["p90_px"] >= answer["median_px"] > 0 and 0 <= answer["pck_0.1"] <= 1 and answer["n"] == 8
    low, high = answer["ci95"]
    assert low <= answer["mean_px"] <= high
    alive = answer["health"]
    assert alive["points"] == 2 and alive["pictures"] == 4
    assert alive["equivariance_error"] > 0 and alive["on_object"] is None and alive["jitter"] is None
    assert "warning" not in answer  # its test pictures were kept from it
    with pytest.raises(RequestError, match="--all: these points have no names"):
        evaluate_run(tmp_path / "run", everything=True, device="cpu")
    with pytest.raises(RequestError, match="unknown protocol"):
        evaluate_run(tmp_path / "run", protocol="lax", device="cpu")


def test_points_found_on_the_test_pictures_are_told_from_others(labelled, tmp_path):
    train_on(labelled, "free", tmp_path / "run", steps=2, device="cpu")
    path = tmp_path / "run" / "run.json"
    info = json.loads(path.read_text())
    path.write_text(json.dumps(info | {"kind": "discover", "split": None}))
    answer = evaluate_run(tmp_path / "run", device="cpu")
    assert answer["warning"] == "the points (not the head) have seen the test pictures, without labels"
    with pytest.raises(RequestError, match="was made by discover, which does not go on"):
        train_on(labelled, "free", tmp_path / "run", resume=True)


def test_a_generated_world_tells_what_is_on_the_object(tmp_path):
    world = "world:creatures?clips=1&n=20&size=48&background=textured&seed=3"
    train_on(world, "free", tmp_path / "run", steps=1, device="cpu")
    alive = evaluate_run(tmp_path / "run", device="cpu")["health"]
    assert 0 <= alive["on_object"] <= 1 and 0 <= alive["coverage"] <= 1 and alive["jitter"] >= 0
    assert alive["dead"] <= 2


def test_nothing_is_left_of_a_run_that_could_not_begin(labelled, tmp_path):
    with pytest.raises(RequestError, match="device 'foo'"):
        train_on(labelled, "dot", tmp_path / "run", steps=3, device="foo")
    assert not (tmp_path / "run").exists()
    split = train_on(labelled, "dot", tmp_path / "other", steps=1, device="cpu")
    assert split["steps"] == 1
    used = Run(tmp_path / "other").info()["split"]["train"]
    (tmp_path / "set" / f"{used[-1]}.png").write_text("no picture")
    (tmp_path / "run").mkdir()
    with pytest.raises(BadImage, match=f"{used[-1]}.png"):
        train_on(labelled, "dot", tmp_path / "run", steps=30, device="cpu")
    assert list((tmp_path / "run").iterdir()) == []


def test_labels_in_other_units_are_named(labelled, tmp_path):
    path = tmp_path / "set" / "labels.json"
    about = json.loads(path.read_text())
    for entry in about["annotations"]:
        entry["keypoints"] = [1000 + x if x != 2 else 2 for x in entry["keypoints"]]
    path.write_text(json.dumps(about))
    with pytest.raises(BadAnnotation, match=r"labels\.json: .*\.png' \(44 x 40 pixels\) the point 'bright'"):
        train_on(labelled, "dot", tmp_path / "run", steps=1, device="cpu")
    assert not (tmp_path / "run").exists()


def test_objects_are_not_ignored(labelled, tmp_path):
    with pytest.raises(RequestError, match=r"--objects 3: .*boxes: the labels have boxes"):
        train_on(labelled, "dot", tmp_path / "run", objects=3, device="cpu")


def test_other_frames_than_the_runs_are_said(run, tmp_path):
    table = read_keypoints(tmp_path / "set" / "labels.json")
    write_csv(tmp_path / "set" / "plain.csv", table)
    answer = evaluate_run(run, str(tmp_path / "set" / "plain.csv"), device="cpu")
    assert answer["frame"] == "moments" and "learned in labelled boxes" in answer["why"]
    assert answer["warning"] == f"other data than those of the run; {answer['why']}"
    assert "oks_ap" not in answer


def test_points_of_objects_that_did_not_stand_out_are_empty(dot):
    n = 3
    found = Keypoints2D(xy=torch.ones(n, 2, 2), score=torch.ones(n, 2))
    seen = np.array([True, False, True])
    at = np.arange(n)
    table = table_of(Skeleton(names=("a", "b")), ("x", "y", "z"), at, np.zeros(n, np.int64), found, seen)
    assert table.labelled.all(1).tolist() == seen.tolist() == table.visible.all(1).tolist()
    assert not table.score[1].any() and not table.xy[1].any() and table.score[2].all()
