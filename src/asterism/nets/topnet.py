"""TopNet's decoder: a code grows into points as a tree grows leaves (Tchapmi et al., "TopNet: Structural
Point Cloud Decoder", CVPR 2019, section 3).
"""

import itertools
from collections.abc import Sequence
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor, nn


class TopNet(nn.Module):
    """`arms` are how many children a node has on each level: (2, 4, 4, 4, 4, 4) gives 2048 points.

    Each node but the root holds `features` numbers; it and the code give its children through one small
    network per level with `hidden` layers. Leaves are points, bounded by nothing.
    """

    def __init__(self, code: int, arms: Sequence[int], features: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.n_points = prod(arms)
        widths = [features] * (len(arms) - 1) + [3]
        befores = [code] + [code + features] * (len(arms) - 1)
        self.levels = nn.ModuleList(
            _layers((before, *hidden, arm * after)) for before, arm, after in zip(befores, arms, widths)
        )
        self.widths = tuple(widths)

    def forward(self, code: Float[Tensor, "B C"]) -> Float[Tensor, "B M 3"]:
        b, nodes = len(code), None
        for level, width in zip(self.levels, self.widths):
            if nodes is None:
                told = code[:, None]
            else:
                told = torch.cat([nodes.tanh(), code[:, None].expand(b, nodes.shape[1], -1)], dim=-1)
            nodes = level(told).reshape(b, -1, width)  # B (parents * arms) width
        assert nodes is not None
        return nodes


def _layers(sizes: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
