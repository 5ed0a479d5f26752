"""Corners of a board that a generated ring of cameras sees: exact truth for calibrations.

The board wanders and turns about the middle of the ring. A corner that a camera sees from the back, at a
grazing angle or outside its picture is not there.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from asterism.geometry import camera, rigid, so3
from asterism.io.board import Board
from asterism.io.corners import Corners, Row, as_corners
from asterism.types import Cameras

_GRAZING = 0.35  # cosine of the angle to the board's normal below which no detector finds a corner


@dataclass(frozen=True, kw_only=True)
class Ring:
    """`views` cameras over an arc of `arc` degrees, 1.2 m from the middle; `noise` in pixels per axis."""

    views: int = 4
    moments: int = 60
    noise: float | int = 0.3
    outliers: float | int = 0.0  # share of corners that are off by 5 to 60 pixels
    seed: int = 0
    size: tuple[int, int] = (720, 1280)
    arc: float | int = 80.0
    tilt: float | int = 0.5  # radians per axis by which the board turns

    def cameras(self) -> Cameras:
        """Lenses of several focal lengths; the world is that of the first camera."""
        g = torch.Generator().manual_seed(1000 + self.seed)
        v, (h, w) = self.views, self.size
        jitter = torch.rand(v, 8, generator=g, dtype=torch.float64) * 2 - 1
        k = torch.zeros(v, 3, 3, dtype=torch.float64)
        k[:, 0, 0] = 0.9 * w * (1 + 0.15 * jitter[:, 0])
        k[:, 1, 1] = k[:, 0, 0] * (1 + 0.01 * jitter[:, 1])
        k[:, 0, 2] = (w - 1) / 2 + 0.02 * w * jitter[:, 2]
        k[:, 1, 2] = (h - 1) / 2 + 0.02 * w * jitter[:, 3]
        k[:, 2, 2] = 1
        lens = torch.stack(
            [-0.15 + 0.1 * jitter[:, 4], 0.05 * jitter[:, 5], *(1e-3 * jitter[:, 6:].T), 0 * jitter[:, 0]],
            dim=-1,
        )
        angle = torch.linspace(-self.arc / 2, self.arc / 2, v, dtype=torch.float64).deg2rad()
        about_y = torch.zeros(v, 3, dtype=torch.float64)
        about_y[:, 1] = angle
        about_y[:, 0] = 0.15 * jitter[:, 7]
        turn = so3.exp(about_y)
        away = torch.tensor([0.0, 0.0, 1.2], dtype=torch.float64)
        pose = torch.cat([turn, away.expand(v, 3)[..., None]], dim=-1)
        first = rigid.inverse(pose[:1]).expand(v, -1, -1)
        return Cameras(intrinsics=k, cam_from_world=rigid.compose(pose, first), distortion=lens)

    def boards(self, board: Board) -> Tensor:
        """world_from_board "T 3 4"."""
        g = torch.Generator().manual_seed(2000 + self.seed)
        t = self.moments
        turn = so3.exp(self.tilt * torch.randn(t, 3, generator=g, dtype=torch.float64))
        at = torch.tensor([0.0, 0.0, 1.2], dtype=torch.float64)
        reach = torch.tensor([0.25, 0.16, 0.25], dtype=torch.float64)
        at = at + reach * torch.randn(t, 3, generator=g, dtype=torch.float64)
        middle = torch.from_numpy(board.points()).mean(0)
        return torch.cat([turn, (at - turn @ middle)[..., None]], dim=-1)

    def corners(self, board: Board) -> Corners:
        """What is seen, with the noise and the outliers."""
        cameras, boards = self.cameras(), self.boards(board)
        rng = np.random.default_rng(3000 + self.seed)
        points = rigid.apply(boards, torch.from_numpy(board.points()).expand(len(boards), -1, -1))
        (h, w), seen = self.size, dict[str, list[Row]]()
        for v in range(self.views):
            each = cameras[torch.full((len(boards),), v)]
            xy, depth = camera.project(each, points)
            cam = camera.cam_from_world(each, points)
            normal = (each.cam_from_world[..., :3] @ boards[..., 2:3])[..., 0]
            facing = (normal[:, None] * cam).sum(-1) / cam.norm(dim=-1)
            found = (facing > _GRAZING) & (depth > 0.2)
            pixel = xy.numpy() + self.noise * rng.standard_normal(xy.shape)
            turn = rng.uniform(0, 2 * math.pi, xy.shape[:2])
            far = rng.uniform(5, 60, xy.shape[:2]) * (rng.random(xy.shape[:2]) < self.outliers)
            pixel = pixel + far[..., None] * np.stack([np.cos(turn), np.sin(turn)], axis=-1)
            inside = ((pixel >= 0) & (pixel <= [w - 1, h - 1])).all(-1) & found.numpy()
            seen[f"cam{v}"] = [
                (int(t), int(k), float(pixel[t, k, 0]), float(pixel[t, k, 1]))
                for t, k in zip(*inside.nonzero())
            ]
        return as_corners(seen, dict.fromkeys(seen, self.size), "generated")
