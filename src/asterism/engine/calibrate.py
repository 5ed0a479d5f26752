"""Cameras from corners of a board: lenses, places, how sure they are, and what they miss on other moments.

Moments are chosen, every camera is calibrated alone, cameras are chained, then everything is adjusted at once
(geometry.calibration) under Cauchy's loss; corners beyond FURTHEST sigmas are left out, and least squares on
the rest gives the cameras and their covariances. Every fifth moment is kept back from a first fit, which is
judged on them; the cameras that are returned have learned from all. Nothing is drawn by chance, and all is
sorted first: the same corners give the same cameras in whatever order they come.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from asterism.engine import calibrate_start as start
from asterism.engine.calibrate_start import Seen
from asterism.engine.triangulate import FURTHEST
from asterism.errors import RequestError
from asterism.geometry import calibration
from asterism.geometry.calibration import ALL, LENS, Scene, Views
from asterism.geometry.so3 import skew
from asterism.io.board import Board
from asterism.io.cameras import CameraTable
from asterism.io.corners import Corners

MOST = 150  # moments that are used, at most
_EVERY = 5  # one moment in so many is kept back
_HOPELESS, _UNSURE = 0.1, 0.01  # relative standard deviation of a focal length: refused, and warned of
_FEW, _PARALLEL, _MIDDLE, _STRAYS = 10, 15.0, 0.6, 0.1  # views, degrees, of the half diagonal, of the corners
_APART, _VISIBLE = 3.0, 1.0  # times, and pixels, by which a camera disagrees with the others


@dataclass(frozen=True)
class Fit:
    """Cameras, the corners they rest on, and the noise (standard deviation per axis) in pixels."""

    scene: Scene
    views: Views
    sigma: float


@dataclass(frozen=True)
class Held:
    """Distances in pixels, "P K", of what moments kept back show, NaN where nothing was seen.

    `own`: to the board as all cameras place it. `others`: as all cameras but this one do. `chained`: as
    `others`, with the cameras before they were adjusted together.
    """

    moments: int
    own: Float[Tensor, "P K"]
    others: Float[Tensor, "P K"]
    chained: Float[Tensor, "P K"]
    camera: Tensor


@dataclass(frozen=True)
class Calibrated:
    """The cameras as a file holds them, in the order of their names, and the report."""

    table: CameraTable
    report: dict[str, Any]


def calibrate(corners: Corners, board: Board, *, most: int = MOST) -> Calibrated:
    """The world is the first camera's, its unit that of the board.

    Raises RequestError, naming the camera, where there are too few views, where a camera is not joined with
    the others, where its pictures are mirrored, or where its focal length cannot be known.
    """
    points = torch.from_numpy(board.points())
    seen, mirrored = start.handed(start.usable(corners, board), board)
    total = len(seen.frame)
    seen = seen.at(start.choose(seen, most))
    each = []
    for c, name in enumerate(seen.names):
        views = seen.views[(seen.views.camera == c).nonzero()[:, 0]]
        one = start.alone(views, points, seen.sizes[c]) if len(views) >= start.LEAST_VIEWS else None
        if one is None:
            raise RequestError(
                f"camera {name}: no lens fits {start.LEAST_VIEWS} of its {len(views)} views of the board; is "
                f"--board right, and are its corners? Or --leave-out {name}"
            )
        each.append(one)
    first, views, free, edges = start.together(seen, each, board)
    back = kept_back(seen, views, edges)
    held = None
    if back.any():
        learned = fit(first, views[(~back[views.moment]).nonzero()[:, 0]], points, free)
        judge = views[back[views.moment].nonzero()[:, 0]]
        held = judged(learned.scene, first, judge, points, int(back.sum()))
    final = fit(first, views, points, free)
    cov = calibration.deviations(final.scene, final.views, points, free, final.sigma)
    _refuse(final, cov, seen)
    report = {
        "moments": len(seen.frame),
        "moments_with_a_board": total,
        "moments_kept_back": held.moments if held else 0,
        "noise_px": final.sigma,
        "cameras": {name: _camera(c, seen, views, final, cov[c], held) for c, name in enumerate(seen.names)},
        "joined": [f"{seen.names[a]} and {seen.names[b]}: {n} moments" for a, b, n in edges],
    }
    report["warnings"] = _warnings(report, seen, final, mirrored.tolist(), edges)
    return Calibrated(_table(final.scene, seen, corners.source), report)


def fit(scene: Scene, views: Views, board: Tensor, free: Bool[Tensor, "V 15"]) -> Fit:
    """Robust first, then least squares on the corners within FURTHEST sigmas."""
    scene = start.robust(scene, views, board, free)
    used = views
    for _ in range(2):
        off = calibration.distances(scene, views, board)
        near = views.valid & (off < FURTHEST * start.noise(off[used.valid]))
        most = 2 * near.sum(1) > views.valid.sum(1)  # a view with more strays than corners is none
        used = replace(views, valid=near & most[:, None])
        scene = calibration.adjust(scene, used, board, free, math.inf)
    off = calibration.distances(scene, used, board)[used.valid]
    known = int(free.sum()) + 6 * len(used.moment[used.valid.any(1)].unique())
    sigma = float((off.square().sum() / max(2 * len(off) - known, 1)).sqrt())
    return Fit(scene, used, sigma)


def kept_back(seen: Seen, views: Views, edges: list[tuple[int, int, int]]) -> Bool[Tensor, " T"]:
    """Every fifth moment, but none without which a camera or a pair would have too few."""
    t, v = len(seen.frame), len(seen.names)
    has = np.zeros((t, v), bool)
    has[views.moment.numpy(), views.camera.numpy()] = True
    left, back = has.sum(0), np.zeros(t, bool)
    joint = {(a, b): int((has[:, a] & has[:, b]).sum()) for a, b, _ in edges}
    for m in range(2, t, _EVERY):
        if (left - has[m] < 2 * start.LEAST_VIEWS)[has[m]].any():
            continue
        hit = [pair for pair in joint if has[m, pair[0]] and has[m, pair[1]]]
        if any(joint[pair] <= 2 * start.LEAST_SHARED for pair in hit):
            continue
        back[m], left = True, left - has[m]
        for pair in hit:
            joint[pair] -= 1
    return torch.from_numpy(back)


def judged(scene: Scene, first: Scene, views: Views, board: Tensor, moments: int) -> Held:
    """How far corners of moments that were kept back are from the board, its place alone being found."""
    own = _placed(scene, views, views, board)
    others, chained = torch.full_like(own, torch.nan), torch.full_like(own, torch.nan)
    for c in range(len(scene.cameras)):
        mine = (views.camera == c).nonzero()[:, 0]
        rest = views[(views.camera != c).nonzero()[:, 0]]
        shared = mine[torch.isin(views.moment[mine], rest.moment)]
        if len(shared):
            others[shared] = _placed(scene, rest, views[shared], board)
            chained[shared] = _placed(first, rest, views[shared], board)
    return Held(moments, own, others, chained, views.camera)


def _placed(scene: Scene, by: Views, of: Views, board: Tensor) -> Tensor:
    """Distances of some views to the board as other views place it; NaN where nothing was seen."""
    still = torch.zeros(len(scene.cameras), ALL, dtype=torch.bool)
    scene = start.robust(scene, by, board, still)
    return torch.where(of.valid, calibration.distances(scene, of, board), torch.nan)


# ------------------------------------------------------------------------------------------ the report


def _camera(
    c: int, seen: Seen, views: Views, final: Fit, cov: Float[Tensor, "15 15"], held: Held | None
) -> dict[str, Any]:
    mine, used = views.camera == c, final.views.valid[final.views.camera == c]
    xy = final.views.xy[final.views.camera == c][used].numpy()
    k, sd = final.scene.cameras.intrinsics[c], cov.diagonal().clamp_min(0).sqrt()
    turn, shift = final.scene.cameras.cam_from_world[c, :, :3], final.scene.cameras.cam_from_world[c, :, 3]
    by_step = torch.cat([turn.T @ skew(shift), -turn.T], dim=1)  # of the centre, -R^T t, by turn and shift
    place = by_step @ cov[LENS:, LENS:] @ by_step.T
    out = {
        "views": int(used.any(1).sum()),
        "corners": int(used.sum()),
        "left_out": 1 - float(used.sum() / views.valid[mine].sum()),
        "coverage": len(set(start.cells_of(xy, seen.sizes[c]).tolist())) / start.CELLS**2,
        "reach": _reach(xy, seen.sizes[c]),
        "focal": [float(k[0, 0]), float(k[1, 1])],
        "focal_sd": sd[:2].tolist(),
        "centre": [float(k[0, 2]), float(k[1, 2])],
        "centre_sd": sd[2:4].tolist(),
        "distortion": final.scene.cameras.distortion[c].tolist(),
        "turn_sd_degrees": math.degrees(float(cov.diagonal()[LENS : LENS + 3].sum().clamp_min(0).sqrt())),
        "place_sd": float(place.trace().clamp_min(0).sqrt()),
    }
    if held is not None:
        for name in ("own", "others", "chained"):
            out[f"held_out_{name}_px"] = _two(getattr(held, name)[held.camera == c])
    return out


def _reach(xy: np.ndarray, size: tuple[int, int]) -> float:
    """How far from the middle the corners go, as a share of the way to the picture's corners."""
    h, w = size
    if not len(xy):
        return 0.0
    middle = np.array([w - 1, h - 1]) / 2
    return float(np.quantile(np.linalg.norm(xy - middle, axis=1), 0.98) / np.linalg.norm(middle))


