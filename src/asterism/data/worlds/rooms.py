"""Rooms with furniture, seen by a depth camera from two places whose poses are known.

A room is a box with a floor, walls and mostly a ceiling, and things in it: tables, chairs, shelves,
cupboards, crates, balls, posts. Each is made of boxes, cylinders and ellipsoids, against which the rays of
every pixel are cut. A view is in its camera's frame (x right, y down, z ahead), in metres. Everything comes
from one generator.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree  # pyright: ignore[reportAttributeAccessIssue]
from scipy.spatial.transform import Rotation

from asterism.ops.cloud_neighbours import normals

_KINDS = ("table", "chair", "shelf", "cupboard", "crate", "ball", "post", "pile")
_FAR = 1e6  # metres: a ray that meets nothing


@dataclass(frozen=True, kw_only=True)
class Solids:
    """N boxes (kind 0), ellipsoids (1) or upright cylinders (2) of half sizes `half`, turned by `turn`."""

    kind: np.ndarray
    centre: Float[np.ndarray, "N 3"]
    half: Float[np.ndarray, "N 3"]
    turn: Float[np.ndarray, "N 3 3"]  # world_from_solid

    def __len__(self) -> int:
        return len(self.kind)


@dataclass(frozen=True, kw_only=True)
class Room:
    """`size` in metres (x, y, height); the floor is z = 0 and its middle the origin."""

    size: Float[np.ndarray, "3"]
    solids: Solids


@dataclass(frozen=True, kw_only=True)
class Sensor:
    """A depth camera. Noise is `noise` metres at one metre and grows with the square of the distance, as it
    does in structured light and stereo; `holes` is the share of pixels lost in blots, `grazing` the least
    cosine between ray and normal that is still seen.
    """

    pixels: tuple[int, int] = (104, 160)  # (h, w)
    opening: float | int = 80.0  # degrees from left to right
    reach: float | int = 8.0  # metres
    noise: float | int = 0.0015
    holes: float | int = 0.08
    grazing: float | int = 0.1


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two clouds, each in its own frame, the truth, and the smaller of their shares of overlap."""

    a: Float[np.ndarray, "N 3"]
    b: Float[np.ndarray, "M 3"]
    b_from_a: Float[np.ndarray, "4 4"]
    overlap: float


def room(dice: np.random.Generator, things: int | None = None) -> Room:
    """A room of 3.5 to 7 metres with 10 to 18 things along its walls and in it."""
    size = np.array([dice.uniform(3.5, 7), dice.uniform(3.5, 6), dice.uniform(2.3, 3.2)])
    parts = _walls(dice, size)
    for _ in range(int(dice.integers(10, 19)) if things is None else things):
        parts += _thing(dice, size)
    kind, centre, half, turn = zip(*parts)
    solids = Solids(kind=np.array(kind), centre=np.array(centre), half=np.array(half), turn=np.array(turn))
    return Room(size=size, solids=solids)


_Part = tuple[int, np.ndarray, np.ndarray, np.ndarray]


def _part(kind: int, centre: Any, half: Any, turn: np.ndarray | None = None) -> _Part:
    return kind, np.array(centre, float), np.array(half, float), np.eye(3) if turn is None else turn


def _walls(dice: np.random.Generator, size: np.ndarray) -> list[_Part]:
    x, y, z = size / 2
    thick = 0.1
    parts = [_part(0, (0, 0, -thick), (x + 0.2, y + 0.2, thick))]
    if dice.random() < 0.7:
        parts.append(_part(0, (0, 0, 2 * z + thick), (x + 0.2, y + 0.2, thick)))
    for axis, sign in ((0, -1), (0, 1), (1, -1), (1, 1)):
        centre, half = [0.0, 0.0, z], [x + 0.2, y + 0.2, z]
        centre[axis], half[axis] = sign * (size[axis] / 2 + thick), thick
        parts.append(_part(0, centre, half))
        if dice.random() < 0.6:  # a pillar, a door's frame or a sill stands out of the wall
            along, deep = 1 - axis, dice.uniform(0.05, 0.25)
            centre[axis] = sign * (size[axis] / 2 - deep / 2)
            centre[along] = dice.uniform(-0.4, 0.4) * size[along]
            low, high = sorted(dice.uniform(0, 2 * z, 2))
            centre[2], half[2] = (low + high) / 2, (high - low) / 2 + 0.05
            half[axis], half[along] = deep / 2, dice.uniform(0.1, 0.6)
            parts.append(_part(0, centre, half))
    return parts


