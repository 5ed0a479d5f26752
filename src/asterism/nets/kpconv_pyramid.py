"""What convolutions at kernel points look at: ever coarser grids of clouds, and who is near to whom in them.

Everything is found in numpy and scipy, on each cloud by itself; the clouds of a batch then stand one after
the other in every level. Lengths are in cells of the level, so a cloud in another unit gives the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.spatial import cKDTree  # pyright: ignore[reportAttributeAccessIssue]
from torch import Tensor

from asterism.nets.kpconv import Around, influence
from asterism.ops.cloud_neighbours import nearest_within, normals
from asterism.ops.cloud_sampling import grid_subsample

SHELL = 0.6  # of the radius, at which the outer kernel points stand: 1.5 of 2.5 extents in KPConv's paper


@dataclass(frozen=True)
class Reach:
    """How far convolutions look, in cells of each level (KPConv's rule: 2.5 cells, an extent of 1 to 1.2)."""

    levels: int
    radius: float
    extent: float
    neighbours: int  # the nearest so many of those within the radius
    normal: int  # neighbours from which each point's normal is found; 0: kernels stand as the cloud does


@dataclass(frozen=True)
class Pyramid:
    """Level 0 holds the points that were given, level l one for each cell that is 2^l times as long.

    `own[l]` are neighbours in level l of its own points, `down[l]` those in level l of the points of level
    l + 1, `up[l]` the rows in level l + 1 that are nearest to the points of level l.
    """

    points: tuple[Float[Tensor, "_ 3"], ...]
    owner: tuple[Int[Tensor, " _"], ...]  # which cloud a point is of
    own: tuple[Around, ...]
    down: tuple[Around, ...]
    up: tuple[Int[Tensor, " _"], ...]

    def to(self, device: torch.device | str) -> "Pyramid":
        return Pyramid(
            tuple(x.to(device) for x in self.points),
            tuple(x.to(device) for x in self.owner),
            tuple(x.to(device) for x in self.own),
            tuple(x.to(device) for x in self.down),
            tuple(x.to(device) for x in self.up),
        )


_Near = tuple[np.ndarray, np.ndarray, int]  # rows, influence, and how many there are to be near to


def pyramid(
    clouds: Sequence[Float[np.ndarray, "_ 3"]],
    cells: Sequence[float],
    kernel: Float[np.ndarray, "K 3"],
    reach: Reach,
) -> Pyramid:
    """Of clouds whose points are already one per cell; `kernel` are the points of a kernel of length 1.

    Raises ValueError for a cloud without points or a cell that is not above zero.
    """
    if not all(len(points) for points in clouds) or not all(cell > 0 for cell in cells):
        raise ValueError(
            f"clouds of {[len(c) for c in clouds]} points, cells {list(cells)}: wanted some above 0"
        )
    towers = [_tower(points, cell, kernel, reach) for points, cell in zip(clouds, cells)]
    points, own, down, up = ([list(level) for level in zip(*part)] for part in zip(*towers))
    return Pyramid(
        points=tuple(torch.from_numpy(np.concatenate(level)).float() for level in points),
        owner=tuple(_owners(level) for level in points),
        own=tuple(map(_joined, own)),
        down=tuple(map(_joined, down)),
        up=tuple(_shifted(rows, [len(p) for p in coarse]) for rows, coarse in zip(up, points[1:])),
    )


def _tower(points: np.ndarray, cell: float, kernel: np.ndarray, reach: Reach):
    """Of one cloud, each part a list over levels."""
    levels, own, down, up = [points], [], [], []
    kernel = SHELL * reach.radius * kernel
    normal = _normals(points, reach)
    for level in range(reach.levels):
        here, size = levels[-1], cell * 2**level
        tree = cKDTree(here)
        own.append(_near(tree, here, normal, size, kernel, reach))
        if level + 1 < reach.levels:
            coarse = grid_subsample(here, 2 * size)
            normal = _normals(coarse, reach)
            down.append(_near(tree, coarse, normal, size, kernel, reach))
            up.append(cKDTree(coarse).query(here, workers=-1)[1])
            levels.append(coarse)
    return levels, own, down, up


def _normals(points: np.ndarray, reach: Reach) -> np.ndarray | None:
    """Towards the middle of the cloud, as the surfaces of a room seen from within."""
    if not reach.normal:
        return None
    found = normals(points, points, reach.normal)[0]
    inwards = ((points.mean(0) - points) * found).sum(1, keepdims=True) >= 0
    return np.where(inwards, found, -found)


def _near(
    tree: cKDTree, asked: np.ndarray, normal: np.ndarray | None, cell: float, kernel: np.ndarray, reach: Reach
) -> _Near:
    _, rows = nearest_within(tree, asked, reach.neighbours, reach.radius * cell)
    step = (np.concatenate([tree.data, np.zeros((1, 3))])[rows] - asked[:, None]) / cell
    if normal is not None:
        step, kernel = _around(step, (step * normal[:, None]).sum(-1)), _around(kernel, kernel[:, 2])
    told = influence(step, rows < tree.n, kernel, reach.extent)
    return rows, told.astype(np.float32), tree.n


def _around(step: Float[np.ndarray, "*n 3"], height: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n 3"]:
    """Height and distance from an axis, of which a turn around it changes nothing: a kernel point becomes the
    circle that it describes, and the distance to it that to the circle.
    """
    wide = np.sqrt(np.maximum((step**2).sum(-1) - height**2, 0))
    return np.stack([wide, np.zeros_like(wide), height], axis=-1)


def _owners(level: Sequence[np.ndarray]) -> Int[Tensor, " _"]:
    return torch.arange(len(level)).repeat_interleave(torch.tensor([len(points) for points in level]))


def _joined(parts: Sequence[_Near]) -> Around:
    rows, told, sizes = zip(*parts)
    total, start, moved = sum(sizes), 0, []
    for part, size in zip(rows, sizes):
        moved.append(np.where(part < size, part + start, total))
        start += size
    held = torch.from_numpy(np.concatenate(moved))
    return Around(held, torch.from_numpy(np.concatenate(told)), (held < total).sum(1).float())


def _shifted(parts: Sequence[np.ndarray], sizes: Sequence[int]) -> Int[Tensor, " _"]:
    starts = np.cumsum([0, *sizes[:-1]])
    return torch.from_numpy(np.concatenate([rows + start for rows, start in zip(parts, starts)]))
