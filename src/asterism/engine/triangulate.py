"""Points in space from the keypoints of several calibrated cameras, and who disagrees.

Every camera has a table of keypoints; rows of the same moment and individual are one problem per point
(geometry.triangulation). The noise of the observations is estimated from what agrees, so that the threshold
and the covariances are in the data's own pixels. T moments, V views, K points.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from asterism.errors import RequestError
from asterism.geometry import camera
from asterism.geometry.triangulation import Points3D, triangulate
from asterism.io.cameras import CameraTable
from asterism.io.motion import Motion
from asterism.io.table import KeypointTable
from asterism.types import Cameras

FURTHEST = math.sqrt(-2 * math.log(1e-4))  # one in 10 000 distances of Gaussian noise is longer, in sigmas
_MEDIAN = math.sqrt(2 * math.log(2))  # median distance of Gaussian noise in the plane, in sigmas
_START, _FLOOR = 20.0, 0.5  # pixels: where the search for the noise begins, and the least threshold
_MOST = 4000  # points that are looked at in a check of the cameras
_BAD, _FEW = (
    3.0,
    0.5,
)  # a camera is bad at so many times the others' distance; a point or moment below this share


@dataclass(frozen=True, kw_only=True)
class Rule:
    """When views agree. Raises RequestError, naming the field, for an impossible value.

    `threshold` is how far, in pixels, an observation may be from the point's projection (None: from the noise
    that is found); an observation must score `least_score`; `least_views` must agree on a point, and more
    than the share `least_share` of those that saw it.
    """

    threshold: float | int | None = None
    least_score: float | int = 0.2
    least_views: int = 3
    least_share: float | int = 0.5

    def __post_init__(self) -> None:
        if self.threshold is not None and not (math.isfinite(self.threshold) and self.threshold > 0):
            raise RequestError(f"threshold={self.threshold}: wanted a distance in pixels above zero")
        if self.least_views < 2:
            raise RequestError(f"least_views={self.least_views}: two views make a point; wanted 2 or more")
        for name in ("least_score", "least_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise RequestError(f"{name}={getattr(self, name)}: wanted a number from 0 to 1")


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What V cameras saw of K points at T moments; `frame` and `individual` name the moments."""

    names: tuple[str, ...]
    frame: NDArray[np.int64]
    individual: NDArray[np.int64]
    xy: Float[Tensor, "T V K 2"]
    valid: Bool[Tensor, "T V K"]

    def only(self, moments: Tensor) -> "Observed":
        rows = moments.numpy()
        return Observed(
            names=self.names,
            frame=self.frame[rows],
            individual=self.individual[rows],
            xy=self.xy[moments],
            valid=self.valid[moments],
        )


@dataclass(frozen=True, kw_only=True)
class Solved:
    """Points, the threshold that was used, and the noise (standard deviation per axis), in pixels."""

    points: Points3D
    threshold: float
    sigma: float


def observed(tables: Sequence[KeypointTable], cameras: CameraTable, least_score: float | int) -> Observed:
    """Rows of all tables brought together by moment and individual; table v is what camera v saw.

    A moment is the number after # in a picture's name, or the last number in the name of its file; where
    these do not tell pictures apart it is the picture's place in its table. Raises RequestError where the
    tables and the cameras, or the points of two tables, do not fit.
    """
    if len(tables) != len(cameras):
        raise RequestError(
            f"{len(tables)} files of keypoints, but {cameras.source} has the cameras "
            f"{', '.join(cameras.names)}; wanted one file per camera, in this order"
        )
    names = tables[0].names
    for table in tables[1:]:
        if set(table.names) != set(names):
            odd = sorted(set(table.names) ^ set(names))
            raise RequestError(f"{table.source} and {tables[0].source} differ in the points {', '.join(odd)}")
    frames = frames_of(tables)
    keys = sorted(
        {(int(f[i]), int(who)) for f, t in zip(frames, tables) for i, who in zip(t.image, t.individual)}
    )
    place = {key: t for t, key in enumerate(keys)}
    xy = np.zeros((len(keys), len(tables), len(names), 2))
    valid = np.zeros(xy.shape[:3], bool)
    for v, (frame, table) in enumerate(zip(frames, tables)):
        rows = [place[int(frame[i]), int(who)] for i, who in zip(table.image, table.individual)]
        order = [table.names.index(name) for name in names]
        xy[rows, v] = table.xy[:, order]
        valid[rows, v] = (table.labelled & (table.score >= least_score))[:, order]
    pair = np.array(keys, np.int64).reshape(-1, 2)
    return Observed(
        names=names,
        frame=pair[:, 0],
        individual=pair[:, 1],
        xy=torch.from_numpy(xy),
        valid=torch.from_numpy(valid),
    )


