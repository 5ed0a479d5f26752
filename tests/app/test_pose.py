"""`asterism pose`: a model, a camera and keypoints in; poses, or reasons, out."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from asterism.app.cli import main
from asterism.data.multiview import cameras_of
from asterism.errors import BadAnnotation
from asterism.geometry import camera
from asterism.io.cameras import CameraTable, write_cameras
from asterism.io.model3d import PointModel, read_model, write_model

NAMES = tuple("abcdefgh")


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Three pictures of a body: exact, with two strays, and with three points."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    points, turn = rng.normal(size=(8, 3)), Rotation.random(random_state=3).as_matrix()
    pose = np.concatenate([turn, [[0.1], [0.2], [9.0]]], axis=1)[None]
    k = np.array([[[800.0, 0, 319.5], [0, 800, 239.5], [0, 0, 1]]])
    table = CameraTable(
        names=("cam",),
        intrinsics=k,
        cam_from_world=pose,
        distortion=np.array([[-0.1, 0, 0, 0, 0]]),
        sizes=(None,),
    )
    xy = camera.project(cameras_of(table), torch.from_numpy(points)[None])[0][0].numpy()
    write_cameras("cams", table, "opencv-yaml")
    Path("points.json").write_text(json.dumps({"points": dict(zip(NAMES, points.tolist())), "unit": "cm"}))
    lines = [["image", "individual", *(f"{n}_{axis}" for n in NAMES for axis in "xy")]]
    for i, moved in enumerate((0, 2, 8)):
        cells = (
            [""] * 16
            if moved == 8
            else [repr(float(v)) for v in (xy + 90 * (np.arange(8) < moved)[:, None]).ravel()]
        )
        cells[:6] = [repr(float(v)) for v in xy.ravel()[:6]] if moved == 8 else cells[:6]
        lines.append([f"{i}.png", 0, *cells])
    with open("seen.csv", "w", newline="") as file:
        csv.writer(file).writerows(lines)
    return points, pose[0]


def words(*more):
    asked = ["pose", "seen.csv", "--model", "points.json", "--camera", "cams/cam.yml", "-o", "out.csv"]
    return [*asked, *more, "--json"]


def test_a_rigid_body(files, capsys):
    _, pose = files
    assert main(words()) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["rows"], told["found"], told["refused"], told["unit"]) == (3, 2, 1, "cm")
    with open("out.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows[:2]:
        turn = Rotation.from_rotvec([float(row[f"turn_{axis}"]) for axis in "xyz"]).as_matrix()
        np.testing.assert_allclose(turn, pose[:, :3], atol=1e-6)
        np.testing.assert_allclose([float(row[f"shift_{axis}"]) for axis in "xyz"], pose[:, 3], atol=1e-5)
        assert float(row["cov_00"]) > 0 and float(row["error"]) < 1e-4
    assert rows[0]["points"] == "|".join(NAMES) and rows[1]["points"] == "|".join(NAMES[2:])
    assert rows[2]["reason"] == "3 points are seen; wanted 5" and rows[2]["turn_x"] == ""


def test_a_model_with_a_basis_tells_the_shape(files, capsys):
    points, pose = files
    basis = np.random.default_rng(1).normal(size=(1, 8, 3)) / 5
    model = PointModel(names=NAMES, mean=points - 0.5 * basis[0], basis=basis, variance=np.array([1.0]))
    write_model("points.json", model)
    again = read_model("points.json")
    np.testing.assert_array_equal(again.basis, basis)
    assert main(words("--sigma", "0.01")) == 0
    assert json.loads(capsys.readouterr().out)["found"] >= 1
    with open("out.csv", newline="") as file:
        first = next(csv.DictReader(file))
    assert float(first["shape_0"]) == pytest.approx(0.5, abs=0.01)
    np.testing.assert_allclose([float(first[f"shift_{axis}"]) for axis in "xyz"], pose[:, 3], atol=0.01)


def test_wrong_requests(files, capsys):
    for more, told in ((["--sigma", "0"], "sigma=0"), (["--least-points", "3"], "least_points=3")):
        assert main(words(*more)) == 2
        assert told in capsys.readouterr().err
    Path("points.json").write_text(
        '{"points": {"a": [0, 0, 0], "y": [0, 1, 2], "z": [1, 0, 0], "w": [3, 0, 0]}}'
    )
    assert main(words()) == 2
    assert "share 1 points (a)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"points": {"a": [0, 0]}}, r"points.a: wanted 3 finite numbers, found 2"),
        ({"points": {n: [0, 0, 0] for n in "abc"}}, "3 points; a pose wants 4"),
        ({"other": 1}, "wanted points, an object"),
        ({"names": list("abcd"), "mean": [[0, 0, 0]] * 4, "variance": [1]}, "basis: is missing"),
        ({"names": list("abca"), "mean": [[0, 0, 0]] * 4}, "'a'.* occur twice"),
        (
            {"names": list("abcd"), "mean": [[0, 0, 0]] * 4, "basis": [[[0, 0, 1]] * 4], "variance": [-1]},
            "variance: wanted numbers above zero",
        ),
    ],
)
def test_a_malformed_model_is_named(tmp_path, body, told):
    (tmp_path / "m.json").write_text(json.dumps(body))
    with pytest.raises(BadAnnotation, match=told):
        read_model(tmp_path / "m.json")
