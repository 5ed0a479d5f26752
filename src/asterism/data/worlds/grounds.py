"""Backgrounds: still, textured, moving ones, and clutter. Cheap, from noise tiles that wrap around."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from asterism.data.worlds.painting import PATTERNS, TILE, Layer, Textile, noise_tile
from asterism.data.worlds.shapes import Shape, Slab, Tube

GROUNDS = ("still", "textured", "moving")


def random_colour(rng: np.random.Generator, *, light: float, chroma: float) -> Float[np.ndarray, "3"]:
    """A colour of mean level `light` (0..255) whose channels differ by up to `chroma`."""
    tint = rng.uniform(-1, 1, 3)
    return np.clip(light + chroma * (tint - tint.mean()), 5, 250)


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A background of one clip. `pan` is how far it moves per frame, in pixels (x, y)."""

    colour: Float[np.ndarray, "3"]
    coarse: Float[np.ndarray, "3"]  # amplitude of the large noise per channel
    fine: float
    slope: Float[np.ndarray, "2"]  # levels gained over the picture's width and height
    shift: Float[np.ndarray, "2"]
    pan: Float[np.ndarray, "2"]

    def render(self, size: tuple[int, int], frame: int) -> Float32[np.ndarray, "H W 3"]:
        h, w = size
        column, row = np.rint(self.shift + frame * self.pan).astype(int)
        y, x = (row + np.arange(h)) % TILE, (column + np.arange(w)) % TILE
        coarse, fine = noise_tile(8.0)[np.ix_(y, x)], noise_tile(1.0)[np.ix_(y, x)]
        ramp = np.linspace(-1, 1, w, dtype=np.float32) * np.float32(self.slope[0] / 2)
        ramp = ramp + np.linspace(-1, 1, h, dtype=np.float32)[:, None] * np.float32(self.slope[1] / 2)
        level = ramp + np.float32(self.fine) * fine
        canvas = self.colour.astype(np.float32) + coarse[..., None] * self.coarse.astype(np.float32)
        canvas += level[..., None]
        return canvas


def random_ground(rng: np.random.Generator, kind: str, *, light: float) -> Ground:
    """`kind` is one of GROUNDS: still is smooth, textured has structure, moving also pans."""
    rough = 0.0 if kind == "still" else 1.0
    angle, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1.5) if kind == "moving" else 0.0
    return Ground(
        colour=random_colour(rng, light=light, chroma=25.0),
        coarse=rough * (rng.uniform(6, 12) + rng.uniform(-4, 4, 3)),
        fine=1.0 + rough * rng.uniform(2, 7),
        slope=rng.uniform(-20, 20, 2),
        shift=rng.uniform(0, TILE, 2),
        pan=speed * np.array([np.cos(angle), np.sin(angle)]),
    )


def random_thing(rng: np.random.Generator, size: tuple[int, int], extent: float) -> Layer:
    """A piece of clutter about `extent` of the picture's shorter side: a box, a board, a pole or a pebble."""
    side = extent * min(size)
    centre = rng.uniform(0, 1, 2) * (size[1], size[0])
    angle = (
        rng.normal(0, 0.15) + rng.integers(0, 2) * np.pi / 2 if rng.random() < 0.7 else rng.uniform(0, np.pi)
    )
    along = np.array([np.cos(angle), np.sin(angle)]) * side / 2
    left = np.array([along[1], -along[0]]) * rng.uniform(0.15, 1.0)
    axis = np.stack([centre - along, centre + along])
    shape: Shape = Tube(axis, np.full(2, max(side * rng.uniform(0.06, 0.25), 1.5)))
    if rng.random() < 0.6:
        corners = np.stack([axis[0] - left, axis[1] - left, axis[1] + left, axis[0] + left])
        shape = Slab(corners + rng.normal(0, 0.06 * side, (4, 2)), side * rng.uniform(0.0, 0.1), axis)
    paint = Textile(
        base=random_colour(rng, light=rng.uniform(20, 235), chroma=rng.uniform(0, 90)),
        second=random_colour(rng, light=rng.uniform(20, 235), chroma=rng.uniform(0, 90)),
        pattern=str(rng.choice(PATTERNS)),
        extent=(200 * extent, 100 * extent),
        shift=(rng.uniform(0, 255), rng.uniform(0, 255)),
        repeat=rng.uniform(2, 10),
        grain=rng.uniform(1, 12),
        depth=rng.uniform(0, 0.4),
    )
    return Layer(shape=shape, paint=paint, owner=-1, part=0)
