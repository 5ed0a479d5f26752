"""Bundle adjustment of cameras, lenses and boards: its derivatives, what it finds, and what it says of it."""

import math

import pytest
import torch

from asterism.geometry import calibration, camera, so3
from asterism.geometry.calibration import ALL, LENS, Scene, Views
from asterism.types import Cameras

F64 = torch.float64


def board(rows=5, columns=7, square=0.04):
    y, x = torch.meshgrid(torch.arange(rows, dtype=F64), torch.arange(columns, dtype=F64), indexing="ij")
    return torch.stack([x, y, 0 * x], dim=-1).reshape(-1, 3) * square


def scene(v=3, t=12, seed=0):
    """Cameras side by side, 1 m from a board that turns; each sees it at every moment."""
    g = torch.Generator().manual_seed(seed)
    k = torch.tensor([[800.0, 0, 320], [0, 790, 240], [0, 0, 1]], dtype=F64).repeat(v, 1, 1)
    k[:, :2] += 20 * torch.randn(v, 2, 3, generator=g, dtype=F64) * (k[:, :2] != 0)
    lens = torch.tensor([[-0.2, 0.08, 1e-3, -5e-4, -0.01]], dtype=F64).repeat(v, 1)
    turn = so3.exp(0.15 * torch.randn(v, 3, generator=g, dtype=F64))
    shift = 0.1 * torch.randn(v, 3, generator=g, dtype=F64)
    turn[0], shift[0] = torch.eye(3, dtype=F64), 0
    cameras = Cameras(
        intrinsics=k, cam_from_world=torch.cat([turn, shift[..., None]], dim=-1), distortion=lens
    )
    pose = so3.exp(0.4 * torch.randn(t, 3, generator=g, dtype=F64))
    at = torch.tensor([-0.12, -0.08, 0.6], dtype=F64) + 0.1 * torch.randn(t, 3, generator=g, dtype=F64)
    return Scene(cameras, torch.cat([pose, at[..., None]], dim=-1))


def views(truth, points, noise=0.0, seed=1):
    v, t = len(truth.cameras), len(truth.world_from_board)
    c, m = (x.flatten() for x in torch.meshgrid(torch.arange(v), torch.arange(t), indexing="ij"))
    empty = Views(
        camera=c,
        moment=m,
        xy=torch.zeros(v * t, len(points), 2, dtype=F64),
        valid=torch.ones(v * t, len(points), dtype=torch.bool),
    )
    xy, depth = camera.project(calibration._pairs(truth, empty), points.expand(v * t, -1, -1))
    assert (depth > 0).all()
    g = torch.Generator().manual_seed(seed)
    return Views(
        camera=c, moment=m, xy=xy + noise * torch.randn(xy.shape, generator=g, dtype=F64), valid=empty.valid
    )


def held_first(v):
    free = torch.ones(v, ALL, dtype=torch.bool)
    free[0, LENS:] = False
    return free


def shaken(truth, seed=2):
    g = torch.Generator().manual_seed(seed)
    v, t = len(truth.cameras), len(truth.world_from_board)
    size = torch.tensor([20.0, 20, 8, 8, 0.05, 0.02, 1e-3, 1e-3, 1e-3] + 3 * [0.02] + 3 * [0.02], dtype=F64)
    step = size * torch.randn(v, ALL, generator=g, dtype=F64)
    step[0, LENS:] = 0
    return calibration._moved(truth, step, 0.02 * torch.randn(t, 6, generator=g, dtype=F64))


def test_the_derivatives_are_those_of_differences():
    truth, points = scene(2, 3), board()
    seen = views(truth, points, noise=2.0)
    state = calibration._system(truth, seen, points, math.inf)
    assert (state.cost - calibration.distances(truth, seen, points).square().sum()).abs() < 1e-8
    for column in range(ALL):
        h = 1e-4 if column < 4 else 1e-7
        step = torch.zeros(2, ALL, dtype=F64)
        step[1, column] = h
        still = torch.zeros(3, 6, dtype=F64)
        cost = [
            calibration._system(calibration._moved(truth, s * step, still), seen, points, math.inf).cost
            for s in (1, -1)
        ]
        assert float((cost[0] - cost[1]) / (4 * h)) == pytest.approx(
            float(state.by_camera[1, column]), rel=1e-4, abs=1e-3
        )
    for column in range(6):
        step = torch.zeros(3, 6, dtype=F64)
        step[2, column] = 1e-7
        still = torch.zeros(2, ALL, dtype=F64)
        cost = [
            calibration._system(calibration._moved(truth, still, s * step), seen, points, math.inf).cost
            for s in (1, -1)
        ]
        assert float((cost[0] - cost[1]) / 4e-7) == pytest.approx(
            float(state.by_board[2, column]), rel=1e-4, abs=1e-2
        )


def test_perfect_corners_give_everything_back():
    truth, points = scene(), board()
    seen = views(truth, points)
    found = calibration.adjust(shaken(truth), seen, points, held_first(3), math.inf)
    for name in ("intrinsics", "cam_from_world", "distortion"):
        torch.testing.assert_close(
            getattr(found.cameras, name), getattr(truth.cameras, name), rtol=1e-6, atol=1e-6
        )
    torch.testing.assert_close(found.world_from_board, truth.world_from_board, rtol=1e-6, atol=1e-6)


def test_what_is_held_does_not_move_and_boards_do():
    truth, points = scene(), board()
    seen, start = views(truth, points), shaken(truth)
    start = Scene(truth.cameras, start.world_from_board)
    none = torch.zeros(3, ALL, dtype=torch.bool)
    found = calibration.adjust(start, seen, points, none, math.inf)
    assert torch.equal(found.cameras.intrinsics, truth.cameras.intrinsics)
    torch.testing.assert_close(found.world_from_board, truth.world_from_board, rtol=1e-8, atol=1e-8)


def test_cauchy_ignores_wrong_corners_and_squares_do_not():
    truth, points = scene(), board()
    seen = views(truth, points, noise=0.2)
    seen.xy[:, ::8] += 30
    off = []
    for scale in (0.6, math.inf):
        found = calibration.adjust(shaken(truth), seen, points, held_first(3), scale)
        off.append(float((found.cameras.intrinsics - truth.cameras.intrinsics).abs().max()))
    assert off[0] < 4 < 8 < off[1]


def test_deviations_are_those_that_are_seen():
    """Errors over seeds, in the sigmas that each fit gives, have mean square one."""
    truth, points = scene(2, 10), board()
    square = []
    for seed in range(12):
        seen = views(truth, points, noise=0.3, seed=seed)
        found = calibration.adjust(truth, seen, points, held_first(2), math.inf)
        cov = calibration.deviations(found, seen, points, held_first(2), 0.3)
        error = (found.cameras.intrinsics - truth.cameras.intrinsics)[:, [0, 1, 0, 1], [0, 1, 2, 2]]
        square.append((error.square() / cov.diagonal(dim1=-2, dim2=-1)[:, :4]).flatten())
    assert 0.6 < float(torch.stack(square).mean()) < 1.6
    assert (cov[0, LENS:] == 0).all()
