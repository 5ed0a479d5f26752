"""Least squares by Levenberg and Marquardt, for many small problems at once."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Unknowns = tuple[Tensor, ...]  # each with the problems as its first axis
System = tuple[
    Float[Tensor, " B"], Float[Tensor, "B d d"], Float[Tensor, "B d"]
]  # cost, normal matrix, gradient
_FLOOR = 1e-12  # of the largest diagonal: a direction that nothing is known of does not move


def solve(normal: Float[Tensor, "B d d"], gradient: Float[Tensor, "B d"]) -> Float[Tensor, "B d"]:
    """A solution without a check: a singular system gives a step that is found not to help."""
    return torch.linalg.solve_ex(normal, gradient).result


def minimise(
    system: Callable[[Unknowns], System],
    move: Callable[[Unknowns, Tensor], Unknowns],
    unknowns: Unknowns,
    *,
    steps: int,
    least: float,
    solver: Callable[[Tensor, Tensor], Tensor] = solve,
) -> tuple[Unknowns, Float[Tensor, " B"]]:
    """The unknowns of least cost, and that cost. `system` gives J^T W J and J^T W r; `move` takes a step.

    Damping is scaled by the diagonal (Marquardt, SIAM 1963); a step that does not help is undone. Ends after
    `steps`, or when no problem gains more than the share `least` of its cost.
    """
    state = system(unknowns)
    damping = torch.full_like(state[0], 1e-3)  # Marquardt's start
    for _ in range(steps):
        cost, normal, gradient = state
        diagonal = normal.diagonal(dim1=-2, dim2=-1)
        extra = damping[:, None] * diagonal + _FLOOR * diagonal.amax(-1, keepdim=True).clamp_min(_FLOOR)
        trial = move(unknowns, -solver(normal + torch.diag_embed(extra), gradient))
        new = system(trial)
        better = new[0] < cost
        cost_now, normal_now, gradient_now = (_where(better, n, o) for n, o in zip(new, state))
        state = (cost_now, normal_now, gradient_now)
        unknowns = tuple(_where(better, n, o) for n, o in zip(trial, unknowns))
        damping = torch.where(better, damping / 10, damping * 10)
        if not (cost - new[0] > least * cost).any():
            break
    return unknowns, state[0]


def _where(better: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(better.reshape(-1, *[1] * (old.ndim - 1)), new, old)
