"""Shapes without end: planes, chairs, tables, mugs and cars with exact named points, the same for the same
index.

Where the points are and how the thing looks are drawn from two streams, so that style says nothing of the
points.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from asterism.data.worlds import cars, chairs, mugs, planes, tables
from asterism.data.worlds.solids import Mesh, joined, sample
from asterism.errors import RequestError

KINDS: dict[str, Any] = {"planes": planes, "chairs": chairs, "tables": tables, "mugs": mugs, "cars": cars}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One thing, about one unit long, symmetric in x = 0 as to its points.

    `swap[k]` is the number of the mirror image of point k (k itself on the midline).
    """

    kind: str
    mesh: Mesh
    names: tuple[str, ...]
    points: Float[np.ndarray, "K 3"]
    swap: tuple[int, ...]

    def sample(
        self, n: int, dice: np.random.Generator
    ) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]]:
        """n points spread evenly over the surface, and their outward normals."""
        return sample(self.mesh, n, dice)


def shape(kind: str, seed: int, index: int) -> Shape:
    """The shape of this number. Raises RequestError, listing what there is, for an unknown kind."""
    if kind not in KINDS:
        raise RequestError(f"no shapes are called '{kind}'; there are {', '.join(KINDS)}")
    module, number = KINDS[kind], list(KINDS).index(kind)
    half = module.points(np.random.default_rng([seed, index, number, 0]))
    parts = module.build(half, np.random.default_rng([seed, index, number, 1]))
    meshes = [mesh for mesh, _ in parts] + [mesh.mirrored() for mesh, paired in parts if paired]
    names, points, swap = [], [], []
    for name, at in half.items():
        k = len(names)
        if at[0] == 0:
            names, points, swap = [*names, name], [*points, at], [*swap, k]
        else:
            names += [f"{name}_right", f"{name}_left"]
            points += [at, at * [-1.0, 1.0, 1.0]]
            swap += [k + 1, k]
    return Shape(
        kind=kind, mesh=joined(meshes), names=tuple(names), points=np.stack(points), swap=tuple(swap)
    )
