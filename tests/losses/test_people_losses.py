import pytest
import torch

from asterism.losses.people import energy_of, regional


def test_zeros_cost_one_and_the_target_nothing():
    target = torch.rand(2, 3, 4, 5)
    weight = torch.ones(2, 1, 4, 5)
    energy = energy_of(target)
    assert regional(torch.zeros_like(target), target, weight, energy).item() == pytest.approx(1)
    assert regional(target, target, weight, energy, 10.0) == 0


def test_regions_that_do_not_count_cost_nothing():
    target, weight = torch.zeros(1, 1, 2, 2), torch.tensor([[[[1.0, 0.5], [0.0, 1.0]]]])
    wrong = torch.tensor([[[[0.0, 2.0], [9.0, 0.0]]]])
    assert regional(wrong, target, weight, torch.tensor(1.0)).item() == pytest.approx(0.5 * 4)


def test_balance_weighs_by_the_size_of_the_target():
    target = torch.tensor([[[[-1.0, 0.0]]]])
    cost = regional(torch.zeros(1, 1, 1, 2), target, torch.ones(1, 1, 1, 2), torch.tensor(1.0), 3.0)
    assert cost.item() == pytest.approx(4)


def test_pictures_without_anybody_have_an_energy():
    assert energy_of(torch.zeros(3, 2, 4, 4)) == 3
