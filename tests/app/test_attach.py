"""asterism attach as its users type it."""

import json

import numpy as np
import pytest
import torch

from asterism.app.cli import main
from asterism.catalogue import method_class
from asterism.data.frames import find_frames
from asterism.data.sources import open_data
from asterism.data.subset import Unlabelled
from asterism.data.tables import take_pictures
from asterism.engine.lesson import unnamed
from asterism.engine.runs import Run
from asterism.engine.view import view_of, write_view
from asterism.engine.weights import save_weights
from asterism.io.csvfile import write_csv

WORLD = "world:creatures?clips=1&n=24&size=64&background=textured&seed=3"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run whose network learned nothing, and labels of eight of its pictures."""
    folder = tmp_path_factory.mktemp("attach")
    cls = method_class("video-difference")
    torch.manual_seed(0)
    method, images = cls(cls.presets["tiny"]).eval(), open_data(WORLD)
    view = view_of(find_frames(Unlabelled(images), "moments"), (32, 32))
    run = Run(folder / "run")
    data = {"path": WORLD, "fingerprint": images.fingerprint(), "pictures": len(images)}
    about = {"kind": "discover", "method": "video-difference", "view": view.as_json(), "data": data}
    run.start({**about, "split": None, "mean_shape": None, "seed": 0})
    write_view(run, view)
    save_weights(run.best, method, unnamed(3), {})
    assert images.table is not None
    write_csv(folder / "labels.csv", take_pictures(images.table, np.arange(0, 24, 3)))
    return folder


def told(capsys, *words):
    assert main([str(word) for word in words]) == 0
    return capsys.readouterr().out


def refused(capsys, *words):
    assert main([str(word) for word in words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "Traceback" not in err
    return err


def test_what_it_prints_and_what_can_be_typed_next(place, tmp_path, capsys):
    labels, named = place / "labels.csv", tmp_path / "named"
    shown = told(capsys, "attach", place / "run", "--labels", labels, "-o", named, "--minutes", "0")
    for word in ("named points from 8 labelled pictures", "Expected error", "95 % interval", "Taken for"):
        assert word in " ".join(shown.split())
    assert f"next: asterism predict {named}" in shown
    told(capsys, "predict", named, WORLD, "-o", tmp_path / "points.csv")
    header = (tmp_path / "points.csv").read_text().split("\n")[0]
    assert "nose_x,nose_y,nose_score" in header
    assert json.loads((named / "report.json").read_text())["numbers"]["pictures"] == 8


def test_json(place, tmp_path, capsys):
    words = ("attach", place / "run", "--labels", place / "labels.csv", "-o", tmp_path / "named")
    answer = json.loads(told(capsys, *words, "--minutes", "0", "--json"))
    assert set(answer) == {"title", "sentences", "numbers"}
    assert {"name", "labels", "way", "px", "ci95", "frame_px", "ways"} == set(answer["numbers"]["points"][0])


def test_what_cannot_be(place, tmp_path, capsys):
    run, labels, out = place / "run", place / "labels.csv", tmp_path / "named"
    err = refused(capsys, "attach", run, "--labels", tmp_path / "none.csv", "-o", out)
    assert "none.csv: there is no such file" in err
    (tmp_path / "bad.csv").write_text("image,individual,nose_x\n")
    assert "bad.csv: header" in refused(capsys, "attach", run, "--labels", tmp_path / "bad.csv", "-o", out)
    (tmp_path / "other.csv").write_text("image,individual,nose_x,nose_y\nu.png,0,3,4\nv.png,0,3,4\n")
    err = refused(capsys, "attach", run, "--labels", tmp_path / "other.csv", "-o", out)
    assert "'u.png', 'v.png'" in err and "'creature000#0', 'creature000#1', 'creature000#2', ..." in err
    assert "no such folder" in refused(capsys, "attach", tmp_path / "no", "--labels", labels, "-o", out)
    err = refused(capsys, "attach", run, "--labels", labels, "-o", out, "--minutes", "-1")
    assert "--minutes -1" in err
    assert "holds a run already" in refused(capsys, "attach", run, "--labels", labels, "-o", run)
    assert not out.exists()
