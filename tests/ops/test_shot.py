"""Local frames, SHOT and grids of smoothed density: hand-worked cases, turned clouds, slow twins."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from asterism.ops.density_grid import density_grids
from asterism.ops.local_frame import shot_frames, toldi_frames
from asterism.ops.shot import AROUND, BINS, LENGTH, OUT, UP, _histograms, shot

FRAMES = [shot_frames, toldi_frames]


def bumpy(n=400, seed=0):
    """Three sheets that bend differently: no point's surroundings are alike in two directions."""
    dice = np.random.default_rng(seed)
    xy = dice.uniform(-1, 1, (n, 2))
    z = 0.5 * np.sin(3 * xy[:, 0] + xy[:, 1]) + 0.2 * xy[:, 1] ** 2 + 0.02 * dice.normal(size=n)
    return np.concatenate([xy, z[:, None]], axis=1)


def units(n, seed=1):
    way = np.random.default_rng(seed).normal(size=(n, 3))
    return way / np.linalg.norm(way, axis=1, keepdims=True)


@pytest.mark.parametrize("frames_of", FRAMES)
def test_frames_are_rotations_and_turn_with_the_cloud(frames_of):
    points, turn = bumpy(), Rotation.random(rng=np.random.default_rng(2)).as_matrix()
    frames = frames_of(points, points[:50], 0.8)
    products = np.einsum("mab,mcb->mac", frames, frames)
    np.testing.assert_allclose(products, np.tile(np.eye(3), (50, 1, 1)), atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(frames), 1, atol=1e-9)
    turned = frames_of(7 * points @ turn.T + 5, 7 * points[:50] @ turn.T + 5, 5.6)
    np.testing.assert_allclose(turned, frames @ turn.T, atol=1e-6)


def test_the_frame_of_shot_by_hand():
    """Most scatter along x, least along z, and more neighbours on their positive sides."""
    steps = np.array([[4.0, 1, 0.1], [3, -1, 0.2], [2, 0.5, 0.1], [-4, 1, -0.1], [1, -1.5, 0.1]])
    (frame,) = shot_frames(np.concatenate([np.zeros((1, 3)), steps]), np.zeros((1, 3)), 6.0)
    weight = 6 - np.linalg.norm(steps, axis=1)
    scatter = (weight[:, None, None] * steps[:, :, None] * steps[:, None]).sum(0) / weight.sum()
    value, axes = np.linalg.eigh(scatter)
    assert value[0] < value[1] < value[2]
    for axis, column in ((0, 2), (2, 0)):
        along = frame[axis] @ axes[:, column]
        assert abs(abs(along) - 1) < 1e-9
        assert (steps @ frame[axis] >= 0).sum() >= 3


def test_where_as_many_are_on_both_sides_the_middle_distances_vote():
    far = np.array([[9.0, 0.3, 0.1], [-9.5, 0.4, 0.1], [-8.5, -1, 0.1]])
    middle = np.array([[4.0, 1, 0.2], [4.2, -1, 0.1], [4.4, 0.2, 0.3]])
    near = np.array([[-1.0, 0.3, 0.1], [1.1, -0.2, 0.1]])
    steps = np.concatenate([far, middle, near])  # 5 and 3: no tie
    tied = np.concatenate([far, middle, near * [[1, 1, 1], [-1, 1, 1]]])  # 4 and 4
    for cloud in (steps, tied):
        (frame,) = shot_frames(cloud, np.zeros((1, 3)), 12.0)
        assert frame[0, 0] > 0.9


def test_the_frame_of_toldi_by_hand():
    """A flat sheet with a bump above it on the right: z looks away from the bump, x towards it."""
    u, v = np.meshgrid(np.linspace(-1, 1, 21), np.linspace(-1, 1, 21))
    sheet = np.stack([u, v, np.zeros_like(u)], axis=-1).reshape(-1, 3)
    bump = np.array([[0.6, 0.0, 0.2], [0.6, 0.1, 0.2], [0.6, -0.1, 0.2]])
    (frame,) = toldi_frames(np.concatenate([sheet, bump]), np.zeros((1, 3)), 0.9)
    np.testing.assert_allclose(frame, [[1, 0, 0], [0, -1, 0], [0, 0, -1]], atol=1e-9)


@pytest.mark.parametrize("frames_of", FRAMES)
def test_a_point_alone_has_no_frame(frames_of):
    points = np.concatenate([bumpy(), [[50.0, 0, 0]]])
    frames = frames_of(points, points[-2:], 0.9)
    assert frames[0].any() and not frames[1].any()
    assert not shot(points, units(401), points[-1:], 0.9).any()
    assert not density_grids(points, points[-1:], frames[1:], 0.9, 4, 1.0, 99).any()


