"""Where training runs: the device, and the processes that torchrun started."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn

from asterism.errors import RequestError


def pick_device(name: str = "auto") -> torch.device:
    """auto is CUDA, else Apple's GPU, else the CPU. Raises RequestError for a device that is not here."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros((), device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise RequestError(f"device '{name}': {reason}; wanted auto, cpu, cuda, cuda:N or mps") from error
    return device


@dataclass(frozen=True)
class Team:
    """The processes that train together; one alone unless torchrun started several."""

    rank: int = 0
    world: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    @torch.no_grad()
    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        """Every process gets the mean of all gradients. One that has none counts as zero."""
        if self.world == 1:
            return
        with_gradient = [p for p in parameters if p.requires_grad]
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in with_gradient]
        flat = torch.cat([part.flatten() for part in parts])  # one message, not one per parameter
        dist.all_reduce(flat)
        for parameter, part in zip(with_gradient, (flat / self.world).split([p.numel() for p in parts])):
            parameter.grad = part.view_as(parameter)

    def follow(self, module: nn.Module) -> None:
        """Every process takes the weights and buffers of the first."""
        if self.world > 1:
            for value in module.state_dict().values():
                dist.broadcast(value, src=0)

    def agree(self, values: list[float], device: torch.device) -> list[float]:
        """The first process's values: all see the same clock and stop at the same step."""
        if self.world == 1:
            return values
        shared = torch.tensor(values, device=device, dtype=torch.float64)
        dist.broadcast(shared, src=0)
        return shared.tolist()


def leads() -> bool:
    """Whether this process writes run.json: the first that torchrun started, or the only one."""
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def team(device: torch.device) -> Iterator[Team]:
    """Join the processes that torchrun started; a group that exists already is used and left standing."""
    if dist.is_initialized():
        yield Team(dist.get_rank(), dist.get_world_size())
    elif int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Team()
    else:
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        try:
            yield Team(dist.get_rank(), dist.get_world_size())
        finally:
            dist.destroy_process_group()
