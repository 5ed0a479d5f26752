"""Bring one scan onto another, whatever their unit, or say why they do not fit.

Both are made unit-free by the larger extent. Candidates come from the main directions of the surfaces, whose
shifts are all tried at once, and where none of these convinces also from FPFH descriptors whose matches keep
distances (engine/scan_search). The one is chosen that lays most surface on surface and least matter in the
air that the other has seen through; iterated closest points refine it. Whether what speaks for it is enough
was learned from generated rooms, of one room and of two (bench/clouds_register.py).
"""

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from asterism.engine.scan_search import NOTHING, Judged, Scan, best, by_descriptors, by_frames, scan
from asterism.errors import BadCloud
from asterism.io.points import Cloud
from asterism.ops import icp
from asterism.ops.cloud_scale import extent, voxel_for

_LEAST = 200  # points of a scan
_MOST = 120_000  # points of a scan that are looked at, chosen at random
_COARSE, _FINE = 5000, 16_000  # cells that judge, and that refine
_SURE = 0.9  # confidence that spares the descriptors

# What the rule makes of Evidence.row(): what bench/clouds_register.py --calibrate printed.
_RULE = (0.191, 0.464, 1.738, 0.0, -8.824, 0.0, 1.534, 0.0)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What speaks for a motion. Lengths are in voxels, so nothing here has a unit."""

    inliers: int  # points of a that come to lie on b's surface
    overlap: float  # the smaller share of points that come to lie on the other's surface
    judged: Judged
    lead: float  # of the score, before the best other motion
    error: float  # root mean square along the normal, in fine voxels
    blind: int  # of the two scans, those that do not tell from where they were taken

    def row(self) -> Float[np.ndarray, "7"]:
        """Numbers for the rule."""
        told = self.judged
        surface = np.log(told.support + 0.01), np.log(told.fine + 0.01)
        return np.array([*surface, np.sqrt(told.air), np.sqrt(told.deep), self.error, self.lead, self.blind])


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
    one, two = (scan(dice, x, voxel, fine) for x in plain)
    found, evidence = _found(one, two, voxel, fine)
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


def _found(one: Scan, two: Scan, voxel: float, fine: float) -> tuple[Float[np.ndarray, "4 4"], Evidence]:
    """The best motion, and what speaks for it."""
    tried, told = best(one, two, *by_frames(one, two, voxel), voxel, fine)
    evidence = _evidence(one, two, tried, told, voxel, fine)
    if confidence_of(evidence) >= _SURE:
        return tried[0], evidence
    more, told_of = best(one, two, *by_descriptors(one, two, voxel), voxel, fine)
    every, judged = np.concatenate([tried, more]), told + told_of
    order = np.argsort([-j.score for j in judged], kind="stable")
    every = every[order]
    return every[0], _evidence(one, two, every, [judged[i] for i in order], voxel, fine)


def _evidence(
    one: Scan, two: Scan, tried: Float[np.ndarray, "S 4 4"], told: list[Judged], voxel: float, fine: float
) -> Evidence:
    """What speaks for the first motion; its lead is over the next that is another."""
    there = icp.paired(one.fine, two.fine, tried[0], 3 * fine)
    back = icp.paired(two.fine, one.fine, np.linalg.inv(tried[0]), 3 * fine)
    lies = [f.agrees & (np.abs(f.error) <= 1.5 * fine) for f in (there, back)]
    gap = [
        j.score
        for motion, j in zip(tried[1:], told[1:])
        if _apart(tried[0], motion, one.coarse.points[::10]) > 4 * voxel
    ]
    return Evidence(
        inliers=int(lies[0].sum()),
        overlap=float(min(x.mean() for x in lies)),
        judged=told[0],
        lead=told[0].score - max(gap, default=NOTHING),
        error=float(np.sqrt((there.error[there.agrees] ** 2).mean()) / fine) if there.agrees.any() else 3.0,
        blind=sum(x.sight is None for x in (one, two)),
    )


def _apart(one: np.ndarray, two: np.ndarray, points: np.ndarray) -> float:
    return float(np.sqrt(((icp.moved(one, points) - icp.moved(two, points)) ** 2).sum(1).mean()))


def _why_not(evidence: Evidence, confidence: float, covariance: np.ndarray) -> str:
    if np.isinf(covariance).any():
        return "what the clouds share leaves the motion free: one plane, or one axis, fits in many ways"
    if confidence >= 0.5:
        return ""
    if evidence.judged.deep > 0.03:
        return (
            f"no motion fits: the best puts {evidence.judged.deep:.0%} of the points where the other scan "
            "has seen through, so the clouds do not overlap enough"
        )
    return (
        f"the clouds do not overlap enough to be sure: the best motion lays {evidence.overlap:.0%} on the "
        f"other, and is {'hardly' if evidence.lead < 0.1 else 'only somewhat'} better than the next one"
    )


def _fewer(dice: np.random.Generator, points: np.ndarray) -> np.ndarray:
    if len(points) <= _MOST:
        return points
    return points[np.sort(dice.choice(len(points), _MOST, replace=False))]


def _third(surface: icp.Surface) -> icp.Surface:
    return replace(surface, points=surface.points[::3], normals=surface.normals[::3])


def as_answer(found: Registration) -> dict[str, Any]:
    """What the command prints. Sigmas are of the turn in degrees and of the shift in the clouds' unit, the
    roots of the sums of their three variances.
    """
    variance = np.diag(found.covariance)
    return {
        "b_from_a": found.b_from_a.tolist(),
        "overlap": found.evidence.overlap,
        "inliers": found.evidence.inliers,
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
