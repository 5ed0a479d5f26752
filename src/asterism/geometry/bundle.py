"""Cameras from what they see: bundle adjustment of poses and points, with the points eliminated.

V cameras, N points, xy "V N 2" in each camera's (distorted) pixels. Intrinsics stay as they are. Triggs,
McLauchlan, Hartley, Fitzgibbon, "Bundle Adjustment: A Modern Synthesis", 1999: Schur complement, 6.1, and
free gauge, 9; Cauchy's loss as reweighted least squares, 4.3.
"""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from asterism.geometry import camera
from asterism.geometry.linear import inverse3
from asterism.geometry.precision import full_precision
from asterism.geometry.so3 import angle_between, exp, nearest, skew
from asterism.types import Cameras

_STEPS = 60  # Levenberg-Marquardt steps, at most
_CAUCHY = (
    2.3849  # scale of Cauchy's loss that keeps 95 % efficiency under Gaussian noise (Holland, Welsch 1977)
)
_ENOUGH = 1e-7  # the relative gain of a step that ends the search
_ROUNDS = 20  # of reweighting in `like`


def adjust(
    cameras: Cameras,
    xy: Float[Tensor, "V N 2"],
    valid: Bool[Tensor, "V N"],
    xyz: Float[Tensor, "N 3"],
    *,
    sigma: float | int,
) -> tuple[Cameras, Float[Tensor, "N 3"]]:
    """Poses and points of least Cauchy loss of the distances in pixels; `sigma` is their standard deviation.

    The keypoints fix the cameras up to a similarity of the world; it is chosen as in `like`, so that most
    cameras stay where they were. Fewer than two valid views of a point, and it takes no part.
    """
    before, points = cameras, xyz
    used = valid & (valid.sum(0) >= 2)
    scale = _CAUCHY * sigma
    cost, system = _cost(cameras, xy, used, points, scale), _system(cameras, xy, used, points, scale)
    damping = 1e-3  # Marquardt's start, SIAM 1963
    for _ in range(_STEPS):
        turn, move = _step(*system, damping)
        trial = _moved(cameras, turn)
        trial_points = points + move
        new = _cost(trial, xy, used, trial_points, scale)
        if new < cost:
            gain, cost, cameras, points = (cost - new) / cost, new, trial, trial_points
            damping = max(damping / 10, 1e-9)
            if gain < _ENOUGH:
                break
            system = _system(cameras, xy, used, points, scale)
        else:
            damping = damping * 10
            if damping > 1e9:
                break
    return like(cameras, points, before)


def like(
    cameras: Cameras, xyz: Float[Tensor, "N 3"], reference: Cameras
) -> tuple[Cameras, Float[Tensor, "N 3"]]:
    """The same cameras and points in the world, and with the scale, in which most cameras are as `reference`.

    The similarity is of least absolute deviation, by reweighting: a camera that was wrong does not drag the
    rest.
    """
    new, old = camera.centre(cameras), camera.centre(reference)
    weight = torch.ones_like(new[:, 0])
    spread = (old - old.mean(0)).norm(dim=-1).mean()
    turn, scale, shift = torch.eye(3, dtype=new.dtype, device=new.device), new.new_ones(()), new.new_zeros(3)
    with full_precision(new):
        between = reference.cam_from_world[..., :3].mT @ cameras.cam_from_world[..., :3]  # V 3 3
        for _ in range(_ROUNDS):
            share = weight / weight.sum()
            turn = nearest((share[:, None, None] * between).sum(0)[None])[0]
            a, b = (share[:, None] * new).sum(0), (share[:, None] * old).sum(0)
            turned, centred = (new - a) @ turn.T, old - b
            scale = (share[:, None] * turned * centred).sum() / (share[:, None] * turned.square()).sum()
            scale = scale.clamp_min(1e-6)
            shift = b - scale * turn @ a
            far = (scale * new @ turn.T + shift - old).norm(dim=-1) / spread
            off = (between - turn).square().sum((1, 2)).sqrt()
            weight = 1 / (far + off).clamp_min(1e-9)
        rotation = cameras.cam_from_world[..., :3] @ turn.T
        at = scale * new @ turn.T + shift
        pose = torch.cat([rotation, -(rotation @ at[..., None])], dim=-1)
        return replace(cameras, cam_from_world=pose), scale * xyz @ turn.T + shift


