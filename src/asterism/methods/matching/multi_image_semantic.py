"""multi-image-semantic: choose and label k features per image so that matches agree and coordinates have low
rank.

Matches of semantic features are poor, and most candidates are nothing in particular. Two sorts of evidence
are used at once: labels should agree with the matches, and the coordinates of one thing seen in many images,
stacked in the order of the labels, should have a low rank.

Q. Wang, X. Zhou, K. Daniilidis, "Multi-Image Semantic Matching by Mining Consistent Features", CVPR 2018.
https://arxiv.org/abs/1711.07641

    min 1/4 |W - Y Y^T|^2 + lambda/2 sum |C_i X_i - Z_i|^2 + rho/2 |X - Y|^2
    Y: projected gradient on {0 <= Y, rows <= 1, columns = 1}, step 1/Lipschitz -> _gradient_steps
    the polytope's projection, by Dykstra                                  -> ops.polytope.nearest_labelling
    X: the Hungarian method on lambda D - rho Y                            -> MultiImageSemantic._chosen
    Z: the coordinates in the order of X, cut to rank r                    -> _low_rank
    rho = 1, 10, 100                                                       -> MultiImageSemantic.solve

PAPER is that: every image shows all k labels, distances between C_i and Z_i are squared, and rank is 4. The
released code differs from the paper's text, and RELEASED_CODE is that form: distances are not squared, rank
is 3.

Departs from the paper:
- The start is the spectrum of twice k, of which the k labels that agree best within themselves are kept: an
  inconsistent label of the start is never given up later. The paper does not say; the released code starts
  at random and needs a term of its own for that (orthogonal columns in each image, weighted 1 to 10,000),
  which is therefore left out.
- Images may be partial unless `least` is 1: columns of Y sum to at most 1, and X takes only what Y supports.
  An image with fewer features than labels is partial always.
- Without coordinates the geometric term is left out. W is divided by its largest entry, coordinates by their
  spread; where images may be partial all are equally wrong beyond one spread.
- The released code's first X is found by geometry alone from the soft Y; here by the Hungarian method from Y.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from jaxtyping import Int
from scipy import sparse

from asterism.matches import Matches
from asterism.methods.synchroniser import Synchroniser
from asterism.ops.assignment import assign
from asterism.ops.polytope import nearest_labelling
from asterism.ops.spectrum import labels_from, leading

_SUPPORT = 0.2  # of Y, for a label that need not be in the image
_SWEEPS = 10  # of a projection, at most, as in the released code


@dataclass(frozen=True)
class MultiImageSemanticConfig:
    """lam: lambda, weight of the geometry; rho: of X = Y, in order; power: of distances, 1 or 2; rank: r;
    least: what a label sums to at least in an image of k features or more."""

    lam: float = 1.0
    rho: tuple[float, ...] = (1.0, 10.0, 100.0)
    rank: int = 4
    power: int = 2
    least: float = 0.0
    steps: int = 100
    rounds: int = 20
    tolerance: float = 1e-4


PAPER = MultiImageSemanticConfig(least=1.0)
RELEASED_CODE = replace(PAPER, rank=3, power=1)


class MultiImageSemantic(Synchroniser):
    name = "multi-image-semantic"
    paper = "Wang, Zhou, Daniilidis, Multi-Image Semantic Matching by Mining Consistent Features, CVPR 2018"
    link = "https://arxiv.org/abs/1711.07641"
    Config = MultiImageSemanticConfig

    def solve(self, matches: Matches, universe: int) -> Int[np.ndarray, " N"]:
        c = self.config
        w = matches.w / max(float(matches.w.data.max()), 1e-12)
        y, labels = self._start(matches, w, universe)
        for rho in c.rho:
            for _ in range(c.rounds):
                y = _gradient_steps(w, y, _one_hot(labels, universe), rho, matches.offsets, c)
                new = self._chosen(matches, y, labels, rho)
                if (new == labels).all():
                    break
                labels = new
        return labels

    def _start(self, matches: Matches, w: sparse.csr_array, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Y without geometry, and labels of it: the k of twice as many that agree best."""
        offsets = matches.offsets
        wide = max(k, min(2 * k, int(matches.counts.max())))
        _, vectors = leading(matches.w, offsets, wide)
        labels = labels_from(matches.w, vectors, offsets, wide, anchors=3, rounds=5)
        within = _one_hot(labels, wide)
        best = np.argsort(-(within * (w @ within)).sum(0), kind="stable")[:k]
        rank = np.full(wide + 1, -1)  # the last is that of no label
        rank[best] = np.arange(len(best))
        labels = rank[labels]
        y = _one_hot(labels, k)
        return _gradient_steps(w, y, y, 0.0, offsets, self.config), labels

    def _chosen(self, matches: Matches, y: np.ndarray, labels: np.ndarray, rho: float) -> np.ndarray:
        """X by image: the greatest sum of rho Y - lambda D, among features that Y supports."""
        k, gain = y.shape[1], rho * y
        if matches.xy is not None:
            place, low = _low_rank(matches, labels, k, self.config.rank)
            off = np.abs(place[:, None, :] - np.repeat(low, matches.counts, axis=0))
            far = np.sqrt((off**2).sum(2)) ** self.config.power
            most = (
                1 if self.config.least < 1 else far.max()
            )  # nothing must be taken that lies beyond a spread
            gain = gain + self.config.lam * np.maximum(most - far, 0)
        return assign(np.where(y >= _SUPPORT * (1 - self.config.least), gain + 1e-9, 0), matches.offsets)


def _one_hot(labels: np.ndarray, k: int) -> np.ndarray:
    out = np.zeros((len(labels), k))
    held = np.flatnonzero(labels >= 0)
    out[held, labels[held]] = 1
    return out


def _gradient_steps(w, y, x, rho, offsets, config):
    """Projected gradient on 1/4 |W - Y Y^T|^2 + rho/2 |X - Y|^2, from y."""
    norm = float(np.abs(w).sum(axis=1).max())
    for _ in range(config.steps):
        gram = y.T @ y
        slope = y @ gram - w @ y + rho * (y - x)
        step = 1 / (3 * np.linalg.norm(gram, 2) + norm + rho)
        new = nearest_labelling(
            y - step * slope, offsets, config.least, sweeps=_SWEEPS, tolerance=config.tolerance
        )
        if np.abs(new - y).mean() < config.tolerance * max(y.mean(), 1e-12):
            return new
        y = new
    return y


def _low_rank(matches: Matches, labels: np.ndarray, k: int, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (centred in their image, in its spread), and Z: M K 2, what rank r makes of them.

    A label that an image lacks takes the low-rank value, found by three rounds of filling in.
    """
    assert matches.xy is not None
    place = matches.xy.copy()
    for a, b in pairwise(matches.offsets):
        if b > a:
            place[a:b] -= place[a:b].mean(0)
            place[a:b] /= max(float(place[a:b].std(0).mean()), 1e-12)
    held = np.flatnonzero(labels >= 0)
    seen = np.zeros((matches.n_images, k), dtype=bool)
    seen[matches.image[held], labels[held]] = True
    stacked = np.zeros((matches.n_images, k, 2))
    stacked[matches.image[held], labels[held]] = place[held]
    low = stacked
    for _ in range(3):
        full = np.where(seen[..., None], stacked, low).transpose(0, 2, 1).reshape(-1, k)
        u, s, v = np.linalg.svd(full, full_matrices=False)
        r = min(rank, len(s))
        low = ((u[:, :r] * s[:r]) @ v[:r]).reshape(-1, 2, k).transpose(0, 2, 1)
    return place, low
