"""Shapes with exact outlines: a signed distance and surface coordinates at any point. No pixels, no colour.

A shape is a tube (a line with a radius at every vertex), a slab (a polygon with round corners) or a ball (an
ellipse). xy in pixels, a whole number is the centre of a pixel. n vertices; a field has the broadcast shape
of x and y.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

Bounds = tuple[Float[np.ndarray, "2"], Float[np.ndarray, "2"]]  # smallest and largest xy


class Field(NamedTuple):
    """distance: to the outline, negative inside; u: along the shape, 0 to 1; v: across it, -1 to 1."""

    distance: Float[np.ndarray, "..."]
    u: Float[np.ndarray, "..."]
    v: Float[np.ndarray, "..."]


Number = float | np.ndarray


def _segment(
    x: np.ndarray, y: np.ndarray, start: Sequence[Number], step: Sequence[Number], r0: Number, dr: Number
) -> tuple[np.ndarray, ...]:
    """Gap to a tapered segment, place along it, distance from and radius of its axis, and on which side."""
    (x0, y0), (dx, dy) = start, step
    length2 = dx * dx + dy * dy + 1e-12  # a disc is a segment of no length; kept in the points' precision
    px, py = x - x0, y - y0
    t = np.minimum(np.maximum(px * (dx / length2) + py * (dy / length2), 0), 1)
    ex, ey = px - t * dx, py - t * dy
    away, r = np.sqrt(ex * ex + ey * ey), r0 + t * dr
    return away - r, t, away, r, dy * ex - dx * ey


@dataclass(frozen=True)
class Tube:
    """A bent, tapered, round-ended tube. u runs from the first vertex to the last, v > 0 is on the left.

    Left as seen when travelling along the line on the screen: the line (0,0) to (1,0) has its left at y < 0.
    """

    line: Float[np.ndarray, "n 2"]
    radius: Float[np.ndarray, " n"]

    @cached_property
    def bounds(self) -> Bounds:
        reach = self.radius[:, None]
        return (self.line - reach).min(0), (self.line + reach).max(0)

    def field(self, x: Float[np.ndarray, "..."], y: Float[np.ndarray, "..."]) -> Field:
        """Nearest over the segments of |p - c(t)| - r(t), c and r linear along a segment."""
        steps, turn = np.diff(self.line, axis=0), np.diff(self.radius)
        if len(steps) == 1:  # numbers instead of arrays of one: most parts are single segments
            start, step, r0, dr = (
                self.line[0].tolist(),
                steps[0].tolist(),
                float(self.radius[0]),
                float(turn[0]),
            )
            gap, t, away, r, side = _segment(x, y, start, step, r0, dr)
            return Field(gap, t, np.copysign(away / r, side))
        shape = (-1,) + (1,) * np.broadcast(x, y).ndim
        columns = np.concatenate([self.line[:-1], steps, self.radius[:-1, None], turn[:, None]], 1)
        x0, y0, dx, dy, r0, dr = (c.reshape(shape) for c in columns.T.astype(x.dtype))
        parts = _segment(x, y, (x0, y0), (dx, dy), r0, dr)
        nearest = parts[0].argmin(0)[None]
        gap, t, away, r, side = (np.take_along_axis(part, nearest, 0)[0] for part in parts)
        return Field(gap, (nearest[0] + t) / x.dtype.type(len(steps)), np.copysign(away / r, side))

    def place(self, uv: Float[np.ndarray, "m 2"]) -> Float[np.ndarray, "m 2"]:
        """Where the surface point (u, v) lies; beyond the ends the line goes on straight."""
        centre, tangent, radius = self._at(uv[:, 0])
        left = np.stack([tangent[:, 1], -tangent[:, 0]], 1)
        return centre + left * (uv[:, 1] * radius)[:, None]

    def locate(self, xy: Float[np.ndarray, "m 2"]) -> Float[np.ndarray, "m 2"]:
        """The inverse of `place` for points inside: u solves (p - c(u)) . tangent(u) = 0 by fixed point."""
        u = self.field(xy[:, 0], xy[:, 1]).u
        pace = np.linalg.norm(np.diff(self.line, axis=0), axis=1).mean() * (len(self.line) - 1)
        for _ in range(40):  # contracts by offset times curvature, below 1 wherever the tube is not folded
            centre, tangent, _ = self._at(u)
            u = u + 0.7 * ((xy - centre) * tangent).sum(1) / pace
        centre, tangent, radius = self._at(u)
        left = np.stack([tangent[:, 1], -tangent[:, 0]], 1)
        return np.stack([u, ((xy - centre) * left).sum(1) / radius], 1)

    def _at(
        self, u: Float[np.ndarray, " m"]
    ) -> tuple[Float[np.ndarray, "m 2"], Float[np.ndarray, "m 2"], Float[np.ndarray, " m"]]:
        """Centre, unit tangent (linear between the vertices' means) and radius at u."""
        steps = np.diff(self.line, axis=0)
        last = len(steps)
        k = np.clip((u * last).astype(int), 0, last - 1)
        t = u * last - k
        ends = np.concatenate([steps[:1], steps[:-1] + steps[1:], steps[-1:]])
        inside = np.clip(t, 0, 1)[:, None]
        ends = ends / np.linalg.norm(ends, axis=1, keepdims=True)
        tangent = ends[k] * (1 - inside) + ends[k + 1] * inside
        tangent = tangent / np.linalg.norm(tangent, axis=1, keepdims=True)
        radius = self.radius[k] + inside[:, 0] * (self.radius[k + 1] - self.radius[k])
        return self.line[k] + t[:, None] * steps[k], tangent, radius


@dataclass(frozen=True)
class Slab:
    """A polygon grown by `radius`, so with round corners. u runs along `axis` (two points), v to its left."""

    corners: Float[np.ndarray, "n 2"]
    radius: float
    axis: Float[np.ndarray, "2 2"]

    @cached_property
    def bounds(self) -> Bounds:
        return self.corners.min(0) - self.radius, self.corners.max(0) + self.radius

    def field(self, x: Float[np.ndarray, "..."], y: Float[np.ndarray, "..."]) -> Field:
        """Distance to the nearest edge, signed by the crossing number, less the radius."""
        x, y = np.broadcast_arrays(x, y)
        nearest = np.full(x.shape, np.inf, x.dtype)
        inside = np.zeros(x.shape, bool)
        corners = self.corners.astype(x.dtype)
        for a, b in zip(corners, np.roll(corners, -1, 0)):
            d = b - a
            px, py = x - a[0], y - a[1]
            t = np.clip((px * d[0] + py * d[1]) / max(float(d @ d), 1e-12), 0, 1)
            nearest = np.minimum(nearest, (px - t * d[0]) ** 2 + (py - t * d[1]) ** 2)
            spans = (a[1] <= y) != (b[1] <= y)
            inside ^= spans & (
                (d[0] * py - d[1] * px > 0) == (d[1] > 0)
            )  # the edge crosses to the right of p
        gap = np.sqrt(nearest)
        along = self.axis[1] - self.axis[0]
        length = max(float(np.linalg.norm(along)), 1e-6)
        ahead, left = along / length, np.array([along[1], -along[0]]) / length
        half = np.abs((self.corners - self.axis[0]) @ left).max() + self.radius
        u = ((x - self.axis[0, 0]) * ahead[0] + (y - self.axis[0, 1]) * ahead[1]) / length
        v = ((x - self.axis[0, 0]) * left[0] + (y - self.axis[0, 1]) * left[1]) / half
        distance = np.where(inside, -gap, gap) - x.dtype.type(self.radius)
        return Field(distance, u.astype(x.dtype), v.astype(x.dtype))


@dataclass(frozen=True)
class Ball:
    """An ellipse: u runs from -1 to 1 along the half axis `up`, v along the other, `across` long, leftwards.

    The distance is of first order: exact on the outline, and for a circle everywhere.
    """

    centre: Float[np.ndarray, "2"]
    up: Float[np.ndarray, "2"]
    across: float

    @cached_property
    def bounds(self) -> Bounds:
        other = np.array([self.up[1], -self.up[0]]) / np.linalg.norm(self.up) * self.across
        reach = np.sqrt(self.up**2 + other**2)
        return self.centre - reach, self.centre + reach

    def field(self, x: Float[np.ndarray, "..."], y: Float[np.ndarray, "..."]) -> Field:
        tall = float(np.linalg.norm(self.up))
        ahead = self.up / tall
        px, py = x - x.dtype.type(self.centre[0]), y - y.dtype.type(self.centre[1])
        u = (px * x.dtype.type(ahead[0]) + py * x.dtype.type(ahead[1])) / x.dtype.type(tall)
        v = (px * x.dtype.type(ahead[1]) - py * x.dtype.type(ahead[0])) / x.dtype.type(self.across)
        q2 = u * u + v * v
        slope = np.sqrt((u / x.dtype.type(tall)) ** 2 + (v / x.dtype.type(self.across)) ** 2)
        q = np.sqrt(q2)
        distance = (q - 1) * q / np.maximum(slope, x.dtype.type(1e-6))
        return Field(distance - (q2 == 0) * x.dtype.type(min(tall, self.across)), u, v)


Shape = Tube | Slab | Ball
