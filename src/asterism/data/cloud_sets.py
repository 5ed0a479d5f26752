"""Sets of shapes to learn from: a folder of the user's own meshes and scans, or a generated world.

Each is a surface (triangles, sampled evenly by area) or points alone (drawn from at random). All are
made unit-free in the same way: the middle of the box around a shape goes to the origin, its longest half side
to 1.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float

from asterism.data.worlds.room_scan import scan
from asterism.data.worlds.rooms import Pair, pair
from asterism.data.worlds.shape_set import KINDS, Shape, shape
from asterism.data.worlds.solids import Mesh, sample
from asterism.errors import BadCloud, RequestError
from asterism.io.cloud import READERS, read_cloud
from asterism.io.points import Cloud
from asterism.types import CloudPairs, Clouds

_WORLDS = (*KINDS, "rooms", "room-pairs")
_LARGEST = 10_000_000  # shapes of a world: what a typing error would ask for


@runtime_checkable
class CloudSet(Protocol):
    """Shapes of one kind, by number."""

    @property
    def title(self) -> str: ...

    def __len__(self) -> int: ...

    def name(self, index: int) -> str: ...

    def cloud(self, index: int) -> Cloud: ...

    def fingerprint(self) -> str: ...


@dataclass(frozen=True)
class CloudFiles:
    """Meshes and scans of files, read when asked for; the last few are kept."""

    title: str
    files: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.files)

    def name(self, index: int) -> str:
        return self.files[index].name

    def cloud(self, index: int) -> Cloud:
        return _read(self.files[index])

    def fingerprint(self) -> str:
        """Of names and sizes: cheap, and another set has another one."""
        told = "".join(f"{f.name} {f.stat().st_size}\n" for f in self.files)
        return hashlib.sha256(told.encode()).hexdigest()[:16]


@lru_cache(maxsize=256)
def _read(path: Path) -> Cloud:
    return read_cloud(path)


@dataclass(frozen=True)
class ShapeWorld:
    """n generated shapes of one kind, whose semantic points are known."""

    kind: str
    n: int = 500
    seed: int = 0

    @property
    def title(self) -> str:
        return f"world:{self.kind}"

    def __len__(self) -> int:
        return self.n

    def name(self, index: int) -> str:
        return f"{self.kind}_{index:05d}"

    def shape(self, index: int) -> Shape:
        return shape(self.kind, self.seed, index)

    def cloud(self, index: int) -> Cloud:
        mesh = _mesh(self.kind, self.seed, index)
        return Cloud(points=mesh.vertices, faces=mesh.faces)

    def fingerprint(self) -> str:
        return f"world:{self.kind}?n={self.n}&seed={self.seed}"


@lru_cache(maxsize=2048)
def _mesh(kind: str, seed: int, index: int) -> Mesh:
    return shape(kind, seed, index).mesh


@dataclass(frozen=True)
class RoomWorld:
    """n generated rooms, each seen once by a depth camera: points in metres, without triangles."""

    n: int = 500
    seed: int = 0
    title = "world:rooms"

    def __len__(self) -> int:
        return self.n

    def name(self, index: int) -> str:
        return f"rooms_{index:05d}"

    def cloud(self, index: int) -> Cloud:
        return Cloud(points=_scan(self.seed, index))

    def fingerprint(self) -> str:
        return f"world:rooms?n={self.n}&seed={self.seed}"


@lru_cache(maxsize=512)  # 200 MB
def _scan(seed: int, index: int) -> Float[np.ndarray, "N 3"]:
    return scan(seed, index)


@dataclass(frozen=True)
class RoomPairs:
    """n generated rooms, each seen by a depth camera from two places: points in metres, without triangles."""

    n: int = 500
    seed: int = 0
    title = "world:room-pairs"

    def __len__(self) -> int:
        return self.n

    def name(self, index: int) -> str:
        return f"room-pairs_{index:05d}"

    def cloud(self, index: int) -> Cloud:
        return Cloud(points=self.pair(index).a)

    def pair(self, index: int) -> Pair:
        """The two views, and the motion between them; they overlap by .3 to .8."""
        return _pair(self.seed, index)

    def fingerprint(self) -> str:
        return f"world:room-pairs?n={self.n}&seed={self.seed}"


@lru_cache(maxsize=512)  # 400 MB
def _pair(seed: int, index: int) -> Pair:
    return pair(_LARGEST * seed + index)


def open_clouds(what: str) -> CloudSet:
    """The shapes behind a folder of meshes and clouds, one file, or `world:chairs?n=500&seed=0`
    (also planes, tables, mugs, cars, rooms, and room-pairs).

    Raises RequestError (or BadCloud) saying what was given and what works.
    """
    if what.startswith("world:"):
        return _world(what.removeprefix("world:"))
    path = Path(what).expanduser()
    if not path.exists():
        raise RequestError(f"{what}: there is no such file or folder; wanted {_wanted()}")
    files = sorted(f for f in path.rglob("*") if f.is_file()) if path.is_dir() else [path]
    files = [f for f in files if f.suffix.lower() in READERS and not f.name.startswith(".")]
    if not files:
        raise RequestError(f"{what}: holds no meshes or clouds; wanted {_wanted()}")
    return CloudFiles(path.name, tuple(files))


def _wanted() -> str:
    return f"a folder of meshes or clouds ({', '.join(READERS)}), or world:{', world:'.join(_WORLDS)}"


def _world(text: str) -> CloudSet:
    kind, _, query = text.partition("?")
    if kind not in _WORLDS:
        raise RequestError(f"no world of shapes is called '{kind}'; there are {', '.join(_WORLDS)}")
    options = {"n": 500, "seed": 0}
    for part in filter(None, query.split("&")):
        key, _, value = part.partition("=")
        if key not in options:
            raise RequestError(f"world:{kind} has no option '{key}'; its options are: n, seed")
        if not value.isdigit() or not (key == "seed" or 1 <= int(value) <= _LARGEST):
            raise RequestError(f"world:{kind}: {key}={value}: wanted a whole number, for example n=500")
        options[key] = int(value)
    rooms = {"rooms": RoomWorld, "room-pairs": RoomPairs}
    return rooms[kind](**options) if kind in rooms else ShapeWorld(kind, **options)


def unit_box(points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "4 4"]:
    """source_from_unit: the map from the box of longest half side 1 to where the points are.

    Raises BadCloud where all points are one.
    """
    low, high = points.min(0), points.max(0)
    half = float((high - low).max()) / 2
    if not half > 0:
        raise BadCloud(f"{len(points)} points at one place have no size; wanted a shape")
    matrix = np.eye(4)
    matrix[:3, :3] *= half
    matrix[:3, 3] = (low + high) / 2
    return matrix


def surface_points(
    cloud: Cloud, n: int, dice: np.random.Generator
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"] | None]:
    """n points of the surface and their normals; of a cloud without triangles, n of its points."""
    if cloud.faces is not None and len(cloud.faces):
        return sample(Mesh(vertices=cloud.points, faces=cloud.faces), n, dice)
    rows = dice.choice(len(cloud), n, replace=len(cloud) < n)
    return cloud.points[rows], None if cloud.normals is None else cloud.normals[rows]


def batch_of(cloud: Cloud, n: int, dice: np.random.Generator) -> Clouds:
    """One row: n points of the cloud's surface, unit-free. Normals are left out, so that all rows join."""
    points, _ = surface_points(cloud, n, dice)
    matrix = unit_box(cloud.points if cloud.faces is None else cloud.points[np.unique(cloud.faces)])
    inside = (points - matrix[:3, 3]) / matrix[0, 0]
    return Clouds(
        points=torch.from_numpy(inside).float()[None],
        valid=torch.ones(1, n, dtype=torch.bool),
        to_source=torch.from_numpy(matrix).float()[None],
    )


