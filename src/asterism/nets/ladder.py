"""A ladder of strided convolutions down, and a renderer that doubles back up.

The two halves of an autoencoder through a bottleneck of points: Jakab, Gupta, Bilen, Vedaldi, Unsupervised
Learning of Object Landmarks through Conditional Image Generation, NeurIPS 2018; Kulkarni et al., Unsupervised
Learning of Object Keypoints for Perception and Control, NeurIPS 2019. They use batch normalisation; here it
is GroupNorm (Wu, He, ECCV 2018), which never mixes the pictures of a batch, in training either.

A convolution that halves is 4x4, not 3x3: its window is then centred on the cell that it makes, and a map
lies where the picture does.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

GROUP = 8  # channels that are normalised together
FIRST = 7  # pixels that the first kernel spans, about: 7x7, and 3x3 where blocks of 2x2 were folded


class Ladder(nn.Module):
    """Features at strides fold, 2 fold, 4 fold, ..., with widths[0], widths[1], ... channels.

    With `fold` above 1, blocks of fold x fold pixels become channels first: the finest scale is the dearest
    on a CPU. Height and width of the input must be multiples of `stride`, that of the last features;
    ValueError otherwise.
    """

    def __init__(self, in_channels: int, widths: Sequence[int], *, fold: int = 1) -> None:
        super().__init__()
        if not widths or any(w % GROUP for w in widths):
            raise ValueError(f"widths: wanted multiples of {GROUP}, got {tuple(widths)}")
        self.fold, self.stride, self.out_features = fold, fold * 2 ** (len(widths) - 1), widths[-1]
        c = in_channels * fold**2
        first = max(3, FIRST // fold // 2 * 2 + 1)  # odd
        rungs = [nn.Sequential(*_conv(c, widths[0], first), *_conv(widths[0], widths[0], 3))]
        for a, b in pairwise(widths):
            rungs.append(nn.Sequential(*_conv(a, b, 4, stride=2), *_conv(b, b, 3)))
        self.rungs = nn.ModuleList(rungs)

    def features(self, image: Float[Tensor, "B C H W"]) -> list[Tensor]:
        """What every rung makes, the finest first."""
        if image.shape[2] % self.stride or image.shape[3] % self.stride:
            raise ValueError(f"wanted a size in multiples of {self.stride}, got {tuple(image.shape[2:])}")
        x, found = F.pixel_unshuffle(image, self.fold), []
        for rung in self.rungs:
            x = rung(x)
            found.append(x)
        return found

    def forward(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B F h w"]:
        return self.features(image)[-1]


class Renderer(nn.Module):
    """Maps at the stride of Ladder(widths, fold) to a picture: the same widths, from the last to the first.

    Two 3x3 convolutions per scale (one at the finest) and bilinear doubling; the picture comes out unbounded.
    """

    def __init__(self, in_channels: int, out_channels: int, widths: Sequence[int], *, fold: int = 1) -> None:
        super().__init__()
        if not widths or any(w % GROUP for w in widths):
            raise ValueError(f"widths: wanted multiples of {GROUP}, got {tuple(widths)}")
        self.fold = fold
        c, blocks = in_channels, []
        for level, width in reversed(list(enumerate(widths))):
            second = _conv(width, width, 3) if level or len(widths) == 1 else []
            blocks.append(nn.Sequential(*_conv(c, width, 3), *second))
            c = width
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Conv2d(c, out_channels * fold**2, 3, padding=1)

    def forward(self, maps: Float[Tensor, "B F h w"]) -> Float[Tensor, "B C H W"]:
        x = self.blocks[0](maps)
        for block in self.blocks[1:]:
            x = block(F.interpolate(x, scale_factor=2, mode="bilinear"))
        return F.pixel_shuffle(self.head(x), self.fold)


def _conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    padding = (kernel - 1) // 2
    return [
        nn.Conv2d(in_channels, out_channels, kernel, stride, padding, bias=False),
        nn.GroupNorm(out_channels // GROUP, out_channels),
        nn.ReLU(inplace=True),
    ]
