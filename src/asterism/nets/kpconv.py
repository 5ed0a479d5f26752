"""Kernel point convolution: filters whose weights sit at points of space, so that they can look at a cloud.

Thomas, Qi, Deschaud, Marcotegui, Goulette, Guibas, "KPConv: Flexible and Deformable Convolution for Point
Clouds", ICCV 2019. https://arxiv.org/abs/1904.08889

    equations 1 and 2, over the number of neighbours   KPConv
    linear influence, equation 3                       influence
    rigid kernel, repulsion and attraction             kernel_points

N points of the cloud, P of them or others that are asked, k neighbours at most, K kernel points, C and D
channels.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import minimize
from torch import Tensor, nn

_STARTS = 10  # of the search for the disposition of least energy


@dataclass(frozen=True)
class Around:
    """The neighbours of P points: `rows` among N (N, one past the last, where there is none), how much of
    each falls on each kernel point (zero where there is none), and how many there are.
    """

    rows: Int[Tensor, "P k"]
    influence: Float[Tensor, "P k K"]
    count: Float[Tensor, " P"]

    def to(self, device: torch.device | str) -> "Around":
        return Around(self.rows.to(device), self.influence.to(device), self.count.to(device))


class KPConv(nn.Module):
    """A sum over neighbours, each weighed by matrices of the kernel points near to it, over their number.

    The number is that of all neighbours, so that a denser cloud does not speak louder.
    """

    def __init__(self, kernel: int, channels: int, out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(kernel, channels, out))
        bound = math.sqrt(3 / (kernel * channels))  # variance 1 / (K C), as if all of it were one matrix
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, features: Float[Tensor, "N C"], around: Around) -> Float[Tensor, "P D"]:
        near = neighbours_of(features, around)
        held = around.influence.mT @ near  # P K C
        return held.flatten(1) @ self.weight.flatten(0, 1) / self.number(near, around)

    def number(self, near: Float[Tensor, "P k C"], around: Around) -> Float[Tensor, "P 1"]:
        """What the sum is divided by."""
        return around.count.clamp_min(1)[:, None]


def neighbours_of(
    features: Float[Tensor, "N C"], around: Around, absent: float | int = 0
) -> Float[Tensor, "P k C"]:
    """The features of each one's neighbours; `absent` where there is none."""
    return nn.functional.pad(features, (0, 0, 0, 1), value=float(absent))[around.rows]


def influence(
    offset: Float[np.ndarray, "P k 3"],
    present: Bool[np.ndarray, "P k"],
    kernel: Float[np.ndarray, "K 3"],
    extent: float | int,
) -> Float[np.ndarray, "P k K"]:
    """How near each neighbour is to each kernel point: 1 on it, falling evenly to 0 at the distance `extent`;
    0 of neighbours that are not present, whose offsets may be anything.
    """
    step = np.where(present[..., None], offset, 0.0)
    gap = np.sqrt(np.maximum((step**2).sum(-1)[..., None] + (kernel**2).sum(-1) - 2 * step @ kernel.T, 0))
    return np.maximum(1 - gap / extent, 0) * present[..., None]


def kernel_points(count: int) -> Float[np.ndarray, "K 3"]:
    """One point in the middle and the others around it, at a mean distance of 1.

    Each pair repels with the energy 1 / distance and the middle attracts with the squared distance, as in
    the paper's supplement; of ten starts with a fixed seed the one that ends with the least energy.
    Raises ValueError for fewer than two points.
    """
    if count < 2:
        raise ValueError(f"count {count}: wanted at least 2 kernel points")
    dice = np.random.default_rng(0)
    starts = dice.standard_normal((_STARTS, 3 * (count - 1)))
    found = min((minimize(_energy, x, jac=True, method="BFGS") for x in starts), key=lambda f: float(f.fun))
    outer = found.x.reshape(-1, 3)
    outer = outer / np.linalg.norm(outer, axis=1).mean()
    return np.concatenate([np.zeros((1, 3)), outer])


def _energy(flat: np.ndarray) -> tuple[float, np.ndarray]:
    """The energy of the outer points with the one in the middle, and its gradient."""
    outer = flat.reshape(-1, 3)
    points = np.concatenate([np.zeros((1, 3)), outer])
    step = points[:, None] - points
    gap = np.linalg.norm(step, axis=-1)
    np.fill_diagonal(gap, np.inf)
    pull = -(step / gap[..., None] ** 3).sum(1)[1:]
    return float((1 / gap).sum() / 2 + (outer**2).sum()), (pull + 2 * outer).ravel()
