"""The judge of points that were discovered without labels: how well do they tell where labelled points are?

Strict protocol: from N labelled images learn a linear head (ridge with intercept, or the rotation-equivariant
complex head, chosen with its penalty by cross-validation inside the N images), then measure on test images
that the head has not seen. The points may have seen them, without labels: who calls this says so. N runs
over a curve, with several random draws of the N images. Every other point set that is passed (an untrained
network, a blob's moments) and the mean shape go through the same draws, because a linear head makes almost
any points look good.

forward    labelled points predicted from discovered points, on the test images
rotated    the same heads on test images that were turned at random: points of the object turn with it,
           points of the picture (bounding box corners, a fixed ring) do not
backward   discovered points predicted from labels (all N): large for points that are not on the object
           (Sanchez and Tzimiropoulos, NeurIPS 2019). A point that never moves is perfect here; see health.py

A linear head without noise reads even motions of a thousandth of a pixel. `gain` says how much 1 px of noise
in the points would cost in the answer: about 1 for points on parts, tens for a nearly fixed ring.

Protocol "imm" is Jakab et al., NeurIPS 2018: least squares, no intercept, no penalty. It gives an edge to
points that never move (they serve as the missing intercept) and is here for comparison with papers only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from asterism.errors import RequestError
from asterism.metrics.heads import (
    Fit,
    LinearHead,
    cross_validated,
    fit_complex,
    fit_lstsq,
    fit_mean,
    fit_ridge,
)
from asterism.metrics.pixel import bootstrap_interval, by_image, distances, means_per_point

PROTOCOLS: dict[str, tuple[Fit, ...]] = {"strict": (fit_ridge, fit_complex), "imm": (fit_lstsq,)}
COUNTS = (1, 5, 10, 20, 50, 100)
DRAWS = 20
PCK_AT = 0.1  # of the normaliser


@dataclass(frozen=True)
class Labels:
    """N labelled rows in pixels. `image` says which rows share an image; `normaliser` 0 where unknown."""

    xy: Float[np.ndarray, "N K 2"]
    labelled: Bool[np.ndarray, "N K"]
    image: Int[np.ndarray, " N"]
    normaliser: Float[np.ndarray, " N"]


@dataclass(frozen=True)
class Points:
    """One set of discovered points, in the rows of the train, test and rotated labels, in their pixels."""

    train: Float[np.ndarray, "N P 2"]
    test: Float[np.ndarray, "M P 2"]
    rotated: Float[np.ndarray, "R P 2"] | None = None


@dataclass(frozen=True)
class Errors:
    """In pixels, of the `n` labelled points measured (per draw).

    `pck` is the share within a tenth of the normaliser; it and `nme` are None without normalisers. `judged`
    is the share of labelled points that could be predicted (a point without a label among the N images
    cannot).
    """

    mean_px: float
    median_px: float
    p90_px: float
    pck: float | None
    n: int
    ci95: tuple[float, float]
    nme: float | None
    judged: float


@dataclass(frozen=True)
class CurveRow:
    """`heads` counts how often each head was chosen, `gain` is the mean over draws of the chosen head's;
    `by_head` has the mean px of each head, chosen or not, forward and rotated."""

    n_images: int
    draws: int
    heads: dict[str, int]
    gain: float
    forward: Errors
    rotated: Errors | None
    by_head: dict[str, dict[str, float]]


@dataclass(frozen=True)
class PointsScore:
    """`per_point_px` is the forward error of each labelled point with all images."""

    name: str
    curve: tuple[CurveRow, ...]
    per_point_px: tuple[float | None, ...]
    backward: Errors | None


@dataclass(frozen=True)
class LandmarkReport:
    """`sets[0]` are the points that are judged, `sets[1]` is the mean shape, then the other controls."""

    protocol: str
    n_train_images: int
    n_test_images: int
    sets: tuple[PointsScore, ...]


def evaluate_landmarks(
    points: Points,
    train: Labels,
    test: Labels,
    rng: np.random.Generator,
    *,
    rotated: Labels | None = None,
    controls: Mapping[str, Points] | None = None,
    protocol: str = "strict",
    counts: Sequence[int] = COUNTS,
    draws: int = DRAWS,
) -> LandmarkReport:
    """Judge `points` and the controls on the same draws of labelled images.

    Raises RequestError for an unknown protocol or labels without a single point, ValueError for points that
    do not fit the labels or are not finite.
    """
    if protocol not in PROTOCOLS:
        raise RequestError(f"unknown protocol {protocol!r}; wanted one of {', '.join(PROTOCOLS)}")
    if not train.labelled.any() or not test.labelled.any():
        where = "train" if not train.labelled.any() else "test"
        raise RequestError(f"the {where} images have no labelled point, so nothing can be judged")
    named = {"points": points, **(controls or {})}
    for name, one in named.items():
        _check(name, one, train, test, rotated)
    chosen = _draws(train, counts, draws, rng)
    fits = PROTOCOLS[protocol]
    scores = [_score(name, one, fits, chosen, train, test, rotated, rng) for name, one in named.items()]
    mean = _score("mean shape", points, (fit_mean,), chosen, train, test, rotated, rng)
    scores.insert(1, mean)
    return LandmarkReport(
        protocol=protocol,
        n_train_images=len(np.unique(train.image[train.labelled.any(1)])),
        n_test_images=len(np.unique(test.image[test.labelled.any(1)])),
        sets=tuple(scores),
    )


@dataclass(frozen=True)
class Answers:
    """How far each labelled point is from its answer, in pixels, row by row: what two sets of points that
    were measured on the same rows are compared by. `judged` are the points that could be answered."""

    forward: Float[np.ndarray, "M K"]
    judged: Bool[np.ndarray, "M K"]
    rotated: Float[np.ndarray, "R K"] | None
    rotated_judged: Bool[np.ndarray, "R K"] | None
    head: str
    gain: float


def strict_answers(
    points: Points,
    train: Labels,
    test: Labels,
    rng: np.random.Generator,
    *,
    rotated: Labels | None = None,
    fits: tuple[Fit, ...] = PROTOCOLS["strict"],
) -> Answers:
    """The strict protocol with all train rows, without its summary. ValueError for points that do not fit."""
    _check("points", points, train, test, rotated)
    head = cross_validated(fits, points.train, train.xy, train.labelled, train.image, rng)[0]
    forward, judged = _gaps([head], points.test, test)
    turned = None if rotated is None or points.rotated is None else _gaps([head], points.rotated, rotated)
    return Answers(
        forward=forward[0],
        judged=judged[0],
        rotated=None if turned is None else turned[0][0],
        rotated_judged=None if turned is None else turned[1][0],
        head=head.kind,
        gain=head.gain,
    )


def _check(name: str, points: Points, train: Labels, test: Labels, rotated: Labels | None) -> None:
    parts = {"train": (points.train, train), "test": (points.test, test)}
    if rotated is not None:
        if points.rotated is None:
            raise ValueError(f"{name}: rotated labels are given, so rotated points are wanted too")
        parts["rotated"] = (points.rotated, rotated)
    for part, (xy, labels) in parts.items():
        if len(xy) != len(labels.xy):
            raise ValueError(f"{name}: {len(xy)} rows of {part} points for {len(labels.xy)} rows of labels")
        if not np.isfinite(xy).all():
            raise ValueError(f"{name}: {part} points are not all finite")


def _draws(
    train: Labels, counts: Sequence[int], draws: int, rng: np.random.Generator
) -> list[list[NDArray[np.bool_]]]:
    """For each N, `draws` random sets of N labelled images, as rows; the last entry is all images, once."""
    images = np.unique(train.image[train.labelled.any(1)])
    sizes = sorted({n for n in counts if 0 < n < len(images)})
    some = [[np.isin(train.image, rng.choice(images, n, replace=False)) for _ in range(draws)] for n in sizes]
    return [*some, [np.isin(train.image, images)]]


def _score(
    name: str,
    points: Points,
    fits: tuple[Fit, ...],
    chosen: list[list[NDArray[np.bool_]]],
    train: Labels,
    test: Labels,
    rotated: Labels | None,
    rng: np.random.Generator,
) -> PointsScore:
    own = rng.spawn(1)[0]  # so that adding a control changes no other row of the table
    rows, per_point = [], ()
    for draws in chosen:
        row, per_point = _curve_row(points, fits, draws, train, test, rotated, own)
        rows.append(row)
    backward = None if fits == (fit_mean,) else _backward(points, fits, train, test, own)
    return PointsScore(name=name, curve=tuple(rows), per_point_px=per_point, backward=backward)


def _curve_row(
    points: Points,
    fits: tuple[Fit, ...],
    draws: list[NDArray[np.bool_]],
    train: Labels,
    test: Labels,
    rotated: Labels | None,
    rng: np.random.Generator,
) -> tuple[CurveRow, tuple[float | None, ...]]:
    """One row of the curve, and the mean error of each labelled point in its last draw."""
    trials = []
    for rows in draws:
        seen = (points.train[rows], train.xy[rows], train.labelled[rows])
        trials.append(cross_validated(fits, *seen, train.image[rows], rng))
    parts = {"forward": (points.test, test)}
    if rotated is not None and points.rotated is not None:
        parts["rotated"] = (points.rotated, rotated)
    errors: dict[str, Errors] = {}
    by_head: dict[str, dict[str, float]] = {}
    last: tuple[float | None, ...] = ()
    for part, (xy, labels) in parts.items():
        gaps, judged = _gaps([trial[0] for trial in trials], xy, labels)
        errors[part] = _errors(gaps, judged, labels, rng)
        last = last or means_per_point(gaps[-1], judged[-1])
        for kind in sorted({head.kind for head in trials[0]}):
            same = [next(head for head in trial if head.kind == kind) for trial in trials]
            gaps, judged = _gaps(same, xy, labels)
            by_head.setdefault(kind, {})[part] = float(gaps[judged].mean())
    kinds = [trial[0].kind for trial in trials]
    row = CurveRow(
        n_images=len(np.unique(train.image[draws[0]])),
        draws=len(draws),
        heads={kind: kinds.count(kind) for kind in sorted(set(kinds))},
        gain=float(np.mean([trial[0].gain for trial in trials])),
        forward=errors["forward"],
        rotated=errors.get("rotated"),
        by_head=by_head,
    )
    return row, last


def _gaps(
    heads: list[LinearHead], points: Float[np.ndarray, "N P 2"], labels: Labels
) -> tuple[Float[np.ndarray, "D N K"], Bool[np.ndarray, "D N K"]]:
    judged = [labels.labelled & head.known for head in heads]
    gaps = [distances(head(points), labels.xy, j) for head, j in zip(heads, judged)]
    return np.stack(gaps), np.stack(judged)


def _backward(
    points: Points, fits: tuple[Fit, ...], train: Labels, test: Labels, rng: np.random.Generator
) -> Errors | None:
    """Discovered points from labels, on rows where every point that occurs in training is labelled.

    None where fewer than two such rows can be learned from, or none can be tested.
    """
    used = train.labelled.any(0)
    learn, judge = train.labelled[:, used].all(1), test.labelled[:, used].all(1)
    if learn.sum() < 2 or not judge.any():
        return None
    present = np.ones(points.train.shape[:2], np.bool_)[learn]
    seen = (train.xy[learn][:, used], points.train[learn], present)
    head = cross_validated(fits, *seen, train.image[learn], rng)[0]
    found = points.test[judge]
    every = np.ones(found.shape[:2], np.bool_)
    gap = distances(head(test.xy[judge][:, used]), found, every)
    rows = Labels(found, every, test.image[judge], test.normaliser[judge])
    return _errors(gap[None], every[None], rows, rng)


def _errors(
    distance: Float[np.ndarray, "D N K"],
    judged: Bool[np.ndarray, "D N K"],
    labels: Labels,
    rng: np.random.Generator,
) -> Errors:
    """D draws on the same N rows. The interval resamples draws and images, both with replacement."""
    if not judged.any():
        raise RequestError("no point is labelled both in the train and in the test images")
    grouped = [by_image(d.sum(1), j.sum(1), labels.image) for d, j in zip(distance, judged)]
    sums, counts = (np.stack(part) for part in zip(*grouped))  # D I
    scale = np.where(labels.normaliser > 0, labels.normaliser, np.inf)[:, None]
    relative = judged & np.isfinite(scale)
    return Errors(
        mean_px=float(distance[judged].mean()),
        median_px=float(np.median(distance[judged])),
        p90_px=float(np.percentile(distance[judged], 90)),
        pck=float((distance <= PCK_AT * scale)[relative].mean()) if relative.any() else None,
        n=int(judged.any(0).sum()),
        ci95=bootstrap_interval(sums, counts, rng),
        nme=float((distance / scale)[relative].mean()) if relative.any() else None,
        judged=float(judged.sum() / max(labels.labelled.sum() * len(judged), 1)),
    )
