"""Outlines are where the numbers say; a whole number is the centre of a pixel."""

import numpy as np
import pytest

from asterism.data.worlds.painting import Flat, Layer, paint, top_at, top_map
from asterism.data.worlds.shapes import Ball, Slab, Tube

WHITE = Flat(np.full(3, 200.0))
AXIS = np.array([[20.2, 8.6], [20.2, 22.6]])  # down the middle


def layer(shape, owner=0):
    return Layer(shape=shape, paint=WHITE, owner=owner, part=0)


def drawn(shape, size=(40, 48)):
    canvas = np.zeros((*size, 3), np.float32)
    paint(canvas, [layer(shape)])
    return canvas[..., 0] / 200


def centroid(cover):
    y, x = np.mgrid[: cover.shape[0], : cover.shape[1]]
    return np.array([(cover * x).sum(), (cover * y).sum()]) / cover.sum()


@pytest.mark.parametrize("centre", [(20.0, 18.0), (20.3, 17.8), (19.5, 18.5), (21.49, 18.02)])
def test_convention_a_disc_has_its_centroid_at_its_centre(centre):
    c = np.array(centre)
    disc = Tube(np.stack([c, c]), np.full(2, 5.2))
    cover = drawn(disc)
    assert np.abs(centroid(cover) - c).max() < 0.02
    assert cover.sum() == pytest.approx(np.pi * 5.2**2, rel=0.01)


@pytest.mark.parametrize("angle", [0.0, 0.3, np.pi / 4, 2.0])
def test_a_capsule_has_its_centroid_and_area(angle):
    c, half = np.array([23.4, 19.7]), 9.0 * np.array([np.cos(angle), np.sin(angle)])
    cover = drawn(Tube(np.stack([c - half, c + half]), np.full(2, 3.0)))
    assert np.abs(centroid(cover) - c).max() < 0.05
    assert cover.sum() == pytest.approx(18 * 6 + np.pi * 9, rel=0.02)


def test_a_slab_has_its_centroid_and_area():
    corners = np.array([[10.2, 8.6], [30.2, 8.6], [30.2, 22.6], [10.2, 22.6]])
    for order in (corners, corners[::-1]):
        cover = drawn(Slab(order, 2.0, AXIS))
        assert np.abs(centroid(cover) - (20.2, 15.6)).max() < 0.05
        assert cover.sum() == pytest.approx(24 * 18 - (4 - np.pi) * 4, rel=0.01)


def test_the_coordinates_of_a_slab_follow_its_axis():
    field = Slab(np.array([[0.0, 0], [8, 0], [8, 20], [0, 20]]), 1.0, np.array([[4.0, 0], [4, 20]])).field(
        np.array([4.0, 9.0, -1.0]), np.array([5.0, 10.0, 20.0])
    )
    np.testing.assert_allclose(field.u, [0.25, 0.5, 1.0])
    np.testing.assert_allclose(field.v, [0, 1, -1])  # going down, the left is at larger x


@pytest.mark.parametrize("up", [(0.0, -9.0), (6.0, -5.0)])
def test_a_ball_has_its_centroid_area_and_coordinates(up):
    ball = Ball(np.array([22.3, 19.6]), np.array(up), 5.0)
    cover = drawn(ball)
    assert np.abs(centroid(cover) - ball.centre).max() < 0.05
    assert cover.sum() == pytest.approx(np.pi * 5 * np.hypot(*up), rel=0.02)
    tip, left = ball.centre + ball.up, ball.centre + 5 * np.array([up[1], -up[0]]) / np.hypot(*up)
    field = ball.field(np.array([tip[0], left[0]]), np.array([tip[1], left[1]]))
    told = np.stack([field.distance, field.u, field.v])
    np.testing.assert_allclose(told, [[0, 0], [1, 0], [0, 1]], atol=1e-9)


def test_a_slab_may_be_concave():
    arrow = Slab(np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 10.0], [5.0, 3.0], [0.0, 10.0]]), 0.0, AXIS)
    x, y = np.array([5.0, 5.0, 1.0, 9.0, -1.0]), np.array([1.0, 7.0, 5.0, 5.0, 5.0])
    assert (arrow.field(x, y).distance < 0).tolist() == [True, False, True, True, False]


def test_distance_of_a_tube_is_euclidean():
    tube = Tube(np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 10.0]]), np.full(3, 2.0))
    field = tube.field(np.array([5.0, 5.0, 10.0, 13.0, -3.0]), np.array([0.0, -3.0, 5.0, 5.0, 0.0]))
    np.testing.assert_allclose(field.distance, [-2, 1, -2, 1, 1])
    np.testing.assert_allclose(field.u, [0.25, 0.25, 0.75, 0.75, 0.0])
    np.testing.assert_allclose(np.sign(field.v[[1, 3]]), [1, 1])  # above a line to the right is its left


def test_locate_inverts_place_inside_a_bent_tube():
    t = np.linspace(0, 1, 11)
    tube = Tube(np.stack([40 * t, 12 * np.sin(2.5 * t)], 1), 3 + 2 * np.sin(np.pi * t))
    grid = np.stack(np.meshgrid(np.linspace(-0.03, 1.03, 31), np.linspace(-0.9, 0.9, 9)), -1).reshape(-1, 2)
    xy = tube.place(grid)
    np.testing.assert_allclose(tube.place(tube.locate(xy)), xy, atol=1e-4)
    np.testing.assert_allclose(tube.locate(xy), grid, atol=1e-3)


def test_the_last_layer_is_on_top_at_points_and_pixels_alike():
    a = layer(Tube(np.array([[8.0, 10.0], [24.0, 10.0]]), np.full(2, 5.0)))
    b = layer(Slab(np.array([[18.0, 4.0], [30.0, 4.0], [30.0, 16.0], [18.0, 16.0]]), 1.0, AXIS), owner=-1)
    top = top_map([a, b], (21, 40))
    y, x = np.mgrid[:21, :40]
    at = top_at([a, b], np.stack([x.ravel(), y.ravel()], 1).astype(float)).reshape(21, 40)
    assert (top == at).mean() > 0.99  # float32 against float64 on the outline
    assert top[10, 10] == 0 and top[10, 22] == 1 and top[0, 0] == -1


def test_layers_outside_the_canvas_change_nothing():
    canvas = np.zeros((8, 8, 3), np.float32)
    for centre in ([-20.0, 3.0], [3.0, 30.0], [50.0, -50.0]):
        paint(canvas, [layer(Tube(np.array([centre, centre]), np.full(2, 4.0)))])
    assert not canvas.any()
