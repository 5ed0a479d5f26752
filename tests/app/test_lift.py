"""`asterism lift`: keypoints of many views in; points in space, or a refusal, out."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from asterism.app.cli import main
from asterism.engine import lift
from asterism.geometry import nrsfm, nrsfm_views
from asterism.io.keypoints import read_keypoints
from asterism.io.model3d import read_model
from asterism.io.motion import read_motion

NAMES = ("nose", "tail", "left_ear", "right_ear", "left_hand", "right_hand", "left_foot", "right_foot")


@pytest.fixture(autouse=True)
def briefly(tmp_path, monkeypatch):
    """Fewer rounds: what is tested here are the files, and what is refused."""
    monkeypatch.setattr(nrsfm, "_GROWTH", 8)
    monkeypatch.setattr(nrsfm, "_SWEEPS", 2)
    monkeypatch.setattr(nrsfm, "_LEARN", 12)
    monkeypatch.setattr(nrsfm_views, "STARTS", 2)
    monkeypatch.setattr(lift, "_RIDGES", (0.001, 0.003))
    monkeypatch.setattr(lift, "_DIRECTIONS", (0, 2, 4))
    monkeypatch.chdir(tmp_path)


def body(n=48, tilt=1.0, seed=0):
    """A symmetric body whose two feet move together, turned at random; `tilt` shares out of the picture."""
    rng = np.random.default_rng(seed)
    x = np.array([[0, 1, 1], [0, 0.6, -1], [0.6, 1.2, 0.6], [1, 0.1, 0.3], [0.7, -1.3, -0.2]])
    every = np.stack([x[0], x[1], *(p * [side, 1, 1] for p in x[2:] for side in (-1, 1))])
    xyz = np.repeat(every[None], n, 0)
    xyz[:, 6:, 2] += 0.3 * rng.normal(size=(n, 1))
    axis = rng.normal(size=(n, 3)) * [tilt, tilt, 1]
    xyz = np.einsum(
        "nab,nkb->nka", Rotation.from_rotvec(2 * axis).as_matrix(), xyz - xyz.mean(1, keepdims=True)
    )
    return 100 * xyz, 100 * xyz[..., :2] + 300 + 0.5 * rng.normal(size=(n, 8, 2))


def written(xy, seen=None, path="seen.csv"):
    seen = np.ones(xy.shape[:2], bool) if seen is None else seen
    with open(path, "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["image", "individual", *(f"{n}_{axis}" for n in NAMES for axis in "xy")])
        for n, row in enumerate(xy):
            cells = [[repr(float(v)) for v in p] if on else ["", ""] for p, on in zip(row, seen[n])]
            out.writerow([f"clip.mp4#{n}", 0, *(c for pair in cells for c in pair)])


def test_a_body_is_lifted_and_rows_that_cannot_be_say_why(capsys):
    xyz, xy = body()
    seen = np.random.default_rng(1).random((48, 8)) > 0.1
    seen[5] = np.arange(8) < 3
    xy[9] = 300 + 150 * np.random.default_rng(2).normal(size=(8, 2))
    written(xy, seen)
    assert main(["lift", "seen.csv", "-o", "out.csv", "--json", "--draw", "out.png"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["found"] + told["refused"] == told["rows"] == 48 and told["refused"] >= 2
    assert told["hidden_px"] < 0.5 * told["hidden_flat_px"]
    found, model = read_motion("out.csv"), read_model("out.model.json")
    rows = list(csv.DictReader(Path("out.poses.csv").read_text().splitlines()))
    assert rows[5]["reason"] == "3 points are seen; wanted 5" and rows[5]["error"] == ""
    assert "not a shape like the others" in rows[9]["reason"]
    assert not found.labelled[5].any() and not found.labelled[9].any()
    there = found.labelled.all(1)
    z, true = found.xyz[there][..., 2], xyz[there][..., 2]
    assert abs(np.corrcoef((z - z.mean(1, keepdims=True)).ravel(), true.ravel())[0, 1]) > 0.9
    hidden = ~seen[there]
    off = np.linalg.norm(found.xyz[there][..., :2] - xy[there], axis=-1)
    assert np.median(off[hidden]) < 25 and np.median(off[~hidden]) < 8
    assert found.unit == model.unit == "px" and found.frame.tolist() == list(range(48))
    for n in np.flatnonzero(there)[:3]:  # the table of poses and the model give the same shape again
        c = np.array([float(rows[n][f"shape_{s}"]) for s in range(len(model.basis))])
        turn = Rotation.from_rotvec([float(rows[n][f"turn_{a}"]) for a in "xyz"]).as_matrix()
        again = float(rows[n]["scale"]) * (model.mean + np.einsum("s,skd->kd", c, model.basis)) @ turn.T
        assert np.abs(again[:, 2] - found.xyz[n, :, 2]).max() < 40
    assert json.loads(Path("out.report.json").read_text())["tried"] == told["tried"]


def test_the_mirror_image_is_the_other_answer(monkeypatch):
    written(body(16)[1])
    only = lift.Setting(directions=1, symmetric=True, scale_sd=0.0, ridge=0.003)
    choice = lift.Choice(setting=only, hidden={only: 1.0}, flat=2.0, widen=1.0)
    monkeypatch.setattr(lift, "choose", lambda seen: choice)
    one, other = (
        lift.lift(read_keypoints("seen.csv"), lift.Asked(mirror=mirror)) for mirror in (False, True)
    )
    flip = torch.tensor([1.0, 1, -1], dtype=torch.float64)
    torch.testing.assert_close(other.xyz, one.xyz * flip)
    for found in (one, other):
        again = found.kind.shape(found.coefficients) @ found.view_from_kind.mT
        assert (again[..., 2] - found.xyz[..., 2]).abs().max() < 20
        assert (torch.linalg.det(found.view_from_kind) > 0).all()


def test_what_shows_no_depth_is_refused_and_nothing_is_written(capsys, tmp_path):
    written(body(tilt=0.0)[1])
    assert main(["lift", "seen.csv", "-o", "out.csv"]) == 1
    told = capsys.readouterr()
    assert "refused" in told.err and "depth" in told.err
    assert [p.name for p in tmp_path.iterdir()] == ["seen.csv"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-o", "out.bvh"], "written to .csv"),
        (["-o", "out.trc"], "write .csv or .npz"),
        (["-o", "out.csv", "--least-points", "3"], "least_points=3"),
        (["-o", "out.csv", "--least-points", "9"], "wanted 9 at least"),
        (["-o", "out.csv", "--draw", "out.jpg"], ".png"),
    ],
)
def test_what_cannot_be_is_told_before_any_work(words, told, capsys):
    written(body(20)[1])
    assert main(["lift", "seen.csv", *words]) == 2
    assert told in capsys.readouterr().err


def test_a_few_rows_are_not_enough(capsys):
    written(body(8)[1])
    assert main(["lift", "seen.csv", "-o", "out.csv"]) == 2
    assert "8 of 8 rows" in capsys.readouterr().err
