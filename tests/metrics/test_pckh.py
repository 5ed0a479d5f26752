"""PCKh by hand, its three conventions, and the tables of MPII's validation split."""

from pathlib import Path

import numpy as np
import pytest

from asterism.metrics import pixel
from asterism.metrics.pckh import MPII_NAMES, head_size, pckh

NAMES = ("a", "pelvis", "b", "thorax")
MPII = Path(__file__).parents[2] / "../shared/data/mpii_validation_annotations/valid.h5"


def test_by_hand():
    # Heads of 10 px. Joint a: 5.0 counts (<=), 5.01 does not; b labelled once, wrong; the trunk is all wrong.
    distance = np.array([[5.0, 90.0, 6.0, 90.0], [5.01, 90.0, 0.0, 90.0], [1.0, 90.0, 0.0, 90.0]])
    labelled = np.array([[1, 1, 1, 1], [1, 1, 0, 1], [1, 1, 0, 1]], bool)
    score = pckh(distance, labelled, np.full(3, 10.0), NAMES)
    assert score.joints == {"a": pytest.approx(2 / 3), "pelvis": 0.0, "b": 0.0, "thorax": 0.0}
    # Weighted by counts and without the trunk: (3 * 2/3 + 1 * 0) / 4, where the plain mean would be 1/3.
    assert score.mean_at_0_50 == pytest.approx(0.5)
    assert score.mean_at_0_10 == pytest.approx(0.25)


def test_the_two_meanings_of_mean_at_0_1():
    distance = np.array([[1.0, 0.0, 1.05, 0.0], [1.09, 0.0, 1.2, 0.0]])
    score = pckh(distance, np.ones((2, 4), bool), np.full(2, 10.0), NAMES)
    assert score.mean_at_0_10 == pytest.approx(1 / 4)
    assert score.hrnet_mean_at_0_1 == pytest.approx(3 / 4)


def test_a_joint_nobody_labelled_and_errors():
    distance, labelled = np.zeros((2, 4)), np.ones((2, 4), bool)
    labelled[:, 2] = False
    assert pckh(distance, labelled, np.ones(2), NAMES).joints["b"] is None
    with pytest.raises(ValueError, match="16 names for 4 joints"):
        pckh(distance, labelled, np.ones(2))
    with pytest.raises(ValueError, match="head size"):
        pckh(distance, labelled, np.array([1.0, 0.0]), NAMES)
    labelled[:, 0] = False
    with pytest.raises(ValueError, match="no joint that counts"):
        pckh(distance, labelled, np.ones(2), NAMES)


def test_head_size_is_six_tenths_of_the_diagonal():
    assert head_size(np.array([[100.0, 50.0, 30.0, 40.0]])) == pytest.approx([30.0])


def _judge_shifts(truth, labelled, head):
    """Every joint off by half a head to the right is right, by a little more is wrong."""
    just = truth + np.stack([0.4999 * head, np.zeros_like(head)], 1)[:, None]
    past = truth + np.stack([0.5001 * head, np.zeros_like(head)], 1)[:, None]
    assert pckh(pixel.distances(just, truth, labelled), labelled, head).mean_at_0_50 == 1.0
    assert pckh(pixel.distances(past, truth, labelled), labelled, head).mean_at_0_50 == 0.0


def test_a_made_up_table_of_sixteen_joints():
    rng = np.random.default_rng(0)
    labelled = rng.random((50, len(MPII_NAMES))) < 0.9
    _judge_shifts(rng.uniform(0, 900, (50, 16, 2)), labelled, head_size(rng.uniform(20, 90, (50, 4))))


@pytest.mark.data
def test_the_mpii_validation_table():
    h5py = pytest.importorskip("h5py")
    if not MPII.exists():
        pytest.skip("no MPII tables here")
    with h5py.File(MPII) as file:
        truth = np.asarray(file["part"], np.float64)
        head = np.asarray(file["normalize"], np.float64)
    assert truth.shape == (2958, 16, 2)
    assert head.min() > 0
    _judge_shifts(truth, (truth > 0).all(-1), head)
