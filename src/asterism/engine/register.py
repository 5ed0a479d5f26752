"""Bring one scan onto another, whatever their unit, or say why they do not fit.

Both are made unit-free by the larger extent. Coarse points with FPFH descriptors give matches, matches that
keep distances give candidate motions, and of these the one is chosen that lays most surface on surface and
puts least of either scan into air that the other has seen through. Iterated closest points refine it.
Whether what speaks for it is enough was learned from generated rooms, of one room and of two
(bench/clouds_register.py).
"""

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree  # pyright: ignore[reportAttributeAccessIssue]

from asterism.errors import BadCloud
from asterism.io.points import Cloud
from asterism.ops import icp
from asterism.ops.cloud_neighbours import normals, one_sided
from asterism.ops.cloud_sampling import grid_subsample
from asterism.ops.cloud_scale import extent, voxel_for
from asterism.ops.cloud_sight import Sight, find_eye, sight
from asterism.ops.consensus import agreeing, distinct, motions
from asterism.ops.fpfh import fpfh

_LEAST = 200  # points of a scan
_MOST = 120_000  # points of a scan that are looked at, chosen at random
_COARSE, _FINE = 5000, 16_000  # cells that describe, and that refine
_REACH = 6  # of a descriptor, in coarse voxels
_MATCHES = 1500  # the likeliest are kept
_PROBES = 900  # points that judge a motion
_BENT = 0.03  # surface variation that counts as no plane at all
_TRIED, _REFINED = 100, 16  # motions that are judged as they are, and after a short refinement
_AIR, _MARGIN = 10, 4  # what a probe in the other's air costs, in probes; how many voxels deep it must be

