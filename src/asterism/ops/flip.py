"""The flip test: maps of the mirrored picture, mirrored back, are a second opinion.

Where a mirrored point lies in a map decides whether the maps fit. In a picture of width W = w s a pixel x is
mirrored to W - 1 - x, a column u of a map of width w to w - 1 - u.

    cells centred on their pixels   u = (x + 0.5) / s - 0.5      (the house)
        of the mirrored pixel:      u' = (W - 1 - x + 0.5) / s - 0.5 = w - 1 - u          shift 0
    gaps, Udp                       u = x (w - 1) / (W - 1)
                                    u' = w - 1 - u                                        shift 0
    rounded, Rounded                u = floor(x / s + 1 / 2), x = s k + r with 0 <= r < s, s even:
                                    u = k + [r >= s / 2],  u' = w - k - [r >= s / 2] = w - u
        mirrored back:              w - 1 - u' = u - 1                                    shift 1

So maps of Rounded lie one cell too far left, for every whole pixel and every even stride, and no other
codec's do: the shift of one cell in the authors' code of HRNet belongs to its rounding.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def mirrored(image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    """Left and right exchanged."""
    return image.flip(-1)


def mirrored_back(
    maps: Float[Tensor, "B K h w"], swap: Sequence[int], shift: int = 0
) -> Float[Tensor, "B K h w"]:
    """Maps of a mirrored picture as maps of the picture itself.

    `swap[k]` is the point that k becomes in a mirror; `shift` is the codec's `mirror_shift`, in cells to the
    right: the columns that come free keep their values.
    """
    if len(swap) != maps.shape[1]:
        raise ValueError(f"swap: wanted one index for each of {maps.shape[1]} maps, got {len(swap)}")
    back = mirrored(maps)[:, torch.tensor(swap, device=maps.device)]
    return torch.cat([back[..., :shift], back[..., : back.shape[-1] - shift]], dim=-1)
