"""Do points know left from right? Points found in pictures and in their mirror images, compared.

A point on the left eye is, in the mirror image, on what is now the right eye, so points on parts come back
under a permutation: partners exchange, points of the midline stay. The permutation is learned from the
points themselves, without labels. Points of the picture (a fixed grid that is symmetric) pass this test too:
it says whether points are consistent, not whether they are on the object.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from asterism.ops.pairing import best_involution


@dataclass(frozen=True)
class MirrorScore:
    """Mean distances in pixels between points and mirrored points, under the learned permutation and under
    none; `per_point` is under the learned one."""

    swap: tuple[int, ...]
    error: float
    error_without_swap: float
    per_point: tuple[float, ...]


def back(
    mirrored: Float[np.ndarray, "N P 2"], width: int | Float[np.ndarray, " N"]
) -> Float[np.ndarray, "N P 2"]:
    """Points of the mirror images in pixels of the pictures, which are `width` pixels wide."""
    last = np.broadcast_to(np.asarray(width, dtype=np.float64) - 1, len(mirrored))
    return np.stack([last[:, None] - mirrored[..., 0], mirrored[..., 1]], axis=-1)


def learn_swap(
    points: Float[np.ndarray, "N P 2"],
    mirrored: Float[np.ndarray, "N P 2"],
    width: int | Float[np.ndarray, " N"],
) -> tuple[int, ...]:
    """swap[p]: the point that lies, in the mirror images, where p lies in the pictures; its own inverse.

    The assignment with the least sum of median distances: medians, because a few pictures in which a point
    is lost must not decide.
    """
    return best_involution(-np.median(_distances(points, back(mirrored, width)), axis=0))


def mirror_error(
    points: Float[np.ndarray, "N P 2"],
    mirrored: Float[np.ndarray, "N P 2"],
    width: int | Float[np.ndarray, " N"],
    swap: tuple[int, ...],
) -> Float[np.ndarray, " P"]:
    """Mean distance, per point, between the point and its partner of the mirror image, in pixels."""
    gap = points - back(mirrored, width)[:, list(swap)]
    return np.hypot(gap[..., 0], gap[..., 1]).mean(0)


def mirror_score(
    points: Float[np.ndarray, "N P 2"],
    mirrored: Float[np.ndarray, "N P 2"],
    width: int | Float[np.ndarray, " N"],
) -> MirrorScore:
    """The permutation is learned on every other picture and judged on the rest. N must be at least 2."""
    if len(points) < 2:
        raise ValueError(f"mirror_score: wanted at least 2 pictures, got {len(points)}")
    width = np.broadcast_to(np.asarray(width, dtype=np.float64), len(points))
    swap = learn_swap(points[::2], mirrored[::2], width[::2])
    rest = points[1::2], mirrored[1::2], width[1::2]
    judged = mirror_error(*rest, swap)
    still = mirror_error(*rest, tuple(range(points.shape[1])))
    return MirrorScore(
        swap=swap,
        error=float(judged.mean()),
        error_without_swap=float(still.mean()),
        per_point=tuple(float(e) for e in judged),
    )


def _distances(a: Float[np.ndarray, "N P 2"], b: Float[np.ndarray, "N P 2"]) -> Float[np.ndarray, "N P P"]:
    gap = a[:, :, None] - b[:, None]
    return np.hypot(gap[..., 0], gap[..., 1])
