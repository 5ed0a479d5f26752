import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import RBFInterpolator

from asterism.geometry import affine, coords
from asterism.geometry.tps import ThinPlateSpline
from asterism.geometry.warp import Warp

F64 = torch.float64
LIKE = torch.zeros((), dtype=F64)
SIZE = (96, 128)


def random(seed, b=2, *, grid=5, displacement=0.05, like=LIKE, size=SIZE):
    g = torch.Generator().manual_seed(seed)
    return ThinPlateSpline.random(
        b,
        size,
        grid=grid,
        displacement=displacement,
        rotation=0.5,
        scale=0.3,
        shift=0.1,
        generator=g,
        like=like,
    )


def inside(seed, b=2, k=9, size=SIZE):
    g = torch.Generator().manual_seed(seed)
    return torch.rand(b, k, 2, generator=g, dtype=F64) * torch.tensor([size[1] - 1, size[0] - 1])


def test_control_points_go_exactly_where_they_are_told():
    g = torch.Generator().manual_seed(0)
    source, target = 500 * torch.randn(2, 3, 20, 2, generator=g, dtype=F64)
    spline = ThinPlateSpline.from_points(source, target)
    torch.testing.assert_close(spline.points(source), target, atol=1e-8, rtol=0)
    torch.testing.assert_close(spline[1].points(source[1:2]), target[1:2], atol=1e-8, rtol=0)


def test_agrees_with_scipy_between_the_control_points():
    source, target = inside(0, 1, 12), inside(1, 1, 12)
    other = inside(2, 1, 50)
    oracle = RBFInterpolator(source[0].numpy(), target[0].numpy(), kernel="thin_plate_spline", degree=1)
    ours = ThinPlateSpline.from_points(source, target).points(other)[0]
    np.testing.assert_allclose(ours.numpy(), oracle(other[0].numpy()), atol=1e-7)


def test_three_points_and_no_displacement_are_affine():
    linear = affine.similarity(*(torch.tensor([v], dtype=F64) for v in (0.4, 1.3)), inside(0, 1)[:, 0])
    xy = inside(3, 1, 40)
    flat = ThinPlateSpline.from_displacement(torch.zeros(1, 4, 6, 2, dtype=F64), SIZE, linear)
    torch.testing.assert_close(flat.points(xy), affine.apply(linear, xy))
    three = xy[:, :3]
    torch.testing.assert_close(
        ThinPlateSpline.from_points(three, affine.apply(linear, three)).points(xy), affine.apply(linear, xy)
    )
    with pytest.raises(ValueError, match="at least 3 control points, got 2"):
        ThinPlateSpline.from_points(three[:, :2], three[:, :2])


def test_a_displacement_is_a_fraction_of_the_shorter_side_at_a_grid_over_the_image():
    displacement = torch.zeros(1, 3, 3, 2, dtype=F64)
    displacement[0, 0, 2] = torch.tensor([0.1, -0.2], dtype=F64)  # row 0, column 2: the top right corner
    spline = ThinPlateSpline.from_displacement(displacement, SIZE)
    corners = torch.tensor([[[127.5, -0.5], [-0.5, 95.5]]], dtype=F64)
    moved = spline.points(corners) - corners
    torch.testing.assert_close(moved, torch.tensor([[[9.6, -19.2], [0, 0]]], dtype=F64))


