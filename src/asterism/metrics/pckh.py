"""PCKh, the measure of MPII: a joint is right within a share of the head's size (Andriluka, CVPR 2014).

Three details move the number, and all three are those of HRNet's evaluation (lib/dataset/mpii.py):
`<=` at the threshold (others take `<`); pelvis and thorax left out of the mean (the hourglass' own script
keeps them); the mean weighted by how often each joint is labelled. What HRNet prints as "Mean@0.1" is
measured at 0.11, others measure at 0.10: both are here under their own names.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

HEAD_SHARE = 0.6  # of the diagonal of the head box: SC_BIAS of the official script
MPII_NAMES = (
    "right_ankle",
    "right_knee",
    "right_hip",
    "left_hip",
    "left_knee",
    "left_ankle",
    "pelvis",
    "thorax",
    "upper_neck",
    "head_top",
    "right_wrist",
    "right_elbow",
    "right_shoulder",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
)
LEFT_OUT = ("pelvis", "thorax")


@dataclass(frozen=True)
class PckhScore:
    """Shares in [0, 1]. `joints` at 0.5 of the head size, None for a joint that is labelled nowhere.

    `hrnet_mean_at_0_1` is what HRNet calls Mean@0.1, measured at 0.11 of the head size.
    """

    joints: dict[str, float | None]
    mean_at_0_50: float
    mean_at_0_10: float
    hrnet_mean_at_0_1: float


def head_size(head_box: Float[np.ndarray, "N 4"]) -> Float[np.ndarray, " N"]:
    """0.6 of the diagonal of each (x, y, width, height), in pixels: the `normalize` of MPII's tables."""
    return HEAD_SHARE * np.hypot(head_box[:, 2], head_box[:, 3])


def pckh(
    distance: Float[np.ndarray, "N K"],
    labelled: Bool[np.ndarray, "N K"],
    head: Float[np.ndarray, " N"],
    names: Sequence[str] = MPII_NAMES,
) -> PckhScore:
    """PCKh of K named joints; the joints named pelvis and thorax are left out of the means.

    Raises ValueError when the names do not fit, a head has no size, or nothing that counts is labelled.
    """
    if len(names) != distance.shape[1]:
        raise ValueError(f"{len(names)} names for {distance.shape[1]} joints")
    if (head[labelled.any(1)] <= 0).any():
        raise ValueError("every labelled row needs a head size above 0")
    joints = {
        name: float(right) if count else None
        for name, right, count in zip(names, _right(distance, labelled, head, 0.5), labelled.sum(0))
    }
    counted = labelled & np.array([name not in LEFT_OUT for name in names])
    if not counted.any():
        raise ValueError("no joint that counts is labelled")

    def mean(threshold: float) -> float:
        # Weighting each joint's share by its count is the share of all counted points.
        return float((_right(distance, counted, head, threshold) * counted.sum(0)).sum() / counted.sum())

    return PckhScore(
        joints=joints, mean_at_0_50=mean(0.5), mean_at_0_10=mean(0.10), hrnet_mean_at_0_1=mean(0.11)
    )


def _right(
    distance: Float[np.ndarray, "N K"],
    labelled: Bool[np.ndarray, "N K"],
    head: Float[np.ndarray, " N"],
    threshold: float,
) -> Float[np.ndarray, " K"]:
    relative = np.where(labelled, distance, np.inf) / np.where(head > 0, head, 1.0)[:, None]
    return (relative <= threshold).sum(0) / np.maximum(labelled.sum(0), 1)
