"""Sampling, scale, neighbours, normals, descriptors, consensus and refinement of clouds, on shapes that are
known.
"""

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from asterism.ops import icp
from asterism.ops.cloud_neighbours import local_pca, nearest, nearest_within, normals, one_sided
from asterism.ops.cloud_places import Seen, cell_for, frame, places, turns
from asterism.ops.cloud_sampling import cell_means, farthest_points, grid_cells, grid_subsample
from asterism.ops.cloud_scale import extent, spacing, voxel_for
from asterism.ops.cloud_sight import find_eye, sight
from asterism.ops.consensus import agreeing, distinct, motions, rigid_fit
from asterism.ops.fpfh import fpfh


def rigid(seed):
    dice = np.random.default_rng(seed)
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = Rotation.random(rng=dice).as_matrix(), dice.normal(size=3)
    return out


def sphere(n, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, 3))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def corner(n=900):
    """Three unit squares that meet in the origin."""
    uv = np.random.default_rng(3).random((3, n, 2))
    zero = np.zeros(n)
    return np.concatenate(
        [
            np.stack([uv[0, :, 0], uv[0, :, 1], zero], 1),
            np.stack([uv[1, :, 0], zero, uv[1, :, 1]], 1),
            np.stack([zero, uv[2, :, 0], uv[2, :, 1]], 1),
        ]
    )


def surface(points):
    return icp.Surface(points=points, normals=normals(points, points, 10)[0], tree=cKDTree(points))


def test_cells_and_their_means_by_hand():
    points = np.array([[0.0, 0, 0], [0.4, 0, 0], [1.2, 0, 0], [0.0, 1.1, 0]])
    assert grid_cells(points, 1).tolist() == [0, 0, 2, 1]
    np.testing.assert_allclose(grid_subsample(points, 1), [[0.2, 0, 0], [0, 1.1, 0], [1.2, 0, 0]])
    np.testing.assert_allclose(cell_means(np.array([[1.0], [3.0], [5.0]]), np.array([0, 0, 1])), [[2], [5]])
    with pytest.raises(ValueError, match="above zero"):
        grid_cells(points, 0)
    with pytest.raises(ValueError, match="wanted a longer one"):
        grid_cells(points, 1e-20)


@pytest.mark.parametrize("n", [1, 5, 300, 3000])
def test_farthest_points_are_those_of_the_plain_algorithm(n):
    x = np.random.default_rng(n).random((n, 3)) * (1, 1, 0.1)
    left, plain = np.full(n, np.inf), [0]
    for _ in range(min(n, 60) - 1):
        left = np.minimum(left, ((x - x[plain[-1]]) ** 2).sum(1))
        plain.append(int(left.argmax()))
    assert farthest_points(x, len(plain)).tolist() == plain
    with pytest.raises(ValueError, match="wanted 1 <= k"):
        farthest_points(x, n + 1)


def test_scale_follows_the_unit():
    x = sphere(4000)
    for s in (1e-3, 1.0, 1e3):
        assert extent(s * x) == pytest.approx(s * extent(x))
        assert spacing(s * x) == pytest.approx(s * spacing(x))
        assert voxel_for(s * x, 500) == pytest.approx(s * voxel_for(x, 500))
    assert abs(len(grid_subsample(x, voxel_for(x, 500))) - 500) <= 25
    assert voxel_for(np.zeros((5, 3)), 3) == 0.0
    assert spacing(np.stack([np.arange(9.0)] * 3, 1)) == pytest.approx(3**0.5)


def test_neighbours_of_a_line():
    x = np.stack([np.arange(6.0), np.zeros(6), np.zeros(6)], axis=-1)
    far, row = nearest(cKDTree(x), x[:1], 3)
    assert far.tolist() == [[0, 1, 2]] and row.tolist() == [[0, 1, 2]]
    far, row = nearest_within(cKDTree(x), x[:1], 3, 1)  # a distance equal to the radius counts
    assert far.tolist() == [[0, 1, np.inf]] and row.tolist() == [[0, 1, 6]]
    with pytest.raises(ValueError, match="6 points"):
        nearest(cKDTree(x), x, 7)
    variance, _ = local_pca(x, np.arange(6)[None])
    np.testing.assert_allclose(variance, [[0, 0, 35 / 12]], atol=1e-12)


