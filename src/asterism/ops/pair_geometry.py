"""Two images of one thing: which candidate matches one similarity, mirrored or not, and then one affine map,
allows.

Points are complex numbers while a similarity is looked for (q = a p + b, mirrored: q = a conj(p) + b).
Lengths are in units of the points' spread, so nothing here knows pixels. Numpy, a fraction of a millisecond
for ten points.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

_MIRROR_MUST_WIN_BY = 1.15  # a mirror image needs more evidence: most pictures are not mirrored


@dataclass(frozen=True, kw_only=True)
class GeometryConfig:
    """hypotheses: two-point ones per pair; scale: of a residual, in the points' spread, for the first look;
    finest: to which it may shrink while the map is refitted; refits: how often; nearest: candidates per
    point."""

    hypotheses: int = 400
    scale: float = 0.3
    finest: float = 0.04
    refits: int = 3
    nearest: int = 3


def verified(
    p: Float[np.ndarray, "P 2"],
    q: Float[np.ndarray, "Q 2"],
    similar: Float[np.ndarray, "P Q"],
    config: GeometryConfig,
    seed: int,
) -> tuple[Float[np.ndarray, "P Q"], float]:
    """Weights in [0, 1] of one-to-one matches (0 elsewhere), and the share of points the map explains.

    `similar` is not negative; 0 is no candidate. Without two candidates nothing is explained.
    """
    none = np.zeros(similar.shape), 0.0
    if min(similar.shape) < 3 or np.count_nonzero(similar) < 3:
        return none
    zp, sp = _unit(p)
    zq, sq = _unit(q)
    if sp == 0 or sq == 0:
        return none
    looks = similar / similar.max()
    i, j = _candidates(looks, config.nearest)
    # Among many points something is near everywhere: no coarser than most of a neighbour's distance.
    coarse = min(config.scale, 0.8 / np.sqrt(max(similar.shape)))
    draws = int(
        config.hypotheses * np.clip((len(i) / 80) ** 2.5, 1, 5)
    )  # more candidates, fewer of them right
    flipped, a, b = _best_similarity(zp, zq, i, j, looks[i, j], coarse, draws, seed)
    source = np.conj(zp) if flipped else zp
    moved = a * source + b
    scale, gauss = coarse, np.zeros(similar.shape)
    rows = columns = np.zeros(0, np.int64)
    for turn in range(config.refits + 1):
        off = np.abs(moved[:, None] - zq[None]) / scale
        gauss = np.exp(-0.5 * np.minimum(off, 8) ** 2)
        rows, columns = linear_sum_assignment(2 * gauss + 0.5 * looks, maximize=True)
        weight = gauss[rows, columns]
        if turn == config.refits or weight.sum() < 2:
            break
        moved = _affine(source, rows, zq[columns], weight)
        near = np.abs(moved[rows] - zq[columns])[weight > 0.3]
        scale = float(np.clip(3 * np.median(near), config.finest, coarse)) if len(near) > 2 else scale
    out = np.zeros(similar.shape)
    out[rows, columns] = gauss[rows, columns]
    out[out < 0.05] = 0
    return out, float(out.sum() / min(similar.shape))


def _unit(xy: np.ndarray) -> tuple[np.ndarray, float]:
    centred = xy - np.median(xy, axis=0)
    spread = float(np.sqrt((centred**2).sum(1).mean()))
    return (centred[:, 0] + 1j * centred[:, 1]) / max(spread, 1e-12), spread


def _candidates(looks: np.ndarray, nearest: int) -> tuple[np.ndarray, np.ndarray]:
    """The one-to-one matches, and every point's few best."""
    chosen = np.zeros(looks.shape, dtype=bool)
    chosen[linear_sum_assignment(looks, maximize=True)] = True
    few = min(nearest, looks.shape[1])
    best = np.argpartition(-looks, few - 1, axis=1)[:, :few]
    np.put_along_axis(chosen, best, True, axis=1)
    rows, columns = np.nonzero(chosen & (looks > 0))
    return rows, columns


def _best_similarity(zp, zq, i, j, looks, scale, draws, seed):
    """(mirrored, a, b) with the most soft inliers among random pairs of candidates."""
    dice = np.random.default_rng(seed)
    chance = looks / looks.sum()
    one, two = dice.choice(len(i), (2, draws), p=chance)
    usable = (i[one] != i[two]) & (j[one] != j[two])
    one, two = one[usable], two[usable]
    best = (False, 1 + 0j, 0j)
    most = 0.0
    if len(one) == 0:
        return best
    for flipped in (False, True):
        z = np.conj(zp) if flipped else zp
        gap = z[i[one]] - z[i[two]]
        a = (zq[j[one]] - zq[j[two]]) / np.where(np.abs(gap) < 1e-9, 1e-9, gap)
        b = zq[j[one]] - a * z[i[one]]
        fair = (np.abs(a) > 0.25) & (np.abs(a) < 4)
        if not fair.any():
            continue
        a, b = a[fair], b[fair]
        off = np.abs(a[:, None] * z[i] + b[:, None] - zq[j]) * np.maximum(1, 1 / np.abs(a))[:, None]
        score = np.exp(-0.5 * (off / (scale / 2)) ** 2) @ looks
        top = int(np.argmax(score))
        if score[top] > most * (_MIRROR_MUST_WIN_BY if flipped else 1):
            most, best = float(score[top]), (flipped, complex(a[top]), complex(b[top]))
    return best


def _affine(z: np.ndarray, rows: np.ndarray, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """All of z moved by the affine map (u z + v conj(z) + t) of a weighted fit that prefers v = 0 when points
    are few.
    """
    basis = np.stack([z, np.conj(z), np.ones_like(z)], axis=1)
    at = basis[rows]
    ridge = np.diag([1e-6, 1.0, 1e-9])
    normal = (at.conj().T * weight) @ at + ridge
    return basis @ np.linalg.solve(normal, (at.conj().T * weight) @ target)
