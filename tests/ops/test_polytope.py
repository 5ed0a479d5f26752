"""Soft labellings: the nearest one, by hand, by properties of projections, and by another solver."""

import numpy as np
import pytest
from scipy.optimize import LinearConstraint, minimize

from asterism.ops.polytope import columns_between, nearest_labelling, rows_at_most_one

OFFSETS = np.array([0, 4, 4, 7])


def by_hand(name):
    cases = {
        "already there": ([[0.3, 0.2]], [[0.3, 0.2]]),
        "negative": ([[-0.3, 0.2]], [[0.0, 0.2]]),
        "too much": ([[1.0, 0.6]], [[0.7, 0.3]]),
        "one is cut off": ([[2.0, 0.1]], [[1.0, 0.0]]),
    }
    return [np.array(part) for part in cases[name]]


@pytest.mark.parametrize("name", ["already there", "negative", "too much", "one is cut off"])
def test_rows_by_hand(name):
    given, wanted = by_hand(name)
    assert rows_at_most_one(given) == pytest.approx(wanted)


@pytest.mark.parametrize("name", ["already there", "negative", "too much", "one is cut off"])
def test_a_column_is_a_row_that_stands(name):
    given, wanted = by_hand(name)
    assert columns_between(given.T, np.array([0, 2]), 0.0) == pytest.approx(wanted.T)


def test_columns_that_must_be_full():
    y = np.array([[0.1], [0.3]])
    assert columns_between(y, np.array([0, 2]), 1.0) == pytest.approx(np.array([[0.4], [0.6]]))
    few = np.array([[0.1, 0.2]])  # one feature cannot carry two labels
    assert columns_between(few, np.array([0, 1]), 1.0) == pytest.approx(few)


@pytest.mark.parametrize("least", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_nearest_by_a_general_solver(least, seed):
    dice = np.random.default_rng(seed)
    y = dice.normal(0.2, 0.7, (7, 3))
    found = nearest_labelling(y, OFFSETS, least)
    rows = np.kron(np.eye(7), np.ones((1, 3)))
    columns = np.stack(
        [
            np.kron(np.isin(np.arange(7), range(a, b)), np.eye(3)[k])
            for a, b in ((0, 4), (4, 7))
            for k in range(3)
        ]
    )
    answer = minimize(
        lambda x: 0.5 * ((x - y.ravel()) ** 2).sum(),
        np.full(21, 0.25),
        jac=lambda x: x - y.ravel(),
        bounds=[(0, 1)] * 21,
        constraints=[LinearConstraint(rows, -1, 1), LinearConstraint(columns, least, 1)],
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-14},
    )
    assert answer.success
    assert found.ravel() == pytest.approx(answer.x, abs=1e-5)


@pytest.mark.parametrize("least", [0.0, 1.0])
def test_what_a_projection_keeps(least):
    dice = np.random.default_rng(5)
    y, other = dice.normal(0, 1, (2, 7, 3))
    a, b = (nearest_labelling(v, OFFSETS, least) for v in (y, other))
    assert (a >= 0).all() and (a.sum(1) <= 1 + 1e-9).all()
    for start, end in ((0, 4), (4, 7)):
        assert (a[start:end].sum(0) <= 1 + 1e-6).all() and (a[start:end].sum(0) >= least - 1e-6).all()
    assert nearest_labelling(a, OFFSETS, least) == pytest.approx(a, abs=1e-6)
    assert np.linalg.norm(a - b) <= np.linalg.norm(y - other) + 1e-9  # it brings nothing apart
    order = np.array([2, 0, 3, 1, 6, 4, 5])
    assert nearest_labelling(y[order], OFFSETS, least) == pytest.approx(a[order], abs=1e-6)
    assert nearest_labelling(y[:, [2, 0, 1]], OFFSETS, least) == pytest.approx(a[:, [2, 0, 1]], abs=1e-6)


def test_nothing_to_project():
    assert nearest_labelling(np.zeros((0, 3)), np.array([0, 0]), 1.0).shape == (0, 3)
