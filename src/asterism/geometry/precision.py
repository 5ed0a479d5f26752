"""Coordinates keep the precision they came with, also where the caller runs a network under autocast."""

import torch
from torch import Tensor


def full_precision(like: Tensor) -> torch.autocast:
    """A context without autocast: a matmul in half precision would round coordinates to whole pixels."""
    return torch.autocast(like.device.type, enabled=False)
