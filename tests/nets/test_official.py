import torch

from asterism.nets import official
from asterism.nets.hourglass import StackedHourglass
from asterism.nets.hrnet import HighResolution
from asterism.nets.resnet import DeconvolvedResNet


def named(net, rename):
    """Shapes by the authors' names; every one of them once."""
    state = net.state_dict()
    shapes = {rename(name): tuple(value.shape) for name, value in state.items()}
    assert len(shapes) == len(state)
    return shapes


def has(shapes, wanted):
    assert {name: shapes.get(name) for name in wanted} == wanted


def groups(shapes):
    return {name.split(".")[0] for name in shapes}


def test_hrnet():
    with torch.device("meta"):
        shapes = named(HighResolution(17), official.hrnet)
    assert len(shapes) == 1754
    transitions = {f"transition{i}" for i in (1, 2, 3)} | {f"stage{i}" for i in (2, 3, 4)}
    assert groups(shapes) == {"conv1", "bn1", "conv2", "bn2", "layer1", "final_layer"} | transitions
    has(
        shapes,
        {
            "conv1.weight": (64, 3, 3, 3),
            "bn2.running_var": (64,),
            "layer1.0.conv3.weight": (256, 64, 1, 1),
            "layer1.0.bn3.num_batches_tracked": (),
            "layer1.0.downsample.0.weight": (256, 64, 1, 1),
            "layer1.0.downsample.1.bias": (256,),
            "layer1.3.conv1.weight": (64, 256, 1, 1),
            "transition1.0.0.weight": (32, 256, 3, 3),
            "transition1.0.1.weight": (32,),
            "transition1.1.0.0.weight": (64, 256, 3, 3),
            "transition2.2.0.0.weight": (128, 64, 3, 3),
            "transition3.3.0.1.running_mean": (256,),
            "stage2.0.branches.1.3.conv2.weight": (64, 64, 3, 3),
            "stage2.0.fuse_layers.0.1.0.weight": (32, 64, 1, 1),
            "stage2.0.fuse_layers.1.0.0.0.weight": (64, 32, 3, 3),
            "stage3.3.branches.2.0.bn1.weight": (128,),
            "stage3.2.fuse_layers.2.0.0.0.weight": (32, 32, 3, 3),
            "stage3.2.fuse_layers.2.0.1.0.weight": (128, 32, 3, 3),
            "stage4.1.fuse_layers.3.0.2.1.bias": (256,),
            "stage4.2.fuse_layers.0.3.0.weight": (32, 256, 1, 1),
            "final_layer.weight": (17, 32, 1, 1),
            "final_layer.bias": (17,),
        },
    )
    assert not [name for name in shapes if name.startswith("stage4.2.fuse_layers.1")]


def test_simple_baseline():
    with torch.device("meta"):
        shapes = named(DeconvolvedResNet(17), official.simple_baseline)
    layers = {f"layer{i}" for i in (1, 2, 3, 4)}
    assert groups(shapes) == {"conv1", "bn1", "deconv_layers", "final_layer"} | layers
    has(
        shapes,
        {
            "conv1.weight": (64, 3, 7, 7),
            "layer1.0.downsample.0.weight": (256, 64, 1, 1),
            "layer3.5.conv2.weight": (256, 256, 3, 3),
            "layer4.0.bn3.running_var": (2048,),
            "layer4.0.downsample.1.weight": (2048,),
            "deconv_layers.0.weight": (2048, 256, 4, 4),
            "deconv_layers.4.weight": (256,),
            "deconv_layers.6.weight": (256, 256, 4, 4),
            "final_layer.bias": (17,),
        },
    )


def test_stacked_hourglass():
    with torch.device("meta"):
        shapes = named(StackedHourglass(16, n_stacks=8), official.stacked_hourglass)
    names = {"pre", "hgs", "features", "outs", "merge_features", "merge_preds"}
    assert groups(shapes) == names
    has(
        shapes,
        {
            "pre.0.conv.weight": (64, 3, 7, 7),
            "pre.0.bn.running_mean": (64,),
            "pre.1.bn1.weight": (64,),
            "pre.1.skip_layer.conv.weight": (128, 64, 1, 1),
            "pre.4.conv3.conv.weight": (256, 128, 1, 1),
            "hgs.0.0.up1.conv1.conv.weight": (128, 256, 1, 1),
            "hgs.7.0.low2.low2.low1.bn2.weight": (128,),
            "hgs.3.0.low2.low2.low2.low2.conv2.conv.bias": (128,),
            "hgs.3.0.low2.low3.bn3.running_var": (128,),
            "features.5.0.bn1.weight": (256,),
            "features.5.1.conv.weight": (256, 256, 1, 1),
            "features.5.1.bn.bias": (256,),
            "outs.7.conv.weight": (16, 256, 1, 1),
            "merge_features.6.conv.conv.weight": (256, 256, 1, 1),
            "merge_preds.6.conv.conv.weight": (256, 16, 1, 1),
        },
    )
    # The authors' 2752 tensors hold a weight and a bias of every skip layer that is never used.
    unused = 8 * (3 * 4 + 1 + 1) + 1  # across, before, after; the innermost; behind the hourglass; the stem
    assert len(shapes) + 2 * unused == 2752


def test_the_hourglass_inside_an_hourglass_is_named_to_the_bottom():
    name = "hourglasses.0.0.inner.inner.inner.inner.branch.8.weight"
    assert official.stacked_hourglass(name) == "hgs.0.0.low2.low2.low2.low2.conv3.conv.weight"
