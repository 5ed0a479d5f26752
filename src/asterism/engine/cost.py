"""What a method costs: its parameters, and the multiply-adds of one forward pass."""

from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from asterism.methods.base import Method
from asterism.types import Clips, Images, Struct


@dataclass(frozen=True)
class Cost:
    parameters: int
    macs: int | None  # of one batch of one; None where the input has no fixed size


def cost_of(method: type[Method], config: Any) -> Cost:
    """Counted on the meta device: no memory is taken and nothing is computed.

    The multiply-adds are those of convolutions, matrix products and attention; additions, activations and
    normalisation are left out, as papers do.
    """
    with torch.device("meta"):
        built = method(config).eval()
        batch = _example(method, config)
        parameters = sum(p.numel() for p in built.parameters())
        if batch is None:
            return Cost(parameters, None)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            built(batch)
    return Cost(parameters, counter.get_total_flops() // 2)


def _example(method: type[Method], config: Any) -> Struct | None:
    size = getattr(config, "input_size", None)
    if size is None:
        return None
    if issubclass(method.takes, Images):
        return Images(image=torch.zeros(1, 3, *size), to_source=torch.zeros(1, 2, 3))
    if issubclass(method.takes, Clips):
        return Clips(image=torch.zeros(1, 2, 3, *size), to_source=torch.zeros(1, 2, 2, 3))
    return None
