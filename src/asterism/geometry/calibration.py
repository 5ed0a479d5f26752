"""Cameras, lenses and boards at once: bundle adjustment where one rigid board is seen at many moments.

P pairs of a camera and a moment, V cameras, T moments, K corners of the board. Every moment has one pose of
the board, so cameras that see it together are tied. Triggs, McLauchlan, Hartley, Fitzgibbon, "Bundle
Adjustment: A Modern Synthesis", 1999: Schur complement, 6.1, here over the boards; Cauchy's loss as
reweighted least squares, 4.3. What may move is said by `free`, 15 columns per camera: COLUMNS.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from asterism.geometry import camera, rigid
from asterism.geometry.precision import full_precision
from asterism.geometry.so3 import moved, skew
from asterism.types import Cameras, Struct

COLUMNS = ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2", "k3", "rx", "ry", "rz", "tx", "ty", "tz")
LENS, ALL = 9, 15  # columns before the pose, and with it
_STEPS = 100  # Levenberg-Marquardt steps, at most
ENOUGH = 1e-13  # the relative gain of a step that ends the search
_BEHIND = 1e6  # squared pixels that a corner behind its camera costs


@dataclass(frozen=True, kw_only=True, repr=False)
class Views(Struct):
    """What was seen: row p is camera `camera[p]` at moment `moment[p]`; a pair occurs once."""

    camera: Int[Tensor, " P"]
    moment: Int[Tensor, " P"]
    xy: Float[Tensor, "P K 2"]
    valid: Bool[Tensor, "P K"]


@dataclass(frozen=True)
class Scene:
    """V cameras and the board's place at T moments, "T 3 4"."""

    cameras: Cameras
    world_from_board: Float[Tensor, "T 3 4"]


def adjust(
    scene: Scene,
    views: Views,
    board: Float[Tensor, "K 3"],
    free: Bool[Tensor, "V 15"],
    scale: float | int,
    *,
    least: float = ENOUGH,
) -> Scene:
    """The scene of least loss: Cauchy's of this scale in pixels, or squares where `scale` is infinite.

    Ends when a step wins less than the share `least` of the loss. Boards always move. Where nothing fixes
    the world (no camera's pose held) the result drifts: hold one.
    """
    state = _system(scene, views, board, scale)
    damping = 1e-3  # Marquardt's start, SIAM 1963
    for _ in range(_STEPS):
        step, turn = _step(state, free, damping)
        trial = _moved(scene, step, turn)
        new = _system(trial, views, board, scale)
        gain = float((state.cost - new.cost) / state.cost.clamp_min(1e-300))
        if gain > 0:
            scene, state, damping = trial, new, max(damping / 10, 1e-12)
        else:
            damping *= 10
        if abs(gain) < least or damping > 1e8:
            break
    return scene


def distances(scene: Scene, views: Views, board: Float[Tensor, "K 3"]) -> Float[Tensor, "P K"]:
    """Pixels from what was seen to the board's corners; infinite behind a camera."""
    shown, depth = camera.project(_pairs(scene, views), board.expand(len(views), -1, -1))
    return torch.where(depth > 0, (shown - views.xy).norm(dim=-1), torch.inf)


def deviations(
    scene: Scene, views: Views, board: Float[Tensor, "K 3"], free: Bool[Tensor, "V 15"], sigma: float | int
) -> Float[Tensor, "V 15 15"]:
    """Covariance of every camera's free columns, the boards' poses unknown too; zero in what was held.

    Hartley and Zisserman, Multiple View Geometry, 5.2. Infinite where the views do not determine it.
    """
    state = _system(scene, views, board, math.inf)
    schur, at, unit = _reduced(state, free, 0.0)[:3]
    v = len(scene.cameras)
    values, vectors = torch.linalg.eigh(schur)
    inverse = (vectors / values.clamp_min(1e-16)) @ vectors.T
    out = schur.new_zeros(v * ALL, v * ALL)
    out[at[:, None], at] = float(sigma) ** 2 * inverse / (unit[:, None] * unit)
    out = out.unflatten(0, (v, ALL)).unflatten(2, (v, ALL))
    return out.diagonal(dim1=0, dim2=2).permute(2, 0, 1)


# ------------------------------------------------------------------------------------------ least squares


@dataclass(frozen=True)
class _System:
    """Cost; blocks of cameras "V 15 15" and boards "T 6 6", what joins them "T V 15 6", half gradients."""

    cost: Tensor
    cameras: Tensor
    boards: Tensor
    joint: Tensor
    by_camera: Tensor
    by_board: Tensor


def _pairs(scene: Scene, views: Views) -> Cameras:
    """The camera of every pair, in the board's own world."""
    some = scene.cameras[views.camera]
    pose = rigid.compose(some.cam_from_world, scene.world_from_board[views.moment])
    return replace(some, cam_from_world=pose)


