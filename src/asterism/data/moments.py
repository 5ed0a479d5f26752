"""Blobs of the foreground and their moments, followed through a clip.

Each of N objects is a Gaussian fitted to the foreground weights by expectation-maximisation, with a uniform
class for what belongs to none (a reflection, dust). In a clip the fit starts from where the objects were
going, so that two that touch or mount each other stay two, and each keeps its number.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from asterism.data.base import Picture
from asterism.data.foreground import Background, stands_out, weighted
from asterism.geometry.coords import xy_from_uv

CROP = 24  # side of the small oriented picture that tells the head from the tail
REACH = 2.8  # half the side of the frame in standard deviations of the long axis: an ellipse ends at 2
_OUTLIERS = 0.05  # prior share of foreground that belongs to no object
_SMALL = 0.1  # a component under this share of the largest is dust
_STEPS = 8


@dataclass(frozen=True, kw_only=True)
class Blobs:
    """T pictures, N objects. Coordinates and lengths in source pixels; `found` False where there was none."""

    found: NDArray[np.bool_]  # T N
    centre: NDArray[np.float64]  # T N 2
    long: NDArray[np.float64]  # T N: standard deviation along the long axis
    short: NDArray[np.float64]  # T N
    angle: NDArray[np.float64]  # T N: of the long axis, known up to half a turn
    skew: NDArray[np.float64]  # T N: third moment along the long axis, in standard deviations
    thin: NDArray[np.float64]  # T N: on which side the thin parts lie, -1 to 1
    crop: NDArray[np.float32]  # T N CROP CROP: the difference from the background, along the long axis
    border: NDArray[np.bool_]  # T N: touches the picture's edge
    mass: NDArray[np.float64]  # T N: share of the foreground that the objects explain


def clean(weights: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.int64]]:
    """Weights without dust, the masses of the components kept (largest first) and the map of components."""
    found, count = ndimage.label(weights > 0)  # pyright: ignore[reportGeneralTypeIssues]
    labels = np.asarray(found, dtype=np.int64)
    if count == 0:
        return weights, np.zeros(0), labels
    masses = np.bincount(labels.ravel(), weights=weights.ravel(), minlength=count + 1).astype(np.float64)
    masses[0] = 0
    keep = masses >= _SMALL * masses.max()
    order = np.argsort(-masses)
    order = order[keep[order]]
    rank = np.zeros(count + 1, np.int64)
    rank[order] = np.arange(1, len(order) + 1)
    labels = rank[labels]
    return np.where(labels > 0, weights, 0.0).astype(np.float32), masses[order], labels


def count_objects(maps: Iterable[NDArray[np.float32]], most: int = 4) -> int:
    """How many objects there are: components at least 0.4 times the largest, in three of four pictures or
    so. Objects that touch merge and none splits, so the upper quartile over the pictures is taken."""
    counts = []
    for weights in maps:
        masses = clean(weights)[1]
        if len(masses):
            counts.append(int((masses >= 0.4 * masses[0]).sum()))
    return min(most, max(1, int(np.percentile(counts, 75)))) if counts else 0


def _start(points: NDArray, weight: NDArray, component: NDArray, n: int) -> tuple[NDArray, NDArray]:
    """Means and covariances of the n largest components, or of a weighted k-means when they have merged."""
    if component.max() >= n:
        owner = component - 1
    else:
        means = points[[np.argmax(weight)]]
        for _ in range(n - 1):
            far = ((points[:, None] - means) ** 2).sum(-1).min(1) * weight
            means = np.concatenate([means, points[[np.argmax(far)]]])
        for _ in range(_STEPS):
            owner = ((points[:, None] - means) ** 2).sum(-1).argmin(1)
            means = np.stack([_mean(points, weight * (owner == k), means[k]) for k in range(n)])
        owner = ((points[:, None] - means) ** 2).sum(-1).argmin(1)
    parts = [weight * (owner == k) for k in range(n)]
    means = np.stack([_mean(points, part, points.mean(0)) for part in parts])
    return means, np.stack([_covariance(points, part, mean) for part, mean in zip(parts, means)])


def _mean(points: NDArray, weight: NDArray, otherwise: NDArray) -> NDArray:
    return weight @ points / weight.sum() if weight.sum() > 0 else otherwise


def _covariance(points: NDArray, weight: NDArray, mean: NDArray) -> NDArray:
    away = points - mean
    spread = (away * weight[:, None]).T @ away / max(weight.sum(), 1e-9)
    return spread + np.eye(2) / 12  # a pixel's own variance: a blob of one pixel has a size


def fit(
    points: NDArray, weight: NDArray, means: NDArray, covariances: NDArray, area: float
) -> tuple[NDArray, NDArray, NDArray]:
    """Means, covariances and responsibilities (M N) of N Gaussians and a uniform class, by EM."""
    share = np.full(len(means), (1 - _OUTLIERS) / len(means))
    owner = np.zeros((len(points), len(means)))
    for _ in range(_STEPS):
        inverse = np.linalg.inv(covariances)
        away = points[:, None] - means
        distance = np.einsum("mni,nij,mnj->mn", away, inverse, away)
        density = share * np.exp(-distance / 2) * np.sqrt(np.linalg.det(inverse)) / (2 * np.pi)
        owner = density / (density.sum(1, keepdims=True) + _OUTLIERS / area)
        mass = weight[:, None] * owner
        share = np.maximum(mass.sum(0), 1e-9) / max(mass.sum(), 1e-9) * (1 - _OUTLIERS)
        means = np.stack([_mean(points, mass[:, k], means[k]) for k in range(len(means))])
        covariances = np.stack([_covariance(points, mass[:, k], means[k]) for k in range(len(means))])
    return means, covariances, owner


class Follower:
    """Fits N blobs to one picture after the other; in a clip each fit starts from the last."""

    def __init__(self, background: Background, objects: int, in_time: bool) -> None:
        self.background = background
        self.objects = objects
        self.in_time = in_time
        self.rows: list[dict[str, NDArray]] = []
        self._last: tuple[NDArray, NDArray, NDArray] | None = None  # means, speeds, covariances
        self._size = 0.0  # usual geometric-mean standard deviation, working pixels

    def add(self, picture: Picture, behind: Picture | None = None) -> None:
        """The next picture; `behind` is its own background where the camera moves."""
        values = stands_out(picture, self.background, behind)
        weights, _, component = clean(weighted(values, self.background))
        ys, xs = np.nonzero(weights)
        if len(xs) < 8:
            self.rows.append(self._nothing())
            self._last = None if self._last is None else (self._last[0], 0 * self._last[1], self._last[2])
            return
        points, weight = np.stack([xs, ys], 1).astype(np.float64), weights[ys, xs].astype(np.float64)
        if self.in_time and self._last is not None:
            means, covariances = self._last[0] + self._last[1], self._last[2]
        else:
            means, covariances = _start(points, weight, component[ys, xs], self.objects)
        means, covariances, owner = fit(points, weight, means, covariances, float(weights.size))
        lost = (weight @ owner) < 0.15 * weight.sum() / self.objects
        if lost.any() and self.in_time and self._last is not None:  # it jumped: look everywhere again
            means, covariances = _start(points, weight, component[ys, xs], self.objects)
            means, covariances, owner = fit(points, weight, means, covariances, float(weights.size))
        speed = means - self._last[0] if self._last is not None else 0 * means
        self._last = (means, np.clip(speed, -5.0, 5.0) / 2, covariances)
        self.rows.append(self._measure(values, weights, points, weight, means, covariances, owner))

    def _nothing(self) -> dict[str, NDArray]:
        n = self.objects
        zero = np.zeros(n)
        where = self._last[0] if self._last is not None else np.zeros((n, 2))
        row = dict.fromkeys(("long", "short", "angle", "skew", "thin", "mass"), zero)
        crop = np.zeros((n, CROP, CROP), np.float32)
        absent = np.zeros(n, bool)
        return row | {"found": absent, "centre": where, "crop": crop, "border": absent}

    def _measure(self, values, weights, points, weight, means, covariances, owner) -> dict[str, NDArray]:
        rows = []
        for k in range(self.objects):
            size, axes = np.linalg.eigh(covariances[k])
            short, long = np.sqrt(size)
            axis = axes[:, 1]
            mine = weight * owner[:, k]
            along = (points - means[k]) @ axis / long
            slim = _thin_parts(points, mine, round(short))
            total = max(mine.sum(), 1e-9)
            touches = points[mine > 0.5]
            edge = np.array(weights.shape[::-1]) - 1
            rows.append(
                {
                    "found": np.bool_(mine.sum() > 4),
                    "centre": means[k],
                    "long": long,
                    "short": short,
                    "angle": np.arctan2(axis[1], axis[0]),
                    "skew": mine @ along**3 / total,
                    "thin": slim @ along / max(slim @ np.abs(along), 1e-9),
                    "crop": oriented(values, means[k], axis, REACH * long),
                    "border": np.bool_(len(touches) and ((touches <= 0) | (touches >= edge)).any()),
                    "mass": total / max(weight.sum(), 1e-9),
                }
            )
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def blobs(self) -> Blobs:
        """All that was added, in source pixels."""
        stacked = {name: np.stack([row[name] for row in self.rows]) for name in self.rows[0]}
        f = self.background.shrink
        stacked["centre"] = xy_from_uv(torch.from_numpy(stacked["centre"]), f).numpy()
        stacked["long"], stacked["short"] = stacked["long"] * f, stacked["short"] * f
        return Blobs(**stacked)


def _thin_parts(points: NDArray, weight: NDArray, width: int) -> NDArray:
    """Weight of each point that a grey opening of about the short axis's width takes away: tail, limbs."""
    low = points.min(0).astype(int)
    x, y = (points.astype(int) - low).T
    body = np.zeros((y.max() + 1, x.max() + 1), np.float32)
    body[y, x] = weight
    return weight - ndimage.grey_opening(body, size=2 * (max(3, width) // 2) + 1)[y, x]


def oriented(values: NDArray, centre: NDArray, axis: NDArray, reach: float) -> NDArray[np.float32]:
    """A CROP x CROP picture of `values` whose x axis points along `axis`; `reach` is half its side."""
    grid = np.linspace(-reach, reach, CROP)
    x, y = np.meshgrid(grid, grid)
    xs = centre[0] + x * axis[0] - y * axis[1]
    ys = centre[1] + x * axis[1] + y * axis[0]
    return np.asarray(ndimage.map_coordinates(values, [ys, xs], order=1), dtype=np.float32)
