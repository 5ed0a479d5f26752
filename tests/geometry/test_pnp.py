"""Poses from points: three by closed form, many by every way, strays, weights, covariances."""

import pytest
import torch

from asterism.geometry import camera, pnp, so3
from asterism.geometry.p3p import p3p
from asterism.types import Cameras

F64 = torch.float64


def scene(b, k, noise=0.0, seed=0, flat=False):
    """b cameras of 800 px, points in a cube of 2 at a distance of 4 to 8; what they see of them."""
    g = torch.Generator().manual_seed(seed)
    xyz = 2 * torch.rand(b, k, 3, generator=g, dtype=F64) - 1
    if flat:
        xyz[..., 2] = 0
    turn = so3.exp(3 * torch.randn(b, 3, generator=g, dtype=F64))
    shift = torch.rand(b, 3, generator=g, dtype=F64) * torch.tensor([1.0, 1, 4]) + torch.tensor(
        [-0.5, -0.5, 4]
    )
    k3 = torch.tensor([[800.0, 0, 320], [0, 800, 240], [0, 0, 1]], dtype=F64).repeat(b, 1, 1)
    bend = torch.tensor([[-0.1, 0.01, 1e-3, -1e-3, 0]], dtype=F64).repeat(b, 1)
    pose = torch.cat([turn, shift[..., None]], dim=-1)
    cams = Cameras(intrinsics=k3, cam_from_world=pose, distortion=bend)
    xy = camera.project(cams, xyz)[0]
    return cams, xyz, xy + noise * torch.randn(xy.shape, generator=g, dtype=F64)


def every(xy):
    return torch.ones_like(xy[..., 0], dtype=torch.bool)


def off(pose, cams):
    """Degrees."""
    return torch.rad2deg(so3.angle_between(pose[..., :3], cams.cam_from_world[..., :3]))


def test_one_of_four_poses_of_three_points_is_the_true_one():
    cams, xyz, xy = scene(4000, 3)
    ray, _ = camera.undistort(cams, xy)
    pose, good = p3p(xyz, ray)
    far = (pose - cams.cam_from_world[:, None]).abs().amax((-2, -1))
    assert (torch.where(good, far, torch.inf).amin(1) < 1e-5).double().mean() > 0.998
    seen = xyz[:, None] @ pose[..., :3].mT + pose[..., None, :, 3]
    miss = (seen[..., :2] / seen[..., 2:] - ray[:, None]).abs().amax((-2, -1))
    assert (miss[good] < 1e-6).double().mean() > 0.999
    turn = pose[..., :3]
    torch.testing.assert_close(turn @ turn.mT, torch.eye(3, dtype=F64).expand_as(turn), atol=1e-9, rtol=0)


def test_points_on_a_line_have_no_pose():
    xyz = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [2, 0, 0]], [[0.0, 0, 0], [0, 0, 0], [1, 0, 0]]], dtype=F64)
    pose, good = p3p(xyz, torch.tensor([[[0.0, 0], [0.1, 0], [0.2, 0]]] * 2, dtype=F64))
    assert not good.any() and torch.isfinite(pose).all()


@pytest.mark.parametrize("k", [4, 6, 20])
@pytest.mark.parametrize("flat", [False, True])
def test_poses_without_noise_are_exact(k, flat):
    cams, xyz, xy = scene(200, k, flat=flat)
    found = pnp.sqpnp(cams, xyz, xy, every(xy))
    share = 0.9 if k == 4 else 0.99  # four points may have a second pose
    assert (off(found, cams) < 1e-4).double().mean() > share
    best = pnp.ransac(cams, xyz, xy, every(xy), threshold=2.0, sigma=1.0, least=4)
    assert (off(best.cam_from_world, cams) < 1e-5).double().mean() > share
    assert best.valid.all() and best.inlier.all()


def test_noise_is_met_as_well_as_by_starting_from_the_truth():
    cams, xyz, xy = scene(300, 8, noise=1.0)
    ideal = pnp.refine(cams, xyz, xy, every(xy), cams.cam_from_world)
    for found in (
        pnp.refine(cams, xyz, xy, every(xy), pnp.sqpnp(cams, xyz, xy, every(xy))),
        pnp.ransac(cams, xyz, xy, every(xy), threshold=6.0, sigma=1.0).cam_from_world,
    ):
        assert (off(found, cams).median() - off(ideal, cams).median()).abs() < 0.01
        assert ((found - ideal).abs().amax((1, 2)) < 1e-3).double().mean() > 0.98


