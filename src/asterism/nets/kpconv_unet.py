"""A U of kernel point convolutions: each point learns of ever larger surroundings and keeps what it saw near.

The fully convolutional network of Thomas et al., "KPConv", ICCV 2019, as D3Feat has it (Bai et al., CVPR
2020): one residual block and one with a stride on each level; the way up is the nearest coarse point beside
what the level had on the way down, through one layer of single points.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from asterism.nets.kpconv import Around, KPConv, neighbours_of
from asterism.nets.kpconv_pyramid import Pyramid

_SLOPE = 0.1  # of LeakyReLU
_MOMENTUM = 0.02  # of BatchNorm, as in the authors' code


class _Unary(nn.Sequential):
    """A layer of single points."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(
            nn.Linear(channels, out, bias=False),
            nn.BatchNorm1d(out, momentum=_MOMENTUM),
            nn.LeakyReLU(_SLOPE),
        )


class _Block(nn.Module):
    """A narrow convolution between two layers of single points, and a way past them.

    Where the points that are asked are not those that are looked at, the largest neighbour goes past.
    """

    def __init__(self, kernel: int, channels: int, out: int) -> None:
        super().__init__()
        narrow = max(out // 4, 1)
        self.first = _Unary(channels, narrow)
        self.conv = KPConv(kernel, narrow, narrow)
        self.norm = nn.BatchNorm1d(narrow, momentum=_MOMENTUM)
        self.last = nn.Linear(narrow, out, bias=False)
        self.last_norm = nn.BatchNorm1d(out, momentum=_MOMENTUM)
        self.past: nn.Module = nn.Identity()
        if channels != out:
            past = nn.Linear(channels, out, bias=False)
            self.past = nn.Sequential(past, nn.BatchNorm1d(out, momentum=_MOMENTUM))
        self.act = nn.LeakyReLU(_SLOPE)

    def forward(self, features: Float[Tensor, "N C"], around: Around, strided: bool) -> Float[Tensor, "P D"]:
        held = self.act(self.norm(self.conv(self.first(features), around)))
        past = neighbours_of(features, around, -torch.inf).amax(1) if strided else features
        return self.act(self.last_norm(self.last(held)) + self.past(past))


class KPConvUNet(nn.Module):
    """From 1 at each point to `out` numbers of each point of level 0; the width doubles at each level."""

    def __init__(self, kernel: int, width: int, levels: int, out: int) -> None:
        super().__init__()
        self.first = KPConv(kernel, 1, width)
        self.norm = nn.Sequential(nn.BatchNorm1d(width, momentum=_MOMENTUM), nn.LeakyReLU(_SLOPE))
        widths = [2 * width * 2**level for level in range(levels)]
        before = [width, *widths[:-1]]
        self.own = nn.ModuleList(_Block(kernel, b, w) for b, w in zip(before, widths))
        self.down = nn.ModuleList(_Block(kernel, w, w) for w in widths[:-1])
        self.up = nn.ModuleList(_Unary(w + 2 * w, w) for w in widths[:-1])
        self.last = nn.Linear(widths[0], out)

    def forward(self, pyramid: Pyramid) -> Float[Tensor, "P out"]:
        held = self.norm(self.first(pyramid.points[0].new_ones(len(pyramid.points[0]), 1), pyramid.own[0]))
        seen = []
        for level, block in enumerate(self.own):
            held = block(held, pyramid.own[level], strided=False)
            if level < len(self.down):
                seen.append(held)
                held = self.down[level](held, pyramid.down[level], strided=True)
        for level in reversed(range(len(self.up))):
            held = self.up[level](torch.cat([held[pyramid.up[level]], seen[level]], dim=1))
        return self.last(held)
