"""Multiply-adds and parameters against the closed forms of layers."""

from dataclasses import dataclass

import torch
from torch import nn

from asterism.engine.cost import cost_of
from asterism.methods.base import Method
from asterism.types import Clips, Images, Keypoints2D


@dataclass(frozen=True)
class Sizes:
    input_size: tuple[int, int] = (24, 32)
    width: int = 5


class Counted(Method[Images, torch.Tensor, Keypoints2D]):
    """A strided convolution and a linear layer: costs known on paper."""

    name, family, paper, link = "counted", "pose2d", "none", "none"
    Config, presets = Sizes, {"paper": Sizes(), "small": Sizes(), "tiny": Sizes()}
    takes, gives = Images, Keypoints2D

    def __init__(self, config: Sizes) -> None:
        super().__init__(config)
        self.conv = nn.Conv2d(3, config.width, 3, stride=2, padding=1)
        self.linear = nn.Linear(config.width, 7)

    def forward(self, batch: Images) -> torch.Tensor:
        return self.linear(self.conv(batch.image).mean((-1, -2)))

    def decode(self, raw: torch.Tensor, batch: Images) -> Keypoints2D:
        return Keypoints2D(xy=raw[:, :6].reshape(-1, 3, 2), score=raw[:, :3])


class ClipCounted(Counted):
    takes = Clips

    def forward(self, batch: Clips) -> torch.Tensor:
        return self.linear(self.conv(batch.image.flatten(0, 1)).mean((-1, -2)))


class NoSize(Counted):
    @dataclass(frozen=True)
    class Config(Sizes):
        input_size: None = None


def test_a_convolution_and_a_linear_layer():
    cost = cost_of(Counted, Sizes())
    assert cost.parameters == (3 * 9 + 1) * 5 + (5 + 1) * 7
    assert cost.macs == 12 * 16 * 5 * 3 * 9 + 5 * 7


def test_a_clip_costs_per_picture():
    assert cost_of(ClipCounted, Sizes()).macs == 2 * cost_of(Counted, Sizes()).macs


def test_without_a_fixed_size_only_the_parameters_are_known():
    cost = cost_of(NoSize, NoSize.Config())
    assert cost.macs is None and cost.parameters == cost_of(Counted, Sizes()).parameters


def test_nothing_is_computed_and_no_random_number_is_drawn():
    before = torch.get_rng_state()
    cost_of(Counted, Sizes(input_size=(2**14, 2**14)))  # 3 GB of picture, were it held
    assert torch.equal(before, torch.get_rng_state())
