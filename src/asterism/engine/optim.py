"""Optimisers, schedules and averaged weights from a Recipe; forward passes in bfloat16."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from asterism.methods.base import Method
from asterism.types import Recipe


def optimisers(recipe: Recipe, groups: Mapping[str, list[nn.Parameter]]) -> dict[str, Optimizer]:
    """One optimiser per group. Raises ValueError for a name that types.Recipe does not list."""
    lr, decay = recipe.lr, recipe.weight_decay
    make = {
        "adam": lambda p: Adam(p, lr=lr, weight_decay=decay),
        "adamw": lambda p: AdamW(p, lr=lr, weight_decay=decay),
        "sgd": lambda p: SGD(p, lr=lr, weight_decay=decay, momentum=0.9),
        "rmsprop": lambda p: RMSprop(p, lr=lr, weight_decay=decay),
    }
    if recipe.optimiser not in make:
        raise ValueError(f"optimiser '{recipe.optimiser}': wanted one of {', '.join(make)}")
    return {name: make[recipe.optimiser](parameters) for name, parameters in groups.items()}


def rate(recipe: Recipe, progress: float) -> float:
    """The learning rate when `progress` (0 to 1) of the run is over."""
    rising = min(1.0, progress / recipe.warmup) if recipe.warmup > 0 else 1.0
    if recipe.schedule == "constant":
        return recipe.lr * rising
    if recipe.schedule == "cosine":
        return recipe.lr * rising * (1 + math.cos(math.pi * min(progress, 1.0))) / 2
    if recipe.schedule == "steps":
        return recipe.lr * rising * 0.1 ** sum(m <= progress for m in recipe.milestones)
    raise ValueError(f"schedule '{recipe.schedule}': wanted constant, cosine or steps")


class Average:
    """Exponentially averaged weights and running statistics.

    The decay rises as (1 + n) / (10 + n) up to the recipe's (tf.train.ExponentialMovingAverage): a short
    run would otherwise average in its random beginning.
    """

    def __init__(self, method: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.state = {k: v.detach().clone() for k, v in method.state_dict().items()}

    @torch.no_grad()
    def update(self, method: nn.Module) -> None:
        self.updates += 1
        new = method.state_dict()
        weight = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        averaged = [k for k, v in new.items() if v.is_floating_point()]
        torch._foreach_lerp_([self.state[k] for k in averaged], [new[k] for k in averaged], weight)
        for key, value in new.items():
            if not value.is_floating_point():
                self.state[key].copy_(value)

    @contextmanager
    def worn(self, method: nn.Module) -> Iterator[None]:
        """The method has the averaged weights while the context lasts."""
        own = {k: v.detach().clone() for k, v in method.state_dict().items()}
        method.load_state_dict(self.state)
        try:
            yield
        finally:
            method.load_state_dict(own)


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 natively: twice as fast on such a CPU, slower on others."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    known = getattr(torch.cpu, "get_capabilities", dict)()  # newer than the oldest torch we take
    return device.type == "cpu" and bool(known.get("avx512_bf16") or known.get("amx_bf16"))


@contextmanager
def forward_in_bfloat16(method: Method, device: str) -> Iterator[None]:
    """`forward`, the network, runs under autocast; what it returns is float32 again.

    The losses and the geometry stay outside: a coordinate has 8 significant bits in bfloat16, which is whole
    pixels in a picture of 512.
    """
    forward = method.forward

    def half(batch: Any) -> Any:
        with torch.autocast(device, torch.bfloat16):
            raw = forward(batch)
        return _in_float32(raw)

    method.forward = half  # found before the class's own, by self(batch) and self.forward(batch) alike
    try:
        yield
    finally:
        del method.forward


def _in_float32(raw: Any) -> Any:
    if isinstance(raw, Tensor):
        return raw.float() if raw.dtype == torch.bfloat16 else raw
    if isinstance(raw, dict):
        return {key: _in_float32(value) for key, value in raw.items()}
    if isinstance(raw, tuple) and hasattr(raw, "_fields"):
        return type(raw)(*map(_in_float32, raw))
    if isinstance(raw, list | tuple):
        return type(raw)(map(_in_float32, raw))
    if is_dataclass(raw) and not isinstance(raw, type):
        return replace(raw, **{f.name: _in_float32(getattr(raw, f.name)) for f in fields(raw)})
    return raw
