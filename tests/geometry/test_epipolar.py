"""Fundamental matrices of known cameras, errors worked by hand, and matches most of which are wrong."""

import pytest
import torch

from asterism.engine.match import Asked, log_chance
from asterism.geometry import camera, epipolar, homography
from asterism.geometry.two_views import robust_fundamental, robust_homography
from asterism.types import Cameras

F64 = torch.float64
RECTIFIED = torch.tensor([[[0.0, 0, 0], [0, 0, -1], [0, 1, 0]]], dtype=F64)  # y is the same in both views


def views(seed, k=12, flat=False):
    """Two cameras about a scene of k points, and what they see: Cameras, Cameras, 1 K 2, 1 K 2."""
    g = torch.Generator().manual_seed(seed)
    xyz = 2 * torch.rand(1, k, 3, generator=g, dtype=F64) - 1
    if flat:
        xyz[..., 2] = 0
    pair = []
    for _ in range(2):
        turn = torch.linalg.qr(torch.randn(3, 3, generator=g, dtype=F64)).Q
        turn = turn * turn.det()
        turn = torch.linalg.matrix_exp(0.3 * (turn - turn.T))
        shift = torch.tensor([0.0, 0, 6], dtype=F64) + 0.5 * torch.randn(3, generator=g, dtype=F64)
        inner = torch.tensor([[800.0, 0, 320], [0, 780, 240], [0, 0, 1]], dtype=F64)
        outer = torch.cat([turn, shift[:, None]], dim=1)
        pair.append(
            Cameras(
                intrinsics=inner[None], cam_from_world=outer[None], distortion=torch.zeros(1, 5, dtype=F64)
            )
        )
    return *pair, *(camera.project(c, xyz)[0] for c in pair)


def same(f, wanted, **tolerance):
    sign = (f * wanted).sum((-2, -1), keepdim=True).sign()
    torch.testing.assert_close(sign * f, wanted, **tolerance)


def with_strangers(a, b, right, n, seed):
    """The first `right` matches with half a pixel of noise, and strangers up to n."""
    g = torch.Generator().manual_seed(seed)
    noise = 0.3 * torch.randn(2, right, 2, generator=g, dtype=F64)
    size = torch.tensor([640.0, 480.0], dtype=F64)
    others = torch.rand(2, n - right, 2, generator=g, dtype=F64) * size
    return torch.cat([a[0, :right] + noise[0], others[0]]), torch.cat([b[0, :right] + noise[1], others[1]])


@pytest.mark.parametrize("k", [8, 9, 40])
def test_exact_points_give_the_matrix_of_the_cameras(k):
    one, two, a, b = views(0, k)
    wanted = epipolar.of_cameras(one, two)
    assert epipolar.sampson(wanted, a, b).max() < 1e-18
    same(epipolar.fundamental(a, b), wanted, atol=1e-9, rtol=1e-6)


def test_one_of_the_three_of_seven_points_is_that_of_the_cameras_and_all_have_rank_two():
    one, two, a, b = views(1, 7)
    wanted, found = epipolar.of_cameras(one, two), epipolar.of_seven(a, b)[0]
    sign = (found * wanted).sum((-2, -1), keepdim=True).sign()
    assert (sign * found - wanted).abs().amax((1, 2)).min() < 1e-8
    assert torch.linalg.svdvals(found)[:, 2].max() < 1e-9


def test_rank_is_two_with_noise_too_and_a_weight_of_zero_leaves_out():
    _, _, a, b = views(2, 30)
    noisy = b + torch.randn(b.shape, generator=torch.Generator().manual_seed(0), dtype=F64)
    assert torch.linalg.svdvals(epipolar.fundamental(a, noisy))[0, 2] < 1e-14
    b[:, :5] += 300
    weight = torch.ones(1, 30, dtype=F64)
    weight[:, :5] = 0
    f = epipolar.fundamental(a, b, weight)
    error = epipolar.sampson(f, a, b)[0]
    assert error[5:].max() < 1e-12 and error[:5].median() > 10


