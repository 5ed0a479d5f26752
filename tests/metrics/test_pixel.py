"""Pixel errors by hand, and what must not change them."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asterism.metrics import pixel

# Two images, three points; the second image lacks point 2. Gaps 3-4-5, 0, 6-8-10 and 5-12-13, 1.
TRUTH = np.array([[[0.0, 0.0], [10.0, 10.0], [20.0, 0.0]], [[5.0, 5.0], [5.0, 6.0], [0.0, 0.0]]])
FOUND = TRUTH + np.array([[[3.0, 4.0], [0.0, 0.0], [-6.0, 8.0]], [[5.0, -12.0], [0.0, 1.0], [99.0, 99.0]]])
LABELLED = np.array([[True, True, True], [True, True, False]])


def test_distances_by_hand_and_unlabelled_points_are_never_looked_at():
    found = FOUND.copy()
    found[1, 2] = np.nan
    assert pixel.distances(found, TRUTH, LABELLED).tolist() == [[5, 0, 10], [13, 1, 0]]


def test_a_missing_prediction_of_a_labelled_point_is_an_error_and_not_left_out():
    found = FOUND.copy()
    found[1, 0] = np.nan
    with pytest.raises(ValueError, match="row 1, point 0"):
        pixel.distances(found, TRUTH, LABELLED)


def test_summary_by_hand():
    distance = pixel.distances(FOUND, TRUTH, LABELLED)
    summary = pixel.summarise(distance, LABELLED, np.random.default_rng(0))
    assert (summary.n_images, summary.n) == (2, 5)
    assert summary.mean_px == pytest.approx(29 / 5)
    assert summary.median_px == 5.0
    assert summary.p90_px == pytest.approx(10 + 0.6 * 3)  # linear between the 4th and the 5th of five
    assert summary.rmse_px == pytest.approx(np.sqrt((25 + 0 + 100 + 169 + 1) / 5))
    assert summary.per_point_px == (9.0, 0.5, 10.0)
    # Two images can only be drawn as (1,1), (1,2), (2,2): means 5, 29/5, 7.
    assert summary.ci95 == pytest.approx((5.0, 7.0))
    json.dumps(asdict(summary), allow_nan=False)


def test_a_point_that_nobody_labelled_has_no_mean_and_nothing_labelled_is_an_error():
    labelled = LABELLED & np.array([True, True, False])
    distance = pixel.distances(FOUND, TRUTH, labelled)
    assert pixel.summarise(distance, labelled, np.random.default_rng(0)).per_point_px[2] is None
    with pytest.raises(ValueError, match="no point is labelled"):
        pixel.summarise(distance, np.zeros_like(labelled), np.random.default_rng(0))


def test_rows_of_one_image_are_resampled_together():
    # Ten rows of one image: there is one way to resample one image, so the interval has no width.
    distance = np.arange(10.0)[:, None]
    labelled = np.ones((10, 1), bool)
    one = pixel.summarise(distance, labelled, np.random.default_rng(0), np.zeros(10, np.int64))
    assert one.n_images == 1
    assert one.ci95 == (4.5, 4.5)
    apart = pixel.summarise(distance, labelled, np.random.default_rng(0))
    assert apart.ci95[0] < 3.5 < 5.5 < apart.ci95[1]


def test_the_interval_covers_the_truth_about_95_times_in_a_hundred():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        shared = rng.exponential(4.0, size=(60, 1))  # points of an image err together; mean 4 + 1
        distance = shared + rng.exponential(1.0, size=(60, 5))
        low, high = pixel.bootstrap_interval(
            distance.sum(1)[None], np.full((1, 60), 5.0), rng, replicates=200
        )
        covered += low <= 5.0 <= high
    assert 180 <= covered <= 198  # binomial: 190 +- 3; percentile intervals of a skewed mean run a bit short


def test_repetitions_widen_the_interval_only_when_they_differ():
    rng = np.random.default_rng(2)
    images = rng.exponential(3.0, size=40)
    same = pixel.bootstrap_interval(np.tile(images, (8, 1)), np.ones((8, 40)), np.random.default_rng(3))
    offsets = np.linspace(-3, 3, 8)[:, None]
    apart = pixel.bootstrap_interval(images + offsets, np.ones((8, 40)), np.random.default_rng(3))
    assert apart[1] - apart[0] > 1.3 * (same[1] - same[0])


def test_normalisers_by_hand():
    assert pixel.points_side(TRUTH, LABELLED).tolist() == [20.0, 1.0]
    nothing = np.zeros_like(LABELLED)
    assert pixel.points_side(TRUTH, nothing).tolist() == [0.0, 0.0]
    box = np.array([[3.0, 4.0, 30.0, 50.0], [0.0, 0.0, 0.0, 0.0]])
    has_box = np.array([True, False])
    assert pixel.object_side(TRUTH, LABELLED, box, has_box).tolist() == [50.0, 1.0]
    assert pixel.between(TRUTH, LABELLED, 0, 2).tolist() == [20.0, 0.0]


def test_pck_by_hand_counts_the_threshold_itself_and_leaves_out_rows_without_a_normaliser():
    distance = pixel.distances(FOUND, TRUTH, LABELLED)
    side = np.array([50.0, 0.0])
    assert pixel.pck(distance, LABELLED, side, (0.05, 0.1, 0.2)) == {
        "0.05": pytest.approx(1 / 3),
        "0.1": pytest.approx(2 / 3),
        "0.2": 1.0,
    }
    assert pixel.pck(distance, LABELLED, np.array([50.0, 130.0]))["0.1"] == pytest.approx(4 / 5)
    with pytest.raises(ValueError, match="normaliser"):
        pixel.pck(distance, LABELLED, np.zeros(2))


def test_nme_by_hand():
    distance = pixel.distances(FOUND, TRUTH, LABELLED)
    assert pixel.nme(distance, LABELLED, np.array([10.0, 100.0])) == pytest.approx((0.5 + 1.0 + 0.14) / 5)
    assert pixel.nme(distance, LABELLED, np.array([0.0, 100.0])) == pytest.approx(0.07)


@given(st.integers(0, 10**6), st.floats(0.01, 100), st.floats(-500, 500), st.floats(-500, 500))
@settings(max_examples=30, deadline=None)
def test_shifts_change_nothing_and_scales_scale(seed, scale, dx, dy):
    rng = np.random.default_rng(seed)
    truth, noise = rng.uniform(0, 100, (6, 4, 2)), rng.normal(0, 5, (6, 4, 2))
    labelled = rng.random((6, 4)) < 0.7
    labelled[0, :2] = True
    shift = np.array([dx, dy])
    plain = pixel.distances(truth + noise, truth, labelled)
    moved = pixel.distances((truth + noise) * scale + shift, truth * scale + shift, labelled)
    assert moved == pytest.approx(plain * scale, abs=1e-9 * max(scale, 1) * 1000)
    side = pixel.points_side(truth, labelled)
    side_moved = pixel.points_side(truth * scale + shift, labelled)
    assert side_moved == pytest.approx(side * scale, abs=1e-9 * max(scale, 1) * 1000)
    assert pixel.nme(moved, labelled, side_moved) == pytest.approx(pixel.nme(plain, labelled, side), rel=1e-5)
