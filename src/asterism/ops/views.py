"""Random views of pictures: what a method without labels learns from besides, or instead of, a second frame.

A similarity about the middle for all frames of a clip alike, so that what is still stays still; a thin-plate
spline where one picture must stand for two. Random numbers come from torch's global generator, whose seed is
the engine's.
"""

from dataclasses import dataclass
from math import pi

import torch
from jaxtyping import Float
from torch import Tensor

from asterism.geometry import affine
from asterism.geometry.coords import image_centre
from asterism.geometry.tps import ThinPlateSpline
from asterism.ops.sampling import crop


@dataclass(frozen=True)
class Bend:
    """How far a random spline may go: ThinPlateSpline.random in shares of the shorter side and degrees."""

    grid: int = 5
    displacement: float = 0.05
    rotation: float = 15.0
    scale: float = 0.1
    shift: float = 0.05


def random_spline(bend: Bend, like: Float[Tensor, "B C H W"]) -> ThinPlateSpline:
    """One spline per picture of `like`."""
    return ThinPlateSpline.random(
        len(like),
        (like.shape[2], like.shape[3]),
        grid=bend.grid,
        displacement=bend.displacement,
        rotation=bend.rotation * pi / 180,
        scale=bend.scale,
        shift=bend.shift,
        generator=None,
        like=like,
    )


def random_similarity(
    b: int,
    size: tuple[int, int],
    *,
    rotation: int | float,
    scale: int | float,
    shift: int | float,
    like: Tensor,
) -> Float[Tensor, "B 2 3"]:
    """picture_from_view of b pictures of `size` (h, w): a turn and a scaling about the middle, then a shift.

    Uniform in +- `rotation` degrees, in 1 +- `scale`, and along each axis in +- `shift` of the shorter side.
    """
    dice = torch.rand(b, 4, device=like.device, dtype=like.dtype) * 2 - 1
    middle = image_centre(size, like=dice).expand(b, 2)
    angle, factor = dice[:, 0] * (rotation * pi / 180), 1 + dice[:, 1] * scale
    turn = affine.similarity(angle, factor, torch.zeros_like(middle))
    away = middle - affine.apply(turn, middle[:, None])[:, 0] + dice[:, 2:] * (shift * min(size))
    return torch.cat([turn[..., :2], away[..., None]], dim=-1)


def seen_alike(
    first: Float[Tensor, "B C H W"],
    second: Float[Tensor, "B D H W"],
    picture_from_view: Float[Tensor, "B 2 3"],
) -> tuple[Float[Tensor, "B C H W"], Float[Tensor, "B D H W"]]:
    """Two frames of each clip through one and the same view; zero outside. Either may have more layers."""
    size = (first.shape[2], first.shape[3])
    both = crop(torch.cat([first, second], dim=1), picture_from_view, size)
    c = first.shape[1]
    return both[:, :c], both[:, c:]


def two_frames(
    frames: Float[Tensor, "B T C H W"],
) -> tuple[Float[Tensor, "B C H W"], Float[Tensor, "B C H W"]]:
    """Two different frames of each clip, every ordered pair as likely. ValueError for clips of one frame."""
    b, t = frames.shape[:2]
    if t < 2:
        raise ValueError("two different frames were wanted of clips of one frame")
    rows = torch.arange(b, device=frames.device)
    first = torch.randint(t, (b,), device=frames.device)
    second = (first + torch.randint(1, t, (b,), device=frames.device)) % t
    return frames[rows, first], frames[rows, second]
