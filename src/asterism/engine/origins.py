"""Where converted weights come from: how each origin names its tensors, how its networks look at pictures,
and under which licence its weights are.

An Origin says everything that convert needs to know of one program's files. Its tables are those of
nets.official and nets.openpose; what is here is how the size of a network is read off a file.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from asterism.errors import BadWeights
from asterism.io.skeleton import find_skeleton
from asterism.methods.base import Method
from asterism.nets import official
from asterism.types import Skeleton

Tensors = Mapping[str, Tensor]  # by the origin's names


@dataclass(frozen=True, kw_only=True)
class Origin:
    """`files` is what users call its files; `caffe` whether they are caffemodels.

    `names` gives, for a method's network, the origin's name of each of our tensors; `renamed` brings another
    layout's names into that form. `config` reads the sizes off the tensors. `dead` are endings of tensors
    that the origin registers and never uses, `begun` of those of ours that it leaves as they begin. `frame`
    and `inside` are how it looks at pictures (View).
    """

    name: str
    method: str
    files: str
    licence: str
    names: Callable[[nn.Module], dict[str, str]]  # ours -> theirs
    config: Callable[[Any, Tensors], Any]
    skeleton: Callable[[Any], Skeleton | None]
    mark: str = ""  # how a tensor's name begins in this layout and in none of the method's others
    renamed: tuple[tuple[str, str], ...] = ()  # beginnings of names and what they become
    dead: tuple[str, ...] = ()
    begun: tuple[str, ...] = ()
    caffe: bool = False
    frame: str = "boxes"
    inside: bool = False
    input: str = "RGB"


def count(tensors: Tensors, before: str) -> int:
    """How many different numbers follow `before` in the names: of blocks, rounds or stacks."""
    ends = (name[len(before) :].split(".")[0] for name in tensors if name.startswith(before))
    return len({end for end in ends if end.isdigit()})


def shape(tensors: Tensors, name: str, axes: int = 4) -> tuple[int, ...]:
    """Raises BadWeights where the tensor that tells a network's size is absent, or has other axes."""
    if name not in tensors:
        raise BadWeights(f"lacks {name}, from which the size of the network is read")
    if tensors[name].dim() != axes:
        raise BadWeights(f"{name} has shape {tuple(tensors[name].shape)}, wanted {axes} axes")
    return tuple(tensors[name].shape)


def _by(rename: Callable[[str], str]) -> Callable[[nn.Module], dict[str, str]]:
    return lambda net: {ours: rename(ours) for ours in net.state_dict()}


def _skeleton_of(config: Any) -> Skeleton | None:
    """The published points of that number that the origin was trained on: MPII's 16 or COCO's 17."""
    name = {16: "mpii-16", 17: "coco-17"}.get(config.n_keypoints)
    return None if name is None else plain_skeleton(name)


def plain_skeleton(what: str) -> Skeleton:
    """A published skeleton by name, or that of a .toml file. Raises BadAnnotation."""
    found = find_skeleton(what)
    return Skeleton(names=found.names, edges=found.edges, swap=found.swap, sigma=found.sigma)


def _hourglass(config: Any, tensors: Tensors) -> Any:
    n, width, *_ = shape(tensors, "outs.0.conv.weight")
    deep = max((name.count(".low2") for name in tensors if name.startswith("hgs.0.0.")), default=1)
    return replace(
        config,
        n_keypoints=n,
        width=width,
        n_stacks=count(tensors, "outs."),
        depth=max(deep, 1),
        codec="quarter-offset",
    )


def _hrnet(config: Any, tensors: Tensors) -> Any:
    n, width, *_ = shape(tensors, "final_layer.weight")
    stages = [s for s in range(2, 10) if any(name.startswith(f"stage{s}.") for name in tensors)]
    return replace(
        config,
        n_keypoints=n,
        width=width,
        rounds=tuple(count(tensors, f"stage{s}.") for s in stages),
        blocks=count(tensors, "stage2.0.branches.0."),
        bottlenecks=count(tensors, "layer1."),
        stem=shape(tensors, "conv1.weight")[0],
        codec="rounded",
        input_size=(256, 256) if n == 16 else config.input_size,  # MPII's crops are square
    )


def _simple_baseline(colours: tuple[int, int, int]) -> Callable[[Any, Tensors], Any]:
    def config_of(config: Any, tensors: Tensors) -> Any:
        n, up_width, *_ = shape(tensors, "final_layer.weight")
        return replace(
            config,
            n_keypoints=n,
            up_width=up_width,
            blocks=tuple(count(tensors, f"layer{s}.") for s in range(1, 5)),
            width=shape(tensors, "conv1.weight")[0],
            codec="rounded",
            colours=colours,
            input_size=(256, 256) if n == 16 else config.input_size,
        )

    return config_of


def _keynet(config: Any, tensors: Tensors) -> Any:
    filters, *_ = shape(tensors, "model_deep_detector_conv_1/kernel")
    return replace(config, filters=filters)


# Published caffemodels: the layer that gives the last maps, their number with the background, and the preset.
_CAFFE = {
    ("Mconv7_stage1_L1", 26): "body-25",
    ("Mconv7_stage6_L2", 19): "coco-18",
    ("Mconv7_stage6_L2", 16): "mpi",
    ("Mconv7_stage6", 22): "hand-21",
    ("Mconv7_stage6", 71): "face-70",
}


def _openpose(config: Any, tensors: Tensors) -> Any:
    """The preset of these layers; a preset that the user names (another than paper) is taken as it is."""
    from asterism.catalogue import method_class

    presets = method_class("openpose").presets
    if config != presets["paper"]:
        return config
    for (layer, n), preset in _CAFFE.items():
        last = tensors.get(f"{layer}.weight")
        if last is not None and last.shape[0] == n:
            return presets[preset]
    raise BadWeights(
        "is none of the published networks (BODY_25, COCO with 6 stages, MPI with 6 stages, hand, face); "
        "where it has the layout of a preset of openpose, name it with --preset"
    )


