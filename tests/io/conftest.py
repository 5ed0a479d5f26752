"""Random tables of keypoints for the round trips."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from asterism.io.names import infer_swap
from asterism.io.skeleton import known_sigma
from asterism.io.table import KeypointTable

COORDINATES = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-5, 500).map(float)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), min_size=1, max_size=8)
PICTURES = st.text("abcäß ,\"'/._-", min_size=1, max_size=8).map(lambda s: f"nowhere/{s}.png")


@st.composite
def _fields(draw: st.DrawFn) -> dict[str, Any]:
    """Every row has a labelled point; occlusion occurs somewhere; points not labelled are zeros."""
    names = tuple(draw(st.lists(NAMES.map(lambda s: s.strip() or "p"), unique=True, min_size=1, max_size=4)))
    images = tuple(draw(st.lists(PICTURES, unique=True, min_size=1, max_size=4)))
    key = st.tuples(st.integers(0, len(images) - 1), st.integers(0, 3))
    keys = sorted(draw(st.lists(key, unique=True, min_size=1, max_size=6)))
    n, k = len(keys), len(names)
    labelled = np.array(draw(st.lists(st.booleans(), min_size=n * k, max_size=n * k))).reshape(n, k)
    labelled[:, 0] = True
    visible = labelled & np.array(draw(st.lists(st.booleans(), min_size=n * k, max_size=n * k))).reshape(n, k)
    visible[0, 0] = True
    numbers = np.array(draw(st.lists(COORDINATES, min_size=2 * n * k, max_size=2 * n * k)))
    scores = draw(st.just([1.0] * (n * k)) | st.lists(st.floats(0.125, 1), min_size=n * k, max_size=n * k))
    has_box = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    sides = st.floats(1e-3, 1e6)
    box = np.array(draw(st.lists(sides, min_size=4 * n, max_size=4 * n))).reshape(n, 4)
    area = np.array(draw(st.lists(st.just(0.0) | sides, min_size=n, max_size=n)))
    sizes = draw(st.just(()) | st.just(tuple((10 + i, 20) for i in range(len(images)))))
    return {
        "names": names,
        "images": images,
        "image": np.array([i for i, _ in keys]),
        "individual": np.array([w for _, w in keys]),
        "xy": np.where(labelled[..., None], numbers.reshape(n, k, 2), 0.0),
        "labelled": labelled,
        "visible": visible,
        "score": np.where(labelled, np.array(scores).reshape(n, k), 0.0),
        "box": np.where(has_box[:, None], box, 0.0),
        "has_box": has_box,
        "area": area,
        "sizes": sizes,
        "edges": ((0, k - 1),) if k > 1 else (),
    }


@pytest.fixture(scope="session")
def draw_table() -> Callable[[st.DataObject], KeypointTable]:
    """Built outside the strategy: the type checks of the tests draw random numbers of their own."""

    def draw(data: st.DataObject) -> KeypointTable:
        fields = data.draw(_fields())
        return KeypointTable(**fields, swap=infer_swap(fields["names"]), sigma=known_sigma(fields["names"]))

    return draw


@pytest.fixture(scope="session")
def assert_same() -> Callable[[KeypointTable, KeypointTable, str], None]:
    def check(found: KeypointTable, wanted: KeypointTable, fields: str) -> None:
        for name in fields.split():
            a, b = getattr(found, name), getattr(wanted, name)
            assert np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b, name

    return check
