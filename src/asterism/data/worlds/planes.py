"""Aeroplanes: fuselage, wings, tail and engines on a skeleton drawn from real ones; y is up, -z is ahead."""

import numpy as np

from asterism.data.worlds.skeleton_pca import Point, skeleton
from asterism.data.worlds.solids import Mesh, beam, loft, ring, tube

_UP = np.array([0.0, 1.0, 0.0])
_AHEAD = np.array([0.0, 0.0, -1.0])


def points(dice: np.random.Generator) -> dict[str, Point]:
    """Where the parts meet. What must not happen is put right: a root inside the body, a rear ahead of a
    front.
    """
    p = skeleton("planes", dice)
    radius = body_radius(p)
    for name in ("root_front", "root_rear"):
        p[name][0] = max(p[name][0], 0.9 * radius)
    p["root_rear"][2] = max(p["root_rear"][2], p["root_front"][2] + 0.06)
    p["tail"][2] = max(p["tail"][2], p["root_rear"][2] + 0.12)
    p["nose"][2] = min(p["nose"][2], p["root_front"][2] - 0.08)
    p["fin"][1] = max(p["fin"][1], p["tail"][1] + 0.06)
    p["wing_tip"][0] = max(p["wing_tip"][0], 4 * radius)
    p["tailplane"][0] = max(p["tailplane"][0], 1.5 * radius)
    return p


def body_radius(p: dict[str, Point]) -> float:
    return float(np.clip((p["root_front"][0] + p["root_rear"][0]) / 2, 0.02, 0.06))


def build(p: dict[str, Point], style: np.random.Generator) -> list[tuple[Mesh, bool]]:
    """Parts, and whether each has a mirror image of its own on the other side."""
    thick = style.uniform(0.05, 0.1)
    parts = [(_fuselage(p, style), False), (_wing(p, style, thick), True)]
    root = p["tail"] - [0, 0, style.uniform(0.03, 0.06)]
    parts.append((_blade(root, p["tailplane"], style, thick, _UP), True))
    base = p["tail"] - [0, 0, style.uniform(0.04, 0.08)]
    parts.append((_blade(base, p["fin"], style, thick, np.array([1.0, 0.0, 0.0])), False))
    return parts + _engines(p, style)


def _fuselage(p: dict[str, Point], style: np.random.Generator) -> Mesh:
    t = np.array([0, 0.01, 0.03, 0.07, 0.13, 0.25, 0.4, 0.55, 0.7, 0.85, 0.95, 1.0])
    path = p["nose"] + t[:, None] * (p["tail"] - p["nose"])
    nose, tail = style.uniform(0.1, 0.22), style.uniform(0.25, 0.5)
    size = np.sqrt(np.clip(1 - (1 - np.minimum(t / nose, 1)) ** 2, 0.01, 1))
    size *= 1 - (1 - style.uniform(0.1, 0.3)) * np.clip((t - 1 + tail) / tail, 0, 1) ** 1.5
    power = style.choice([2.0, 2.0, 3.0])
    return tube(path, body_radius(p) * size, 16, power, style.uniform(0.9, 1.25))


def _wing(p: dict[str, Point], style: np.random.Generator, thick: float) -> Mesh:
    """Rings of a lens; the root's front and rear and the middle of the tip's cap are the skeleton's."""
    middle, half = (p["root_front"] + p["root_rear"]) / 2, (p["root_rear"] - p["root_front"]) / 2
    chord = float(np.linalg.norm(half))
    up = thick * chord * _UP
    taper = style.uniform(0.2, 0.5)
    inside = middle * [0.2, 1.0, 1.0]
    rings = [ring(inside, half, up)]
    for t in np.linspace(0, 1, 5):
        size = 1 + t * (taper - 1)
        direction = (1 - t) * half + t * np.array([0.0, 0.0, chord])
        rings.append(ring(middle + t * (p["wing_tip"] - middle), size * direction, size * up))
    return loft(np.stack(rings))


def _blade(root: Point, tip: Point, style: np.random.Generator, thick: float, across: Point) -> Mesh:
    chord, taper = style.uniform(0.03, 0.05), style.uniform(0.4, 0.8)
    sizes = 1 + np.linspace(0, 1, 4) * (taper - 1)
    rings = [
        ring(root + t * (tip - root), s * chord * -_AHEAD, s * chord * (thick + 0.06) * across)
        for t, s in zip(np.linspace(0, 1, 4), sizes, strict=True)
    ]
    return loft(np.stack(rings))


def _engines(p: dict[str, Point], style: np.random.Generator) -> list[tuple[Mesh, bool]]:
    where = style.choice(["none", "wings", "four", "rear", "propeller"], p=[0.1, 0.4, 0.2, 0.15, 0.15])
    size, length = style.uniform(0.014, 0.022), style.uniform(0.06, 0.1)
    root = (p["root_front"] + p["root_rear"]) / 2
    places = []
    if where in ("wings", "four"):
        for share in (0.3,) if where == "wings" else (0.27, 0.55):
            chord = np.array([0.0, -1.1 * size, style.uniform(-0.05, -0.02)])
            places.append(root + share * (p["wing_tip"] - root) + chord)
    elif where == "rear":
        radius = body_radius(p)
        places.append(p["tail"] + [0.7 * radius + size, 0.02, -0.13])
    parts = [(_engine(at, size, length), True) for at in places]
    if where == "propeller":
        at = p["nose"] + [0.0, 0.0, 0.012]
        parts.append((beam(at + 0.06 * _UP, at - 0.06 * _UP, 0.004), False))
        parts.append((beam(at + [0.06, 0, 0], at - [0.06, 0, 0], 0.004), False))
    return parts


def _engine(at: Point, size: float, length: float) -> Mesh:
    t = np.linspace(-0.5, 0.5, 5)
    return tube(at - (t * length)[:, None] * _AHEAD, size * np.array([0.85, 1, 1, 0.9, 0.6]))
