"""`asterism bootstrap` from folders, a camera file and a few labels; what the detector sees is the truth."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from asterism.app.cli import main
from asterism.data.multiview import camera_table, views_of
from asterism.data.tables import take_pictures
from asterism.data.worlds import Rig
from asterism.engine import bootstrap as engine
from asterism.io.cameras import write_cameras
from asterism.io.images import image_size
from asterism.io.keypoints import read_keypoints, write_keypoints

VIEWS, MOMENTS = 4, 3


@pytest.fixture(scope="module")
def rig():
    return views_of(Rig(n=MOMENTS, views=VIEWS, subjects=1, seed=2, size=(64, 64)))


@pytest.fixture
def words(rig, tmp_path, monkeypatch):
    """The command line of a small request, in a folder that holds what it names."""
    monkeypatch.chdir(tmp_path)
    for index in range(len(rig)):
        path = tmp_path / f"{rig.name(index)}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rig.picture(index)).save(path)
    write_cameras("rig.json", camera_table(rig))
    files = replace(rig.table, images=tuple(f"{name}.png" for name in rig.table.images))
    write_keypoints("few.csv", take_pictures(files, [1, 4, 9]))
    learn = ["--preset", "tiny", "--steps", "1", "--rounds", "1", "--frame", "whole", "--device", "cpu"]
    inputs = [f"cam{v}" for v in range(VIEWS)]
    return ["bootstrap", *inputs, "--cameras", "rig.json", "--labels", "few.csv", *learn, "-o", "out"]


def test_folders_cameras_and_labels_become_runs_and_sheets(rig, words, monkeypatch, capsys):
    def detected(method, ground, device):
        xy = np.moveaxis(rig.table.xy.reshape(VIEWS, MOMENTS, 17, 2), 0, 1).copy()
        score = np.moveaxis(rig.table.labelled.reshape(VIEWS, MOMENTS, 17), 0, 1).astype(float)
        return torch.from_numpy(xy), torch.from_numpy(score)

    monkeypatch.setattr(engine, "detected", detected)
    assert main([*words, "--window", "1", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [line["pictures"] for line in report["numbers"]["rounds"]] == [3, 12]
    table = read_keypoints("out/labels-1.csv")
    index = np.array([[f"{rig.name(i)}.png" for i in range(12)].index(name) for name in table.images])
    both = table.labelled & rig.table.labelled[index[table.image]]
    assert both.mean() > 0.8 and np.abs(table.xy - rig.table.xy[index[table.image]])[both].max() < 1e-3
    assert image_size("out/labels-1.png")[1] > 500
    assert main(["evaluate", "out/round-1", "out/labels-1.csv", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mean_px"] > 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("--cameras", "none.json"), "none.json: does not exist"),
        (("--labels", "none.csv"), "--labels none.csv"),
        (("--least-views", "2"), "least_views=2"),
        (("--inlier", "-1"), "--inlier -1"),
        (("--method", "imm"), "imm does not learn from labels"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_written(words, change, told, tmp_path, capsys):
    where = words.index(change[0]) if change[0] in words else len(words)
    assert main([*words[:where], *change, *words[where + 2 :]]) == 2
    assert told in capsys.readouterr().err and not (tmp_path / "out").exists()
