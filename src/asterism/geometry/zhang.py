"""A camera's matrix from pictures of a flat board, in closed form.

Zhang, "A flexible new technique for camera calibration", TPAMI 2000. A homography takes the board's plane to
pixels; its first two columns are the images of two directions of equal length at a right angle, which gives
two linear equations for the image of the absolute conic (section 3.1). Departs: without skew, which no camera
file here has (five unknowns, not six), and in pixels moved to the picture's middle and divided by its size.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from asterism.geometry import homography
from asterism.geometry.precision import full_precision

_ROUNDS = 30  # of reweighting


def homographies(
    board: Float[Tensor, "K 2"], xy: Float[Tensor, "B K 2"], valid: Bool[Tensor, "B K"]
) -> Float[Tensor, "B 3 3"]:
    """picture_from_board of least sum of distances in pixels, not squared: some corners may be wrong.

    By reweighting; what is nearer than the median distance has one weight, since a bent lens moves all.
    Four valid points or more, not in a line, or finite nonsense.
    """
    plane = board.expand(len(xy), -1, -1)
    seen = torch.where(valid[..., None], xy, 0)
    weight = valid.to(xy.dtype)
    found = homography.from_points(plane, seen, weight)
    for _ in range(_ROUNDS):
        off = (homography.apply(found, plane) - seen).norm(dim=-1)
        off = torch.where(off.isfinite(), off, 1e9)
        middle = torch.where(valid, off, torch.nan).nanmedian(dim=1, keepdim=True).values
        weight = torch.where(valid, 1 / torch.maximum(off, middle).clamp_min(1e-9), 0)
        found = homography.from_points(plane, seen, weight / weight.amax(1, keepdim=True).clamp_min(1e-300))
    return found


def intrinsics(
    picture_from_board: Float[Tensor, "B 3 3"], size: tuple[int, int]
) -> Float[Tensor, "3 3"] | None:
    """fx, fy, cx, cy of least algebraic error; None where the boards' turns do not determine them.

    `size` (h, w) conditions the equations and nothing else. Two boards that are not parallel are enough.
    """
    normal = _conditioned(picture_from_board, _to_unit(size))
    h1, h2 = normal[..., 0], normal[..., 1]

    def row(a: Tensor, b: Tensor) -> Tensor:  # of B11, B22, B13, B23, B33: Zhang's v_ij without B12
        return torch.stack(
            [
                a[:, 0] * b[:, 0],
                a[:, 1] * b[:, 1],
                a[:, 0] * b[:, 2] + a[:, 2] * b[:, 0],
                a[:, 1] * b[:, 2] + a[:, 2] * b[:, 1],
                a[:, 2] * b[:, 2],
            ],
            dim=-1,
        )

    rows = torch.cat([row(h1, h2), row(h1, h1) - row(h2, h2)])
    if len(rows) < 4:
        return None
    b11, b22, b13, b23, b33 = torch.linalg.svd(rows)[2][-1].unbind()
    if b11 * b22 <= 0:
        return None
    cx, cy = -b13 / b11, -b23 / b22
    scale = b33 - b13.square() / b11 - b23.square() / b22
    if scale / b11 <= 0:
        return None
    return _back((scale / b11).sqrt(), (scale / b22).sqrt(), cx, cy, size)


def focal_alone(
    picture_from_board: Float[Tensor, "B 3 3"], size: tuple[int, int]
) -> Float[Tensor, "3 3"] | None:
    """One focal length, with square pixels and the principal point in the picture's middle.

    One tilted board is enough. None where no focal length fits.
    """
    normal = _conditioned(picture_from_board, _to_unit(size))
    h1, h2 = normal[..., 0], normal[..., 1]
    left = torch.cat([(h1 * h2)[:, :2].sum(-1), (h1 * h1 - h2 * h2)[:, :2].sum(-1)])
    right = torch.cat([(h1 * h2)[:, 2], (h1 * h1 - h2 * h2)[:, 2]])
    inverse = -(left * right).sum() / left.square().sum().clamp_min(1e-300)  # 1 / f^2
    if inverse <= 0:
        return None
    focal = inverse.rsqrt()
    zero = torch.zeros_like(focal)
    return _back(focal, focal, zero, zero, size)


def _to_unit(size: tuple[int, int]) -> tuple[float, float, float]:
    h, w = size
    return (w - 1) / 2, (h - 1) / 2, float(max(h, w))


def _conditioned(picture_from_board: Tensor, unit: tuple[float, float, float]) -> Tensor:
    """Homographies to pixels about the middle in units of the picture's size, columns of unit length."""
    x, y, s = unit
    to = picture_from_board.new_tensor([[1 / s, 0, -x / s], [0, 1 / s, -y / s], [0, 0, 1]])
    with full_precision(picture_from_board):
        normal = to @ picture_from_board
    return normal / normal[..., :2].flatten(1).norm(dim=-1)[:, None, None]


def _back(fx: Tensor, fy: Tensor, cx: Tensor, cy: Tensor, size: tuple[int, int]) -> Tensor:
    x, y, s = _to_unit(size)
    zero, one = torch.zeros_like(fx), torch.ones_like(fx)
    rows = [[s * fx, zero, s * cx + x], [zero, s * fy, s * cy + y], [zero, zero, one]]
    return torch.stack([torch.stack(row) for row in rows])
