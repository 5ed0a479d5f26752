"""Repeatability and semantics by hand, and chance against its closed form."""

import numpy as np
import pytest

from asterism.metrics.clouds import chance, mutual_pairs, repeatability, semantics


def line(*x):
    return np.array([[v, 0.0, 0.0] for v in x]).reshape(-1, 3)


def test_many_to_one_counts_once_in_pairs():
    told = repeatability(line(0, 0.1, 0.2, 9), line(0.1, 5), 0.15)
    assert told.one_sided == 0.75
    assert told.mutual == pytest.approx(1 / 3)  # one pair of 4 and 2 points
    assert told.points == 3


def test_what_is_near_is_near_on_the_edge_too():
    assert repeatability(line(0), line(1), 1).mutual == 1
    assert repeatability(line(0), line(1), 0.999).mutual == 0


def test_points_outside_the_overlap_are_not_asked_for_in_pairs():
    a, b = line(0, 1, 2, 3), line(2, 3, 4, 5)
    clouds = line(0, 1, 2, 3), line(2, 3, 4, 5)
    told = repeatability(a, b, 0.1, clouds)
    assert (told.one_sided, told.mutual, told.points) == (0.5, 1.0, 2)
    assert repeatability(a, b, 0.1).mutual == 0.5
    none = repeatability(line(0), line(5), 0.1, clouds)
    assert (none.one_sided, none.mutual, none.points) == (0, 0, 0)


def test_without_points_nothing_is_found():
    for a, b in ((line(), line(1)), (line(1), line()), (line(), line())):
        told = repeatability(a, b, 1, (line(0, 1), line(0, 1)))
        assert (told.one_sided, told.mutual) == (0, 0)


def test_mutual_pairs_of_equal_distances_are_one_to_one():
    rows, columns = mutual_pairs(np.zeros((3, 2)), 1)
    assert rows.tolist() == [0] and columns.tolist() == [0]


def test_chance_is_what_counting_says():
    clouds = line(*range(40)), line(*range(40))
    told = chance(clouds, (10, 10), 0.1, np.random.default_rng(0), rounds=400)
    assert told.one_sided == pytest.approx(0.25, abs=0.02)  # each of a's is among b's with 10 of 40
    assert told.mutual == pytest.approx(0.25, abs=0.02) and told.points == 10
    every = chance(clouds, (99, 99), 0.1, np.random.default_rng(0), rounds=1)
    assert every.mutual == 1 and every.points == 40
    apart = line(*range(20)), line(*range(10, 30))
    half = chance(apart, (10, 10), 0.1, np.random.default_rng(0), whole=False, rounds=400)
    assert half.one_sided == pytest.approx(0.25, abs=0.02)  # half of a's, and 10 of 20
    assert half.mutual == pytest.approx(0.5, abs=0.03) and half.points == pytest.approx(5, abs=0.2)


def test_indices_that_mean_a_part_are_given_to_it():
    dice = np.random.default_rng(0)
    truth = dice.random((8, 5, 3)) + 4 * np.eye(5)[:, :3]
    found = truth[:, [3, 0, 4]]
    told = semantics(found, truth, np.ones(8))
    assert told.pck_plain == told.same_part_plain == told.pck_offset == told.same_part_offset == 1
    moved = semantics(found + [0.0, 0.3, 0.0], truth, np.ones(8))
    assert moved.pck_plain == 0 and moved.pck_offset == 1
    assert semantics(found + [0.0, 0.3, 0.0], truth, np.ones(8), 0.31).pck_plain == 1


def test_semantics_are_measured_on_the_other_half():
    truth = np.broadcast_to(10 * np.eye(3), (4, 3, 3)).copy()
    found = truth.copy()
    found[3] = found[3, [1, 0, 2]]  # of two shapes that are measured, one has two indices swapped
    told = semantics(found, truth, np.full(4, 2.0))
    assert told.pck_plain == pytest.approx(4 / 6) and told.same_part_plain == pytest.approx(4 / 6)
    with pytest.raises(ValueError, match="two at least"):
        semantics(found[:1], truth[:1], np.ones(1))