@given(st.integers(0, 2**31), st.integers(3, 8), st.floats(0, 0.1))
@settings(deadline=None, max_examples=40)
def test_inverse_after_map_is_identity(seed, grid, displacement):
    spline, xy = random(seed, grid=grid, displacement=displacement), inside(seed)
    back, converged = spline.solve_inverse(spline.points(xy))
    torch.testing.assert_close(back, xy, atol=1e-4, rtol=0)
    assert converged.all()
    torch.testing.assert_close(spline.points(spline.inverse_points(xy)), xy, atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype,close", [(F64, 1e-4), (torch.float32, 1e-3)])
def test_every_pixel_of_an_image_has_its_source(dtype, close):
    """The way through the lattice: float32 rounds at 1e-3 px here."""
    spline = random(7, 6, grid=7, displacement=0.08, like=LIKE.to(dtype))
    grid = coords.pixel_grid(SIZE, like=spline.control).reshape(1, -1, 2).repeat(6, 1, 1)
    back, converged = spline.solve_inverse(grid)
    source_is_inside = ((back > -0.5) & (back < torch.tensor([127.5, 95.5]))).all(-1)
    assert source_is_inside.float().mean() > 0.5
    assert converged[source_is_inside].all()
    assert (spline.points(back) - grid)[converged].abs().max() < close
    few = spline.inverse_points(grid[:, ::101])
    torch.testing.assert_close(few, back[:, ::101], atol=20 * close, rtol=0)  # _LEAST_AREA: 1 px may be 10


def test_what_cannot_be_undone_is_reported():
    """All control points are pushed onto one line: pixels beside it come from nowhere."""
    source = inside(0, 1, 12)
    line = source * torch.tensor([1.0, 0.0], dtype=F64)
    back, converged = ThinPlateSpline.from_points(source, line).solve_inverse(inside(1, 1, 30) + 5)
    assert torch.isfinite(back).all()
    assert not converged.any()


def test_in_a_fold_convergence_means_a_source_and_not_the_only_one():
    """Two neighbouring columns of control points change places: what lies between has three sources."""
    displacement = torch.zeros(1, 5, 5, 2, dtype=F64)
    displacement[:, :, 2, 0], displacement[:, :, 3, 0] = 0.7, -0.7
    spline = ThinPlateSpline.from_displacement(displacement, (128, 128))
    far = 5 * inside(0, 1, 400, (128, 128)) - 256
    beyond = torch.cat([inside(1, 1, 400, (128, 128)), far], dim=1)
    back, converged = spline.solve_inverse(beyond)
    assert torch.isfinite(back).all()
    error = (spline.points(back) - beyond).norm(dim=-1)
    assert error[converged].max() < 1e-4
    source = inside(2, 1, 400, (128, 128))
    assert (torch.linalg.det(spline.jacobian(source)) < 0).any()
    assert ((spline.inverse_points(spline.points(source)) - source).norm(dim=-1) > 1).any()


def test_random_warps_do_not_fold_and_follow_their_generator():
    spline = random(0, 30, grid=7, displacement=0.2)
    grid = coords.pixel_grid(SIZE, like=LIKE).reshape(1, -1, 2).repeat(30, 1, 1)
    assert (torch.linalg.det(spline.jacobian(grid)) > 0).all()
    assert torch.equal(spline.points(grid), random(0, 30, grid=7, displacement=0.2).points(grid))
    assert not torch.equal(spline.points(grid), random(1, 30, grid=7, displacement=0.2).points(grid))


def test_random_rotation_scale_and_shift_are_about_the_middle_and_in_their_ranges():
    g = torch.Generator().manual_seed(0)
    spline = ThinPlateSpline.random(
        400, SIZE, grid=3, displacement=0.0, rotation=0.5, scale=0.3, shift=0.1, generator=g, like=LIKE
    )
    middle = coords.image_centre(SIZE, like=LIKE).expand(400, 1, 2)
    moved = (spline.points(middle) - middle).abs().amax((0, 1))
    assert (moved < 9.6).all() and (moved > 9).all()
    j = spline.jacobian(middle)[:, 0]
    size, angle = torch.linalg.det(j).sqrt(), torch.atan2(j[:, 1, 0], j[:, 0, 0])
    assert 0.7 < size.min() < 0.72 and 1.28 < size.max() < 1.3
    assert -0.5 < angle.min() < -0.48 and 0.48 < angle.max() < 0.5
    assert math.isclose(angle.mean(), 0, abs_tol=0.05)


def test_the_jacobian_is_the_derivative():
    spline, xy = random(3), inside(3)
    wanted = torch.func.jacfwd(lambda p: spline.points(p).sum(1))(xy)  # B 2 B K 2
    ours = spline.jacobian(xy)
    for b in range(2):
        torch.testing.assert_close(ours[b], wanted[b, :, b].permute(1, 0, 2), atol=1e-9, rtol=1e-7)
    at_control = spline.jacobian(spline.control)
    assert torch.isfinite(at_control).all()


def test_gradients():
    displacement = (0.05 * torch.randn(1, 3, 3, 2, generator=torch.Generator().manual_seed(0))).double()
    displacement.requires_grad_()
    xy = inside(5, 1, 2).requires_grad_()
    for name in ("points", "inverse_points", "jacobian"):

        def f(d, p, name=name):
            return getattr(ThinPlateSpline.from_displacement(d, SIZE), name)(p)

        assert torch.autograd.gradcheck(f, (displacement, xy), atol=1e-4)


def test_is_a_warp_and_ignores_autocast():
    spline = random(0, 1, like=torch.zeros(()))
    assert isinstance(spline, Warp)
    xy = inside(0, 1).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside_autocast = spline.points(xy), spline.inverse_points(xy), spline.jacobian(xy)
    for got, wanted in zip(
        inside_autocast, (spline.points(xy), spline.inverse_points(xy), spline.jacobian(xy))
    ):
        assert torch.equal(got, wanted)
