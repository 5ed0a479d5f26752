"""From a name of data to a run, and on from there."""

import json

import numpy as np
import pytest

from asterism.engine.evaluate import evaluate_run
from asterism.engine.predict import predict_to
from asterism.engine.runs import Run
from asterism.engine.train import train_on
from asterism.engine.view import read_view
from asterism.engine.weights import load_weights
from asterism.errors import BadWeights, RequestError
from asterism.io.keypoints import read_keypoints
from asterism.io.table import KeypointTable


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
        run, [labelled], out, draw=lambda name, p, t: seen.append((name, p.shape, t)), device="cpu"
    )
    assert answer["rows"] == 20 and answer["points"] == 2
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
    with pytest.raises(RequestError, match=r"ends in \.csv or \.json"):
        predict_to(run, pictures, tmp_path / "out.txt")
    (run / "view.npz").write_bytes(b"PK")
    with pytest.raises(BadWeights, match=r"view\.npz do not say how it looks"):
        predict_to(run, pictures, tmp_path / "out.csv")


def test_a_detector_is_measured(run, labelled):
    answer = evaluate_run(run, device="cpu")
    assert answer["test_pictures"] == 4 and answer["n_points"] == 8
    assert "warning" not in answer
    low, high = answer["ci95_px"]
    assert low <= answer["mean_px"] <= high and 0 <= answer["pck_0.1"] <= 1
    assert set(answer["per_point_px"]) == {"bright", "dim"}
    assert answer["rotated_mean_px"] > 0 and answer["mean_position_px"] > 0
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
    assert set(answer["controls"]) == {"mean shape", "untrained", "frame"}
    assert answer["mean_px"] > 0 and answer["rotated_mean_px"] > 0
    with pytest.raises(RequestError, match="unknown protocol"):
        evaluate_run(tmp_path / "run", protocol="lax", device="cpu")
