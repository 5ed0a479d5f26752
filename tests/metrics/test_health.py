"""Health scores against closed forms, and the failures they are there to catch."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asterism.metrics import health as h
from asterism.metrics.health import Limits, Objects

RNG = np.random.default_rng


def _turned(xy, angle):
    """N P 2 turned row by row about the origin."""
    z = (xy[..., 0] + 1j * xy[..., 1]) * np.exp(1j * angle)[:, None]
    return np.stack([z.real, z.imag], -1)


def _scene(n=80, seed=0, largest_angle=np.pi):
    """An animal with a bending tail, 50 px long: its outline points and where it is."""
    rng = RNG(seed)
    bend = rng.normal(0, 0.5, n)
    tip = np.stack([-15 - 15 * np.cos(bend), 15 * np.sin(bend)], -1)
    body = np.array([[20.0, 0], [10, 8], [10, -8], [-10, 8], [-10, -8], [-15, 0]])
    parts = np.concatenate([np.broadcast_to(body, (n, 6, 2)), tip[:, None]], 1)
    angle, centre = rng.uniform(-largest_angle, largest_angle, n), rng.uniform(60, 240, (n, 2))
    points = _turned(parts + rng.normal(0, 0.4, parts.shape), angle) + centre[:, None]
    return points, Objects(centre=centre, angle=angle, size=np.full(n, 50.0))


def _corners(points):
    low, high = points.min(1), points.max(1)
    return np.stack(
        [low, np.stack([high[:, 0], low[:, 1]], -1), high, np.stack([low[:, 0], high[:, 1]], -1)], 1
    )


def _ring(objects, p=8):
    """Fixed in the upright crop around the object."""
    a = np.linspace(0, 2 * np.pi, p, endpoint=False)
    return objects.centre[:, None] + 25 * np.stack([np.cos(a), np.sin(a)], -1)


# ---------------------------------------------------------------------------------- closed forms


def test_the_objects_own_frame():
    objects = Objects(np.array([[10.0, 20.0]]), np.array([np.pi / 2]), np.array([4.0]))
    # Its x axis points down the picture: 2 px below the centre is half a size along x.
    assert h.in_object(np.array([[[10.0, 22.0], [6.0, 20.0]]]), objects) == pytest.approx(
        np.array([[[0.5, 0.0], [0.0, 1.0]]])
    )


def test_spread_by_hand():
    objects = Objects(np.zeros((2, 2)), np.zeros(2), np.full(2, 10.0))
    points = np.array([[[3.0, 0.0], [1.0, 1.0]], [[-3.0, 0.0], [1.0, 1.0]]])
    assert h.spread(points, objects).tolist() == [0.3, 0.0]


def test_follow_is_one_on_the_object_and_zero_on_the_background():
    points, objects = _scene(largest_angle=0.0)
    still = np.broadcast_to(np.array([[30.0, 40.0]]), (80, 1, 2))
    half = 0.5 * objects.centre[:, None]
    value = h.follow(np.concatenate([points, still, half], 1), objects)
    assert value[:7] == pytest.approx(np.ones(7), abs=0.03)
    assert value[7:] == pytest.approx([0.0, 0.5])
    fixed = Objects(np.zeros((80, 2)), objects.angle, objects.size)
    assert h.follow(points, fixed) is None


def test_turning():
    points, objects = _scene()
    own = np.abs(np.exp(1j * objects.angle).mean())
    assert h.turning(points, objects) > 0.99
    assert h.turning(_ring(objects), objects) == pytest.approx(own)
    assert h.turning(_corners(points), objects) < own + 0.1
    _, upright = _scene(largest_angle=0.2)
    assert h.turning(_ring(upright), upright) is None
    assert h.turning(points[:, :1], objects) is None


def test_pairs_extent_by_hand():
    objects = Objects(np.zeros((2, 2)), np.zeros(2), np.array([10.0, 20.0]))
    points = np.array([[[0.0, 0.0], [3.0, 4.0]], [[0.0, 0.0], [0.0, 30.0]]])
    assert h.pair_distances(points, objects) == pytest.approx(np.array([[0, 1.0], [1.0, 0]]))
    assert h.extent(points, objects) == pytest.approx((0.4 + 1.5) / 2)


def test_on_object_uses_the_pixel_whose_centre_is_nearest_and_outside_is_off():
    mask = np.zeros((1, 4, 6), bool)
    mask[0, 2, 5] = True
    points = np.array([[[5.0, 2.0], [5.4, 1.6], [4.4, 2.0], [5.6, 2.0], [-1.0, 2.0], [2.0, 5.0]]])
    assert h.on_object(points, mask).tolist() == [1, 1, 0, 0, 0, 0]


def test_coverage_by_hand():
    mask = np.zeros((2, 1, 10), bool)
    mask[0] = True  # the second picture has no object and is left out
    objects = Objects(np.zeros((2, 2)), np.zeros(2), np.full(2, 10.0))
    points = np.zeros((2, 1, 2))
    assert h.coverage(points, mask, objects, reach=0.3) == pytest.approx(0.4)  # pixels 0..3
    assert h.coverage(points, np.zeros_like(mask), objects) == 0.0


def test_jitter_of_steady_motion_rest_and_noise():
    t = np.arange(4001.0)
    steady = np.stack([2 * t, -t], -1)
    rest = np.zeros((4001, 2))
    noise = RNG(0).normal(0, 1.5, (4001, 2))
    value = h.jitter(np.stack([steady, rest, noise], 1), size=50.0)
    assert value.size[:2] == (0.0, 0.0)
    assert value.motion[:2] == (0.0, None)
    # A second difference of noise has variance 6 sigma² per coordinate; its length is Rayleigh distributed.
    assert value.size[2] == pytest.approx(1.5 * np.sqrt(6) * np.sqrt(2 * np.log(2)) / 50, rel=0.05)
    assert value.motion[2] == pytest.approx(np.sqrt(3), rel=0.05)
    with pytest.raises(ValueError, match="at least 3 frames"):
        h.jitter(noise[:2, None], size=50.0)


def test_equivariance_error_by_hand():
    points = np.array([[[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.0], [3.0, 4.0]]])
    found = 2 * points + np.array([[[0.0, 0.0], [3.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]])
    value = h.equivariance_error(points, found, lambda xy: 2 * xy, np.array([10.0, 20.0]))
    assert value.tolist() == [0.0, 0.25]


@given(st.integers(0, 1000), st.floats(0.1, 10), st.floats(-300, 300), st.floats(-3, 3))
@settings(max_examples=20, deadline=None)
def test_scores_do_not_depend_on_where_the_camera_is(seed, scale, shift, angle):
    points, objects = _scene(20, seed)
    moved = scale * _turned(points, np.full(20, angle)) + shift
    centre = scale * _turned(objects.centre[:, None], np.full(20, angle))[:, 0] + shift
    elsewhere = Objects(centre, objects.angle + angle, objects.size * scale)
    assert h.spread(moved, elsewhere) == pytest.approx(h.spread(points, objects))
    assert h.pair_distances(moved, elsewhere) == pytest.approx(h.pair_distances(points, objects))
    assert h.turning(moved, elsewhere) == pytest.approx(h.turning(points, objects))
    assert h.follow(moved, elsewhere) == pytest.approx(h.follow(points, objects))


# ---------------------------------------------------------------------------------- what it catches


def _under_rotation(detect, points, objects):
    """Equivariance error when every picture is turned by 40 degrees about its origin."""
    turn = np.full(len(points), np.deg2rad(40))
    centre = _turned(objects.centre[:, None], turn)[:, 0]
    turned = Objects(centre, objects.angle + turn[0], objects.size)
    found = detect(_turned(points, turn), turned)
    return h.equivariance_error(detect(points, objects), found, lambda xy: _turned(xy, turn), objects.size)


def test_true_parts_are_healthy_and_rings_and_corners_are_not():
    points, objects = _scene()
    score = np.ones(points.shape[:2])
    detectors = {
        "parts": lambda xy, _: xy,
        "corners": lambda xy, _: _corners(xy),
        "ring": lambda _, o: _ring(o),
    }
    report = {}
    for name, detect in detectors.items():
        found = detect(points, objects)
        error = _under_rotation(detect, points, objects)
        report[name] = h.health(found, np.ones(found.shape[:2]), objects, Limits(), equivariance=error)
    assert report["parts"].healthy == tuple(range(score.shape[1]))
    assert report["parts"].turning > 0.99
    for name in ("corners", "ring"):
        assert report[name].healthy == ()
        assert all("loose" in words for words in report[name].flags)
        assert report[name].turning < 0.3
        assert min(report[name].spread) > 2 * max(report["parts"].spread)


def test_a_ring_in_the_objects_own_frame_is_dead():
    _, objects = _scene()
    ring = _turned(_ring(Objects(np.zeros((80, 2)), objects.angle, objects.size)), objects.angle)
    found = h.health(ring + objects.centre[:, None], np.ones((80, 8)), objects, Limits())
    assert all("dead" in words for words in found.flags)


def test_background_absent_twin_and_off_points_are_named():
    points, objects = _scene()
    rock = np.broadcast_to(np.array([[5.0, 5.0]]), (80, 1, 2))
    twin = points[:, :1] + 0.5
    found = np.concatenate([points[:, :3], rock, twin], 1)
    score = np.full(found.shape[:2], 0.8)
    score[:, 2] = 0.01
    mask = np.zeros((80, 300, 300), bool)
    rows, columns = np.ogrid[:300, :300]
    for i, (x, y) in enumerate(objects.centre):
        mask[i] = (columns - x) ** 2 + (rows - y) ** 2 < 25**2
    report = h.health(found, score, objects, Limits(), mask=mask, jitter=h.jitter(found, 50.0))
    assert report.flags == ((), (), ("absent",), ("background", "off the object"), ())
    assert [pair[:2] for pair in report.twins] == [(0, 4)]
    assert report.healthy == (0, 1)
    assert 0 < report.coverage < 0.5
    json.dumps(asdict(report), allow_nan=False)


# ---------------------------------------------------------------------------------- boxes and how many points


def _masked(n=60, seed=0, largest_angle=np.pi):
    """A scene with a mask: a long body with a snout, seen from all sides."""
    points, objects = _scene(n, seed, largest_angle)
    y, x = np.mgrid[:300, :300]
    masks = np.zeros((n, 300, 300), bool)
    for i, ((cx, cy), a) in enumerate(zip(objects.centre, objects.angle)):
        u = (x - cx) * np.cos(a) + (y - cy) * np.sin(a)
        v = (y - cy) * np.cos(a) - (x - cx) * np.sin(a)
        masks[i] = (u / 22) ** 2 + (v / 9) ** 2 <= 1
    return points, objects, masks


def _sides(masks):
    """Corners of each box, the middles of its edges, and the outermost pixel on its left."""
    out = []
    for rows in masks:
        xy = np.argwhere(rows)[:, ::-1].astype(float)
        low, high, middle = xy.min(0), xy.max(0), (xy.min(0) + xy.max(0)) / 2
        corners = [low, (high[0], low[1]), high, (low[0], high[1])]
        edges = [(low[0], middle[1]), (middle[0], low[1])]
        out.append([*corners, *edges, xy[xy[:, 0].argmin()]])
    return np.array(out)


def test_points_of_the_bounding_box_are_named_and_parts_at_the_ends_are_not():
    points, objects, masks = _masked()
    snout = _turned(np.full((60, 1, 2), (22.0, 0.0)), objects.angle) + objects.centre[:, None]
    every = np.concatenate([points, snout, objects.centre[:, None] + 0.3, _sides(masks)], 1)
    noisy = every + RNG(1).normal(0, 0.7, every.shape)
    found = h.health(noisy, np.ones(every.shape[:2]), objects, Limits(), mask=masks)
    named = ["bounding-box" in words for words in found.flags]
    assert named == [False] * 9 + [True] * 7
    assert max(found.boxed[9:]) < 0.08
    assert min(np.array(found.boxed)[[0, 5, 6, 7]]) > 0.2  # nose, tail base, tail tip, snout


def test_a_box_says_nothing_of_an_object_that_does_not_turn():
    points, objects, masks = _masked(largest_angle=0.2)
    assert h.boxed(points, masks, objects) is None
    found = h.health(points, np.ones(points.shape[:2]), objects, Limits(), mask=masks)
    assert found.boxed is None and not any("bounding-box" in words for words in found.flags)
    assert h.boxed(points, np.zeros_like(masks), objects) is None


def test_how_many_points_cover_an_object():
    line = np.zeros((20, 120), bool)
    line[10, 10:110] = True
    assert h.points_to_cover(line, 100.0, reach=0.05, share=1.0) in (10, 11)  # each covers 11 of 100 pixels
    assert h.points_to_cover(line, 100.0) == 3  # three spans of 31 of 90 pixels
    y, x = np.mgrid[:80, :80] - 40
    assert h.points_to_cover(np.hypot(x, y) <= 30, 60.0) > 8
    assert h.points_to_cover(np.hypot(x, y) <= 4, 60.0) == 1
    assert h.points_to_cover(line & False, 100.0) == 0
