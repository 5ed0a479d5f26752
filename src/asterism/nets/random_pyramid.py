"""Features of a frozen network that never learned anything, to compare pictures with.

A convolution with random filters answers to edges, corners and textures of many directions; at several
scales that is enough to make a picture look like another: Ustyuzhaninov, Brendel, Gatys, Bethge, What does it
take to generate natural textures?, ICLR 2017; He, Wang, Hopcroft, A Powerful Generative Model Using Random
Weights for the Deep Image Representation, NeurIPS 2016. It needs no download and no licence.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class RandomPyramid(nn.Module):
    """The picture, then features of widths[0], widths[1], ... channels at strides 1, 2, 4, ...

    A level is a 3x3 convolution with normal filters (He et al., ICCV 2015: variance 2 / fan-in) and a ReLU;
    levels are joined by 2x2 averaging. Filters of the first level have mean zero, so that a flat region has
    no features; its colour is compared in the picture itself. The weights follow from `seed` alone, neither
    from nor into torch's random numbers; they are no parameters and are not saved.
    """

    def __init__(self, in_channels: int = 3, widths: Sequence[int] = (16, 32, 64), *, seed: int = 0) -> None:
        super().__init__()
        if not widths:
            raise ValueError("widths: wanted at least one level, got none")
        dice = np.random.default_rng(seed)
        channels = [in_channels, *widths]
        for level, (a, b) in enumerate(zip(channels, widths)):
            filters = dice.standard_normal((b, a, 3, 3)) * math.sqrt(2 / (9 * a))
            filters -= 0 if level else filters.mean((1, 2, 3), keepdims=True)
            weight = torch.from_numpy(filters).to(torch.get_default_dtype())
            self.register_buffer(f"weight{level}", weight, persistent=False)
        self.levels = len(widths)

    def forward(self, image: Float[Tensor, "B C H W"]) -> list[Tensor]:
        """Height and width of the image must be at least 2 ** (levels - 1)."""
        x, found = image, [image]
        for level in range(self.levels):
            x = F.avg_pool2d(x, 2) if level else x
            # The border is repeated: a frame of zeros would be the strongest edge of the picture.
            x = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), self.get_buffer(f"weight{level}")).relu()
            found.append(x)
        return found
