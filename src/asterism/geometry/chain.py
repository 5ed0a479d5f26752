"""Cameras placed from one board that they see together: relative poses, a tree of them, and the boards.

A board may look the same after a turn (a chessboard after half a turn): its poses are then known up to
`symmetries`, "S 3 4", a group of board_from_board with the identity first. The relative pose of two cameras
is the one that most moments agree on, over all turns; a wrong turn gives another pose at every moment, as
long as the board moves.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from asterism.geometry import rigid
from asterism.geometry.precision import full_precision
from asterism.geometry.so3 import angle_between, nearest

_CAP = 0.2  # radians, or shares of the distance to the board: poses that differ by more do not agree
_ROUNDS = 20  # of reweighting


@dataclass(frozen=True)
class Relative:
    """a_from_b "3 4", the moments that agree "F", and how many agree with the best quite different pose."""

    a_from_b: Float[Tensor, "3 4"]
    agree: Bool[Tensor, " F"]
    rival: int


def relative(
    a: Float[Tensor, "F 3 4"], b: Float[Tensor, "F 3 4"], symmetries: Float[Tensor, "S 3 4"]
) -> Relative:
    """One camera in another from their poses of the board, cam_from_board, at the same moments."""
    f, s = len(a), len(symmetries)
    unit = b[:, :, 3].norm(dim=-1).median()
    turned = rigid.compose(a.repeat_interleave(s, dim=0), symmetries.repeat(f, 1, 1))  # FS 3 4
    every = rigid.compose(turned, rigid.inverse(b).repeat_interleave(s, dim=0)).unflatten(0, (f, s))
    trial = every.flatten(0, 1)
    off, _ = _apart(trial[:, None, None], every[None], unit).min(-1)  # FS F
    score = off.clamp(max=_CAP).sum(1)
    best = int(score.argmin())
    near = off < _CAP
    other = _apart(trial, trial[best], unit) > 2 * _CAP
    rival = int(near.sum(1)[other].max()) if other.any() else 0
    found, agree = trial[best], near[best]
    for _ in range(_ROUNDS):
        off, which = _apart(every, found, unit).min(-1)
        agree = off < _CAP
        weight = torch.where(agree, 1 / off.clamp_min(1e-4), 0)
        found = _mean(every[torch.arange(f), which], weight)
    return Relative(found, agree, rival)


def tree(weight: Int[Tensor, "V V"]) -> tuple[list[tuple[int, int]], list[list[int]]]:
    """The maximum spanning tree as (parent, child) from camera 0 on, and all parts that are joined.

    Prim 1957. Of equal weights the camera that comes first is taken; nothing else is a matter of order.
    """
    v = len(weight)
    parts, edges, left = [], [], list(range(v))
    while left:
        part = [left.pop(0)]
        while True:
            found = [(int(weight[i, j]), -i, -j) for i in part for j in left if weight[i, j] > 0]
            if not found:
                break
            _, i, j = max(found)
            part.append(-j)
            left.remove(-j)
            edges.append((-i, -j))
        parts.append(sorted(part))
    return edges, parts


def placed(
    cam_from_world: Float[Tensor, "V 3 4"],
    cam_from_board: Float[Tensor, "V 3 4"],
    symmetries: Float[Tensor, "S 3 4"],
) -> tuple[Float[Tensor, "3 4"], Int[Tensor, " V"], Float[Tensor, " V"]]:
    """world_from_board that most cameras agree on, which turn each camera saw, and how far off it is."""
    v, s = len(cam_from_world), len(symmetries)
    unit = cam_from_board[:, :, 3].norm(dim=-1).median()
    turned = rigid.compose(cam_from_board.repeat_interleave(s, dim=0), symmetries.repeat(v, 1, 1))
    every = rigid.compose(rigid.inverse(cam_from_world).repeat_interleave(s, dim=0), turned).unflatten(
        0, (v, s)
    )
    first = every[:, 0]
    off, _ = _apart(first[:, None, None], every[None], unit).min(-1)  # V V
    best = first[int(off.clamp(max=_CAP).sum(1).argmin())]
    far, which = _apart(every, best, unit).min(-1)
    return best, which, far


def _apart(x: Tensor, y: Tensor, unit: Tensor) -> Tensor:
    """How far poses are apart: radians plus shift in units of the distance to the board."""
    x, y = torch.broadcast_tensors(x, y)
    return angle_between(x[..., :3], y[..., :3]) + (x[..., 3] - y[..., 3]).norm(dim=-1) / unit


def _mean(poses: Tensor, weight: Tensor) -> Tensor:
    share = (weight / weight.sum().clamp_min(1e-300))[:, None, None]
    with full_precision(poses):
        turn = nearest((share * poses[..., :3]).sum(0))
    return torch.cat([turn, (share * poses[..., 3:]).sum(0)], dim=-1)
