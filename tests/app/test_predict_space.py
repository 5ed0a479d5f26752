"""asterism predict with a run that finds points in space in single pictures."""

import csv
import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from asterism.app.cli import main
from asterism.data.cloud_sets import ShapeWorld
from asterism.data.posed import PosedSamples
from asterism.io.images import write_image


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("space")
    words = ["train", "latent-3d-keypoints", "world:cars?n=4", "--preset", "tiny", "--steps", "2"]
    assert main([*words, "-o", str(folder / "run")]) == 0
    views = PosedSamples(ShapeWorld("cars", 1), [0], (48, 64), 5.0, 30.0, views=3)[0, 0]
    (folder / "pictures").mkdir()
    for v in range(3):
        picture = (255 * views.image[0, v].permute(1, 2, 0)).byte().numpy()
        write_image(folder / "pictures" / f"{v}.png", picture)
    return folder


def test_points_have_depth_and_pictures_a_turn(run, capsys, tmp_path):
    words = ["predict", str(run / "run"), str(run / "pictures"), "-o", str(run / "points.csv")]
    assert main([*words, "--draw", str(tmp_path / "seen"), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["rows"] == 3 and len(answer["drawn"]) == 3
    with open(run / "points.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [f"pictures/{v}.png" for v in range(3)]
    assert set(rows[0]) == {"image", "individual", "turn_x", "turn_y", "turn_z"} | {
        f"point{k}_{part}" for k in range(4) for part in ("x", "y", "z", "score")
    }
    told = np.array([[float(row[f"turn_{axis}"]) for axis in "xyz"] for row in rows])
    np.testing.assert_allclose(told[0], 0, atol=1e-6)
    # The turn is that of the points in the camera; half the picture's longer side spans 2.5 degrees.
    xyz = np.array([[[float(row[f"point{k}_{p}"]) for p in "xyz"] for k in range(4)] for row in rows])
    focal = 32 / np.tan(np.radians(2.5))
    depth = 30 * (1 + xyz[..., 2:] / focal)
    there = np.concatenate([(xyz[..., :2] - [31.5, 23.5]) / focal * depth, depth], -1)
    off = there - there.mean(1, keepdims=True)
    for a, b, turn in zip(off[:1].repeat(2, 0), off[1:], told[1:]):
        best = Rotation.align_vectors(b, a)[0]
        left = [np.linalg.norm(b - r.apply(a)) for r in (best, Rotation.from_rotvec(turn))]
        assert left[1] <= 1.001 * left[0] + 1e-5
    assert all(0 <= float(row["point0_x"]) <= 63 for row in rows)


def test_a_run_of_shapes_has_no_labels_to_be_measured_against(run, capsys):
    assert main(["evaluate", str(run / "run")]) == 2
    assert "asterism predict" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-o", "points.npz"], "written to .csv"),
        (["-o", "points.csv", "--flip"], "--flip: is for points in the picture"),
    ],
)
def test_what_cannot_be_is_refused(run, capsys, words, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["predict", str(run / "run"), str(run / "pictures"), *words]) == 2
    assert told in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
