"""Object keypoint similarity and the average precision built on it, as the COCO keypoint challenge counts.

    OKS = mean over labelled points of exp(-d² / (2 (2 sigma)² area))        (cocodataset.org, keypoints-eval)

Any number of points, any sigmas. Numbers equal pycocotools to rounding, quirks included: at most 20
detections per image, truths without a labelled point or marked as crowd are ignored, detections that match
an ignored truth or lie outside the area range unmatched are ignored, among equal similarities the last wins.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

COCO_NAMES = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)
_EYE, _ARM, _LEG = (0.026, 0.025, 0.025, 0.035, 0.035), (0.079, 0.072, 0.062), (0.107, 0.087, 0.089)
COCO_SIGMAS = (*_EYE, *(s for side in (*_ARM, *_LEG) for s in (side, side)))
DEFAULT_SIGMA = 0.1  # where nobody measured one: the value that DeepLabCut uses for every body part
BOX_FILLED = 0.53  # area of a person by the area of the box, where none is known (mmpose, base_coco_style)

MAX_DETECTIONS = 20
SIMILARITIES = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
AREAS = {"": (0.0, 1e10), "M": (32.0**2, 96.0**2), "L": (96.0**2, 1e10)}


@dataclass(frozen=True)
class Truth:
    """G labelled objects. `box` is (x, y, width, height); `image` may be any integers."""

    image: Int[np.ndarray, " G"]
    xy: Float[np.ndarray, "G K 2"]
    labelled: Bool[np.ndarray, "G K"]
    area: Float[np.ndarray, " G"]
    box: Float[np.ndarray, "G 4"]
    crowd: Bool[np.ndarray, " G"]


@dataclass(frozen=True)
class Found:
    """D detected objects, each with one score."""

    image: Int[np.ndarray, " D"]
    xy: Float[np.ndarray, "D K 2"]
    score: Float[np.ndarray, " D"]


def sigmas_for(names: Sequence[str], sigma: Sequence[float] = ()) -> tuple[tuple[float, ...], str]:
    """(sigmas, where they are from): "given", "COCO" for its 17 person names, else "default 0.1".

    Write the second beside every OKS: with defaulted sigmas it compares with nothing else.
    """
    if tuple(names) == COCO_NAMES and tuple(sigma) in ((), COCO_SIGMAS):
        return COCO_SIGMAS, "COCO"
    if sigma:
        return tuple(sigma), "given"
    return (DEFAULT_SIGMA,) * len(names), f"default {DEFAULT_SIGMA:g}"


def object_area(
    area: Float[np.ndarray, " N"], box: Float[np.ndarray, "N 4"], has_box: Bool[np.ndarray, " N"]
) -> Float[np.ndarray, " N"]:
    """Area in squared pixels: the file's where it is above 0, else 0.53 of the box, else 0."""
    filled = np.where(has_box, BOX_FILLED * box[:, 2] * box[:, 3], 0.0)
    return np.where(area > 0, area, filled)


def oks(truth: Truth, xy: Float[np.ndarray, "D K 2"], sigma: Sequence[float]) -> Float[np.ndarray, "D G"]:
    """Similarity of every detection with every truth.

    Against a truth without labelled points, points count as at distance 0 inside its box doubled about its
    centre and a half (x - w .. x + 2 w), as pycocotools does for regions to ignore.
    """
    x, y, w, h = truth.box.T[:, None, :, None]  # 1 G 1 each
    px, py = xy[:, None, :, 0], xy[:, None, :, 1]  # D 1 K
    outside_x = np.maximum(0, x - w - px) + np.maximum(0, px - (x + 2 * w))
    outside_y = np.maximum(0, y - h - py) + np.maximum(0, py - (y + 2 * h))
    bare = ~truth.labelled.any(axis=1, keepdims=True)  # G 1
    dx = np.where(bare, outside_x, px - np.where(truth.labelled, truth.xy[..., 0], 0.0))
    dy = np.where(bare, outside_y, py - np.where(truth.labelled, truth.xy[..., 1], 0.0))
    variance = (2 * np.asarray(sigma, np.float64)) ** 2
    e = (dx**2 + dy**2) / variance / (truth.area + np.spacing(1))[:, None] / 2  # D G K
    counts = truth.labelled | bare
    return np.where(counts, np.exp(-e), 0.0).sum(-1) / counts.sum(-1)


