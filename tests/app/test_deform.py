"""asterism train keypoint-deformer and asterism deform: shapes in, moved shapes out, and what is refused."""

import json
import sys

import numpy as np
import pytest

from asterism.app.cli import main
from asterism.data.worlds.shape_set import shape
from asterism.io.cloud import read_cloud, write_cloud
from asterism.io.points import Cloud


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deform")
    shapes = folder / "mugs"
    shapes.mkdir()
    for i in range(5):
        mesh = shape("mugs", 0, i).mesh
        write_cloud(shapes / f"{i}.obj", Cloud(points=1000 * mesh.vertices + 50, faces=mesh.faces))
    run = folder / "run"
    words = ["train", "keypoint-deformer", str(shapes), "-k", "5", "--preset", "tiny", "--steps", "12"]
    assert main([*words, "-o", str(run), "--json"]) == 0
    return run, shapes / "0.obj"


def run_of(capsys, *words):
    code = main([str(w) for w in words])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_training_keeps_the_split_the_points_and_the_prior(trained):
    run, _ = trained
    about = json.loads((run / "run.json").read_text())
    assert about["config"]["n_keypoints"] == 5
    assert len(about["split"]["test"]) == 1 and len(about["split"]["train"]) == 4
    prior = json.loads((run / "prior.json").read_text())
    assert np.array(prior["mean"]).shape == (5, 3)


def test_a_moved_keypoint_moves_the_shape_in_its_own_unit(trained, capsys, tmp_path):
    run, mug = trained
    out = tmp_path / "out.obj"
    code, told, _ = run_of(capsys, "deform", run, mug, "--move", "3=100,0,0", "-o", out, "--json")
    assert code == 0
    answer = json.loads(told)
    gone = np.array(answer["keypoints_after"]) - answer["keypoints"]
    np.testing.assert_allclose(gone, [[0] * 3] * 3 + [[100, 0, 0], [0] * 3], atol=1e-9)
    before, after = read_cloud(mug), read_cloud(out)
    np.testing.assert_array_equal(before.faces, after.faces)
    assert np.abs(after.points - before.points)[:, 0].max() > 0.01
    np.testing.assert_allclose(after.points[:, 1:], before.points[:, 1:], atol=1e-9)
    run_of(capsys, "deform", run, mug, "--move", "3=0,0,0", "-o", tmp_path / "same.ply")
    np.testing.assert_allclose(read_cloud(tmp_path / "same.ply").points, before.points, atol=1e-3)


def test_with_the_prior_the_rest_follows(trained, capsys, tmp_path):
    run, mug = trained
    _, told, _ = run_of(
        capsys, "deform", run, mug, "--move", "3=100,0,0", "--prior", "-o", tmp_path / "a.obj", "--json"
    )
    answer = json.loads(told)
    gone = np.array(answer["keypoints_after"]) - answer["keypoints"]
    np.testing.assert_allclose(gone[3], [100, 0, 0], atol=1e-9)
    assert np.abs(gone[[0, 1, 2, 4]]).max() > 1e-3


@pytest.mark.parametrize("more", [("--draw", "1"), ("--to", None)])
def test_new_shapes_and_other_shapes_keypoints(trained, capsys, tmp_path, more):
    run, mug = trained
    words = [more[0], more[1] or str(mug.with_name("1.obj"))]
    code, _, told = run_of(capsys, "deform", run, mug, *words, "-o", tmp_path / "b.stl")
    assert code == 0, told
    before, after = read_cloud(mug).faces, read_cloud(tmp_path / "b.stl").faces
    assert before is not None and after is not None and len(after) == len(before)


def test_all_other_lines_of_an_obj_stay(trained, capsys, tmp_path):
    run, mug = trained
    text = mug.read_text().splitlines()
    vertices = [line for line in text if line.startswith("v ")]
    faces = [line.split()[1:] for line in text if line.startswith("f ")]
    dressed = ["mtllib a.mtl", "# a remark", *vertices, "vt 0.5 0.25", "vn 0 1 0", "usemtl red"]
    dressed += ["f " + " ".join(f"{c}/1/1" for c in face) for face in faces]
    path, out = tmp_path / "dressed.obj", tmp_path / "moved.obj"
    path.write_text("\n".join(dressed) + "\n")
    assert run_of(capsys, "deform", run, path, "--move", "1=50,20,0", "-o", out)[0] == 0
    here, there = path.read_text().splitlines(), out.read_text().splitlines()
    assert len(here) == len(there)
    changed = [a.split()[0] for a, b in zip(here, there, strict=True) if a != b]
    assert set(changed) <= {"v", "vn"} and "v" in changed
    normal = np.array([float(w) for w in next(s for s in there if s.startswith("vn")).split()[1:]])
    assert np.linalg.norm(normal) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--move", "9=1,0,0"], "points 0 to 4"),
        (["--move", "1=1,0"], "three finite numbers"),
        (["--move", "one=1,0,0"], "NUMBER=DX,DY,DZ"),
        (["--move", "1=1,0,0", "1=2,0,0"], "moved twice"),
        (["--draw", "1", "--prior"], "--move"),
        (["--draw", "1", "--move", "1=1,0,0"], "one of them"),
    ],
)
def test_impossible_moves_are_refused(trained, capsys, tmp_path, words, says):
    run, mug = trained
    code, _, told = run_of(capsys, "deform", run, mug, *words, "-o", tmp_path / "x.obj")
    assert code == 2 and says in told
    assert not (tmp_path / "x.obj").exists()


def test_a_move_without_an_output_is_refused(trained, capsys):
    code, _, told = run_of(capsys, "deform", *trained, "--move", "1=1,0,0")
    assert code == 2 and "-o FILE" in told


def test_points_are_for_methods_of_shapes(capsys):
    code, _, told = run_of(capsys, "train", "hrnet", "world:figures?n=4", "-k", "3", "-o", "never")
    assert code == 2 and "leave it out" in told


def test_without_viser_the_page_says_so(trained, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "viser", None)
    code, _, told = run_of(capsys, "deform", *trained)
    assert code == 2 and "pip install viser" in told
