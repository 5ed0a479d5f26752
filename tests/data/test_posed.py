"""Pictures of meshes: what is seen where, and that cameras stand where they say."""

import numpy as np
import pytest
import torch

from asterism.data.cloud_sets import CloudFiles, ShapeWorld
from asterism.data.posed import PosedSamples, around, unit_mesh
from asterism.engine.cloud_lesson import train_on_clouds
from asterism.engine.weights import load_weights
from asterism.errors import BadCloud
from asterism.geometry import affine, rigid

CHAIRS = ShapeWorld("chairs", 6)


def samples(views=2, size=(96, 128), seed=0):
    return PosedSamples(CHAIRS, range(6), size, 5.0, 30.0, seed, views)


def test_a_sample_is_the_same_again_and_another_one_in_the_next_epoch():
    one, again, later = samples()[0, 2], samples()[0, 2], samples()[1, 2]
    assert torch.equal(one.image, again.image)
    assert not torch.equal(one.cam_from_thing, later.cam_from_thing)
    assert one.image.shape == (1, 2, 3, 96, 128) and one.inside.shape == (1, 2, 96, 128)
    assert (one.image >= 0).all() and (one.image <= 1).all()


def test_the_thing_is_seen_where_its_camera_says():
    """The outermost vertices touch the silhouette's box from inside, to a pixel."""
    batch = samples(views=5)[0, 3]
    mesh = torch.from_numpy(unit_mesh(CHAIRS, 3).vertices).float()
    for v in range(5):
        there = rigid.apply(batch.cam_from_thing[0, v][None], mesh[None])
        xy = affine.apply(batch.intrinsics[0, v][None, :2], there[..., :2] / there[..., 2:])[0]
        row, column = batch.inside[0, v].nonzero(as_tuple=True)
        found = torch.tensor([column.min(), row.min(), column.max(), row.max()]).float()
        wanted = torch.cat([xy.amin(0).ceil(), xy.amax(0).floor()])
        assert (found - wanted).abs().max() <= 1.0
        assert wanted.min() >= 0 and wanted[2] < 128 and wanted[3] < 96


def test_cameras_are_upright_above_the_ground_and_look_at_the_thing():
    dice = np.random.default_rng(0)
    poses = around(dice, 30.0, 500)
    turn, shift = poses[..., :3], poses[..., 3]
    np.testing.assert_allclose(
        turn @ turn.transpose(0, 2, 1), np.broadcast_to(np.eye(3), turn.shape), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(turn), 1.0)
    assert np.allclose(turn[:, 0, 1], 0)  # right is level
    assert (turn[:, 1, 1] < 0).all()  # up in the thing is up in the picture
    assert (np.abs(shift[:, :2]) <= 0.1).all() and (np.abs(shift[:, 2] - 30) <= 0.2).all()
    height = -turn[:, 2, 1]
    assert height.min() > 0 and height.mean() == pytest.approx(np.sin(np.radians(75)) / 2, abs=0.03)


def test_the_light_tells_the_sides_of_a_thing_apart():
    batch = samples(views=3)[0, 0]
    for v in range(3):
        inside = batch.inside[0, v]
        assert batch.image[0, v][:, inside].std(1).mean() > 0.02
        assert (batch.image[0, v][:, ~inside].std(1) < 1e-6).all()


def test_points_without_triangles_are_named(tmp_path):
    np.savetxt(tmp_path / "dots.xyz", np.random.default_rng(0).normal(size=(50, 3)))
    dots = CloudFiles("dots", (tmp_path / "dots.xyz",))
    with pytest.raises(BadCloud, match=r"dots\.xyz.*wanted a mesh"):
        PosedSamples(dots, [0], (32, 32), 5.0, 30.0)[0, 0]


def test_a_method_that_learns_from_views_is_trained_on_a_folder_of_meshes(tmp_path):
    for i in range(4):
        mesh = unit_mesh(CHAIRS, i)
        lines = [f"v {x} {y} {z}" for x, y, z in mesh.vertices]
        lines += [f"f {a} {b} {c}" for a, b, c in mesh.faces + 1]
        (tmp_path / f"chair{i}.obj").write_text("\n".join(lines))
    run = tmp_path / "run"
    options = {"preset": "tiny", "steps": 2, "points": 5}
    done = train_on_clouds(str(tmp_path), "latent-3d-keypoints", run, **options)
    assert (done["points"], done["steps"], done["samples"]) == (5, 2, 3)
    method, skeleton = load_weights(run / "best", "latent-3d-keypoints")
    assert method.config.n_keypoints == 5 and len(skeleton) == 5
    assert not (run / "prior.json").exists()
