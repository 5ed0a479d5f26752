"""Charts: ticks are round, curves are where their numbers are."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asterism.viz.draw import colours
from asterism.viz.plot import Curve, chart, ticks


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_round_even_and_inside(low, span):
    found = ticks(low, low + span)
    assert 1 <= len(found) <= 11
    assert low - 1e-6 * span <= found[0] and found[-1] <= low + span * (1 + 1e-6) + 1e-6
    if len(found) > 1:
        gaps = np.diff(found)
        step = gaps.mean()
        np.testing.assert_allclose(gaps, step, rtol=1e-6)
        lead = step / 10.0 ** math.floor(math.log10(step * (1 + 1e-9)))
        assert min(abs(lead - s) for s in (1, 2, 5, 10)) < 1e-6


def test_a_rising_curve_rises_and_a_gap_stays_white():
    x = list(range(101))
    y = [float(v) if not 40 < v < 60 else math.nan for v in x]
    picture = chart({"a": Curve(x=x, y=y)}, x_name="x", y_name="y", size=(300, 400))
    assert picture.shape == (300, 400, 3) and picture.dtype == np.uint8
    ys, xs = np.nonzero((picture == colours(1)[0]).all(-1))
    inside = ys > 60  # below the legend's own line
    assert np.corrcoef(xs[inside], ys[inside])[0, 1] < -0.99  # up on the screen is a smaller row
    gaps = np.diff(np.unique(xs[inside]))
    assert gaps.max() > 30


def test_nothing_finite_is_refused():
    with pytest.raises(ValueError, match="finite"):
        chart({"a": Curve(x=[1.0], y=[math.nan])}, x_name="x", y_name="y")


def test_a_constant_curve_has_room_around_it():
    assert chart(
        {"a": Curve(x=[0, 1], y=[3, 3], low=[2.9, 2.9], high=[3.1, 3.1])}, x_name="x", y_name="y"
    ).any()
