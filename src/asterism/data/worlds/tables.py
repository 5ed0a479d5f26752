"""Tables: a top and what holds it; y is up. Purely parametric."""

import numpy as np

from asterism.data.worlds.solids import Mesh, beam, filled, slab

Point = np.ndarray
_MIRROR = np.array([-1.0, 1.0, 1.0])


def points(dice: np.random.Generator) -> dict[str, Point]:
    """The top's corners and the feet."""
    x, z, y = dice.uniform(0.22, 0.42), dice.uniform(0.15, 0.32), dice.uniform(0.12, 0.32)
    inset, splay = dice.uniform(0.72, 0.97, 2)
    return {
        "top_front": np.array([x, y, -z]),
        "top_rear": np.array([x, y, z]),
        "foot_front": np.array([x * inset, -y, -z * splay]),
        "foot_rear": np.array([x * inset, -y, z * splay]),
    }


def build(p: dict[str, Point], style: np.random.Generator) -> list[tuple[Mesh, bool]]:
    """Parts, and whether each has a mirror image of its own on the other side."""
    thick = style.uniform(0.015, 0.045)
    corners = np.stack([p["top_rear"], p["top_front"], p["top_front"] * _MIRROR, p["top_rear"] * _MIRROR])
    parts = [(slab(filled(corners, 6), (0, -thick, 0)), False)]
    under = np.array([0.0, -0.5 * thick, 0.0])
    front, rear = p["top_front"] * [0.9, 1, 0.9] + under, p["top_rear"] * [0.9, 1, 0.9] + under
    wide = style.uniform(0.014, 0.03)
    narrow = wide * style.uniform(0.5, 1.0)
    kind = style.choice(["legs", "ends", "column"], p=[0.6, 0.2, 0.2])
    if kind == "ends":
        sides = np.stack([front, rear, p["foot_rear"], p["foot_front"]])
        return [*parts, (slab(filled(sides), (-style.uniform(0.015, 0.03), 0, 0)), True)]
    if kind == "column":
        floor = np.array([0.0, p["foot_front"][1], 0.0])
        parts.append((beam((front + rear) / 2 * [0, 1, 0], floor + [0, 0.06, 0], 1.6 * wide), False))
        hub = floor + [0, 0.08, 0]
        return parts + [(beam(hub, p[name], wide, narrow), True) for name in ("foot_front", "foot_rear")]
    corners = int(style.choice([4, 8]))
    parts += [
        (beam(a, p[n], wide, narrow, corners), True) for a, n in ((front, "foot_front"), (rear, "foot_rear"))
    ]
    if style.random() < 0.5:
        low = front + [0, -style.uniform(0.03, 0.07), 0]
        board = np.stack([front, front * _MIRROR, low * _MIRROR, low])
        parts += [
            (slab(filled(board + [0, 0, gap]), (0, 0, 0.012)), False) for gap in (0.0, -2 * front[2] - 0.012)
        ]
    return parts
