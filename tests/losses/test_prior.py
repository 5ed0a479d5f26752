"""Beta priors of scores: quantiles in closed form, distances by hand, and a critic that finds them."""

import numpy as np
import pytest
import torch
from scipy import stats

from asterism.losses.prior import (
    CriticPrior,
    QuantilePrior,
    beta_draws,
    beta_quantiles,
    sorted_levels,
)


def every(scores):
    return torch.ones(scores.shape, dtype=torch.bool)


def test_quantiles_are_those_of_the_distribution():
    shares = [1 / 6, 1 / 2, 5 / 6]
    np.testing.assert_allclose(beta_quantiles(1, 1, 3), shares)
    np.testing.assert_allclose(beta_quantiles(2, 1, 3), np.sqrt(shares))  # its distribution is x^2
    many = beta_quantiles(0.01, 0.05, 1000)
    assert many.mean() == pytest.approx(1 / 6, abs=2e-3)
    assert ((many > 0.01) & (many < 0.99)).mean() < 0.1


@pytest.mark.parametrize("pair", [(0.01, 0.05), (0.5, 2.0), (3, 1)])
def test_draws_are_from_the_distribution(pair):
    torch.manual_seed(0)
    draws = beta_draws(*pair, torch.zeros(4000)).numpy()
    at = np.array([1e-30, 1e-6, 0.1, 0.5, 0.9])  # nearer to one than single precision sees, much may lie
    share = (draws[:, None] <= at).mean(0)
    np.testing.assert_allclose(share, stats.beta(*pair).cdf(at), atol=0.02)


def test_levels_are_the_sorted_scores_and_know_no_order_and_no_number():
    scores = torch.rand(2, 12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(sorted_levels(scores, every(scores), 12), scores.sort(1).values)
    mixed = scores[:, torch.randperm(12, generator=torch.Generator().manual_seed(1))]
    torch.testing.assert_close(sorted_levels(mixed, every(mixed), 7), sorted_levels(scores, every(scores), 7))
    padded = torch.cat([torch.full((2, 3), torch.nan), scores], dim=1)
    told = sorted_levels(padded, padded.isfinite(), 7)
    torch.testing.assert_close(told, sorted_levels(scores, every(scores), 7))
    one = torch.tensor([[0.0, 1.0]])
    by_hand = torch.tensor([[0.0, 0.25, 0.75, 1.0]])  # at 1/8, 3/8, 5/8, 7/8; the scores are at 1/4 and 3/4
    torch.testing.assert_close(sorted_levels(one, every(one), 4), by_hand)


def test_the_distance_by_hand():
    """To the uniform distribution from scores all at one place c: c^2/2 + (1 - c)^2/2."""
    prior = QuantilePrior(1, 1, 1000)
    for c in (0.0, 0.25, 0.5):
        scores = torch.full((1, 40), c)
        assert float(prior(scores, every(scores))) == pytest.approx((c * c + (1 - c) ** 2) / 2, abs=1e-5)
    scores = (torch.arange(1000) / 1000 + 0.0005)[None]
    assert float(prior(scores, every(scores))) == pytest.approx(0, abs=1e-6)


def test_the_distance_is_that_of_scipy():
    scores = torch.rand(1, 300, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    target = stats.beta(0.5, 2).ppf((np.arange(300) + 0.5) / 300)
    wanted = stats.wasserstein_distance(scores[0].numpy(), target)
    assert float(QuantilePrior(0.5, 2, 300)(scores, every(scores))) == pytest.approx(wanted, abs=1e-9)


def test_padding_gets_no_gradient_and_scores_get_a_finite_one():
    scores = torch.tensor([[0.3, torch.nan, 0.9, 0.3]], requires_grad=True)
    QuantilePrior(0.01, 0.05, 8)(scores, torch.tensor([[True, False, True, True]])).backward()
    assert scores.grad is not None and scores.grad.isfinite().all() and scores.grad[0, 1] == 0


def fitted(prior, steps, rate=0.1):
    """Free scores that follow the prior alone; the distance W1 that is left."""
    torch.manual_seed(0)
    logits = torch.randn(4, 64, requires_grad=True)
    mine = torch.optim.Adam([logits], lr=rate)
    critic = prior if isinstance(prior, CriticPrior) else None
    theirs = torch.optim.Adam(critic.parameters(), lr=3e-3) if critic else None
    for _ in range(steps):
        scores = logits.sigmoid()
        if critic is not None and theirs is not None:
            theirs.zero_grad()
            critic.learned(scores, every(scores)).backward()
            theirs.step()
            cost = critic.deceived(scores, every(scores))
        else:
            cost = prior(scores, every(scores))
        mine.zero_grad()
        cost.backward()
        mine.step()
    scores = logits.detach().sigmoid()
    return float(QuantilePrior(0.1, 0.5, 256)(scores, every(scores)))


def test_scores_find_the_distribution_with_and_without_a_critic():
    before = fitted(QuantilePrior(0.1, 0.5, 64), 0)
    assert fitted(QuantilePrior(0.1, 0.5, 64), 150) < 0.02 < 0.3 < before
    torch.manual_seed(1)
    assert fitted(CriticPrior(0.1, 0.5, 64, (32, 16)), 300) < 0.1


def test_critic_and_scores_get_their_own_gradients():
    torch.manual_seed(0)
    critic, logits = CriticPrior(0.1, 0.5, 16, (8,)), torch.randn(2, 30, requires_grad=True)
    scores = logits.sigmoid()
    critic.deceived(scores, every(scores)).backward()
    assert logits.grad is not None and logits.grad.any()
    assert all(p.grad is None for p in critic.parameters())
    logits.grad = None
    critic.learned(scores, every(scores)).backward()
    assert logits.grad is None
    assert all(p.grad is not None and p.grad.isfinite().all() for p in critic.parameters())


def test_slopes_of_less_than_one_cost_nothing_and_steeper_ones_their_square():
    critic = CriticPrior(1, 1, 4, ())
    layer = critic.layers[0]
    scores = torch.rand(3, 9, generator=torch.Generator().manual_seed(0))
    for length, fence in ((0.9, 0.0), (3.0, 4.0)):
        with torch.no_grad():
            layer.weight.copy_(torch.tensor([[length, 0, 0, 0]]))
        torch.manual_seed(3)
        told = critic.learned(scores, every(scores)).detach()
        torch.manual_seed(3)
        seen = critic.seen(scores, every(scores))
        plain = (critic.layers(seen) - critic.layers(critic.drawn(seen))).mean().detach()
        torch.testing.assert_close(told - plain, torch.tensor(fence), atol=1e-5, rtol=0)
