"""OpenPose's networks: VGG features, then stages that predict maps and part affinity fields again and again.

TPAMI       field stages first, then map stages; a block is three 3x3 whose outputs are concatenated (Cao,
            Hidalgo, Simon, Wei, Sheikh, OpenPose, TPAMI 2019, figure 3)
TwoBranch   fields and maps side by side in every stage, each from both of the last (Cao, Simon, Wei, Sheikh,
            CVPR 2017, figure 3)
Machine     maps alone: hands and faces (Wei, Ramakrishna, Kanade, Sheikh, Convolutional Pose Machines, CVPR
            2016, as in Simon et al., CVPR 2017)

Normalised  the stages of TPAMI, light, on the trunk of an HRNet: what a CPU trains (ours, not published)

Every layer of the first three bears the name that it has in the published prototxt files, so `caffe_layers`
says where each of their blobs belongs. Their input is turned here: BGR, x / 256 - 0.5 of bytes.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from asterism.nets.hrnet import STRIDE, HighResolution
from asterism.nets.resnet import basic, normed

VGG = ((64, 64), (128, 128), (256, 256, 256, 256), (512, 512))  # VGG-19's first ten convolutions
VGG_CPM = ((64, 64), (128, 128), (256, 256, 256, 256), (512, 512, 512, 512, 512, 512))

Stages = tuple[
    list[Float[Tensor, "B L2 h w"]], list[Float[Tensor, "B K1 h w"]]
]  # fields, maps; first to last


def caffe_layers(net: nn.Module) -> dict[str, str]:
    """The prototxt's name of each layer -> the path of its module here.

    Blob 0 of a Convolution is `weight`, blob 1 `bias`, in torch's own order of axes; blob 0 of a PReLU is
    `weight`.
    """
    paths = (path for path, module in net.named_modules() if isinstance(module, nn.Conv2d | nn.PReLU))
    return {path.rsplit(".", 1)[-1]: path for path in paths}


def centred(image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
    """RGB in [0, 1] to what the authors' networks are fed: bytes of BGR, / 256 - 0.5."""
    return image.flip(1) * (255 / 256) - 0.5


class Layers(nn.Sequential):
    """Modules in order, by name."""

    def __init__(self, *named: tuple[str, nn.Module]) -> None:
        super().__init__()
        for name, module in named:
            self.add_module(name, module)


