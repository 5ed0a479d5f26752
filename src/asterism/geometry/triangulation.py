"""Points in space from several cameras: linear, robust, refined, and how well they are known.

V cameras are shared by the whole batch. xy is what each camera saw, "B V K 2", in its (distorted) pixels. An
observation of weight w has the variance sigma^2 / w; one that is not valid takes no part.
Hartley and Zisserman, "Multiple View Geometry", 2nd ed. 2004, 12.2 (linear), 4.7 (robust), 5.2 (covariance).
"""

import math
from dataclasses import dataclass
from itertools import combinations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from asterism.geometry import camera
from asterism.geometry.levenberg import minimise
from asterism.geometry.linear import inverse3, solve3
from asterism.geometry.precision import full_precision
from asterism.types import Cameras, Struct

_STEPS = 20  # Levenberg-Marquardt steps, at most; 3 to 5 are usual


@dataclass(frozen=True, kw_only=True, repr=False)
class Points3D(Struct):
    """Points in the world. Where `valid` is False, too few views agreed and the numbers mean nothing.

    `cov` in squared world units; `error` is the root mean square of the inliers' distances, in pixels.
    """

    xyz: Float[Tensor, "B K 3"]
    cov: Float[Tensor, "B K 3 3"]
    inlier: Bool[Tensor, "B V K"]
    valid: Bool[Tensor, "B K"]
    error: Float[Tensor, "B K"]


def triangulate(
    cameras: Cameras,
    xy: Float[Tensor, "B V K 2"],
    valid: Bool[Tensor, "B V K"],
    *,
    threshold: float,
    sigma: float,
    least_views: int = 3,
    weight: Float[Tensor, "B V K"] | None = None,
) -> Points3D:
    """Robust points: the pair of views with whom most others agree, refined on all that agree.

    Every pair is tried, in order, so the result never changes from run to run. A view agrees when the point
    is in front of it and projects within `threshold` pixels of what it saw. A point is refused (`valid`
    False, zeros) when fewer than `least_views` agree: two views always agree with each other, so two are no
    evidence. `sigma` is the standard deviation, in pixels, of an observation of weight one; it scales `cov`.
    Raises ValueError for fewer than two cameras or least_views below two.
    """
    b, v, k, _ = xy.shape
    if v < 2 or least_views < 2:
        raise ValueError(f"two views make a point; got {v} cameras and least_views={least_views}")
    seen, used, w = _observations(cameras, xy, valid, weight)
    with torch.no_grad():
        xyz = _best_pair(cameras, seen, used, threshold)
        for _ in range(2):  # what agrees with the pair's point, then what agrees with the refined one
            inlier = _agree(cameras, seen, used, xyz, threshold)[1]
            xyz = _minimise(cameras, seen, _share(inlier, w), xyz)
        distance, inlier = _agree(cameras, seen, used, xyz, threshold)
    enough = inlier.sum(0) >= least_views  # M
    inlier = inlier & enough
    share = _share(inlier, w)
    xyz = torch.where(enough[:, None], _last_step(cameras, seen, share, xyz), 0)
    normal = _system(cameras, seen, share, xyz)[1]
    cov = torch.where(enough[:, None, None], sigma**2 * inverse3(normal), 0)
    square = torch.where(inlier, distance.square(), 0).sum(0) / inlier.sum(0).clamp_min(1)
    return Points3D(
        xyz=xyz.reshape(b, k, 3),
        cov=cov.reshape(b, k, 3, 3),
        inlier=inlier.reshape(v, b, k).transpose(0, 1),
        valid=enough.reshape(b, k),
        error=square.sqrt().reshape(b, k),
    )


def dlt(
    cameras: Cameras,
    xy: Float[Tensor, "B V K 2"],
    valid: Bool[Tensor, "B V K"],
    weight: Float[Tensor, "B V K"] | None = None,
) -> Float[Tensor, "B K 3"]:
    """The weighted linear point of all valid views, in closed form and differentiable.

    The error it minimises is algebraic: the distance on the image plane times the depth. Fewer than two
    valid views give finite nonsense.
    """
    seen, used, w = _observations(cameras, xy, valid, weight)
    ray, reached = camera.undistort(cameras, seen)
    return _linear(cameras, ray, _share(used & reached, w)).unflatten(0, (xy.shape[0], xy.shape[2]))


def refine(
    cameras: Cameras,
    xy: Float[Tensor, "B V K 2"],
    valid: Bool[Tensor, "B V K"],
    xyz: Float[Tensor, "B K 3"],
    weight: Float[Tensor, "B V K"] | None = None,
) -> Float[Tensor, "B K 3"]:
    """The points of least weighted squared distance in pixels, by Levenberg-Marquardt from `xyz`.

    Gradients by xy, weight and cameras are Gauss-Newton's: exact for residuals of zero, and no gradient
    reaches the start.
    """
    seen, used, w = _observations(cameras, xy, valid, weight)
    share = _share(used, w)
    with torch.no_grad():
        best = _minimise(cameras, seen, share, xyz.flatten(0, 1))
    return _last_step(cameras, seen, share, best).reshape(xyz.shape)


