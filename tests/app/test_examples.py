"""The examples run, and so does the path a user takes through the verbs."""

import json
import runpy
import sys
from pathlib import Path

import pytest

from asterism.app.cli import main
from asterism.io.images import read_image
from asterism.io.keypoints import read_keypoints

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda p: p.stem)
def test_the_example_runs(example, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(example), str(tmp_path / "out")])
    runpy.run_path(str(example), run_name="__main__")
    assert capsys.readouterr().out.strip()


def test_train_evaluate_predict_and_draw(tmp_path, monkeypatch, capsys):
    """From a world to a picture with points, by the command line alone."""
    monkeypatch.chdir(tmp_path)
    data = "world:figures?n=20&size=96"

    def answer(*words):
        assert main([*words, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    trained = answer("train", "stacked-hourglass", data, "-o", "run", "--steps", "3", "--preset", "tiny")
    assert trained["steps"] == 3 and (tmp_path / "run" / "loss.png").is_file()
    assert main(["train", "stacked-hourglass", data, "-o", "run", "--steps", "3", "--preset", "tiny"]) == 2
    assert "--resume" in capsys.readouterr().err

    numbers = answer("evaluate", "run")
    assert {"mean_px", "median_px", "p90_px", "pck_0.1", "rotated_mean_px"} <= set(numbers)

    told = answer("predict", "run", "world:figures?n=3&size=96&seed=1", "-o", "points.csv", "--draw", "drawn")
    assert told["pictures"] == 3
    table = read_keypoints(tmp_path / "points.csv")
    assert len(table.names) == 17 and len(table) == told["rows"]
    assert len(told["drawn"]) == 3 and read_image(tmp_path / told["drawn"][0]).shape[2] == 3

    assert main(["predict", "run", "world:figures?n=3", "-o", "points.docx"]) == 2
    assert "points.docx" in capsys.readouterr().err


def test_discover_writes_points_pictures_and_a_report(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = "world:creatures?n=24&size=96&clips=1"
    words = ["discover", data, "-k", "3", "--minutes", "0.02", "-o", "run", "--json"]
    assert main(words) == 0
    report = json.loads(capsys.readouterr().out)
    assert {"title", "sentences", "numbers"} <= set(report)
    written = {p.name for p in (tmp_path / "run").iterdir()}
    wanted = {"keypoints.csv", "overlay.png", "frames.png", "doubtful.png", "report.html", "report.json"}
    assert wanted <= written
    assert json.loads((tmp_path / "run" / "report.json").read_text()) == report
    assert len(read_keypoints(tmp_path / "run" / "keypoints.csv").names) == 3
