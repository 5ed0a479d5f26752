"""From shapes to pixels: layers drawn back to front with analytic anti-aliasing, and what lies on top where.

Canvases are float32 H W 3 in 0..255. A layer covers a pixel by 1/2 - distance, clipped to [0, 1]: the share
of the pixel behind a straight outline, so that centroids of what is drawn are where the shape says.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int
from scipy.ndimage import gaussian_filter

from asterism.data.worlds.shapes import Field, Shape

TILE = 256  # side of the noise tiles, which wrap around
Colour = Float[np.ndarray, "3"]
Paint = Callable[[Field], np.ndarray]  # surface points (m) -> colours (m 3), float32


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One shape in its paint. `owner` is the individual it is of, -1 a thing; `part` which of its parts."""

    shape: Shape
    paint: Paint
    owner: int
    part: int
    opacity: float = 1.0


@functools.cache
def noise_tile(smooth: float) -> Float32[np.ndarray, "t t"]:
    """Gaussian noise of unit variance blurred by `smooth` texels; wraps around, so it can be tiled."""
    rng = np.random.Generator(np.random.PCG64(int(1000 * smooth)))
    noise = gaussian_filter(rng.standard_normal((TILE, TILE)), smooth, mode="wrap")
    return (noise / noise.std()).astype(np.float32)


def _texel(smooth: float, row: np.ndarray, column: np.ndarray) -> Float32[np.ndarray, " m"]:
    index = (row.astype(np.int64) % TILE) * TILE + column.astype(np.int64) % TILE
    return noise_tile(smooth).ravel()[index]


PATTERNS = ("plain", "spots", "stripes", "gradient", "saddle", "checks", "bands")


@dataclass(frozen=True, kw_only=True)
class Textile:
    """Fur or cloth: two colours mixed by a pattern, fine grain, and the shading of a round body.

    `extent` is the shape's length and half width in texels, so that grain keeps its size on every part;
    `shift` moves the pattern; `repeat` is how many stripes, bands or checks a length of 100 texels has.
    """

    base: Colour
    second: Colour
    pattern: str = "plain"
    extent: tuple[float, float] = (100.0, 30.0)
    shift: tuple[float, float] = (0.0, 0.0)
    repeat: float = 4.0
    grain: float = 8.0
    depth: float = 0.3  # how much darker the rim is than the ridge
    shade: float = 1.0

    def __call__(self, field: Field) -> Float32[np.ndarray, "m 3"]:
        along = field.u * self.extent[0] + self.shift[0]
        across = field.v * self.extent[1] + self.shift[1]
        weight = self._weight(field, along, across)[:, None].astype(np.float32)
        base, second = self.base.astype(np.float32), self.second.astype(np.float32)
        colour = base + weight * (second - base)
        rim = np.minimum(field.v * field.v, 1)
        light = np.float32(self.shade) * (1 - np.float32(self.depth) * rim)
        grain = np.float32(self.grain) * _texel(1.5, 2 * along, 2 * across)
        return colour * light[:, None] + grain[:, None]

    def _weight(self, field: Field, along: np.ndarray, across: np.ndarray) -> np.ndarray:
        wave = 2 * np.pi * self.repeat / 100
        match self.pattern:
            case "spots":
                return np.clip(3 * (_texel(8.0, along, across) - 0.6), 0, 1)
            case "stripes":
                return np.clip(2 * np.sin(wave * along + _texel(8.0, along, across)), 0, 1)
            case "bands":
                return np.clip(3 * np.sin(wave * along), 0, 1)
            case "checks":
                return np.clip(2 * np.sin(wave * along) * np.sin(wave * across) + 0.3, 0, 1)
            case "gradient":
                return field.u
            case "saddle":
                return np.clip(4 * (0.55 - np.abs(field.u - 0.45) - 0.25 * np.abs(field.v)), 0, 1)
            case _:
                return np.zeros_like(field.u)


@dataclass(frozen=True)
class Flat:
    """One colour."""

    colour: Colour

    def __call__(self, field: Field) -> Float32[np.ndarray, "m 3"]:
        return np.broadcast_to(self.colour.astype(np.float32), (len(field.u), 3))


