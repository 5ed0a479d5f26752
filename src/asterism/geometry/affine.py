"""Affine maps of the plane as "B 2 3" matrices named b_from_a. Use as `affine.apply(b_from_a, xy)`.

Products are written out instead of matmul: under autocast a matmul would round coordinates to half
precision, which is whole pixels in an image of 2000.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from asterism.geometry.coords import image_centre
from asterism.types import Frames, Struct


def identity(b: int, *, like: Tensor) -> Float[Tensor, "B 2 3"]:
    """b maps that change nothing, on the device and in the dtype of `like`."""
    return torch.eye(2, 3, device=like.device, dtype=like.dtype).repeat(b, 1, 1)


def apply(b_from_a: Float[Tensor, "B 2 3"], xy: Float[Tensor, "B K 2"]) -> Float[Tensor, "B K 2"]:
    """Points of a, in b."""
    m = b_from_a[:, None]  # B 1 2 3
    return m[..., 0] * xy[..., :1] + m[..., 1] * xy[..., 1:] + m[..., 2]


def compose(c_from_b: Float[Tensor, "B 2 3"], b_from_a: Float[Tensor, "B 2 3"]) -> Float[Tensor, "B 2 3"]:
    """c_from_a: first b_from_a, then c_from_b."""
    linear = c_from_b[:, :, :1] * b_from_a[:, :1] + c_from_b[:, :, 1:2] * b_from_a[:, 1:]  # B 2 3
    return torch.cat([linear[..., :2], linear[..., 2:] + c_from_b[..., 2:]], dim=-1)


def inverse(b_from_a: Float[Tensor, "B 2 3"]) -> Float[Tensor, "B 2 3"]:
    """a_from_b. The determinant must not be zero; a singular map gives infinities, not an error."""
    (a, b, tx), (c, d, ty) = (row.unbind(-1) for row in b_from_a.unbind(-2))
    rows = [d, -b, b * ty - d * tx, -c, a, c * tx - a * ty]
    return torch.stack(rows, dim=-1).unflatten(-1, (2, 3)) / (a * d - b * c)[:, None, None]


def similarity(
    angle: Float[Tensor, " B"], scale: Float[Tensor, " B"], shift: Float[Tensor, "B 2"]
) -> Float[Tensor, "B 2 3"]:
    """Turn by `angle` (radians, x towards y) and scale about the origin, then shift."""
    c, s = scale * angle.cos(), scale * angle.sin()
    return torch.stack([c, -s, shift[:, 0], s, c, shift[:, 1]], dim=-1).unflatten(-1, (2, 3))


def source_from_crop(frames: Frames, size: tuple[int, int]) -> Float[Tensor, "B 2 3"]:
    """From pixels of a crop of `size` (h, w), cut out in `frames`, to pixels of the source image.

    The middle of the crop is frames.centre, its x axis points along frames.angle, and its shorter side
    spans 2 * frames.scale source pixels.
    """
    step = 2.0 * frames.scale / min(size)  # source pixels per crop pixel
    turn = similarity(frames.angle, step, torch.zeros_like(frames.centre))
    middle = image_centre(size, like=frames.centre).expand(len(frames), 1, 2)
    shift = frames.centre - apply(turn, middle)[:, 0]
    return similarity(frames.angle, step, shift)


def scale_of(b_from_a: Float[Tensor, "B 2 3"]) -> Float[Tensor, " B"]:
    """Pixels of b per pixel of a: the square root of the change of area."""
    (a, b, _), (c, d, _) = (row.unbind(-1) for row in b_from_a.unbind(-2))
    return (a * d - b * c).abs().sqrt()


@dataclass(frozen=True, kw_only=True, repr=False)
class Affine(Struct):
    """An affine map as a Warp."""

    b_from_a: Float[Tensor, "B 2 3"]

    def points(self, xy: Float[Tensor, "B K 2"]) -> Float[Tensor, "B K 2"]:
        return apply(self.b_from_a, xy)

    def inverse_points(self, xy: Float[Tensor, "B K 2"]) -> Float[Tensor, "B K 2"]:
        return apply(inverse(self.b_from_a), xy)

    def jacobian(self, xy: Float[Tensor, "B K 2"]) -> Float[Tensor, "B K 2 2"]:
        return self.b_from_a[:, None, :, :2].expand(*xy.shape[:2], 2, 2)