def _thing(dice: np.random.Generator, size: np.ndarray) -> list[_Part]:
    kind = str(dice.choice(_KINDS))
    local = _SHAPES[kind](dice)
    yaw = dice.uniform(0, 2 * np.pi) if dice.random() < 0.6 else dice.integers(4) * np.pi / 2
    place = dice.uniform(-0.5, 0.5, 2) * (size[:2] - 0.5)
    if dice.random() < 0.5:  # against a wall
        axis = int(dice.integers(2))
        place[axis] = np.sign(dice.uniform(-1, 1)) * (size[axis] / 2 - 0.35)
    turn = Rotation.from_euler("z", yaw).as_matrix()
    at = np.array([*place, 0.0])
    return [(k, turn @ centre + at, half, turn @ own) for k, centre, half, own in local]


def _table(dice: np.random.Generator) -> list[_Part]:
    w, d, h = dice.uniform(0.4, 0.9), dice.uniform(0.25, 0.5), dice.uniform(0.4, 0.85)
    legs = [
        _part(0, (sx * (w - 0.05), sy * (d - 0.05), h / 2), (0.03, 0.03, h / 2))
        for sx in (-1, 1)
        for sy in (-1, 1)
    ]
    on = [
        _part(
            int(dice.integers(3)),
            (*(dice.uniform(-0.8, 0.8, 2) * (w, d)), h + 0.12),
            dice.uniform(0.05, 0.16, 3),
        )
        for _ in range(dice.integers(1, 5))
    ]
    return [_part(0, (0, 0, h), (w, d, 0.025)), *legs, *on]


def _chair(dice: np.random.Generator) -> list[_Part]:
    w, h, back = dice.uniform(0.2, 0.28), dice.uniform(0.38, 0.5), dice.uniform(0.35, 0.6)
    legs = [
        _part(0, (sx * (w - 0.03), sy * (w - 0.03), h / 2), (0.02, 0.02, h / 2))
        for sx in (-1, 1)
        for sy in (-1, 1)
    ]
    return [_part(0, (0, 0, h), (w, w, 0.03)), _part(0, (0, w, h + back / 2), (w, 0.025, back / 2)), *legs]


def _shelf(dice: np.random.Generator) -> list[_Part]:
    w, d, h, n = (
        dice.uniform(0.3, 0.6),
        dice.uniform(0.13, 0.22),
        dice.uniform(0.8, 2.0),
        int(dice.integers(3, 6)),
    )
    parts = [_part(0, (s * w, 0, h / 2), (0.02, d, h / 2)) for s in (-1, 1)]
    for i in range(n):
        z = h * (i + 0.5) / n
        parts.append(_part(0, (0, 0, z), (w, d, 0.015)))
        tall = dice.uniform(0.08, 0.35 * h / n + 0.05)
        parts.append(
            _part(0, (dice.uniform(-0.6, 0.6) * w, 0, z + tall), (dice.uniform(0.05, 0.4) * w, 0.7 * d, tall))
        )
    return parts


def _cupboard(dice: np.random.Generator) -> list[_Part]:
    w, d, h = dice.uniform(0.3, 0.7), dice.uniform(0.2, 0.35), dice.uniform(0.5, 2.0)
    top = _part(int(dice.integers(3)), (dice.uniform(-0.5, 0.5) * w, 0, h + 0.15), dice.uniform(0.08, 0.2, 3))
    return [_part(0, (0, 0, h / 2), (w, d, h / 2)), top]


def _crate(dice: np.random.Generator) -> list[_Part]:
    half = dice.uniform(0.1, 0.35, 3)
    turn = Rotation.from_euler("xyz", dice.uniform(-0.6, 0.6, 3) * (dice.random() < 0.4)).as_matrix()
    return [_part(0, (0, 0, half[2]), half, turn)]


def _ball(dice: np.random.Generator) -> list[_Part]:
    half = dice.uniform(0.12, 0.4) * dice.uniform(0.6, 1.4, 3)
    return [_part(1, (0, 0, half[2]), half)]


def _post(dice: np.random.Generator) -> list[_Part]:
    r, h = dice.uniform(0.03, 0.15), dice.uniform(0.5, 2.0)
    return [_part(2, (0, 0, h / 2), (r, r, h / 2)), _part(1, (0, 0, h + 0.1), (0.2, 0.2, 0.16))]


def _pile(dice: np.random.Generator) -> list[_Part]:
    parts, z = [], 0.0
    for _ in range(dice.integers(2, 5)):
        half = dice.uniform((0.12, 0.1, 0.04), (0.35, 0.3, 0.18))
        turn = Rotation.from_euler("z", dice.uniform(-0.8, 0.8)).as_matrix()
        parts.append(_part(0, (*dice.uniform(-0.06, 0.06, 2), z + half[2]), half, turn))
        z += 2 * half[2]
    return parts


_SHAPES = {
    "table": _table,
    "chair": _chair,
    "shelf": _shelf,
    "cupboard": _cupboard,
    "crate": _crate,
    "ball": _ball,
    "post": _post,
    "pile": _pile,
}