def _caffe_names(net: nn.Module) -> dict[str, str]:
    from asterism.nets.openpose import caffe_layers

    layers = {path: layer for layer, path in caffe_layers(net).items()}
    split = {ours: ours.rsplit(".", 1) for ours in net.state_dict()}
    return {ours: f"{layers[path]}.{part}" for ours, (path, part) in split.items()}


def _caffe_skeleton(config: Any) -> Skeleton | None:
    """The published skeleton whose limbs stand in the order of the fields' channels."""
    from asterism.nets import openpose_parts as parts

    for known in (parts.BODY_25, parts.COCO_18, parts.MPI):
        if (len(known), known.edges) == (config.n_keypoints, config.limbs):
            return known
    if config.limbs:
        return None
    if config.n_keypoints == 21:
        return plain_skeleton("hand-21")
    return Skeleton(names=tuple(f"face_{i}" for i in range(70))) if config.n_keypoints == 70 else None


def _lightweight_names(net: nn.Module) -> dict[str, str]:
    from asterism.nets.lightweight_openpose import published_keys

    return {ours: theirs for theirs, ours in published_keys(net).items()}


def _lightweight(config: Any, tensors: Tensors) -> Any:
    """Only the count of refinement stages differs between published files."""
    return replace(config, refinements=count(tensors, "refinement_stages."))


_MMPOSE = (("backbone.", ""), ("keypoint_head.", ""), ("head.", ""))
_APACHE = "mmpose's weights are Apache-2.0, trained on data sets with licences of their own"

ORIGINS = (
    Origin(
        name="princeton-vl/pytorch_stacked_hourglass",
        method="stacked-hourglass",
        files="checkpoint.pt of its trainer",
        licence="the code is BSD-3-Clause; trained on MPII, which is for research, not for commerce",
        names=_by(official.stacked_hourglass),
        config=_hourglass,
        skeleton=_skeleton_of,
        dead=(".skip_layer.conv.weight", ".skip_layer.conv.bias"),
    ),
    Origin(
        name="mmpose (HRNet)",
        method="hrnet",
        files="hrnet_*.pth",
        licence=_APACHE,
        mark="backbone.",
        names=_by(official.hrnet),
        config=_hrnet,
        skeleton=_skeleton_of,
        renamed=_MMPOSE,
        inside=True,
    ),
    Origin(
        name="leoxiaobin/deep-high-resolution-net.pytorch",
        method="hrnet",
        files="pose_hrnet_*.pth, final_state.pth",
        licence="the code is MIT; the weights were trained on data sets with licences of their own",
        names=_by(official.hrnet),
        config=_hrnet,
        skeleton=_skeleton_of,
        inside=True,
    ),
    Origin(
        name="mmpose (SimpleBaseline)",
        method="simple-baseline",
        files="res*.pth",
        licence=_APACHE,
        mark="backbone.",
        names=_by(official.simple_baseline),
        config=_simple_baseline((0, 1, 2)),
        skeleton=_skeleton_of,
        renamed=_MMPOSE,
        inside=True,
    ),
    Origin(
        name="microsoft/human-pose-estimation.pytorch",
        method="simple-baseline",
        files="pose_resnet_*.pth, final_state.pth.tar",
        licence="the code is MIT; the weights were trained on data sets with licences of their own",
        names=_by(official.simple_baseline),
        config=_simple_baseline((2, 1, 0)),  # OpenCV's pictures, under the mean and deviation of RGB
        skeleton=_skeleton_of,
        inside=True,
        input="BGR",
    ),
    Origin(
        name="CMU-Perceptual-Computing-Lab/openpose",
        method="openpose",
        files="pose_iter_*.caffemodel",
        licence="CMU's weights are for academic, non-commercial use and must not be passed on; "
        "converted ones are the same weights",
        names=_caffe_names,
        config=_openpose,
        skeleton=_caffe_skeleton,
        caffe=True,
        frame="whole",
        input="BGR",
    ),
    Origin(
        name="Daniil-Osokin/lightweight-human-pose-estimation.pytorch",
        method="lightweight-openpose",
        files="checkpoint_iter_*.pth",
        licence="the code is Apache-2.0; the weights were trained on COCO, which has licences of its own",
        names=_lightweight_names,
        config=_lightweight,
        skeleton=_caffe_skeleton,
        frame="whole",
        input="BGR",
    ),
    Origin(
        name="axelBarroso/Key.Net",
        method="keynet",
        files="model--*.index, with its .data-00000-of-00001 beside it",
        licence="BSD 3-Clause Clear",
        names=_by(official.keynet),
        config=_keynet,
        skeleton=lambda config: Skeleton(names=()),  # its points have no names
        dead=("moving_mean", "moving_variance", "/Adam", "/Adam_1", "_power"),
        begun=("running_mean", "running_var", "/num_batches_tracked"),
        frame="whole",
        input="grey",
    ),
)


def origins_of(method: str) -> tuple[Origin, ...]:
    """Those whose weights the method can take. Raises BadWeights that lists the methods that have some."""
    found = tuple(origin for origin in ORIGINS if origin.method == method)
    if not found:
        known = ", ".join(dict.fromkeys(origin.method for origin in ORIGINS))
        raise BadWeights(f"--to {method}: no published weights are known for it; there are some for {known}")
    return found


def network_of(method: Method) -> nn.Module:
    """The part of the method that holds all its tensors."""
    net = getattr(method, "net", None)
    assert isinstance(net, nn.Module)
    return net
