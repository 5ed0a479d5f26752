"""Rotations' tangents, and cameras that are found again from what they see."""

import pytest
import torch
from scipy.spatial.transform import Rotation

from asterism.geometry import bundle, camera, so3
from asterism.types import Cameras

F64 = torch.float64


def rig(v=5):
    a = torch.arange(v, dtype=F64) * 2 * torch.pi / v
    at = torch.stack([4 * a.cos(), 4 * a.sin(), 1 + 0.3 * (torch.arange(v) % 2)], dim=-1)
    z = -at / at.norm(dim=-1, keepdim=True)
    x = torch.nn.functional.normalize(
        torch.linalg.cross(z, torch.tensor([[0, 0, 1.0]], dtype=F64).expand(v, 3))
    )
    rotation = torch.stack([x, torch.linalg.cross(z, x), z], dim=1)
    k = torch.tensor([[800.0, 0, 320], [0, 800, 240], [0, 0, 1]], dtype=F64).repeat(v, 1, 1)
    distortion = torch.tensor([[-0.1, 0.01, 1e-3, -1e-3, 0]], dtype=F64).repeat(v, 1)
    pose = torch.cat([rotation, -rotation @ at[..., None]], dim=-1)
    return Cameras(intrinsics=k, cam_from_world=pose, distortion=distortion)


def shaken(cameras, which, angle=0.03, shift=0.08):
    """Some cameras turned and moved."""
    g = torch.Generator().manual_seed(0)
    step = torch.zeros(len(cameras), 6, dtype=F64)
    step[which] = torch.nn.functional.normalize(torch.randn(len(which), 6, generator=g, dtype=F64))
    step[:, :3] *= angle
    step[:, 3:] *= shift
    return bundle._moved(cameras, step)


def test_exp_is_rodrigues_and_angles_are_exact_near_zero():
    g = torch.Generator().manual_seed(0)
    w = torch.randn(50, 3, generator=g, dtype=F64) * torch.logspace(-9, 0.4, 50, dtype=F64)[:, None]
    torch.testing.assert_close(so3.exp(w), torch.from_numpy(Rotation.from_rotvec(w.numpy()).as_matrix()))
    eye = torch.eye(3, dtype=F64).expand(50, 3, 3)
    small = w.norm(dim=-1) < 3
    torch.testing.assert_close(
        so3.angle_between(so3.exp(w), eye)[small], w.norm(dim=-1)[small], rtol=1e-6, atol=1e-15
    )
    torch.testing.assert_close(so3.nearest(3 * so3.exp(w)), so3.exp(w))
    a, b = torch.randn(2, 7, 3, generator=g, dtype=F64)
    torch.testing.assert_close((so3.skew(a) @ b[..., None])[..., 0], torch.linalg.cross(a, b))


def scene(n=80, noise=0.0):
    cams = rig()
    g = torch.Generator().manual_seed(1)
    xyz = 1.4 * (torch.rand(n, 3, generator=g, dtype=F64) - 0.5)
    xy = camera.project(cams, xyz.expand(5, n, 3))[0]
    return cams, xyz, xy + noise * torch.randn(xy.shape, generator=g, dtype=F64)


@pytest.mark.parametrize("which", [[2], [0, 1, 2, 3, 4]])
def test_cameras_are_found_again(which):
    cams, xyz, xy = scene()
    ok = torch.rand(xy.shape[:2], generator=torch.Generator().manual_seed(2)) < 0.8
    found, points = bundle.adjust(shaken(cams, which), xy, ok, xyz + 0.02, sigma=1.0)
    found, points = bundle.like(found, points, cams)  # all had moved: the world is known up to a similarity
    torch.testing.assert_close(found.cam_from_world, cams.cam_from_world, atol=1e-6, rtol=0)
    used = ok.sum(0) >= 2
    torch.testing.assert_close(points[used], xyz[used], atol=1e-6, rtol=0)


def test_a_wrong_camera_does_not_drag_the_others():
    cams, xyz, xy = scene()
    found, _ = bundle.adjust(
        shaken(cams, [2]), xy, torch.ones(xy.shape[:2], dtype=torch.bool), xyz, sigma=1.0
    )
    torch.testing.assert_close(found.cam_from_world, cams.cam_from_world, atol=1e-6, rtol=0)
    angle, shift = bundle.motion(shaken(cams, [2]), cams)
    assert angle[2] > 0.01 and shift[2] > 0.01 and angle[[0, 1, 3, 4]].max() < 1e-7


def test_strays_do_not_move_the_cameras():
    cams, xyz, xy = scene(300, noise=0.5)
    g = torch.Generator().manual_seed(3)
    bad = torch.rand(xy.shape[:2], generator=g) < 0.1
    xy = torch.where(bad[..., None], 500 * torch.rand(xy.shape, generator=g, dtype=F64), xy)
    found, _ = bundle.adjust(shaken(cams, [1, 3]), xy, torch.ones_like(bad), xyz, sigma=0.5)
    angle, shift = bundle.motion(bundle.like(found, xyz, cams)[0], cams)
    assert angle.max() < 2e-3 and shift.max() < 0.01


def test_like_undoes_a_similarity():
    cams, xyz, _ = scene()
    turn, scale, shift = (
        so3.exp(torch.tensor([0.1, 0.2, -0.3], dtype=F64)),
        1.7,
        torch.tensor([1.0, 2, 3], dtype=F64),
    )
    at = scale * camera.centre(cams) @ turn.T + shift
    rotation = cams.cam_from_world[..., :3] @ turn.T
    pose = torch.cat([rotation, -(rotation @ at[..., None])], dim=-1)
    moved = Cameras(intrinsics=cams.intrinsics, cam_from_world=pose, distortion=cams.distortion)
    back, points = bundle.like(moved, scale * xyz @ turn.T + shift, cams)
    torch.testing.assert_close(back.cam_from_world, cams.cam_from_world)
    torch.testing.assert_close(points, xyz)
