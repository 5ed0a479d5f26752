from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import loadmat
from scipy.optimize import least_squares

from asterism.geometry import camera, triangulation
from asterism.types import Cameras

F64 = torch.float64
DANNCE = Path(__file__).parents[2] / "../shared/data/dannce_six_cameras/demo"


def rig(v=6, dtype=F64):
    """v cameras on a circle of 4 m looking at the middle, f = 800 px, k1 = -0.1."""
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
    return Cameras(intrinsics=k.to(dtype), cam_from_world=pose.to(dtype), distortion=distortion.to(dtype))


def scene(b=3, k=5, v=6, noise=0.0, seed=0):
    """Points in a cube of 1.4 m and what the cameras see of them, "B V K 2"."""
    g = torch.Generator().manual_seed(seed)
    xyz = 1.4 * (torch.rand(b, k, 3, generator=g, dtype=F64) - 0.5)
    cams = rig(v)
    xy = camera.project(cams, xyz.reshape(1, -1, 3).expand(v, -1, 3))[0]
    xy = xy.reshape(v, b, k, 2).transpose(0, 1)
    return cams, xyz, xy + noise * torch.randn(xy.shape, generator=g, dtype=F64)


def everywhere(xy):
    return torch.ones_like(xy[..., 0], dtype=torch.bool)


def strays(xy, share, seed=1):
    """Which observations are replaced by any pixel of the image, and the observations."""
    g = torch.Generator().manual_seed(seed)
    bad = torch.rand(xy.shape[:-1], generator=g) < share
    anywhere = torch.rand(xy.shape, generator=g, dtype=F64) * torch.tensor([639.0, 479.0])
    return bad, torch.where(bad[..., None], anywhere, xy)


@pytest.mark.parametrize("v", [2, 3, 6])
def test_noise_free_points_are_exact(v):
    cams, xyz, xy = scene(v=v)
    ok = everywhere(xy)
    torch.testing.assert_close(triangulation.dlt(cams, xy, ok), xyz, atol=1e-9, rtol=0)
    start = xyz + 0.1
    torch.testing.assert_close(triangulation.refine(cams, xy, ok, start), xyz, atol=1e-9, rtol=0)
    found = triangulation.triangulate(cams, xy, ok, threshold=1.0, sigma=1.0, least_views=2)
    torch.testing.assert_close(found.xyz, xyz, atol=1e-9, rtol=0)
    assert found.valid.all() and found.inlier.all()
    assert found.error.max() < 1e-6


def test_float32_is_good_to_a_tenth_of_a_millimetre():
    _, xyz, xy = scene()
    found = triangulation.triangulate(
        rig(dtype=torch.float32), xy.float(), everywhere(xy), threshold=1.0, sigma=1.0
    )
    assert (found.xyz - xyz).norm(dim=-1).max() < 1e-4


def test_what_is_not_valid_or_has_no_weight_takes_no_part():
    cams, xyz, xy = scene()
    ok = everywhere(xy)
    ok[:, 1], ok[0, 3, 2] = False, False
    broken = torch.where(ok[..., None], xy, 1e6)
    torch.testing.assert_close(triangulation.dlt(cams, broken, ok), xyz, atol=1e-9, rtol=0)
    torch.testing.assert_close(triangulation.refine(cams, broken, ok, xyz + 0.1), xyz, atol=1e-9, rtol=0)
    weighed = triangulation.dlt(cams, broken, everywhere(xy), ok.to(F64))
    torch.testing.assert_close(weighed, xyz, atol=1e-9, rtol=0)
    found = triangulation.triangulate(cams, broken, ok, threshold=1.0, sigma=1.0)
    assert torch.equal(found.inlier, ok)


def test_refine_is_scipys_least_squares():
    cams, _, xy = scene(1, 2, noise=3.0)
    found = triangulation.refine(cams, xy, everywhere(xy), triangulation.dlt(cams, xy, everywhere(xy)))
    for k in range(2):

        def residual(p, k=k):
            seen = camera.project(cams, torch.from_numpy(p).expand(6, 1, 3))[0][:, 0]
            return (seen - xy[0, :, k]).flatten().numpy()

        best = least_squares(residual, np.zeros(3), xtol=1e-15, ftol=1e-15, gtol=1e-15).x
        np.testing.assert_allclose(found[0, k].numpy(), best, atol=1e-7)


@pytest.mark.parametrize("share,worse", [(0.15, 1.2), (0.3, 1.35)])
def test_strays_are_found_and_cost_only_their_views(share, worse):
    """15 and 30 % of the observations are any pixel; `worse` against the same noise without strays."""
    cams, xyz, clean = scene(40, 25, noise=1.0)
    bad, xy = strays(clean, share)
    best = triangulation.triangulate(cams, clean, everywhere(xy), threshold=6.0, sigma=1.0)
    found = triangulation.triangulate(cams, xy, everywhere(xy), threshold=6.0, sigma=1.0)
    assert best.valid.all()
    enough = (~bad).sum(1) >= 3
    assert found.valid[enough].float().mean() > 0.99
    assert found.inlier[bad.clone()].float().mean() < 0.01
    assert found.inlier[~bad & enough[:, None]].float().mean() > 0.99
    error = (found.xyz - xyz).norm(dim=-1)[found.valid]
    assert error.median() < worse * (best.xyz - xyz).norm(dim=-1).median()
    plain = (triangulation.dlt(cams, xy, everywhere(xy)) - xyz).norm(dim=-1)
    assert plain.median() > 10 * error.median()


