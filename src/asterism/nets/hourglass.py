"""Stacked hourglasses (Newell, Yang, Deng, ECCV 2016): residual modules, one hourglass, the stack.

The widths are those of the authors' PyTorch code. Theirs also registers a 1x1 convolution in every residual
module of equal width that is never used; here it does not exist, so 8 stacks have 25,434,112 parameters
instead of 32,819,328.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

STRIDE = 4  # of the maps: the first convolution halves the image, the pooling behind it halves it again


class Residual(nn.Module):
    """Pre-activated bottleneck: 1x1 to half the width, 3x3, 1x1 to the full width, plus the input."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        half = out_channels // 2
        self.branch = nn.Sequential(
            *(nn.BatchNorm2d(in_channels), nn.ReLU(), nn.Conv2d(in_channels, half, 1)),
            *(nn.BatchNorm2d(half), nn.ReLU(inplace=True), nn.Conv2d(half, half, 3, padding=1)),
            *(nn.BatchNorm2d(half), nn.ReLU(inplace=True), nn.Conv2d(half, out_channels, 1)),
        )
        equal = in_channels == out_channels
        self.skip = nn.Identity() if equal else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B D h w"]:
        return self.skip(x) + self.branch(x)


class Hourglass(nn.Module):
    """Down `depth` times by max pooling and up again by repetition, with a residual module at every turn."""

    def __init__(self, depth: int, width: int) -> None:
        super().__init__()
        self.across = Residual(width, width)
        self.before = Residual(width, width)
        self.inner = Hourglass(depth - 1, width) if depth > 1 else Residual(width, width)
        self.after = Residual(width, width)

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        low = self.after(self.inner(self.before(F.max_pool2d(x, 2))))
        return self.across(x) + F.interpolate(low, scale_factor=2, mode="nearest")


class StackedHourglass(nn.Module):
    """n_stacks hourglasses; each one's maps are fed back into the features that the next one sees.

    width must be a multiple of 8, and the sides of the image multiples of STRIDE * 2 ** depth; ValueError
    otherwise.
    """

    def __init__(self, out_channels: int, *, n_stacks: int = 8, width: int = 256, depth: int = 4) -> None:
        super().__init__()
        if width % 8:
            raise ValueError(f"width: wanted a multiple of 8, got {width}")
        self.multiple = STRIDE * 2**depth
        self.stem = nn.Sequential(
            *(nn.Conv2d(3, width // 4, 7, stride=2, padding=3), nn.BatchNorm2d(width // 4), nn.ReLU()),
            *(Residual(width // 4, width // 2), nn.MaxPool2d(2)),
            *(Residual(width // 2, width // 2), Residual(width // 2, width)),
        )
        self.hourglasses = nn.ModuleList(
            nn.Sequential(
                *(Hourglass(depth, width), Residual(width, width)),
                *(nn.Conv2d(width, width, 1), nn.BatchNorm2d(width), nn.ReLU()),
            )
            for _ in range(n_stacks)
        )
        self.heads = nn.ModuleList(nn.Conv2d(width, out_channels, 1) for _ in range(n_stacks))
        self.back_features = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(n_stacks - 1))
        self.back_maps = nn.ModuleList(nn.Conv2d(out_channels, width, 1) for _ in range(n_stacks - 1))

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B K h w"]]:
        """The maps of every stack, first to last, at a quarter of the image's size."""
        if image.shape[2] % self.multiple or image.shape[3] % self.multiple:
            raise ValueError(f"wanted a size in multiples of {self.multiple}, got {tuple(image.shape[2:])}")
        x, maps = self.stem(image), []
        for i, (hourglass, head) in enumerate(zip(self.hourglasses, self.heads)):
            features = hourglass(x)
            maps.append(head(features))
            if i < len(self.back_maps):
                x = x + self.back_features[i](features) + self.back_maps[i](maps[-1])
        return maps
