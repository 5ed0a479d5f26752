"""Camera poses from three points: up to four per triple, in closed form, for any batch of triples.

The three depths satisfy three quadratic equations; two differences of them are conics, whose pencil holds a
pair of lines. Persson and Nordberg, "Lambda Twist: An Accurate Fast Robust Perspective Three Point (P3P)
Solver", ECCV 2018; the lines of a degenerate conic: Richter-Gebert, "Perspectives on Projective Geometry",
2011, 11.1.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from asterism.geometry.linear import solve3
from asterism.geometry.precision import full_precision
from asterism.geometry.so3 import skew

_POLISH = 3  # Newton steps on the depths
_CLOSE = 1e-6  # how well the depths must give the triangle's sides, relative to the longest


def p3p(
    xyz: Float[Tensor, "M 3 3"], ray: Float[Tensor, "M 3 2"]
) -> tuple[Float[Tensor, "M 4 3 4"], Bool[Tensor, "M 4"]]:
    """cam_from_world of every triple, and which are solutions; the rest are identities.

    `xyz` are three points in the world, `ray` where an ideal camera sees them (x / z, y / z). Triples on a
    line, or with two equal points, have no solution here.
    """
    with full_precision(xyz), torch.no_grad():
        bearing = torch.nn.functional.normalize(
            torch.cat([ray, torch.ones_like(ray[..., :1])], dim=-1), dim=-1
        )
        unit = (xyz - xyz.mean(1, keepdim=True)).square().sum((1, 2)).sqrt().clamp_min(1e-300)
        depth, good = _depths(xyz / unit[:, None, None], bearing)
        seen = unit[:, None, None, None] * depth[..., None] * bearing[:, None]  # M 4 3 3: in the camera
        turn, fine = _frame(seen)
        world, flat = _frame(xyz)
        rotation = turn @ world.mT[:, None]
        shift = seen.mean(2) - (rotation @ xyz.mean(1)[:, None, :, None])[..., 0]
        good = good & fine & flat[:, None]
        eye = torch.eye(3, 4, dtype=xyz.dtype, device=xyz.device)
        pose = torch.cat([rotation, shift[..., None]], dim=-1)
        return torch.where(good[..., None, None], pose, eye), good


def _depths(xyz: Tensor, bearing: Tensor) -> tuple[Tensor, Tensor]:
    """Lengths "M 4 3" of the three bearings, and which are real, positive and right."""
    pairs = ((0, 1), (0, 2), (1, 2))
    side = torch.stack([(xyz[:, i] - xyz[:, j]).square().sum(-1) for i, j in pairs], dim=-1)  # M 3
    conics = []
    for i, j in pairs:
        conic = xyz.new_zeros(len(xyz), 3, 3)
        conic[:, i, i] = conic[:, j, j] = 1
        conic[:, i, j] = conic[:, j, i] = -(bearing[:, i] * bearing[:, j]).sum(-1)
        conics.append(conic)
    s12, s13, s23 = (side[:, i, None, None] for i in range(3))
    a, b = s23 * conics[0] - s12 * conics[2], s23 * conics[1] - s13 * conics[2]
    lines = _line_pair(_degenerate(a, b))  # M 2 3
    depth = _on_lines(lines, a, b)  # M 4 3
    stacked = torch.stack(conics, dim=1)  # M 3 3 3
    whole = stacked.sum(1)[:, None]
    square = torch.einsum("msi,msij,msj->ms", depth, whole.expand(-1, 4, -1, -1), depth)
    depth = depth * (side.sum(-1)[:, None] / square.clamp_min(1e-12)).sqrt()[..., None]
    depth = depth * torch.where(depth.sum(-1, keepdim=True) < 0, -1, 1)
    for _ in range(_POLISH):
        slope = torch.einsum("meij,msj->msei", stacked, depth)
        miss = (slope * depth[:, :, None]).sum(-1) - side[:, None]
        depth = depth - 0.5 * solve3(slope, miss)
    miss = torch.einsum("meij,msi,msj->mse", stacked, depth, depth) - side[:, None]
    right = miss.abs().amax(-1) < _CLOSE * side.amax(-1, keepdim=True)
    return torch.nan_to_num(depth), right & (depth > 0).all(-1)


def _degenerate(a: Tensor, b: Tensor) -> Tensor:
    """The conic a + g b, "M 3 3", of determinant zero that is most clearly a pair of real lines."""
    scale = b.square().sum((1, 2)).sqrt().clamp_min(1e-300)[:, None, None]
    b = b / scale
    a = a / a.square().sum((1, 2)).sqrt().clamp_min(1e-300)[:, None, None]
    det = [_det(a + g * b) for g in (0.0, 1.0, -1.0)]
    c0, c3 = det[0], _det(b)
    c2 = (det[1] + det[2]) / 2 - c0
    c1 = (det[1] - det[2]) / 2 - c3
    root = _cubic_roots(c3, c2, c1, c0)  # M 3
    conics = a[:, None] + root[..., None, None] * b[:, None]  # M 3 3 3
    size = conics.square().sum((-2, -1)).clamp_min(1e-300)
    real = -_adjugate(conics).diagonal(dim1=-2, dim2=-1).amin(-1) / size
    best = real.argmax(-1)
    return conics[torch.arange(len(a), device=a.device), best]


def _cubic_roots(c3: Tensor, c2: Tensor, c1: Tensor, c0: Tensor) -> Tensor:
    """The real roots, "M 3" (one real root is repeated), by Cardano and three Newton steps."""
    c3 = torch.where(c3.abs() < 1e-14, torch.where(c3 < 0, -1e-14, 1e-14), c3)
    b, c, d = c2 / c3, c1 / c3, c0 / c3
    p, q = c - b * b / 3, 2 * b**3 / 27 - b * c / 3 + d
    inside = (q / 2).square() + (p / 3) ** 3
    root = inside.clamp_min(0).sqrt()
    big = -q / 2 - torch.where(q < 0, -root, root)
    u = big.sign() * big.abs() ** (1 / 3)
    one = u - p / (3 * torch.where(u.abs() < 1e-150, 1, u))
    radius = 2 * (-p / 3).clamp_min(0).sqrt()
    cosine = (3 * q / torch.where(p * radius == 0, 1, p * radius)).clamp(-1, 1)
    angle = torch.acos(cosine) / 3
    turns = torch.arange(3, dtype=p.dtype, device=p.device) * (2 * math.pi / 3)
    three = radius[:, None] * torch.cos(angle[:, None] - turns)
    x = torch.where((inside > 0)[:, None], one[:, None], three) - b[:, None] / 3
    for _ in range(3):
        value = ((x + b[:, None]) * x + c[:, None]) * x + d[:, None]
        slope = (3 * x + 2 * b[:, None]) * x + c[:, None]
        x = x - value / torch.where(slope.abs() < 1e-12, torch.inf, slope)
    return x


def _line_pair(conic: Tensor) -> Tensor:
    """The two lines "M 2 3" of a degenerate conic "M 3 3"."""
    adjugate = _adjugate(conic)
    row = torch.arange(len(conic), device=conic.device)
    which = adjugate.diagonal(dim1=-2, dim2=-1).argmin(-1)
    depth = (-adjugate[row, which, which]).clamp_min(1e-300).sqrt()
    vertex = adjugate[row, :, which] / depth[:, None]
    rank_one = conic + skew(vertex)
    at = rank_one.abs().flatten(1).argmax(-1)
    return torch.stack([rank_one[row, at // 3], rank_one[row, :, at % 3]], dim=1)


def _on_lines(lines: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Where the two lines meet the conics, "M 4 3": the larger of the two conics' equations on each line."""
    least = lines.abs().argmin(-1, keepdim=True)
    axis = torch.zeros_like(lines).scatter_(-1, least, 1.0)
    u = torch.nn.functional.normalize(torch.linalg.cross(lines, axis), dim=-1)
    v = torch.nn.functional.normalize(torch.linalg.cross(lines, u), dim=-1)

    def form(conic: Tensor) -> Tensor:
        """p, q, r of p t^2 + 2 q t + r on each line, "3 M 2"."""
        return torch.stack(
            [torch.einsum("mli,mij,mlj->ml", x, conic, y) for x, y in ((v, v), (u, v), (u, u))]
        )

    first, second = form(a), form(b)
    p, q, r = torch.where(first.abs().sum(0) > second.abs().sum(0), first, second).unbind(0)
    inside = (q * q - p * r).clamp_min(0).sqrt()
    far = -(q + torch.where(q < 0, -inside, inside))
    both = torch.stack([torch.stack([far, p], dim=-1), torch.stack([r, far], dim=-1)], dim=2)
    root = torch.nn.functional.normalize(both, dim=-1)  # M 2 2 2: homogeneous, line, root, (t, 1)
    return (root[..., :1] * v[:, :, None] + root[..., 1:] * u[:, :, None]).flatten(1, 2)


def _det(m: Tensor) -> Tensor:
    return (m[..., 0, :] * torch.linalg.cross(m[..., 1, :], m[..., 2, :])).sum(-1)


def _adjugate(m: Tensor) -> Tensor:
    r0, r1, r2 = m.unbind(-2)
    columns = [torch.linalg.cross(r1, r2), torch.linalg.cross(r2, r0), torch.linalg.cross(r0, r1)]
    return torch.stack(columns, dim=-1)


def _frame(points: Tensor) -> tuple[Tensor, Tensor]:
    """Axes "... 3 3" (columns) of triangles "... 3 3", and which are no lines."""
    a, b = points[..., 1, :] - points[..., 0, :], points[..., 2, :] - points[..., 0, :]
    x = torch.nn.functional.normalize(a, dim=-1)
    normal = torch.linalg.cross(a, b)
    flat = normal.norm(dim=-1) > 1e-6 * a.norm(dim=-1) * b.norm(dim=-1)
    z = torch.nn.functional.normalize(normal, dim=-1)
    return torch.stack([x, torch.linalg.cross(z, x), z], dim=-1), flat
