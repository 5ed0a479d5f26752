"""Colours of pictures."""

from jaxtyping import Float
from torch import Tensor

# Of ImageNet's training pictures, RGB in [0, 1]: what networks expect whose weights began there.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def standardised(image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
    """Pictures in [0, 1] with ImageNet's mean taken off, in units of its standard deviation."""
    mean, deviation = (image.new_tensor(c)[:, None, None] for c in (_MEAN, _DEVIATION))
    return (image - mean) / deviation
