"""Residual networks (He, Zhang, Ren, Sun, CVPR 2016) and the three transposed convolutions put on top of them
for heatmaps (Xiao, Wu, Wei, ECCV 2018). No convolution has a bias but the last: a normalisation follows.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

STRIDE = 4  # of the maps: the network halves the image five times, and three layers double the maps
EXPANSION = 4  # a bottleneck's output is this many times as wide as its middle


class Residual(nn.Module):
    """relu(skip(x) + body(x)); `skip` is a 1x1 convolution where the shape changes, else nothing."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, body: nn.Sequential) -> None:
        super().__init__()
        self.body = body
        same = stride == 1 and in_channels == out_channels
        self.skip = nn.Identity() if same else nn.Sequential(*normed(in_channels, out_channels, 1, stride))

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B D i j"]:
        return F.relu(self.skip(x) + self.body(x), inplace=True)


def basic(in_channels: int, out_channels: int, stride: int = 1) -> Residual:
    """Two 3x3 convolutions."""
    first = normed(in_channels, out_channels, 3, stride)
    body = nn.Sequential(*first, nn.ReLU(inplace=True), *normed(out_channels, out_channels, 3))
    return Residual(in_channels, out_channels, stride, body)


def bottleneck(in_channels: int, width: int, stride: int = 1) -> Residual:
    """1x1, 3x3 with the stride, 1x1 to EXPANSION times the width."""
    out = EXPANSION * width
    body = nn.Sequential(
        *(*normed(in_channels, width, 1), nn.ReLU(inplace=True)),
        *(*normed(width, width, 3, stride), nn.ReLU(inplace=True)),
        *normed(width, out, 1),
    )
    return Residual(in_channels, out, stride, body)


def normed(in_channels: int, out_channels: int, side: int, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    """A convolution without bias and its batch normalisation."""
    conv = nn.Conv2d(in_channels, out_channels, side, stride=stride, padding=side // 2, bias=False)
    return conv, nn.BatchNorm2d(out_channels, momentum=0.1)


def begin_small(net: nn.Module) -> None:
    """Every convolution from a normal of 0.001, every bias 0, as both papers' code does where there are no
    weights to start from: the first maps are nearly empty, and the normalisations undo it elsewhere.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, std=0.001)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def begin_by_fan(net: nn.Module) -> None:
    """Convolutions from normals that keep the variance through relus (He, Zhang, Ren, Sun, ICCV 2015)."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")


class DeconvolvedResNet(nn.Module):
    """Bottlenecks down to a 32nd of the image, three transposed convolutions up to a quarter, one map each.

    blocks (3, 4, 6, 3) and width 64 are ResNet-50. Sides of the image must be multiples of 32, ValueError
    otherwise.
    """

    def __init__(
        self,
        out_channels: int,
        *,
        blocks: tuple[int, int, int, int] = (3, 4, 6, 3),
        width: int = 64,
        up_width: int = 256,
    ) -> None:
        super().__init__()
        self.multiple = 8 * STRIDE
        self.stem = nn.Sequential(
            *(*normed(3, width, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, padding=1))
        )
        channels, stages = width, []
        for level, n in enumerate(blocks):
            stage = []
            for i in range(n):
                stage.append(bottleneck(channels, width << level, 2 if level and i == 0 else 1))
                channels = EXPANSION * (width << level)
            stages.append(nn.Sequential(*stage))
        self.stages = nn.Sequential(*stages)
        up: list[nn.Module] = []
        for _ in range(3):
            conv = nn.ConvTranspose2d(channels, up_width, 4, stride=2, padding=1, bias=False)
            up += [conv, nn.BatchNorm2d(up_width, momentum=0.1), nn.ReLU(inplace=True)]
            channels = up_width
        self.up = nn.Sequential(*up)
        self.head = nn.Conv2d(up_width, out_channels, 1)
        begin_small(self)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B K h w"]:
        if image.shape[2] % self.multiple or image.shape[3] % self.multiple:
            raise ValueError(f"wanted a size in multiples of {self.multiple}, got {tuple(image.shape[2:])}")
        return self.head(self.up(self.stages(self.stem(image))))
