"""Mean-value coordinates of points in a closed triangle mesh: where the cage goes, what is inside follows.

Ju, Schaefer, Warren, "Mean Value Coordinates for Closed Triangular Meshes", SIGGRAPH 2005. The weights sum to
one, give back every linear function exactly, and are those of a vertex or of a face for a point that lies on
it. They hold outside of the mesh, too, where some are negative.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor


def mean_value_coordinates(
    points: Float[Tensor, "B N 3"], vertices: Float[Tensor, "B V 3"], faces: Int[Tensor, "F 3"]
) -> Float[Tensor, "B N V"]:
    """Weights of the cage's vertices for each point. Gradients are right away from vertices and faces."""
    tiny = 10 * torch.finfo(points.dtype).eps ** 0.5
    corner = vertices[:, None, faces] - points[:, :, None, None]  # B N F 3(corner) 3
    far = corner.norm(dim=-1).clamp_min(torch.finfo(points.dtype).tiny)
    unit = corner / far[..., None]
    chord = (unit.roll(-1, -2) - unit.roll(1, -2)).norm(dim=-1)  # across from corner i
    theta = 2 * (chord / 2).clamp(max=1 - torch.finfo(points.dtype).eps).asin()
    half = theta.sum(-1, keepdim=True) / 2
    on_face = (math.pi - half)[..., 0] < tiny
    after, before = theta.roll(-1, -1), theta.roll(1, -1)
    sines = (after.sin() * before.sin()).clamp_min(torch.finfo(points.dtype).tiny)
    c = (2 * half.sin() * (half - theta).sin() / sines - 1).clamp(-1, 1)
    turn = torch.linalg.det(unit).sign()[..., None]
    flat = 1 - c.square() <= tiny**2
    s = turn * torch.where(flat, 1.0, 1 - c.square()).sqrt()
    bottom = far * after.sin() * s.roll(1, -1)
    skip = flat.any(-1, keepdim=True) | (turn == 0)
    top = theta - c.roll(-1, -1) * before - c.roll(1, -1) * after
    weight = torch.where(skip, 0.0, top / torch.where(skip | (bottom == 0), 1.0, bottom))
    plane = theta.sin() * far.roll(1, -1) * far.roll(-1, -1)  # of a point in the triangle
    hit = on_face.any(-1)  # B N
    weight = torch.where(hit[..., None, None], torch.where(on_face[..., None], plane, 0.0), weight)
    weights = _gathered(weight, faces, vertices.shape[1])
    return _at_vertices(weights / weights.sum(-1, keepdim=True), points, vertices, tiny)


def _gathered(weight: Tensor, faces: Tensor, count: int) -> Tensor:
    """Sum over the corners of faces that are one vertex: B N F 3 -> B N V."""
    flat = weight.flatten(-2)
    index = faces.flatten().expand(flat.shape)
    return torch.zeros(*flat.shape[:-1], count, dtype=flat.dtype, device=flat.device).scatter_add(
        -1, index, flat
    )


def _at_vertices(weights: Tensor, points: Tensor, vertices: Tensor, tiny: float) -> Tensor:
    """A point at a vertex has that vertex's weight alone."""
    gap = (points[:, :, None] - vertices[:, None]).norm(dim=-1)
    at = gap < 0.1 * tiny * vertices.flatten(1).abs().amax(-1)[:, None, None]
    return torch.where(at.any(-1, keepdim=True), at.to(weights.dtype), weights)
