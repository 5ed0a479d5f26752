import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares

from asterism.geometry import affine, homography
from asterism.geometry.warp import Warp

F64 = torch.float64


def maps(seed, b=3, k=8):
    """Views of a plane: the denominator stays within 0.5..1.5 over a 640 x 480 image."""
    g = torch.Generator().manual_seed(seed)
    m = affine.similarity(
        torch.rand(b, generator=g, dtype=F64) * 6.2,
        0.5 + torch.rand(b, generator=g, dtype=F64),
        100 * torch.randn(b, 2, generator=g, dtype=F64),
    )
    h = homography.from_affine(m)
    h[:, 2, :2] = (torch.rand(b, 2, generator=g, dtype=F64) - 0.5) * torch.tensor([1 / 640, 1 / 480])
    return h, torch.rand(b, k, 2, generator=g, dtype=F64) * torch.tensor([639.0, 479.0])


@given(st.integers(0, 2**31))
@settings(deadline=None, max_examples=50)
def test_axioms(seed):
    (h, xy), (other, _) = maps(seed), maps(seed + 1)
    there = homography.apply(h, xy)
    torch.testing.assert_close(homography.apply(homography.inverse(h), there), xy, atol=1e-7, rtol=0)
    torch.testing.assert_close(homography.inverse(h), torch.linalg.inv(h))
    both = homography.apply(homography.compose(other, homography.inverse(h)), there)
    torch.testing.assert_close(both, homography.apply(other, xy), atol=1e-6, rtol=1e-8)


def test_an_affine_is_a_homography():
    h, xy = maps(0)
    torch.testing.assert_close(
        homography.apply(homography.from_affine(h[:, :2]), xy), affine.apply(h[:, :2], xy)
    )


@pytest.mark.parametrize("k", [4, 5, 20])
def test_exact_points_give_the_exact_map(k):
    h, xy = maps(1, k=k)
    found = homography.from_points(xy, homography.apply(h, xy))
    torch.testing.assert_close(found / found[:, 2:, 2:], h, rtol=1e-7, atol=1e-9)


def test_a_point_without_weight_takes_no_part_and_a_heavy_one_is_met():
    h, xy = maps(2, k=9)
    seen = homography.apply(h, xy)
    seen[:, 0] += 500
    weight = torch.ones(3, 9, dtype=F64)
    weight[:, 0] = 0
    found = homography.from_points(xy, seen, weight)
    torch.testing.assert_close(found / found[:, 2:, 2:], h, rtol=1e-7, atol=1e-9)
    weight[:, 0] = 1e8
    missed = (homography.apply(homography.from_points(xy, seen, weight), xy) - seen)[:, 0].norm(dim=-1)
    assert missed.max() < 1e-2


def test_a_weight_of_two_is_a_point_seen_twice():
    _, xy = maps(6, k=7)
    seen = xy + 5 * torch.randn(xy.shape, generator=torch.Generator().manual_seed(0), dtype=F64)
    twice = [torch.cat([t, t[:, :2]], dim=1) for t in (xy, seen)]
    weight = torch.tensor([2.0, 2, 1, 1, 1, 1, 1], dtype=F64).repeat(3, 1)
    found, wanted = homography.from_points(xy, seen, weight), homography.from_points(*twice)
    torch.testing.assert_close(found / found[:, 2:, 2:], wanted / wanted[:, 2:, 2:], rtol=1e-7, atol=1e-9)


def test_noise_costs_little_more_than_the_best_fit():
    """Against scipy's geometric least squares: algebraic error is within a tenth of it here."""
    h, xy = maps(3, b=1, k=30)
    noise = torch.randn(xy.shape, generator=torch.Generator().manual_seed(0), dtype=F64)
    seen = homography.apply(h, xy) + noise
    found = homography.from_points(xy, seen)

    def residual(p):
        m = torch.tensor([*p, 1.0]).reshape(1, 3, 3)
        return (homography.apply(m, xy) - seen).flatten().numpy()

    start = (found / found[:, 2:, 2:]).flatten()[:8].numpy()
    best = least_squares(residual, start, x_scale=np.abs(start) + 1e-9).cost * 2
    assert (homography.apply(found, xy) - seen).square().sum() < 1.1 * best


def test_too_few_points_are_refused_and_degenerate_ones_stay_finite():
    xy = torch.rand(1, 3, 2)
    with pytest.raises(ValueError, match="at least 4 points, got 3"):
        homography.from_points(xy, xy)
    same = torch.ones(1, 5, 2, dtype=F64).requires_grad_()
    found = homography.from_points(same, same)
    found.sum().backward()
    assert torch.isfinite(found).all()
    assert torch.isfinite(same.grad).all()


def test_is_a_warp_with_the_right_jacobian():
    h, xy = maps(4)
    warp = homography.Homography(b_from_a=h)
    assert isinstance(warp, Warp)
    torch.testing.assert_close(warp.inverse_points(warp.points(xy)), xy)
    wanted = torch.func.jacfwd(lambda p: warp.points(p).sum((0, 1)))(xy)  # 2 B K 2
    torch.testing.assert_close(warp.jacobian(xy), wanted.permute(1, 2, 0, 3))


def test_gradients():
    h, xy = (t.requires_grad_() for t in maps(5, b=1, k=5))
    assert torch.autograd.gradcheck(homography.apply, (h, xy))
    assert torch.autograd.gradcheck(lambda m: 1e3 * homography.inverse(m), (h,))
    unit = (xy.detach() / 640).requires_grad_()
    seen = (unit.detach() + 0.05 * torch.rand(1, 5, 2, dtype=F64)).requires_grad_()
    weight = torch.rand(1, 5, dtype=F64).add(0.5).requires_grad_()

    def fit(*args):
        m = homography.from_points(*args)
        return m / m[:, 2:, 2:]

    assert torch.autograd.gradcheck(fit, (unit, seen, weight), atol=1e-4, rtol=1e-3)
