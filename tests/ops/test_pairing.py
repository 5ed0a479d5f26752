"""The best pairing of things with each other, against all of them."""

from itertools import permutations

import numpy as np
import pytest

from asterism.ops.pairing import best_involution


def involutions(k):
    return [p for p in permutations(range(k)) if all(p[p[i]] == i for i in range(k))]


def total(score, partner):
    return sum(score[i, p] for i, p in enumerate(partner))


@pytest.mark.parametrize("k", [1, 2, 5, 6])
def test_planted_partners_are_found_in_noise(k):
    rng = np.random.default_rng(k)
    choices = involutions(k)
    for _ in range(20):
        wanted = choices[rng.integers(len(choices))]
        score = rng.uniform(0, 0.4, (k, k))
        score[np.arange(k), list(wanted)] += 1
        assert best_involution(score) == wanted


def test_it_is_always_its_own_inverse_and_near_the_best_of_all():
    rng = np.random.default_rng(0)
    found, best = [], []
    for _ in range(60):
        score = rng.normal(size=(5, 5))
        partner = best_involution(score)
        assert all(partner[partner[i]] == i for i in range(5))
        found.append(total(score, partner))
        best.append(max(total(score, p) for p in involutions(5)))
    assert np.mean(found) > 0.9 * np.mean(best)
    assert (np.array(found) <= np.array(best) + 1e-12).all()


def test_a_cycle_of_three_is_cut_where_it_costs_least():
    score = np.zeros((3, 3))
    score[0, 1], score[1, 2], score[2, 0] = 3.0, 2.0, 1.0
    assert best_involution(score) == (1, 0, 2)