def _system(scene: Scene, views: Views, board: Tensor, scale: float) -> _System:
    rows, points = _pairs(scene, views), board.expand(len(views), -1, -1)
    shown, depth, by_xyz = camera.project_jacobian(rows, points)
    used = views.valid & (depth > 0)
    residual = torch.where(used[..., None], shown - views.xy, 0)
    square = residual.square().sum(-1)
    square_of_all = torch.where(views.valid & (depth <= 0), _BEHIND, square)
    if math.isinf(scale):
        share, cost = used.to(square.dtype), square_of_all.sum()
    else:
        share = torch.where(used, 1 / (1 + square / scale**2), 0)
        cost = scale**2 * torch.log1p(square_of_all / scale**2).sum()
    slope = torch.cat([_by_lens(rows, points), _by_poses(scene, views, rows, points, by_xyz)], dim=-1)
    v, t = len(scene.cameras), len(scene.world_from_board)
    with full_precision(board):
        flat = slope.flatten(1, 2)  # P 2K 21
        heavy = share.repeat_interleave(2, dim=1)[..., None] * flat
        normal = heavy.mT @ flat
        gradient = (heavy.mT @ residual.flatten(1)[..., None])[..., 0]
    joint = normal.new_zeros(t * v, ALL, 6).index_add(
        0, views.moment * v + views.camera, normal[:, :ALL, ALL:]
    )
    return _System(
        cost,
        normal.new_zeros(v, ALL, ALL).index_add(0, views.camera, normal[:, :ALL, :ALL]),
        normal.new_zeros(t, 6, 6).index_add(0, views.moment, normal[:, ALL:, ALL:]),
        joint.unflatten(0, (t, v)),
        normal.new_zeros(v, ALL).index_add(0, views.camera, gradient[:, :ALL]),
        normal.new_zeros(t, 6).index_add(0, views.moment, gradient[:, ALL:]),
    )


def _by_lens(rows: Cameras, points: Tensor) -> Tensor:
    """d pixels / d (fx, fy, cx, cy, k1, k2, p1, p2, k3), "P K 2 9"."""
    cam = camera.cam_from_world(rows, points)
    depth = torch.where(cam[..., 2:] == 0, 1, cam[..., 2:])
    ray = cam[..., :2] / depth
    bent = camera.distort(rows, ray)
    x, y = ray.unbind(-1)
    r2 = x * x + y * y
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    fx, fy = rows.intrinsics[:, 0, 0, None], rows.intrinsics[:, 1, 1, None]
    first = [bent[..., 0], zero, one, zero]
    first += [fx * e for e in (x * r2, x * r2**2, 2 * x * y, r2 + 2 * x * x, x * r2**3)]
    second = [zero, bent[..., 1], zero, one]
    second += [fy * e for e in (y * r2, y * r2**2, r2 + 2 * y * y, 2 * x * y, y * r2**3)]
    return torch.stack([torch.stack(first, dim=-1), torch.stack(second, dim=-1)], dim=-2)


def _by_poses(scene: Scene, views: Views, rows: Cameras, points: Tensor, by_xyz: Tensor) -> Tensor:
    """d pixels / d (turn and shift of the camera, turn and shift of the board), "P K 2 12"."""
    world_from_board = scene.world_from_board[views.moment]
    turn = scene.cameras.cam_from_world[views.camera][..., :3]
    with full_precision(points):
        by_cam = by_xyz @ rows.cam_from_world[:, None, :, :3].mT
        by_world = by_cam @ turn[:, None]
        in_world = rigid.apply(world_from_board, points)
        about_camera = in_world @ turn.mT
        about_board = points @ world_from_board[..., :3].mT
        return torch.cat(
            [-(by_cam @ skew(about_camera)), by_cam, -(by_world @ skew(about_board)), by_world], dim=-1
        )


def _reduced(state: _System, free: Tensor, damping: float) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The cameras' system without the boards, scaled to a diagonal of one, "n n"; which columns it holds of
    the V * 15; their units; and the boards' inverses "T 6 6" and what joins them, scaled, "T n 6"."""
    v = len(state.cameras)
    at = free.flatten().nonzero()[:, 0]
    whole = state.cameras.new_zeros(v, ALL, v, ALL)
    each = torch.arange(v)
    whole[each, :, each] = state.cameras
    whole = whole.reshape(v * ALL, -1)[at][:, at]
    unit = whole.diagonal().clamp_min(1e-30).sqrt()
    whole = whole / (unit[:, None] * unit)
    joint = state.joint.flatten(1, 2)[:, at] / unit[:, None]
    eye = torch.eye(6, dtype=whole.dtype)
    size = state.boards.diagonal(dim1=-2, dim2=-1).clamp_min(1e-30).sqrt()
    board = state.boards / (size[:, :, None] * size[:, None])
    unseen = (state.boards.abs().sum((1, 2)) == 0)[:, None, None] * eye
    inverse = torch.linalg.inv(board + (damping + 1e-14) * eye + unseen)
    inverse = inverse / (size[:, :, None] * size[:, None])
    with full_precision(whole):
        through = (joint @ inverse).transpose(0, 1).flatten(1)  # n T6
        schur = whole + damping * torch.eye(len(at), dtype=whole.dtype)
        schur = schur - through @ joint.transpose(0, 1).flatten(1).T
    return (schur + schur.T) / 2, at, unit, inverse, joint


def _step(state: _System, free: Tensor, damping: float) -> tuple[Tensor, Tensor]:
    """Marquardt's step of cameras "V 15" and boards "T 6", the boards eliminated."""
    schur, at, unit, inverse, joint = _reduced(state, free, damping)
    step = torch.zeros_like(state.by_camera).flatten()
    solved = (inverse @ state.by_board[..., None])[..., 0]  # T 6
    if len(at):
        right = state.by_camera.flatten()[at] / unit - torch.einsum("tni,ti->n", joint, solved)
        found = -torch.linalg.solve_ex(schur, right).result
        step[at] = found / unit
        solved = solved + (inverse @ torch.einsum("tni,n->ti", joint, found)[..., None])[..., 0]
    return step.unflatten(0, (-1, ALL)), -solved


def _moved(scene: Scene, step: Tensor, turn: Tensor) -> Scene:
    old = scene.cameras
    k = old.intrinsics.clone()
    k[:, [0, 1, 0, 1], [0, 1, 2, 2]] += step[:, :4]
    cameras = Cameras(
        intrinsics=k,
        cam_from_world=moved(old.cam_from_world, step[:, LENS:]),
        distortion=old.distortion + step[:, 4:LENS],
    )
    return Scene(cameras, moved(scene.world_from_board, turn))
