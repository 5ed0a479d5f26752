"""A cage around a shape: an icosphere, pulled inwards until it is near."""

import itertools

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


def icosphere(subdivisions: int) -> tuple[Float[Tensor, "V 3"], Int[Tensor, "F 3"]]:
    """The icosahedron whose triangles are cut in four, so many times, onto the unit sphere.

    10 * 4^s + 2 vertices and 20 * 4^s faces, counter-clockwise seen from outside.
    """
    golden = (1 + 5**0.5) / 2
    corners = [np.roll([0.0, a, b * golden], s) for s in range(3) for a in (-1, 1) for b in (-1, 1)]
    vertices = np.array(corners) / np.hypot(1, golden)
    edge = np.linalg.norm(vertices[:, None] - vertices, axis=-1)
    near = edge < 1.1 * edge[edge > 0].min()
    triples = itertools.combinations(range(12), 3)
    faces = np.array([t for t in triples if near[t[0], t[1]] and near[t[1], t[2]] and near[t[0], t[2]]])
    for _ in range(subdivisions):
        vertices, faces = _cut(vertices, faces)
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    inwards = np.einsum("ij,ij->i", np.cross(b - a, c - a), a + b + c) < 0
    faces[inwards] = faces[inwards][:, ::-1]
    return torch.from_numpy(vertices).float(), torch.from_numpy(faces).long()


def _cut(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every triangle in four, with the middles of edges on the sphere."""
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    unique, number = np.unique(edges, axis=0, return_inverse=True)
    middle = vertices[unique].mean(1)
    middle /= np.linalg.norm(middle, axis=1, keepdims=True)
    ab, bc, ca = (number.reshape(-1) + len(vertices)).reshape(3, -1)
    a, b, c = faces.T
    four = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    return np.concatenate([vertices, middle]), np.concatenate([np.stack(f, -1) for f in four])


def pulled_in(
    cage: Float[Tensor, "V 3"], points: Float[Tensor, "B N 3"], distance: float, steps: int, step: float
) -> Float[Tensor, "B V 3"]:
    """Each vertex goes `step` of its way to the origin, again and again, while it is farther than `distance`
    from every point.
    """
    found = cage.expand(len(points), -1, -1)
    squared = points.square().sum(-1)[:, None]
    for _ in range(steps):
        gap = found.square().sum(-1, keepdim=True) + squared - 2 * found @ points.mT  # B V N
        far = gap.amin(-1, keepdim=True) > distance**2
        if not far.any():
            break
        found = found - step * far * found
    return found
