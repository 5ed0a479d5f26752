"""The margin loss in closed form: who is a pair of whom, and what a pair costs."""

import torch

from asterism.losses.contrastive import margin_within_images

F64 = torch.float64


def at(angles):
    angles = torch.tensor(angles, dtype=F64)
    return torch.stack([angles.cos(), angles.sin()], dim=-1)


def test_closed_form():
    descriptor = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.3, 0.4], [9.0, 9.0]], dtype=F64)
    label, image = torch.tensor([0, 0, 1, 2]), torch.tensor([5, 6, 5, 7])
    positive, negative = margin_within_images(descriptor, label, image, 0.8)
    assert float(positive) == 25.0  # rows 0 and 1
    torch.testing.assert_close(negative, torch.tensor(0.3**2, dtype=F64))  # rows 0 and 2 of image 5


def test_other_images_repel_nothing_and_one_label_attracts_everywhere():
    descriptor = at([0.0, 0.1, 0.2, 0.3])
    label = torch.tensor([0, 1, 2, 3])
    assert margin_within_images(descriptor, label, torch.arange(4), 0.8)[1] == 0
    inside = margin_within_images(descriptor, label, torch.zeros(4, dtype=torch.long), 0.8)
    assert inside[0] == 0 and inside[1] > 0
    one = torch.zeros(4, dtype=torch.long)
    positive, negative = margin_within_images(descriptor, one, torch.tensor([0, 0, 1, 2]), 0.8)
    wanted = torch.pdist(descriptor).square().mean()
    torch.testing.assert_close(positive, wanted)
    assert negative == 0


def test_beyond_the_margin_costs_nothing():
    descriptor = at([0.0, 1.0, 2.5])
    label, image = torch.arange(3), torch.zeros(3, dtype=torch.long)
    assert margin_within_images(descriptor, label, image, 0.8)[1] == 0
    distance = torch.pdist(descriptor)
    wanted = (1.5 - distance).relu().square().mean()
    torch.testing.assert_close(margin_within_images(descriptor, label, image, 1.5)[1], wanted)


def test_gradients_are_right_and_finite_where_two_places_look_the_same():
    g = torch.Generator().manual_seed(0)
    descriptor = torch.randn(6, 3, generator=g, dtype=F64, requires_grad=True)
    label, image = torch.tensor([0, 0, 1, 2, 1, 3]), torch.tensor([0, 1, 0, 0, 1, 1])
    assert torch.autograd.gradcheck(lambda d: margin_within_images(d, label, image, 4.0), descriptor)
    alike = torch.ones(4, 3, requires_grad=True)
    sum(margin_within_images(alike, torch.arange(4), torch.zeros(4, dtype=torch.long), 0.8)).backward()
    assert alike.grad is not None and alike.grad.isfinite().all()


def test_nothing_to_compare_costs_nothing():
    none = torch.zeros(0, dtype=torch.long)
    descriptor = torch.zeros(0, 4, requires_grad=True)
    positive, negative = margin_within_images(descriptor, none, none, 0.8)
    assert positive == 0 and negative == 0
    (positive + negative).backward()
    assert descriptor.grad is not None