def covariance(
    cameras: Cameras,
    xyz: Float[Tensor, "B K 3"],
    valid: Bool[Tensor, "B V K"],
    *,
    sigma: float,
    weight: Float[Tensor, "B V K"] | None = None,
) -> Float[Tensor, "B K 3 3"]:
    """sigma^2 (sum over valid views of w J^T J)^-1 at xyz: to first order, the covariance of `refine`."""
    w = torch.ones_like(valid, dtype=xyz.dtype) if weight is None else weight
    normal = _system(cameras, xyz.new_zeros(2), _share(_flat(valid), _flat(w)), xyz.flatten(0, 1))[1]
    return sigma**2 * inverse3(normal).unflatten(0, xyz.shape[:2])


# ------------------------------------------------------- inside, views come first: "V M", M = B K points


def _flat(x: Tensor) -> Tensor:
    """ "B V K ..." to "V M ..."."""
    return x.transpose(0, 1).flatten(1, 2)


def _observations(
    cameras: Cameras, xy: Tensor, valid: Tensor, weight: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels "V M 2", zero where not valid, validity "V M" and weights "V M"."""
    if len(cameras) != xy.shape[1]:
        raise ValueError(
            f"{len(cameras)} cameras, but xy of shape {tuple(xy.shape)} holds {xy.shape[1]} views"
        )
    w = torch.ones_like(xy[..., 0]) if weight is None else weight
    return _flat(torch.where(valid[..., None], xy, 0)), _flat(valid), _flat(w)


def _share(used: Tensor, weight: Tensor) -> Tensor:
    """Weights of the views that take part and zero elsewhere, "V M 1"."""
    return torch.where(used, weight, 0)[..., None]


def _linear(cameras: Cameras, ray: Tensor, weight: Tensor) -> Tensor:
    """Points "M 3" of rays "V M 2", in a world moved to the cameras' middle and scaled to their distance."""
    at = camera.centre(cameras)
    middle = at.mean(0)
    unit = (at - middle).norm(dim=-1).mean()
    rotation = cameras.cam_from_world[..., :3]
    shift = -(rotation * ((at - middle) / unit)[:, None]).sum(-1)  # V 3
    row = ray[..., None] * rotation[:, None, 2:] - rotation[:, None, :2]  # V M 2 3
    right = shift[:, None, :2] - ray * shift[:, None, 2:]  # V M 2
    return middle + unit * solve3(*_squares(row, weight, right))


def _squares(row: Tensor, weight: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Normal matrices "M 3 3" and right sides "M 3" of the equations row x = right, "V M 2 3" and "V M 2"."""
    with full_precision(row):
        weighed = weight[..., None] * row
        normal = torch.einsum("vmij,vmik->mjk", weighed, row)
        return normal, torch.einsum("vmij,vmi->mj", weighed, right)


def _best_pair(cameras: Cameras, xy: Tensor, used: Tensor, threshold: float) -> Tensor:
    """The point of the pair of views with the least truncated squared error over all views (MSAC)."""
    ray, reached = camera.undistort(cameras, xy)
    best = xy.new_zeros(xy.shape[1], 3)
    least = xy.new_full(xy.shape[1:2], torch.inf)
    for i, j in combinations(range(len(cameras)), 2):
        pair = torch.tensor([i, j], device=xy.device)
        both = (used & reached)[pair].all(0)
        xyz = _linear(cameras[pair], ray[pair], both.expand(2, -1)[..., None].to(xy.dtype))
        distance, agrees = _agree(cameras, xy, used, xyz, threshold)
        cost = torch.where(agrees, distance.square(), threshold**2).sum(0)
        better = both & (cost < least)
        best = torch.where(better[:, None], xyz, best)
        least = torch.where(better, cost, least)
    return best


def _agree(
    cameras: Cameras, xy: Tensor, used: Tensor, xyz: Tensor, threshold: float
) -> tuple[Tensor, Tensor]:
    """Distances in pixels, and which views agree, "V M" both."""
    seen, depth = camera.project(cameras, xyz.expand(len(cameras), *xyz.shape))
    distance = (seen - xy).norm(dim=-1)
    return distance, used & (depth > 0) & (distance < threshold)


def _system(cameras: Cameras, xy: Tensor, weight: Tensor, xyz: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cost "M", normal matrix "M 3 3" and half the gradient "M 3" of the squared distances."""
    seen, _, jacobian = camera.project_jacobian(cameras, xyz.expand(len(cameras), *xyz.shape))
    residual = torch.where(weight > 0, seen - xy, 0)
    return (weight * residual.square()).sum((0, 2)), *_squares(jacobian, weight, residual)


def _minimise(cameras: Cameras, xy: Tensor, weight: Tensor, xyz: Tensor) -> Tensor:
    """The last step, Gauss-Newton's, does what is left."""
    found, _ = minimise(
        lambda x: _system(cameras, xy, weight, x[0]),
        lambda x, step: (x[0] + step,),
        (xyz,),
        steps=_STEPS,
        least=math.sqrt(torch.finfo(xyz.dtype).eps),
        solver=solve3,
    )
    return found[0]


def _last_step(cameras: Cameras, xy: Tensor, weight: Tensor, xyz: Tensor) -> Tensor:
    """A Gauss-Newton step that carries the gradients: the residual is differentiated, its slopes are not."""
    views = xyz.expand(len(cameras), *xyz.shape)
    jacobian = camera.project_jacobian(cameras.detach(), views)[2]
    residual = torch.where(weight > 0, camera.project(cameras, views)[0] - xy, 0)
    normal, gradient = _squares(jacobian, weight, residual)
    return xyz - solve3(normal.detach(), gradient)
