"""What every warp of the plane can do, whatever its formula."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Warp(Protocol):
    """A batch of invertible maps of the plane, from pixels of a source image to pixels of the warped one.

    Keypoints move with `points`; the warped image at x is the source image at `inverse_points(x)`.
    """

    def points(self, xy: Float[Tensor, "B K 2"]) -> Float[Tensor, "B K 2"]:
        """Source pixels to warped pixels."""
        ...

    def inverse_points(self, xy: Float[Tensor, "B K 2"]) -> Float[Tensor, "B K 2"]:
        """Warped pixels to source pixels."""
        ...

    def jacobian(self, xy: Float[Tensor, "B K 2"]) -> Float[Tensor, "B K 2 2"]:
        """d points / d xy at source pixels; [..., i, j] is d out_i / d in_j."""
        ...


@dataclass(frozen=True)
class Inverse:
    """A warp the other way round.

    A random picture of a random spline's inverse is as good as one of the spline, and much cheaper: it needs
    the spline's closed form at every pixel instead of its solution, and that only for points.
    """

    warp: Warp

    def points(self, xy: Float[Tensor, "B K 2"]) -> Float[Tensor, "B K 2"]:
        """Source pixels to warped pixels."""
        return self.warp.inverse_points(xy)

    def inverse_points(self, xy: Float[Tensor, "B K 2"]) -> Float[Tensor, "B K 2"]:
        """Warped pixels to source pixels."""
        return self.warp.points(xy)

    def jacobian(self, xy: Float[Tensor, "B K 2"]) -> Float[Tensor, "B K 2 2"]:
        """d points / d xy at source pixels."""
        return torch.linalg.inv(self.warp.jacobian(self.points(xy)))
