"""Errors of points in pixels: distances, their summary with an interval, PCK and NME.

N rows (one object in one image each), K points. `labelled` says which truths exist; an unlabelled point is
never looked at. Intervals are bootstrapped over IMAGES, because points of one image err together.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

INTERVAL = (2.5, 97.5)  # percentiles of a 95 % interval
REPLICATES = 1000  # standard error of a 2.5 % quantile from 1000 replicates: 0.5 % (binomial)
BLOCK = 100  # replicates held at once: a hundred rows as long as there are images


@dataclass(frozen=True)
class PixelErrors:
    """Errors of all `n` labelled points, in pixels; `ci95` is that of the mean.

    `per_point_px`: the mean of each, None if unlabelled.
    """

    n_images: int
    n: int
    mean_px: float
    median_px: float
    p90_px: float
    rmse_px: float
    ci95: tuple[float, float]
    per_point_px: tuple[float | None, ...]


def distances(
    xy: Float[np.ndarray, "N K 2"], truth: Float[np.ndarray, "N K 2"], labelled: Bool[np.ndarray, "N K"]
) -> Float[np.ndarray, "N K"]:
    """Distance of each point from its truth, in pixels; 0 where nothing is labelled.

    Raises ValueError where a labelled point has no finite prediction: leaving it out would flatter.
    """
    gap = np.where(labelled[..., None], xy, 0.0) - np.where(labelled[..., None], truth, 0.0)
    if not np.isfinite(gap).all():
        row, point = np.argwhere(~np.isfinite(gap).all(-1))[0]
        raise ValueError(f"row {row}, point {point} is labelled, but its prediction or label is not finite")
    return np.hypot(gap[..., 0], gap[..., 1])


def summarise(
    distance: Float[np.ndarray, "N K"],
    labelled: Bool[np.ndarray, "N K"],
    rng: np.random.Generator,
    image: Int[np.ndarray, " N"] | None = None,
) -> PixelErrors:
    """The numbers of a report. `image` says which rows share an image (None: each row is its own).

    Raises ValueError when nothing is labelled.
    """
    values = distance[labelled]
    if not len(values):
        raise ValueError("no point is labelled, so there is no error to report")
    groups = np.arange(len(distance)) if image is None else image
    sums, counts = by_image(np.where(labelled, distance, 0.0).sum(1), labelled.sum(1), groups)
    return PixelErrors(
        n_images=int((counts > 0).sum()),
        n=len(values),
        mean_px=float(values.mean()),
        median_px=float(np.median(values)),
        p90_px=float(np.percentile(values, 90)),
        rmse_px=float(np.sqrt((values**2).mean())),
        ci95=bootstrap_interval(sums[None], counts[None], rng),
        per_point_px=means_per_point(distance, labelled),
    )


def means_per_point(
    distance: Float[np.ndarray, "N K"], labelled: Bool[np.ndarray, "N K"]
) -> tuple[float | None, ...]:
    """Mean of each column over its labelled rows; None for a point that is labelled nowhere."""
    return tuple(float(d[m].mean()) if m.any() else None for d, m in zip(distance.T, labelled.T))


def by_image(
    sums: Float[np.ndarray, " N"], counts: Int[np.ndarray, " N"], image: Int[np.ndarray, " N"]
) -> tuple[Float[np.ndarray, " I"], Float[np.ndarray, " I"]]:
    """Rows added up per image, so that an image with three objects is resampled as one."""
    _, index = np.unique(image, return_inverse=True)
    return np.bincount(index, sums), np.bincount(index, counts.astype(np.float64))


def bootstrap_interval(
    sums: Float[np.ndarray, "R I"],
    counts: Float[np.ndarray, "R I"],
    rng: np.random.Generator,
    replicates: int = REPLICATES,
) -> tuple[float, float]:
    """95 % percentile interval of sum(sums) / sum(counts), resampling images and, if R > 1, repetitions.

    R are repetitions of the same experiment on the same I images (other training draws); with R = 1 this is
    the plain bootstrap over images (Efron 1979). Images without a labelled point may be among them.
    """
    held = counts.sum(0) > 0
    sums, counts = sums[:, held], counts[:, held]
    repeats, images = sums.shape
    if not images:
        raise ValueError("no point is labelled, so there is no interval to report")
    means = []
    for start in range(0, replicates, BLOCK):
        size = min(BLOCK, replicates - start)
        image_weight, repeat_weight = _resampled(images, size, rng), _resampled(repeats, size, rng)
        total = (repeat_weight @ counts * image_weight).sum(1)
        means.append((repeat_weight @ sums * image_weight).sum(1) / np.where(total > 0, total, np.nan))
    low, high = np.nanpercentile(np.concatenate(means), INTERVAL)
    return float(low), float(high)


def _resampled(n: int, size: int, rng: np.random.Generator) -> Float[np.ndarray, "size n"]:
    """How often each of n things is drawn in n draws with replacement, `size` times over."""
    drawn = rng.integers(n, size=(size, n)) + n * np.arange(size)[:, None]
    return np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)


# ------------------------------------------------------------------------------------------------ normalisers


def box_side(box: Float[np.ndarray, "N 4"]) -> Float[np.ndarray, " N"]:
    """Longest side of each (x, y, width, height), in pixels."""
    return box[:, 2:].max(1)


def points_side(
    truth: Float[np.ndarray, "N K 2"], labelled: Bool[np.ndarray, "N K"]
) -> Float[np.ndarray, " N"]:
    """Longest side of the bounding box of the labelled points, in pixels; 0 with fewer than two of them."""
    high = np.where(labelled[..., None], truth, -np.inf).max(1)  # N 2
    low = np.where(labelled[..., None], truth, np.inf).min(1)
    return np.maximum(high - low, 0.0).max(1)  # a row without labels gives -inf


def object_side(
    truth: Float[np.ndarray, "N K 2"],
    labelled: Bool[np.ndarray, "N K"],
    box: Float[np.ndarray, "N 4"],
    has_box: Bool[np.ndarray, " N"],
) -> Float[np.ndarray, " N"]:
    """box_side where the object has a box, points_side where it has none."""
    return np.where(has_box, box_side(box), points_side(truth, labelled))


def between(
    truth: Float[np.ndarray, "N K 2"], labelled: Bool[np.ndarray, "N K"], a: int, b: int
) -> Float[np.ndarray, " N"]:
    """Distance between points a and b (the pupils: inter-ocular distance); 0 where one is not labelled."""
    gap = truth[:, a] - truth[:, b]
    return np.where(labelled[:, a] & labelled[:, b], np.hypot(gap[:, 0], gap[:, 1]), 0.0)


# ------------------------------------------------------------------------------------------- relative errors


def pck(
    distance: Float[np.ndarray, "N K"],
    labelled: Bool[np.ndarray, "N K"],
    normaliser: Float[np.ndarray, " N"],
    thresholds: tuple[float, ...] = (0.1,),
) -> dict[str, float]:
    """Share of labelled points with distance <= threshold * normaliser, by threshold ("0.1": ...).

    PCK@0.1 in this library's reports is normalised by `object_side`. Rows whose normaliser is 0 cannot be
    judged and are left out. Raises ValueError when no labelled row is left.
    """
    judged = _judged(labelled, normaliser)
    return {f"{t:g}": float((distance <= t * normaliser[:, None])[judged].mean()) for t in thresholds}


def nme(
    distance: Float[np.ndarray, "N K"], labelled: Bool[np.ndarray, "N K"], normaliser: Float[np.ndarray, " N"]
) -> float:
    """Mean of distance / normaliser over labelled points (normalised mean error, a fraction and no per cent).

    Rows whose normaliser is 0 are left out. Raises ValueError when no labelled row is left.
    """
    judged = _judged(labelled, normaliser)
    scale = np.broadcast_to(normaliser[:, None], distance.shape)
    return float((distance[judged] / scale[judged]).mean())


def _judged(labelled: Bool[np.ndarray, "N K"], normaliser: Float[np.ndarray, " N"]) -> NDArray[np.bool_]:
    judged = labelled & (normaliser > 0)[:, None]
    if not judged.any():
        raise ValueError("no row has both a labelled point and a normaliser above 0")
    return judged
