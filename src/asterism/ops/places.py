"""Places that points start from, and what the spread of their maps is worth.

Logits that are all alike put every point into the middle, where all of them get the same gradient. So each
starts in a Gaussian about a place of its own, which is let go of while the network learns.
"""

from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from asterism.geometry import affine
from asterism.geometry.coords import pixel_grid, xy_from_uv
from asterism.ops.readout import Readout
from asterism.types import Images, Keypoints2D


def jittered(k: int, size: tuple[int, int]) -> Float[Tensor, "k 2"]:
    """k places in the middle half of a picture of `size` (h, w), one at random in each cell of a grid."""
    h, w = size
    columns = max(1, round(sqrt(k * w / h)))
    rows = -(-k // columns)
    index = torch.randperm(rows * columns)[:k]
    cell = torch.stack([index % columns, index // columns], dim=-1) + torch.rand(k, 2)
    return (0.25 + 0.5 * cell / torch.tensor([columns, rows])) * torch.tensor([w - 1.0, h - 1.0])


def farness(
    start: Float[Tensor, "K 2"], cells: tuple[int, int], stride: int | float, reach: int | float
) -> Float[Tensor, "K h w"]:
    """d^2 / (2 reach^2) of every cell from each place, in pixels: what to take from a logarithm."""
    grid = xy_from_uv(pixel_grid(cells, like=start), stride)
    return (grid - start[:, None, None]).square().sum(-1) / (2 * reach**2)


def hold_left(progress: int | float, until: int | float) -> float:
    """How strongly points are held when `progress` of the training is over: 1 at first, 0 from `until` on."""
    return max(0.0, 1 - progress / until) if until > 0 else 0.0


def keypoints_by_spread(found: Readout, batch: Images) -> Keypoints2D:
    """In the source; the score is 1 less the variance of a map, as a share of that of a flat one."""
    flat = sum(side**2 for side in batch.image.shape[2:]) / 12  # variance of a uniform picture
    spread = found.cov.diagonal(dim1=-2, dim2=-1).sum(-1)
    turn = batch.to_source[:, None, :, :2]
    return Keypoints2D(
        xy=affine.apply(batch.to_source, found.xy),
        score=(1 - spread / flat).clamp(0, 1),
        cov=turn @ found.cov @ turn.mT,
        maps=found.maps,
    )
