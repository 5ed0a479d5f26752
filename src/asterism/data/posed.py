"""Pictures of meshes from cameras at random: what methods learn from that see a thing from several sides.

A thing is moved and scaled so that the box around it has its middle at the origin and its farthest point is
1 away: its radius; y is up. Cameras look at it from above the ground, from far away, upright, each with a
lamp of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float

from asterism.data.cloud_sets import CloudSet, unit_box
from asterism.data.worlds.rasterise import rasterise
from asterism.data.worlds.solids import Mesh, areas_and_normals
from asterism.errors import BadCloud
from asterism.types import PosedViews

_STEEPEST = 75.0  # degrees above the ground: from further up a camera knows no upright
_SHIFT = 0.1  # of the thing in the picture, each way, in radii
_BEHIND = 0.2  # of the thing's distance, as in the authors' pictures


@dataclass(frozen=True)
class PosedSamples:
    """Sample (epoch, index) is `views` pictures of one thing, from other sides in each epoch.

    `field` of view in degrees and `distance` in radii of the thing. Raises BadCloud, naming the
    thing, for points without triangles.
    """

    things: CloudSet
    rows: Sequence[int]
    size: tuple[int, int]
    field: float
    distance: float
    seed: int = 0
    views: int = 2

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: tuple[int, int], /) -> PosedViews:
        epoch, index = key
        row = int(self.rows[index])
        dice = np.random.default_rng([self.seed, epoch, row])
        mesh, normal = _kept(self.things, row)
        colour = _Colour(np.random.default_rng([self.seed, row]))
        shots = [
            _shot(mesh, normal, colour, self.size, self.field, pose, dice)
            for pose in around(dice, self.distance, self.views)
        ]
        image, inside, inner, pose = (np.stack(part)[None] for part in zip(*shots, strict=True))
        return PosedViews(
            image=torch.from_numpy(image).float(),
            inside=torch.from_numpy(inside),
            intrinsics=torch.from_numpy(inner).float(),
            cam_from_thing=torch.from_numpy(pose).float(),
        )


def unit_mesh(things: CloudSet, row: int) -> Mesh:
    """The thing, of radius 1. Raises BadCloud, naming it, where it has no triangles."""
    cloud = things.cloud(row)
    if cloud.faces is None or not len(cloud.faces):
        raise BadCloud(
            f"{things.name(row)}: has points and no triangles; wanted a mesh, to be seen from all sides"
        )
    off = cloud.points - unit_box(cloud.points[np.unique(cloud.faces)])[:3, 3]
    radius = np.linalg.norm(off[np.unique(cloud.faces)], axis=1).max()
    return Mesh(vertices=off / radius, faces=cloud.faces)


@lru_cache(maxsize=1024)
def _kept(things: CloudSet, row: int) -> tuple[Mesh, Float[np.ndarray, "M 3"]]:
    """The thing and the normals of its triangles."""
    mesh = unit_mesh(things, row)
    return mesh, areas_and_normals(mesh)[1]


def intrinsics(size: tuple[int, int], field: float | int) -> Float[np.ndarray, "3 3"]:
    """Of a picture whose shorter side spans `field` degrees."""
    h, w = size
    focal = min(size) / 2 / np.tan(np.radians(field) / 2)
    return np.array([[focal, 0, (w - 1) / 2], [0, focal, (h - 1) / 2], [0, 0, 1]])


def around(dice: np.random.Generator, distance: float | int, count: int) -> Float[np.ndarray, "V 3 4"]:
    """cam_from_thing of cameras on the upper half of a sphere, uniform by area."""
    top = np.sin(np.radians(_STEEPEST))
    off = dice.uniform([-np.pi, 0], [np.pi, top], (count, 2))
    turn, height = off[:, 0], off[:, 1]
    level = np.sqrt(1 - height**2)
    back = np.stack([level * np.sin(turn), height, level * np.cos(turn)], 1)  # from the thing to the camera
    right = np.stack([np.cos(turn), np.zeros(count), -np.sin(turn)], 1)
    shift = dice.uniform([-_SHIFT, -_SHIFT, -_BEHIND], [_SHIFT, _SHIFT, _BEHIND], (count, 3))
    return np.concatenate(
        [
            np.stack([right, np.cross(-back, right), -back], 1),
            (shift + [0, 0, distance])[..., None],
        ],
        2,
    )


class _Colour:
    """Two colours of a thing that run into each other in waves, its own for each seed."""

    def __init__(self, dice: np.random.Generator) -> None:
        self.ends = dice.uniform(0.15, 1.0, (2, 3))
        self.wave, self.phase = dice.normal(0.0, 1.5, 3), dice.uniform(0, 2 * np.pi)

    def at(self, xyz: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
        share = (0.5 + 0.5 * np.sin(xyz @ self.wave + self.phase))[:, None]
        return share * self.ends[0] + (1 - share) * self.ends[1]


def _shot(
    mesh: Mesh,
    normals: Float[np.ndarray, "M 3"],
    colour: _Colour,
    size: tuple[int, int],
    field: float,
    pose: Float[np.ndarray, "3 4"],
    dice: np.random.Generator,
) -> tuple[
    Float[np.ndarray, "3 H W"],
    Bool[np.ndarray, "H W"],
    Float[np.ndarray, "3 3"],
    Float[np.ndarray, "3 4"],
]:
    """The picture, where the thing is in it, intrinsics and pose."""
    inner = intrinsics(size, field)
    there = mesh.vertices @ pose[:, :3].T + pose[:, 3]
    xy = (there @ inner.T)[:, :2] / there[:, 2:]
    seen = rasterise(xy, there[:, 2], mesh.faces, size)
    inside = seen.face >= 0
    row, column = np.nonzero(inside)
    ray = np.stack([column, row, np.ones_like(row)], -1) @ np.linalg.inv(inner).T
    at = (ray * seen.depth[inside][:, None] - pose[:, 3]) @ pose[:, :3]
    normal = normals[seen.face[inside]]
    towards = -np.einsum("ij,ij->i", normal @ pose[:, :3].T, ray)
    normal = np.where(towards[:, None] < 0, -normal, normal)  # nobody's meshes are all oriented
    lamp = dice.normal(size=3) + [0, 1, 0]
    lamp /= np.linalg.norm(lamp)
    light = 0.45 + 0.25 * normal[:, 1] + 0.3 * (normal @ lamp).clip(0)  # the sky, and the lamp
    image = np.empty((3, *size))
    image[:] = dice.uniform(0.0, 1.0)
    image[:, inside] = (colour.at(at) * light[:, None]).T
    return image.clip(0, 1), inside, inner, pose
