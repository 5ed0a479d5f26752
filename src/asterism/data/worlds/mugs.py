"""Mugs: a turned wall with an inside, and a handle behind; y is up. Purely parametric."""

import numpy as np

from asterism.data.worlds.solids import Mesh, loft, ring

Point = np.ndarray
_CORNERS = 24


def points(dice: np.random.Generator) -> dict[str, Point]:
    """Four points of the rim and of the base, and the handle's outermost."""
    top, base, y = dice.uniform(0.2, 0.32), dice.uniform(0.17, 0.3), dice.uniform(0.2, 0.36)
    out, high = dice.uniform(0.12, 0.24), dice.uniform(-0.3, 0.2)
    found = {"handle": np.array([0.0, high * y, max(top, base) + out])}
    for name, r, level in (("rim", top, y), ("base", base, -y)):
        found |= {
            f"{name}_front": np.array([0.0, level, -r]),
            f"{name}_rear": np.array([0.0, level, r]),
            f"{name}_side": np.array([r, level, 0.0]),
        }
    return found


def build(p: dict[str, Point], style: np.random.Generator) -> list[tuple[Mesh, bool]]:
    """Parts, and whether each has a mirror image of its own on the other side."""
    y, top, base = p["rim_side"][1], p["rim_side"][0], p["base_side"][0]
    wall, belly = style.uniform(0.015, 0.035), style.uniform(-0.04, 0.06)
    t = np.linspace(0, 1, 8)
    radius = base + t * (top - base) + belly * np.sin(np.pi * t)
    levels, sizes = [*(y * (2 * t - 1)), *(y * (2 * t[::-1] - 1))], [*radius, *(radius[::-1] - wall)]
    levels[-1] += 2 * wall  # the inside's floor
    rings = [
        ring((0, level, 0), (r, 0, 0), (0, 0, r), _CORNERS) for level, r in zip(levels, sizes, strict=True)
    ]
    return [(loft(np.stack(rings)), False), (_handle(p, style, wall, t, radius), False)]


def _handle(
    p: dict[str, Point], style: np.random.Generator, wall: float, t: np.ndarray, radius: np.ndarray
) -> Mesh:
    """An arch from the wall to the wall, whose outermost point is the skeleton's."""
    thick, y = style.uniform(0.018, 0.035), p["rim_side"][1]
    spread = style.uniform(0.35, 0.6) * y
    power = style.uniform(1.0, 1.6)
    angle = np.linspace(-np.pi / 2, np.pi / 2, 15)
    height = np.clip(p["handle"][1] + spread * np.sin(angle), -0.9 * y, 0.9 * y)
    start = np.interp(height, y * (2 * t - 1), radius) - wall / 2
    reach = np.cos(angle) ** (1 / power)
    z = start + reach * (p["handle"][2] - thick - start)
    path = np.stack([np.zeros_like(z), height, z], axis=-1)
    rings = []
    for centre, way in zip(path, np.gradient(path, axis=0), strict=True):
        out = np.cross([1.0, 0.0, 0.0], way / np.linalg.norm(way))
        rings.append(ring(centre, thick * out, (thick * _flatness(spread), 0, 0), 12))
    skin = np.stack(rings)
    return loft(skin + p["handle"] - skin[len(skin) // 2, 0])  # where the wall leans, by a hair


def _flatness(spread: float) -> float:
    """How much wider than thick a handle is: long ones are flatter."""
    return 1.0 + spread
