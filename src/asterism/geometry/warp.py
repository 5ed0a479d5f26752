"""What every warp of the plane can do, whatever its formula."""

from typing import Protocol, runtime_checkable

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
