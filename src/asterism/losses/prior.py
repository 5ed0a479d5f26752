"""Scores that are to be spread as a Beta distribution says: most of them 0, a few 1, next to nothing between.

quantiles   QuantilePrior   how far the sorted scores are from the distribution's quantiles: in one dimension
                            that is the Wasserstein distance itself, and nothing has to be learned
critic      CriticPrior     a network learns to tell scores from draws (Gulrajani et al., "Improved Training
                            of Wasserstein GANs", NeurIPS 2017), and the scores learn to pass

Both look at sorted scores, read off at a fixed number of levels, so neither the order of the points nor their
number matters.
"""

import itertools
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.special import betaincinv
from torch import Tensor, nn
from torch.func import functional_call


@lru_cache
def beta_quantiles(
    concentration1: float | int, concentration0: float | int, n: int
) -> Float[np.ndarray, " n"]:
    """Values of Beta(concentration1, concentration0) at the middles of n equal steps of its distribution; the
    mean is concentration1 / (concentration1 + concentration0).
    """
    return betaincinv(float(concentration1), float(concentration0), (np.arange(n) + 0.5) / n)


def beta_draws(
    concentration1: float | int, concentration0: float | int, like: Float[Tensor, "*S"]
) -> Float[Tensor, "*S"]:
    """Independent draws from Beta(concentration1, concentration0).

    They are x / (x + y) of two Gamma variates, kept as logarithms: those of small concentrations are
    smaller than any number of single precision. A variate of k is one of k + 1 times u^(1 / k).
    """
    one, two = (_log_gamma_draws(k, like) for k in (concentration1, concentration0))
    return (one - two).sigmoid()


def _log_gamma_draws(k: float | int, like: Tensor) -> Tensor:
    drawn = torch.distributions.Gamma(torch.full_like(like, k + 1.0), torch.ones_like(like)).sample()
    return drawn.log() + (1 - torch.rand_like(like)).log() / k


def sorted_levels(scores: Float[Tensor, "B N"], valid: Bool[Tensor, "B N"], n: int) -> Float[Tensor, "B n"]:
    """Quantiles of each row's valid scores at the middles of n equal steps; linear between neighbours, and
    the outermost scores beyond them. With n valid scores these are the sorted scores themselves.

    Scores that are not valid may be anything, NaN too.
    """
    rising = scores.masked_fill(~valid, torch.inf).sort(dim=1).values
    count = valid.sum(1, keepdim=True)
    last = (count - 1).clamp_min(0)
    steps = 2 * torch.arange(n, device=scores.device, dtype=scores.dtype) + 1
    twice = count * steps / n - 1  # rank r stands at the share (2 r + 1) / (2 count)
    at = (twice / 2).clamp_min(0).minimum(last.to(scores))
    low = at.floor().long()
    high = (low + 1).minimum(last)
    lower, upper = rising.gather(1, low), rising.gather(1, high)
    return lower + (at - low) * (upper - lower)


class QuantilePrior:
    """The Wasserstein distance W1 to Beta(concentration1, concentration0), averaged over the rows."""

    def __init__(self, concentration1: float | int, concentration0: float | int, levels: int) -> None:
        self.levels = levels
        self.target = torch.from_numpy(beta_quantiles(concentration1, concentration0, levels))

    def __call__(self, scores: Float[Tensor, "B N"], valid: Bool[Tensor, "B N"]) -> Float[Tensor, ""]:
        return (sorted_levels(scores, valid, self.levels) - self.target.to(scores)).abs().mean()


class CriticPrior(nn.Module):
    """A critic of sorted scores, with a gradient penalty.

    `deceived` is what the scores are to make small (only they get its gradient), `learned` what the critic is
    to make small (only it gets the gradient). The penalty is max(|gradient| - 1, 0)^2: slopes of less than
    one are allowed, as in the code of UKPGAN; Gulrajani et al. pull them to one.
    """

    def __init__(
        self,
        concentration1: float | int,
        concentration0: float | int,
        levels: int,
        hidden: Sequence[int],
        penalty: float | int = 1.0,
    ) -> None:
        super().__init__()
        self.concentrations, self.levels, self.penalty = (concentration1, concentration0), levels, penalty
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise((levels, *hidden, 1)):
            layers += [nn.Linear(before, after), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers[:-1])

    def deceived(self, scores: Float[Tensor, "B N"], valid: Bool[Tensor, "B N"]) -> Float[Tensor, ""]:
        frozen = {name: value.detach() for name, value in self.layers.named_parameters()}
        return -functional_call(self.layers, frozen, (self.seen(scores, valid),)).mean()

    def learned(self, scores: Float[Tensor, "B N"], valid: Bool[Tensor, "B N"]) -> Float[Tensor, ""]:
        false = self.seen(scores.detach(), valid)
        true = self.drawn(false)
        share = torch.rand(len(false), 1, device=false.device, dtype=false.dtype)
        between = (share * true + (1 - share) * false).requires_grad_(True)
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(self.layers(between).sum(), between, create_graph=True)
        steep = (slope.square().sum(1) + 1e-12).sqrt() - 1  # the root has no gradient at zero
        fence = self.penalty * steep.clamp_min(0).square().mean()
        return self.layers(false).mean() - self.layers(true).mean() + fence

    def seen(self, scores: Float[Tensor, "B N"], valid: Bool[Tensor, "B N"]) -> Float[Tensor, "B L"]:
        """What the critic looks at."""
        return sorted_levels(scores, valid, self.levels)

    def drawn(self, like: Float[Tensor, "B L"]) -> Float[Tensor, "B L"]:
        """As many draws from the distribution, sorted as the scores are."""
        return beta_draws(*self.concentrations, like).sort(dim=1).values