def _two(distance: Tensor) -> dict[str, float]:
    """Median and 95 %."""
    known = distance[~distance.isnan()]
    if not len(known):
        return {"median": math.nan, "p95": math.nan}
    return {"median": float(known.median()), "p95": float(known.quantile(0.95))}


def _parallel(c: int, final: Fit) -> float:
    """Degrees within which nine of ten boards are of their mean direction, as the camera sees them."""
    views = final.views
    mine = views.moment[(views.camera == c) & views.valid.any(1)]
    normal = final.scene.cameras.cam_from_world[c, :, :3] @ final.scene.world_from_board[mine][..., 2:3]
    normal = normal[..., 0]
    mean = torch.nn.functional.normalize(normal.sum(0), dim=0)
    return float(torch.rad2deg(torch.acos((normal @ mean).clamp(-1, 1))).quantile(0.9))


def _refuse(final: Fit, cov: Tensor, seen: Seen) -> None:
    """Raises RequestError where a focal length is not determined."""
    focal = final.scene.cameras.intrinsics[:, 0, 0]
    unsure = cov[:, 0, 0].clamp_min(0).sqrt() / focal
    for c, name in enumerate(seen.names):
        if not bool(unsure[c] < _HOPELESS):
            raise RequestError(
                f"camera {name}: its focal length is {float(focal[c]):.0f} +- {100 * float(unsure[c]):.0f} "
                f"%, no calibration: nine of ten boards are within {_parallel(c, final):.0f} degrees "
                "of one direction. Tilt the board to all sides, 30 degrees or more"
            )


