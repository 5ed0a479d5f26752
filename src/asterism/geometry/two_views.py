"""A homography or a fundamental matrix from matches many of which are wrong.

Minimal samples are drawn, first of the matches that come first (Chum, Matas, "Matching with PROSAC", CVPR
2005: give the best first; any order works), until it is likely that one of them was without a wrong match.
Every model is judged by the truncated sum of its squared errors (MSAC: Torr and Zisserman, "MLESAC", CVIU
2000), first on some of the matches, and the best are fitted again to all that agree with them (Chum, Matas,
Kittler, "Locally optimized RANSAC", DAGM 2003). Homographies that turn the picture over, or press it flat,
are no views. Errors are Sampson's, in pixels of both views together. Which of the two models explains matches
better is left to engine.match.log_chance.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from asterism.geometry import epipolar, homography

_FIRST_LOOK = 256  # matches on which every sample is judged
_FINALISTS = 16  # samples that are judged on all matches
_FITS = 8  # to the matches that agree
_ROUND = 2000  # samples, after which it is asked whether they were enough
_MISSED = 0.01  # probability that no sample was without a wrong match
_GROWTH = 400.0  # largest ratio of areas in the two views, or of the second and the first


@dataclass(frozen=True, kw_only=True)
class TwoViews:
    """What explains the matches: `matrix` is b_from_a of a homography or f of epipolar.py; `kind` says which.

    `inlier`: matches whose Sampson error is below the threshold.
    """

    kind: str  # homography or fundamental
    matrix: Float[Tensor, "3 3"]
    inlier: Bool[Tensor, " N"]


@dataclass(frozen=True)
class _Model:
    kind: str
    least: int  # matches of a minimal sample
    enough: int  # matches of a fit
    minimal: Callable[[Tensor, Tensor], Tensor]  # S least 2, twice -> H 3 3
    fit: Callable[[Tensor, Tensor, Tensor], Tensor]
    error: Callable[[Tensor, Tensor, Tensor], Tensor]  # squared
    possible: Callable[[Tensor, Tensor], Tensor]  # of M models and matches M K 2 of the first view, which are


def _upright(b_from_a: Float[Tensor, "M 3 3"], a: Float[Tensor, "M K 2"]) -> Bool[Tensor, " M"]:
    """Homographies that keep which way round points are, and areas about as large."""
    w = a @ b_from_a[:, 2, :2, None] + b_from_a[:, 2:, 2:]
    growth = torch.linalg.det(b_from_a)[:, None, None] / w**3
    return ((growth > 1 / _GROWTH) & (growth < _GROWTH)).flatten(1).all(1)


_HOMOGRAPHY = _Model(
    *("homography", 4, 4),
    *(homography.from_points, homography.from_points, homography.sampson, _upright),
)
_FUNDAMENTAL = _Model(
    *("fundamental", 7, 8),
    *(lambda a, b: epipolar.of_seven(a, b).flatten(0, 1), epipolar.fundamental, epipolar.sampson),
    lambda f, a: torch.ones(len(f), dtype=torch.bool),
)


def robust_homography(
    a: Float[Tensor, "N 2"],
    b: Float[Tensor, "N 2"],
    *,
    threshold: float | int,
    generator: torch.Generator,
    samples: int = 20_000,
) -> TwoViews | None:
    """The homography most matches agree with, to within `threshold` pixels; None for fewer than 4 matches.

    a and b should be float64. The generator draws the samples: the same state gives the same answer.
    """
    return _robust(_HOMOGRAPHY, a, b, float(threshold), generator, samples)


def robust_fundamental(
    a: Float[Tensor, "N 2"],
    b: Float[Tensor, "N 2"],
    *,
    threshold: float | int,
    generator: torch.Generator,
    samples: int = 20_000,
) -> TwoViews | None:
    """The fundamental matrix most matches agree with; None for fewer than 8 matches."""
    return _robust(_FUNDAMENTAL, a, b, float(threshold), generator, samples)


def _robust(
    model: _Model, a: Tensor, b: Tensor, threshold: float, generator: torch.Generator, samples: int
) -> TwoViews | None:
    n = len(a)
    if n < model.enough:
        return None
    found, best_share = a.new_zeros(0, 3, 3), 0.0
    look = torch.randperm(n, generator=generator)[:_FIRST_LOOK]
    for start in range(0, samples, _ROUND):
        if start and start >= _wanted(best_share, model.least):
            break
        drawn = _drawn(n, model.least, min(_ROUND, samples - start), generator)
        new = model.minimal(a[drawn], b[drawn])
        from_a = a[drawn].repeat_interleave(len(new) // len(drawn), dim=0)
        new = new[new.isfinite().all(2).all(1) & model.possible(new, from_a)]
        found = torch.cat([found, new])
        if not len(found):
            continue
        first = _cost(model, found, a[look], b[look], threshold)
        found = found[first.topk(min(_FINALISTS, len(found)), largest=False).indices]
        agree = _error(model, found[:1], a, b)[0] <= threshold**2
        best_share = float(agree.double().mean())
    if not len(found):
        return None
    best, least = found[0], math.inf
    for _ in range(_FITS + 1):
        cost = _cost(model, found, a, b, threshold)
        if float(cost.min()) < least:
            best, least = found[cost.argmin()], float(cost.min())
        agree = _error(model, found, a, b) <= threshold**2
        found = found[agree.sum(1) >= model.enough]
        agree = agree[agree.sum(1) >= model.enough]
        if not len(found):
            break
        from_a, to_b = (xy.expand(len(found), *xy.shape) for xy in (a, b))
        found = model.fit(from_a, to_b, agree.to(a.dtype))
        agreed = torch.where(agree[..., None], a, a[agree.int().argmax(1)][:, None])
        found = found[model.possible(found, agreed)]
        if not len(found):
            break
    inlier = _error(model, best[None], a, b)[0] <= threshold**2
    return TwoViews(kind=model.kind, matrix=best, inlier=inlier)


def _wanted(share: float, least: int) -> float:
    """Samples after which one without a wrong match is likely, when `share` of the matches are right."""
    chance = share**least
    return math.log(_MISSED) / math.log1p(-chance) if 0 < chance < 1 else (math.inf if chance <= 0 else 0.0)


def _drawn(n: int, least: int, samples: int, generator: torch.Generator) -> Tensor:
    """Samples of distinct matches: the first half of them of ever more of the first matches."""
    most = torch.linspace(0, 2 * n, samples).clamp(min(2 * least, n), n)[:, None]
    dice = torch.rand(samples, n, generator=generator)
    return dice.masked_fill(torch.arange(n) >= most, -1.0).topk(least, dim=1).indices


def _error(model: _Model, found: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Squared errors, M N; infinite where a model has none."""
    every = (xy.expand(len(found), *xy.shape) for xy in (a, b))
    return model.error(found, *every).nan_to_num(nan=torch.inf)


def _cost(model: _Model, found: Tensor, a: Tensor, b: Tensor, threshold: float) -> Tensor:
    return _error(model, found, a, b).clamp_max(threshold**2).sum(1)