def test_errors_worked_by_hand():
    """In rectified views a match two rows apart moves by one row in each: 1 + 1 = 2, squared."""
    a, b = torch.tensor([[[3.0, 7.0]]], dtype=F64), torch.tensor([[[50.0, 9.0]]], dtype=F64)
    assert epipolar.sampson(RECTIFIED, a, b).item() == pytest.approx(2)
    assert epipolar.sampson(-7 * RECTIFIED, a, b).item() == pytest.approx(2)
    line = epipolar.lines(RECTIFIED, a)[0, 0]
    torch.testing.assert_close(line.abs(), torch.tensor([0.0, 1, 7], dtype=F64))
    shift = torch.eye(3, dtype=F64)[None]
    shift[:, 0, 2] = 10
    moved = a + torch.tensor([13.0, 4.0], dtype=F64)  # off by (3, 4): half of it in each view
    assert homography.sampson(shift, a, moved).item() == pytest.approx(12.5)


def test_points_lie_on_their_lines():
    one, two, a, b = views(3)
    line = epipolar.lines(epipolar.of_cameras(one, two), a)
    off = (line[..., :2] * b).sum(-1) + line[..., 2]
    torch.testing.assert_close(off, torch.zeros_like(off), atol=1e-8, rtol=0)


def test_gradients():
    g = torch.Generator().manual_seed(4)
    f, a, b = (torch.randn(1, n, m, generator=g, dtype=F64) for n, m in ((3, 3), (5, 2), (5, 2)))
    every = tuple(t.requires_grad_() for t in (f, a, b))
    assert torch.autograd.gradcheck(epipolar.sampson, every)
    h = torch.eye(3, dtype=F64)[None].requires_grad_()
    assert torch.autograd.gradcheck(homography.sampson, (h, a, b))


def test_too_few_are_refused():
    xy = torch.rand(1, 7, 2)
    with pytest.raises(ValueError, match="at least 8 pairs, got 7"):
        epipolar.fundamental(xy, xy)
    g = torch.Generator().manual_seed(0)
    assert robust_fundamental(xy[0], xy[0], threshold=1, generator=g) is None
    assert robust_homography(xy[0, :3], xy[0, :3], threshold=1, generator=g) is None


@pytest.mark.parametrize("flat", [False, True])
def test_half_of_the_matches_may_be_wrong(flat):
    """A scene in space is explained by a fundamental matrix and a plane by a homography; both say which."""
    one, two, a, b = views(5, 80, flat)
    a, b = with_strangers(a, b, 80, 180, seed=1)
    g = torch.Generator().manual_seed(0)
    options = {"threshold": 2.0, "generator": g}
    plane, space = robust_homography(a, b, **options), robust_fundamental(a, b, **options)
    chosen = min(
        (plane, space),
        key=lambda m: log_chance(m.kind, len(a), int(m.inlier.sum()), Asked(), (480, 640)),
    )
    assert chosen.kind == ("homography" if flat else "fundamental")
    assert chosen.inlier[:80].float().mean() > 0.98
    # A line is easily met by chance, a point is not.
    assert chosen.inlier[80:].float().mean() < (0.01 if flat else 0.08)
    if not flat:
        assert epipolar.sampson(epipolar.of_cameras(one, two), a[None, :80], b[None, :80]).mean() < 0.2
        assert plane.inlier[:80].float().mean() < 0.7


def test_strangers_agree_with_nothing():
    """Control: without a scene few matches agree with the best of all samples."""
    a, b = with_strangers(torch.zeros(1, 0, 2), torch.zeros(1, 0, 2), 0, 200, seed=3)
    g = torch.Generator().manual_seed(0)
    assert robust_homography(a, b, threshold=2.0, generator=g).inlier.sum() < 12


def test_the_same_generator_gives_the_same_answer():
    _, _, a, b = views(6, 60)
    a, b = with_strangers(a, b, 60, 100, seed=2)
    found = [
        robust_fundamental(a, b, threshold=2.0, generator=torch.Generator().manual_seed(4)) for _ in range(2)
    ]
    assert torch.equal(found[0].matrix, found[1].matrix)
