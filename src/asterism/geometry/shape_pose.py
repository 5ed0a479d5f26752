"""Pose and shape of an object from its semantic points, when its shapes are a mean and a basis (PCA).

One camera and one set of points per row of the batch, xy in its (distorted) pixels. A shape is mean + sum c_s
basis_s, and c_s has the variance v_s. What is minimised is the negative logarithm of the posterior: squared
distances in pixels over sigma^2, and c_s^2 / v_s.

Pavlakos, Zhou, Chan, Derpanis, Daniilidis, "6-DoF Object Pose from Semantic Keypoints", ICRA 2017,
https://arxiv.org/abs/1703.04670; Zhou, Leonardos, Hu, Daniilidis, "3D Shape Estimation from 2D Landmarks: A
Convex Relaxation Approach", CVPR 2015.

    convex start, weak perspective (spectral norm, ADMM)      -> convex_start
    alternation under full perspective                        -> _alternate
    refinement of pose and shape together                     -> refine

Departs from the papers: coefficients have the variances of the PCA instead of one ridge; a second start (the
best pose of the mean shape, pnp.sqpnp) runs beside the convex one, and the better end is kept; pose and shape
are refined together on pixels, which also gives the covariance.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from asterism.geometry import camera, pnp
from asterism.geometry.levenberg import minimise
from asterism.geometry.precision import full_precision
from asterism.geometry.rigid import kabsch
from asterism.geometry.so3 import moved, nearest, skew
from asterism.types import Cameras, Struct

_ADMM, _ALTERNATE, _STEPS = 60, 10, 25  # iterations, at most
_GAIN = 1e-7  # share of its cost that a step must win somewhere, or it was the last
_ALPHA, _MU = 0.01, 0.04  # of the spectral norms, and ADMM's penalty, where points have the radius 1


@dataclass(frozen=True, kw_only=True)
class ShapeModel:
    """K points whose shapes are mean + sum c_s basis_s; every c_s has mean 0 and its variance."""

    mean: Float[Tensor, "K 3"]
    basis: Float[Tensor, "S K 3"]
    variance: Float[Tensor, " S"]

    def shape(self, coefficients: Float[Tensor, "B S"]) -> Float[Tensor, "B K 3"]:
        return self.mean + torch.einsum("bs,skd->bkd", coefficients, self.basis)


@dataclass(frozen=True, kw_only=True, repr=False)
class ShapePose(Struct):
    """Poses and shapes; where `valid` is False too few points agreed and the numbers mean nothing.

    `cov` as in pnp.Pose, with the doubt about the shape in it. `cost` is the negative log posterior, without
    its constant, times two; `error` the root mean square of the inliers' distances, in pixels.
    """

    cam_from_world: Float[Tensor, "B 3 4"]
    cov: Float[Tensor, "B 6 6"]
    coefficients: Float[Tensor, "B S"]
    xyz: Float[Tensor, "B K 3"]
    inlier: Bool[Tensor, "B K"]
    valid: Bool[Tensor, " B"]
    cost: Float[Tensor, " B"]
    error: Float[Tensor, " B"]


def pca(shapes: Float[Tensor, "M K 3"], count: int) -> ShapeModel:
    """The mean and `count` principal directions, of length one, of shapes in one frame.

    Raises ValueError for more directions than shapes or coordinates have.
    """
    if not 0 <= count <= min(len(shapes) - 1, shapes[0].numel()):
        raise ValueError(
            f"count={count}: {len(shapes)} shapes of {shapes.shape[1]} points have fewer directions"
        )
    mean = shapes.mean(0)
    _, values, directions = torch.linalg.svd((shapes - mean).flatten(1), full_matrices=False)
    variance = values[:count].square() / (len(shapes) - 1)
    return ShapeModel(mean=mean, basis=directions[:count].unflatten(1, mean.shape), variance=variance)


def fit(
    cameras: Cameras,
    model: ShapeModel,
    xy: Float[Tensor, "B K 2"],
    valid: Bool[Tensor, "B K"],
    *,
    sigma: float | int,
    threshold: float | int = float("inf"),
    least: int = 5,
    weight: Float[Tensor, "B K"] | None = None,
) -> ShapePose:
    """The most probable pose and shape; an observation of weight w has the variance sigma^2 / w.

    Points farther than `threshold` sigmas are left out, once, and the rest fitted again. A fit is refused
    (`valid` False) when fewer than `least` points remain, or one would lie behind the camera.
    """
    w = torch.ones_like(xy[..., 0]) if weight is None else weight
    with torch.no_grad():
        ray, reached = camera.undistort(cameras, torch.where(valid[..., None], xy, 0))
        used = valid & reached
        share = torch.where(used, w, 0) / float(sigma) ** 2
        seen = torch.where(used[..., None], xy, 0)
        first = pnp.sqpnp(cameras, model.mean.expand(len(xy), -1, -1), seen, used, w)
        second = convex_start(model, ray, torch.where(used, w, 0))
        two = torch.arange(len(xy), device=xy.device).repeat(2)
        pose, c = torch.cat([first, second]), xy.new_zeros(2 * len(xy), len(model.variance))
        pose, c = _alternate(cameras[two], model, ray[two], share[two], pose, c)
        pose, c, cost = _refine(cameras[two], model, seen[two], share[two], pose, c)
        pick = cost.unflatten(0, (2, -1)).argmin(0) * len(xy) + torch.arange(len(xy), device=xy.device)
        pose, c = pose[pick], c[pick]
        distance, depth = _distances(cameras, model, seen, pose, c)
        inlier = used & (depth > 0) & (distance * w.sqrt() <= threshold * float(sigma))
        if (inlier != used).any():
            pose, c, _ = _refine(cameras, model, seen, torch.where(inlier, share, 0), pose, c)
        return _finished(cameras, model, seen, torch.where(inlier, share, 0), inlier, pose, c, least)


def refine(
    cameras: Cameras,
    model: ShapeModel,
    xy: Float[Tensor, "B K 2"],
    valid: Bool[Tensor, "B K"],
    cam_from_world: Float[Tensor, "B 3 4"],
    coefficients: Float[Tensor, "B S"],
    *,
    sigma: float | int,
) -> tuple[Float[Tensor, "B 3 4"], Float[Tensor, "B S"], Float[Tensor, " B"]]:
    """The most probable pose and shape near a start, and their cost, as in ShapePose."""
    share = valid.to(xy.dtype) / float(sigma) ** 2
    with torch.no_grad():
        seen = torch.where(valid[..., None], xy, 0)
        return _refine(cameras, model, seen, share, cam_from_world, coefficients)


def convex_start(
    model: ShapeModel, ray: Float[Tensor, "B K 2"], weight: Float[Tensor, "B K"]
) -> Float[Tensor, "B 3 4"]:
    """Poses from the convex relaxation under weak perspective, for rays x / z, y / z of an ideal camera.

    min 1/2 sum w |W - sum M_i B_i|^2 + alpha sum |M_i|_2 over 2 x 3 matrices M_i: the spectral norm's level
    sets are the hull of the scaled rotations' first two rows.
    """
    b, s = len(ray), len(model.variance) + 1
    unit = model.mean.sub(model.mean.mean(0)).square().sum(-1).mean().sqrt()
    scales = torch.cat([unit[None], model.variance.clamp_min(1e-300).sqrt()])  # of a usual shape
    shapes = torch.cat([model.mean[None], model.basis * scales[1:, None, None]]) / unit
    share = weight / weight.sum(1, keepdim=True).clamp_min(1e-300)
    middle = (share[..., None] * ray).sum(1, keepdim=True)
    size = (share[..., None] * (ray - middle).square()).sum((1, 2)).sqrt().clamp_min(1e-300)
    flat = ((ray - middle) / size[:, None, None]).mT  # B 2 K
    centre = torch.einsum("bk,skd->bsd", share, shapes)
    stack = (shapes - centre[:, :, None]).mT.flatten(1, 2)  # B 3S K
    with full_precision(ray):
        right = (flat * share[:, None]) @ stack.mT  # B 2 3S
        gram = (stack * share[:, None]) @ stack.mT
        eye = torch.eye(3 * s, dtype=ray.dtype, device=ray.device)
        inverse = torch.linalg.inv(gram + _MU * eye)
        dual, copy = right.new_zeros(b, 2, 3 * s), right.new_zeros(b, 2, 3 * s)
        for _ in range(_ADMM):
            linear = (right + _MU * copy - dual) @ inverse
            copy = _shrink((linear + dual / _MU).unflatten(-1, (s, 3)).transpose(1, 2), _ALPHA / _MU)
            copy = copy.transpose(1, 2).flatten(2)
            dual = dual + _MU * (linear - copy)
        rows = copy.unflatten(-1, (s, 3))[:, :, 0]  # B 2 3: the mean shape's part
        third = torch.linalg.cross(rows[:, 0], rows[:, 1])[:, None]
        third = third / third.square().sum(-1, keepdim=True).clamp_min(1e-300) ** 0.25
        rotation = nearest(torch.cat([rows, third], dim=1))
        scale = (rows * rotation[:, :2]).sum((1, 2)).clamp_min(1e-3) / 2  # of the picture, per radius
        depth = unit / (scale * size)
        at = torch.cat([middle[:, 0], torch.ones_like(depth)[:, None]], dim=1) * depth[:, None]
        mean = torch.einsum("bk,kd->bd", share, model.mean)
        return torch.cat([rotation, (at - (rotation @ mean[..., None])[..., 0])[..., None]], dim=-1)


def _shrink(m: Tensor, by: float) -> Tensor:
    """The proximal map of `by` times the spectral norm of matrices "... 2 3": the larger ones sink."""
    a, b, d = (m[..., i, :] * m[..., j, :] for i, j in ((0, 0), (0, 1), (1, 1)))
    a, b, d = a.sum(-1), b.sum(-1), d.sum(-1)
    half, gap = (a + d) / 2, (((a - d) / 2).square() + b.square()).sqrt()
    first, second = (half + gap).clamp_min(0).sqrt(), (half - gap).clamp_min(0).sqrt()
    level = torch.maximum(first - by, (first + second - by) / 2).clamp_min(0)
    tiny = torch.finfo(m.dtype).tiny
    f1 = torch.minimum(first, level) / first.clamp_min(tiny)
    f2 = torch.minimum(second, level) / second.clamp_min(tiny)
    # f(M M^T) = f2 I + (f1 - f2) P with P the projector on the first left singular vector
    slope = (f1 - f2) / (2 * gap).clamp_min(tiny)
    low = half - gap
    p = torch.stack([torch.stack([a - low, b], -1), torch.stack([b, d - low], -1)], -2)
    return f2[..., None, None] * m + slope[..., None, None] * (p @ m)


def _alternate(
    cameras: Cameras, model: ShapeModel, ray: Tensor, share: Tensor, pose: Tensor, c: Tensor
) -> tuple[Tensor, Tensor]:
    """Depths, pose and shape in turn, each the best given the others, for distances in space from rays."""
    bearing = torch.cat([ray, torch.ones_like(ray[..., :1])], dim=-1)
    focal = cameras.intrinsics[:, [0, 1], [0, 1]].mean(-1)
    prior = torch.diag(1 / model.variance.clamp_min(1e-300))
    with full_precision(ray):
        for _ in range(_ALTERNATE):
            shape = model.shape(c)
            placed = shape @ pose[..., :3].mT + pose[:, None, :, 3]
            depth = (placed * bearing).sum(-1, keepdim=True) / bearing.square().sum(-1, keepdim=True)
            target = depth.clamp_min(1e-6) * bearing
            pose = kabsch(shape, target, share)
            back = (target - pose[:, None, :, 3]) @ pose[..., :3] - model.mean
            # a distance in space is that many pixels: focal length over depth
            heavy = share * (focal[:, None] / depth[..., 0].clamp_min(1e-6)).square()
            weighed = heavy[:, None, :, None] * model.basis
            normal = torch.einsum("bskd,tkd->bst", weighed, model.basis) + prior
            c = torch.linalg.solve_ex(normal, torch.einsum("bskd,bkd->bs", weighed, back)).result
    return pose, c


def _distances(
    cameras: Cameras, model: ShapeModel, xy: Tensor, pose: Tensor, c: Tensor
) -> tuple[Tensor, Tensor]:
    shown, depth = camera.project(replace(cameras, cam_from_world=pose), model.shape(c))
    return (shown - xy).norm(dim=-1), depth


def _system(
    cameras: Cameras, model: ShapeModel, xy: Tensor, share: Tensor, pose: Tensor, c: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Cost "B", normal matrix and half the gradient by turn, shift and coefficients, "B N N" and "B N"."""
    xyz = model.shape(c)
    shown, depth, by_xyz = camera.project_jacobian(replace(cameras, cam_from_world=pose), xyz)
    prior = 1 / model.variance.clamp_min(1e-300)
    with full_precision(xy):
        by_cam = by_xyz @ pose[:, None, :, :3].mT
        turned = xyz @ pose[..., :3].mT
        by_shape = torch.einsum("bkid,skd->bkis", by_xyz, model.basis)
        slope = torch.cat([-(by_cam @ skew(turned)), by_cam, by_shape], dim=-1).flatten(1, 2)  # B 2K N
        residual = torch.where(share[..., None] > 0, shown - xy, 0)
        weighed = share.repeat_interleave(2, dim=1)[..., None] * slope
        normal = weighed.mT @ slope
        gradient = (weighed.mT @ residual.flatten(1)[..., None])[..., 0]
    normal.diagonal(dim1=-2, dim2=-1)[:, 6:] += prior
    gradient[:, 6:] += prior * c
    cost = (share * residual.square().sum(-1)).sum(1) + (prior * c.square()).sum(1)
    behind = ((depth <= 0) & (share > 0)).any(1)
    return torch.where(behind, torch.inf, cost), normal, gradient


