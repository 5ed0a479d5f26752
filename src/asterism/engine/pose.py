"""Where an object is, in front of one camera, from its named keypoints: rigid, or with a basis of shapes.

Rows of the table are independent. Rigid models are found robustly (geometry.pnp), those with a basis as the
most probable pose and shape (geometry.shape_pose). What is not found is refused with a reason.
"""

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from asterism.engine.triangulate import FURTHEST
from asterism.errors import RequestError
from asterism.geometry import pnp, shape_pose
from asterism.io.atomic import write_text
from asterism.io.model3d import PointModel
from asterism.io.table import KeypointTable
from asterism.types import Cameras

_BATCH = 256


@dataclass(frozen=True, kw_only=True)
class Asked:
    """`sigma`: standard deviation of a keypoint, in pixels; a point agrees within FURTHEST of them.

    A keypoint must score `least_score`; `least_points` must agree. Raises RequestError, naming the field.
    """

    sigma: float | int = 2.0
    least_points: int = 5
    least_score: float | int = 0.2

    def __post_init__(self) -> None:
        if not (math.isfinite(self.sigma) and self.sigma > 0):
            raise RequestError(f"sigma={self.sigma}: wanted pixels above zero")
        if self.least_points < 4:
            raise RequestError(
                f"least_points={self.least_points}: three points agree with up to four poses; wanted 4"
            )
        if not 0 <= self.least_score <= 1:
            raise RequestError(f"least_score={self.least_score}: wanted a number from 0 to 1")


@dataclass(frozen=True, kw_only=True)
class Poses:
    """A pose per row of a table; `reason` is empty where there is one. `cov` is that of pnp.Pose."""

    cam_from_object: NDArray[np.float64]  # N 3 4
    cov: NDArray[np.float64]  # N 6 6
    coefficients: NDArray[np.float64]  # N S
    inlier: NDArray[np.bool_]  # N K, points of the model
    error: NDArray[np.float64]  # N, pixels
    reason: tuple[str, ...]


def find_poses(cameras: Cameras, model: PointModel, table: KeypointTable, asked: Asked) -> Poses:
    """Raises RequestError where table and model share fewer points than a pose needs."""
    shared = [name for name in model.names if name in table.names]
    if len(shared) < asked.least_points:
        raise RequestError(
            f"{table.source} and the model share {len(shared)} points ({', '.join(shared) or 'none'}); "
            f"wanted {asked.least_points}. The model has {', '.join(model.names)}"
        )
    n, k = len(table), len(model.names)
    xy, valid = np.zeros((n, k, 2)), np.zeros((n, k), bool)
    ours = [model.names.index(name) for name in shared]
    theirs = [table.names.index(name) for name in shared]
    xy[:, ours] = table.xy[:, theirs]
    valid[:, ours] = (table.labelled & (table.score >= asked.least_score))[:, theirs]
    parts = []
    for at in torch.arange(n).split(_BATCH):
        rows = cameras[torch.zeros(len(at), dtype=torch.int64)]
        parts.append(_fit(rows, model, torch.from_numpy(xy[at]), torch.from_numpy(valid[at]), asked))
    pose, cov, c, inlier, error, ok = (torch.cat(each).numpy() for each in zip(*parts))
    rows = zip(ok.tolist(), valid.sum(1).tolist())
    reason = tuple(_reason(found, seen, asked.least_points) for found, seen in rows)
    return Poses(cam_from_object=pose, cov=cov, coefficients=c, inlier=inlier, error=error, reason=reason)


def _fit(
    cameras: Cameras,
    model: PointModel,
    xy: Float[Tensor, "B K 2"],
    valid: Tensor,
    asked: Asked,
) -> tuple[Tensor, ...]:
    mean = torch.from_numpy(model.mean)
    if len(model.variance):
        shapes = shape_pose.ShapeModel(
            mean=mean, basis=torch.from_numpy(model.basis), variance=torch.from_numpy(model.variance)
        )
        found = shape_pose.fit(
            cameras, shapes, xy, valid, sigma=asked.sigma, threshold=FURTHEST, least=asked.least_points
        )
        return found.cam_from_world, found.cov, found.coefficients, found.inlier, found.error, found.valid
    rigid = pnp.ransac(
        cameras,
        mean.expand(len(xy), -1, -1),
        xy,
        valid,
        threshold=FURTHEST * asked.sigma,
        sigma=asked.sigma,
        least=asked.least_points,
    )
    return rigid.cam_from_world, rigid.cov, xy.new_zeros(len(xy), 0), rigid.inlier, rigid.error, rigid.valid


def _reason(ok: bool, seen: int, least: int) -> str:
    if ok:
        return ""
    if seen < least:
        return f"{seen} points are seen; wanted {least}"
    return f"fewer than {least} of the {seen} points that are seen agree on a pose"


def write_poses(path: str | Path, poses: Poses, model: PointModel, table: KeypointTable) -> None:
    """A CSV: image, individual, reason (empty where there is a pose), turn and shift, their covariance, ...

    turn_x, turn_y, turn_z is the Rodrigues vector of the rotation from the object to the camera, shift_x, ...
    in the model's unit; cov_ij, i <= j, of a small turn (0 to 2, radians, about the camera's axes) and shift
    (3 to 5); error in pixels; points, those that agree, joined by |; shape_s, the coefficients of the basis.
    """
    upper = [(i, j) for i in range(6) for j in range(i, 6)]
    head = [f"{what}_{axis}" for what in ("turn", "shift") for axis in "xyz"]
    shape = [f"shape_{s}" for s in range(len(model.variance))]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        [
            "image",
            "individual",
            "reason",
            *head,
            "error",
            "points",
            *(f"cov_{i}{j}" for i, j in upper),
            *shape,
        ]
    )
    turns = Rotation.from_matrix(poses.cam_from_object[:, :, :3]).as_rotvec()
    for n, reason in enumerate(poses.reason):
        first = [table.images[table.image[n]], int(table.individual[n]), reason]
        if reason:
            writer.writerow([*first, *[""] * (len(head) + 2 + len(upper) + len(shape))])
            continue
        numbers = [*turns[n], *poses.cam_from_object[n, :, 3], poses.error[n]]
        agreed = "|".join(name for name, on in zip(model.names, poses.inlier[n]) if on)
        rest = [*(poses.cov[n, i, j] for i, j in upper), *poses.coefficients[n]]
        writer.writerow([*first, *(repr(float(x)) for x in numbers), agreed, *(repr(float(x)) for x in rest)])
    write_text(path, out.getvalue())


def numbers(poses: Poses) -> dict[str, float | int]:
    """How many poses were found, and how sure they are."""
    ok = np.array([not reason for reason in poses.reason], bool)
    turn = np.sqrt(np.trace(poses.cov[ok, :3, :3], axis1=1, axis2=2) / 3)
    shift = np.sqrt(np.trace(poses.cov[ok, 3:, 3:], axis1=1, axis2=2) / 3)
    return {
        "rows": len(ok),
        "found": int(ok.sum()),
        "refused": int((~ok).sum()),
        "reprojection_px": float(np.median(poses.error[ok])) if ok.any() else math.nan,
        "turn_sd_degrees": float(np.rad2deg(np.median(turn))) if ok.any() else math.nan,
        "shift_sd": float(np.median(shift)) if ok.any() else math.nan,
    }
