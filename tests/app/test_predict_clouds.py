"""`asterism predict iss scan.ply`, and predict with runs that learned from shapes."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from asterism.app.cli import main
from asterism.data.worlds.shape_set import shape
from asterism.io.cloud import read_cloud, write_cloud
from asterism.io.points import Cloud


def bumpy(n=1200):
    dice = np.random.default_rng(0)
    way = dice.normal(size=(n, 3))
    points = way / np.abs(way).max(1, keepdims=True) * (1.0, 0.7, 0.4)
    return points + 0.05 * np.sin(5 * points[:, [1, 2, 0]]) + 0.002 * dice.normal(size=(n, 3))


@pytest.fixture
def scan(tmp_path):
    np.save(tmp_path / "scan.npy", bumpy())
    return tmp_path / "scan.npy"


def answer(capsys, *words):
    assert main([*map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys, *words):
    assert main([str(w) for w in words]) == 2
    return capsys.readouterr().err


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("method", ["iss", "harris3d", "sift3d", "fps", "random-points"])
def test_points_of_a_scan_far_from_the_origin_are_points_of_the_scan(method, scan, tmp_path, capsys):
    """In millimetres, half a million metres away, as surveys are: single precision would be 32 mm coarse."""
    far = 1000 * bumpy() + (5e8, 5.4e9, 100)
    np.save(tmp_path / "far.npy", far)
    told = answer(capsys, "predict", method, scan, tmp_path / "far.npy", "-o", tmp_path / "p.csv", "-k", 12)
    assert told["clouds"] == 2 and told["method"] == method
    found = rows(tmp_path / "p.csv")
    assert list(found[0]) == ["file", "number", "x", "y", "z", "score", "sigma"]
    near = np.array([[float(r[c]) for c in "xyz"] for r in found if r["file"] == "scan.npy"])
    away = np.array([[float(r[c]) for c in "xyz"] for r in found if r["file"] == "far.npy"])
    assert 4 <= len(near) <= 12
    np.testing.assert_allclose((away - (5e8, 5.4e9, 100)) / 1000, near, atol=1e-6)
    if method != "sift3d":  # its points are means of cells
        gap = np.linalg.norm(near[:, None] - bumpy(), axis=2).min(1)
        np.testing.assert_allclose(gap, 0, atol=1e-9)


def test_fewer_points_than_asked_for_are_told(scan, tmp_path, capsys):
    told = answer(capsys, "predict", "iss", scan, "-o", tmp_path / "p.json", "-k", 1000)
    assert told["fewer"] == [f"{scan}: {told['points']} of 1000"]
    held = json.loads((tmp_path / "p.json").read_text())
    points = held["clouds"][0]["points"]
    assert held["method"] == "iss" and held["clouds"][0]["file"] == "scan.npy"
    assert [p["number"] for p in points] == list(range(told["points"])) and points[0]["score"] == 1
    assert points[0]["sigma"] is None


def test_a_ply_of_points_is_a_cloud_again_and_holds_one(scan, tmp_path, capsys):
    told = answer(capsys, "predict", "fps", scan, "-o", tmp_path / "p.ply", "-k", 9)
    assert told["points"] == 9 and read_cloud(tmp_path / "p.ply").points.shape == (9, 3)
    assert "holds one cloud" in refused(capsys, "predict", "fps", scan, scan, "-o", tmp_path / "q.ply")
    assert "wanted an ending" in refused(capsys, "predict", "fps", scan, "-o", tmp_path / "q.slp")
    assert not (tmp_path / "q.ply").exists()


def test_pictures_from_three_sides(scan, tmp_path, capsys):
    words = ("predict", "iss", scan, "-o", tmp_path / "p.csv", "--draw", tmp_path / "drawn")
    told = answer(capsys, *words)
    assert told["drawn"] == [str(tmp_path / "drawn" / "scan.png")]
    picture = np.asarray(Image.open(told["drawn"][0]).convert("RGB")).astype(int)
    h, w, _ = picture.shape
    assert w == 3 * h
    coloured = picture.max(2) - picture.min(2) > 60
    assert all(part.any() for part in np.split(coloured, 3, axis=1))


def test_points_that_are_not_finite_are_refused_or_left_out(scan, tmp_path, capsys):
    points = bumpy()
    points[7] = np.nan
    np.save(scan, points)
    words = ("predict", "iss", scan, "-o", tmp_path / "p.csv")
    assert "--drop-nonfinite" in refused(capsys, *words)
    assert not (tmp_path / "p.csv").exists()
    assert answer(capsys, *words, "--drop-nonfinite")["looked_at"] == len(points) - 1


@pytest.mark.parametrize(
    "words, said",
    [
        (["iss", "photo.png"], ["is a picture", "asterism predict RUN photo.png"]),
        (["iss", "clip.mp4"], ["is a clip", "asterism predict RUN clip.mp4"]),
        (["iss", "nowhere.ply"], ["nowhere.ply", "no such file"]),
        (["iss", "scan.npy", "-k", "0"], ["-k 0", "-k 128"]),
        (["iss", "scan.npy", "--flip"], ["--flip", "is for pictures"]),
        (["iss", "scan.npy", "--no-body"], ["--no-body", "is for pictures"]),
        (["iss"], ["no input", "scans or meshes"]),
        (["keypoint-deformer", "scan.npy"], ["asterism train keypoint-deformer", "asterism predict RUN"]),
    ],
)
def test_what_cannot_be_is_said_with_what_to_type(words, said, scan, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    told = refused(capsys, "predict", *words, "-o", "points.csv")
    assert all(word in told for word in said), told
    assert not (tmp_path / "points.csv").exists()


def test_a_run_of_pictures_says_what_looks_at_clouds(scan, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text('{"method": "hrnet"}')
    told = refused(capsys, "predict", "run", "scan.npy", "-o", "points.csv")
    assert "asterism predict iss scan.npy" in told
    assert "-k: is for clouds" in refused(capsys, "predict", "run", "a.png", "-o", "points.csv", "-k", "3")


def test_a_run_that_learned_from_shapes(tmp_path, capsys):
    shapes = tmp_path / "mugs"
    shapes.mkdir()
    for i in range(4):
        mesh = shape("mugs", 0, i).mesh
        write_cloud(shapes / f"{i}.obj", Cloud(points=1000 * mesh.vertices + 5e6, faces=mesh.faces))
    run, out = tmp_path / "run", tmp_path / "p.csv"
    words = ["train", "keypoint-deformer", shapes, "-k", 5, "--preset", "tiny", "--steps", 6, "-o", run]
    answer(capsys, *words)
    told = answer(capsys, "predict", run, shapes / "0.obj", shapes / "1.obj", "-o", out)
    assert told["points"] == 10 and told["fewer"] == []
    found = rows(out)
    assert [int(r["number"]) for r in found] == [*range(5), *range(5)]
    low, high = (f(read_cloud(shapes / "0.obj").points, axis=0) for f in (np.min, np.max))
    xyz = np.array([[float(r[c]) for c in "xyz"] for r in found[:5]])
    reach = (high - low).max()
    assert (xyz > low - reach).all() and (xyz < high + reach).all()
    assert "no order of merit" in refused(capsys, "predict", run, shapes / "0.obj", "-o", out, "-k", 3)
