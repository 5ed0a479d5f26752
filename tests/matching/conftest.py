"""Worlds of matches whose truth is known; features always in random order in every image."""

import numpy as np
import pytest
from scipy import sparse

from asterism.matches import Matches


def world(m=8, k=12, missing=0.0, wrong=0.0, seed=0, flat=False):
    """Matches between all pairs of m images of k points, and the truth; `flat` adds coordinates."""
    dice = np.random.default_rng(seed)
    held = [dice.permutation(np.flatnonzero(dice.random(k) >= missing)) for _ in range(m)]
    counts = np.array([len(h) for h in held])
    start = np.concatenate([[0], np.cumsum(counts)])
    rows, columns = [], []
    for i in range(m):
        for j in range(i + 1, m):
            _, a, b = np.intersect1d(held[i], held[j], return_indices=True)
            bad = dice.random(len(a)) < wrong
            b[bad] = dice.permutation(b[bad])
            rows.append(start[i] + a)
            columns.append(start[j] + b)
    rows, columns = np.concatenate(rows), np.concatenate(columns)
    w = sparse.coo_array((np.ones(len(rows), np.float32), (rows, columns)), shape=(start[-1],) * 2)
    truth = np.concatenate(held)
    xy = dice.random((k, 2))[truth] * 100 + 0.2 * dice.standard_normal((len(truth), 2)) if flat else None
    return Matches.of(w, counts, xy), truth


def shuffled(matches, truth, seed=1):
    """Images in another order, and features in another order in each; and where each feature came from."""
    dice = np.random.default_rng(seed)
    blocks = np.split(np.arange(len(truth)), matches.offsets[1:-1])
    order = dice.permutation(len(blocks))
    source = np.concatenate([dice.permutation(blocks[i]) for i in order])
    xy = None if matches.xy is None else matches.xy[source]
    return Matches.of(matches.w[source][:, source], matches.counts[order], xy), truth[source], source


@pytest.fixture
def make():
    return world


@pytest.fixture
def shuffle():
    return shuffled