# ------------------------------------------------------------------------------------------------ seeing it


def cast(
    solids: Solids, origin: Float[np.ndarray, "3"], rays: Float[np.ndarray, "R 3"]
) -> tuple[Float[np.ndarray, " R"], Float[np.ndarray, " R"]]:
    """How far each ray goes, in its own lengths (1e6 where it meets nothing), and the cosine of its angle to
    the surface's normal there.
    """
    best, cosine = np.full(len(rays), _FAR), np.zeros(len(rays))
    long = np.linalg.norm(rays, axis=1)
    to = solids.centre - origin
    room_ = np.maximum((to**2).sum(1) - (solids.half**2).sum(1), 0)  # of rays that meet the ball around it
    towards = (rays / long[:, None]) @ to.T  # R N
    for i in range(len(solids)):
        some = np.flatnonzero((towards[:, i] > 0) & (towards[:, i] ** 2 >= room_[i]) | (room_[i] == 0))
        if not len(some):
            continue
        along = rays[some] @ solids.turn[i]
        t, normal = _CUTS[int(solids.kind[i])](-to[i] @ solids.turn[i], along, solids.half[i])
        nearer = t < best[some]
        row = some[nearer]
        best[row] = t[nearer]
        cosine[row] = np.abs((normal[nearer] * along[nearer]).sum(1) / long[row])
    return best, cosine


def _safe(v: np.ndarray) -> np.ndarray:
    return np.where(np.abs(v) < 1e-12, 1e-12, v)


