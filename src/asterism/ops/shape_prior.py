"""A Gaussian over the keypoints of a category: move one, the rest follow; and new sets of keypoints.

The principal components of a category's keypoints, read as a Gaussian (Tipping and Bishop, "Probabilistic
principal component analysis", JRSS B 1999). Where some points are held, the others go to their conditional
mean.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True, kw_only=True)
class ShapePrior:
    """`basis` are directions times their standard deviations; `rest` is that of every direction left out."""

    mean: Float[np.ndarray, "K 3"]
    basis: Float[np.ndarray, "D K 3"]
    rest: float

    def _covariance(self) -> np.ndarray:
        flat = self.basis.reshape(len(self.basis), self.mean.size)
        return flat.T @ flat + self.rest**2 * np.eye(flat.shape[1])

    def follow(
        self, points: Float[np.ndarray, "K 3"], moved: Int[np.ndarray, " m"], to: Float[np.ndarray, "m 3"]
    ) -> Float[np.ndarray, "K 3"]:
        """The points `moved` go exactly `to`; each other one where it is expected then, given where it was.

        What a shape has of its own beyond the category stays: only changes are carried over.
        """
        rows = (3 * moved[:, None] + np.arange(3)).reshape(-1)
        cov = self._covariance()
        change = (to - points[moved]).reshape(-1)
        shift = cov[:, rows] @ np.linalg.solve(cov[np.ix_(rows, rows)], change)
        out = points + shift.reshape(-1, 3)
        out[moved] = to
        return out

    def draw(self, dice: np.random.Generator) -> Float[np.ndarray, "K 3"]:
        """New keypoints of the category."""
        return self.mean + np.einsum("d,dkc->kc", dice.standard_normal(len(self.basis)), self.basis)


def fit_prior(points: Float[np.ndarray, "S K 3"], explained: float = 0.95) -> ShapePrior:
    """From the keypoints of S shapes, with as many components as explain this share of the variance.

    Raises ValueError for fewer than two shapes.
    """
    if len(points) < 2:
        raise ValueError(f"keypoints of {len(points)} shapes; wanted at least 2 to see how they differ")
    mean = points.mean(0)
    flat = (points - mean).reshape(len(points), -1)
    _, size, directions = np.linalg.svd(flat, full_matrices=False)
    variance = size**2 / (len(points) - 1)
    total = variance.sum()
    count = int(np.searchsorted(np.cumsum(variance), explained * total)) + 1 if total > 0 else 0
    count = min(count, len(variance) - 1) if flat.shape[1] > 1 else count
    left = flat.shape[1] - count
    # a floor keeps the covariance invertible where the shapes do not differ at all
    rest = float(np.sqrt(max(variance[count:].sum() / max(left, 1), 1e-10)))
    basis = directions[:count] * np.sqrt(variance[:count])[:, None]
    return ShapePrior(mean=mean, basis=basis.reshape(count, *points.shape[1:]), rest=rest)
