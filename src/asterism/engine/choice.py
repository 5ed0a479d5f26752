"""Which of several ways to answer a point is taken, from their errors on pictures they did not learn from.

Few labelled pictures say little about one point, so what is seen of a point is weighed with what is seen of
all of them; and a way that is not simpler must be better by more than chance would make it.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

# Chosen on generated animals and a real mouse. A whole standard error costs, at 5 to 20 pictures, a tenth of
# what heads gain, because the heads are drawn to the simple answer already (attach.read_head).
BIAS = 0.5  # standard errors by which the less simple way must be better
LEAST_GAIN = 0.03  # of a point's error: what is less is not worth being less simple
POOL = 10.0  # pictures, at most, that all points together count for beside those of one point


@dataclass(frozen=True)
class Choice:
    """`taken[k]` names the way of point k; `error` are its distances on held-out pictures, NaN where there is
    none; `known` are those of all ways."""

    taken: tuple[str, ...]
    error: Float[np.ndarray, "N K"]
    known: Mapping[str, Float[np.ndarray, "N K"]]


def choose(errors: Mapping[str, Float[np.ndarray, "N K"]]) -> Choice:
    """`errors` of each way, simplest first, in pixels; NaN where a point is not labelled or was not asked."""
    names = list(errors)
    best, taken = errors[names[0]], np.zeros(errors[names[0]].shape[1], np.int64)
    for i, name in enumerate(names[1:], 1):
        better = is_better(errors[name], best)
        best = np.where(better, errors[name], best)
        taken[better] = i
    return Choice(taken=tuple(names[i] for i in taken), error=best, known=errors)


def challenged(
    choice: Choice,
    name: str,
    error: Float[np.ndarray, "N K"],
    same: Mapping[str, Float[np.ndarray, "N K"]],
) -> Choice:
    """The choice when one more way `name` is known, whose errors come from fewer folds.

    It is compared with the errors `same` of the ways taken so far on its own folds: then all of them have
    learned from the same pictures. No margin is asked of it: with so few pictures it is judged too severely.
    """
    taken = np.stack([same[way][:, k] for k, way in enumerate(choice.taken)], axis=1)
    better = is_better(error, taken, bias=0.0, least=0.0)
    return Choice(
        taken=tuple(name if b else way for b, way in zip(better, choice.taken)),
        error=np.where(better, error, choice.error),
        known={**choice.known, name: error},
    )


def is_better(
    new: Float[np.ndarray, "N K"],
    old: Float[np.ndarray, "N K"],
    *,
    bias: float | int = BIAS,
    least: float | int = LEAST_GAIN,
) -> Bool[np.ndarray, " K"]:
    """Points at which `new` is better than `old` by `bias` standard errors and the share `least`.

    Gains are relative to the middle of the two errors of a point. Those of all points are drawn towards
    their mean, the more so the less they differ among each other beyond chance (DerSimonian and Laird,
    Meta-analysis in clinical trials, 1986).
    """
    middle = (_mean(new, 0) + _mean(old, 0)) / 2
    gain = (new - old) / np.where(np.isfinite(middle) & (middle > 0), middle, 1.0)
    per_picture = _mean(gain, 1)
    per_picture = per_picture[np.isfinite(per_picture)]
    if len(per_picture) < 2:
        return np.zeros(gain.shape[1], bool)
    run, run_error = per_picture.mean(), per_picture.std(ddof=1) / np.sqrt(len(per_picture))
    count, own, variance = np.isfinite(gain).sum(0), _mean(gain, 0), _variance(gain)
    usual = np.nanmean(variance) if np.isfinite(variance).any() else 0.0
    seen = count > 1
    between = np.var(own[seen], ddof=1) - (usual / count[seen]).mean() if seen.sum() > 1 else 0.0
    pool = min(POOL, usual / between) if between > 0 else POOL
    total = count + pool
    drawn = (count * np.nan_to_num(own) + pool * run) / total
    spread = (count * np.where(np.isfinite(variance), variance, usual) + pool * usual) / total
    doubt = np.sqrt(spread / total + (pool / total * run_error) ** 2)
    return drawn + bias * doubt < -least


def folds(image: Int[np.ndarray, " N"], most: int, seed: int) -> list[NDArray[np.bool_]]:
    """Rows held out, fold by fold: pictures dealt at random into hands of nearly equal size."""
    images, index = np.unique(image, return_inverse=True)
    n = min(most, len(images))
    hand = np.random.default_rng(seed).permutation(len(images)) % n
    return [hand[index] == f for f in range(n)]


def _mean(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    with warnings.catch_warnings():  # a column without a number has no mean, and says so with NaN
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmean(values, axis=axis)


def _variance(values: Float[np.ndarray, "N K"]) -> Float[np.ndarray, " K"]:
    """Of each column with at least two numbers, else NaN."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanvar(values, axis=0, ddof=1)
