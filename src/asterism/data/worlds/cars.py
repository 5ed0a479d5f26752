"""Cars: a body with a cabin on four wheels; y is up, -z is ahead. Purely parametric."""

import numpy as np

from asterism.data.worlds.solids import Mesh, loft, tube

Point = np.ndarray
_MIRROR = np.array([-1.0, 1.0, 1.0])


def points(dice: np.random.Generator) -> dict[str, Point]:
    """Corners of the bumpers' upper edges and of the roof, and the middles of the wheels' outer sides."""
    x, z = dice.uniform(0.15, 0.21), dice.uniform(0.4, 0.5)
    waist, roof = dice.uniform(0.0, 0.05), dice.uniform(0.1, 0.2)
    nose, deck = dice.uniform(-0.04, 0.0, 2)
    narrow = dice.uniform(0.7, 0.9)
    axle = dice.uniform(0.55, 0.68, 2)
    return {
        "front": np.array([x, waist + nose, -z]),
        "rear": np.array([x, waist + deck, z]),
        "roof_front": np.array([x * narrow, roof, -dice.uniform(0.05, 0.2)]),
        "roof_rear": np.array([x * narrow, roof, dice.uniform(0.12, 0.38)]),
        "wheel_front": np.array([1.02 * x, -0.1, -axle[0] * z]),
        "wheel_rear": np.array([1.02 * x, -0.1, axle[1] * z]),
    }


def build(p: dict[str, Point], style: np.random.Generator) -> list[tuple[Mesh, bool]]:
    """Parts, and whether each has a mirror image of its own on the other side."""
    floor = style.uniform(-0.09, -0.06)
    bonnet, boot = style.uniform(0.3, 0.5), style.uniform(0.05, 0.4)
    front, rear, a, b = p["front"], p["rear"], p["roof_front"], p["roof_rear"]
    waist = max(front[1], rear[1]) + 0.02
    screen = np.array([front[0], waist, front[2] + bonnet * (a[2] - front[2])])
    window = np.array([rear[0], waist, rear[2] - boot * (rear[2] - b[2])])
    body = [
        (p["front"], floor),
        (screen, floor),
        ((screen + window) / 2, floor),
        (window, floor),
        (rear, floor),
    ]
    lower = loft(np.stack([_section(at, low) for at, low in body]))
    parts = [(lower, False), (_cabin(screen, window, a, b), False)]
    radius, wide = style.uniform(0.06, 0.085), style.uniform(0.04, 0.06)
    corners = int(style.choice([14, 18]))
    for name in ("wheel_front", "wheel_rear"):
        at = p[name]
        parts.append(
            (tube(np.stack([at - [wide, 0, 0], at - [wide / 2, 0, 0], at]), [radius] * 3, corners), True)
        )
    if style.random() < 0.3:  # a rail along the roof's rear edge
        rail = b + [0, 0.03, 0]
        parts.append((tube(np.stack([rail * _MIRROR, rail * [0, 1, 1], rail]), [0.01] * 3, 8), False))
    return parts


def _section(at: Point, low: float) -> np.ndarray:
    """A box's outline across the car, with upper corners at `at`."""
    x, y, z = at
    t = np.linspace(-1, 1, 6)
    top = np.stack([x * t, np.full(6, y), np.full(6, z)], -1)
    under = np.stack([0.94 * x * t[::-1], np.full(6, low), np.full(6, z)], -1)
    return np.concatenate([top, under])


def _cabin(screen: Point, window: Point, a: Point, b: Point) -> Mesh:
    """A roof over the waist: rings of the same number of points from below to above."""
    below = np.stack([screen, screen * _MIRROR, window * _MIRROR, window])
    above = np.stack([a, a * _MIRROR, b * _MIRROR, b])
    t = (np.arange(4) / 4)[:, None]
    rings = []
    for share in np.linspace(0, 1, 4):
        face = below + share * (above - below)
        rings.append(
            np.concatenate([c + t * (d - c) for c, d in zip(face, np.roll(face, -1, 0), strict=True)])
        )
    return loft(np.stack(rings))
