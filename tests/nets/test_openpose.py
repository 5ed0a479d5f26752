"""Networks with the published numbers of parameters, names and channels."""

import pytest
import torch
from torch import nn

from asterism.data.worlds.skeletons import BODY25
from asterism.nets.lightweight_openpose import LightweightOpenPose, published_keys
from asterism.nets.openpose import TPAMI, Machine, Normalised, TwoBranch, caffe_layers, centred
from asterism.nets.openpose_parts import BODY_25, COCO_18, MPI, published_limbs

COUNTS = [
    (lambda: TPAMI(26, 52), 26_166_084, 114, 99),
    (lambda: TwoBranch(19, 38), 52_311_446, 92, 0),
    (lambda: TwoBranch(16, 28), 51_481_032, 92, 0),
    (lambda: TwoBranch(16, 28, stages=4), 34_240_880, 64, 0),
    (lambda: Machine(22), 36_832_324, 52, 0),
    (lambda: Machine(71), 38_425_706, 52, 0),
    (lambda: LightweightOpenPose(19, 38, refinements=0), 2_483_065, 38, 0),
    (lambda: LightweightOpenPose(19, 38), 4_091_698, 57, 0),
    (lambda: LightweightOpenPose(19, 38, refinements=2), 5_700_331, 76, 0),
    (lambda: LightweightOpenPose(19, 38, refinements=3), 7_308_964, 95, 0),
]
SMALL_TPAMI = {"stem": ((4,), (6, 6)), "features": (6, 6), "first": (4, 8), "later": (5, 9), "blocks": 2}
SMALL = [
    lambda: TPAMI(4, 6, **SMALL_TPAMI, field_stages=2),
    lambda: Normalised(4, 6, width=4, rounds=(1,), features=6, later=6),
    lambda: LightweightOpenPose(4, 6, backbone=((8, 2, 1), (8, 1, 2)), stem=4, width=8, head=8),
]


@pytest.mark.parametrize(("make", "parameters", "convolutions", "prelus"), COUNTS)
def test_published_sizes(make, parameters, convolutions, prelus):
    with torch.device("meta"):
        net = make()
    kinds = [type(module) for module in net.modules()]
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert (kinds.count(nn.Conv2d), kinds.count(nn.PReLU)) == (convolutions, prelus)


@pytest.mark.parametrize("make", SMALL)
def test_every_stage_answers_and_every_parameter_learns(make):
    net = make()
    fields, maps = net(torch.rand(2, 3, 32, 24))
    assert {f.shape for f in fields} == {(2, 6, 32 // net.stride, 24 // net.stride)}
    assert {m.shape[1] for m in maps} == {4}
    torch.stack([x.square().sum() for x in (*fields, *maps)]).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("make", [c[0] for c in COUNTS[:6]])
def test_every_layer_has_one_published_name(make):
    with torch.device("meta"):
        net = make()
    table = caffe_layers(net)
    with_weights = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.PReLU)]
    assert len(table) == len(with_weights)  # no name twice
    assert {id(net.get_submodule(path)) for path in table.values()} == {id(m) for m in with_weights}


def test_names_of_the_prototxt_files():
    with torch.device("meta"):
        body, coco, hand = (
            caffe_layers(TPAMI(26, 52)),
            caffe_layers(TwoBranch(19, 38)),
            caffe_layers(Machine(22)),
        )
        assert TPAMI(26, 52).get_submodule(body["Mconv1_stage1_L1_0"]).in_channels == 128 + 26 + 52
    for name in ("conv1_1", "prelu4_2", "prelu4_4_CPM", "Mconv1_stage0_L2_0", "Mprelu5_stage3_L2_2"):
        assert name in body
    assert {"Mconv7_stage1_L1", "Mprelu6_stage0_L1", "conv4_3_CPM"} <= body.keys()
    assert {"conv5_5_CPM_L1", "Mconv7_stage6_L2", "conv4_4_CPM"} <= coco.keys() and "prelu4_2" not in coco
    assert {"conv5_3_CPM", "conv6_2_CPM", "Mconv1_stage2", "Mconv7_stage6", "conv4_4"} <= hand.keys()


def test_the_second_branch_sees_fields_before_maps_before_features():
    net = TwoBranch(2, 3, stages=2)
    seen = []
    net.fields[1].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    fields, maps = net(torch.rand(1, 3, 16, 16))
    torch.testing.assert_close(seen[0][:, :5], torch.cat([fields[0], maps[0]], 1))


def test_keys_of_the_published_checkpoints():
    with torch.device("meta"):
        net = LightweightOpenPose(19, 38)
    table = published_keys(net)
    assert set(table.values()) == set(net.state_dict()) and len(table) == len(net.state_dict())
    for key in (
        *("model.0.0.weight", "model.11.3.weight", "cpm.align.0.bias", "cpm.trunk.2.2.weight"),
        *("cpm.conv.0.weight", "initial_stage.trunk.0.0.weight", "initial_stage.heatmaps.1.0.bias"),
        *(
            "refinement_stages.0.trunk.4.initial.0.weight",
            "refinement_stages.0.trunk.0.trunk.1.1.running_mean",
        ),
        "refinement_stages.0.pafs.0.0.weight",
    ):
        assert key in table, key


def test_input_is_bgr_bytes_centred():
    image = torch.tensor([1.0, 0.5, 0.0])[None, :, None, None].expand(1, 3, 2, 2)
    assert centred(image)[0, :, 0, 0].tolist() == pytest.approx([-0.5, 127.5 / 256 - 0.5, 255 / 256 - 0.5])


def test_pairs_are_those_of_the_skeletons_in_the_order_of_the_channels():
    """POSE_MAP_INDEX of BODY_25 less 26, in the order of its pairs."""
    assert set(BODY_25.edges) == set(BODY25.edges) and BODY_25.names == BODY25.names
    channel = {pair: 2 * l for l, pair in enumerate(BODY_25.edges)}
    first = [
        0,
        14,
        22,
        16,
        18,
        24,
        26,
        6,
        2,
        4,
        8,
        10,
        12,
        30,
        32,
        36,
        34,
        38,
        20,
        28,
        40,
        42,
        44,
        46,
        48,
        50,
    ]
    assert [channel[pair] for pair in BODY25.edges] == first
    coco = {pair: 19 + 2 * l for l, pair in enumerate(COCO_18.edges)}
    assert (coco[1, 2], coco[1, 8], coco[1, 0], coco[2, 16], coco[15, 17]) == (31, 19, 47, 37, 55)
    assert [len(s.edges) for s in (BODY_25, COCO_18, MPI)] == [26, 19, 14]
    assert [len(published_limbs(s).redundant) for s in (BODY_25, COCO_18, MPI)] == [2, 2, 0]
    assert BODY_25.swap == BODY25.swap
