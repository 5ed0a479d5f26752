"""One person in a ring of calibrated cameras: exact points in space and in every picture, self-occlusion.

Picture v * moments + t is what camera v saw at moment t. Cameras are OpenCV's, with perspective and a little
distortion; a point is where its camera sees it, to rounding, while the flesh about it is as thick as at the
depth of the hips. What stands still before a camera, behind the person and in front, differs between cameras.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from jaxtyping import Float, Float32

from asterism.data.base import ImageSet, Picture
from asterism.data.worlds.figure_body import Person, Wear, assemble, joint_of, random_wear
from asterism.data.worlds.figure_pose import Pose
from asterism.data.worlds.figures import SKELETONS
from asterism.data.worlds.grounds import random_colour, random_ground, random_thing
from asterism.data.worlds.painting import Layer, develop, extents, paint, top_at
from asterism.data.worlds.rig_motion import Placed, sequence
from asterism.errors import RequestError
from asterism.geometry import camera
from asterism.io.table import KeypointTable
from asterism.types import Cameras, Skeleton

_RADIUS = 4.0  # metres from the middle of the rig to a camera
_AIM = 0.85  # metres above the floor: what the cameras look at
_TALL = 0.68  # share of the picture's shorter side that a standing person of 1.8 m fills, seen from _RADIUS
_STAND = 0.4  # how often a thing stands between a camera and the person


@dataclass(frozen=True, kw_only=True)
class _Shot:
    """What one camera sees at one moment, back to front."""

    person: Person
    layers: list[Layer]


class Rig(ImageSet):
    """`n` moments of `subjects` people, one after the other, seen by `views` cameras: n * views pictures.

    Each person is dressed otherwise and moves by himself. `cameras` has a row per view, in metres, float64;
    `xyz` holds the points in the world. Raises RequestError for an impossible number or an unknown skeleton.
    """

    is_clip = False
    scenes_are_clips = True
    skeleton: Skeleton

    def __init__(
        self,
        *,
        n: int = 60,
        views: int = 8,
        subjects: int = 3,
        seed: int = 0,
        size: tuple[int, int] = (128, 128),
        skeleton: str = "coco17",
    ) -> None:
        if n < 1 or min(size) < 32:
            raise RequestError(f"rig: n={n}, size={size}; wanted at least one moment and 32 pixels")
        if not 2 <= views <= 64:
            raise RequestError(f"rig: views={views}; wanted 2 to 64 cameras")
        if not 1 <= subjects <= n:
            raise RequestError(f"rig: subjects={subjects}; wanted 1 to n={n}")
        if seed < 0:
            raise RequestError(f"rig: seed={seed}; wanted 0 or more")
        if skeleton not in SKELETONS:
            raise RequestError(f"rig: skeleton={skeleton}; wanted one of {', '.join(SKELETONS)}")
        self.moments, self.views, self.subjects, self.seed, self.size = n, views, subjects, seed, size
        self.skeleton = SKELETONS[skeleton]
        self.title = f"rig ({n} moments, {views} cameras, {subjects} people, seed {seed})"
        self.cameras = _ring(np.random.Generator(np.random.PCG64([seed, 0])), views, size)
        self._shot = lru_cache(maxsize=2)(self._make_shot)  # a picture and its truth share their shot

    def __len__(self) -> int:
        return self.moments * self.views

    def picture_size(self, index: int) -> tuple[int, int]:
        return self.size

    def name(self, index: int) -> str:
        view, t = divmod(self._checked(index), self.moments)
        return f"cam{view}/{t:06d}"

    def scene(self, index: int) -> str:
        view, t = divmod(self._checked(index), self.moments)
        return f"cam{view}/subject{self.subject(t)}"

    def subject(self, moment: int) -> int:
        """Who is in the rig at this moment."""
        return moment * self.subjects // self.moments

    def fingerprint(self) -> str:
        told = ("rig", 1, self.moments, self.views, self.subjects, self.seed, self.size, self.skeleton.names)
        return hashlib.sha256(repr(told).encode()).hexdigest()

    def picture(self, index: int) -> Picture:
        view, _ = divmod(self._checked(index), self.moments)
        canvas = self._stage[view].copy()
        paint(canvas, self._shot(index).layers)
        rng = np.random.Generator(np.random.PCG64([self.seed, 3, index]))
        return develop(canvas, rng, gain=rng.uniform(0.92, 1.08), noise=4.0)

    @cached_property
    def xyz(self) -> Float[np.ndarray, "T K 3"]:
        """The skeleton's points in the world, metres, y up."""
        names = [joint_of(name) for name in self.skeleton.names]
        return np.stack([[placed.pose.joints[name] for name in names] for placed in self._motion])

    @cached_property
    def table(self) -> KeypointTable:
        """One row per picture; a point that is covered is labelled, one outside the picture is not."""
        rows = [self._truth(index) for index in range(len(self))]
        xy, labelled, visible, box, area = (np.stack(column) for column in zip(*rows))
        return KeypointTable(
            names=self.skeleton.names,
            images=tuple(self.name(i) for i in range(len(self))),
            image=np.arange(len(self)),
            individual=np.zeros(len(self), np.int64),
            xy=xy,
            labelled=labelled,
            visible=visible,
            score=np.ones(labelled.shape),
            box=box,
            has_box=box[:, 2:].min(1) > 0,
            area=area,
            sizes=(self.size,) * len(self),
            edges=self.skeleton.edges,
            swap=self.skeleton.swap,
            sigma=self.skeleton.sigma,
            source=self.title,
        )

    def _truth(self, index: int) -> tuple[np.ndarray, ...]:
        shot = self._shot(index)
        xy = shot.person.xy
        top = top_at(shot.layers, xy)
        part = np.array([layer.part for layer in shot.layers] + [0])[top]
        mine = np.array([layer.owner == 0 for layer in shot.layers] + [False])[top]
        inside = np.all((xy >= 0) & (xy <= (self.size[1] - 1, self.size[0] - 1)), -1)
        seen = mine & shot.person.own[np.arange(len(xy)), part] & inside
        box, area = extents(shot.layers, self.size, 1)
        return np.where(inside[:, None], xy, 0), inside, seen, box[0], np.asarray(area[0])

    def _checked(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"picture {index} of {len(self)}")
        return index

    @cached_property
    def _motion(self) -> list[Placed]:
        who = [self.subject(t) for t in range(self.moments)]
        return [p for s in range(self.subjects) for p in sequence(self.seed, s, who.count(s))]

    @cached_property
    def _wear(self) -> list[Wear]:
        return [
            random_wear(np.random.Generator(np.random.PCG64([self.seed, 1, s]))) for s in range(self.subjects)
        ]

    @cached_property
    def _stage(self) -> list[Float32[np.ndarray, "H W 3"]]:
        """What each camera sees when nobody is there, without what stands before the person."""
        return [self._empty(view) for view in range(self.views)]

    def _empty(self, view: int) -> Float32[np.ndarray, "H W 3"]:
        rng = np.random.Generator(np.random.PCG64([self.seed, 4, view]))
        canvas = random_ground(rng, "textured", light=rng.uniform(50, 210)).render(self.size, 0)
        paint(
            canvas, [random_thing(rng, self.size, rng.uniform(0.1, 0.5)) for _ in range(rng.integers(3, 8))]
        )
        canvas *= (random_colour(rng, light=240.0, chroma=20.0) / 240).astype(np.float32)
        return canvas

    @cached_property
    def _before(self) -> list[list[Layer]]:
        """Things between each camera and the person."""
        out = []
        for view in range(self.views):
            rng = np.random.Generator(np.random.PCG64([self.seed, 5, view]))
            there = rng.random() < _STAND
            out.append([random_thing(rng, self.size, rng.uniform(0.15, 0.3))] if there else [])
        return out

    def _make_shot(self, index: int) -> _Shot:
        view, t = divmod(index, self.moments)
        placed = self._motion[t]
        pose, scale, origin = seen_by(self.cameras[view], placed)
        person = assemble(pose, self._wear[self.subject(t)], self.skeleton, scale, origin, 0)
        return _Shot(person=person, layers=[*person.layers, *self._before[view]])


