"""Chairs on a skeleton drawn from real ones; y is up, -z is ahead. Seat, back, legs, arms vary in style."""

import numpy as np

from asterism.data.worlds.skeleton_pca import Point, skeleton
from asterism.data.worlds.solids import Mesh, beam, filled, slab

_MIRROR = np.array([-1.0, 1.0, 1.0])


def points(dice: np.random.Generator) -> dict[str, Point]:
    """Corners of seat and back and the legs' ends, with a seat that has a depth, a back and legs."""
    p = skeleton("chairs", dice)
    for name in p:
        p[name][0] = max(p[name][0], 0.09)
    level = (p["seat_rear"][1] + p["seat_front"][1]) / 2
    p["seat_rear"][1] = p["seat_front"][1] = level
    p["seat_front"][2] = min(p["seat_front"][2], p["seat_rear"][2] - 0.15)
    p["back_top"][1] = max(p["back_top"][1], level + 0.15)
    p["back_top"][2] = max(p["back_top"][2], p["seat_rear"][2] - 0.02)
    floor = min((p["leg_front"][1] + p["leg_rear"][1]) / 2, level - 0.12)
    p["leg_front"][1] = p["leg_rear"][1] = floor
    p["leg_front"][2] = min(p["leg_front"][2], p["leg_rear"][2] - 0.12)
    return p


def build(p: dict[str, Point], style: np.random.Generator) -> list[tuple[Mesh, bool]]:
    """Parts, and whether each has a mirror image of its own on the other side."""
    thick = style.uniform(0.02, 0.06)
    corners = [p["seat_rear"], p["seat_front"], p["seat_front"] * _MIRROR, p["seat_rear"] * _MIRROR]
    seat = slab(filled(np.stack(corners)), (0, -thick, 0), style.choice([0.0, 0.0, 0.06]))
    parts = [(seat, False), *_back(p, style), *_legs(p, style, thick)]
    if style.random() < 0.45:
        parts += _arms(p, style)
    return parts


def _between(a: Point, b: Point, t: float) -> Point:
    return a + t * (b - a)


def _board(a: Point, b: Point, thick: float) -> Mesh:
    """An upright board from side to side, with upper corners a and lower corners b."""
    corners = np.stack([a, a * _MIRROR, b * _MIRROR, b])
    return slab(filled(corners), (0, 0, thick))


def _back(p: dict[str, Point], style: np.random.Generator) -> list[tuple[Mesh, bool]]:
    top, low, thick = p["back_top"], p["seat_rear"], style.uniform(0.015, 0.05)
    kind = style.choice(["board", "slats", "ladder", "window"], p=[0.4, 0.2, 0.2, 0.2])
    if kind == "board":
        return [(_board(top, low, thick), False)]
    rail = _between(top, low, style.uniform(0.12, 0.25))
    radius = style.uniform(0.01, 0.02)
    parts = [(_board(top, rail, thick), False), (beam(low, rail, radius), True)]
    if kind == "slats":
        for share in np.linspace(0, 1, int(style.integers(3, 6)))[:-1]:
            a, b = low * [share, 1, 1], rail * [share, 1, 1]
            parts.append((beam(a, b, 0.7 * radius), bool(share > 0)))
    elif kind == "ladder":
        for share in np.linspace(0.3, 1, int(style.integers(3, 5)))[:-1]:
            parts.append((_board(_between(low, rail, share + 0.1), _between(low, rail, share), thick), False))
    else:
        parts.append((_board(_between(low, rail, 0.25), low, thick), False))
    return parts


def _legs(p: dict[str, Point], style: np.random.Generator, thick: float) -> list[tuple[Mesh, bool]]:
    under = np.array([0.0, -0.5 * thick, 0.0])
    front, rear = p["seat_front"] * [0.92, 1, 0.94] + under, p["seat_rear"] * [0.92, 1, 0.94] + under
    kind = style.choice(["rods", "posts", "sled", "sides"], p=[0.4, 0.3, 0.15, 0.15])
    if kind == "sides":
        corners = np.stack([front, rear, p["leg_rear"], p["leg_front"]])
        return [(slab(filled(corners), (-style.uniform(0.015, 0.03), 0, 0)), True)]
    wide = style.uniform(0.012, 0.028)
    narrow = wide * style.uniform(0.5, 1.0)
    corners, power = (8, 2.0) if kind == "rods" else (4, 2.0)
    parts = [
        (beam(front, p["leg_front"], wide, narrow, corners, power), True),
        (beam(rear, p["leg_rear"], wide, narrow, corners, power), True),
    ]
    if kind == "sled":
        parts.append((beam(p["leg_front"], p["leg_rear"], narrow, None, corners), True))
    elif style.random() < 0.4:
        share = style.uniform(0.4, 0.75)
        a, b = _between(front, p["leg_front"], share), _between(rear, p["leg_rear"], share)
        parts.append((beam(a, b, 0.6 * narrow), True))
    return parts


def _arms(p: dict[str, Point], style: np.random.Generator) -> list[tuple[Mesh, bool]]:
    rear = _between(p["seat_rear"], p["back_top"], style.uniform(0.3, 0.55))
    radius = style.uniform(0.012, 0.022)
    foot = _between(p["seat_rear"], p["seat_front"], style.uniform(0.75, 0.95)) - [radius, 0, 0]
    front = foot + [2 * radius, rear[1] - foot[1], 0]
    rear = np.array([max(rear[0], front[0]), *rear[1:]])
    return [(beam(rear, front, 1.2 * radius, 1.4 * radius, 4), True), (beam(foot, front, radius), True)]
