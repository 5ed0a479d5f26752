"""Where pixels, cells and normalised coordinates lie. The half pixel of the house is written here, once.

xy pixels: a whole number is the CENTRE of a pixel, (x, y). uv cells of a map with a stride: a whole number
is the centre of a cell, which covers stride x stride pixels. xyn normalised: -1 and 1 are the outer EDGES of
the image (what torch calls align_corners=False). Sizes are (h, w).
"""

import torch
from jaxtyping import Float
from torch import Tensor


def uv_from_xy(xy: Float[Tensor, "*n 2"], stride: int | float) -> Float[Tensor, "*n 2"]:
    """Cells of a map in which one cell covers stride x stride pixels."""
    return (xy + 0.5) / stride - 0.5


def xy_from_uv(uv: Float[Tensor, "*n 2"], stride: int | float) -> Float[Tensor, "*n 2"]:
    """Pixels of the image; the inverse of uv_from_xy."""
    return (uv + 0.5) * stride - 0.5


def xyn_from_xy(xy: Float[Tensor, "*n 2"], size: tuple[int, int]) -> Float[Tensor, "*n 2"]:
    """Normalised coordinates, -1..1 from edge to edge of an image of `size` (h, w)."""
    return (xy + 0.5) * (2.0 / _wh(size, xy)) - 1.0


def xy_from_xyn(xyn: Float[Tensor, "*n 2"], size: tuple[int, int]) -> Float[Tensor, "*n 2"]:
    """Pixels of an image of `size` (h, w); the inverse of xyn_from_xy."""
    return (xyn + 1.0) * (_wh(size, xyn) / 2.0) - 0.5


def pixel_grid(size: tuple[int, int], *, like: Tensor) -> Float[Tensor, "h w 2"]:
    """xy of every pixel, on the device and in the dtype of `like`."""
    h, w = size
    x = torch.arange(w, device=like.device, dtype=like.dtype)
    y = torch.arange(h, device=like.device, dtype=like.dtype)
    return torch.stack([x.expand(h, w), y[:, None].expand(h, w)], dim=-1)


def image_centre(size: tuple[int, int], *, like: Tensor) -> Float[Tensor, "2"]:
    """xy of the middle of the image: ((w - 1) / 2, (h - 1) / 2)."""
    return _wh(size, like) / 2.0 - 0.5


def _wh(size: tuple[int, int], like: Tensor) -> Tensor:
    h, w = size
    return torch.tensor([w, h], device=like.device, dtype=like.dtype)