def seen_by(cameras: Cameras, placed: Placed) -> tuple[Pose, float, Float[np.ndarray, "2"]]:
    """A pose as figure_body.assemble draws it, its pixels per stature, and where its hips are.

    Every joint lies where the camera (a batch of one) projects it: origin + scale * joint[:2] are pixels.
    """
    names = list(placed.pose.joints)
    xyz = torch.from_numpy(np.stack([placed.pose.joints[name] for name in names]))[None]
    pixels, depth = (each[0].numpy() for each in camera.project(cameras, xyz))
    hips = names.index("mid_hip")
    scale = float(cameras.intrinsics[0, 0, 0]) * placed.stature / float(depth[hips])
    flat = (pixels - pixels[hips]) / scale
    deep = (depth - depth[hips]) / placed.stature
    joints = {n: np.array([*xy, z]) for n, xy, z in zip(names, flat, deep)}
    turn = cameras.cam_from_world[0, :, :3].numpy()
    pose = Pose(joints=joints, head=turn @ placed.pose.head, chest=turn @ placed.pose.chest)
    return pose, scale, pixels[hips]


def _ring(rng: np.random.Generator, views: int, size: tuple[int, int]) -> Cameras:
    """Cameras about the middle of the rig at different heights, all looking inwards."""
    h, w = size
    angle = 2 * np.pi * np.arange(views) / views + rng.normal(0, 0.08, views)
    radius, height = rng.uniform(0.94, 1.06, views) * _RADIUS, rng.uniform(0.7, 2.3, views)
    at = np.stack([radius * np.sin(angle), height, radius * np.cos(angle)], 1)
    aim = np.array([0, _AIM, 0]) + rng.normal(0, 0.05, (views, 3))
    away = (aim - at) / np.linalg.norm(aim - at, axis=1, keepdims=True)
    right = np.cross(away, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    rotation = np.stack([right, np.cross(away, right), away], axis=1)
    focal = _TALL * min(size) * _RADIUS / 1.8 * rng.uniform(0.95, 1.05, views)
    intrinsics = np.zeros((views, 3, 3))
    intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = focal
    intrinsics[:, :2, 2] = np.array([(w - 1) / 2, (h - 1) / 2]) + rng.normal(0, 1.0, (views, 2))
    intrinsics[:, 2, 2] = 1
    pose = np.concatenate([rotation, -(rotation @ at[..., None])], axis=2)
    distortion = np.zeros((views, 5))
    distortion[:, 0] = rng.uniform(-0.15, 0.0, views)
    parts = (torch.from_numpy(np.ascontiguousarray(x)) for x in (intrinsics, pose, distortion))
    return Cameras(**dict(zip(("intrinsics", "cam_from_world", "distortion"), parts)))