def motion(after: Cameras, before: Cameras) -> tuple[Float[Tensor, " V"], Float[Tensor, " V"]]:
    """How far every camera turned, in radians, and moved, in world units."""
    angle = angle_between(after.cam_from_world[..., :3], before.cam_from_world[..., :3])
    return angle, (camera.centre(after) - camera.centre(before)).norm(dim=-1)


def _moved(cameras: Cameras, step: Tensor) -> Cameras:
    """Every camera turned by step[:, :3] about its centre of coordinates, then shifted."""
    with full_precision(step):
        rotation = exp(step[:, :3]) @ cameras.cam_from_world[..., :3]
    shift = cameras.cam_from_world[..., 3] + step[:, 3:]
    return replace(cameras, cam_from_world=torch.cat([rotation, shift[..., None]], dim=-1))


def _cost(cameras: Cameras, xy: Tensor, used: Tensor, xyz: Tensor, scale: float) -> Tensor:
    seen, depth = camera.project(cameras, xyz.expand(len(cameras), *xyz.shape))
    square = (seen - xy).square().sum(-1) / scale**2
    behind = used & (depth <= 0)
    square = torch.where(
        behind, xy.new_tensor(1e6), square
    )  # a point that slips behind costs as a stray does
    return torch.where(used, torch.log1p(square), 0).sum()


def _system(
    cameras: Cameras, xy: Tensor, used: Tensor, xyz: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Blocks of cameras "V 6 6" and points "N 3 3", what joins them "V N 6 3", gradients "V 6", "N 3"."""
    views = xyz.expand(len(cameras), *xyz.shape)
    seen, depth, by_xyz = camera.project_jacobian(cameras, views)
    residual = torch.where(used[..., None], seen - xy, 0)
    share = torch.where(used & (depth > 0), 1 / (1 + residual.square().sum(-1) / scale**2), 0)
    with full_precision(xyz):
        by_cam = by_xyz @ cameras.cam_from_world[:, None, :, :3].mT  # V N 2 3
        turned = camera.cam_from_world(cameras, views) - cameras.cam_from_world[:, None, :, 3]
        by_pose = torch.cat([-(by_cam @ skew(turned)), by_cam], dim=-1)  # V N 2 6
        weighed = share[..., None, None] * by_pose
        point = share[..., None, None] * by_xyz
        return (
            torch.einsum("vnai,vnaj->vij", weighed, by_pose),
            torch.einsum("vnai,vnaj->nij", point, by_xyz),
            weighed.mT @ by_xyz,
            torch.einsum("vnai,vna->vi", weighed, residual),
            torch.einsum("vnai,vna->ni", point, residual),
        )


def _step(
    poses: Tensor, points: Tensor, joint: Tensor, by_pose: Tensor, by_point: Tensor, damping: float
) -> tuple[Tensor, Tensor]:
    """Marquardt's step of cameras "V 6" and points "N 3", the points eliminated."""
    v = len(poses)
    with full_precision(poses):
        damped = poses + damping * torch.diag_embed(poses.diagonal(dim1=-2, dim2=-1))
        still = (
            poses.diagonal(dim1=-2, dim2=-1).mean().clamp_min(1e-12) * 1e-9
        )  # of a camera that saw nothing
        damped = damped + still * torch.eye(6, dtype=poses.dtype, device=poses.device)
        least = points.diagonal(dim1=-2, dim2=-1).mean().clamp_min(1e-12) * 1e-9
        eye = torch.eye(3, dtype=points.dtype, device=points.device)
        inverse = inverse3(
            points + damping * torch.diag_embed(points.diagonal(dim1=-2, dim2=-1)) + least * eye
        )
        through = joint @ inverse  # V N 6 3
        n, flat = len(points), through.transpose(1, 2).reshape(6 * v, -1)
        schur = -(flat @ joint.transpose(1, 2).reshape(6 * v, 3 * n).T)
        at = torch.arange(v, device=poses.device)
        schur = schur.unflatten(0, (v, 6)).unflatten(2, (v, 6))
        schur[at, :, at] = schur[at, :, at] + damped
        right = by_pose - torch.einsum("vnij,nj->vi", through, by_point)
        turn = -torch.linalg.solve(schur.reshape(6 * v, 6 * v), right.flatten()).reshape(v, 6)
        move = by_point + torch.einsum("vnij,vi->nj", joint, turn)
        return turn, -(inverse @ move[..., None])[..., 0]