def test_two_views_are_no_evidence_unless_the_caller_says_so():
    cams, xyz, xy = scene()
    two = torch.zeros_like(everywhere(xy))
    two[:, :2] = True
    refused = triangulation.triangulate(cams, xy, two, threshold=1.0, sigma=1.0)
    assert not refused.valid.any() and not refused.inlier.any()
    assert (refused.xyz == 0).all() and (refused.cov == 0).all() and (refused.error == 0).all()
    taken = triangulation.triangulate(cams, xy, two, threshold=1.0, sigma=1.0, least_views=2)
    assert taken.valid.all()
    torch.testing.assert_close(taken.xyz, xyz, atol=1e-9, rtol=0)
    nothing = triangulation.triangulate(cams, xy, two & False, threshold=1.0, sigma=1.0, least_views=2)
    assert not nothing.valid.any() and torch.isfinite(nothing.cov).all()


def test_a_view_with_the_point_behind_it_never_agrees():
    cams, _, xy = scene()
    turned = cams.cam_from_world.clone()
    turned[0] = torch.diag(torch.tensor([-1.0, 1, -1], dtype=F64)) @ turned[0]  # half a turn about its y axis
    cams = Cameras(intrinsics=cams.intrinsics, cam_from_world=turned, distortion=cams.distortion)
    xyz = triangulation.dlt(cams[1:], xy[:, 1:], everywhere(xy)[:, 1:])
    seen, depth = camera.project(cams[0], xyz.reshape(1, -1, 3))
    assert (depth < 0).all()
    xy[:, 0] = seen.reshape(3, 5, 2)
    found = triangulation.triangulate(cams, xy, everywhere(xy), threshold=1.0, sigma=1.0)
    assert not found.inlier[:, 0].any()
    assert found.inlier[:, 1:].all()


def test_robust_points_are_the_best_ones_of_their_inliers():
    cams, _, xy = scene(noise=8.0)
    found = triangulation.triangulate(cams, xy, everywhere(xy), threshold=30.0, sigma=8.0)
    best = triangulation.refine(cams, xy, found.inlier, found.xyz + 0.01)
    torch.testing.assert_close(found.xyz, best, atol=1e-7, rtol=0)


def test_wrong_numbers_of_cameras_are_refused():
    cams, _, xy = scene()
    with pytest.raises(ValueError, match=r"5 cameras, but xy of shape .* holds 6 views"):
        triangulation.dlt(cams[:5], xy, everywhere(xy))
    with pytest.raises(ValueError, match="least_views=1"):
        triangulation.triangulate(cams, xy, everywhere(xy), threshold=1.0, sigma=1.0, least_views=1)
    with pytest.raises(ValueError, match="1 cameras"):
        triangulation.triangulate(cams[:1], xy[:, :1], everywhere(xy)[:, :1], threshold=1.0, sigma=1.0)


def test_the_covariance_is_that_of_repeated_measurements():
    """4000 draws: a variance is known to 2.2 %, so 10 % is four and a half standard errors."""
    cams, xyz, xy = scene(1, 1)
    many = xy.repeat(4000, 1, 1, 1)
    many = many + 0.7 * torch.randn(many.shape, generator=torch.Generator().manual_seed(0), dtype=F64)
    found = triangulation.triangulate(cams, many, everywhere(many), threshold=6.0, sigma=0.7)
    measured = torch.cov(found.xyz[:, 0].T)
    said = triangulation.covariance(cams, xyz, everywhere(xy), sigma=0.7)[0, 0]
    root = torch.linalg.cholesky(said)
    whitened = torch.linalg.solve(root, torch.linalg.solve(root, measured).T)
    torch.testing.assert_close(whitened, torch.eye(3, dtype=F64), atol=0.1, rtol=0)
    torch.testing.assert_close(found.cov.mean((0, 1)), said, rtol=0.02, atol=0)


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_the_covariance_covers_the_truth(share):
    """68 and 95 % ellipsoids (chi square of three) hold that much, also when some views are strays."""
    cams, xyz, xy = scene(40, 50, noise=1.0, seed=3)
    _, xy = strays(xy, share)
    found = triangulation.triangulate(cams, xy, everywhere(xy), threshold=6.0, sigma=1.0, least_views=4)
    miss = (found.xyz - xyz)[found.valid]
    square = (miss * torch.linalg.solve(found.cov[found.valid], miss[..., None])[..., 0]).sum(-1)
    assert 0.63 < (square < 3.506).double().mean() < 0.73
    assert 0.92 < (square < 7.815).double().mean() < 0.98


