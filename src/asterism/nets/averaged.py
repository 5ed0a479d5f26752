"""A slow copy of a network: the moving average of its weights, which no optimiser touches."""

from copy import deepcopy
from typing import TypeVar

import torch
from torch import nn

N = TypeVar("N", bound=nn.Module)


def frozen_copy(network: N) -> N:
    """A copy whose weights are buffers: saved and moved with the rest, but nobody's parameters.

    A gradient still flows through it to what it looks at.
    """
    copy = deepcopy(network)
    for module in copy.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, weight.detach())
    return copy


@torch.no_grad()
def follow(copy: nn.Module, network: nn.Module, decay: int | float) -> None:
    """The copy's weights become `decay` times themselves plus the rest of the network's."""
    own = dict(copy.named_buffers())
    for name, weight in network.named_parameters():
        own[name].lerp_(weight.detach(), 1 - decay)
