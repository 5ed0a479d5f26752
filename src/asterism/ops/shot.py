"""SHOT: how the normals around a point are turned, in each of 32 parts of its surroundings; 352 numbers.

Tombari, Salti, Di Stefano, "Unique Signatures of Histograms for Local Surface Description", ECCV 2010.

local reference frame (3.1)                               ops/local_frame.shot_frames
8 parts around, 2 above and below, 2 near and far; 11 bins of the cosine in each (3.2)   shot
quadrilinear interpolation, the descriptor has length 1 (3.2)                            shot

Departs from the paper: bins of the cosine have their centres at -1, -0.8, ..., 1, as in the authors' code in
the Point Cloud Library. That code adds the four weights of the interpolation; the text says each count is
multiplied by 1 - d for each dimension, which is done here. Beyond the outermost centres nothing else takes
the share that a part loses (as there).
"""

import itertools

import numpy as np
from jaxtyping import Float, Int

from asterism.ops.cloud_keypoints import neighbours
from asterism.ops.local_frame import shot_frames

AROUND, UP, OUT, BINS = 8, 2, 2, 11  # the paper's section 3.2
LENGTH = AROUND * UP * OUT * BINS


def shot(
    points: Float[np.ndarray, "N 3"],
    normal: Float[np.ndarray, "N 3"],
    asked: Float[np.ndarray, "M 3"],
    radius: float | int,
) -> Float[np.ndarray, "M 352"]:
    """One descriptor for each of `asked` from the points within `radius`; the numbers run over the parts
    around, then above and below, then near and far, then the bins. `normal` has length 1 and a side.

    Points without a frame (fewer than five neighbours) have a descriptor of zeros.
    """
    frames = shot_frames(points, asked, radius)
    out = np.zeros((len(asked), LENGTH), np.float32)
    for rows, i, j in neighbours(points, asked, radius):
        step = points[j] - asked[rows[i]]
        distance = np.linalg.norm(step, axis=1)
        kept = (distance > 0) & (distance <= radius) & np.any(frames[rows[i]], axis=(1, 2))
        i, j, distance = i[kept], j[kept], distance[kept]
        turn = frames[rows[i]]
        local = np.einsum("pab,pb->pa", turn, step[kept]) / distance[:, None]
        cosine = np.einsum("pb,pb->p", turn[:, 2], normal[j])
        out[rows] = _histograms(local, distance / radius, cosine, i, len(rows))
    return out


def _histograms(
    way: Float[np.ndarray, "P 3"],
    share: Float[np.ndarray, " P"],
    cosine: Float[np.ndarray, " P"],
    owner: Int[np.ndarray, " P"],
    n: int,
) -> Float[np.ndarray, "n 352"]:
    """Of directions and distances (as shares of the radius) in the local frames."""
    azimuth = np.arctan2(way[:, 1], way[:, 0]) / (2 * np.pi)
    elevation = np.arcsin(way[:, 2].clip(-1, 1)) / np.pi
    places = [  # where each count lies, in steps from the first part's centre
        _halves(AROUND * azimuth + AROUND / 2 - 0.5),
        _halves(UP * elevation + UP / 2 - 0.5),
        _halves(OUT * share - 0.5),
        _halves((BINS - 1) * (cosine.clip(-1, 1) + 1) / 2),
    ]
    sizes, total = (AROUND, UP, OUT, BINS), np.zeros(n * LENGTH)
    for corner in itertools.product((0, 1), repeat=4):
        weight, at = np.ones(len(owner)), owner
        for axis, (upper, (low, rest), size) in enumerate(zip(corner, places, sizes)):
            part = low + upper
            part = part % size if axis == 0 else part
            weight = weight * np.where((part >= 0) & (part < size), rest if upper else 1 - rest, 0)
            at = at * size + part.clip(0, size - 1)
        total += np.bincount(at, weight, minlength=n * LENGTH)
    parts = total.reshape(n, LENGTH)
    return parts / np.maximum(np.linalg.norm(parts, axis=1, keepdims=True), np.finfo(float).tiny)


def _halves(at: Float[np.ndarray, " P"]) -> tuple[Int[np.ndarray, " P"], Float[np.ndarray, " P"]]:
    """The part below, and how far it is from there."""
    low = np.floor(at)
    return low.astype(np.int64), at - low
