"""Triangles in the picture: whose each pixel is, exact depth under perspective, the nearer one wins."""

import numpy as np
import pytest
from scipy.spatial import Delaunay

from asterism.data.worlds.rasterise import rasterise


def test_a_triangle_covers_the_centres_inside_it():
    xy = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    seen = rasterise(xy, np.full(3, 2.0), np.array([[0, 1, 2]]), (6, 6))
    row, column = np.mgrid[:6, :6]
    assert np.array_equal(seen.face == 0, row + column <= 4)
    assert np.array_equal(np.isinf(seen.depth), seen.face < 0)
    np.testing.assert_allclose(seen.depth[seen.face == 0], 2.0)


def test_depth_is_that_of_the_plane():
    """n . X = 1, seen through a pinhole: 1 / depth = n . ray."""
    plane, focal = np.array([0.02, -0.03, 0.1]), 40.0
    ray = np.array([[-0.3, -0.3, 1], [0.35, -0.2, 1], [0.0, 0.4, 1]])
    depth = 1 / (ray @ plane)
    seen = rasterise(focal * ray[:, :2] + 15.5, depth, np.array([[0, 1, 2]]), (32, 32))
    row, column = np.nonzero(seen.face == 0)
    assert len(row) > 100
    there = np.stack([(column - 15.5) / focal, (row - 15.5) / focal, np.ones(len(row))], 1)
    np.testing.assert_allclose(seen.depth[row, column], 1 / (there @ plane), rtol=1e-12)


@pytest.mark.parametrize("order", [1, -1])
def test_the_nearer_one_is_seen(order):
    square = np.array([[2.0, 2], [12, 2], [12, 12], [2, 12]])
    xy = np.concatenate([square, square + 4])
    depth = np.array([5.0] * 4 + [3.0] * 4)
    faces = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])[::order]
    near = np.isin(rasterise(xy, depth, faces, (20, 20)).face, np.flatnonzero(faces[:, 0] >= 4))
    row, column = np.mgrid[:20, :20]
    assert np.array_equal(near, (row >= 6) & (row <= 16) & (column >= 6) & (column <= 16))


def test_a_closed_surface_has_no_holes():
    dice = np.random.default_rng(0)
    xy = dice.uniform(-8, 72, (300, 2))
    faces = Delaunay(xy).simplices
    seen = rasterise(xy, dice.uniform(1, 2, 300), faces, (64, 64))
    assert (seen.face >= 0).all()
    assert (seen.depth >= 1).all() and (seen.depth <= 2).all()
    p = np.array([30.0, 20.0])
    a, b, c = xy[faces[seen.face[20, 30]]]
    share = np.linalg.solve(np.stack([b - a, c - a], 1), p - a)
    assert (share >= 0).all() and share.sum() <= 1


def test_what_is_outside_behind_or_thin_is_left_out():
    xy = np.array([[0.0, 0], [9, 0], [0, 9], [-50, -50], [-40, -50], [-50, -40], [3, 3]])
    depth = np.array([1.0, 1, 1, 1, 1, 1, -1])
    faces = np.array([[3, 4, 5], [0, 1, 6], [0, 0, 1]])
    assert (rasterise(xy, depth, faces, (8, 8)).face == -1).all()
