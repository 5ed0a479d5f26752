"""Animals seen from above: clips of walking, turning individuals with exact points, masks, correspondences.

A picture is drawn when it is asked for, from (seed, clip, frame) alone; the set holds no pictures. A point is
visible when the part it belongs to is on top of it: paws vanish under the trunk, animals cover each other.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int, UInt8

from asterism.data.base import ImageSet, Picture
from asterism.data.worlds.creature_body import PARTS, SKELETON, SURFACE, Looks, assemble, random_looks
from asterism.data.worlds.creature_motion import Motion, random_motion, smooth_noise
from asterism.data.worlds.grounds import GROUNDS, Ground, random_ground
from asterism.data.worlds.painting import Flat, Layer, develop, extents, paint, top_at, top_map
from asterism.data.worlds.shapes import Tube
from asterism.errors import RequestError
from asterism.io.table import KeypointTable

_OWN = np.array([[part in SURFACE[name] for part in PARTS] for name in SKELETON.names])  # K parts


@dataclass(frozen=True, kw_only=True)
class _Clip:
    """What is drawn once per clip."""

    ground: Ground
    looks: tuple[Looks, ...]
    motions: tuple[Motion, ...]
    gain: Float[np.ndarray, " T"]
    noise: float
    shadow: Float[np.ndarray, "2"]  # where the shadow falls, body lengths


class Creatures(ImageSet):
    """`n` pictures over `clips` clips of `size` (h, w), each clip with `individuals` animals of its own.

    background: still, textured, moving, or mixed (each clip its own). distractor: none, shadow (falls beside
    the animal) or reflection (a mirror along the left rim). `body` is the animals' length, nose to tail
    base, as a share of the picture's shorter side, smallest and largest. With few pictures for many clips
    the last clips stay empty.
    Raises RequestError for an impossible number or an unknown word.
    """

    skeleton = SKELETON
    scenes_are_clips = True

    def __init__(
        self,
        *,
        n: int = 600,
        seed: int = 0,
        size: tuple[int, int] = (192, 192),
        clips: int = 24,
        background: str = "mixed",
        individuals: int = 1,
        distractor: str = "none",
        body: tuple[float, float] = (0.27, 0.4),
    ) -> None:
        counts = (("n", n, 1), ("clips", clips, 1), ("individuals", individuals, 1), ("seed", seed, 0))
        for field, value, least in counts:
            if value < least:
                raise RequestError(f"creatures: {field}={value}; wanted at least {least}")
        if clips > n or min(size) < 32 or individuals > 255:
            raise RequestError(
                f"creatures: n={n}, clips={clips}, size={size}, individuals={individuals}; wanted as many "
                "pictures as clips, 32 pixels or more, and at most 255 individuals"
            )
        if not 0.05 <= body[0] <= body[1] <= 0.6:
            raise RequestError(f"creatures: body={body}; wanted two shares, LOW and HIGH, within 0.05-0.6")
        for field, word, known in (
            ("background", background, (*GROUNDS, "mixed")),
            ("distractor", distractor, ("none", "shadow", "reflection")),
        ):
            if word not in known:
                raise RequestError(f"creatures: {field}={word}; wanted one of {', '.join(known)}")
        self.n, self.seed, self.size, self.clips = n, seed, size, clips
        self.background, self.individuals, self.distractor, self.body = (
            background,
            individuals,
            distractor,
            body,
        )
        self.frames = -(-n // clips)  # per clip; the last clip may be shorter
        self.title = f"creatures ({n} pictures, {clips} clips, seed {seed})"
        self.is_clip = clips == 1
        self._clips: dict[int, _Clip] = {}

    def __len__(self) -> int:
        return self.n

    def picture_size(self, index: int) -> tuple[int, int]:
        return self.size

    def name(self, index: int) -> str:
        clip, frame = divmod(index, self.frames)
        return f"creature{clip:03d}#{frame}"

    def scene(self, index: int) -> str:
        """Each clip has a ground of its own."""
        return str(index // self.frames)

    def fingerprint(self) -> str:
        told = (self.n, self.seed, self.size, self.clips, self.background, self.individuals, self.distractor)
        return hashlib.sha256(repr(("creatures", 1, *told, self.body)).encode()).hexdigest()

    def picture(self, index: int) -> Picture:
        clip, frame = self._where(index)
        canvas = clip.ground.render(self.size, frame)
        layers, _ = self._layers(index)
        if self.distractor == "shadow":
            paint(canvas, [_shadow(layer, clip, frame) for layer in layers])
        paint(canvas, layers)
        if self.distractor == "reflection":
            strip = self.size[1] // 6
            wall, seen = canvas[:, :strip], canvas[:, strip : 2 * strip][:, ::-1]
            mirrored = 0.55 * wall.mean((0, 1)) + 0.45 * seen
            wall[:] = np.where((self.mask(index) > 0)[:, :strip, None], wall, mirrored)
        rng = np.random.Generator(np.random.PCG64([self.seed, 1, index]))
        return develop(canvas, rng, gain=float(clip.gain[frame]), noise=clip.noise)

    def mask(self, index: int) -> UInt8[np.ndarray, "H W"]:
        """1 + individual on top of each pixel, 0 the background."""
        layers, _ = self._layers(index)
        owner = np.array([layer.owner + 1 for layer in layers] + [0], np.uint8)
        return owner[top_map(layers, self.size)]

    def body_map(self, index: int) -> tuple[Int[np.ndarray, "H W"], Float[np.ndarray, "H W 2"]]:
        """Dense correspondence: which layer is on top (individual * len(PARTS) + part, -1 the background) and
        the pixel's (u, v) on that part. The same (layer, u, v) is the same spot of fur in every frame."""
        layers, _ = self._layers(index)
        top = top_map(layers, self.size)
        uv = np.zeros((*self.size, 2))
        for i in np.unique(top[top >= 0]):
            y, x = np.nonzero(top == i)
            uv[y, x] = _tube(layers[i]).locate(np.stack([x, y], 1).astype(float))
        return top, uv

    def place(
        self, index: int, layer: Int[np.ndarray, " m"], uv: Float[np.ndarray, "m 2"]
    ) -> tuple[Float[np.ndarray, "m 2"], np.ndarray]:
        """Where spots of fur given as in `body_map` lie in picture `index`, and whether they are seen."""
        layers, _ = self._layers(index)
        xy = np.zeros((len(layer), 2))
        for i in np.unique(layer):
            xy[layer == i] = _tube(layers[i]).place(uv[layer == i])
        return xy, top_at(layers, xy) == layer

    @cached_property
    def table(self) -> KeypointTable:
        """One row per individual per picture. Points outside the picture are not labelled."""
        n, p, k = self.n, self.individuals, len(SKELETON)
        h, w = self.size
        xy, seen = np.zeros((n, p, k, 2)), np.zeros((n, p, k), bool)
        box, area = np.zeros((n, p, 4)), np.zeros((n, p))
        for index in range(n):
            layers, xy[index] = self._layers(index)
            top = top_at(layers, xy[index].reshape(-1, 2)).reshape(p, k)
            owner, part = np.divmod(top, len(PARTS))
            seen[index] = (owner == np.arange(p)[:, None]) & _OWN[np.arange(k), part]
            box[index], area[index] = extents(layers, self.size, p)
        inside = np.all((xy >= 0) & (xy <= (w - 1, h - 1)), -1)
        rows = n * p
        return KeypointTable(
            names=SKELETON.names,
            images=tuple(self.name(i) for i in range(n)),
            image=np.repeat(np.arange(n), p),
            individual=np.tile(np.arange(p), n),
            xy=np.where(inside[..., None], xy, 0).reshape(rows, k, 2),
            labelled=inside.reshape(rows, k),
            visible=(seen & inside).reshape(rows, k),
            score=np.ones((rows, k)),
            box=box.reshape(rows, 4),
            has_box=(box[..., 2] > 0).reshape(rows),
            area=area.reshape(rows),
            sizes=(self.size,) * n,
            edges=SKELETON.edges,
            swap=SKELETON.swap,
            source=self.title,
        )

    def _where(self, index: int) -> tuple[_Clip, int]:
        if not 0 <= index < self.n:
            raise IndexError(f"picture {index} of {self.n}")
        clip, frame = divmod(index, self.frames)
        if clip not in self._clips:
            self._clips[clip] = self._make_clip(clip)
        return self._clips[clip], frame

    def _layers(self, index: int) -> tuple[list[Layer], Float[np.ndarray, "P K 2"]]:
        """Every animal's layers, the first animal at the bottom, and their points."""
        clip, frame = self._where(index)
        made = [assemble(m, frame, looks, i) for i, (m, looks) in enumerate(zip(clip.motions, clip.looks))]
        return [layer for layers, _ in made for layer in layers], np.stack([xy for _, xy in made])

    def _make_clip(self, number: int) -> _Clip:
        rng = np.random.Generator(np.random.PCG64([self.seed, 0, number]))
        kind = str(rng.choice(GROUNDS)) if self.background == "mixed" else self.background
        light = rng.uniform(60, 200)
        side = min(self.size)
        looks, motions = [], []
        for _ in range(self.individuals):
            length = side * rng.uniform(*self.body)
            looks.append(random_looks(rng, light))
            motions.append(random_motion(rng, self.frames, self.size, length, 0.75 * length))
        return _Clip(
            ground=random_ground(rng, kind, light=light),
            looks=tuple(looks),
            motions=tuple(motions),
            gain=1 + 0.04 * smooth_noise(rng, self.frames, 30.0),
            noise=rng.uniform(1.5, 4.5),
            shadow=rng.uniform(0.08, 0.16) * rng.choice([-1, 1], 2),
        )


def demo_clip() -> Creatures:
    """The embedded demonstration: one animal, 360 pictures of 192 x 192, still ground, full turns."""
    return Creatures(n=360, clips=1, seed=59, size=(192, 192), background="textured", body=(0.34, 0.34))


def _tube(layer: Layer) -> Tube:
    assert isinstance(layer.shape, Tube)  # animals are made of nothing else
    return layer.shape


def _shadow(layer: Layer, clip: _Clip, frame: int) -> Layer:
    tube = _tube(layer)
    fall = clip.shadow * clip.motions[layer.owner].length[frame]
    shape = Tube(tube.line + fall, tube.radius)
    return Layer(shape=shape, paint=Flat(np.full(3, 25.0)), owner=-1, part=layer.part, opacity=0.45)
