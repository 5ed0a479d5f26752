"""PCA of shapes, the convex start, and pose and shape together."""

import pytest
import torch

from asterism.geometry import camera, shape_pose, so3
from asterism.types import Cameras

F64 = torch.float64


def world(b=60, k=10, s=4, sigma=0.0, seed=0):
    g = torch.Generator().manual_seed(seed)
    mean = torch.randn(k, 3, generator=g, dtype=F64)
    basis = torch.linalg.qr(torch.randn(3 * k, s, generator=g, dtype=F64)).Q.T.unflatten(1, (k, 3))
    variance = 0.5 * torch.arange(s, 0, -1, dtype=F64) / s
    model = shape_pose.ShapeModel(mean=mean, basis=basis, variance=variance)
    c = torch.randn(b, s, generator=g, dtype=F64) * variance.sqrt()
    turn = so3.exp(3 * torch.randn(b, 3, generator=g, dtype=F64))
    pose = torch.cat([turn, torch.tensor([0.2, -0.1, 8.0], dtype=F64).expand(b, 3)[..., None]], dim=-1)
    k3 = torch.tensor([[800.0, 0, 320], [0, 800, 240], [0, 0, 1]], dtype=F64).repeat(b, 1, 1)
    bend = torch.tensor([[-0.1, 0.01, 1e-3, -1e-3, 0]], dtype=F64).repeat(b, 1)
    cams = Cameras(intrinsics=k3, cam_from_world=pose, distortion=bend)
    xy = camera.project(cams, model.shape(c))[0]
    return model, cams, c, xy + sigma * torch.randn(xy.shape, generator=g, dtype=F64)


def every(xy):
    return torch.ones_like(xy[..., 0], dtype=torch.bool)


def off(pose, cams):
    return torch.rad2deg(so3.angle_between(pose[..., :3], cams.cam_from_world[..., :3]))


def test_pca_finds_the_directions_and_their_variances():
    model, *_ = world()
    c = torch.randn(20000, 4, generator=torch.Generator().manual_seed(1), dtype=F64) * model.variance.sqrt()
    found = shape_pose.pca(model.shape(c), 4)
    torch.testing.assert_close(found.mean, model.mean, atol=0.03, rtol=0)
    torch.testing.assert_close(found.variance, model.variance, rtol=0.05, atol=0)
    same = torch.einsum("skd,tkd->st", found.basis, model.basis).abs()
    torch.testing.assert_close(same, torch.eye(4, dtype=F64), atol=0.2, rtol=0)
    with pytest.raises(ValueError, match="count=9"):
        shape_pose.pca(torch.zeros(5, 10, 3, dtype=F64), 9)


def test_the_shrinkage_is_the_spectral_norms_proximal_map():
    g = torch.Generator().manual_seed(0)
    m = torch.randn(50, 2, 3, generator=g, dtype=F64)
    u, s, vh = torch.linalg.svd(m, full_matrices=False)
    level = torch.maximum(s[:, :1] - 0.7, (s.sum(1, keepdim=True) - 0.7) / 2).clamp_min(0)
    wanted = (u * torch.minimum(s, level)[:, None]) @ vh
    torch.testing.assert_close(shape_pose._shrink(m, 0.7), wanted)


def test_almost_no_noise_gives_pose_and_shape_back():
    model, cams, c, xy = world()
    found = shape_pose.fit(cams, model, xy, every(xy), sigma=1e-4)
    assert found.valid.all() and (off(found.cam_from_world, cams) < 1e-3).double().mean() > 0.95
    good = off(found.cam_from_world, cams) < 1e-3
    torch.testing.assert_close(found.coefficients[good], c[good], atol=1e-3, rtol=0)


def test_the_convex_start_is_near():
    model, cams, _, xy = world(200)
    ray, _ = camera.undistort(cams, xy)
    start = shape_pose.convex_start(model, ray, torch.ones_like(xy[..., 0]))
    assert off(start, cams).median() < 15
    torch.testing.assert_close(torch.linalg.det(start[..., :3]), torch.ones(200, dtype=F64))


def test_the_shape_helps_and_the_covariance_is_honest():
    model, cams, _, xy = world(1500, sigma=4.0)
    found = shape_pose.fit(cams, model, xy, every(xy), sigma=4.0)
    rigid = shape_pose.ShapeModel(mean=model.mean, basis=model.basis[:0], variance=model.variance[:0])
    mean = shape_pose.fit(cams, rigid, xy, every(xy), sigma=4.0)
    assert off(found.cam_from_world, cams).median() < 0.7 * off(mean.cam_from_world, cams).median()
    turn = cams.cam_from_world[..., :3] @ found.cam_from_world[..., :3].mT
    small = torch.stack([turn[:, 2, 1] - turn[:, 1, 2], turn[:, 0, 2] - turn[:, 2, 0]], -1) / 2
    small = torch.cat([small, (turn[:, 1, 0] - turn[:, 0, 1])[:, None] / 2], dim=-1)
    miss = torch.cat([small, cams.cam_from_world[..., 3] - found.cam_from_world[..., 3]], dim=-1)
    square = (miss * torch.linalg.solve(found.cov, miss)).sum(-1)
    assert 0.62 < (square < 7.04).double().mean() < 0.74
    assert 0.91 < (square < 12.59).double().mean() < 0.98


def test_strays_are_left_out_and_too_few_points_refused():
    model, cams, _, xy = world(60, sigma=1.0)
    xy[:, 3] += 150
    found = shape_pose.fit(cams, model, xy, every(xy), sigma=1.0, threshold=4.29)
    assert found.inlier[:, 3].double().mean() < 0.1
    few = every(xy)
    few[:, 4:] = False
    none = shape_pose.fit(cams, model, torch.where(few[..., None], xy, torch.nan), few, sigma=1.0)
    assert not none.valid.any() and torch.isfinite(none.cov).all() and (none.coefficients == 0).all()
