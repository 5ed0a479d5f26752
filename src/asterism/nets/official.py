"""What the authors call the tensors that our networks hold: for readers of the authors' weights.

Each function takes a name of a network's state_dict (nets.hrnet, nets.resnet, nets.hourglass) to the name in
the authors' checkpoint, without what their trainers put in front ("module.", "model.module."). Every tensor
of HRNet and SimpleBaseline has its partner; a checkpoint of the hourglass holds further `skip_layer` tensors,
of residual modules of equal width, that are never used.
"""

import re

Rules = tuple[tuple[str, str], ...]  # regular expressions and what they become, one after the other

_CONV_BN = ("conv", "bn")
# Bodies of nets.resnet: convolution, normalisation, relu, in groups of three.
_BODY: Rules = tuple(
    (rf"\.body\.{3 * i + j}\.", rf".{kind}{i + 1}.") for i in range(3) for j, kind in enumerate(_CONV_BN)
)
_SKIP: Rules = ((r"\.skip\.", ".downsample."),)

_KEYNET: Rules = (
    (r"^(net\.)?", "model_deep_detector_"),
    *((rf"blocks\.{3 * i}\.", f"conv_{i + 1}/") for i in range(3)),
    *((rf"blocks\.{3 * i + 1}\.", f"batch_{i + 1}/") for i in range(3)),
    (r"last\.", "conv_last_layer/"),
    (r"norm\.", "batch_final/"),
    (r"(conv_\w+)/weight$", r"\1/kernel"),
    (r"(batch_\w+)/weight$", r"\1/gamma"),
    (r"(batch_\w+)/bias$", r"\1/beta"),
)

_HRNET: Rules = (
    *((rf"^stem\.{3 * i + j}\.", f"{kind}{i + 1}.") for i in range(2) for j, kind in enumerate(_CONV_BN)),
    (r"^first\.", "layer1."),
    (r"^stages\.0\.enter\.0\.", "transition1.0."),
    *((rf"^stages\.{s}\.enter\.{s + 1}\.", f"transition{s + 1}.{s + 1}.0.") for s in range(3)),
    *((rf"^stages\.{s}\.rounds\.", f"stage{s + 2}.") for s in range(3)),
    (r"\.exchange\.outputs\.", ".fuse_layers."),
    (r"^head\.", "final_layer."),
    *_BODY,
    *_SKIP,
)

_SIMPLE_BASELINE: Rules = (
    *((rf"^stem\.{j}\.", f"{kind}1.") for j, kind in enumerate(_CONV_BN)),
    *((rf"^stages\.{s}\.", f"layer{s + 1}.") for s in range(4)),
    (r"^up\.", "deconv_layers."),
    (r"^head\.", "final_layer."),
    *_BODY,
    *_SKIP,
)

_HOURGLASS: Rules = (
    (r"^stem\.0\.", "pre.0.conv."),
    (r"^stem\.1\.", "pre.0.bn."),
    *((rf"^stem\.{ours}\.", f"pre.{theirs}.") for ours, theirs in ((3, 1), (5, 3), (6, 4))),
    (r"^hourglasses\.(\d+)\.0\.", r"hgs.\1.0."),
    (r"^hourglasses\.(\d+)\.1\.", r"features.\1.0."),
    (r"^hourglasses\.(\d+)\.2\.", r"features.\1.1.conv."),
    (r"^hourglasses\.(\d+)\.3\.", r"features.\1.1.bn."),
    (r"^heads\.(\d+)\.", r"outs.\1.conv."),
    (r"^back_features\.(\d+)\.", r"merge_features.\1.conv.conv."),
    (r"^back_maps\.(\d+)\.", r"merge_preds.\1.conv.conv."),
    (r"\.across\.", ".up1."),
    (r"\.before\.", ".low1."),
    (r"\.inner(?=\.)", ".low2"),
    (r"\.after\.", ".low3."),
    *((rf"\.branch\.{3 * i}\.", f".bn{i + 1}.") for i in range(3)),
    *((rf"\.branch\.{3 * i + 2}\.", f".conv{i + 1}.conv.") for i in range(3)),
    (r"\.skip\.", ".skip_layer.conv."),
)


def hrnet(name: str) -> str:
    """github.com/leoxiaobin/deep-high-resolution-net.pytorch."""
    return _renamed(name, _HRNET)


def simple_baseline(name: str) -> str:
    """github.com/microsoft/human-pose-estimation.pytorch."""
    return _renamed(name, _SIMPLE_BASELINE)


def stacked_hourglass(name: str) -> str:
    """github.com/princeton-vl/pytorch_stacked_hourglass."""
    return _renamed(name, _HOURGLASS)


def keynet(name: str) -> str:
    """github.com/axelBarroso/Key.Net: names of the checkpoint's variables.

    Kernels are "height width in out" there. Running averages have no partner: the authors' program leaves
    them at 0 and 1 when it finds points.
    """
    return _renamed(name, _KEYNET)


def _renamed(name: str, rules: Rules) -> str:
    for pattern, new in rules:
        name = re.sub(pattern, new, name)
    return name