# What the rule makes of Evidence.row(). PROVISIONAL: fitted to 38 registrations of 16 generated pairs and one
# real pair, all of clouds that do overlap: of 21 right ones it keeps 17, of 17 wrong ones 7. Clouds that do
# not overlap were not among them. To be replaced by what bench/clouds_register.py --calibrate prints.
_RULE = (-4.327, 1.021, 4.689, 0.0, -37.241, 0.0)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What speaks for a motion. Lengths are in voxels, so nothing here has a unit."""

    inliers: int  # matches of descriptors that it carries to their place
    matches: int  # of all
    overlap: float  # the smaller share of points that come to lie on the other's surface
    score: float  # surface on surface, less what contradicts
    air: float  # the share of probes that lie where the other has seen through
    error: float  # root mean square along the normal, in fine voxels

    def row(self) -> Float[np.ndarray, "5"]:
        """Numbers for the rule."""
        return np.array([np.log1p(self.inliers), self.overlap, self.score, self.air, self.error])


@dataclass(frozen=True, kw_only=True)
class Registration:
    """How a is moved onto b, in the clouds' own unit, and what speaks for it.

    `covariance` is of a small turn (radians, about b's axes through `about`) and of a shift. `refused` is why
    the motion should not be used, and empty where it may.
    """

    b_from_a: Float[np.ndarray, "4 4"]
    covariance: Float[np.ndarray, "6 6"]
    about: Float[np.ndarray, "3"]
    evidence: Evidence
    confidence: float  # from 0 to 1
    refused: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class _Scan:
    fine: icp.Surface
    coarse: icp.Surface  # normals have a side
    probes: icp.Surface  # some coarse points, rather those that are on no plane
    words: Float[np.ndarray, "N 33"]  # descriptors of the coarse points
    sight: Sight


def register(a: Float[np.ndarray, "N 3"], b: Float[np.ndarray, "M 3"]) -> Registration:
    """The rigid motion of a onto b. No parameters: everything scales with the clouds.

    Raises BadCloud for fewer than 200 points, or points that have no extent.
    """
    began = time.perf_counter()
    for name, points in (("first", a), ("second", b)):
        if len(points) < _LEAST or extent(points) == 0:
            raise BadCloud(
                f"the {name} cloud: has {len(points)} points over a length of {extent(points):g}; "
                f"wanted at least {_LEAST} that are not all in one place"
            )
    unit = max(extent(a), extent(b))
    at_a, at_b = np.median(a, axis=0), np.median(b, axis=0)
    dice = np.random.default_rng(0)
    plain = [(_fewer(dice, x) - at) / unit for x, at in ((a, at_a), (b, at_b))]
    voxel = max(voxel_for(x, _COARSE) for x in plain)
    fine = min(max(voxel_for(x, _FINE) for x in plain), voxel / 2)
    one, two = (_scan(dice, x, voxel, fine) for x in plain)
    matches = _matches(one.words, two.words)
    found = _best(one, two, matches, voxel)
    found = icp.refine(_third(one.fine), two.fine, found, 4 * fine, smallest=1.5 * fine, rounds=15)
    evidence = _evidence(one, two, found, matches, voxel, fine)
    about = icp.moved(found, one.coarse.points).mean(0)
    covariance = icp.covariance(_third(one.fine), two.fine, found, 1.5 * fine, 10 * voxel, about)
    b_from_a = found.copy()
    b_from_a[:3, 3] = found[:3, 3] * unit + at_b - found[:3, :3] @ at_a
    scale = np.repeat([1.0, unit], 3)
    confidence = confidence_of(evidence)
    return Registration(
        b_from_a=b_from_a,
        covariance=np.where(np.isinf(covariance), covariance, scale[:, None] * covariance * scale),
        about=about * unit + at_b,
        evidence=evidence,
        confidence=confidence,
        refused=_why_not(evidence, confidence, covariance),
        seconds=time.perf_counter() - began,
    )


def confidence_of(evidence: Evidence) -> float:
    """How likely the motion is right, by the rule."""
    value = _RULE[0] + float(evidence.row() @ np.array(_RULE[1:]))
    return float(1 / (1 + np.exp(-np.clip(value, -50, 50))))


def _why_not(evidence: Evidence, confidence: float, covariance: np.ndarray) -> str:
    if np.isinf(covariance).any():
        return "what the clouds share leaves the motion free: one plane, or one axis, fits in many ways"
    if confidence >= 0.5:
        return ""
    if evidence.air > 0.03:
        return (
            f"no motion fits: the best puts {evidence.air:.0%} of the points where the other scan has seen "
            "through, so the clouds do not overlap enough"
        )
    return (
        f"the clouds do not overlap enough to be sure: the best motion lays {evidence.overlap:.0%} on the "
        f"other and agrees with {evidence.inliers} of {evidence.matches} matches"
    )


def _fewer(dice: np.random.Generator, points: np.ndarray) -> np.ndarray:
    if len(points) <= _MOST:
        return points
    return points[np.sort(dice.choice(len(points), _MOST, replace=False))]


def _third(surface: icp.Surface) -> icp.Surface:
    return replace(surface, points=surface.points[::3], normals=surface.normals[::3])


def _scan(dice: np.random.Generator, points: np.ndarray, voxel: float, fine: float) -> _Scan:
    few, many = grid_subsample(points, voxel), grid_subsample(points, fine)
    normal, bend = normals(few, few, 12)
    normal = one_sided(few, normal)
    coarse = icp.Surface(points=few, normals=normal, tree=cKDTree(few))
    weight = np.cumsum(0.1 + np.minimum(bend / _BENT, 1))
    row = np.unique(np.searchsorted(weight / weight[-1], (np.arange(_PROBES) + 0.5) / _PROBES))
    return _Scan(
        fine=icp.Surface(points=many, normals=normals(many, many, 16)[0], tree=cKDTree(many)),
        coarse=coarse,
        probes=replace(coarse, points=few[row], normals=normal[row]),
        words=fpfh(few, normal, _REACH * voxel),
        sight=sight(few, find_eye(dice, few, normal, 2 * voxel)[0]),
    )


def _matches(a: Float[np.ndarray, "N 33"], b: Float[np.ndarray, "M 33"]) -> Int[np.ndarray, "P 2"]:
    """Rows that are each other's most similar, the most similar pairs."""
    far = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * (a @ b.T)
    i, j = np.arange(len(a)), far.argmin(1)
    mutual = far.argmin(0)[j] == i
    i, j = i[mutual], j[mutual]
    order = np.argsort(far[i, j], kind="stable")[:_MATCHES]
    return np.stack([i[order], j[order]], axis=-1)


def _best(a: _Scan, b: _Scan, matches: Int[np.ndarray, "P 2"], voxel: float) -> Float[np.ndarray, "4 4"]:
    """Of the motions that matches speak for, the one that the surfaces speak for; none without matches."""
    if len(matches) < 3:
        return np.eye(4)
    one, two = a.coarse.points[matches[:, 0]], b.coarse.points[matches[:, 1]]
    tried = motions(one, two, 1.5 * voxel, seeds=1000).b_from_a
    tried = tried[distinct(tried, a.coarse.points[::10], 4 * voxel, _TRIED)]
    rough = [_fit(a, b, motion, 1.5 * voxel) for motion in tried]
    refined = [
        icp.refine(a.probes, b.coarse, tried[i], 3 * voxel, smallest=voxel, rounds=10)
        for i in np.argsort(rough)[::-1][:_REFINED]
    ]
    return max(refined, key=lambda motion: _score(a, b, motion, voxel)[0])


def _fit(a: _Scan, b: _Scan, b_from_a: np.ndarray, radius: float) -> float:
    """The share of a's probes that lie on b, facing the same way, less half of those that lie across it."""
    found = icp.paired(a.probes, b.coarse, b_from_a, 3 * radius)
    facing = ((a.probes.normals @ b_from_a[:3, :3].T) * b.coarse.normals[found.row]).sum(1)
    lies = found.agrees & (np.abs(found.error) <= radius) & (facing > 0)
    return float(lies.mean() - 0.5 * (found.near & ~lies).mean())


def _score(a: _Scan, b: _Scan, b_from_a: np.ndarray, voxel: float) -> tuple[float, float]:
    """The fit both ways less the cost of air, and the air: shares of probes, both ways added."""
    a_from_b = np.linalg.inv(b_from_a)
    air = b.sight.before(icp.moved(b_from_a, a.probes.points), _MARGIN * voxel).mean()
    air += a.sight.before(icp.moved(a_from_b, b.probes.points), _MARGIN * voxel).mean()
    fit = _fit(a, b, b_from_a, voxel) + _fit(b, a, a_from_b, voxel)
    return float(fit - _AIR * air), float(air)


def _evidence(
    a: _Scan, b: _Scan, b_from_a: np.ndarray, matches: np.ndarray, voxel: float, fine: float
) -> Evidence:
    there = icp.paired(a.fine, b.fine, b_from_a, 3 * fine)
    back = icp.paired(b.fine, a.fine, np.linalg.inv(b_from_a), 3 * fine)
    shares = [(f.agrees & (np.abs(f.error) <= 1.5 * fine)).mean() for f in (there, back)]
    one, two = a.coarse.points[matches[:, 0]], b.coarse.points[matches[:, 1]]
    score, air = _score(a, b, b_from_a, voxel)
    error = np.sqrt((there.error[there.agrees] ** 2).mean()) / fine if there.agrees.any() else 3.0
    return Evidence(
        inliers=int(agreeing(b_from_a[None], one, two, 2 * voxel).sum()),
        matches=len(matches),
        overlap=float(min(shares)),
        score=score,
        air=air,
        error=float(error),
    )


def as_answer(found: Registration) -> dict[str, Any]:
    """What the command prints. Sigmas are of the turn in degrees and of the shift in the clouds' unit, the
    roots of the sums of their three variances.
    """
    variance = np.diag(found.covariance)
    return {
        "b_from_a": found.b_from_a.tolist(),
        "overlap": found.evidence.overlap,
        "inliers": found.evidence.inliers,
        "matches": found.evidence.matches,
        "confidence": found.confidence,
        "sigma_turn_degrees": float(np.rad2deg(np.sqrt(variance[:3].sum()))),
        "sigma_shift": float(np.sqrt(variance[3:].sum())),
        "covariance": found.covariance.tolist(),
        "about": found.about.tolist(),
        "seconds": found.seconds,
        "refused": found.refused or None,
    }


def merged(a: Cloud, b: Cloud, b_from_a: Float[np.ndarray, "4 4"]) -> Cloud:
    """Both clouds in b's place; normals and colours where both have them."""
    normal = colour = None
    if a.normals is not None and b.normals is not None:
        normal = np.concatenate([a.normals @ b_from_a[:3, :3].T, b.normals])
    if a.colours is not None and b.colours is not None:
        colour = np.concatenate([a.colours, b.colours])
    points = np.concatenate([icp.moved(b_from_a, a.points), b.points])
    return Cloud(points=points, normals=normal, colours=colour)
