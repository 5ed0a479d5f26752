import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from asterism.geometry import camera
from asterism.types import Cameras

F64 = torch.float64


def cameras(seed=0, b=3):
    """Random poses; the distortion of real lenses (the first row has none)."""
    g = torch.Generator().manual_seed(seed)
    rotation = torch.from_numpy(Rotation.random(b, rng=seed).as_matrix())
    k = torch.tensor([[1600.0, 3.0, 640], [0, 1500, 480], [0, 0, 1]], dtype=F64).repeat(b, 1, 1)
    distortion = torch.randn(b, 5, generator=g, dtype=F64) * torch.tensor([0.1, 0.05, 2e-3, 2e-3, 0.02])
    distortion[0] = 0
    shift = torch.randn(b, 3, 1, generator=g, dtype=F64)
    return Cameras(intrinsics=k, cam_from_world=torch.cat([rotation, shift], dim=-1), distortion=distortion)


def view(seed=0, b=3, k=20):
    g = torch.Generator().manual_seed(seed + 100)
    pixels = torch.rand(b, k, 2, generator=g, dtype=F64) * torch.tensor([1279.0, 959.0])
    return pixels, 1 + 9 * torch.rand(b, k, generator=g, dtype=F64)


@given(st.integers(0, 2**31))
@settings(deadline=None, max_examples=50)
def test_project_undoes_unproject(seed):
    cams, (xy, depth) = cameras(seed), view(seed)
    xyz = camera.unproject(cams, xy, depth)
    back, z = camera.project(cams, xyz)
    torch.testing.assert_close(z, depth)
    torch.testing.assert_close(back, xy, atol=1e-9, rtol=0)
    _, valid = camera.undistort(cams, xy)
    assert valid.all()


@given(st.integers(0, 2**31))
@settings(deadline=None, max_examples=50)
def test_undistort_undoes_distort_to_machine_precision(seed):
    cams = cameras(seed)
    g = torch.Generator().manual_seed(seed)
    ray = (torch.rand(3, 30, 2, generator=g, dtype=F64) - 0.5) * torch.tensor([0.8, 0.6])
    xy = camera.distort(cams, ray)
    pixels = (cams.intrinsics[:, None, :2, :2] @ xy[..., None])[..., 0] + cams.intrinsics[:, None, :2, 2]
    found, valid = camera.undistort(cams, pixels)
    assert valid.all()
    torch.testing.assert_close(found, ray, atol=1e-12, rtol=0)


def test_the_pinhole_by_hand():
    """The optical axis hits the principal point; one to the right at depth two is half a focal length."""
    one = torch.eye(3, 4, dtype=F64)[None]
    k = torch.tensor([[[100.0, 0, 7], [0, 200, 9], [0, 0, 1]]], dtype=F64)
    cams = Cameras(intrinsics=k, cam_from_world=one, distortion=torch.zeros(1, 5, dtype=F64))
    xy, depth = camera.project(cams, torch.tensor([[[0, 0, 5.0], [1, 1, 2], [0, 0, -1]]], dtype=F64))
    assert xy[0, :2].tolist() == [[7, 9], [57, 109]]
    assert depth[0].tolist() == [5, 2, -1]
    assert torch.isfinite(camera.project(cams, torch.zeros(1, 1, 3, dtype=F64))[0]).all()


def test_the_distortion_is_opencvs_formula():
    """x = 0.3, y = -0.2, r^2 = 0.13, each coefficient alone; by hand from the documentation."""
    r2, x, y = 0.13, 0.3, -0.2
    bent = [
        (x * r2, y * r2),
        (x * r2**2, y * r2**2),
        (2 * x * y, r2 + 2 * y * y),
        (r2 + 2 * x * x, 2 * x * y),
        (x * r2**3, y * r2**3),
    ]
    cams = cameras(b=5)
    cams = Cameras(
        intrinsics=cams.intrinsics, cam_from_world=cams.cam_from_world, distortion=torch.eye(5).to(F64)
    )
    got = camera.distort(cams, torch.tensor([[x, y]], dtype=F64).repeat(5, 1, 1))[:, 0]
    torch.testing.assert_close(got - torch.tensor([x, y], dtype=F64), torch.tensor(bent, dtype=F64))


def test_a_lens_that_turns_back_has_pixels_without_a_ray():
    """k1 = -0.3: r (1 - 0.3 r^2) is largest, 0.703, at r = 1.054."""
    k = torch.tensor([[[100.0, 0, 0], [0, 100, 0], [0, 0, 1]]], dtype=F64)
    distortion = torch.tensor([[-0.3, 0, 0, 0, 0]], dtype=F64)
    cams = Cameras(intrinsics=k, cam_from_world=torch.eye(3, 4, dtype=F64)[None], distortion=distortion)
    ray, valid = camera.undistort(
        cams, torch.tensor([[[0.0, 0], [50, 0], [70, 0], [71, 0], [300, 0]]], dtype=F64)
    )
    assert valid[0].tolist() == [True, True, True, False, False]
    assert torch.isfinite(ray).all()


def test_rays_beyond_the_turn_are_not_valid_where_the_formula_rises_again():
    """k1 = -0.5, k2 = 0.1: 0.6 is reached at r = 1, then 0.566 at r^2 = 2, then all radii."""
    k = torch.eye(3, dtype=F64)[None]
    distortion = torch.tensor([[-0.5, 0.1, 0, 0, 0]], dtype=F64)
    cams = Cameras(intrinsics=k, cam_from_world=torch.eye(3, 4, dtype=F64)[None], distortion=distortion)
    ray, valid = camera.undistort(cams, torch.tensor([[[0.0, 0.3], [0, 0.59], [0, 0.8], [0, 5]]], dtype=F64))
    assert valid[0].tolist() == [True, True, False, False]
    assert (ray[0, :2].norm(dim=-1) < 1).all()


def test_world_and_camera_frames():
    cams = cameras()
    at = camera.centre(cams)[:, None]
    torch.testing.assert_close(camera.cam_from_world(cams, at), torch.zeros_like(at), atol=1e-12, rtol=0)
    xyz = torch.randn(3, 7, 3, dtype=F64)
    torch.testing.assert_close(camera.world_from_cam(cams, camera.cam_from_world(cams, xyz)), xyz)


def test_the_closed_jacobian_is_the_derivative():
    cams, (xy, depth) = cameras(1), view(1)
    xyz = camera.unproject(cams, xy, depth)
    pixels, z, jacobian = camera.project_jacobian(cams, xyz)
    assert torch.equal(pixels, camera.project(cams, xyz)[0])
    assert torch.equal(z, camera.project(cams, xyz)[1])
    wanted = torch.func.jacfwd(lambda p: camera.project(cams, p)[0].sum((0, 1)))(xyz)  # 2 B K 3
    torch.testing.assert_close(jacobian, wanted.permute(1, 2, 0, 3))


@pytest.mark.parametrize("what", ["project", "unproject", "undistort"])
def test_gradients(what):
    cams, (xy, depth) = cameras(2, b=2), view(2, b=2, k=2)
    parts = [cams.intrinsics, cams.cam_from_world, cams.distortion + 0.01]
    start = [p.requires_grad_() for p in (*parts, camera.unproject(cams, xy, depth).detach(), xy, depth)]

    def f(k, pose, distortion, xyz, xy, depth):
        c = Cameras(intrinsics=k, cam_from_world=pose, distortion=distortion)
        if what == "project":
            return camera.project(c, xyz)
        return camera.unproject(c, xy, depth) if what == "unproject" else camera.undistort(c, xy)[0]

    assert torch.autograd.gradcheck(f, start, atol=1e-3)
