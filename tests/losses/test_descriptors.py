"""Costs of descriptors against numbers worked by hand."""

import math

import pytest
import torch

from asterism.losses.descriptors import circle, contrastive, descriptor_distances, detector, hardest

GAP = torch.tensor([[0.3, 0.5, 1.0], [1.2, 0.05, 1.6], [0.9, 0.2, 0.4]])
EVERY = ~torch.eye(3, dtype=torch.bool)
SOME = torch.tensor([[False, False, True], [True, False, True], [True, False, False]])  # 0-1, 1-2 are near


def test_distances_of_directions():
    a = torch.tensor([[1.0, 0, 0], [0, 1, 0]])
    b = torch.tensor([[1.0, 0, 0], [0, 0, 1], [-1, 0, 0]])
    wanted = torch.tensor([[0, 2**0.5, 2], [2**0.5, 2**0.5, 2**0.5]])
    torch.testing.assert_close(descriptor_distances(a, b), wanted, atol=1e-3, rtol=0)
    a = a.requires_grad_()
    descriptor_distances(a, b).sum().backward()
    assert a.grad is not None and a.grad.isfinite().all()


def test_the_hardest_negative_is_outside_the_safe_radius():
    assert hardest(GAP, EVERY).tolist() == pytest.approx([0.5, 1.2, 0.2])
    assert hardest(GAP, SOME).tolist() == pytest.approx([1.0, 1.2, 0.9])
    assert hardest(GAP, torch.zeros_like(SOME)).tolist() == [math.inf] * 3


def test_contrastive_by_hand():
    # .2 + .9, 0 + .2, .3 + 1.2, and with the safe radius .2 + .4, 0 + .2, .3 + .5
    assert float(contrastive(GAP, EVERY)) == pytest.approx((1.1 + 0.2 + 1.5) / 3)
    assert float(contrastive(GAP, SOME)) == pytest.approx((0.6 + 0.2 + 0.8) / 3)
    assert float(contrastive(GAP, torch.zeros_like(SOME))) == pytest.approx((0.2 + 0 + 0.3) / 3)


def test_circle_by_hand():
    pulls = [0.04, 0.0, 0.09]  # squares of .2, and of .3; the second pair is nearer than its margin
    pushes = [[0.4**2], [0.2**2, 0.0], [0.5**2]]
    each = [
        math.log(1 + sum(math.exp(10 * (p + n)) for n in row)) / 10
        for p, row in zip(pulls, pushes, strict=True)
    ]
    assert float(circle(GAP, SOME)) == pytest.approx(sum(each) / 3)
    assert float(circle(GAP, torch.zeros_like(SOME))) == 0.0


def test_detector_by_hand():
    score, other = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.5, 0.5, 0.5])
    wanted = (-0.7 * 0.6 - 1.15 * 0.7 - 0.5 * 0.8) / 3
    assert float(detector(GAP, SOME, score, other)) == pytest.approx(wanted)
    one = torch.tensor([[True, False, False]] + 2 * [[False] * 3]).roll(1, 1)
    assert float(detector(GAP, one, score, other)) == pytest.approx((0.3 - 0.5) * 0.6)
    assert float(detector(GAP, torch.zeros_like(SOME), score, other)) == 0.0


def test_neighbours_inside_the_safe_radius_are_never_pushed():
    for cost in (contrastive, circle):
        gap = GAP.clone().requires_grad_()
        (slope,) = torch.autograd.grad(cost(gap, SOME), gap)
        outside = ~SOME & EVERY
        assert (slope[outside] == 0).all() and slope.isfinite().all()
        assert (slope[SOME & (GAP < 1.4)] <= 0).all() and float(slope[SOME].abs().sum()) > 0


@pytest.mark.parametrize("cost", [contrastive, circle])
def test_without_pairs_nothing_is_said(cost):
    empty = torch.zeros(0, 0)
    assert float(cost(empty, empty.bool())) == 0.0


def test_gradients():
    gap = (GAP + 0.013).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda g: contrastive(g, SOME), gap)
    score = torch.rand(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda g, s: detector(g, SOME, s[0], s[1]), (gap, score))
