"""OpenCV's pinhole camera with radial and tangential distortion (k1, k2, p1, p2, k3).

One row of Cameras per row of points. The camera looks along +z with y down; `depth` is z in the camera.
Brown, "Decentering distortion of lenses", Photogrammetric Engineering 1966; OpenCV's calib3d documentation.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from asterism.geometry import affine
from asterism.geometry.linear import solve2
from asterism.geometry.precision import full_precision
from asterism.types import Cameras

_STEPS = 20  # Newton steps of undistort, at most; 4 or 5 are usual for lenses of 90 degrees


def centre(cameras: Cameras) -> Float[Tensor, "B 3"]:
    """Where the cameras stand, in the world."""
    rotation, shift = cameras.cam_from_world[..., :3], cameras.cam_from_world[..., 3]
    return -(rotation * shift[..., None]).sum(1)


def cam_from_world(cameras: Cameras, xyz: Float[Tensor, "B K 3"]) -> Float[Tensor, "B K 3"]:
    """World points in the coordinates of each camera."""
    with full_precision(xyz):
        return xyz @ cameras.cam_from_world[..., :3].mT + cameras.cam_from_world[:, None, :, 3]


def world_from_cam(cameras: Cameras, xyz: Float[Tensor, "B K 3"]) -> Float[Tensor, "B K 3"]:
    """Points in camera coordinates, in the world; the inverse of cam_from_world."""
    with full_precision(xyz):
        return (xyz - cameras.cam_from_world[:, None, :, 3]) @ cameras.cam_from_world[..., :3]


def project(
    cameras: Cameras, xyz: Float[Tensor, "B K 3"]
) -> tuple[Float[Tensor, "B K 2"], Float[Tensor, "B K"]]:
    """Pixels and depth of world points. Where the depth is not positive the pixels mean nothing."""
    ray, depth = _ray(cam_from_world(cameras, xyz))
    return affine.apply(cameras.intrinsics[:, :2], distort(cameras, ray)), depth


def project_jacobian(
    cameras: Cameras, xyz: Float[Tensor, "B K 3"]
) -> tuple[Float[Tensor, "B K 2"], Float[Tensor, "B K"], Float[Tensor, "B K 2 3"]]:
    """project, and d pixels / d xyz in closed form."""
    ray, depth = _ray(cam_from_world(cameras, xyz))
    rotation = cameras.cam_from_world[:, None, :, :3]  # B 1 3 3
    z = torch.where(depth == 0, 1, depth)[..., None, None]
    ray_by_xyz = (rotation[..., :2, :] - ray[..., None] * rotation[..., 2:, :]) / z  # B K 2 3
    with full_precision(xyz):
        jacobian = cameras.intrinsics[:, None, :2, :2] @ (_distort_jacobian(cameras, ray) @ ray_by_xyz)
    return affine.apply(cameras.intrinsics[:, :2], distort(cameras, ray)), depth, jacobian


def unproject(
    cameras: Cameras, xy: Float[Tensor, "B K 2"], depth: Float[Tensor, "B K"]
) -> Float[Tensor, "B K 3"]:
    """World points of pixels at a depth; the inverse of project wherever undistort is valid."""
    ray, _ = undistort(cameras, xy)
    return world_from_cam(cameras, torch.cat([ray, torch.ones_like(ray[..., :1])], dim=-1) * depth[..., None])


def distort(cameras: Cameras, ray: Float[Tensor, "B K 2"]) -> Float[Tensor, "B K 2"]:
    """Rays (x / z, y / z) of an ideal camera, as the lens bends them."""
    k1, k2, p1, p2, k3 = cameras.distortion[:, None].unbind(-1)  # B 1
    x, y = ray.unbind(-1)
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    bent_x = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    bent_y = y * radial + 2 * p2 * x * y + p1 * (r2 + 2 * y * y)
    return torch.stack([bent_x, bent_y], dim=-1)


def undistort(
    cameras: Cameras, xy: Float[Tensor, "B K 2"]
) -> tuple[Float[Tensor, "B K 2"], Bool[Tensor, "B K"]]:
    """Rays (x / z, y / z) of pixels, and where they are valid, by Newton's method to machine precision.

    Not valid: pixels beyond the field for which the distortion was fitted, where its polynomial turns back,
    so that no ray of the lens reaches them or several do. Gradients are exact, since the last step alone
    carries them.
    """
    bent = affine.apply(affine.inverse(cameras.intrinsics[:, :2]), xy)
    with torch.no_grad():
        ray, damping = bent, torch.ones_like(bent[..., :1])
        residual = distort(cameras, ray) - bent
        close = math.sqrt(
            torch.finfo(xy.dtype).eps
        )  # Newton squares an error, so the last step leaves eps of it
        for _ in range(_STEPS):
            if (residual.norm(dim=-1) < close).all():
                break
            trial = ray - damping * solve2(_distort_jacobian(cameras, ray), residual)
            change = distort(cameras, trial) - bent
            better = change.square().sum(-1, keepdim=True) < residual.square().sum(-1, keepdim=True)
            ray, residual = torch.where(better, trial, ray), torch.where(better, change, residual)
            damping = torch.where(better, 1, damping / 4)
        slope = _distort_jacobian(cameras, ray)
        valid = _before_the_turn(cameras, ray) & (residual.norm(dim=-1) < close)
    return ray - solve2(slope, distort(cameras, ray) - bent), valid


def _before_the_turn(cameras: Cameras, ray: Tensor) -> Tensor:
    """Where the radial polynomial rises all the way from the axis to this ray, "B K".

    Its slope is 1 + 3 k1 s + 5 k2 s^2 + 7 k3 s^3 with s = r^2: a cubic, so it is positive on the whole way if
    it is at the end and at its own extrema, the roots of 3 k1 + 10 k2 s + 21 k3 s^2.
    """
    k1, k2, _, _, k3 = cameras.distortion[:, None].unbind(-1)
    end = ray.square().sum(-1)
    root = (100 * k2 * k2 - 252 * k1 * k3).clamp_min(0).sqrt()
    q = -(10 * k2 + torch.where(k2 < 0, -root, root)) / 2  # the form without cancellation
    least = torch.finfo(ray.dtype).tiny
    at = [end, q / torch.where(k3 == 0, least, 21 * k3), 3 * k1 / torch.where(q == 0, least, q)]
    s = torch.stack([torch.minimum(t.clamp_min(0), end) for t in at])
    return (1 + s * (3 * k1 + s * (5 * k2 + s * 7 * k3)) > 0).all(0)


def _ray(xyz: Tensor) -> tuple[Tensor, Tensor]:
    depth = xyz[..., 2]
    return xyz[..., :2] / torch.where(depth == 0, 1, depth)[..., None], depth


def _distort_jacobian(cameras: Cameras, ray: Tensor) -> Tensor:
    """d distort / d ray, "B K 2 2"."""
    k1, k2, p1, p2, k3 = cameras.distortion[:, None].unbind(-1)
    x, y = ray.unbind(-1)
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    slope = 2 * (k1 + r2 * (2 * k2 + r2 * 3 * k3))  # d radial / d r2, twice
    xx = radial + slope * x * x + 2 * p1 * y + 6 * p2 * x
    yy = radial + slope * y * y + 2 * p2 * x + 6 * p1 * y
    xy = slope * x * y + 2 * p1 * x + 2 * p2 * y
    return torch.stack([xx, xy, xy, yy], dim=-1).unflatten(-1, (2, 2))
