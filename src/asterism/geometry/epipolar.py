"""Two views of one rigid scene: fundamental matrices "B 3 3", f, with b^T f a = 0 of homogeneous pixels.

f a is the line in view b on which the point a of the first view must lie; f^T b the one in view a. A matrix
is known up to its scale: all functions here give it the Frobenius norm 1, of either sign.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from asterism.geometry import affine, homography
from asterism.geometry.precision import full_precision
from asterism.types import Cameras

_LEAST = 8


def of_cameras(a: Cameras, b: Cameras) -> Float[Tensor, "B 3 3"]:
    """K_b^-T [t]_x R K_a^-1, where (R, t) is b_from_a; distortion is left out."""
    with full_precision(a.intrinsics):
        turn = b.cam_from_world[..., :3] @ a.cam_from_world[..., :3].mT
        shift = b.cam_from_world[..., 3:] - turn @ a.cam_from_world[..., 3:]
        cross = torch.linalg.cross(shift.mT.expand_as(turn), turn.mT).mT  # [t]_x R, column by column
        return _scaled(torch.linalg.inv(b.intrinsics).mT @ cross @ torch.linalg.inv(a.intrinsics))


def fundamental(
    a: Float[Tensor, "B K 2"], b: Float[Tensor, "B K 2"], weight: Float[Tensor, "B K"] | None = None
) -> Float[Tensor, "B 3 3"]:
    """The matrix of rank 2 and least algebraic error: the normalised eight-point algorithm, weighted.

    Hartley, "In defense of the eight-point algorithm", TPAMI 1997. A weight of zero leaves a pair out; fewer
    than eight pairs in general position (or a scene that is one plane) give finite nonsense. Raises
    ValueError for K < 8.
    """
    if a.shape[1] < _LEAST:
        raise ValueError(f"the eight-point algorithm needs at least 8 pairs, got {a.shape[1]}")
    w = torch.ones_like(a[..., 0]) if weight is None else weight
    na, nb = homography.normaliser(a, w), homography.normaliser(b, w)
    rows = w.clamp_min(0).sqrt()[..., None] * _products(affine.apply(na, a), affine.apply(nb, b))
    with full_precision(a):
        upper = torch.linalg.qr(torch.cat([rows, rows.new_zeros(len(rows), 1, 9)], dim=1), mode="r").R
        normal = torch.linalg.svd(upper).Vh[:, -1].unflatten(-1, (3, 3))
        u, s, vh = torch.linalg.svd(normal)
        flat = (u * torch.cat([s[:, :2], torch.zeros_like(s[:, 2:])], dim=1)[:, None]) @ vh
    return _back(flat, na, nb)


def of_seven(a: Float[Tensor, "B 7 2"], b: Float[Tensor, "B 7 2"]) -> Float[Tensor, "B 3 3 3"]:
    """The one or three matrices of rank 2 that explain seven pairs exactly, the three on the second axis.

    The matrices that explain the pairs are a line in the space of matrices, and det = 0 is a cubic on it
    (Hartley and Zisserman, section 11.1.2). Where two of its roots are complex, their real part is in their
    place: a matrix that explains nothing, and that no score will choose.
    """
    w = torch.ones_like(a[..., 0])
    na, nb = homography.normaliser(a, w), homography.normaliser(b, w)
    with full_precision(a):
        q = torch.linalg.qr(_products(affine.apply(na, a), affine.apply(nb, b)).mT, mode="complete").Q
        one, two = q[..., 7].unflatten(-1, (3, 3)), q[..., 8].unflatten(-1, (3, 3))
        share = _roots(one, two)  # B 3
        normal = share[..., None, None] * one[:, None] + (1 - share)[..., None, None] * two[:, None]
    three = [_back(normal[:, i], na, nb) for i in range(3)]
    return torch.stack(three, dim=1)


def lines(f: Float[Tensor, "B 3 3"], a: Float[Tensor, "B K 2"]) -> Float[Tensor, "B K 3"]:
    """Lines (l, m, n) of view b, l x + m y + n = 0 with l^2 + m^2 = 1, on which points of view a lie.

    A point of b is at the distance |l x + m y + n| from its line. A point at the epipole has no line: NaN.
    """
    line = _times(f, a)
    return line / torch.linalg.vector_norm(line[..., :2], dim=-1, keepdim=True)


def sampson(
    f: Float[Tensor, "B 3 3"], a: Float[Tensor, "B K 2"], b: Float[Tensor, "B K 2"]
) -> Float[Tensor, "B K"]:
    """Squared distance, in the space of (a, b), to the nearest pair that f explains, to first order.

    Where a and b are both seen with noise of variance s^2 it has the mean s^2 (Hartley and Zisserman, section
    11.4.3). The sign and the scale of f do not matter.
    """
    in_b, in_a = _times(f, a), _times(f.mT, b)
    off = (b * in_b[..., :2]).sum(-1) + in_b[..., 2]
    slope = in_b[..., :2].square().sum(-1) + in_a[..., :2].square().sum(-1)
    return off.square() / slope.clamp_min(torch.finfo(f.dtype).tiny)


def _times(f: Tensor, xy: Tensor) -> Tensor:
    """f times homogeneous points, B K 3."""
    m = f[:, None]
    return m[..., 0] * xy[..., :1] + m[..., 1] * xy[..., 1:] + m[..., 2]


def _products(a: Tensor, b: Tensor) -> Tensor:
    """B K 9: the coefficients of f, row by row, in b^T f a."""
    a, b = (torch.cat([xy, torch.ones_like(xy[..., :1])], dim=-1) for xy in (a, b))
    return (b[..., :, None] * a[..., None, :]).flatten(-2)


def _roots(one: Tensor, two: Tensor) -> Tensor:
    """B 3: the real parts of the x for which det(x one + (1 - x) two) is zero."""
    # A cubic through its values at 0, 1, -1 and 2, of which 0 and 1 are the determinants themselves.
    zero, first, minus, second = (torch.linalg.det(x * one + (1 - x) * two) for x in (0, 1, -1, 2))
    square = (first + minus) / 2 - zero
    cube = (second - 4 * square - (first - minus) - zero) / 6
    line = (first - minus) / 2 - cube
    least = torch.finfo(one.dtype).tiny ** 0.5
    cube = torch.where(cube.abs() < least, least, cube)
    companion = torch.zeros(len(one), 3, 3, dtype=one.dtype, device=one.device)
    companion[:, 1, 0] = companion[:, 2, 1] = 1
    companion[:, :, 2] = -torch.stack([zero, line, square], dim=1) / cube[:, None]
    return torch.linalg.eigvals(companion.clamp(-1e12, 1e12)).real


def _back(normal: Tensor, na: Tensor, nb: Tensor) -> Tensor:
    """From normalised pixels to pixels."""
    with full_precision(normal):
        return _scaled(homography.from_affine(nb).mT @ normal @ homography.from_affine(na))


def _scaled(f: Tensor) -> Tensor:
    return f / torch.linalg.matrix_norm(f, keepdim=True).clamp_min(torch.finfo(f.dtype).tiny)
