import numpy as np
import pytest

from asterism.metrics import oks
from asterism.metrics.oks_nms import THRESHOLD, greedy, rescored, similarity, soft

SIGMA = (0.05, 0.1)


def people(*shifts):
    """Persons of two points, each a copy of the first moved to the right."""
    xy = np.array([[[10.0, 10.0], [30.0, 50.0]]] * len(shifts))
    xy[..., 0] += np.array(shifts, float)[:, None]
    return xy, np.full(len(shifts), 400.0)


def test_similarity_is_that_of_the_formula_symmetric_and_one_with_itself():
    xy, area = people(0.0, 4.0, 500.0)
    area[1] = 800.0
    alike = similarity(xy, area, SIGMA)
    each = [np.exp(-16 / (2 * (2 * s) ** 2 * 600)) for s in SIGMA]
    assert alike[0, 1] == pytest.approx(np.mean(each))
    assert alike[0, 2] == pytest.approx(0)
    np.testing.assert_array_equal(alike, alike.T)
    np.testing.assert_array_equal(np.diag(alike), 1)


def test_similarity_is_the_oks_of_the_metric_at_equal_areas():
    random = np.random.default_rng(0)
    xy, area = random.uniform(0, 40, (4, 17, 2)), np.full(4, 900.0)
    every, none = np.ones((4, 17), bool), np.zeros(4, bool)
    truth = oks.Truth(np.zeros(4, np.int64), xy, every, area, np.zeros((4, 4)), none)
    want = oks.oks(truth, xy, oks.COCO_SIGMAS)
    np.testing.assert_allclose(similarity(xy, area, oks.COCO_SIGMAS), want, atol=1e-12)


def test_only_points_that_both_see_are_compared():
    xy, area = people(0.0, 0.0, 0.0)
    xy[1, 0] += 300  # a point that the second does not see
    counts = np.array([[True, True], [False, True], [True, False]])
    alike = similarity(xy, area, SIGMA, counts)
    assert alike[0, 1] == pytest.approx(1)  # either one's points alone would say 0.5
    assert similarity(xy, area, SIGMA)[0, 1] == pytest.approx(0.5)
    assert alike[1, 2] == 0  # nothing in common


def test_the_best_of_a_crowd_of_copies_stays():
    xy, area = people(0.0, 0.2, 100.0, 100.1, 0.1)
    score = np.array([0.6, 0.9, 0.3, 0.8, 0.7])
    alike = similarity(xy, area, SIGMA)
    assert greedy(alike, score).tolist() == [1, 3]
    assert greedy(alike, score, threshold=1.0).tolist() == [1, 3, 4, 0, 2]


def test_what_was_suppressed_suppresses_nothing():
    alike = np.array([[1.0, 0.95, 0.5], [0.95, 1.0, 0.95], [0.5, 0.95, 1.0]])
    assert greedy(alike, np.array([0.9, 0.8, 0.7])).tolist() == [0, 2]
    at_threshold = np.array([[1.0, THRESHOLD], [THRESHOLD, 1.0]])
    assert greedy(at_threshold, np.array([0.5, 0.5])).tolist() == [0, 1]


def test_soft_takes_away_what_the_formula_says_again_and_again():
    alike = np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.6], [0.0, 0.6, 1.0]])
    index, score = soft(alike, np.array([1.0, 0.9, 0.5]))
    assert index.tolist() == [0, 2, 1]
    after_first = 0.9 * np.exp(-0.81 / 0.9)
    np.testing.assert_allclose(score, [1.0, 0.5, after_first * np.exp(-0.36 / 0.9)])
    assert soft(alike, np.array([1.0, 0.9, 0.5]), most=2)[0].tolist() == [0, 2]


def test_nothing_found_is_nothing_kept():
    alike = similarity(np.zeros((0, 2, 2)), np.zeros(0), SIGMA)
    assert greedy(alike, np.zeros(0)).shape == (0,)
    assert soft(alike, np.zeros(0))[1].shape == (0,)
    assert rescored(np.zeros(0), np.zeros((0, 2))).shape == (0,)


def test_rescoring_counts_the_sure_points_only():
    score = np.array([[0.9, 0.5, 0.2, 0.0], [0.2, 0.1, 0.0, 0.2]])
    np.testing.assert_allclose(rescored(np.array([0.5, 1.0]), score), [0.5 * 0.7, 0.0])


def test_sigmas_of_other_points_are_refused():
    with pytest.raises(ValueError, match="3 sigmas for 2 points"):
        similarity(*people(0.0), (0.1, 0.1, 0.1))