def frames_of(tables: Sequence[KeypointTable]) -> list[NDArray[np.int64]]:
    """The moment of every picture of every table."""
    found = []
    for table in tables:
        words = [re.search(r"#(\d+)$", n) or re.search(r"(\d+)\D*$", n.split("/")[-1]) for n in table.images]
        numbers = [int(word[1]) for word in words if word is not None]
        found.append(numbers if len(set(numbers)) == len(table.images) else None)
    if all(each is not None for each in found):
        return [np.array(each, np.int64) for each in found]
    counts = {len(table.images) for table in tables}
    if len(counts) > 1:
        told = ", ".join(f"{table.source} {len(table.images)}" for table in tables)
        raise RequestError(
            f"the pictures' names have no numbers of their own and the tables differ in length ({told}); "
            "wanted picture t of every table to show the same moment"
        )
    return [np.arange(len(table.images)) for table in tables]


def solve(cameras: Cameras, seen: Observed, rule: Rule) -> Solved:
    """Points of all moments, with covariances of the noise that is found in them.

    Without a threshold it is FURTHEST times the noise, which is found from the median distance, and both are
    repeated until they agree. Raises RequestError where fewer than two cameras saw anything together.
    """
    threshold = _START if rule.threshold is None else float(rule.threshold)
    some = seen if rule.threshold is not None else seen.only(_spread(len(seen.frame), len(seen.names)))
    for _ in range(0 if rule.threshold is not None else 6):
        points = _agreed(cameras, some, rule, threshold, 1.0)
        new = max(_FLOOR, FURTHEST * _noise(cameras, some, points, median=True))
        done = abs(new - threshold) < 0.05 * threshold
        threshold = new
        if done:
            break
    points = _agreed(cameras, seen, rule, threshold, 1.0)
    if not points.valid.any():
        raise RequestError(
            f"no point was seen by {rule.least_views} cameras that agree within {threshold:.1f} pixels; are "
            "the keypoints in the order of the cameras, and of the same moments? Or give a larger --threshold"
        )
    sigma = _noise(cameras, seen, points, median=False)
    scaled = Points3D(
        xyz=points.xyz,
        cov=sigma**2 * points.cov,
        inlier=points.inlier,
        valid=points.valid,
        error=points.error,
    )
    return Solved(points=scaled, threshold=threshold, sigma=sigma)


def _agreed(cameras: Cameras, seen: Observed, rule: Rule, threshold: float, sigma: float) -> Points3D:
    """Points that enough views, and enough of those that saw them, agree on; in parts that fit a cache."""
    parts = []
    for xy, valid in zip(seen.xy.split(512), seen.valid.split(512)):
        found = triangulate(
            cameras, xy, valid, threshold=threshold, sigma=sigma, least_views=rule.least_views
        )
        most = found.valid & (found.inlier.sum(1) >= rule.least_share * valid.sum(1))
        parts.append(
            Points3D(
                xyz=torch.where(most[..., None], found.xyz, 0),
                cov=torch.where(most[..., None, None], found.cov, 0),
                inlier=found.inlier & most[:, None],
                valid=most,
                error=torch.where(most, found.error, 0),
            )
        )
    return Points3D.cat(parts)


def _noise(cameras: Cameras, seen: Observed, points: Points3D, *, median: bool) -> float:
    """Standard deviation per axis of an observation, from what is left after fitting three coordinates."""
    distance = distances(cameras, seen, points.xyz)
    count = points.inlier.sum(1)
    if not points.valid.any():
        return _START
    if not median:
        square = torch.where(points.inlier, distance.square(), 0).sum()
        return float((square / (2 * count - 3)[points.valid].sum()).sqrt())
    freed = (2 * count / (2 * count - 3).clamp_min(1)).sqrt()  # T K: residuals are shorter than the noise
    return float((distance * freed[:, None])[points.inlier].median() / _MEDIAN)


def distances(cameras: Cameras, seen: Observed, xyz: Float[Tensor, "T K 3"]) -> Float[Tensor, "T V K"]:
    """Pixels from what was seen to the points; infinite behind a camera."""
    t, v, k = seen.valid.shape
    shown, depth = camera.project(cameras, xyz.reshape(1, t * k, 3).expand(v, -1, -1))
    shown, depth = (x.unflatten(1, (t, k)).transpose(0, 1) for x in (shown, depth))
    return torch.where(depth > 0, (shown - seen.xy).norm(dim=-1), torch.inf)