def _cut_box(o: np.ndarray, d: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    d = _safe(d)
    one, two = (-half - o) / d, (half - o) / d
    near, far = np.minimum(one, two), np.maximum(one, two)
    enter, leave = near.max(1), far.min(1)
    t = np.where((enter <= leave) & (enter > 1e-6), enter, _FAR)
    return t, np.eye(3)[near.argmax(1)]


def _root(a: np.ndarray, b: np.ndarray, c: Any) -> np.ndarray:
    """The nearer root above zero of a t^2 + 2 b t + c, where rays begin outside."""
    under = b * b - a * c
    t = (-b - np.sqrt(np.maximum(under, 0))) / a
    return np.where((under > 0) & (t > 1e-6), t, _FAR)


def _cut_ellipsoid(o: np.ndarray, d: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    e, f = o / half, d / half
    t = _root((f * f).sum(1), f @ e, e @ e - 1)
    normal = (o + np.minimum(t, _FAR)[:, None] * d) / half**2
    return t, normal / np.linalg.norm(normal, axis=1, keepdims=True)


def _cut_cylinder(o: np.ndarray, d: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    e, f = o[:2] / half[:2], d[:, :2] / half[:2]
    side = _root(np.maximum((f * f).sum(1), 1e-12), f @ e, e @ e - 1)
    side = np.where(np.abs(o[2] + side * d[:, 2]) <= half[2], side, _FAR)
    caps = (np.sign(o[2]) * half[2] - o[2]) / _safe(d[:, 2])
    inside = (((o[:2] + caps[:, None] * d[:, :2]) / half[:2]) ** 2).sum(1) <= 1
    caps = np.where((caps > 1e-6) & inside & (np.abs(o[2]) > half[2]), caps, _FAR)
    normal = np.concatenate(
        [(o[:2] + side[:, None] * d[:, :2]) / half[:2] ** 2, np.zeros((len(d), 1))], axis=1
    )
    normal = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    normal[caps < side] = (0, 0, 1)
    return np.minimum(side, caps), normal


_CUTS = (_cut_box, _cut_ellipsoid, _cut_cylinder)


def view(
    dice: np.random.Generator, where: Room, world_from_camera: Float[np.ndarray, "4 4"], sensor: Sensor
) -> Float[np.ndarray, "N 3"]:
    """What the camera sees, in its own frame: noisy, with holes, nothing beyond its reach."""
    h, w = sensor.pixels
    focal = w / 2 / np.tan(np.deg2rad(sensor.opening) / 2)
    v, u = np.mgrid[:h, :w]
    rays = np.stack([(u - (w - 1) / 2) / focal, (v - (h - 1) / 2) / focal, np.ones((h, w))], axis=-1)
    rays = rays.reshape(-1, 3)
    z, cosine = cast(where.solids, world_from_camera[:3, 3], rays @ world_from_camera[:3, :3].T)
    kept = (z < sensor.reach) & (cosine > sensor.grazing) & ~_blots(dice, sensor).ravel()
    z = z[kept] + sensor.noise * z[kept] ** 2 * dice.standard_normal(int(kept.sum()))
    return rays[kept] * z[:, None]


def _blots(dice: np.random.Generator, sensor: Sensor) -> np.ndarray:
    h, w = sensor.pixels
    lost = np.zeros((h, w), bool)
    v, u = np.mgrid[:h, :w]
    while lost.mean() < sensor.holes:
        r = dice.uniform(0.01, 0.06) * w
        lost |= (v - dice.uniform(0, h)) ** 2 + (u - dice.uniform(0, w)) ** 2 < r * r
    return lost


def camera_pose(dice: np.random.Generator, where: Room, heading: float) -> Float[np.ndarray, "4 4"]:
    """A camera in the room at eye height that looks along `heading`, somewhat up or down, held not quite
    level.
    """
    at = np.zeros(3)
    for _ in range(100):
        at = np.array([*(dice.uniform(-0.5, 0.5, 2) * (where.size[:2] - 1)), dice.uniform(1.2, 1.8)])
        solids = where.solids
        local = np.einsum("nij,nj->ni", solids.turn.transpose(0, 2, 1), at - solids.centre)
        if (np.abs(local) > solids.half + 0.25).any(1).all():
            break
    look = Rotation.from_euler("zyx", [heading, dice.uniform(0.0, 0.5), dice.uniform(-0.15, 0.15)])
    forward_left_up = look.as_matrix()
    turn = np.stack([-forward_left_up[:, 1], -forward_left_up[:, 2], forward_left_up[:, 0]], axis=1)
    return np.block([[turn, at[:, None]], [np.zeros((1, 3)), 1]])


def overlap_of(
    a: Float[np.ndarray, "N 3"], b: Float[np.ndarray, "M 3"], b_from_a: Float[np.ndarray, "4 4"], near: float
) -> float:
    """The smaller of the two shares of points that have one of the other cloud within `near`."""
    moved = a @ b_from_a[:3, :3].T + b_from_a[:3, 3]
    one = cKDTree(b).query(moved, distance_upper_bound=near)[0] <= near
    two = cKDTree(moved).query(b, distance_upper_bound=near)[0] <= near
    return float(min(one.mean(), two.mean()))


def pair(
    seed: int, overlap: tuple[float, float] = (0.3, 0.8), sensor: Sensor | None = None, near: float = 0.07
) -> Pair:
    """Two views of the room of this seed whose overlap (at `near` metres) lies in the range, in camera frames
    that have been moved by random rotations and shifts. Raises ValueError where no such pair is found.
    """
    sensor = Sensor() if sensor is None else sensor
    coarse = Sensor(pixels=(39, 60), opening=sensor.opening, reach=sensor.reach, noise=0, holes=0)
    dice = np.random.default_rng([seed, 77])
    for _ in range(10):
        here = room(dice)
        for _ in range(40):
            heading = dice.uniform(0, 2 * np.pi)
            poses = [camera_pose(dice, here, heading + s * dice.uniform(0, 1.0)) for s in (-1, 1)]
            b_from_a = np.linalg.inv(poses[1]) @ poses[0]
            rough = [view(dice, here, pose, coarse) for pose in poses]
            if not all(map(worth_a_scan, rough)):
                continue
            if not _within(overlap_of(rough[0], rough[1], b_from_a, 2.5 * near), overlap, 0.1):
                continue
            a, b = (view(dice, here, pose, sensor) for pose in poses)
            found = overlap_of(a, b, b_from_a, near)
            if _within(found, overlap, 0.0):
                moves = [random_rigid(dice, 3.0) for _ in range(2)]
                return Pair(
                    a=_moved(moves[0], a),
                    b=_moved(moves[1], b),
                    b_from_a=moves[1] @ b_from_a @ np.linalg.inv(moves[0]),
                    overlap=found,
                )
    raise ValueError(f"pair: no two views with an overlap of {overlap[0]} to {overlap[1]} were found")


def worth_a_scan(points: np.ndarray) -> bool:
    """Nobody scans a wall, or a cupboard's side at arm's length: things lie at many depths, most over a
    metre.
    """
    if len(points) < 1200:
        return False
    near, middle = np.quantile(points[:, 2], (0.15, 0.5))
    facing = normals(points, points, 12)[0]
    return bool(near > 1.0 and middle > 1.6 and np.linalg.eigvalsh(facing.T @ facing / len(facing))[0] > 0.1)


def _within(value: float, wanted: tuple[float, float], room_: float) -> bool:
    return wanted[0] - room_ <= value <= wanted[1] + room_


def random_rigid(dice: np.random.Generator, shift: float | int) -> Float[np.ndarray, "4 4"]:
    """A rotation that is uniform over all of them, and a shift of up to `shift` along each axis."""
    found = np.eye(4)
    found[:3, :3] = Rotation.random(rng=dice).as_matrix()
    found[:3, 3] = dice.uniform(-shift, shift, 3)
    return found


def _moved(b_from_a: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ b_from_a[:3, :3].T + b_from_a[:3, 3]
