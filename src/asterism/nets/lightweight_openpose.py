"""Lightweight OpenPose (Osokin, ICPRAM 2019): a dilated MobileNet, one first stage and refinement stages.

Fields and maps share a trunk in every stage; refinement blocks of 1x1, 3x3 and dilated 3x3 stand for the 7x7.
`published_keys` says where each tensor of the authors' checkpoints belongs.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from asterism.nets.openpose import Stages, centred

# (width, stride, dilation) of each depthwise separable block behind the first 3x3 of width 32
MOBILENET = (
    *((64, 1, 1), (128, 2, 1), (128, 1, 1), (256, 2, 1), (256, 1, 1), (512, 1, 1), (512, 1, 2)),
    *((512, 1, 1),) * 4,
)


def published_keys(net: nn.Module) -> dict[str, str]:
    """The authors' name of each tensor -> ours, where `net` is a LightweightOpenPose.

    Theirs: model.N (first convolution and blocks), cpm.{align, trunk, conv}, initial_stage.{trunk, heatmaps,
    pafs}, refinement_stages.N.{trunk.M.{initial, trunk}, heatmaps, pafs}.
    """
    renamed = (
        ("features.", "model."),
        ("narrow.", "cpm."),
        ("first.", "initial_stage."),
        ("refine.", "refinement_stages."),
        (".maps.", ".heatmaps."),
        (".fields.", ".pafs."),
    )
    table = {}
    for ours in net.state_dict():
        theirs = ours
        for a, b in renamed:
            theirs = b + theirs[len(a) :] if not a.startswith(".") and theirs.startswith(a) else theirs
            theirs = theirs.replace(a, b) if a.startswith(".") else theirs
        table[theirs] = ours
    return table


def _conv(
    channels: tuple[int, int],
    kernel: int = 3,
    *,
    norm: bool = False,
    relu: bool = True,
    stride: int = 1,
    dilation: int = 1,
) -> nn.Sequential:
    pad = dilation * (kernel // 2)
    parts: list[nn.Module] = [nn.Conv2d(*channels, kernel, stride, pad, dilation)]
    parts += [nn.BatchNorm2d(channels[1])] if norm else []
    return nn.Sequential(*parts, *([nn.ReLU(inplace=True)] if relu else []))


def _separable(channels: tuple[int, int], stride: int, dilation: int) -> nn.Sequential:
    """3x3 within each channel, 1x1 across them, each with batch norm and ReLU."""
    a, b = channels
    return nn.Sequential(
        *(nn.Conv2d(a, a, 3, stride, dilation, dilation, groups=a, bias=False), nn.BatchNorm2d(a)),
        *(nn.ReLU(inplace=True), nn.Conv2d(a, b, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True)),
    )


def _separable_elu(channels: int) -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False), nn.ELU(inplace=True)),
        *(nn.Conv2d(channels, channels, 1, bias=False), nn.ELU(inplace=True)),
    )


class Narrow(nn.Module):
    """The backbone's channels to the stages' few."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.align = _conv((in_channels, width), 1)
        self.trunk = nn.Sequential(*(_separable_elu(width) for _ in range(3)))
        self.conv = _conv((width, width))

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B W h w"]:
        x = self.align(x)
        return self.conv(x + self.trunk(x))


class RefinementBlock(nn.Module):
    """1x1, then a 3x3 and a dilated 3x3 around which it is added."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.initial = _conv((in_channels, width), 1)
        pair = (_conv((width, width), norm=True), _conv((width, width), norm=True, dilation=2))
        self.trunk = nn.Sequential(*pair)

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B W h w"]:
        x = self.initial(x)
        return x + self.trunk(x)


class Stage(nn.Module):
    """A trunk and two heads."""

    def __init__(self, trunk: nn.Sequential, width: int, head: int, n_maps: int, n_fields: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.maps = nn.Sequential(_conv((width, head), 1), _conv((head, n_maps), 1, relu=False))
        self.fields = nn.Sequential(_conv((width, head), 1), _conv((head, n_fields), 1, relu=False))

    def forward(self, x: Float[Tensor, "B C h w"]) -> tuple[Tensor, Tensor]:
        x = self.trunk(x)
        return self.fields(x), self.maps(x)


class LightweightOpenPose(nn.Module):
    """The default is the published network with one refinement stage, at stride 8."""

    def __init__(
        self,
        n_maps: int,
        n_fields: int,
        *,
        refinements: int = 1,
        backbone: Sequence[tuple[int, int, int]] = MOBILENET,
        stem: int = 32,
        width: int = 128,
        head: int = 512,
    ) -> None:
        super().__init__()
        self.stride = 2
        first = nn.Conv2d(3, stem, 3, 2, 1, bias=False)
        blocks = [nn.Sequential(first, nn.BatchNorm2d(stem), nn.ReLU(inplace=True))]
        channels = stem
        for out, stride, dilation in backbone:
            blocks.append(_separable((channels, out), stride, dilation))
            channels, self.stride = out, self.stride * stride
        self.features = nn.Sequential(*blocks)
        self.narrow = Narrow(channels, width)
        trunk = nn.Sequential(*(_conv((width, width)) for _ in range(3)))
        self.first = Stage(trunk, width, head, n_maps, n_fields)
        self.refine = nn.ModuleList()
        for _ in range(refinements):
            seen = (width + n_maps + n_fields, *(width,) * 4)
            trunk = nn.Sequential(*(RefinementBlock(c, width) for c in seen))
            self.refine.append(Stage(trunk, width, width, n_maps, n_fields))

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Stages:
        x = self.narrow(self.features(centred(image)))
        fields: list[Tensor] = []
        maps: list[Tensor] = []
        for stage in (self.first, *self.refine):
            of_fields, of_maps = stage(torch.cat([x, *maps[-1:], *fields[-1:]], dim=1))
            fields.append(of_fields)
            maps.append(of_maps)
        return fields, maps
