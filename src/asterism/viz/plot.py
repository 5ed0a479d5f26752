"""Line charts with Pillow alone: a curve over labelled images, a loss over steps, a point over time."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from asterism.viz.draw import Picture, colours

_INK, _GRID, _PAPER = (40, 40, 40), (222, 222, 222), (255, 255, 255)
Real = float | int
_STEPS = (1, 2, 5, 10)  # a tick is one of these times a power of ten


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Points of one line; a non-finite y breaks it. low and high, where given, are shaded between."""

    x: Sequence[Real]
    y: Sequence[Real]
    low: Sequence[Real] = ()
    high: Sequence[Real] = ()


def chart(
    curves: Mapping[str, Curve],
    *,
    x_name: str,
    y_name: str,
    title: str = "",
    size: tuple[int, int] = (360, 560),
) -> Picture:
    """A chart of named curves, (h, w) pixels, with a legend. ValueError where nothing is finite."""
    h, w = size
    canvas = Image.new("RGB", (w, h), _PAPER)
    pen, font = ImageDraw.Draw(canvas, "RGBA"), ImageFont.load_default(12)
    box = (64, 30, w - 14, h - 44)  # left, top, right, bottom of the plot; the rest is room for words
    xs = _span([v for c in curves.values() for v in c.x])
    ys = _span([v for c in curves.values() for part in (c.y, c.low, c.high) for v in part])
    _axes(pen, font, box, xs, ys)
    pen.text((w / 2, h - 6), x_name, _INK, font=font, anchor="md")
    pen.text((box[0], box[1] - 6), y_name, _INK, font=font, anchor="ld")
    pen.text((w / 2, 4), title, _INK, font=ImageFont.load_default(14), anchor="ma")

    def place(x: Real, y: Real) -> tuple[Real, Real]:
        along, up = (x - xs[0]) / (xs[1] - xs[0]), (y - ys[0]) / (ys[1] - ys[0])
        return box[0] + along * (box[2] - box[0]), box[3] - up * (box[3] - box[1])

    for (name, curve), colour, row in zip(curves.items(), colours(len(curves)), range(len(curves))):
        if len(curve.low) and len(curve.high):
            ring = [place(x, y) for x, y in zip(curve.x, curve.low)]
            ring += [place(x, y) for x, y in zip(reversed(curve.x), reversed(curve.high))]
            pen.polygon(ring, fill=(*colour, 50))
        for piece in _pieces(curve):
            at = [place(x, y) for x, y in piece]
            pen.line(at, fill=(*colour, 255), width=2)
            if len(curve.x) <= 24:  # few enough that each deserves a dot
                for x, y in at:
                    pen.ellipse([x - 3, y - 3, x + 3, y + 3], fill=(*colour, 255))
        level = box[1] + 10 + 16 * row
        pen.line([(box[2] - 130, level), (box[2] - 112, level)], fill=(*colour, 255), width=3)
        pen.text((box[2] - 106, level), name, _INK, font=font, anchor="lm")
    return np.asarray(canvas)


def ticks(low: Real, high: Real, about: int = 5) -> list[float]:
    """Round numbers from low to high, roughly `about` of them."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in _STEPS if s * power >= rough * (1 - 1e-9))
    return [n * step for n in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _span(values: Sequence[Real]) -> tuple[Real, Real]:
    finite = [v for v in values if math.isfinite(v)]
    if not finite:
        raise ValueError("chart: got no finite number to draw")
    low, high = min(finite), max(finite)
    room = 0.05 * (high - low) or max(1.0, abs(high)) * 0.05
    return low - room, high + room


def _axes(pen: ImageDraw.ImageDraw, font, box, xs: tuple[Real, Real], ys: tuple[Real, Real]) -> None:
    left, top, right, bottom = box
    for value in ticks(*xs):
        x = left + (value - xs[0]) / (xs[1] - xs[0]) * (right - left)
        pen.line([(x, top), (x, bottom)], fill=_GRID)
        pen.text((x, bottom + 5), f"{value:g}", _INK, font=font, anchor="ma")
    for value in ticks(*ys):
        y = bottom - (value - ys[0]) / (ys[1] - ys[0]) * (bottom - top)
        pen.line([(left, y), (right, y)], fill=_GRID)
        pen.text((left - 6, y), f"{value:g}", _INK, font=font, anchor="rm")
    pen.rectangle([left, top, right, bottom], outline=_INK)


def _pieces(curve: Curve) -> list[list[tuple[Real, Real]]]:
    pieces: list[list[tuple[Real, Real]]] = [[]]
    for x, y in zip(curve.x, curve.y):
        if math.isfinite(x) and math.isfinite(y):
            pieces[-1].append((x, y))
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]
