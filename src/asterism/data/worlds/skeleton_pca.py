"""Proportions of planes and chairs as people labelled them: mean and basis of the symmetric half skeletons.

shape_skeletons.json holds, for each kind, the mean and the ten first principal directions (times their
standard deviations) of models of KeypointNet (You et al., CVPR 2020; annotations MIT licensed): a point of
the midline gives y and z, a pair gives |x|, y and z, averaged over its two sides. The frame is theirs: y is
up, -z is ahead.
"""

import functools
import json
from importlib import resources
from typing import Any

import numpy as np
from jaxtyping import Float

Point = Float[np.ndarray, "3"]
_REACH = 2.0  # standard deviations: further out people drew nothing


@functools.cache
def _table() -> dict[str, Any]:
    return json.loads(
        resources.files("asterism.data.worlds").joinpath("shape_skeletons.json").read_text("utf-8")
    )


def skeleton(kind: str, dice: np.random.Generator) -> dict[str, Point]:
    """A new skeleton: points of the midline (x = 0) and, of each pair, the one at x > 0."""
    held = _table()[kind]
    basis = np.array(held["basis"])
    weight = np.clip(dice.standard_normal(len(basis)), -_REACH, _REACH)
    values = np.array(held["mean"]) + weight @ basis
    points, at = {}, 0
    for name in held["midline"]:
        points[name], at = np.array([0.0, *values[at : at + 2]]), at + 2
    for name in held["pairs"]:
        points[name], at = values[at : at + 3].copy(), at + 3
        points[name][0] = abs(points[name][0])
    return points