def test_normals_of_a_sphere_point_outwards_or_inwards_and_agree():
    x = sphere(3000)
    normal, bend = normals(x, x, 12)
    assert np.abs((normal * x).sum(1)).min() > 0.97 and bend.max() < 0.05
    sided = one_sided(x, normal)
    assert ((sided * x).sum(1) < 0).all()  # towards the middle


def test_fpfh_of_a_plane_and_of_moved_points():
    g = np.stack(np.meshgrid(np.arange(9.0), np.arange(9.0), [0.0]), -1).reshape(-1, 3)
    words = fpfh(g, np.tile([0.0, 0, 1], (81, 1)), 2.5)
    assert words.shape == (81, 33)
    expected = np.zeros(33)
    expected[[5, 16, 27]] = 2  # alpha, phi and theta are all zero: the middle bin, twice its share of one
    np.testing.assert_allclose(words, np.tile(expected, (81, 1)), atol=1e-6)
    x, move = sphere(400) * (1, 2, 3), rigid(1)
    normal = one_sided(x, normals(x, x, 12)[0])
    one = fpfh(x, normal, 0.7)
    two = fpfh(icp.moved(move, x), normal @ move[:3, :3].T, 0.7)
    assert np.abs(one - two).max(1).mean() < 0.01  # a value at a bin's edge may fall to either side


def test_rigid_fit_is_exact_and_never_a_reflection():
    x, move = np.random.default_rng(0).random((20, 3)), rigid(2)
    np.testing.assert_allclose(rigid_fit(x, icp.moved(move, x), np.ones(20)), move, atol=1e-12)
    assert np.linalg.det(rigid_fit(x, x * (1, 1, -1), np.ones(20))[:3, :3]) == pytest.approx(1)


def test_the_motion_is_found_among_nine_wrong_matches_in_ten():
    dice, move = np.random.default_rng(4), rigid(3)
    a = dice.random((400, 3)) * 5
    b = dice.random((400, 3)) * 5
    b[:40] = icp.moved(move, a[:40]) + 0.01 * dice.normal(size=(40, 3))
    found = motions(a, b, 0.05)
    np.testing.assert_allclose(found.b_from_a[0], move, atol=0.03)
    assert found.inliers[0] >= 36 and agreeing(found.b_from_a[:1], a, b, 0.05)[0, :40].sum() >= 36
    assert distinct(np.stack([move, move, np.eye(4)]), a, 0.1, 5).tolist() == [0, 2]
    with pytest.raises(ValueError, match="at least three"):
        motions(a[:2], b[:2], 0.1)


def test_icp_comes_home_and_knows_what_it_does_not_know():
    x = corner()
    start = np.eye(4)
    start[:3, :3] = Rotation.from_rotvec([0.06, -0.05, 0.04]).as_matrix()
    start[:3, 3] = 0.04, -0.03, 0.05
    found = icp.refine(surface(x), surface(x), start, 0.3, smallest=0.05)
    np.testing.assert_allclose(found, np.eye(4), atol=2e-3)
    noisy = x + 0.005 * np.random.default_rng(0).normal(size=x.shape)
    known = icp.covariance(surface(noisy), surface(x), np.eye(4), 0.1, 0.2, np.zeros(3))
    assert (np.sqrt(np.diag(known)) < 0.005).all() and (np.linalg.eigvalsh(known) > 0).all()
    flat = surface(x[:900])
    free = icp.covariance(flat, flat, np.eye(4), 0.1, 0.2, np.zeros(3))
    assert np.isinf(np.diag(free)).all()


