"""What `asterism lift` writes: points in space, a table of poses, the shape as a model, and a report."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from asterism.engine.lift import Setting, Shapes
from asterism.engine.triangulate import frames_of
from asterism.io.atomic import write_text
from asterism.io.model3d import PointModel
from asterism.io.motion import Motion
from asterism.io.table import KeypointTable

_VIEW = "view"  # the one camera there is


def motion_of(shapes: Shapes, table: KeypointTable) -> Motion:
    """All points of every row that was not refused, also those that nobody saw."""
    k = len(shapes.names)
    there = np.array([not reason for reason in shapes.reason], bool)
    labelled = np.repeat(there[:, None], k, axis=1)
    seen = shapes.seen.numpy() & labelled
    return Motion(
        names=shapes.names,
        frame=frames_of([table])[0][table.image],
        individual=table.individual,
        xyz=np.where(labelled[..., None], shapes.xyz.numpy(), 0.0),
        cov=np.where(labelled[..., None, None], shapes.cov.numpy(), 0.0),
        labelled=labelled,
        error=np.where(seen, shapes.error.numpy(), np.where(labelled, np.nan, 0.0)),
        views=seen[:, None],
        cameras=(_VIEW,),
        unit="px",
    )


def model_of(shapes: Shapes) -> PointModel:
    """The shape and how it varies, for `asterism pose`: in pixels, as it is seen at scale one."""
    basis = shapes.kind.basis.numpy()
    return PointModel(
        names=shapes.names,
        mean=shapes.kind.mean.numpy(),
        basis=basis,
        variance=np.ones(len(basis)),
        unit="px",
    )


def write_poses(path: str | Path, shapes: Shapes, table: KeypointTable) -> None:
    """A CSV: image, individual, reason (empty where there is a shape), how many points are seen; turn_x,
    turn_y, turn_z (Rodrigues vector of the rotation from the shape to the view), shift_x, shift_y (pixels),
    scale, error (root mean square of seen points, pixels) and shape_s, the coefficients of the model's basis.
    """
    count = shapes.coefficients.shape[1]
    numbers = ["turn_x", "turn_y", "turn_z", "shift_x", "shift_y", "scale", "error"]
    numbers += [f"shape_{s}" for s in range(count)]
    turns = Rotation.from_matrix(shapes.view_from_kind.numpy()).as_rotvec()
    error = shapes.error.square().nanmean(1).sqrt().numpy()
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["image", "individual", "reason", "seen", *numbers])
    for n, reason in enumerate(shapes.reason):
        first = [table.images[table.image[n]], int(table.individual[n]), reason, int(shapes.seen[n].sum())]
        row = [*turns[n], *shapes.shift[n], shapes.scale[n], error[n], *shapes.coefficients[n]]
        writer.writerow([*first, *([""] * len(row) if reason else (repr(float(x)) for x in row))])
    write_text(path, out.getvalue())


def numbers_of(shapes: Shapes) -> dict[str, Any]:
    """What was found, what it was chosen from, and how well it is known."""
    there = np.array([not reason for reason in shapes.reason], bool)
    choice, setting = shapes.choice, shapes.choice.setting
    error = shapes.error.square().nanmean(1).sqrt().numpy()[there]
    sd = shapes.cov.diagonal(dim1=2, dim2=3).sqrt().numpy()[there]
    radius = float(shapes.kind.mean.square().sum(-1).mean().sqrt())
    return {
        "rows": len(there),
        "found": int(there.sum()),
        "refused": int((~there).sum()),
        "points": list(shapes.names),
        "directions": setting.directions,
        "symmetric": setting.symmetric,
        "scale_sd": setting.scale_sd,
        "ridge": setting.ridge,
        "radius_px": radius,
        "reprojection_px": float(np.median(error)) if len(error) else None,
        "depth_sd_px": float(np.median(sd[..., 2])) if len(error) else None,
        "depth_variance_unknown": shapes.vague,
        "views_differ_degrees": shapes.views_degrees,
        "hidden_px": choice.hidden[setting],
        "hidden_flat_px": choice.flat,
        "covariance_widened": choice.widen,
        "tried": {_word(tried): off for tried, off in choice.hidden.items()},
    }


def _word(setting: Setting) -> str:
    kind = "symmetric" if setting.symmetric else "plain"
    return f"{kind}, {setting.directions} directions, scale_sd {setting.scale_sd}, ridge {setting.ridge}"
