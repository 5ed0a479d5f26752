"""A homography or a fundamental matrix from matches many of which are wrong.

Minimal samples are drawn, every model is judged by the truncated sum of its squared errors (MSAC: Torr and
Zisserman, "MLESAC", CVIU 2000), first on some of the matches, and the best are fitted again to all that agree
with them (Chum, Matas, Kittler, "Locally optimized RANSAC", DAGM 2003). Which of the two models explains
matches better is decided by GRIC (Torr, "Geometric motion segmentation and model selection", Phil. Trans.
1998). Errors are Sampson's, in pixels of both views together.
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
_GRIC_CAP = 2.0  # lambda_3 of Torr: the most that one match may cost, per dimension of its error


@dataclass(frozen=True, kw_only=True)
class TwoViews:
    """What explains the matches: `matrix` is b_from_a of a homography or f of epipolar.py; `kind` says which.

    `inlier`: matches whose Sampson error is below the threshold; `gric` is lower for a better model.
    """

    kind: str  # homography or fundamental
    matrix: Float[Tensor, "3 3"]
    inlier: Bool[Tensor, " N"]
    gric: float


@dataclass(frozen=True)
class _Model:
    kind: str
    least: int  # matches of a minimal sample
    enough: int  # matches of a fit
    dimension: int  # of the manifold of (a, b) that the model allows
    parameters: int
    minimal: Callable[[Tensor, Tensor], Tensor]  # S least 2, twice -> H 3 3
    fit: Callable[[Tensor, Tensor, Tensor], Tensor]
    error: Callable[[Tensor, Tensor, Tensor], Tensor]  # squared


_HOMOGRAPHY = _Model(
    "homography", 4, 4, 2, 8, homography.from_points, homography.from_points, homography.sampson
)
_FUNDAMENTAL = _Model(
    *("fundamental", 7, 8, 3, 7),
    *(lambda a, b: epipolar.of_seven(a, b).flatten(0, 1), epipolar.fundamental, epipolar.sampson),
)


def robust_homography(
    a: Float[Tensor, "N 2"],
    b: Float[Tensor, "N 2"],
    *,
    threshold: float | int,
    generator: torch.Generator,
    samples: int = 2000,
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
    samples: int = 2000,
) -> TwoViews | None:
    """The fundamental matrix most matches agree with; None for fewer than 8 matches."""
    return _robust(_FUNDAMENTAL, a, b, float(threshold), generator, samples)


def better(one: TwoViews | None, two: TwoViews | None) -> TwoViews | None:
    """The model with the lower GRIC; the one that is there, where there is one."""
    if one is None or two is None:
        return one or two
    return one if one.gric <= two.gric else two


def _robust(
    model: _Model, a: Tensor, b: Tensor, threshold: float, generator: torch.Generator, samples: int
) -> TwoViews | None:
    n = len(a)
    if n < model.enough:
        return None
    drawn = torch.rand(samples, n, generator=generator).topk(model.least, dim=1).indices
    found = model.minimal(a[drawn], b[drawn])
    found = found[found.isfinite().all(2).all(1)]
    if not len(found):
        return None
    look = torch.randperm(n, generator=generator)[:_FIRST_LOOK]
    first = _cost(model, found, a[look], b[look], threshold)
    found = found[first.topk(min(_FINALISTS, len(found)), largest=False).indices]
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
        every = (xy.expand(len(found), *xy.shape) for xy in (a, b))
        found = model.fit(*every, agree.to(a.dtype))
    error = _error(model, best[None], a, b)[0]
    inlier = error <= threshold**2
    return TwoViews(kind=model.kind, matrix=best, inlier=inlier, gric=_gric(model, error, threshold))


def _error(model: _Model, found: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Squared errors, M N; infinite where a model has none."""
    every = (xy.expand(len(found), *xy.shape) for xy in (a, b))
    return model.error(found, *every).nan_to_num(nan=torch.inf)


def _cost(model: _Model, found: Tensor, a: Tensor, b: Tensor, threshold: float) -> Tensor:
    return _error(model, found, a, b).clamp_max(threshold**2).sum(1)


def _gric(model: _Model, error: Tensor, threshold: float) -> float:
    """Torr's criterion for matches in r = 4 dimensions; the threshold is taken as two standard deviations."""
    n, r, variance = len(error), 4, (threshold / 2) ** 2
    fit = (error / variance).clamp_max(_GRIC_CAP * (r - model.dimension)).sum()
    return float(fit) + math.log(r) * model.dimension * n + math.log(r * n) * model.parameters