def strays(xy, share, seed=1):
    g = torch.Generator().manual_seed(seed)
    bad = torch.rand(xy.shape[:-1], generator=g).argsort(1) < round(share * xy.shape[1])
    anywhere = torch.rand(xy.shape, generator=g, dtype=F64) * torch.tensor([639.0, 479.0])
    return bad, torch.where(bad[..., None], anywhere, xy)


@pytest.mark.parametrize(("k", "share"), [(20, 0.3), (60, 0.5)])
def test_strays_are_found(k, share):
    cams, xyz, clean = scene(100, k, noise=1.0)
    bad, xy = strays(clean, share)
    found = pnp.ransac(cams, xyz, xy, every(xy), threshold=4.3, sigma=1.0)
    ideal = pnp.refine(cams, xyz, xy, ~bad, cams.cam_from_world)
    assert found.valid.all() and found.inlier[bad].double().mean() < 0.02
    assert found.inlier[~bad].double().mean() > 0.99
    assert off(found.cam_from_world, cams).median() < 1.1 * off(ideal, cams).median()
    missing = torch.where(bad[..., None], torch.nan, xy)
    same = pnp.ransac(cams, xyz, missing, ~bad, threshold=4.3, sigma=1.0)
    assert off(same.cam_from_world, cams).max() < 5


def test_nonsense_is_refused():
    cams, xyz, xy = scene(50, 10)
    g = torch.Generator().manual_seed(0)
    wild = torch.rand(xy.shape, generator=g, dtype=F64) * 400
    found = pnp.ransac(cams, xyz, wild, every(xy), threshold=3.0, sigma=1.0, least=6)
    assert found.valid.double().mean() < 0.1 and torch.isfinite(found.cov).all()
    none = pnp.ransac(cams, xyz, xy, every(xy) & False, threshold=3.0, sigma=1.0)
    assert not none.valid.any() and torch.isfinite(none.cam_from_world).all()
    with pytest.raises(ValueError, match="least=3"):
        pnp.ransac(cams, xyz, xy, every(xy), threshold=3.0, sigma=1.0, least=3)


def test_weights_win_and_covariances_are_honest():
    cams, xyz, xy = scene(1500, 10, seed=3)
    g = torch.Generator().manual_seed(4)
    sd = torch.where(torch.rand(xy.shape[:2], generator=g, dtype=F64) < 0.5, 0.5, 4.0)
    xy = xy + sd[..., None] * torch.randn(xy.shape, generator=g, dtype=F64)
    told = pnp.refine(cams, xyz, xy, every(xy), cams.cam_from_world, 1 / sd**2)
    untold = pnp.refine(cams, xyz, xy, every(xy), cams.cam_from_world)
    assert off(told, cams).median() < 0.8 * off(untold, cams).median()
    at = Cameras(intrinsics=cams.intrinsics, cam_from_world=told, distortion=cams.distortion)
    cov = pnp.covariance(at, xyz, every(xy), sigma=1.0, weight=1 / sd**2)
    turn = cams.cam_from_world[..., :3] @ told[..., :3].mT
    small = torch.stack([turn[:, 2, 1], turn[:, 0, 2], turn[:, 1, 0]], -1)
    small = (small - torch.stack([turn[:, 1, 2], turn[:, 2, 0], turn[:, 0, 1]], -1)) / 2
    miss = torch.cat([small, cams.cam_from_world[..., 3] - told[..., 3]], dim=-1)
    square = (miss * torch.linalg.solve(cov, miss)).sum(-1)
    assert 0.63 < (square < 7.04).double().mean() < 0.73  # 68 and 95 % of chi square of six
    assert 0.92 < (square < 12.59).double().mean() < 0.98


def test_the_sequence_of_triples_is_spread_evenly():
    assert len(pnp.triples(8)) == 56 and pnp.triples(3).tolist() == [[0, 1, 2]]
    some = pnp.triples(50)
    assert len(some) == 120 and (some.sort(1).values.diff(dim=1) > 0).all() and some.max() < 50
    assert some.flatten().bincount(minlength=50).max() < 20