def test_weights_are_inverse_variances():
    """Two cameras are ten times noisier. Told so, points are better and the covariance is still right."""
    cams, xyz, xy = scene(40, 25, seed=4)
    sd = torch.tensor([5.0, 5, 0.5, 0.5, 0.5, 0.5], dtype=F64)[:, None]
    noise = torch.randn(xy.shape, generator=torch.Generator().manual_seed(5), dtype=F64)
    xy = xy + sd[..., None] * noise
    ok, weight = everywhere(xy), (1 / sd**2).expand(xy.shape[:-1])
    start = triangulation.dlt(cams, xy, ok)
    told, untold = (
        triangulation.refine(cams, xy, ok, start, weight),
        triangulation.refine(cams, xy, ok, start),
    )
    miss = told - xyz
    assert miss.norm(dim=-1).median() < 0.5 * (untold - xyz).norm(dim=-1).median()
    cov = triangulation.covariance(cams, told, ok, sigma=1.0, weight=weight)
    square = (miss * torch.linalg.solve(cov, miss[..., None])[..., 0]).sum(-1)
    assert 0.63 < (square < 3.506).double().mean() < 0.73


def test_gradients():
    cams, xyz, xy = scene(1, 2, v=3)
    ok = everywhere(xy)
    ok[0, 0, 0] = False
    weight = torch.rand(xy.shape[:-1], generator=torch.Generator().manual_seed(0), dtype=F64) + 0.5
    noisy = xy + torch.randn(xy.shape, generator=torch.Generator().manual_seed(1), dtype=F64)
    args = [noisy.requires_grad_(), weight.requires_grad_(), cams.cam_from_world.requires_grad_()]

    def linear(xy, weight, pose):
        moved = Cameras(intrinsics=cams.intrinsics, cam_from_world=pose, distortion=cams.distortion)
        return 100 * triangulation.dlt(moved, xy, ok, weight)

    assert torch.autograd.gradcheck(linear, args, atol=1e-4)
    exact = xy.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda p: 100 * triangulation.refine(cams.detach(), p, ok, xyz), [exact], atol=1e-4
    )


@pytest.mark.data
@pytest.mark.parametrize("mouse", ["markerless_mouse_1", "markerless_mouse_2"])
def test_the_labels_of_a_real_rig_of_six(mouse):
    """DANNCE's stored 2D labels are the projections of its stored 3D: every lens term must be as theirs."""
    path = DANNCE / mouse / "label3d_dannce.mat"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    cams, xy, stored = _dannce(loadmat(path))
    valid = torch.isfinite(xy).all(-1)
    known = torch.isfinite(stored).all(-1) & (valid.sum(1) >= 3)
    assert known.sum() > 1000
    seen = camera.project(cams, torch.where(known[..., None], stored, 0).reshape(1, -1, 3).expand(6, -1, 3))[
        0
    ]
    seen = seen.reshape(6, *known.shape, 2).transpose(0, 1)
    both = known[:, None] & valid
    assert (seen - xy)[both].norm(dim=-1).quantile(0.95) < 1e-6  # pixels
    linear = triangulation.dlt(cams, xy, valid)
    assert (linear - stored).norm(dim=-1)[known].quantile(0.95) < 1e-6  # millimetres
    found = triangulation.triangulate(cams, xy, valid, threshold=5.0, sigma=0.5)
    assert found.valid[known].float().mean() > 0.99
    assert (found.xyz - stored).norm(dim=-1)[known & found.valid].quantile(0.95) < 1e-6


def _dannce(mat):
    """MATLAB's row vectors: K and r are transposed, lengths are millimetres."""
    rows = [p[0, 0] if p.shape == (1, 1) else p for p in mat["params"][:, 0]]
    k = np.stack([p["K"].T for p in rows])
    pose = np.stack([np.concatenate([p["r"].T, p["t"].reshape(3, 1)], axis=1) for p in rows])
    radial, tangential = (np.stack([p[n].ravel() for p in rows]) for n in ("RDistort", "TDistort"))
    distortion = np.concatenate([radial[:, :2], tangential, radial[:, 2:3]], axis=1)
    labels = [c[0, 0] for c in mat["labelData"][:, 0]]
    n = len(labels[0]["data_2d"])
    xy = np.stack([c["data_2d"].reshape(n, -1, 2) for c in labels], axis=1)
    tensors = [torch.from_numpy(np.ascontiguousarray(x, dtype=np.float64)) for x in (k, pose, distortion, xy)]
    stored = torch.from_numpy(labels[0]["data_3d"].reshape(n, -1, 3).astype(np.float64))
    return (
        Cameras(intrinsics=tensors[0], cam_from_world=tensors[1], distortion=tensors[2]),
        tensors[3],
        stored,
    )