def _warnings(
    report: dict[str, Any],
    seen: Seen,
    final: Fit,
    mirrored: list[int],
    edges: list[tuple[int, int, int]],
) -> list[str]:
    told = []
    rises = start.rises(final.scene.cameras, list(seen.sizes))
    for c, (name, one) in enumerate(report["cameras"].items()):
        unsure = max(sd / f for sd, f in zip(one["focal_sd"], one["focal"]))
        if one["views"] < _FEW:
            told.append(f"{name}: {one['views']} views are few; 20 or more are usual")
        if unsure > _UNSURE:
            told.append(
                f"{name}: the focal length is known to {100 * unsure:.1f} % only; tilt the board more"
            )
        if _parallel(c, final) < _PARALLEL:
            told.append(f"{name}: the boards are all but parallel; tilt them to all sides")
        if one["reach"] < _MIDDLE:
            told.append(
                f"{name}: corners only in the middle of its pictures; at the edges the lens is a guess"
            )
        if not rises[c]:
            told.append(f"{name}: the lens polynomial turns back before the corners of its pictures")
        if one["left_out"] > _STRAYS:
            told.append(f"{name}: {100 * one['left_out']:.0f} % of its corners do not fit and were left out")
        if mirrored[c]:
            told.append(f"{name}: {mirrored[c]} boards were mirrored against the others")
        own, others = one.get("held_out_own_px"), one.get("held_out_others_px")
        if own and others and others["median"] > max(_APART * own["median"], _VISIBLE):
            told.append(
                f"{name}: disagrees with the other cameras ({others['median']:.1f} px on moments kept back); "
                "were the pictures taken at the same moments?"
            )
    for a, b, n in edges:
        if n < 2 * start.LEAST_SHARED:
            told.append(f"{seen.names[a]} and {seen.names[b]} are joined by {n} moments only")
    if not report["moments_kept_back"]:
        told.append("too few moments to keep some back: nothing says how good the cameras are on others")
    return told


def _table(scene: Scene, seen: Seen, source: str) -> CameraTable:
    return CameraTable(
        names=seen.names,
        intrinsics=scene.cameras.intrinsics.numpy(),
        cam_from_world=scene.cameras.cam_from_world.numpy(),
        distortion=scene.cameras.distortion.numpy(),
        sizes=seen.sizes,
        source=source,
    )
