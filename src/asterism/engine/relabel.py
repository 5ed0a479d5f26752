"""What several calibrated cameras agree on: detections of all views to points in space to new labels.

T moments, V views, K points. A detection counts where it is sure enough; a point is accepted where enough
views agree on it (geometry.triangulation), and is then known in every view, also in those that missed it.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from asterism.errors import RequestError
from asterism.geometry import camera
from asterism.geometry.coords import xyn_from_xy
from asterism.geometry.triangulation import Points3D, triangulate
from asterism.io.table import KeypointTable
from asterism.types import Cameras, Skeleton


@dataclass(frozen=True, kw_only=True)
class Rule:
    """When views agree. Raises RequestError, naming the field, for an impossible value.

    `inlier` is how far, in source pixels, a detection may be from the point's projection (None: the caller
    knows the network's pixels and says); `least_score` what a detection must score to be asked; `least_views`
    how many must agree, and `least_share` which share of those that were sure: with many cameras three agree
    by chance. Of every `window` moments the one that scores highest teaches, if at least the share
    `least_points` of its points is accepted.
    """

    inlier: float | int | None = None
    least_score: float | int = 0.4
    least_views: int = 3
    least_share: float | int = 0.67
    window: int = 5
    least_points: float | int = 0.3

    def __post_init__(self) -> None:
        if self.inlier is not None and not self.inlier > 0:
            raise RequestError(f"inlier={self.inlier}: wanted a distance in pixels above zero")
        if self.least_views < 3:
            raise RequestError(
                f"least_views={self.least_views}: wanted 3 or more; two views always agree with each other"
            )
        if self.window < 1:
            raise RequestError(f"window={self.window}: wanted 1 moment or more")
        for name in ("least_score", "least_share", "least_points"):
            if not 0 <= getattr(self, name) <= 1:
                raise RequestError(f"{name}={getattr(self, name)}: wanted a number from 0 to 1")


@dataclass(frozen=True, kw_only=True)
class Agreed:
    """Points of T moments, where they are in every view, and which moments are to teach.

    `known` is where a point is accepted, lies before the camera and inside its picture. `score` of a moment
    is the sum of the scores of the detections that agreed.
    """

    points: Points3D
    xy: Float[Tensor, "T V K 2"]
    known: Bool[Tensor, "T V K"]
    score: Float[Tensor, " T"]
    chosen: Int[Tensor, " C"]

    def numbers(self) -> dict[str, float | int]:
        """How well the views agree, over all moments."""
        ok = self.points.valid
        views = self.points.inlier.sum(1)[ok].float()
        error = self.points.error[ok]
        return {
            "accepted": float(ok.float().mean()),
            "views_per_point": float(views.mean()) if len(views) else 0.0,
            "reprojection_px": float(error.mean()) if len(error) else 0.0,
            "chosen_moments": len(self.chosen),
            "new_labels": int(self.known[self.chosen].sum()),
        }


def agree(
    cameras: Cameras,
    xy: Float[Tensor, "T V K 2"],
    score: Float[Tensor, "T V K"],
    sizes: Int[np.ndarray, "V 2"],
    rule: Rule,
) -> Agreed:
    """Robust points of all moments, their projections into all views, and the moments that teach best.

    `sizes` are (h, w) of each view's pictures. Raises ValueError for a rule without `inlier`.
    """
    if rule.inlier is None:
        raise ValueError("rule.inlier: wanted a distance in pixels, got None")
    t, v, k, _ = xy.shape
    sure = score >= rule.least_score
    points = triangulate(cameras, xy, sure, threshold=rule.inlier, sigma=1.0, least_views=rule.least_views)
    most = points.inlier.sum(1) >= rule.least_share * sure.sum(1)
    points = replace(points, valid=points.valid & most, inlier=points.inlier & most[:, None])
    seen, depth = camera.project(cameras, points.xyz.reshape(1, t * k, 3).expand(v, -1, -1))
    seen = seen.reshape(v, t, k, 2).transpose(0, 1)
    before = (depth > 0).reshape(v, t, k).transpose(0, 1)
    inside = torch.stack([_inside(seen[:, i], (int(h), int(w))) for i, (h, w) in enumerate(sizes)], dim=1)
    known = points.valid[:, None] & before & inside
    total = torch.where(points.inlier, score, 0).sum((1, 2))
    enough = points.valid.double().mean(1) >= rule.least_points
    return Agreed(
        points=points,
        xy=torch.where(known[..., None], seen, 0),
        known=known,
        score=total,
        chosen=best_of_windows(torch.where(enough, total, 0), rule.window),
    )


def _inside(xy: Tensor, size: tuple[int, int]) -> Tensor:
    return (xyn_from_xy(xy, size).abs() <= 1).all(-1)


def best_of_windows(score: Float[Tensor, " T"], window: int) -> Int[Tensor, " C"]:
    """Of each `window` moments in a row the first with the highest score, where that is above zero."""
    best = [int(part.argmax()) + i * window for i, part in enumerate(score.split(window)) if part.max() > 0]
    return torch.tensor(best, dtype=torch.int64)


def table_of(agreed: Agreed, images: tuple[str, ...], skeleton: Skeleton) -> KeypointTable:
    """The chosen moments as labels: a row per view that shows a point; picture v * T + t is view v at t.

    A point that was agreed on is labelled in every picture it lies in; `visible` is where that view's own
    detection agreed. The score of a row's points is the share of views that agreed.
    """
    t, v, _ = agreed.known.shape
    chosen = agreed.chosen[:, None].expand(-1, v).reshape(-1)
    view = torch.arange(v).expand(len(agreed.chosen), -1).reshape(-1)
    shows = agreed.known[chosen, view].any(1)
    chosen, view = chosen[shows], view[shows]
    labelled = agreed.known[chosen, view].numpy()
    share = agreed.points.inlier[chosen].double().mean(1).numpy()
    n = len(chosen)
    return KeypointTable(
        names=skeleton.names,
        images=images,
        image=(view * t + chosen).numpy(),
        individual=np.zeros(n, np.int64),
        xy=agreed.xy[chosen, view].double().numpy(),
        labelled=labelled,
        visible=agreed.points.inlier[chosen, view].numpy() & labelled,
        score=np.where(labelled, share, 0.0),
        box=np.zeros((n, 4)),
        has_box=np.zeros(n, bool),
        area=np.zeros(n),
        edges=skeleton.edges,
        swap=skeleton.swap,
        sigma=skeleton.sigma,
        source="views that agree",
    )


def with_own(labels: KeypointTable, new: KeypointTable) -> KeypointTable:
    """Labels made by hand and new ones; a picture that has labels made by hand keeps these alone."""
    rest = ~np.isin(new.image, labels.image)
    columns = ("image", "individual", "xy", "labelled", "visible", "score", "box", "has_box", "area")
    both = {n: np.concatenate([getattr(labels, n), getattr(new, n)[rest]]) for n in columns}
    return replace(labels, **both)
