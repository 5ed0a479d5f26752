"""The permutation of planted landmarks under mirroring comes back, and so does the error."""

import numpy as np
import pytest

from asterism.metrics.mirror import back, learn_swap, mirror_error, mirror_score

SWAP = (1, 0, 2, 5, 4, 3, 6)
WIDTH = 64


def planted(n, noise, seed=0, width=WIDTH):
    """Landmarks of a symmetric face that moves and turns, and what is found in the mirror images."""
    rng = np.random.default_rng(seed)
    shape = np.array([[-12, -8], [12, -8], [0, 2], [-8, 12], [0, 14], [8, 12], [0, -20]], float)
    angle, shift = rng.uniform(-0.4, 0.4, n), rng.uniform(-6, 6, (n, 1, 2))
    c, s = np.cos(angle), np.sin(angle)
    turn = np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], -2)
    xy = shape @ np.swapaxes(turn, 1, 2) + shift + 32
    mirrored = back(xy, width)[:, list(SWAP)]  # a detector that knows its left: partners exchanged
    return xy + rng.normal(0, noise, xy.shape), mirrored + rng.normal(0, noise, xy.shape)


def test_mirroring_twice_changes_nothing():
    xy = planted(5, 1.0)[0]
    np.testing.assert_allclose(back(back(xy, WIDTH), WIDTH), xy)
    widths = np.array([64.0, 70.0, 33.0, 10.0, 128.0])
    np.testing.assert_allclose(back(xy, widths)[:, :, 0] + xy[:, :, 0], np.tile(widths[:, None] - 1, 7))


@pytest.mark.parametrize("noise", [0.0, 1.0, 3.0])
def test_the_planted_permutation_is_recovered(noise):
    points, mirrored = planted(60, noise)
    swap = learn_swap(points, mirrored, WIDTH)
    assert swap == SWAP
    assert all(swap[swap[k]] == k for k in range(7))


def test_it_is_recovered_although_points_get_lost():
    points, mirrored = planted(60, 1.0)
    rng = np.random.default_rng(1)
    lost = rng.random(mirrored.shape[:2]) < 0.3
    mirrored[lost] = rng.uniform(0, WIDTH, (int(lost.sum()), 2))
    assert learn_swap(points, mirrored, WIDTH) == SWAP


def test_any_points_give_an_involution():
    rng = np.random.default_rng(0)
    for k in (1, 2, 5, 9):
        swap = learn_swap(*rng.uniform(0, WIDTH, (2, 10, k, 2)), WIDTH)
        assert sorted(swap) == list(range(k)) and all(swap[swap[i]] == i for i in range(k))


def test_error_in_closed_form():
    points = np.array([[[10.0, 5.0], [50.0, 5.0]]])
    mirrored = np.array([[[13.0, 9.0], [53.0, 5.0]]])  # back: (50, 9) and (10, 5)
    np.testing.assert_allclose(mirror_error(points, mirrored, WIDTH, (1, 0)), [0.0, 4.0])
    np.testing.assert_allclose(mirror_error(points, mirrored, WIDTH, (0, 1)), [np.hypot(40, 4), 40.0])


def test_score_is_judged_on_other_pictures_than_it_is_learned_from():
    points, mirrored = planted(200, 1.0)
    score = mirror_score(points, mirrored, WIDTH)
    assert score.swap == SWAP
    # Both points have normal noise of 1 px per axis: the distance is Rayleigh with sigma sqrt 2.
    assert score.error == pytest.approx(np.sqrt(2) * np.sqrt(np.pi / 2), rel=0.1)
    assert score.error_without_swap > 5 * score.error
    assert len(score.per_point) == 7 and np.mean(score.per_point) == pytest.approx(score.error)
    with pytest.raises(ValueError, match="2 pictures"):
        mirror_score(points[:1], mirrored[:1], WIDTH)
