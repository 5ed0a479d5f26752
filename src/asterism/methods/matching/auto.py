"""auto: the default: check pairs by geometry, make all consistent at once, and check again on the common
shape.

Matches of two images are kept as far as one map of the plane explains them; all that is kept is synchronised
through its spectrum; and where the images turn out to show one shape, every feature is assigned once more by
where it falls on it. What geometry does not explain, because there is none, is left to the matches alone.

No paper: the parts are spectral synchronisation (Pachauri et al., NIPS 2013) with a centred operator,
projected powers (Chen and Candes, 2016) and generalised Procrustes (Gower, 1975).
https://arxiv.org/abs/1903.10956 is the nearest in aim.

    pairs: two-point similarities, soft inliers, affine refits -> ops.pair_geometry.verified
    does geometry say anything? the same with shuffled points  -> _geometry_weights
    all images: centred spectrum, anchors, projected powers    -> ops.spectrum
    one shape: Procrustes and reassignment                     -> Auto._on_shape

Departs from the paper:
- There is none to depart from; the recipe was measured on generated points and photographs
  (bench/matching_sync.py).
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int
from scipy import sparse

from asterism.matches import Matches
from asterism.methods.synchroniser import Synchroniser
from asterism.ops.assignment import one_to_one, votes
from asterism.ops.pair_geometry import GeometryConfig, verified
from asterism.ops.spectrum import labels_from, leading, universe_size
from asterism.ops.universe_geometry import mean_shape, reassigned, units

_CANDIDATES = 2  # entries per one-to-one match from which on W lists candidates, and not matches


@dataclass(frozen=True)
class AutoConfig:
    """raw: weight of a match that no geometry explains; evidence: how much more of a pair a map must explain
    than among shuffled points; shape_rounds: reassignments; shape_scale: of a residual in them, in the
    shape's spread."""

    geometry: GeometryConfig = field(default_factory=GeometryConfig)
    raw: float = 0.1
    evidence: float = 0.1
    anchors: int = 5
    rounds: int = 30
    shape_rounds: int = 4
    shape_scale: float = 0.15


class Auto(Synchroniser):
    name = "auto"
    paper = "no paper: pair geometry, centred spectral synchronisation, projected powers, one shape"
    link = "https://arxiv.org/abs/1903.10956"
    Config = AutoConfig
    wants_universe = False

    def solve(self, matches: Matches, universe: int) -> Int[np.ndarray, " N"]:
        w, geometric = one_to_one(matches.w, matches.offsets), False
        if (
            matches.w.nnz < _CANDIDATES * w.nnz
        ):  # plain matches with a few conflicts: they are votes, keep them
            w = matches.w
        if matches.xy is not None:
            checked, above = _geometry_weights(matches, self.config.geometry)
            if geometric := above > self.config.evidence:
                w = sparse.csr_array(checked + self.config.raw * w)
        most = universe or 2 * int(np.diff(matches.offsets).max()) + 2
        values, vectors = leading(w, matches.offsets, most + 2)
        k = universe or universe_size(values, most)
        labels = labels_from(w, vectors, matches.offsets, k, self.config.anchors, self.config.rounds)
        return self._on_shape(matches, w, labels, k) if geometric else labels

    def _on_shape(self, matches: Matches, w: sparse.csr_array, labels: np.ndarray, k: int) -> np.ndarray:
        """Reassign by position on the mean shape; given up where the images do not show one shape."""
        c = self.config
        assert matches.xy is not None
        z = units(matches.xy, matches.offsets)
        for _ in range(c.shape_rounds):
            moved, shape = mean_shape(z, labels, matches.offsets, k, rounds=6)
            held = (labels >= 0) & np.isfinite(moved)
            off = np.abs(moved[held] - shape[labels[held]])
            if len(off) == 0 or np.median(off) > c.shape_scale:
                return labels
            scale = float(np.clip(4 * np.median(off), c.geometry.finest, c.shape_scale))
            asked = votes(w, labels, k) + votes(matches.w, labels, k)
            share = asked / np.maximum(asked.sum(1, keepdims=True), 1e-12)
            new = reassigned(moved, shape, share, matches.offsets, scale)
            if (new == labels).all():
                break
            labels = new
        return labels


def _geometry_weights(matches: Matches, config: GeometryConfig) -> tuple[sparse.csr_array, float]:
    """Weights of the matches that a map explains, and how much more it explains than among shuffled
    points.
    """
    assert matches.xy is not None
    pairs, o = matches.pairs(), matches.offsets
    found, told, null = [], [], []
    dice = np.random.default_rng(0)
    probes = set(dice.permutation(len(pairs))[:20].tolist())
    rows, columns, data = [np.zeros(0, int)], [np.zeros(0, int)], [np.zeros(0)]
    for n, (i, j) in enumerate(pairs):
        p, q = matches.xy[o[i] : o[i + 1]], matches.xy[o[j] : o[j + 1]]
        similar = matches.w[o[i] : o[i + 1], o[j] : o[j + 1]].toarray().astype(np.float64)
        weight, share = verified(p, q, similar, config, n)
        told.append(share)
        if n in probes:
            null.append(verified(p, q[dice.permutation(len(q))], similar, config, n)[1])
            found.append(share)
        r, c = np.nonzero(weight)
        rows.append(o[i] + r)
        columns.append(o[j] + c)
        data.append(weight[r, c])
    half = (np.concatenate(data), (np.concatenate(rows), np.concatenate(columns)))
    upper = sparse.coo_array(half, shape=matches.w.shape)
    above = float(np.mean(found) - np.mean(null)) if found else 0.0
    return sparse.csr_array(upper + upper.T), above
