"""`asterism triangulate`: files in, points, report, cameras and a picture out."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from asterism.app.cli import main
from asterism.data.multiview import camera_table, views_of
from asterism.data.tables import take_pictures
from asterism.data.worlds import Rig
from asterism.engine.triangulate import Observed, Rule, solve
from asterism.geometry import camera
from asterism.io.cameras import read_cameras, write_cameras
from asterism.io.images import image_size
from asterism.io.keypoints import write_keypoints
from asterism.io.matlab import as_list, read_mat
from asterism.io.motion import read_motion

VIEWS, MOMENTS = 5, 12
DANNCE = Path(__file__).parents[2] / "../shared/data/dannce_six_cameras/demo"


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A rig's own labels, a file per camera; the points are exact."""
    monkeypatch.chdir(tmp_path)
    rig = views_of(Rig(n=MOMENTS, views=VIEWS, subjects=1, seed=2, size=(480, 640)))
    assert rig.table is not None
    truth = Rig(n=MOMENTS, views=VIEWS, subjects=1, seed=2, size=(480, 640)).xyz
    for v in range(VIEWS):
        one = take_pictures(rig.table, list(range(v * MOMENTS, (v + 1) * MOMENTS)))
        write_keypoints(f"{v}.csv", replace(one, images=tuple(f"clip.mp4#{t}" for t in range(MOMENTS))))
    write_cameras("rig.toml", camera_table(rig))
    return [f"{v}.csv" for v in range(VIEWS)], truth, rig


def words(names, *more):
    return ["triangulate", "--cameras", "rig.toml", "--keypoints", *names, "-o", "out.csv", *more]


def test_points_report_and_picture(files, capsys):
    names, truth, _ = files
    assert main([*words(names, "--unit", "m", "--draw", "out.png"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["bad_cameras"] == [] and told["accepted"] > 0.95 and told["unit"] == "m"
    assert json.loads(Path("out.report.json").read_text()) == told
    found = read_motion("out.csv")
    assert found.unit == "m" and found.frame.tolist() == list(range(MOMENTS))
    assert np.abs(found.xyz - truth)[found.labelled].max() < 1e-6
    assert image_size("out.png")[1] > 1000
    assert main(words(names)) == 0
    assert "noise_px" in capsys.readouterr().out


def test_a_kicked_camera_is_put_back(files, capsys):
    names, truth, rig = files
    table = camera_table(rig)
    pose = table.cam_from_world.copy()
    pose[3, :, 3] += [0.05, -0.03, 0.06]
    write_cameras("rig.toml", replace(table, cam_from_world=pose))
    assert main([*words(names, "--refine-cameras"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["refine"]
    assert told["accepted"] and max(told["held_out_px_after"]) < 0.1 < min(told["held_out_px_before"])
    assert told["motion"]["cam3"]["moved"] > 10 * told["motion"]["cam1"]["moved"]
    found = read_motion("out.csv")
    assert np.abs(found.xyz - truth)[found.labelled].max() < 2e-3
    assert (
        np.abs(read_cameras("out.cameras.json").cam_from_world[3, :, 3] - table.cam_from_world[3, :, 3]).max()
        < 2e-3
    )


def test_wrong_requests(files, capsys):
    names, _, _ = files
    for more, told in (
        (["--least-views", "9"], "can never agree"),
        (["--unit", "ell"], "unit 'ell'"),
        (["--draw", "a.jpg"], ".png"),
        (["--threshold", "-1"], "threshold=-1"),
    ):
        assert main(words(names, *more)) == 2
        assert told in capsys.readouterr().err
    assert main([*words(names), "--unit", "m"][:-2] + ["-o", "out.trc"]) == 2
    assert "--rate 30" in capsys.readouterr().err
    assert main(words(names[:4])) == 2
    assert "4 files of keypoints" in capsys.readouterr().err


@pytest.mark.data
@pytest.mark.parametrize("mouse", ["markerless_mouse_1", "markerless_mouse_2"])
def test_dannces_stored_points(mouse):
    """What DANNCE's authors stored is found again from their cameras and 2D labels, to 0.08 mm."""
    path = DANNCE / mouse / "label3d_dannce.mat"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    from asterism.data.multiview import cameras_of

    labels = as_list(read_mat(path)["labelData"])
    n = len(labels[0]["data_2d"])
    xy = np.stack([each["data_2d"].reshape(n, -1, 2) for each in labels], axis=1)
    stored = labels[0]["data_3d"].reshape(n, -1, 3)
    known = np.isfinite(xy).all(-1)
    seen = Observed(
        names=tuple(f"p{i}" for i in range(xy.shape[2])),
        frame=np.arange(n),
        individual=np.zeros(n, np.int64),
        xy=torch.from_numpy(np.nan_to_num(xy)),
        valid=torch.from_numpy(known),
    )
    points = solve(cameras_of(read_cameras(path)), seen, Rule()).points
    both = points.valid.numpy() & np.isfinite(stored).all(-1)
    off = np.linalg.norm(points.xyz.numpy() - stored, axis=-1)[both]
    assert both.sum() > 1000 and np.quantile(off, 0.99) < 0.08
    assert camera.centre(cameras_of(read_cameras(path))).norm(dim=-1).min() > 100  # millimetres