def pair_of(found: Pair, n: int, dice: np.random.Generator) -> CloudPairs:
    """One row: n points of each of the two views, in one unit, each about the middle of its own box."""
    held = [cloud[dice.choice(len(cloud), n, replace=len(cloud) < n)] for cloud in (found.a, found.b)]
    boxes = [unit_box(cloud) for cloud in (found.a, found.b)]
    unit = max(box[0, 0] for box in boxes)
    one, two = (torch.from_numpy((p - box[:3, 3]) / unit).float() for p, box in zip(held, boxes))
    to_source = [np.diag([unit, unit, unit, 1.0]) + np.pad(box[:3, 3:], ((0, 1), (3, 0))) for box in boxes]
    motion = np.linalg.inv(to_source[1]) @ found.b_from_a @ to_source[0]
    every = torch.ones(1, n, dtype=torch.bool)
    return CloudPairs(
        points=one[None],
        valid=every,
        to_source=torch.from_numpy(to_source[0]).float()[None],
        others=two[None],
        others_valid=every,
        other_from_this=torch.from_numpy(motion).float()[None],
    )


@dataclass(frozen=True)
class CloudSamples:
    """What a method of clouds learns from: sample (epoch, index) is one shape, sampled anew in each epoch, or
    two views of one where there are two.
    """

    shapes: CloudSet
    rows: Sequence[int]
    n: int  # points of each
    seed: int = 0

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: tuple[int, int], /) -> Clouds:
        epoch, index = key
        row = int(self.rows[index])
        dice = np.random.default_rng([self.seed, epoch, row])
        try:
            if isinstance(self.shapes, RoomPairs):
                return pair_of(self.shapes.pair(row), self.n, dice)
            return batch_of(self.shapes.cloud(row), self.n, dice)
        except (BadCloud, ValueError) as error:
            raise BadCloud(f"{self.shapes.name(row)}: {error}") from error