def _conv(
    name: str, channels: tuple[int, int], kernel: int = 3, after: str = ""
) -> list[tuple[str, nn.Module]]:
    """A convolution that keeps the size; behind it a PReLU called `after`, or a ReLU where that is empty."""
    act = nn.PReLU(channels[1]) if after else nn.ReLU(inplace=True)
    conv = nn.Conv2d(*channels, kernel, padding=kernel // 2)
    return [(name, conv), (after or name.replace("conv", "relu"), act)]


def _pools(widths: Sequence[Sequence[int]], prelu_last: bool) -> list[tuple[str, nn.Module]]:
    """VGG: 3x3 convolutions, the size halved between the groups. OpenPose's last has a PReLU in BODY_25."""
    named, channels = [], 3
    for i, group in enumerate(widths, 1):
        if i > 1:
            named.append((f"pool{i - 1}", nn.MaxPool2d(2)))
        for j, width in enumerate(group, 1):
            last = prelu_last and i == len(widths) and j == len(group)
            named += _conv(f"conv{i}_{j}", (channels, width), after=f"prelu{i}_{j}" if last else "")
            channels = width
    return named


class Block(nn.Module):
    """Three 3x3 in a row, each with a PReLU; their three outputs are concatenated: the reach of a 7x7."""

    def __init__(self, name: str, in_channels: int, width: int) -> None:
        super().__init__()
        for j in range(3):
            layers = _conv(
                f"Mconv{name}_{j}", (width if j else in_channels, width), after=f"Mprelu{name}_{j}"
            )
            self.add_module(str(j), Layers(*layers))

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B W3 h w"]:
        out = []
        for part in self.children():
            x = part(x)
            out.append(x)
        return torch.cat(out, dim=1)


def _tpami_stage(name: str, in_channels: int, width: int, head: int, out: int, blocks: int) -> Layers:
    named: list[tuple[str, nn.Module]] = []
    for i in range(1, blocks + 1):
        named.append((f"block{i}", Block(f"{i}_{name}", 3 * width if i > 1 else in_channels, width)))
    named += _conv(f"Mconv{blocks + 1}_{name}", (3 * width, head), 1, after=f"Mprelu{blocks + 1}_{name}")
    named.append((f"Mconv{blocks + 2}_{name}", nn.Conv2d(head, out, 1)))
    return Layers(*named)


def last_convolution(module: nn.Module) -> nn.Conv2d:
    """The convolution that a stack ends in."""
    return [part for part in module.modules() if isinstance(part, nn.Conv2d)][-1]


class TPAMI(nn.Module):
    """`field_stages` stages refine the fields, then `map_stages` the maps, which see the last fields.

    With the defaults the network of BODY_25. The maps' stride is 2 ** (len(stem) - 1).
    """

    def __init__(
        self,
        n_maps: int,
        n_fields: int,
        *,
        stem: Sequence[Sequence[int]] = VGG,
        features: tuple[int, int] = (256, 128),
        field_stages: int = 4,
        map_stages: int = 2,
        blocks: int = 5,
        first: tuple[int, int] = (96, 256),
        later: tuple[int, int] = (128, 512),
    ) -> None:
        super().__init__()
        self.stride = 2 ** (len(stem) - 1)
        at, n = len(stem), len(stem[-1])
        named = _pools(stem, prelu_last=True)
        channels = stem[-1][-1]
        for j, width in enumerate(features, n + 1):
            named += _conv(f"conv{at}_{j}_CPM", (channels, width), after=f"prelu{at}_{j}_CPM")
            channels = width
        self.features = Layers(*named)
        self.fields, self.maps = nn.ModuleList(), nn.ModuleList()
        for t in range(field_stages):
            wide, seen = (later, channels + n_fields) if t else (first, channels)
            self.fields.append(_tpami_stage(f"stage{t}_L2", seen, *wide, n_fields, blocks))
        for t in range(map_stages):
            wide, seen = (later, n_maps) if t else (first, 0)
            self.maps.append(_tpami_stage(f"stage{t}_L1", channels + seen + n_fields, *wide, n_maps, blocks))

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Stages:
        x = self.features(centred(image))
        fields: list[Tensor] = []
        maps: list[Tensor] = []
        for stage in self.fields:
            fields.append(stage(torch.cat([x, *fields[-1:]], dim=1)))
        for stage in self.maps:
            maps.append(stage(torch.cat([x, *maps[-1:], *fields[-1:]], dim=1)))
        return fields, maps


def _cpm_head(named: list[tuple[str, int, int]], in_channels: int) -> Layers:
    """Convolutions (name, width, kernel) with ReLUs between them."""
    layers: list[tuple[str, nn.Module]] = []
    for name, width, kernel in named:
        layers += _conv(name, (in_channels, width), kernel)
        in_channels = width
    return Layers(*layers[:-1])


def _cpm_stage(name: str, in_channels: int, out: int) -> Layers:
    """Five 7x7 and two 1x1."""
    named = [(f"Mconv{i}_{name}", 128, 7) for i in range(1, 6)]
    return _cpm_head([*named, (f"Mconv6_{name}", 128, 1), (f"Mconv7_{name}", out, 1)], in_channels)


class TwoBranch(nn.Module):
    """Fields (L1) and maps (L2) side by side in `stages` stages; 6 are COCO's and MPI's network."""

    stride = 8

    def __init__(self, n_maps: int, n_fields: int, *, stages: int = 6) -> None:
        super().__init__()
        ends = (*_conv("conv4_3_CPM", (512, 256)), *_conv("conv4_4_CPM", (256, 128)))
        self.features = Layers(*_pools(VGG, prelu_last=False), *ends)
        self.fields, self.maps = nn.ModuleList(), nn.ModuleList()
        for stack, branch, out in ((self.fields, "L1", n_fields), (self.maps, "L2", n_maps)):
            named = [(f"conv5_{i}_CPM_{branch}", 128, 3) for i in (1, 2, 3)]
            named += [(f"conv5_4_CPM_{branch}", 512, 1), (f"conv5_5_CPM_{branch}", out, 1)]
            stack.append(_cpm_head(named, 128))
            for t in range(2, stages + 1):
                stack.append(_cpm_stage(f"stage{t}_{branch}", n_fields + n_maps + 128, out))

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Stages:
        x = self.features(centred(image))
        fields: list[Tensor] = []
        maps: list[Tensor] = []
        for of_fields, of_maps in zip(self.fields, self.maps):
            seen = torch.cat([*fields[-1:], *maps[-1:], x], dim=1)
            fields.append(of_fields(seen))
            maps.append(of_maps(seen))
        return fields, maps


class Machine(nn.Module):
    """Maps of one hand or face: no fields, because there is one."""

    stride = 8

    def __init__(self, n_maps: int, *, stages: int = 6) -> None:
        super().__init__()
        # The prototxt counts VGG's last two and its own under conv5.
        named = _pools((*VGG_CPM[:3], VGG_CPM[3][:4]), prelu_last=False)
        for j, (channels, suffix) in enumerate((((512, 512), ""), ((512, 512), ""), ((512, 128), "_CPM")), 1):
            named += _conv(f"conv5_{j}{suffix}", channels)
        self.features = Layers(*named)
        self.maps = nn.ModuleList([_cpm_head([("conv6_1_CPM", 512, 1), ("conv6_2_CPM", n_maps, 1)], 128)])
        for t in range(2, stages + 1):
            self.maps.append(_cpm_stage(f"stage{t}", n_maps + 128, n_maps))

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Stages:
        x = self.features(centred(image))
        maps: list[Tensor] = []
        for stage in self.maps:
            maps.append(stage(torch.cat([*maps[-1:], x], dim=1)))
        return [], maps


class Normalised(nn.Module):
    """Fields, refined, then maps, refined, on features that see the whole picture at a quarter of its size.

    VGG and stages of plain convolutions need weights to start from; with normalisations and an HRNet's trunk
    (whose lowest resolution sees a whole person) small ones learn from nothing within an hour of a CPU. Sides
    of the image must be multiples of 4 * 2 ** len(rounds).
    """

    stride = STRIDE

    def __init__(
        self,
        n_maps: int,
        n_fields: int,
        *,
        width: int = 16,
        rounds: tuple[int, ...] = (1, 2, 1),
        features: int = 48,
        field_stages: int = 2,
        map_stages: int = 1,
        later: int = 48,
        blocks: int = 1,
    ) -> None:
        super().__init__()
        self.features = HighResolution(
            features, width=width, rounds=rounds, blocks=2, bottlenecks=2, stem=32, by_fan=True
        )
        self.fields, self.maps = nn.ModuleList(), nn.ModuleList()
        for t in range(field_stages):
            self.fields.append(_normed_stage(features + (n_fields if t else 0), later, n_fields, blocks))
        for t in range(map_stages):
            seen = features + (n_fields if field_stages else 0) + (n_maps if t else 0)
            self.maps.append(_normed_stage(seen, later, n_maps, blocks))

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Stages:
        x = torch.relu(self.features(centred(image)))
        fields: list[Tensor] = []
        maps: list[Tensor] = []
        for stage in self.fields:
            fields.append(stage(torch.cat([x, *fields[-1:]], dim=1)))
        for stage in self.maps:
            maps.append(stage(torch.cat([x, *maps[-1:], *fields[-1:]], dim=1)))
        return fields, maps


def _normed_stage(in_channels: int, width: int, out: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(
        *(*normed(in_channels, width, 1), nn.ReLU(inplace=True)),
        *(basic(width, width) for _ in range(blocks)),
        nn.Conv2d(width, out, 1),
    )
