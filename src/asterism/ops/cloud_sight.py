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
from jaxtyping import Bool, Float, Int
from scipy import ndimage
from scipy.optimize import minimize
from scipy.spatial import cKDTree  # pyright: ignore[reportAttributeAccessIssue]

from asterism.ops.cloud_neighbours import local_pca, nearest

_ASKED, _FEW = 2500, 400  # points whose density is measured, and on which places are tried
_SIDE, _COUNTED = 60, 32  # neighbours, and those that measure the density
_FLAT, _INNER = 0.03, 0.35  # surface variation, and how far off the middle of its neighbours a point may be
_GRAZING = 0.1  # cosine below which the density says nothing
_PLACES, _FINALISTS = 150, 8
_LOOKED = 10_000  # points that are looked at to see whether depths mix
_CELL, _SEEN = (
    0.75,
    2,
)  # roots of a ray's solid angle; points in a cell and those about it to be seen at all
_MOST_CELLS = 1000  # along the edge of a face
_BESIDE, _THROUGH = 1.3, 0.2  # ratio of depths that is no surface; share of such directions from nowhere
_KNOWN = 0.35  # share of the spread of densities that a place may leave unexplained


@dataclass(frozen=True, kw_only=True)
class Eye:
    """Where a scan seems to have been taken, the median error of the logarithm of its density then, its
    spread, the same without any place, and the share of directions that see through surfaces. `known` is
    whether the place explains the cloud.
    """

    place: Float[np.ndarray, "3"]
    error: float
    spread: float
    through: float

    @property
    def known(self) -> bool:
        return self.error <= _KNOWN * self.spread and self.through <= _THROUGH


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What is seen from `eye`, on the six faces of a cube about it: the least distance in each cell and those
    about it; nothing (minus infinity) where fewer than two points are.
    """

    eye: Float[np.ndarray, "3"]
    far: Float[np.ndarray, "6 G G"]

    def before(self, points: Float[np.ndarray, "M 3"], margin: float | int) -> Bool[np.ndarray, " M"]:
        """Which points lie in front of what is seen, by more than `margin`: where only air can be."""
        line = points - self.eye
        face, row, column = _cells(line, self.far.shape[1])
        return np.sqrt((line**2).sum(1)) < self.far[face, row, column] - float(margin)


def sight(points: Float[np.ndarray, "N 3"], eye: Float[np.ndarray, "3"]) -> Sight:
    """What is seen from a place."""
    return Sight(eye=eye, far=_depths(points, eye)[0])


def mixed(points: Float[np.ndarray, "N 3"], eye: Float[np.ndarray, "3"]) -> float:
    """The share of directions in which near and far points lie side by side. From the true place only the
    rims of things are such; from elsewhere one looks through surfaces.
    """
    least, most = _depths(points, eye)
    seen = np.isfinite(least)
    return float((most[seen] > _BESIDE * least[seen]).mean()) if seen.any() else 1.0


def _depths(
    points: Float[np.ndarray, "N 3"], eye: Float[np.ndarray, "3"]
) -> tuple[Float[np.ndarray, "6 G G"], Float[np.ndarray, "6 G G"]]:
    """The least and the largest distance in each cell of a cube's faces and those about it."""
    line = points - eye
    far = np.maximum(np.linalg.norm(line, axis=1), 1e-300)
    unit = line / far[:, None]
    tenth = cKDTree(unit).query(unit[:: max(1, len(points) // 500)], k=[min(10, len(points))])[0]
    apart = float(np.median(tenth)) * np.sqrt(np.pi / 9)  # nine others lie in a disc of that radius
    side = int(np.clip(2 / (_CELL * max(apart, 1e-9)), 4, _MOST_CELLS))
    flat = np.ravel_multi_index(_cells(line, side), (6, side, side))
    least, most = np.full(6 * side * side, np.inf), np.zeros(6 * side * side)
    np.minimum.at(least, flat, far)
    np.maximum.at(most, flat, far)
    count = np.bincount(flat, minlength=6 * side * side).reshape(6, side, side).astype(float)
    window = (1, 3, 3)
    least = ndimage.minimum_filter(least.reshape(6, side, side), size=window, mode="nearest")
    most = ndimage.maximum_filter(most.reshape(6, side, side), size=window, mode="nearest")
    around = np.asarray(ndimage.convolve(count, np.ones(window), mode="constant"))
    return np.where(around > _SEEN - 0.5, least, -np.inf), most


def _cells(
    line: Float[np.ndarray, "M 3"], side: int
) -> tuple[Int[np.ndarray, " M"], Int[np.ndarray, " M"], Int[np.ndarray, " M"]]:
    """Face, row and column of the cube's cell in each direction."""
    axis = np.abs(line).argmax(1)
    every = np.arange(len(line))
    main = line[every, axis]
    size = np.maximum(np.abs(main), 1e-300)
    u, v = line[every, (axis + 1) % 3] / size, line[every, (axis + 2) % 3] / size
    row, column = (np.clip((x + 1) / 2 * side, 0, side - 1).astype(np.int64) for x in (u, v))
    return 2 * axis + (main > 0), row, column


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
        line = self.at.T - eye[:, None]  # 3 N: small sums run along memory
        far = np.sqrt((line * line).sum(0)) + 1e-9
        cosine = np.abs((self.normal.T * line).sum(0)) / far
        use = cosine > _GRAZING
        if use.sum() < 12:
            return np.inf
        far, cosine = far[use], cosine[use]
        value = self.density[use] + 2 * np.log(far) - np.log(cosine)
        terms = np.concatenate([np.ones((1, len(far))), line[:, use] / far])
        weight, error = np.ones(len(far)), value
        small = 1e-9 * len(far) * np.eye(4)
        for _ in range(4):
            scaled = terms * weight
            error = value - np.linalg.solve(scaled @ terms.T + small, scaled @ value) @ terms
            width = 2 * 1.48 * _middle(np.abs(error)) + 1e-9
            weight = 1 / (1 + (error / width) ** 2)
        return _middle(np.abs(error))


def _middle(values: Float[np.ndarray, " N"]) -> float:
    """The median, the upper one of two: np.median is four times as slow on some hundred numbers."""
    half = len(values) // 2
    return float(np.partition(values, half)[half])


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
    near = sorted((_descend(few, tried[i], 0.3, 45) for i in taken), key=lambda found: found[0])
    some_points = points[dice.permutation(len(points))[:_LOOKED]]
    found = []
    for _, at in near:
        error, place = _descend(patches, at, 0.1, 70)
        place = place * size + middle
        eye = Eye(place=place, error=error, spread=spread, through=mixed(some_points, place))
        found.append(eye)
        if eye.through <= _THROUGH / 4:  # the best by density, and nothing speaks against it
            break
    return min(found, key=lambda eye: eye.error * (1 + 10 * eye.through))


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
