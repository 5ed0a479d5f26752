"""Keypoints on pictures: points, bones, names, doubt, truth, the frame of an object, and sheets of pictures.

Pictures go in and come out as uint8 H W 3 in RGB; xy is in pixels of the picture, whole numbers are centres.
Everything is drawn larger on a transparent layer and shrunk onto the picture, so edges are smooth.
"""

import colorsys
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from asterism.geometry import coords

Picture = NDArray[np.uint8]  # H W 3
Colour = tuple[int, int, int]

_FINE = 3  # how many times larger the layer is than the picture; odd, so that centres fall on centres
_GOLDEN = (math.sqrt(5) - 1) / 2  # turns of hue between neighbours: no two of the first dozen look alike
_LAP = 21  # a Fibonacci number of golden steps comes back to nearly the same hue; 21 is also 7 times 3
_ELLIPSE = math.sqrt(-2 * math.log(1 - 0.95))  # radius that holds 95 % of a 2D normal, in standard deviations


def colours(n: int) -> tuple[Colour, ...]:
    """n colours, the k-th always the same: bright and dark in turn around the circle of hues."""
    found = []
    for k in range(n):
        light, strength = ((1.0, 0.95), (1.0, 0.5), (0.75, 0.95))[(k + k // _LAP) % 3]
        r, g, b = colorsys.hsv_to_rgb((k * _GOLDEN) % 1.0, strength, light)
        found.append((round(255 * r), round(255 * g), round(255 * b)))
    return tuple(found)


def fit(picture: Picture, longest: int) -> Picture:
    """The picture resized so that its longer side has `longest` pixels."""
    h, w = picture.shape[:2]
    scale = longest / max(h, w)
    size = (max(1, round(w * scale)), max(1, round(h * scale)))
    kind = Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.BOX
    return np.asarray(Image.fromarray(picture).resize(size, kind))


def moved(xy: NDArray[np.floating], old: tuple[int, int], new: tuple[int, int]) -> NDArray[np.float64]:
    """The same places after a picture of size `old` (h, w) was resized to `new`."""
    given = torch.as_tensor(np.asarray(xy, np.float64))
    return coords.xy_from_xyn(coords.xyn_from_xy(given, old), new).numpy()


class _Layer:
    """A transparent layer over a picture, and the map from the picture's xy to it."""

    def __init__(self, picture: Picture) -> None:
        self.picture, self.size = picture, picture.shape[:2]
        self.fine = (self.size[0] * _FINE, self.size[1] * _FINE)
        self.image = Image.new("RGBA", (self.fine[1], self.fine[0]), (0, 0, 0, 0))
        self.pen = ImageDraw.Draw(self.image)
        # A mark is an eightieth of the picture's smaller side: the same to the eye at every resolution.
        self.radius = _FINE * max(2.0, min(self.size) / 80)

    def places(self, xy: NDArray[np.floating]) -> NDArray[np.float64]:
        return moved(xy, self.size, self.fine)

    def done(self) -> Picture:
        inked = self.image.getbbox()
        if inked is None:
            return self.picture
        left, top = inked[0] // _FINE, inked[1] // _FINE
        box = (left * _FINE, top * _FINE, -(-inked[2] // _FINE) * _FINE, -(-inked[3] // _FINE) * _FINE)
        below = Image.fromarray(self.picture).convert("RGBA")
        below.alpha_composite(self.image.crop(box).reduce(_FINE), (left, top))
        return np.asarray(below.convert("RGB"))


def _shown(xy: NDArray[np.floating], shown: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    finite = np.asarray(np.isfinite(xy).all(-1))
    return finite if shown is None else finite & shown


def points(
    picture: Picture,
    xy: NDArray[np.floating],
    *,
    shown: NDArray[np.bool_] | None = None,
    score: NDArray[np.floating] | None = None,
    cov: NDArray[np.floating] | None = None,
    edges: Sequence[tuple[int, int]] = (),
    names: Sequence[str] = (),
) -> Picture:
    """The picture with K points on it, each index in its own colour.

    xy K 2; shown K: others are left out; score K in [0, 1] becomes opacity; cov K 2 2 in squared pixels
    becomes the ellipse that holds the point with 95 %; edges join points; names are written beside them.
    """
    layer, keep = _Layer(picture), _shown(xy, shown)
    at = layer.places(np.where(keep[:, None], xy, 0.0))
    sure = np.ones(len(at)) if score is None else np.clip(np.nan_to_num(score), 0, 1)
    paint, r = colours(len(at)), layer.radius
    for a, b in edges:
        if keep[a] and keep[b]:
            line = [tuple(at[a]), tuple(at[b])]
            layer.pen.line(line, fill=(0, 0, 0, 110), width=max(3, round(0.9 * r)))
            layer.pen.line(line, fill=(*paint[b], 220), width=max(1, round(0.5 * r)))
    font = ImageFont.load_default(max(9 * _FINE, 2.4 * r))
    for k in np.flatnonzero(keep).tolist():
        (x, y), alpha = at[k], round(255 * (0.25 + 0.75 * sure[k]))
        if cov is not None and np.isfinite(cov[k]).all():
            layer.pen.line(_ellipse(at[k], cov[k]), fill=(*paint[k], alpha), width=max(2, round(0.3 * r)))
        # Black, then white, then the colour: seen on any background.
        for size, fill in ((1.35, (0, 0, 0)), (1.12, (255, 255, 255)), (0.85, paint[k])):
            layer.pen.ellipse([x - size * r, y - size * r, x + size * r, y + size * r], fill=(*fill, alpha))
        if len(names):
            light, dark = (255, 255, 255, alpha), (0, 0, 0, alpha)
            place, words = (x + 1.7 * r, y), str(names[k])
            layer.pen.text(place, words, light, font=font, anchor="lm", stroke_width=_FINE, stroke_fill=dark)
    return layer.done()


def _ellipse(at: NDArray[np.float64], cov: NDArray[np.floating]) -> list[tuple[float, float]]:
    values, vectors = np.linalg.eigh(cov)
    angle = np.linspace(0, 2 * np.pi, 49)
    ring = np.stack([np.cos(angle), np.sin(angle)], -1) * np.sqrt(np.clip(values, 0, None))
    return [tuple(p) for p in at + _FINE * _ELLIPSE * ring @ vectors.T]


def truth(picture: Picture, xy: NDArray[np.floating], *, shown: NDArray[np.bool_] | None = None) -> Picture:
    """The picture with annotated points as crosses, in the colours that `points` gives the same indices."""
    layer, keep = _Layer(picture), _shown(xy, shown)
    at, paint, r = layer.places(np.where(keep[:, None], xy, 0.0)), colours(len(xy)), 1.6 * layer.radius
    for width, white in ((0.8, True), (0.4, False)):
        for k in np.flatnonzero(keep).tolist():
            x, y = at[k]
            fill = (255, 255, 255, 255) if white else (*paint[k], 255)
            for dx, dy in ((r, r), (r, -r)):
                line = [(x - dx, y - dy), (x + dx, y + dy)]
                layer.pen.line(line, fill=fill, width=max(2, round(width * layer.radius)))
    return layer.done()


def frame(picture: Picture, centre: Sequence[float | int], scale: float, angle: float) -> Picture:
    """The picture with the square of an object's frame (see types.Frames), its x axis as an arrow."""
    layer = _Layer(picture)
    along = scale * np.array([math.cos(angle), math.sin(angle)])
    across = np.array([-along[1], along[0]])
    middle = np.asarray(centre, np.float64)
    corners = [middle + a * along + b * across for a, b in ((1, 1), (1, -1), (-1, -1), (-1, 1), (1, 1))]
    head = [
        middle,
        middle + along,
        middle + 0.85 * along + 0.1 * across,
        middle + 0.85 * along - 0.1 * across,
    ]
    at = [tuple(p) for p in layer.places(np.stack(corners + head))]
    for line in (at[:5], at[5:7], [at[7], at[6], at[8]]):
        layer.pen.line(line, fill=(0, 0, 0, 160), width=max(3, round(0.8 * layer.radius)))
        layer.pen.line(line, fill=(255, 221, 51, 255), width=max(2, round(0.4 * layer.radius)))
    return layer.done()


def caption(picture: Picture, text: str) -> Picture:
    """The picture with one line of words on a dark strip beneath it."""
    h, w = picture.shape[:2]
    tall = max(14, round(0.06 * max(h, w)))
    canvas = Image.new("RGB", (w, h + tall), (24, 24, 24))
    canvas.paste(Image.fromarray(picture))
    font = ImageFont.load_default(0.62 * tall)
    ImageDraw.Draw(canvas).text((tall / 4, h + tall / 2), text, (235, 235, 235), font=font, anchor="lm")
    return np.asarray(canvas)


def contact_sheet(pictures: Sequence[Picture], columns: int, *, gap: int = 4) -> Picture:
    """Many pictures as one, row by row; each cell is as large as the largest picture."""
    if not pictures:
        raise ValueError("contact_sheet: got no pictures")
    tall, wide = max(p.shape[0] for p in pictures), max(p.shape[1] for p in pictures)
    columns = min(columns, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    sheet = np.full((rows * (tall + gap) + gap, columns * (wide + gap) + gap, 3), 255, np.uint8)
    for i, picture in enumerate(pictures):
        h, w = picture.shape[:2]
        top = gap + (i // columns) * (tall + gap) + (tall - h) // 2
        left = gap + (i % columns) * (wide + gap) + (wide - w) // 2
        sheet[top : top + h, left : left + w] = picture
    return sheet
