"""Surfaces made of lofts: a row of rings, skinned and closed at both ends. Legs, wings, slabs and bowls are
all lofts.

Everything is closed and oriented outwards, so that a point of the surface has a true normal. Parts may run
into each other, as they do in models that people draw; then a little surface is hidden inside.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

Vec = Sequence[float | int] | np.ndarray


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """V vertices and M triangles, counter-clockwise seen from outside."""

    vertices: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "M 3"]

    def mirrored(self) -> "Mesh":
        """The mirror image in x = 0."""
        return Mesh(vertices=self.vertices * [-1.0, 1.0, 1.0], faces=self.faces[:, ::-1].copy())


def joined(parts: Sequence[Mesh]) -> Mesh:
    """One mesh of many, in their order."""
    starts = np.cumsum([0, *(len(p.vertices) for p in parts)])[:-1]
    return Mesh(
        vertices=np.concatenate([p.vertices for p in parts]),
        faces=np.concatenate([p.faces + start for p, start in zip(parts, starts, strict=True)]),
    )


def loft(rings: Float[np.ndarray, "S R 3"]) -> Mesh:
    """The skin of S rings of R points each, closed by fans to the means of the first and of the last ring."""
    s, r, _ = rings.shape
    at = np.arange(s * r).reshape(s, r)
    a, b = at[:-1], np.roll(at, -1, axis=1)[:-1]
    c, d = np.roll(at, -1, axis=1)[1:], at[1:]
    sides = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    first, last = s * r, s * r + 1
    low = np.stack([np.full(r, first), np.roll(at[0], -1), at[0]], -1)
    high = np.stack([np.full(r, last), at[-1], np.roll(at[-1], -1)], -1)
    ends = np.stack([rings[0].mean(0), rings[-1].mean(0)])
    vertices = np.concatenate([rings.reshape(-1, 3), ends])
    faces = np.concatenate([sides, low, high])
    return Mesh(vertices=vertices, faces=faces if _volume(vertices, faces) > 0 else faces[:, ::-1].copy())


def _volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    a, b, c = (vertices[faces[:, i]] - vertices.mean(0) for i in range(3))
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


def ring(
    centre: Vec, u: Vec, v: Vec, corners: int = 12, power: float | int = 2.0, turn: float | int = 0.0
) -> Float[np.ndarray, "R 3"]:
    """A superellipse around `centre` with half axes `u` and `v`: power 2 is an ellipse, more is boxier."""
    angle = 2 * np.pi * (np.arange(corners) + turn) / corners
    c, s = np.cos(angle), np.sin(angle)
    size = (np.abs(c) ** power + np.abs(s) ** power) ** (-1 / power)
    return np.asarray(centre) + (size * c)[:, None] * np.asarray(u) + (size * s)[:, None] * np.asarray(v)


def tube(
    path: Sequence[Vec] | np.ndarray,
    radii: Sequence[float | int] | np.ndarray,
    corners: int = 12,
    power: float | int = 2.0,
    flat: float | int = 1.0,
) -> Mesh:
    """Rings across a path, `flat` times as high as wide. The caps' centres are the path's ends."""
    points = np.asarray(path, float)
    ahead = np.gradient(points, axis=0)
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    rings = []
    for centre, direction, radius in zip(points, ahead, radii, strict=True):
        u, v = across(direction)
        rings.append(ring(centre, radius * u, radius * flat * v, corners, power, 0.5))
    return loft(np.stack(rings))


def across(direction: Float[np.ndarray, "3"]) -> tuple[np.ndarray, np.ndarray]:
    """Two directions across one, the first as level (in x and z) as it can be."""
    up = np.array([0.0, 1.0, 0.0]) if abs(direction[1]) < 0.9 else np.array([0.0, 0.0, 1.0])
    u = np.cross(up, direction)
    u /= np.linalg.norm(u)
    return u, np.cross(direction, u)


def beam(
    a: Vec,
    b: Vec,
    wide: float | int,
    narrow: float | int | None = None,
    corners: int = 8,
    power: float | int = 2.0,
) -> Mesh:
    """A straight rod from a to b whose radius goes from `wide` to `narrow`; its caps' centres are a and b."""
    t = np.linspace(0.0, 1.0, 5)
    path = np.asarray(a, float) + t[:, None] * (np.asarray(b, float) - np.asarray(a, float))
    return tube(path, wide + t * ((wide if narrow is None else narrow) - wide), corners, power)


def slab(face: Float[np.ndarray, "R 3"], depth: Vec, bulge: float | int = 0.0, rows: int = 4) -> Mesh:
    """A board whose one face has these corners, `depth` thick; `bulge` swells its rim. The corners stay
    exact.
    """
    depth = np.asarray(depth, float)
    middle = face.mean(0)
    t = np.linspace(0.0, 1.0, rows)
    grow = 1.0 + bulge * np.sin(np.pi * t)
    return loft(np.stack([middle + g * (face - middle) + d * depth for d, g in zip(t, grow, strict=True)]))


def filled(corners: Float[np.ndarray, "C 3"], each: int = 4) -> Float[np.ndarray, "R 3"]:
    """The same polygon with `each` - 1 points more on every side."""
    after = np.roll(corners, -1, axis=0)
    t = (np.arange(each) / each)[:, None]
    return np.concatenate([a + t * (b - a) for a, b in zip(corners, after, strict=True)])


def areas_and_normals(mesh: Mesh) -> tuple[Float[np.ndarray, " M"], Float[np.ndarray, "M 3"]]:
    """Of each triangle; a triangle without area has a normal of zero."""
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    cross = np.cross(b - a, c - a)
    length = np.linalg.norm(cross, axis=1)
    return length / 2, cross / np.maximum(length, 1e-300)[:, None]


def sample(
    mesh: Mesh, n: int, dice: np.random.Generator
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]]:
    """n points spread evenly by area, and their normals. Raises ValueError for a mesh without area."""
    area, normal = areas_and_normals(mesh)
    if not area.sum() > 0:
        raise ValueError("the triangles have no area; wanted a surface")
    face = dice.choice(len(area), n, p=area / area.sum())
    a, b = dice.random((2, n, 1))
    flip = a + b > 1
    a, b = np.where(flip, 1 - a, a), np.where(flip, 1 - b, b)
    p, q, r = (mesh.vertices[mesh.faces[face, i]] for i in range(3))
    return p + a * (q - p) + b * (r - p), normal[face]
