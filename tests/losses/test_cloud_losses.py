"""The probabilistic Chamfer loss and the point-to-point loss: closed forms, gradients, padding."""

import math

import pytest
import torch

from asterism.losses.clouds import point_to_point, probabilistic_chamfer


def rows(*xyz):
    return torch.tensor([xyz], dtype=torch.float64)


def test_the_cost_is_that_of_the_exponential_distribution():
    a, b = rows((0, 0, 0), (5, 0, 0)), rows((0, 3, 4))
    sigma, other = torch.tensor([[1.0, 3.0]]).double(), torch.tensor([[2.0]]).double()
    far = math.sqrt(25 + 9 + 16)
    there = (math.log(1.5) + 5 / 1.5 + math.log(2.5) + far / 2.5) / 2
    back = math.log(1.5) + 5 / 1.5  # b's nearest is the first
    assert float(probabilistic_chamfer(a, b, sigma, other)[0]) == pytest.approx(there + back)


def test_the_best_sigma_is_the_mean_distance():
    g = torch.Generator().manual_seed(0)
    a, b = (torch.rand(1, 50, 3, generator=g, dtype=torch.float64) for _ in range(2))
    gap = torch.cdist(a, b)[0]
    best = float((gap.amin(0).mean() + gap.amin(1).mean()) / 2)
    log = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
    sigma = log.exp() * torch.ones(1, 50, dtype=torch.float64)
    (at,) = torch.autograd.grad(probabilistic_chamfer(a, b, best * sigma, best * sigma).sum(), log)
    assert abs(float(at)) < 1e-9
    assert float(probabilistic_chamfer(a, b, best * sigma, best * sigma)[0].detach()) == pytest.approx(
        2 * (math.log(best) + 1)
    )


def test_gradients_are_those_of_differences():
    g = torch.Generator().manual_seed(1)
    a, b = (torch.rand(2, 4, 3, generator=g, dtype=torch.float64).requires_grad_() for _ in range(2))
    s, t = (0.2 + torch.rand(2, 4, generator=g, dtype=torch.float64) for _ in range(2))
    s, t = s.requires_grad_(), t.requires_grad_()
    some = torch.tensor([[True, True, True, False], [True, False, True, True]])
    assert torch.autograd.gradcheck(lambda *x: probabilistic_chamfer(*x, some, some.flip(1)), (a, b, s, t))
    assert torch.autograd.gradcheck(lambda *x: point_to_point(*x, some, some), (a, b))


def test_rows_that_are_not_valid_have_no_part():
    g = torch.Generator().manual_seed(2)
    a, b = torch.rand(1, 5, 3, generator=g), torch.rand(1, 7, 3, generator=g)
    s, t = 0.1 + torch.rand(1, 5, generator=g), 0.1 + torch.rand(1, 7, generator=g)
    first, second = torch.arange(5)[None] < 3, torch.arange(7)[None] < 4
    wanted = probabilistic_chamfer(a[:, :3], b[:, :4], s[:, :3], t[:, :4])
    torch.testing.assert_close(probabilistic_chamfer(a, b, s, t, first, second), wanted)
    torch.testing.assert_close(point_to_point(a, b, first, second), point_to_point(a[:, :3], b[:, :4]))
    nobody = torch.zeros(1, 7, dtype=torch.bool)
    assert float(probabilistic_chamfer(a, b, s, t, first, nobody)) == 0


def test_points_on_points_cost_nothing_and_have_a_gradient():
    points = rows((0, 0, 0), (1, 2, 2), (9, 9, 9))
    keypoints = rows((0, 0, 0), (1, 2, 5)).requires_grad_()
    cost = point_to_point(keypoints, points)
    assert float(cost.detach()) == 1.5
    (grad,) = torch.autograd.grad(cost.sum(), keypoints)
    assert grad.tolist() == [[[0, 0, 0], [0, 0, 0.5]]]