def average_precision(truth: Truth, found: Found, sigma: Sequence[float]) -> dict[str, float | None]:
    """AP, AP50, AP75, APM, APL and AR, AR50, AR75, ARM, ARL; None where no truth is in the area range.

    Raises ValueError when the sigmas do not fit the points.
    """
    if len(sigma) != truth.xy.shape[1]:
        raise ValueError(f"{len(sigma)} sigmas for {truth.xy.shape[1]} points")
    images = np.unique(np.concatenate([truth.image, found.image]))
    parts = [_one_image(truth, found, image, sigma) for image in images.tolist()]
    out: dict[str, float | None] = {}
    for index, suffix in enumerate(AREAS):
        precision, recall = _curves([part[index] for part in parts])
        out[f"AP{suffix}"], out[f"AR{suffix}"] = _mean(precision), _mean(recall)
        if not suffix:
            for name, at in (("50", 0), ("75", 5)):
                out[f"AP{name}"], out[f"AR{name}"] = _mean(precision[at:][:1]), _mean(recall[at:][:1])
    order = ("", "50", "75", "M", "L")
    return {f"{kind}{suffix}": out[f"{kind}{suffix}"] for kind in ("AP", "AR") for suffix in order}


# --------------------------------------------------------------------------------------------------- helpers


@dataclass(frozen=True)
class _Matches:
    """Of one image in one area range: detections by falling score, T similarities."""

    score: NDArray[np.float64]  # d
    right: NDArray[np.bool_]  # T d
    wrong: NDArray[np.bool_]  # T d
    wanted: int


def _one_image(truth: Truth, found: Found, image: int, sigma: Sequence[float]) -> list[_Matches]:
    rows = np.flatnonzero(truth.image == image)
    here = Truth(**{name: getattr(truth, name)[rows] for name in Truth.__dataclass_fields__})
    mine = np.flatnonzero(found.image == image)
    mine = mine[np.argsort(-found.score[mine], kind="stable")][:MAX_DETECTIONS]
    xy = found.xy[mine]
    similarity = oks(here, xy, sigma)
    extent = np.prod(xy.max(1) - xy.min(1), axis=-1)  # pycocotools gives a detection the area of its points
    out = []
    for low, high in AREAS.values():
        ignored = here.crowd | ~here.labelled.any(1) | (here.area < low) | (here.area > high)
        matched, to_ignored = _match(similarity, ignored, here.crowd)
        skipped = to_ignored | (~matched & ((extent < low) | (extent > high)))
        wanted = int((~ignored).sum())
        out.append(_Matches(found.score[mine], matched & ~skipped, ~matched & ~skipped, wanted))
    return out


def _match(
    similarity: Float[np.ndarray, "D G"], ignored: Bool[np.ndarray, " G"], crowd: Bool[np.ndarray, " G"]
) -> tuple[Bool[np.ndarray, "T D"], Bool[np.ndarray, "T D"]]:
    """Greedy, best score first, at every similarity at once: (matched, matched to an ignored truth)."""
    d, g = similarity.shape
    matched, to_ignored = np.zeros((2, len(SIMILARITIES), d), np.bool_)
    if not g:
        return matched, to_ignored
    taken = np.zeros((len(SIMILARITIES), g), np.bool_)
    levels = np.arange(len(SIMILARITIES))
    for i, row in enumerate(similarity):
        open_ = (~taken | crowd) & (row >= np.minimum(SIMILARITIES, 1 - 1e-10)[:, None])  # T G
        regular = open_ & ~ignored
        pool = np.where(regular.any(1, keepdims=True), regular, open_)
        best = g - 1 - np.where(pool, row, -1.0)[:, ::-1].argmax(1)  # the last among equals
        hit = pool.any(1)
        matched[:, i], to_ignored[:, i] = hit, hit & ignored[best]
        taken[levels[hit], best[hit]] = True
    return matched, to_ignored


def _curves(parts: list[_Matches]) -> tuple[Float[np.ndarray, "T R"], Float[np.ndarray, "T 1"]]:
    """Precision at 101 recalls and the largest recall, at every similarity; empty when nothing is wanted."""
    wanted = sum(part.wanted for part in parts)
    if not wanted:
        return np.zeros((0, len(RECALLS))), np.zeros((0, 1))
    order = np.argsort(-np.concatenate([part.score for part in parts]), kind="stable")
    right = np.cumsum(np.concatenate([part.right for part in parts], 1)[:, order], 1, dtype=np.float64)
    wrong = np.cumsum(np.concatenate([part.wrong for part in parts], 1)[:, order], 1, dtype=np.float64)
    if not len(order):
        return np.zeros((len(SIMILARITIES), len(RECALLS))), np.zeros((len(SIMILARITIES), 1))
    precision = right / (right + wrong + np.spacing(1))
    envelope = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
    envelope = np.pad(envelope, ((0, 0), (0, 1)))  # precision 0 at recalls that are never reached
    at = np.stack([np.searchsorted(r, RECALLS, side="left") for r in right / wanted])
    return np.take_along_axis(envelope, at, 1), right[:, -1:] / wanted


def _mean(values: Float[np.ndarray, "T R"]) -> float | None:
    return float(values.mean()) if values.size else None
