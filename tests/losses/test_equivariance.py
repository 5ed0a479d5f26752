import math

import pytest
import torch

from asterism.losses.equivariance import (
    align_maps,
    align_points,
    concentration,
    diversity_pairwise,
    diversity_pooled,
    entropy_concentration,
    separation,
    temporal_separation,
)

F64 = torch.float64


def rand(*shape, seed=0):
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def prob(*shape, seed=0):
    return rand(*shape, seed=seed).softmax(-1)


def test_align_points_counts_valid_points_only():
    moved, found = torch.zeros(1, 3, 2), torch.tensor([[[3.0, 4.0], [0.0, 1.0], [torch.nan, 9.0]]])
    found.requires_grad_()
    cost = align_points(moved, found, torch.tensor([[True, True, False]]))
    cost.backward()
    assert cost.item() == 13 and found.grad is not None
    assert found.grad.tolist() == [[[3, 4], [0, 1], [0, 0]]]
    assert align_points(moved, found, torch.zeros(1, 3, dtype=torch.bool)) == 0


def test_align_maps_is_the_expected_squared_distance():
    p, q, moved, at = prob(2, 3, 6), prob(2, 3, 6, seed=1), rand(2, 6, 2, seed=2), rand(2, 6, 2, seed=3)
    table = (moved[:, :, None] - at[:, None]).square().sum(-1)  # B u v
    want = torch.einsum("bku,bkv,buv->bk", p, q, table).mean()
    torch.testing.assert_close(align_maps(p, q, moved, at), want)


def test_align_maps_of_single_cells_is_the_points_form():
    p = torch.eye(4, dtype=F64)[None, :2]
    at = rand(1, 4, 2)
    moved = at + 1
    every = torch.ones(1, 2, dtype=torch.bool)
    torch.testing.assert_close(align_maps(p, p, moved, at), align_points(moved[:, :2], at[:, :2], every))


def test_diversity_pairwise_is_the_overlap_of_different_maps():
    p = prob(2, 3, 6)
    want = sum((p[:, i] * p[:, j]).sum(-1) for i in range(3) for j in range(3) if i != j).mean() / 9
    torch.testing.assert_close(diversity_pairwise(p), want)
    assert diversity_pairwise(torch.eye(3)[None]) == 0


def test_diversity_pooled_runs_from_apart_to_together():
    apart = torch.zeros(1, 3, 6, 7)
    apart[0, 0, 0, 0] = apart[0, 1, 5, 6] = apart[0, 2, 3, 3] = 1
    assert diversity_pooled(apart, 2) == 0
    together = torch.zeros(1, 3, 6, 7)
    together[0, 0, 0, 0] = together[0, 1, 1, 1] = together[0, 2, 0, 1] = 1
    assert diversity_pooled(together, 2) == 2 and diversity_pooled(together, 1) == 0


def test_separation_is_the_mean_over_pairs():
    xy = torch.tensor([[[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]]])
    want = (math.exp(-9 / 8) + math.exp(-16 / 8) + math.exp(-25 / 8)) / 3
    assert separation(xy, 2.0).item() == pytest.approx(want)
    assert separation(xy[:, :1], 2.0) == 0


def test_concentration_is_the_trace():
    assert concentration(torch.tensor([[[[2.0, 1.0], [1.0, 5.0]], [[1.0, 0.0], [0.0, 0.0]]]])) == 4


def test_gradients():
    at, every = rand(2, 6, 2), torch.ones(2, 3, dtype=torch.bool)
    xy = rand(2, 3, 2, seed=5).requires_grad_()
    logits = rand(2, 3, 6, seed=6).requires_grad_()
    checks = [
        (lambda p: align_points(p, p.flip(1), every), xy),
        (lambda p: separation(p, 0.8), xy),
        (lambda l: align_maps(l.softmax(-1), l.flip(1).softmax(-1), at, at + 1), logits),
        (lambda l: diversity_pairwise(l.softmax(-1)), logits),
        (lambda l: diversity_pooled(l.softmax(-1).unflatten(-1, (2, 3)), 2), logits),
    ]
    for loss, at_point in checks:
        assert torch.autograd.gradcheck(loss, (at_point,))


def test_entropy_concentration_counts_cells():
    flat = torch.full((1, 1, 4, 5), 1 / 20)
    one = torch.zeros(1, 1, 4, 5)
    one[..., 2, 3] = 1
    two = torch.zeros(1, 1, 4, 5)
    two[..., 2, 3] = two[..., 0, 0] = 0.5
    found = [float(entropy_concentration(m)) for m in (flat, one, two)]
    assert found == pytest.approx([1, 1 / 20, 2 / 20])


def test_temporal_separation_sees_tracks_that_move_alike():
    t = torch.linspace(0, 1, 9)
    right, up = torch.stack([t, 0 * t], -1), torch.stack([0 * t, t], -1)
    alike = torch.stack([right, right + 5], 1)[None]  # far apart, same motion
    differ = torch.stack([right, up], 1)[None]
    assert float(temporal_separation(alike, 0.1)) == pytest.approx(1)
    spread = 2 * float((t - t.mean()).square().mean())
    expected = math.exp(-spread / (2 * 0.1**2))
    assert float(temporal_separation(differ, 0.1)) == pytest.approx(expected, rel=1e-4)
    assert float(temporal_separation(alike[:, :, :1], 0.1)) == 0
