"""Linear heads from discovered points to labelled points, and their choice by cross-validation.

N rows, P discovered points, K labelled points; pixels in and out, in the coordinates that are given. A head
answers  xy_k = origin + intercept_k + sum_p (q_p - origin) W_pk,  W_pk a 2x2 block:

ridge      origin 0, any W, intercept not penalised (Hoerl and Kennard 1970). Exact under translation and
           scale of the coordinates, but not under rotations that the labelled rows never showed.
complex    origin = the points' centroid, no intercept, W a rotation and scale, that is one complex number
           a_pk:  p - c = sum a_k (q_k - c).  It turns with the object by construction. From ONE row it is the
           least-squares similarity that carries that row's points to the new ones.
local      ridge that begins elsewhere: where the labels say nothing else, a point moves as the discovered
           points near it do (fit_local). The one for few labels.
lstsq      origin 0, no intercept, no penalty: the head of Jakab et al., NeurIPS 2018 (imm, scripts/test.py).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from numpy.typing import NDArray

# Penalties relative to the mean squared singular value of the features, so that they mean the same at any
# scale. Infinity answers the mean label (ridge): cross-validation may find that the points say nothing.
PENALTIES = (np.inf, *np.logspace(2, -6, 9).tolist())
FOLDS = 5  # leave-one-out up to five images
# Of a body that bends smoothly, in spreads of its points. On generated animals and a real mouse 0.4 to 1.2
# and 0.1 to 1 differ by a few hundredths of the error of the mean label.
REACH, NOISE = 0.6, 0.3


@dataclass(frozen=True)
class LinearHead:
    """`known[k]` is False for a point that had no labelled row to learn from; its answer means nothing."""

    kind: str
    penalty: float
    follows_centroid: bool
    weight: Float[np.ndarray, "P 2 K 2"]
    intercept: Float[np.ndarray, "K 2"]
    known: Bool[np.ndarray, " K"]

    def __call__(self, points: Float[np.ndarray, "N P 2"]) -> Float[np.ndarray, "N K 2"]:
        origin = points.mean(1, keepdims=True) if self.follows_centroid else np.zeros(2)
        features = (points - origin).reshape(len(points), -1)  # N 2P
        k = len(self.known)
        moved = features @ self.weight.reshape(features.shape[1], 2 * k)
        return origin + self.intercept + moved.reshape(len(points), k, 2)

    @property
    def gain(self) -> float:
        """Pixels (rms) by which the answer moves when every coordinate of the points gets noise of 1 px.

        1 copies a point, less averages, much more reads the answer out of motions too small to see.
        """
        origin = 1 / len(self.weight) if self.follows_centroid else 0.0
        carried = origin * (np.eye(2)[:, None] - self.weight.sum(0))  # 2 K 2: through the centroid
        return float(np.sqrt(((self.weight + carried) ** 2).sum((0, 1))[self.known].mean()))


Fit = Callable[
    [Float[np.ndarray, "N P 2"], Float[np.ndarray, "N K 2"], Bool[np.ndarray, "N K"]], list[LinearHead]
]


def fit_ridge(
    points: Float[np.ndarray, "N P 2"], xy: Float[np.ndarray, "N K 2"], labelled: Bool[np.ndarray, "N K"]
) -> list[LinearHead]:
    """One head per entry of PENALTIES; every labelled point uses all rows in which it is labelled."""
    p, k = points.shape[1], xy.shape[1]
    weight = np.zeros((len(PENALTIES), p, 2, k, 2))
    intercept = np.zeros((len(PENALTIES), k, 2))
    features = points.reshape(len(points), -1)
    for rows, columns in _patterns(labelled):
        x, y = features[rows], xy[rows][:, columns].reshape(rows.sum(), -1)
        solved = _solve(x - x.mean(0), y - y.mean(0))  # penalties 2P 2k
        weight[..., columns, :] = solved.reshape(len(PENALTIES), p, 2, -1, 2)
        intercept[:, columns] = (y.mean(0) - x.mean(0) @ solved).reshape(len(PENALTIES), -1, 2)
    return _heads("ridge", False, weight, intercept, labelled)


def fit_complex(
    points: Float[np.ndarray, "N P 2"], xy: Float[np.ndarray, "N K 2"], labelled: Bool[np.ndarray, "N K"]
) -> list[LinearHead]:
    """One head per entry of PENALTIES, equivariant to every similarity of the plane."""
    centroid = points.mean(1, keepdims=True)  # N 1 2
    features, targets = _complex(points - centroid), _complex(xy - centroid)
    solved = np.zeros((len(PENALTIES), points.shape[1], xy.shape[1]), np.complex128)
    for rows, columns in _patterns(labelled):
        solved[..., columns] = _solve(features[rows], targets[rows][:, columns])
    a, b = solved.real, solved.imag  # (x + iy)(a + ib): x' = a x - b y, y' = b x + a y
    weight = np.stack([np.stack([a, b], -1), np.stack([-b, a], -1)], 2)  # penalties P 2 K 2
    return _heads("complex", True, weight, np.zeros((len(PENALTIES), xy.shape[1], 2)), labelled)


def fit_local(
    points: Float[np.ndarray, "N P 2"], xy: Float[np.ndarray, "N K 2"], labelled: Bool[np.ndarray, "N K"]
) -> list[LinearHead]:
    """One head per entry of PENALTIES: a smooth deformation of the body, and a ridge on what it leaves over.

    Kriging: displacements of places a distance d apart are correlated by exp(-d^2 / 2 reach^2), those of
    discovered points are seen with some noise; a label's place among them is its mean. No weight is learned
    for this part, so a handful of labels is enough; an infinite penalty leaves it alone.
    """
    count = np.maximum(labelled.sum(0), 1)[:, None]
    place, middle = np.where(labelled[..., None], xy, 0.0).sum(0) / count, points.mean(0)
    spread = np.sqrt(((middle - middle.mean(0)) ** 2).sum(-1).mean()) or 1.0
    reach = REACH * spread
    own, cross = (np.exp(-_apart(a, middle) / (2 * reach**2)) for a in (middle, place))
    share = np.linalg.solve(own + NOISE * np.eye(len(middle)), cross.T)  # P K
    weight = share[:, None, :, None] * np.eye(2)[:, None]  # P 2 K 2
    left_over = xy - np.einsum("npd,pk->nkd", points, share)
    return [
        replace(head, kind="local", weight=head.weight + weight)
        for head in fit_ridge(points, left_over, labelled)
    ]


def fit_lstsq(
    points: Float[np.ndarray, "N P 2"], xy: Float[np.ndarray, "N K 2"], labelled: Bool[np.ndarray, "N K"]
) -> list[LinearHead]:
    """The lenient head: one least-squares solution (minimum norm when it is not unique)."""
    weight = np.zeros((1, points.shape[1], 2, xy.shape[1], 2))
    features = points.reshape(len(points), -1)
    for rows, columns in _patterns(labelled):
        y = xy[rows][:, columns].reshape(rows.sum(), -1)
        solved = np.linalg.lstsq(features[rows], y, rcond=None)[0]
        weight[0][:, :, columns] = solved.reshape(points.shape[1], 2, -1, 2)
    return _heads("lstsq", False, weight, np.zeros((1, xy.shape[1], 2)), labelled, (0.0,))


Solve = Callable[
    [Float[np.ndarray, "n F"], Float[np.ndarray, "n T"]],
    tuple[Float[np.ndarray, "F T"], Float[np.ndarray, " T"]],
]


def fit_with(
    kind: str,
    solve: Solve,
    points: Float[np.ndarray, "N P 2"],
    xy: Float[np.ndarray, "N K 2"],
    labelled: Bool[np.ndarray, "N K"],
) -> LinearHead:
    """A head whose weights and intercept come from `solve(features, targets)`, for the rules of papers."""
    p, k = points.shape[1], xy.shape[1]
    weight, intercept = np.zeros((1, p, 2, k, 2)), np.zeros((1, k, 2))
    features = points.reshape(len(points), -1)
    for rows, columns in _patterns(labelled):
        w, b = solve(features[rows], xy[rows][:, columns].reshape(rows.sum(), -1))
        weight[0][:, :, columns], intercept[0][columns] = w.reshape(p, 2, -1, 2), b.reshape(-1, 2)
    return _heads(kind, False, weight, intercept, labelled, (0.0,))[0]


def moved_origin(head: LinearHead, origin: Float[np.ndarray, "2"]) -> LinearHead:
    """The same head in other coordinates: it was fitted to points and labels less `origin`."""
    carried = np.einsum("i,pikj->kj", origin, head.weight)
    return replace(head, intercept=head.intercept + origin - carried)


def fit_mean(
    points: Float[np.ndarray, "N P 2"], xy: Float[np.ndarray, "N K 2"], labelled: Bool[np.ndarray, "N K"]
) -> list[LinearHead]:
    """The control that looks at nothing: the mean of each label (ridge with an infinite penalty)."""
    count = np.maximum(labelled.sum(0), 1)[:, None]
    intercept = np.where(labelled[..., None], xy, 0.0).sum(0) / count
    weight = np.zeros((1, points.shape[1], 2, xy.shape[1], 2))
    return _heads("mean", False, weight, intercept[None], labelled, (np.inf,))


def fit_median(
    points: Float[np.ndarray, "N P 2"], xy: Float[np.ndarray, "N K 2"], labelled: Bool[np.ndarray, "N K"]
) -> list[LinearHead]:
    """The median of each label, per axis: one label that is far off does not move it."""
    weight, intercept = np.zeros((1, points.shape[1], 2, xy.shape[1], 2)), np.zeros((1, xy.shape[1], 2))
    for k in np.flatnonzero(labelled.any(0)):
        intercept[0, k] = np.median(xy[labelled[:, k], k], axis=0)
    return _heads("median", False, weight, intercept, labelled, (np.inf,))


def cross_validated(
    fits: tuple[Fit, ...],
    points: Float[np.ndarray, "N P 2"],
    xy: Float[np.ndarray, "N K 2"],
    labelled: Bool[np.ndarray, "N K"],
    image: Int[np.ndarray, " N"],
    rng: np.random.Generator,
) -> list[LinearHead]:
    """One head per fit, its penalty the one with the least mean distance on held-out images; best fit first.

    Rows of one image stay in one fold. With a single image nothing can be held out: then the penalty is
    the smallest, and the LAST fit comes first (for ridge and complex: the similarity; the ridge of one row is
    that row's labels, whatever the points do).
    """
    candidates = [fit(points, xy, labelled) for fit in fits]
    folds = _folds(image, rng)
    if len(folds) < 2:
        return [heads[-1] for heads in reversed(candidates)]
    sums = [np.zeros(len(heads)) for heads in candidates]
    for held in folds:
        for total, fit in zip(sums, fits):
            trained = fit(points[~held], xy[~held], labelled[~held])
            total += [_held_out(head, points[held], xy[held], labelled[held]) for head in trained]
    order = sorted(range(len(fits)), key=lambda i: sums[i].min())  # a stable sort: on a tie the first fit
    return [candidates[i][int(sums[i].argmin())] for i in order]


# --------------------------------------------------------------------------------------------------- helpers


def _complex(xy: Float[np.ndarray, "*S 2"]) -> NDArray[np.complex128]:
    return xy[..., 0] + 1j * xy[..., 1]


def _apart(a: Float[np.ndarray, "m 2"], b: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "m n"]:
    """Squared distances."""
    return ((a[:, None] - b) ** 2).sum(-1)


def _patterns(labelled: Bool[np.ndarray, "N K"]) -> list[tuple[NDArray[np.bool_], NDArray[np.int64]]]:
    """(rows, points that are labelled in exactly these rows), so that one factorisation serves them all."""
    unique, inverse = np.unique(labelled, axis=1, return_inverse=True)
    groups = [(unique[:, g], np.flatnonzero(inverse.ravel() == g)) for g in range(unique.shape[1])]
    return [(rows, columns) for rows, columns in groups if rows.any()]


def _solve(x: Shaped[np.ndarray, "n F"], y: Shaped[np.ndarray, "n T"]) -> Shaped[np.ndarray, "A F T"]:
    """argmin |x w - y|² + penalty * mean(s²) |w|² for every penalty, s the singular values of x.

    The mean is over all F features; features that are zero everywhere leave only the zero solution. Squaring
    the singular values is safe, for the smallest penalty is far above their rounding.
    """
    adjoint = x.conj().T
    if len(x) > x.shape[1]:
        power, v = np.linalg.eigh(adjoint @ x)
    else:  # few rows: the short way round
        _, s, vh = np.linalg.svd(x, full_matrices=False)
        power, v = s**2, vh.conj().T
    mean = power.sum() / x.shape[1]
    penalty = np.asarray(PENALTIES)[:, None] * mean if mean else np.full((len(PENALTIES), 1), np.inf)
    return (v / (power + penalty)[:, None]) @ (v.conj().T @ (adjoint @ y))


def _heads(
    kind: str,
    follows_centroid: bool,
    weight: Float[np.ndarray, "A P 2 K 2"],
    intercept: Float[np.ndarray, "A K 2"],
    labelled: Bool[np.ndarray, "N K"],
    penalties: tuple[float, ...] = PENALTIES,
) -> list[LinearHead]:
    known = np.any(labelled, axis=0, keepdims=False)
    return [
        LinearHead(kind, penalty, follows_centroid, w, b, known)
        for penalty, w, b in zip(penalties, weight, intercept)
    ]


def _folds(image: Int[np.ndarray, " N"], rng: np.random.Generator) -> list[NDArray[np.bool_]]:
    """Rows held out, fold by fold: images dealt at random into FOLDS hands of nearly equal size."""
    images, index = np.unique(image, return_inverse=True)
    hand = rng.permutation(len(images)) % min(FOLDS, len(images))
    return [hand[index] == f for f in range(min(FOLDS, len(images)))]


def _held_out(
    head: LinearHead,
    points: Float[np.ndarray, "n P 2"],
    xy: Float[np.ndarray, "n K 2"],
    labelled: Bool[np.ndarray, "n K"],
) -> float:
    gap = (head(points) - xy)[labelled & head.known]
    return float(np.hypot(gap[:, 0], gap[:, 1]).sum())
