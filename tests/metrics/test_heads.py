"""Linear heads against closed forms, and what each of them is equivariant to."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asterism.metrics import heads

RNG = np.random.default_rng


def _turned(xy, angle, scale=1.0, shift=(0.0, 0.0)):
    c, s = np.cos(angle), np.sin(angle)
    return scale * xy @ np.array([[c, s], [-s, c]]) + np.asarray(shift)


def _sample(seed, n=30, p=4, k=3, noise=1.0):
    """Points and labels that are noisy affine functions of each other."""
    rng = RNG(seed)
    points = rng.uniform(0, 100, (n, p, 2))
    xy = np.einsum("npi,pikj->nkj", points, rng.normal(0, 0.5, (p, 2, k, 2))) + rng.uniform(0, 50, (k, 2))
    return points, xy + rng.normal(0, noise, xy.shape), rng.random((n, k)) < 0.8


def test_ridge_equals_the_normal_equations_point_by_point():
    points, xy, labelled = _sample(0)
    for head in heads.fit_ridge(points, xy, labelled):
        for k in range(3):
            rows = labelled[:, k]
            x = points[rows].reshape(rows.sum(), -1)
            centred = x - x.mean(0)
            if np.isfinite(head.penalty):
                gram = centred.T @ centred
                lam = head.penalty * np.trace(gram) / 8
                w = np.linalg.solve(gram + lam * np.eye(8), centred.T @ (xy[rows, k] - xy[rows, k].mean(0)))
            else:
                w = np.zeros((8, 2))
            wanted = (points.reshape(30, -1) - x.mean(0)) @ w + xy[rows, k].mean(0)
            assert head(points)[:, k] == pytest.approx(wanted, abs=1e-8)


def test_complex_head_equals_complex_normal_equations():
    points, xy, labelled = _sample(1)
    labelled[:] = True
    centroid = points.mean(1, keepdims=True)
    q = (points - centroid) @ np.array([1, 1j])
    p = (xy - centroid) @ np.array([1, 1j])
    for head in heads.fit_complex(points, xy, labelled)[1:]:
        gram = q.conj().T @ q
        lam = head.penalty * np.trace(gram).real / 4
        a = np.linalg.solve(gram + lam * np.eye(4), q.conj().T @ p)
        wanted = centroid @ np.array([1, 1j]) + q @ a
        assert head(points) @ np.array([1, 1j]) == pytest.approx(wanted, abs=1e-6)


def test_lstsq_has_no_intercept():
    points, xy, labelled = _sample(2, noise=0.0)
    labelled[:] = True
    (head,) = heads.fit_lstsq(points, xy, labelled)
    x = points.reshape(30, -1)
    wanted = x @ np.linalg.solve(x.T @ x, x.T @ xy.reshape(30, -1))
    assert head(points).reshape(30, -1) == pytest.approx(wanted, abs=1e-7)
    assert head(np.zeros((1, 4, 2))).tolist() == np.zeros((1, 3, 2)).tolist()


def test_mean_head_is_the_mean_of_the_labelled_rows_and_unlabelled_values_never_enter():
    points, xy, labelled = _sample(3)
    labelled[:, 2] = False
    (head,) = heads.fit_mean(points, xy, labelled)
    assert head(points)[7, 0] == pytest.approx(xy[labelled[:, 0], 0].mean(0))
    assert head.known.tolist() == [True, True, False]
    spoiled = np.where(labelled[..., None], xy, np.nan)
    for fit in (heads.fit_mean, heads.fit_ridge, heads.fit_complex, heads.fit_lstsq):
        for clean, dirty in zip(fit(points, xy, labelled), fit(points, spoiled, labelled)):
            assert np.array_equal(clean(points)[:, :2], dirty(points)[:, :2])


@given(st.integers(0, 10**6), st.floats(-3.1, 3.1), st.floats(0.1, 10), st.floats(-200, 200))
@settings(max_examples=20, deadline=None)
def test_the_complex_head_turns_with_the_object(seed, angle, scale, shift):
    points, xy, labelled = _sample(seed)
    head = heads.fit_complex(points, xy, labelled)[-2]
    answer = head(_turned(points, angle, scale, (shift, -shift)))
    wanted = _turned(head(points), angle, scale, (shift, -shift))
    assert answer == pytest.approx(wanted, abs=1e-6 * scale * 100)


@given(st.integers(0, 10**6), st.floats(0.1, 10), st.floats(-200, 200))
@settings(max_examples=20, deadline=None)
def test_ridge_fitted_in_other_units_and_origin_answers_the_same(seed, scale, shift):
    points, xy, labelled = _sample(seed)
    plain = heads.fit_ridge(points, xy, labelled)[5]
    moved = heads.fit_ridge(points * scale + shift, xy * scale + shift, labelled)[5]
    assert moved(points * scale + shift) == pytest.approx(plain(points) * scale + shift, abs=1e-6 * 100)


def test_from_one_row_the_head_is_the_similarity_that_carries_the_points():
    rng = RNG(4)
    points, xy = rng.uniform(0, 50, (1, 5, 2)), rng.uniform(0, 50, (1, 3, 2))
    labelled = np.ones((1, 3), bool)
    chosen = heads.cross_validated(
        (heads.fit_ridge, heads.fit_complex), points, xy, labelled, np.zeros(1, np.int64), rng
    )
    assert chosen[0].kind == "complex"
    answer = chosen[0](_turned(points, 2.0, 1.7, (9, 4)))
    assert answer == pytest.approx(_turned(xy, 2.0, 1.7, (9, 4)), abs=1e-3)  # the smallest penalty is not 0


def test_cross_validation_prefers_the_mean_for_noise_and_little_penalty_for_exact_points():
    rng = RNG(5)
    points, xy = rng.uniform(0, 100, (40, 6, 2)), rng.uniform(40, 60, (40, 3, 2))
    labelled, image = np.ones((40, 3), bool), np.arange(40)
    fits = (heads.fit_ridge, heads.fit_complex)
    noise = heads.cross_validated(fits, points, xy, labelled, image, rng)[0]
    assert noise.kind == "ridge"
    assert noise.penalty > 3
    exact = points[:, :3] + 0.3 * (points[:, 3:] - points[:, :3]) + 5
    head = heads.cross_validated(fits, points, exact, labelled, image, rng)[0]
    assert head.kind == "ridge"
    assert head.penalty < 1e-5


def test_cross_validation_takes_the_complex_head_when_few_rows_show_all_angles():
    rng = RNG(6)
    shape = rng.uniform(-20, 20, (8, 2))
    angles = rng.uniform(0, 2 * np.pi, 6)
    rows = np.stack([_turned(shape, a, 1.0, rng.uniform(0, 100, 2)) for a in angles])
    rows += rng.normal(0, 0.3, rows.shape)
    labelled, image = np.ones((6, 3), bool), np.arange(6)
    head = heads.cross_validated(
        (heads.fit_ridge, heads.fit_complex), rows[:, :5], rows[:, 5:], labelled, image, rng
    )[0]
    assert head.kind == "complex"


def test_rows_of_one_image_are_held_out_together():
    folds = heads._folds(np.array([3, 3, 7, 7, 7, 9]), RNG(0))
    assert len(folds) == 3
    assert np.sum(folds, axis=0).tolist() == [1] * 6
    for held in folds:
        assert held[0] == held[1]
        assert held[2] == held[3] == held[4]


@pytest.mark.parametrize("fit", [heads.fit_ridge, heads.fit_complex, heads.fit_lstsq])
def test_gain_is_what_a_pixel_of_noise_costs(fit):
    points, xy, labelled = _sample(7)
    head = fit(points, xy, labelled)[-1]
    rng = RNG(8)
    one = np.repeat(points[:1], 20000, 0)
    moved = head(one + rng.normal(size=one.shape)) - head(one)
    assert head.gain == pytest.approx(np.sqrt((moved**2).mean()), rel=0.02)
