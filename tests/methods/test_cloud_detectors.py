"""Detectors of points in clouds: PCL's validated points, closed forms, and what must change nothing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from asterism.catalogue import method_class
from asterism.io import pcd
from asterism.io.cloud import read_cloud
from asterism.methods.clouds import harris3d, sift3d
from asterism.methods.clouds.harris3d import Harris3d
from asterism.methods.clouds.iss import Iss, IssConfig, saliences
from asterism.ops.cloud_keypoints import local_maxima, neighbours, radius_for, surface, variation
from asterism.types import Clouds

PCL = Path(__file__).parents[3] / "shared" / "data" / "pcl_test_clouds"
NAMES = ("iss", "harris3d", "sift3d", "fps", "random-points")
needs_data = pytest.mark.skipif(not PCL.is_dir(), reason="needs shared/data")


def batch(points, unit=1.0, normals=None):
    to_source = torch.eye(4, dtype=torch.float64)[None].clone()
    to_source[:, :3, :3] *= unit
    return Clouds(
        points=torch.from_numpy(points)[None],
        valid=torch.ones(1, len(points), dtype=torch.bool),
        to_source=to_source,
        normals=None if normals is None else torch.from_numpy(normals)[None],
    )


def found(method, points, **options):
    told = method.predict(batch(points, **options))
    return told.xyz[0][told.valid[0]].numpy()


def built(name, **changes):
    cls = method_class(name)
    return cls(replace(cls.presets["paper"], **changes))


def thing(n=1500, seed=0):
    """Points of a bumpy box: corners, edges, planes, and no symmetry."""
    dice = np.random.default_rng(seed)
    way = dice.normal(size=(n, 3))
    points = way / np.abs(way).max(1, keepdims=True) * (1.0, 0.7, 0.4)
    return points + 0.05 * np.sin(5 * points[:, [1, 2, 0]]) + 0.002 * dice.normal(size=(n, 3))


# ------------------------------------------------------------------------------------- the library's figures


@needs_data
@pytest.mark.data
def test_iss_finds_the_six_validated_points():
    """test_iss_3d.cpp, without borders: 6 and 4 times 0.0058329, both ratios 0.975, five neighbours."""
    wanted = [
        [-0.071112, 0.137670, 0.047518],
        [-0.041733, 0.127960, 0.016650],
        [-0.011943, 0.086771, 0.057009],
        [0.031733, 0.099372, 0.038505],
        [-0.062116, 0.045145, 0.037802],
        [-0.048250, 0.167480, -0.000152],
    ]
    cell = 0.0058329
    method = Iss(IssConfig(salient_radius=6 * cell, non_max_radius=4 * cell))
    points = found(method, read_cloud(PCL / "bun0.pcd").points)
    np.testing.assert_allclose(sorted(points.tolist()), sorted(wanted), atol=1e-6)


@needs_data
@pytest.mark.data
def test_sift_finds_as_many_points_as_the_library_and_the_five_validated_ones():
    """test_keypoints.cpp: five octaves of three scales, from 0.02 with contrast 0.03, from 0.05 with 0.06."""
    path = PCL / "cturtle.pcd"
    data = path.read_bytes()
    header, at = pcd._header(path, data)
    names, kinds, counts = pcd._fields(path, header)
    columns = pcd._compressed(path, data[at:], names, kinds, counts, int(header["POINTS"][0]))
    points = np.stack([columns[name].ravel().astype(np.float64) for name in "xyz"], axis=-1)
    value = columns["intensity"].ravel().astype(np.float64)
    assert len(sift3d.extrema(points, value, 0.02, 5, 3, 0.03).places) == 169
    told = sift3d.extrema(points, value, 0.05, 5, 3, 0.06)
    wanted = [
        [-0.9425, -0.6381, 1.6445, 0.0794],
        [-0.5083, -0.5587, 1.8519, 0.0500],
        [1.0265, 0.0500, 1.7154, 0.1000],
        [0.3005, -0.3007, 1.9526, 0.2000],
        [-0.1002, -0.1002, 1.9933, 0.3175],
    ]
    np.testing.assert_allclose(np.c_[told.places, told.scale], wanted, atol=1e-4)


# --------------------------------------------------------------------------------------------- closed forms


def test_neighbours_are_those_of_the_plain_search():
    points = np.random.default_rng(0).random((300, 3))
    near = np.linalg.norm(points[:, None] - points, axis=2) <= 0.2
    got = np.zeros_like(near)
    for rows, i, j in neighbours(points, points, 0.2):
        got[rows[i], j] = True
    np.testing.assert_array_equal(got, near)


def test_iss_of_a_cross_is_its_shortest_arm():
    """Arms a, b, c: the scatter about the middle is diag(2 a^2, 2 b^2, 2 c^2)."""
    arms = np.diag([0.5, 0.4, 0.3])
    points = np.concatenate([np.zeros((1, 3)), arms, -arms])
    told = saliences(points, 0.55, 0.975, 0.975, 5)
    assert told[0] == pytest.approx(2 * 0.3**2)
    assert saliences(points, 0.55, 0.975, 0.975, 8)[0] == 0  # there are only seven points
    assert saliences(points, 0.55, 0.63, 0.975, 5)[0] == 0  # (0.4 / 0.5)^2 is 0.64
    assert saliences(points, 0.55, 0.65, 0.56, 5)[0] == 0  # (0.3 / 0.4)^2 is 0.5625


def corner():
    """Three faces of the cube from 0 to 1 that meet in the origin, and their normals: a grid of 20 x 20."""
    side = (np.arange(20) + 0.5) / 20
    u, v = (x.ravel() for x in np.meshgrid(side, side))
    zero = np.zeros_like(u)
    points = np.concatenate([np.stack(face, -1) for face in ((zero, u, v), (v, zero, u), (u, v, zero))])
    return points, np.repeat(np.eye(3), len(u), axis=0)


def test_harris_of_a_corner_an_edge_and_a_plane():
    points, normals = corner()
    places = np.array([[0.0, 0, 0], [0, 0, 0.5], [0, 0.5, 0.5]])
    told = harris3d.responses(np.concatenate([points, places]), np.pad(normals, ((0, 3), (0, 0))), 0.3)
    np.testing.assert_allclose(told[-3:], [1 / 27, 0, 0], atol=1e-12)
    method = Harris3d(harris3d.Harris3dConfig(radius=0.3, refinements=10))
    best = found(method, points, normals=normals)
    np.testing.assert_allclose(best[0], 0, atol=1e-9)  # no point of the cloud: where the planes meet


def test_refinement_leaves_a_point_of_an_edge_where_it_is():
    points, normals = corner()
    edge = np.array([[0.0, 0.02, 0.6]])
    np.testing.assert_array_equal(harris3d.meeting_point(points, normals, edge, 0.2, 10), edge)


def test_sift_finds_the_middle_of_a_blob_at_its_size():
    side = np.arange(-20, 21) / 20
    x, y = (v.ravel() for v in np.meshgrid(side, side))
    points = np.stack([x, y, np.zeros_like(x)], axis=-1) + 0.025  # in the middles of the cells
    value = np.exp(-(x**2 + y**2) / (2 * 0.15**2))
    told = sift3d.extrema(points, value, 0.05, 3, 3, 0.05)
    assert len(told.places) == 1
    assert np.abs(told.places[0, :2] - 0.025).max() <= 0.05
    assert 0.5 < told.scale[0] / 0.15 < 2
    assert len(sift3d.extrema(points, np.ones(len(points)), 0.05, 3, 3, 0.0001).places) == 0


def test_farthest_points_are_the_tips_first():
    points = np.array([[0, 0, 0], [0.1, 0, 0], [1, 0, 0], [-1.2, 0, 0], [0, 0.9, 0]], dtype=float)
    told = built("fps", n_keypoints=3).predict(batch(points))
    np.testing.assert_allclose(told.xyz[0].numpy(), points[[3, 2, 4]])
    np.testing.assert_allclose(told.score[0].numpy(), np.array([2.2, 2.2, np.hypot(1, 0.9)]) / 2.2)


def test_random_points_are_points_and_each_comes_once():
    points = thing(200)
    got = found(built("random-points", n_keypoints=50), points)
    assert len(np.unique(got, axis=0)) == 50
    assert {tuple(p) for p in got.tolist()} <= {tuple(p) for p in points.tolist()}
    assert not np.array_equal(got, found(built("random-points", n_keypoints=50, seed=1), points))


def test_normals_and_variation_of_a_plane_and_a_ball():
    dice = np.random.default_rng(0)
    flat = dice.random((500, 3)) * (1, 1, 0)
    normal, share = surface(flat, 0.2)
    np.testing.assert_allclose(np.abs(normal), [[0, 0, 1]] * 500, atol=1e-9)
    np.testing.assert_allclose(share, 0, atol=1e-12)
    np.testing.assert_allclose(variation(np.concatenate([np.eye(3), -np.eye(3)]), 3), 1 / 3)
    assert (variation(np.eye(3), 0.1) == 0).all()  # nobody has neighbours


def test_of_equal_neighbours_one_stays_and_a_lesser_one_goes():
    points = np.array([[0, 0, 0], [1, 0, 0], [5, 0, 0], [6, 0, 0]], dtype=float)
    kept = local_maxima(points, np.array([2.0, 2.0, 1.0, 3.0]), 1.5)
    assert kept.tolist() == [0, 3]
    assert local_maxima(points, np.array([2.0, 1.0, 0.0, 0.0]), 0.5, least=2).tolist() == []


# --------------------------------------------------------------------------------- what must change nothing


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("unit", [1e-3, 1e3])
def test_units_change_nothing(name, unit):
    """The points in another unit, and the same points with the unit in to_source."""
    points, method = thing(), built(name, n_keypoints=20)
    wanted = found(method, points)
    assert len(wanted) > 3
    np.testing.assert_allclose(found(method, unit * points), unit * wanted, rtol=1e-9)
    np.testing.assert_allclose(found(method, points, unit=unit), unit * wanted, rtol=1e-9)


@pytest.mark.parametrize("name", ["iss", "harris3d", "fps"])
def test_rotations_move_the_points_with_them(name):
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    points = thing()
    # radii are those of the box of the middle 98 %, which a turn changes: so they are given here
    given = {"iss": {"salient_radius": 0.2, "non_max_radius": 0.15}, "harris3d": {"radius": 0.2}}
    method = built(name, n_keypoints=20, **given.get(name, {}))
    np.testing.assert_allclose(found(method, points @ turn.T), found(method, points) @ turn.T, atol=1e-9)


@pytest.mark.parametrize("name", ["iss", "harris3d", "sift3d", "fps"])
def test_the_order_of_the_points_changes_nothing(name):
    points = thing()
    order = np.random.default_rng(1).permutation(len(points))
    method = built(name, n_keypoints=20)
    np.testing.assert_allclose(found(method, points[order]), found(method, points), atol=1e-9)


def test_a_radius_given_is_in_the_unit_of_the_source():
    points = thing()
    plain = found(built("iss", salient_radius=0.2, non_max_radius=0.15), points)
    scaled = found(built("iss", salient_radius=200.0, non_max_radius=150.0), points, unit=1000.0)
    np.testing.assert_allclose(scaled, 1000 * plain)
    with pytest.raises(ValueError, match="radius -1"):
        radius_for(points, -1, 1.0, 6, 0.03)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("points", [np.zeros((1, 3)), np.ones((30, 3)), np.zeros((2, 3)) + [[0], [1]]])
def test_clouds_without_shape_give_few_points_and_no_nonsense(name, points):
    told = built(name, n_keypoints=5).predict(batch(points))
    assert told.xyz.isfinite().all() and told.score.isfinite().all()
    if name in ("iss", "harris3d", "sift3d"):
        assert not told.valid.any()
    assert told.valid.sum() <= len(points)


@pytest.mark.parametrize("name", NAMES)
def test_the_best_come_first_and_fewer_are_said_to_be_fewer(name):
    points = thing(300)
    many = built(name, n_keypoints=500).predict(batch(points))
    n = int(many.valid.sum())
    assert 0 < n < 500 and many.valid[0, :n].all()
    score = many.score[0, :n]
    assert (score.diff() <= 0).all() and score[0] == 1 and (many.score[0, n:] == 0).all()
