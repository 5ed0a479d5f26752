"""People in cluttered scenes: exact points, occlusion by bodies and things, masks, boxes and areas.

A picture is drawn when it is asked for, from (seed, index) alone. Points are labelled as COCO's annotators
do: one that is covered, by the person itself, by another or by a thing, is labelled and not visible where it
can be guessed, because a point next to it in the skeleton is seen; where it cannot, and outside, it has none.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, UInt8
from numpy.typing import NDArray

from asterism.data.base import ImageSet, Picture
from asterism.data.worlds.figure_body import Person, assemble, random_wear
from asterism.data.worlds.figure_pose import Pose, random_pose
from asterism.data.worlds.grounds import random_colour, random_ground, random_thing
from asterism.data.worlds.painting import Layer, develop, extents, paint, top_at, top_map
from asterism.data.worlds.skeletons import BODY25, COCO17
from asterism.errors import RequestError
from asterism.io.table import KeypointTable
from asterism.types import Skeleton

SKELETONS = {"coco17": COCO17, "body25": BODY25}


@dataclass(frozen=True, kw_only=True)
class _Scene:
    """Layers back to front, people and things; people and their poses by the number of their owner."""

    layers: list[Layer]
    people: list[Person]
    poses: list[Pose]


class Figures(ImageSet):
    """`n` pictures of `size` (h, w), each with people[0] to people[1] persons.

    One person alone fills the picture; several stand at different distances and cover each other. `skeleton`
    is coco17 or body25. Raises RequestError for an impossible number or an unknown skeleton.
    """

    is_clip = False
    skeleton: Skeleton

    def __init__(
        self,
        *,
        n: int = 2000,
        seed: int = 0,
        size: tuple[int, int] = (192, 192),
        people: tuple[int, int] = (1, 1),
        skeleton: str = "coco17",
    ) -> None:
        if n < 1 or min(size) < 32:
            raise RequestError(
                f"figures: n={n}, size={size}; wanted at least one picture of 32 pixels or more"
            )
        if not 1 <= people[0] <= people[1] <= 100:
            raise RequestError(f"figures: people={people[0]}-{people[1]}; wanted LOW-HIGH within 1-100")
        if seed < 0:
            raise RequestError(f"figures: seed={seed}; wanted 0 or more")
        if skeleton not in SKELETONS:
            raise RequestError(f"figures: skeleton={skeleton}; wanted one of {', '.join(SKELETONS)}")
        self.n, self.seed, self.size, self.people = n, seed, size, people
        self.skeleton = SKELETONS[skeleton]
        self.title = f"figures ({n} pictures, {people[0]} to {people[1]} people, seed {seed})"
        self._last: tuple[int, _Scene] | None = None  # picture and mask of one index share their scene

    def __len__(self) -> int:
        return self.n

    def picture_size(self, index: int) -> tuple[int, int]:
        return self.size

    def name(self, index: int) -> str:
        return f"figure{index:06d}"

    def fingerprint(self) -> str:
        told = ("figures", 2, self.n, self.seed, self.size, self.people, self.skeleton.names)
        return hashlib.sha256(repr(told).encode()).hexdigest()

    def picture(self, index: int) -> Picture:
        scene = self._scene(index)
        rng = self._rng(index, 1)
        light = rng.uniform(50, 210)
        canvas = random_ground(rng, "textured", light=light).render(self.size, 0)
        clutter = [random_thing(rng, self.size, rng.uniform(0.1, 0.6)) for _ in range(rng.integers(2, 9))]
        paint(canvas, clutter)
        paint(canvas, scene.layers)
        canvas *= (random_colour(rng, light=240.0, chroma=20.0) / 240).astype(np.float32)  # the lamp's tint
        return develop(canvas, rng, gain=rng.uniform(0.75, 1.15), noise=rng.uniform(1, 6))

    def mask(self, index: int) -> UInt8[np.ndarray, "H W"]:
        """1 + individual on top of each pixel, 0 for things and the background."""
        layers = self._scene(index).layers
        owner = np.array([layer.owner + 1 for layer in layers] + [0], np.uint8)
        return owner[top_map(layers, self.size)]

    @cached_property
    def table(self) -> KeypointTable:
        """One row per person; boxes are of the whole person inside the picture, areas of what is seen."""
        rows = [self._truth(index) for index in range(self.n)]
        count = np.array([len(xy) for xy, *_ in rows])
        xy, labelled, visible, box, area = (np.concatenate(column) for column in zip(*rows))
        return KeypointTable(
            names=self.skeleton.names,
            images=tuple(self.name(i) for i in range(self.n)),
            image=np.repeat(np.arange(self.n), count),
            individual=np.concatenate([np.arange(c) for c in count]),
            xy=xy,
            labelled=labelled,
            visible=visible,
            score=np.ones(labelled.shape),
            box=box,
            has_box=box[:, 2:].min(1) > 0,
            area=area,
            sizes=(self.size,) * self.n,
            edges=self.skeleton.edges,
            swap=self.skeleton.swap,
            sigma=self.skeleton.sigma,
            source=self.title,
        )

    def _truth(self, index: int) -> tuple[np.ndarray, ...]:
        """xy, labelled, visible, box and area of the people of one picture."""
        scene = self._scene(index)
        xy = np.stack([person.xy for person in scene.people])
        p, k = xy.shape[:2]
        top = top_at(scene.layers, xy.reshape(-1, 2)).reshape(p, k)
        owner = np.array([layer.owner for layer in scene.layers] + [-1])[top]
        part = np.array([layer.part for layer in scene.layers] + [0])[top]
        own = np.stack([person.own for person in scene.people])
        seen = (owner == np.arange(p)[:, None]) & own[np.arange(p)[:, None], np.arange(k), part]
        inside = np.all((xy >= 0) & (xy <= (self.size[1] - 1, self.size[0] - 1)), -1)
        seen &= inside
        labelled = inside & (seen | _beside(seen, self.skeleton.edges))
        box, area = extents(scene.layers, self.size, p)
        return np.where(labelled[..., None], xy, 0), labelled, seen, box, area

    def _rng(self, index: int, stream: int) -> np.random.Generator:
        if not 0 <= index < self.n:
            raise IndexError(f"picture {index} of {self.n}")
        return np.random.Generator(np.random.PCG64([self.seed, stream, index]))

    def _scene(self, index: int) -> _Scene:
        if self._last is None or self._last[0] != index:
            self._last = index, self._make_scene(index)
        return self._last[1]

    def _make_scene(self, index: int) -> _Scene:
        rng = self._rng(index, 0)
        count = int(rng.integers(self.people[0], self.people[1] + 1))
        places = _alone(rng, self.size) if count == 1 else _crowd(rng, self.size, count)
        layers, people = [], []
        for owner, (pose, scale, origin) in enumerate(places):
            person = assemble(pose, random_wear(rng), self.skeleton, scale, origin, owner)
            people.append(person)
            layers += person.layers
            if rng.random() < 0.3 / count:  # a thing between this person and the next, or the camera
                layers.append(random_thing(rng, self.size, rng.uniform(0.1, 0.3)))
        return _Scene(layers=layers, people=people, poses=[pose for pose, *_ in places])


def _reach(pose: Pose) -> tuple[Float[np.ndarray, "2"], Float[np.ndarray, "2"]]:
    """Smallest and largest xy of a pose in statures, with the flesh about the joints."""
    joints = np.stack(list(pose.joints.values()))[:, :2]
    return joints.min(0) - 0.08, joints.max(0) + 0.08


def _alone(
    rng: np.random.Generator, size: tuple[int, int]
) -> list[tuple[Pose, float, Float[np.ndarray, "2"]]]:
    """One person who fills the picture, now and then cut by its rim."""
    pose = random_pose(rng)
    low, high = _reach(pose)
    room = np.array([size[1], size[0]], float)
    fill = rng.uniform(1.0, 1.35) if rng.random() < 0.1 else rng.uniform(0.68, 0.97)
    scale = float(fill * (room / (high - low)).min())
    slack = room - scale * (high - low)
    shift = np.where(slack > 0, rng.uniform(0, 1, 2), rng.uniform(0.3, 0.7, 2)) * slack
    return [(pose, scale, shift - scale * low)]


def _crowd(
    rng: np.random.Generator, size: tuple[int, int], count: int
) -> list[tuple[Pose, float, Float[np.ndarray, "2"]]]:
    """People at different distances, the farthest first; the nearer stand lower in the picture."""
    h, w = size
    statures = np.sort(h * np.exp(rng.uniform(np.log(0.3), np.log(0.85), count)))
    out = []
    for stature in statures:
        pose = random_pose(rng)
        low, high = _reach(pose)
        middle = np.array(
            [rng.uniform(0.08, 0.92) * w, h * (0.42 + 0.12 * stature / h + rng.normal(0, 0.05))]
        )
        out.append((pose, float(stature), middle - stature * (low + high) / 2))
    return out


def _beside(seen: NDArray[np.bool_], edges: tuple[tuple[int, int], ...]) -> NDArray[np.bool_]:
    """P K: whether a neighbour along the edges is seen."""
    beside = np.zeros_like(seen)
    for a, b in edges:
        beside[:, a] |= seen[:, b]
        beside[:, b] |= seen[:, a]
    return beside
