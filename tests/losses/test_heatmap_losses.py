import math

import pytest
import torch

from asterism.losses.heatmap import cross_entropy, squared

F64 = torch.float64


def maps(seed):
    return torch.randn(2, 3, 4, 5, dtype=F64, generator=torch.Generator().manual_seed(seed))


LABELLED = torch.tensor([[True, False, True], [False, False, True]])


@pytest.mark.parametrize("loss", [squared, cross_entropy])
def test_what_is_not_labelled_reaches_neither_cost_nor_gradient(loss):
    given, target = maps(0), maps(1).square()
    clean = given.clone().requires_grad_()
    loss(clean, target, LABELLED).backward()
    dirty, dirty_target = given.clone(), target.clone()
    dirty[~LABELLED] = dirty_target[~LABELLED] = torch.nan
    dirty.requires_grad_()
    cost = loss(dirty, dirty_target, LABELLED)
    cost.backward()
    torch.testing.assert_close(cost, loss(clean, target, LABELLED))
    torch.testing.assert_close(dirty.grad, clean.grad)
    assert dirty.grad is not None and dirty.grad[~LABELLED].abs().max() == 0


@pytest.mark.parametrize("loss", [squared, cross_entropy])
def test_no_labels_cost_nothing(loss):
    given = maps(0).requires_grad_()
    cost = loss(given, maps(1).square(), torch.zeros(2, 3, dtype=torch.bool))
    cost.backward()
    assert cost == 0 and given.grad is not None and given.grad.abs().max() == 0


def test_squared_is_the_sum_over_cells_and_the_mean_over_maps():
    given, target = maps(0), maps(1)
    want = sum((given[b, k] - target[b, k]).square().sum() for b, k in LABELLED.nonzero().tolist()) / 3
    torch.testing.assert_close(squared(given, target, LABELLED), torch.as_tensor(want))
    one = torch.ones(1, 1, 2, 2)
    assert squared(0 * one, one, torch.ones(1, 1, dtype=torch.bool), balance=2.0) == 12
    assert squared(target, target, LABELLED, balance=5.0) == 0


def test_cross_entropy_of_the_target_itself_is_its_entropy():
    share = maps(2).flatten(2).softmax(-1).unflatten(-1, (4, 5))
    all_of_them = torch.ones(2, 3, dtype=torch.bool)
    entropy = -(share * share.log()).sum() / 6
    torch.testing.assert_close(cross_entropy(share.log() + 3, 7 * share, all_of_them), entropy)
    assert cross_entropy(maps(3), share, all_of_them) > entropy
    assert cross_entropy(torch.zeros(2, 3, 4, 5), share.float(), all_of_them).item() == pytest.approx(
        math.log(20)
    )


def test_gradients():
    given, target = maps(0).requires_grad_(), maps(1).square()
    assert torch.autograd.gradcheck(lambda m: squared(m, target, LABELLED, 3.0), (given,))
    assert torch.autograd.gradcheck(lambda m: cross_entropy(m, target, LABELLED), (given,))
