"""A small U-Net: features at every scale, few enough weights for a CPU.

Two 3x3 convolutions per scale, each with GroupNorm and ReLU; down by 2x2 averaging, up by bilinear doubling,
joined by concatenation (Ronneberger, Fischer, Brox, U-Net, MICCAI 2015). GroupNorm (Wu, He, ECCV 2018), not
batch statistics: a picture's maps never depend on what else is in its batch, in training either.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

GROUP = 8  # channels that are normalised together


class ConvBlock(nn.Sequential):
    """Two 3x3 convolutions with GroupNorm and ReLU: in_channels to out_channels at the same size."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        layers: list[nn.Module] = []
        for c in (in_channels, out_channels):
            layers.append(nn.Conv2d(c, out_channels, 3, padding=1, bias=False))
            layers.append(nn.GroupNorm(max(1, out_channels // GROUP), out_channels))
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)


class UNet(nn.Module):
    """Maps at 1 / out_stride of the input; `features` gives the last feature map, of widths[...] channels.

    widths are the channels at strides 1, 2, 4, ...; out_stride is one of those strides. Height and width of
    the input must be multiples of the coarsest stride, 2 ** (len(widths) - 1); ValueError otherwise.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        widths: Sequence[int] = (16, 32, 64),
        out_stride: int = 1,
    ) -> None:
        super().__init__()
        strides = [2**level for level in range(len(widths))]
        if out_stride not in strides:
            raise ValueError(
                f"out_stride: wanted one of {strides} for {len(widths)} widths, got {out_stride}"
            )
        if any(w % GROUP for w in widths):
            raise ValueError(f"widths: wanted multiples of {GROUP}, got {tuple(widths)}")
        self.coarsest = strides[-1]
        top = strides.index(out_stride)
        self.down = nn.ModuleList(ConvBlock(a, b) for a, b in zip([in_channels, *widths], widths))
        # From the coarsest scale up to the one that is asked for; those above it have no use.
        self.up = nn.ModuleList(
            ConvBlock(widths[level + 1] + widths[level], widths[level])
            for level in reversed(range(top, len(widths) - 1))
        )
        self.out_features = widths[top]
        self.head = nn.Conv2d(self.out_features, out_channels, 1)

    def features(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B F h w"]:
        """The last feature map, before the 1x1 convolution that makes the output."""
        if image.shape[2] % self.coarsest or image.shape[3] % self.coarsest:
            raise ValueError(f"wanted a size in multiples of {self.coarsest}, got {tuple(image.shape[2:])}")
        x, skips = image, []
        for level, block in enumerate(self.down):
            x = block(F.avg_pool2d(x, 2) if level else x)
            skips.append(x)
        skips.pop()
        for block in self.up:
            x = F.interpolate(x, scale_factor=2, mode="bilinear")
            x = block(torch.cat([x, skips.pop()], dim=1))
        return x

    def forward(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K h w"]:
        return self.head(self.features(image))
