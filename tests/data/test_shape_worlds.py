"""Generated shapes: exact points on closed surfaces, mirror pairs, even sampling, the same for the same
index.
"""

import numpy as np
import pytest
import torch

from asterism.data.cloud_sets import CloudSamples, ShapeWorld, batch_of, open_clouds, unit_box
from asterism.data.worlds.shape_set import KINDS, shape
from asterism.data.worlds.solids import Mesh, areas_and_normals, beam, sample
from asterism.errors import BadCloud, RequestError
from asterism.io.cloud import write_cloud
from asterism.io.points import Cloud


def to_surface(mesh, points):
    """Distance from each point to the nearest triangle or, beside all of them, vertex."""
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    best = np.linalg.norm(points[:, None] - mesh.vertices, axis=-1).min(1)
    _, normal = areas_and_normals(mesh)
    off = np.einsum("fd,pfd->pf", normal, points[:, None] - a)
    foot = points[:, None] - off[..., None] * normal
    inside = np.ones(off.shape, bool)
    for p, q in ((a, b), (b, c), (c, a)):
        inside &= np.einsum("fd,pfd->pf", normal, np.cross(q - p, foot - p)) >= -1e-12
    return np.minimum(best, np.where(inside, np.abs(off), np.inf).min(1))


@pytest.mark.parametrize("kind", KINDS)
def test_points_are_on_the_surface_and_mirror(kind):
    names = shape(kind, 0, 0).names
    for index in range(8):
        s = shape(kind, 1, index)
        assert s.names == names and len(set(names)) == len(names)
        assert to_surface(s.mesh, s.points).max() < 1e-9
        np.testing.assert_allclose(s.points[list(s.swap)], s.points * [-1, 1, 1], atol=1e-12)
        assert 0.3 < np.ptp(s.mesh.vertices, axis=0).max() < 2


@pytest.mark.parametrize("kind", KINDS)
def test_surfaces_are_closed_and_face_outwards(kind):
    for index in range(4):
        mesh = shape(kind, 2, index).mesh
        edges = np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]])
        assert {tuple(e) for e in edges.tolist()} == {tuple(e) for e in edges[:, ::-1].tolist()}
        assert np.isfinite(mesh.vertices).all()
        points, normals = sample(mesh, 3000, np.random.default_rng(0))
        assert (np.einsum("ij,ij->i", points, normals)).mean() > 0  # the divergence theorem: the volume
        np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1)


def test_the_same_index_is_the_same_shape_and_style_is_apart():
    one, two = shape("chairs", 3, 5), shape("chairs", 3, 5)
    np.testing.assert_array_equal(one.mesh.vertices, two.mesh.vertices)
    assert not np.allclose(one.points, shape("chairs", 3, 6).points)
    half = KINDS["chairs"].points(np.random.default_rng(0))
    looks = [
        KINDS["chairs"].build({k: v.copy() for k, v in half.items()}, np.random.default_rng(i))
        for i in (0, 1)
    ]
    assert len(looks[0]) != len(looks[1]) or looks[0][0][0].vertices.shape != looks[1][0][0].vertices.shape


def test_proportions_are_those_that_people_labelled():
    chairs = [dict(zip(s.names, s.points)) for s in (shape("chairs", 0, i) for i in range(60))]
    legs = np.mean([p["leg_front_right"] for p in chairs], axis=0)
    np.testing.assert_allclose(legs, [0.20, -0.36, -0.23], atol=0.05)  # KeypointNet's ids 17 and 20
    planes = [dict(zip(s.names, s.points)) for s in (shape("planes", 0, i) for i in range(60))]
    np.testing.assert_allclose(np.mean([p["nose"] for p in planes], 0), [0, 0, -0.32], atol=0.03)
    np.testing.assert_allclose(
        np.mean([p["wing_tip_left"] for p in planes], 0), [-0.32, 0.02, 0.11], atol=0.03
    )


def test_sampling_is_even_by_area():
    mesh = beam((0, 0, 0), (0, 1, 0), 0.3, 0.1)
    _, normals = sample(mesh, 20_000, np.random.default_rng(0))
    area, normal = areas_and_normals(mesh)
    share = (normals @ [0, 1, 0] < -0.9).mean()
    assert share == pytest.approx(area[normal @ [0, 1, 0] < -0.9].sum() / area.sum(), abs=0.01)
    one = Mesh(vertices=np.eye(3), faces=np.array([[0, 1, 2]]))
    points, _ = sample(one, 4000, np.random.default_rng(0))
    np.testing.assert_allclose(points.mean(0), 1 / 3, atol=0.01)
    np.testing.assert_allclose(points.sum(1), 1)
    assert points.min() >= 0
    with pytest.raises(ValueError, match="no area"):
        sample(Mesh(vertices=np.zeros((3, 3)), faces=np.array([[0, 1, 2]])), 5, np.random.default_rng(0))


def test_units_change_nothing_and_come_back():
    cloud = ShapeWorld("planes").cloud(0)
    here = batch_of(cloud, 100, np.random.default_rng(1))
    large = Cloud(points=1000 * cloud.points + 5, faces=cloud.faces)
    there = batch_of(large, 100, np.random.default_rng(1))
    torch.testing.assert_close(here.points, there.points, atol=1e-5, rtol=0)
    assert here.points.abs().max() <= 1
    back = there.points[0] @ there.to_source[0, :3, :3].T + there.to_source[0, :3, 3]
    assert back.abs().max() > 100
    with pytest.raises(BadCloud, match="no size"):
        unit_box(np.ones((4, 3)))


def test_a_folder_of_meshes_and_scans(tmp_path):
    mesh = shape("mugs", 0, 0).mesh
    write_cloud(tmp_path / "a.obj", Cloud(points=mesh.vertices, faces=mesh.faces))
    write_cloud(tmp_path / "b.xyz", Cloud(points=mesh.vertices))
    (tmp_path / "readme.md").write_text("nothing")
    found = open_clouds(str(tmp_path))
    assert [found.name(i) for i in range(len(found))] == ["a.obj", "b.xyz"]
    samples = CloudSamples(found, [0, 1], 64)
    assert samples[0, 1].points.shape == (1, 64, 3)
    assert not torch.equal(samples[0, 0].points, samples[1, 0].points)
    torch.testing.assert_close(samples[3, 0].points, samples[3, 0].points)


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("world:tanks", "planes, chairs"),
        ("world:chairs?m=3", "n, seed"),
        ("world:chairs?n=x", "whole number"),
        ("world:chairs?n=0", "whole number"),
        ("nowhere", "no such file"),
    ],
)
def test_the_door_says_what_works(what, says):
    with pytest.raises(RequestError, match=says):
        open_clouds(what)


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(RequestError, match="holds no meshes"):
        open_clouds(str(tmp_path))
