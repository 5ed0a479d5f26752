"""Which pictures teach and which test."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asterism.errors import RequestError


@dataclass(frozen=True, kw_only=True)
class Split:
    """Indices of pictures, sorted; no picture is in both."""

    train: NDArray[np.int64]
    test: NDArray[np.int64]


def split(pictures: NDArray[np.int64] | int, *, seed: int, share: float = 0.2) -> Split:
    """A random `share` of the pictures (at least one) tests, the others teach; the same for the same seed.

    `pictures` are their indices, or how many there are. It splits by picture: several animals of one picture
    always fall on one side. Raises RequestError when there are fewer than two.
    """
    indices = np.arange(pictures) if isinstance(pictures, int) else np.unique(pictures)
    if len(indices) < 2:
        raise RequestError(
            f"{len(indices)} labelled pictures cannot be split; wanted at least 2, one to test on"
        )
    order = np.random.default_rng(seed).permutation(indices)
    n_test = min(max(1, round(share * len(indices))), len(indices) - 1)
    return Split(train=np.sort(order[n_test:]), test=np.sort(order[:n_test]))
