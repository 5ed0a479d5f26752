"""One person, one answer: detections of one picture that are each other's likeness, suppressed by OKS.

    similarity of two detections  mean over points of exp(-d^2 / (2 (2 sigma)^2 area)), area the mean of both
    greedy                        the best stays, what is like it goes, the next best stays ...
    soft                          what is like it keeps exp(-similarity^2 / threshold) of its score
    rescoring                     box score times the mean of those keypoint scores that are above 0.2

Greedy on OKS: Papandreou et al., Towards Accurate Multi-person Pose Estimation in the Wild, CVPR 2017. Soft:
Bodla, Singh, Chellappa, Davis, Soft-NMS, ICCV 2017. Thresholds and rescoring: the code of HRNet (Sun et al.,
CVPR 2019), which compares the points of one of two detections where both were meant: here `counts` of both.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

THRESHOLD = 0.9  # HRNet's, for greedy and for soft
LEAST = 0.2  # HRNet's: a keypoint below says nothing about its person
MOST = 20  # detections of a picture that COCO counts


def similarity(
    xy: Float[np.ndarray, "N K 2"],
    area: Float[np.ndarray, " N"],
    sigma: Sequence[float],
    counts: Bool[np.ndarray, "N K"] | None = None,
) -> Float[np.ndarray, "N N"]:
    """Symmetric, 1 on the diagonal. Only points that `counts` of both are compared (None: all); two
    detections without such a point are not alike at all. `area` in squared pixels of xy.

    Raises ValueError when the sigmas do not fit the points.
    """
    if len(sigma) != xy.shape[1]:
        raise ValueError(f"{len(sigma)} sigmas for {xy.shape[1]} points")
    both = np.ones(xy.shape[:2], bool) if counts is None else counts
    both = both[:, None] & both[None]  # N N K
    far = np.square(xy[:, None] - xy[None]).sum(-1)
    size = (area[:, None] + area[None])[..., None] / 2 + np.spacing(1.0)
    like = np.exp(-far / (2 * (2 * np.asarray(sigma, np.float64)) ** 2 * size))
    mean = np.where(both, like, 0.0).sum(-1) / np.maximum(both.sum(-1), 1)
    np.fill_diagonal(mean, 1.0)
    return mean


def greedy(
    alike: Float[np.ndarray, "N N"], score: Float[np.ndarray, " N"], threshold: float = THRESHOLD
) -> Int[np.ndarray, " M"]:
    """Indices of those that stay, best first: alike by at most `threshold` to every better one that stays."""
    kept: list[int] = []
    for i in np.argsort(-score, kind="stable").tolist():
        if (alike[i, kept] <= threshold).all():
            kept.append(i)
    return np.array(kept, np.int64)


def soft(
    alike: Float[np.ndarray, "N N"],
    score: Float[np.ndarray, " N"],
    threshold: float = THRESHOLD,
    most: int = MOST,
) -> tuple[Int[np.ndarray, " M"], Float[np.ndarray, " M"]]:
    """Indices in the order of their new scores, at most `most`, and these scores."""
    left, rest = score.astype(np.float64), np.ones(len(score), bool)
    kept = []
    while rest.any() and len(kept) < most:
        best = int(np.where(rest, left, -np.inf).argmax())
        kept.append(best)
        rest[best] = False
        left[rest] *= np.exp(-np.square(alike[best, rest]) / threshold)
    index = np.array(kept, np.int64)
    return index, left[index]


def rescored(
    box_score: Float[np.ndarray, " N"], score: Float[np.ndarray, "N K"], least: float = LEAST
) -> Float[np.ndarray, " N"]:
    """box_score times the mean of the keypoint scores above `least`; 0 where none is."""
    sure = score > least
    return box_score * np.where(sure, score, 0.0).sum(1) / np.maximum(sure.sum(1), 1)