def held_out(cameras: Cameras, seen: Observed, rule: Rule, threshold: float) -> Float[Tensor, "T V K"]:
    """Pixels from what each camera saw to the point of all OTHER cameras.

    Infinite where these do not agree on one, NaN where there was nothing to compare: the camera saw nothing,
    or fewer than two others did.
    """
    v = len(cameras)
    out = torch.full_like(seen.xy[..., 0], torch.nan)
    least = min(rule.least_views, max(2, v - 1))
    for c in range(v):
        valid = seen.valid.clone()
        valid[:, c] = False
        others = Observed(
            names=seen.names, frame=seen.frame, individual=seen.individual, xy=seen.xy, valid=valid
        )
        asked = Rule(threshold=threshold, least_views=least, least_share=rule.least_share)
        points = _agreed(cameras, others, asked, threshold, 1.0)
        far = torch.where(points.valid, distances(cameras, seen, points.xyz)[:, c], torch.inf)
        can = seen.valid[:, c] & (valid.sum(1) >= least)
        out[:, c] = torch.where(can, far, torch.nan)
    return out


def report(
    table: CameraTable, cameras: Cameras, seen: Observed, solved: Solved, rule: Rule
) -> dict[str, Any]:
    """Numbers of the whole, of every camera and every point, and the names of what is bad."""
    points = solved.points
    could = seen.valid.sum(1) >= rule.least_views  # T K
    far = held_out(cameras, seen.only(_spread(len(seen.frame), len(seen.names))), rule, solved.threshold)
    return {
        "moments": len(seen.frame),
        "points": len(seen.names),
        "seen_by_enough": int(could.sum()),
        "accepted": _share(points.valid, could),
        "noise_px": solved.sigma,
        "threshold_px": solved.threshold,
        "reprojection_px": float(points.error[points.valid].median()),
        "spread": float(_spreads(points).median()),
        **_cameras_report(table, seen, points, far),
        **_points_report(seen, points, could),
        **_frames_report(seen, points, could),
    }


def _cameras_report(table: CameraTable, seen: Observed, points: Points3D, far: Tensor) -> dict[str, Any]:
    rows, distance = {}, []
    for v, name in enumerate(table.names):
        judged = far[:, v][far[:, v].isfinite()]
        distance.append(float(judged.median()) if len(judged) else math.nan)
        rows[name] = {
            "held_out_px": distance[-1],
            "agrees": _share(points.inlier[:, v], seen.valid[:, v] & points.valid),
            "observations": int(seen.valid[:, v].sum()),
        }
    bad = []
    for v, name in enumerate(table.names):
        rest = [d for i, d in enumerate(distance) if i != v and math.isfinite(d)]
        worse = rest and not distance[v] <= _BAD * float(np.median(rest))
        if worse or rows[name]["agrees"] < _FEW:
            bad.append(name)
    return {"cameras": rows, "bad_cameras": bad}


def _points_report(seen: Observed, points: Points3D, could: Tensor) -> dict[str, Any]:
    rows, bad = {}, []
    usual = float(points.error[points.valid].median())
    for k, name in enumerate(seen.names):
        error = points.error[:, k][points.valid[:, k]]
        rows[name] = {
            "accepted": _share(points.valid[:, k], could[:, k]),
            "reprojection_px": float(error.median()) if len(error) else math.nan,
        }
        if rows[name]["accepted"] < _FEW or rows[name]["reprojection_px"] > _BAD * usual:
            bad.append(name)
    return {"keypoints": rows, "bad_keypoints": bad}


def _frames_report(seen: Observed, points: Points3D, could: Tensor) -> dict[str, Any]:
    some = could.any(1)
    share = (points.valid & could).sum(1) / could.sum(1).clamp_min(1)
    bad = seen.frame[(some & (share < _FEW)).numpy()]
    return {"bad_frames": len(bad), "first_bad_frames": sorted(set(bad.tolist()))[:20]}


def _share(what: Tensor, of: Tensor) -> float:
    return float((what & of).sum() / of.sum()) if of.any() else math.nan


def _spreads(points: Points3D) -> Tensor:
    """Root mean variance of every accepted point, in world units."""
    return points.cov[points.valid].diagonal(dim1=-2, dim2=-1).mean(-1).sqrt()


def _spread(moments: int, points: int) -> Tensor:
    """Moments spread evenly that hold at most _MOST points."""
    count = max(1, min(moments, _MOST // max(points, 1)))
    return torch.linspace(0, moments - 1, count).round().long()


def motion_of(seen: Observed, solved: Solved, table: CameraTable, unit: str, rate: float | int) -> Motion:
    """The points as a file holds them."""
    points = solved.points
    return Motion(
        names=seen.names,
        frame=seen.frame,
        individual=seen.individual,
        xyz=points.xyz.numpy(),
        cov=points.cov.numpy(),
        labelled=points.valid.numpy(),
        error=points.error.numpy(),
        views=points.inlier.numpy(),
        cameras=table.names,
        unit=unit,
        rate=float(rate),
    )
