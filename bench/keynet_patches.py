"""Square crops of the photographs that scikit-image holds in its package: what keynet learns from here.

Pictures that are measured on (bench/matching_features.py) are other ones.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from asterism.geometry import affine
from asterism.types import Images

LEARNED = (
    *("chelsea", "coffee", "coins", "brick", "grass", "gravel"),
    *("immunohistochemistry", "retina", "hubble_deep_field", "page", "text", "moon"),
)
_LARGEST = 2.5  # sides of a crop in the photograph, in sides of the crop


def photograph(name: str) -> Tensor:
    """3 H W in [0, 1]; grey ones have three equal channels."""
    from skimage import data

    picture = getattr(data, name)()
    picture = np.asarray(picture[0] if isinstance(picture, tuple) else picture)  # the left one of two views
    picture = np.repeat(picture[..., None], 3, axis=2) if picture.ndim == 2 else picture[..., :3]
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1).float() / 255


class Patches:
    """Endless crops: sample (round, i) is always the same one, and none are alike."""

    def __init__(self, side: int, per_round: int = 1200) -> None:
        self.pictures = [photograph(name) for name in LEARNED]
        self.side, self.per_round = side, per_round

    def __len__(self) -> int:
        return self.per_round

    def __getitem__(self, key: tuple[int, int]) -> Images:
        g = np.random.default_rng(key)
        picture = self.pictures[key[1] % len(self.pictures)]
        most = min(min(picture.shape[1:]), int(_LARGEST * self.side))
        seen = int(g.integers(min(self.side, most), most + 1))
        y, x = (int(g.integers(0, n - seen + 1)) for n in picture.shape[1:])
        crop = picture[None, :, y : y + seen, x : x + seen]
        crop = F.interpolate(crop, size=(self.side, self.side), mode="bilinear", antialias=True)
        if g.integers(2):
            crop = crop.flip(3)
        crop = crop.rot90(int(g.integers(4)), (2, 3)).contiguous()
        return Images(image=crop, to_source=affine.identity(1, like=crop))