def test_air_lies_between_the_eye_and_what_it_sees():
    wall = np.stack(np.meshgrid(np.linspace(-1, 1, 30), np.linspace(-1, 1, 30), [3.0]), -1).reshape(-1, 3)
    seen = sight(wall, np.zeros(3))
    asked = np.array([[0.0, 0, 1.5], [0, 0, 2.95], [0, 0, 4], [3, 0, 1]])
    assert seen.before(asked, 0.2).tolist() == [True, False, False, False]


def box_seen_from(dice, eye, n=20_000):
    """Where rays into evenly spread directions meet the walls of the cube from -1 to 1."""
    line = dice.normal(size=(n, 3))
    line /= np.linalg.norm(line, axis=1, keepdims=True)
    return eye + line * ((np.sign(line) - eye) / line).min(1, keepdims=True)


def test_the_density_of_a_scan_tells_where_it_was_taken_in_any_unit():
    eye = np.array([0.4, -0.3, 0.55])
    x = box_seen_from(np.random.default_rng(1), eye)
    found = find_eye(np.random.default_rng(0), x)
    assert found.known and np.linalg.norm(found.place - eye) < 0.05
    far = find_eye(np.random.default_rng(0), 1000 * x + 5000)
    np.testing.assert_allclose((far.place - 5000) / 1000, found.place, atol=1e-3)
    dropped = find_eye(np.random.default_rng(0), x[np.random.default_rng(2).random(len(x)) < 0.4])
    assert dropped.known and np.linalg.norm(dropped.place - eye) < 0.08
    assert sight(x, found.place).before(0.9 * (x - eye) + eye, 0.02).mean() > 0.9
    assert sight(x, found.place).before(1.1 * (x - eye) + eye, 0.02).mean() < 0.05


def test_a_cloud_of_even_density_was_seen_from_nowhere():
    dice = np.random.default_rng(1)
    even = dice.uniform(-1, 1, (20_000, 3))
    side = dice.integers(0, 3, len(even))
    even[np.arange(len(even)), side] = np.sign(even[np.arange(len(even)), side])
    assert not find_eye(np.random.default_rng(0), even).known
    with pytest.raises(ValueError, match="at least 100"):
        find_eye(dice, even[:99])


def test_the_frame_of_a_turned_box_and_the_24_turns_onto_another():
    turn = Rotation.random(rng=np.random.default_rng(3)).as_matrix()
    normal = np.repeat(np.concatenate([np.eye(3), -np.eye(3)]), 50, axis=0)
    normal += 0.02 * np.random.default_rng(0).normal(size=normal.shape)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    here, there = frame(normal), frame(normal @ turn.T)
    np.testing.assert_allclose(here.T @ here, np.eye(3), atol=1e-12)
    assert np.linalg.det(here) == pytest.approx(1)
    all_turns = turns(here, there)
    assert len(all_turns) == 24
    assert min(Rotation.from_matrix(t @ turn.T).magnitude() for t in all_turns) < 0.01


def test_the_shift_of_half_a_room_is_among_the_first_and_air_rules_others_out():
    dice = np.random.default_rng(5)
    eye = np.array([0.1, 0.2, -0.3])
    x = box_seen_from(dice, eye, 12_000)
    inward = -np.where(np.abs(x) > 1 - 1e-9, np.sign(x), 0)
    air = eye + (x - eye) * dice.uniform(0.1, 0.75, (len(x), 1))
    part = [x[:, 0] < 0.5, x[:, 0] > -0.5]
    one, two = (Seen(points=x[p], normals=inward[p], air=air) for p in part)
    shift = np.array([3.0, -2.0, 1.0])
    moved = Seen(points=two.points + shift, normals=two.normals, air=two.air + shift)
    cell = cell_for(one.points, moved.points)
    found = places(one, moved, np.eye(3)[None], cell)
    assert found.shape == (3, 4, 4)
    assert np.abs(found[0][:3, 3] - shift).max() <= cell
    assert found[0][:3, :3].tolist() == np.eye(3).tolist()