def _refine(
    cameras: Cameras, model: ShapeModel, xy: Tensor, share: Tensor, pose: Tensor, c: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Least squares on pose and shape together."""
    (pose, c), cost = minimise(
        lambda x: _system(cameras, model, xy, share, *x),
        lambda x, step: (moved(x[0], step[:, :6]), x[1] + step[:, 6:]),
        (pose, c),
        steps=_STEPS,
        least=_GAIN,
    )
    return pose, c, cost


def _finished(
    cameras: Cameras,
    model: ShapeModel,
    xy: Tensor,
    share: Tensor,
    inlier: Tensor,
    pose: Tensor,
    c: Tensor,
    least: int,
) -> ShapePose:
    cost, normal, _ = _system(cameras, model, xy, share, pose, c)
    enough = (inlier.sum(1) >= least) & cost.isfinite()
    scale = normal.diagonal(dim1=-2, dim2=-1).clamp_min(1e-300).rsqrt()
    eye = torch.eye(normal.shape[-1], dtype=xy.dtype, device=xy.device)
    inverse = torch.linalg.inv_ex(scale[:, :, None] * normal * scale[:, None] + 1e-14 * eye).inverse
    cov = (scale[:, :, None] * inverse * scale[:, None])[:, :6, :6]
    square = torch.where(inlier, _distances(cameras, model, xy, pose, c)[0].square(), 0).sum(1)
    unknown = torch.eye(3, 4, dtype=xy.dtype, device=xy.device)
    return ShapePose(
        cam_from_world=torch.where(enough[:, None, None], pose, unknown),
        cov=torch.where(enough[:, None, None], cov, 0),
        coefficients=torch.where(enough[:, None], c, 0),
        xyz=model.shape(torch.where(enough[:, None], c, 0)),
        inlier=inlier & enough[:, None],
        valid=enough,
        cost=torch.where(enough, cost, 0),
        error=torch.where(enough, (square / inlier.sum(1).clamp_min(1)).sqrt(), 0),
    )
