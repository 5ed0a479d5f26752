"""PointNet's trunk (Qi et al., CVPR 2017): the same small network for each point, and the maximum over
points.
"""

from collections.abc import Sequence

from jaxtyping import Bool, Float
from torch import Tensor, nn


class PointNet(nn.Module):
    """Widths such as (64, 128, 256): ReLU after each layer but the last, no normalisation, the maximum."""

    def __init__(self, widths: Sequence[int], channels: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((channels, *widths), widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, points: Float[Tensor, "B N C"], valid: Bool[Tensor, "B N"]) -> Float[Tensor, "B D"]:
        """One code per cloud. Points that are not valid may be anything, NaN too."""
        held = points.masked_fill(~valid[..., None], 0.0)
        return self.layers(held).masked_fill(~valid[..., None], float("-inf")).amax(1)
