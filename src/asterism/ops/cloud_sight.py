"""From where a scan was taken, and what must be empty because it was seen through.

A scan from one place has one depth in each direction: seen from there, points that lie side by side are
mostly neighbours, and seen from elsewhere near and far ones mix. The place is searched for by that alone,
so a cloud needs no header. What lies between it and what it sees is air, and another scan that puts matter
there does not fit.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial import cKDTree  # pyright: ignore[reportAttributeAccessIssue]

_DIRECTIONS = 500  # points that are looked at from each place
_PLACES, _ROUNDS, _TRIES = 160, 4, 20  # tried at first, then about the best, closer each round
_SIDE = 5  # neighbours in direction


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What is seen from `eye`: directions, and how far along each."""

    eye: Float[np.ndarray, "3"]
    far: Float[np.ndarray, " N"]
    tree: cKDTree  # of the unit directions
    apart: float  # the median angle between neighbours, in radians

    def before(self, points: Float[np.ndarray, "M 3"], margin: float | int) -> Bool[np.ndarray, " M"]:
        """Which points lie in front of what is seen, by more than `margin`: where only air can be."""
        line = points - self.eye
        long = np.linalg.norm(line, axis=1)
        gap, row = self.tree.query(line / np.maximum(long, 1e-300)[:, None], k=3)
        return (gap[:, -1] <= 3 * self.apart) & (long < self.far[row].min(1) - float(margin))


def sight(points: Float[np.ndarray, "N 3"], eye: Float[np.ndarray, "3"]) -> Sight:
    """What is seen from a place."""
    line = points - eye
    far = np.maximum(np.linalg.norm(line, axis=1), 1e-300)
    tree = cKDTree(line / far[:, None])
    apart = float(np.median(tree.query(tree.data[:: max(1, len(points) // 500)], k=2)[0][:, 1]))
    return Sight(eye=eye, far=far, tree=tree, apart=apart)


def find_eye(
    dice: np.random.Generator,
    points: Float[np.ndarray, "N 3"],
    normal: Float[np.ndarray, "N 3"],
    step: float | int,
) -> tuple[Float[np.ndarray, "3"], float]:
    """The place from which the cloud has the least mixed depths, and how mixed they are there: the mean
    difference of depth of neighbouring directions, each counted to at most 1, in units of `step`.
    """
    rows = dice.permutation(len(points))[:_DIRECTIONS]
    some, plane = points[rows], normal[rows]
    middle, size = some.mean(0), float(np.sqrt(((some - some.mean(0)) ** 2).sum(1).max()))
    best, least = middle, _mixed(some, plane, middle, float(step))
    reach, tries = size, _PLACES
    for _ in range(1 + _ROUNDS):
        centre = best
        for place in centre + reach * _ball(dice, tries):
            mixed = _mixed(some, plane, place, float(step))
            if mixed < least:
                best, least = place, mixed
        reach, tries = 0.45 * reach, _TRIES
    return best, least


def _ball(dice: np.random.Generator, n: int) -> np.ndarray:
    line = dice.standard_normal((n, 3))
    return line / np.linalg.norm(line, axis=1, keepdims=True) * dice.random((n, 1)) ** (1 / 3)


def _mixed(points: np.ndarray, normal: np.ndarray, eye: np.ndarray, step: float) -> float:
    line = points - eye
    far = np.maximum(np.sqrt(np.einsum("ij,ij->i", line, line)), 1e-12)
    row = cKDTree(line / far[:, None]).query(line / far[:, None], k=_SIDE)[1][:, 1:]
    off = np.einsum("ikj,ij->ik", points[row] - points[:, None], normal)
    return float(np.minimum(np.abs(off) / step, 1).mean())
