"""From where a scan was taken, and what must be empty because it was seen through.

A sensor looks into directions that are about evenly spread, so the points of a surface at the distance r,
seen at the angle t to its normal, lie cos(t) / (r^2 w) to the unit of area, with w the solid angle of one
ray: how dense a scan lies on its surfaces tells where it was taken, without any header. w may change smoothly
with the direction (in the corners of a picture, towards the pole of a spinning sensor). A cloud that was
thinned to an even density, or was put together from many places, has no such place, and is told by that.

What lies between that place and what is seen from it is air, and another scan that puts matter there does
not fit.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import minimize
from scipy.spatial import cKDTree  # pyright: ignore[reportAttributeAccessIssue]

from asterism.ops.cloud_neighbours import local_pca, nearest

_ASKED, _FEW = 2500, 400  # points whose density is measured, and on which places are tried
_SIDE, _COUNTED = 60, 32  # neighbours, and those that measure the density
_FLAT, _INNER = 0.03, 0.35  # surface variation, and how far off the middle of its neighbours a point may be
_GRAZING = 0.1  # cosine below which the density says nothing
_PLACES, _FINALISTS = 150, 6
_KNOWN = 0.35  # share of the spread of densities that a place may leave unexplained


@dataclass(frozen=True, kw_only=True)
class Eye:
    """Where a scan seems to have been taken, the median error of the logarithm of its density then, and its
    spread, the same without any place. `known` is whether the place explains the density.
    """

    place: Float[np.ndarray, "3"]
    error: float
    spread: float

    @property
    def known(self) -> bool:
        return self.error <= _KNOWN * self.spread


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


@dataclass(frozen=True, kw_only=True)
class _Patches:
    """Places on smooth surfaces, their normals and the logarithms of the density there; no unit."""

    at: Float[np.ndarray, "N 3"]
    normal: Float[np.ndarray, "N 3"]
    density: Float[np.ndarray, " N"]

    def unexplained(self, eye: Float[np.ndarray, "3"]) -> float:
        """The median error of the density, seen from there, with the best solid angle that changes linearly
        with the direction; fitted with Cauchy's weights.
        """
        line = self.at - eye
        far = np.sqrt(np.einsum("ij,ij->i", line, line)) + 1e-9
        cosine = np.abs(np.einsum("ij,ij->i", self.normal, line)) / far
        value = self.density + 2 * np.log(far) - np.log(np.maximum(cosine, _GRAZING / 3))
        use = cosine > _GRAZING
        if use.sum() < 12:
            return np.inf
        terms = np.concatenate([np.ones((len(line), 1)), line / far[:, None]], axis=1)
        weight, error = use.astype(float), value
        for _ in range(4):
            scaled = terms.T * weight
            error = value - terms @ np.linalg.solve(
                scaled @ terms + 1e-9 * len(line) * np.eye(4), scaled @ value
            )
            width = 2 * 1.48 * np.median(np.abs(error[use])) + 1e-9
            weight = use / (1 + (error / width) ** 2)
        return float(np.median(np.abs(error)))


def find_eye(dice: np.random.Generator, points: Float[np.ndarray, "N 3"]) -> Eye:
    """The place that explains best how dense the points lie. They must be the scan's own, not thinned.

    Raises ValueError for fewer than 100 points.
    """
    if len(points) < 100:
        raise ValueError(f"find_eye: got {len(points)} points; wanted at least 100")
    patches, middle, size = _patches(dice, points)
    spread = float(np.median(np.abs(patches.density - np.median(patches.density))))
    some = np.linspace(0, len(patches.at) - 1, min(_FEW, len(patches.at))).astype(int)
    few = _Patches(at=patches.at[some], normal=patches.normal[some], density=patches.density[some])
    tried = 2.5 * _ball(dice, _PLACES)  # in mean radii of the cloud
    order = np.argsort([few.unexplained(place) for place in tried])
    taken: list[int] = []
    for i in order.tolist():
        if all(np.linalg.norm(tried[i] - tried[j]) > 0.5 for j in taken):
            taken.append(i)
        if len(taken) == _FINALISTS:
            break
    near = sorted((_descend(few, tried[i], 0.3, 60) for i in taken), key=lambda found: found[0])
    error, place = min((_descend(patches, at, 0.1, 80) for _, at in near[:2]), key=lambda found: found[0])
    return Eye(place=place * size + middle, error=error, spread=spread)


def _descend(
    patches: _Patches, start: Float[np.ndarray, "3"], step: float, most: int
) -> tuple[float, Float[np.ndarray, "3"]]:
    """Nelder and Mead's simplex: medians have no gradient."""
    corners = start + step * np.concatenate([np.zeros((1, 3)), np.eye(3)])
    options = {"maxiter": most, "initial_simplex": corners}
    found = minimize(patches.unexplained, start, method="Nelder-Mead", options=options)
    return float(found.fun), found.x


def _patches(
    dice: np.random.Generator, points: Float[np.ndarray, "N 3"]
) -> tuple[_Patches, Float[np.ndarray, "3"], float]:
    """Places on smooth surfaces, away from their rims, with the middle and the radius that were taken out."""
    asked = dice.permutation(len(points))[:_ASKED]
    tree = cKDTree(points)
    row = nearest(tree, points[asked], min(_SIDE, len(points) - 1) + 1)[1][:, 1:]
    variance, direction = local_pca(points, row)
    normal = direction[:, :, 0]
    flat = variance[:, 0] <= _FLAT * np.maximum(variance.sum(1), 1e-300)
    line = points[row] - points[asked][:, None]
    line -= np.einsum("nki,ni->nk", line, normal)[..., None] * normal[:, None]  # noise is not distance
    squared = (line**2).sum(-1)
    inner = np.linalg.norm(line.mean(1), axis=1) <= _INNER * np.sqrt(squared.mean(1))
    keep = flat & inner if (flat & inner).sum() >= 50 else np.ones(len(asked), bool)
    counted = min(_COUNTED, row.shape[1])
    area = np.partition(squared, counted - 1, axis=1)[:, counted - 1]
    at, area = points[asked][keep], np.maximum(area[keep], 1e-300)
    middle = at.mean(0)
    size = max(float(np.sqrt(((at - middle) ** 2).sum(1).mean())), 1e-300)
    density = np.log(counted / np.pi) - np.log(area) + 2 * np.log(size)
    return _Patches(at=(at - middle) / size, normal=normal[keep], density=density), middle, size


def _ball(dice: np.random.Generator, n: int) -> Float[np.ndarray, "n 3"]:
    line = dice.standard_normal((n, 3))
    return line / np.linalg.norm(line, axis=1, keepdims=True) * dice.random((n, 1)) ** (1 / 3)