def _window(layer: Layer, size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of the pixels a layer can touch."""
    low, high = layer.shape.bounds
    first = np.maximum(np.floor(low - 1), 0).astype(int)
    last = np.minimum(np.ceil(high + 1), (size[1] - 1, size[0] - 1)).astype(int)
    return slice(first[1], max(last[1] + 1, first[1])), slice(first[0], max(last[0] + 1, first[0]))


def _grid(columns: slice, rows: slice) -> tuple[Float32[np.ndarray, "1 w"], Float32[np.ndarray, "h 1"]]:
    x = np.arange(columns.start, columns.stop, dtype=np.float32)[None]
    return x, np.arange(rows.start, rows.stop, dtype=np.float32)[:, None]


def paint(canvas: Float32[np.ndarray, "H W 3"], layers: Sequence[Layer]) -> None:
    """Draw the layers over the canvas, in order."""
    for layer in layers:
        rows, columns = _window(layer, canvas.shape[:2])
        if rows.start >= rows.stop or columns.start >= columns.stop:
            continue
        field = layer.shape.field(*_grid(columns, rows))
        touched = np.nonzero(field.distance < 1 / 2)
        chosen = Field(*(f[touched] for f in field))
        cover = np.float32(layer.opacity) * np.minimum(np.float32(1 / 2) - chosen.distance, 1)
        target = canvas[rows, columns]
        under = target[touched]
        target[touched] = under + cover[:, None] * (layer.paint(chosen) - under)


def top_at(layers: Sequence[Layer], xy: Float[np.ndarray, "m 2"]) -> Int[np.ndarray, " m"]:
    """The index of the last layer that holds each point, -1 where none does."""
    top = np.full(len(xy), -1)
    low, high = (np.stack([layer.shape.bounds[i] for layer in layers])[:, None] for i in (0, 1))
    near = np.all((xy >= low) & (xy <= high), -1)  # layers m
    for index in np.nonzero(near.any(1))[0].tolist():
        points = np.nonzero(near[index])[0]
        inside = layers[index].shape.field(xy[points, 0], xy[points, 1]).distance < 0
        top[points[inside]] = index
    return top


def top_map(layers: Sequence[Layer], size: tuple[int, int]) -> Int[np.ndarray, "H W"]:
    """The index of the layer on top of every pixel, -1 for the background."""
    return _top_grid(layers, *_grid(slice(0, size[1]), slice(0, size[0])))


def _top_grid(
    layers: Sequence[Layer], x: Float32[np.ndarray, "1 w"], y: Float32[np.ndarray, "h 1"]
) -> Int[np.ndarray, "h w"]:
    top = np.full((y.size, x.size), -1)
    for index, layer in enumerate(layers):
        low, high = layer.shape.bounds
        columns = slice(*np.searchsorted(x[0], (low[0], high[0])))
        rows = slice(*np.searchsorted(y[:, 0], (low[1], high[1])))
        if rows.start < rows.stop and columns.start < columns.stop:
            top[rows, columns][layer.shape.field(x[:, columns], y[rows]).distance < 0] = index
    return top


def extents(
    layers: Sequence[Layer], size: tuple[int, int], individuals: int
) -> tuple[Float[np.ndarray, "P 4"], Float[np.ndarray, " P"]]:
    """Box (x, y, width, height) of each whole individual inside the picture, and the area that is seen of it.

    The area is counted on a grid of about 64 x 64 points; the box ignores what covers the individual.
    """
    h, w = size
    pitch = max(1, min(size) // 64)
    x = np.arange(pitch // 2, w, pitch, dtype=np.float32)[None]
    y = np.arange(pitch // 2, h, pitch, dtype=np.float32)[:, None]
    owner = np.array([layer.owner for layer in layers] + [-1])[_top_grid(layers, x, y)]
    area = np.bincount(owner[owner >= 0], minlength=individuals) * float(pitch * pitch)
    box = np.zeros((individuals, 4))
    for p in range(individuals):
        bounds = [layer.shape.bounds for layer in layers if layer.owner == p]
        low = np.clip(np.min([b[0] for b in bounds], 0), 0, (w - 1, h - 1))
        high = np.clip(np.max([b[1] for b in bounds], 0), 0, (w - 1, h - 1))
        box[p] = *low, *(high - low)
    return box, area


def develop(
    canvas: Float32[np.ndarray, "H W 3"], rng: np.random.Generator, *, gain: float, noise: float
) -> np.ndarray:
    """What a sensor makes of the canvas: gain, noise (standard deviation in levels), uint8."""
    seen = canvas * np.float32(gain)
    seen += np.float32(noise) * rng.standard_normal(canvas.shape, dtype=np.float32)
    return np.clip(np.rint(seen), 0, 255).astype(np.uint8)