def test_one_count_by_hand():
    """At the centre of a part and of a bin nothing is shared; halfway it is."""
    eighth = 2 * np.pi / AROUND
    way = np.array([[np.cos(eighth / 2), np.sin(eighth / 2), 1.0]]) / np.sqrt(2)  # 45 degrees up
    (told,) = _histograms(way, np.array([0.25]), np.array([1.0]), np.array([0]), 1)
    parts = told.reshape(AROUND, UP, OUT, BINS)
    assert parts[AROUND // 2, 1, 0, BINS - 1] == pytest.approx(1) and (told > 1e-9).sum() == 1
    (told,) = _histograms(way, np.array([0.5]), np.array([0.9]), np.array([0]), 1)
    np.testing.assert_allclose(told.reshape(AROUND, UP, OUT, BINS)[AROUND // 2, 1, :, -2:], 0.5, atol=1e-9)


def test_shot_is_its_slow_twin():
    points, normal, radius = bumpy(), units(400), 0.7
    found = shot(points, normal, points[:6], radius)
    for p, frame, told in zip(points[:6], shot_frames(points, points[:6], radius), found):
        total = np.zeros((AROUND, UP, OUT, BINS))
        for q, n in zip(points, normal):
            x, y, z = frame @ (q - p)
            d = np.linalg.norm(q - p)
            if 0 < d <= radius:
                turn = (np.arctan2(y, x) + np.pi) / (2 * np.pi) * AROUND - (np.arange(AROUND) + 0.5)
                turn = np.abs(turn - AROUND * np.round(turn / AROUND))
                up = np.abs(np.degrees(np.arcsin(z / d)) - [-45, 45]) / 90
                out = np.abs(d / radius - [0.25, 0.75]) / 0.5
                bins = np.abs(frame[2] @ n - np.linspace(-1, 1, BINS)) / 0.2
                shares = [np.maximum(1 - gap, 0) for gap in (turn, up, out, bins)]
                total += np.einsum("a,b,c,d->abcd", *shares)
        np.testing.assert_allclose(told, total.ravel() / np.linalg.norm(total), atol=1e-6)


def test_shot_does_not_turn_with_the_cloud_and_knows_no_unit():
    points, normal = bumpy(), units(400)
    turn = Rotation.random(rng=np.random.default_rng(3)).as_matrix()
    told = shot(points, normal, points, 0.7)
    assert told.shape == (400, LENGTH) and LENGTH == 352
    np.testing.assert_allclose(np.linalg.norm(told, axis=1), 1, atol=1e-6)
    moved = 1e-3 * points @ turn.T + 9
    np.testing.assert_allclose(shot(moved, normal @ turn.T, moved, 0.7e-3), told, atol=1e-5)


def test_the_grid_of_one_point_by_hand():
    """The grid of 4 cells from -1 to 1 has its centres at +-0.25 and +-0.75."""
    points = np.array([[0.25, 0.25, 0.25]])
    (grid,) = density_grids(points, np.zeros((1, 3)), np.eye(3)[None], 1.0, 4, 0.5, 99)
    axis = np.exp(-0.5 * (np.array([-1.0, -0.5, 0, 0.5]) / 0.25) ** 2) * [
        0,
        1,
        1,
        1,
    ]  # one is 4 widths off
    want = np.einsum("a,b,c->abc", axis, axis, axis)
    np.testing.assert_allclose(grid, want / want.sum(), atol=1e-7)


def test_the_grid_does_not_ask_how_densely_the_cloud_was_sampled():
    points, where = bumpy(), bumpy()[:20]
    frames = shot_frames(points, where, 0.8)
    once = density_grids(points, where, frames, 0.5, 6, 0.9, 999)
    np.testing.assert_allclose(once.sum((1, 2, 3)), 1, atol=1e-5)
    thrice = density_grids(np.repeat(points, 3, axis=0), where, frames, 0.5, 6, 0.9, 9999)
    np.testing.assert_allclose(thrice, once, atol=1e-6)
    half = density_grids(points, where, frames, 0.5, 6, 0.9, 50)
    assert np.abs(half - once).sum((1, 2, 3)).mean() < 0.5 < np.abs(once - once[::-1]).sum((1, 2, 3)).mean()


def test_of_too_many_neighbours_every_so_many_th_by_distance_is_taken():
    points = np.linspace([0.0, 0, 0], [0.89, 0, 0], 90)[::-1]
    where, frame = np.zeros((1, 3)), np.eye(3)[None]
    few = density_grids(points, where, frame, 1.0, 6, 0.5, 3)
    by_hand = density_grids(np.array([[0.0, 0, 0], [0.3, 0, 0], [0.6, 0, 0]]), where, frame, 1.0, 6, 0.5, 3)
    np.testing.assert_allclose(few, by_hand, atol=1e-6)
