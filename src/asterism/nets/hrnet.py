"""HRNet (Sun, Xiao, Liu, Wang, CVPR 2019): resolutions side by side that exchange what they know.

The highest resolution, a quarter of the image, is kept from beginning to end; each stage adds one of half the
size and twice the width. Within a stage rounds follow each other: residual blocks on every resolution alone,
then an exchange in which each one receives the sum of all.
"""

from functools import reduce

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from asterism.nets.resnet import EXPANSION, basic, begin_by_fan, begin_small, bottleneck, normed

STRIDE = 4  # of the maps: two convolutions of the stem halve the image

Branches = list[Tensor]  # from high to low resolution


class Exchange(nn.Module):
    """Every output is the sum of all inputs: lower ones through 1x1 and repetition, higher ones through
    strided 3x3 convolutions. `n_out` outputs of the highest resolutions.
    """

    def __init__(self, widths: list[int], n_out: int) -> None:
        super().__init__()
        self.outputs = nn.ModuleList(
            nn.ModuleList(_path(widths, i, j) for j in range(len(widths))) for i in range(n_out)
        )

    def forward(self, branches: Branches) -> Branches:
        out = []
        for paths in self.outputs:
            assert isinstance(paths, nn.ModuleList)
            parts = [path(x) for path, x in zip(paths, branches)]
            out.append(F.relu(reduce(torch.add, parts)))
        return out


def _path(widths: list[int], i: int, j: int) -> nn.Module:
    """From resolution j to resolution i; 0 is the highest."""
    if i == j:
        return nn.Identity()
    if i < j:
        return nn.Sequential(*normed(widths[j], widths[i], 1), nn.Upsample(scale_factor=float(2 ** (j - i))))
    last = nn.Sequential(*normed(widths[j], widths[i], 3, 2))
    return nn.Sequential(*(_down(widths[j], widths[j]) for _ in range(i - j - 1)), last)


def _down(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(*normed(in_channels, out_channels, 3, 2), nn.ReLU(inplace=True))


class Round(nn.Module):
    """Residual blocks on each resolution, then an exchange, or none (`n_out` 0)."""

    def __init__(self, widths: list[int], blocks: int, n_out: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*(basic(w, w) for _ in range(blocks))) for w in widths)
        self.exchange = Exchange(widths, n_out) if n_out else nn.Identity()

    def forward(self, branches: Branches) -> Branches:
        return self.exchange([branch(x) for branch, x in zip(self.branches, branches)])


class Stage(nn.Module):
    """Makes the new, lowest resolution out of the one above it, then rounds."""

    def __init__(self, enter: list[nn.Module], rounds: list[nn.Module]) -> None:
        super().__init__()
        self.enter = nn.ModuleList(enter)
        self.rounds = nn.Sequential(*rounds)

    def forward(self, branches: Branches) -> Branches:
        given = branches + branches[-1:] * (len(self.enter) - len(branches))
        return self.rounds([enter(x) for enter, x in zip(self.enter, given)])


class HighResolution(nn.Module):
    """One map per output channel at a quarter of the image.

    `rounds` counts those of each stage, so that three numbers are four resolutions in the end; `exchanges`
    are the rounds that end in one, counted from 0 over all stages (None is every round). `blocks` per
    resolution and round; `bottlenecks` of the first stage, of middle width `stem`; `by_fan` begins all
    but the head with He's weights instead of small ones. Sides of the image must be multiples of
    4 * 2 ** stages, and the last round must exchange; ValueError otherwise.
    """

    def __init__(
        self,
        out_channels: int,
        *,
        width: int = 32,
        rounds: tuple[int, ...] = (1, 4, 3),
        exchanges: tuple[int, ...] | None = None,
        blocks: int = 4,
        bottlenecks: int = 4,
        stem: int = 64,
        by_fan: bool = False,
    ) -> None:
        super().__init__()
        last = sum(rounds) - 1
        chosen = range(last + 1) if exchanges is None else exchanges
        if last not in chosen:
            raise ValueError(f"exchanges: {tuple(chosen)} lack {last}, the last round: nothing would be used")
        self.multiple = STRIDE * 2 ** len(rounds)
        self.stem = nn.Sequential(
            *(*normed(3, stem, 3, 2), nn.ReLU(inplace=True)),
            *(*normed(stem, stem, 3, 2), nn.ReLU(inplace=True)),
        )
        wide = EXPANSION * stem
        self.first = nn.Sequential(*(bottleneck(wide if i else stem, stem) for i in range(bottlenecks)))
        stages, done = [], 0
        for level, n in enumerate(rounds, start=1):
            widths = [width << i for i in range(level + 1)]
            if level == 1:
                keep = nn.Sequential(*normed(wide, width, 3), nn.ReLU(inplace=True))
                enter: list[nn.Module] = [keep, _down(wide, widths[1])]
            else:
                enter = [*(nn.Identity() for _ in range(level)), _down(widths[-2], widths[-1])]
            numbers = range(done, done + n)
            outs = [(1 if i == last else level + 1) if i in chosen else 0 for i in numbers]
            stages.append(Stage(enter, [Round(widths, blocks, n_out) for n_out in outs]))
            done += n
        self.stages = nn.Sequential(*stages)
        self.head = nn.Conv2d(width, out_channels, 1)
        begin_small(self)
        if by_fan:
            begin_by_fan(nn.ModuleList([self.stem, self.first, self.stages]))

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B K h w"]:
        if image.shape[2] % self.multiple or image.shape[3] % self.multiple:
            raise ValueError(f"wanted a size in multiples of {self.multiple}, got {tuple(image.shape[2:])}")
        return self.head(self.stages([self.first(self.stem(image))])[0])
