"""Weights of OpenPose and its light form: random ones, written here in their layouts."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from asterism.app.cli import main
from asterism.catalogue import method_class
from asterism.engine.convert import fill, read_tensors
from asterism.engine.origins import network_of, origins_of
from asterism.engine.runs import Run
from asterism.engine.weights import load_weights
from asterism.errors import BadWeights
from asterism.types import Images


def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def field(number, value):
    return varint(number << 3 | 2) + varint(len(value)) + value


def caffemodel(path, tensors):
    """Layers in the order of the net, each with its blobs."""
    layers = {}
    for name, value in tensors.items():
        layers.setdefault(name.rsplit(".", 1)[0], []).append(value.numpy())
    data = b""
    for name, blobs in layers.items():
        inner = field(1, name.encode())
        for blob in blobs:
            shape = field(1, b"".join(varint(n) for n in blob.shape))
            inner += field(7, field(5, blob.astype("<f4").tobytes()) + field(7, shape))
        data += field(100, inner)
    path.write_bytes(data)
    return path


def written(method, **changes):
    cls = method_class(method)
    torch.manual_seed(0)
    built = cls(replace(cls.presets["tiny"], **changes)).eval()
    net = network_of(built)
    names = origins_of(method)[0].names(net)
    return built, {names[ours]: value.clone() for ours, value in net.state_dict().items()}


# Layers as the prototxts and checkpoints call them (facts, sections 3.4 and 5).
HAS = {
    "body-25": "conv1_1 conv4_3_CPM prelu4_2 prelu4_4_CPM Mconv1_stage0_L2_0 Mprelu1_stage0_L2_2 "
    "Mconv7_stage3_L2 Mconv7_stage1_L1",
    "coco-18": "conv1_1 conv4_4_CPM conv5_5_CPM_L1 conv5_5_CPM_L2 Mconv1_stage2_L1 Mconv7_stage6_L2",
    "mpi": "conv4_4_CPM Mconv7_stage6_L1",
    "hand-21": "conv1_1 conv4_4 conv5_3_CPM conv6_2_CPM Mconv7_stage6",
    "face-70": "conv6_1_CPM Mconv1_stage2",
}


@pytest.mark.parametrize("preset", HAS)
def test_the_published_network_is_known_by_its_layers(preset):
    cls, (origin,) = method_class("openpose"), origins_of("openpose")
    with torch.device("meta"):
        net = network_of(cls(cls.presets[preset]))
    names = origin.names(net)
    tensors = {names[ours]: value for ours, value in net.state_dict().items()}
    layers = {name.rsplit(".", 1)[0] for name in tensors}
    assert set(HAS[preset].split()) <= layers and len(tensors) == len(net.state_dict())
    config = origin.config(cls.presets["paper"], tensors)
    assert config == cls.presets[preset]
    skeleton = origin.skeleton(config)
    assert skeleton is not None and len(skeleton) == config.n_keypoints


def test_other_caffemodels_are_told_what_is_known(tmp_path):
    file = caffemodel(tmp_path / "a.caffemodel", {"conv1_1.weight": torch.ones(2, 3, 3, 3)})
    with pytest.raises(BadWeights, match="BODY_25, COCO with 6 stages"):
        fill(read_tensors(file, origins_of("openpose")), file, "openpose")


def test_a_caffemodel_comes_back_and_sees_bytes_of_bgr(tmp_path):
    built, tensors = written("openpose")
    file = caffemodel(tmp_path / "a.caffemodel", tensors)
    method = fill(read_tensors(file, origins_of("openpose")), file, "openpose", preset="tiny").method
    assert all(torch.equal(v, method.state_dict()[k]) for k, v in built.state_dict().items())
    image = torch.rand(1, 3, 32, 32)
    batch = Images(image=image, to_source=torch.eye(2, 3)[None])
    # Theirs: bytes of BGR, / 256 - 0.5, straight into the first layer.
    theirs = torch.from_numpy((image * 255).numpy()[:, ::-1] / np.float32(256) - np.float32(0.5))
    x = method.net.features(theirs.float())
    fields = method.net.fields[0](x)
    maps = method.net.maps[0](torch.cat([x, fields], 1))
    raw = method(batch)
    torch.testing.assert_close(raw[0][-1], fields, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(raw[1][-1], maps, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("conv1_1.bias"), r"lacks 1 .*conv1_1\.bias of shape \(8,\)"),
        (lambda t: t.update({"conv9.weight": torch.ones(1)}), r"conv9\.weight of shape \(1,\)"),
        (
            lambda t: t.update({"conv1_1.weight": torch.ones(8, 1, 3, 3)}),
            r"wanted \(8, 3, 3, 3\)",
        ),
        (lambda t: t.update({"conv1_1.more": torch.ones(1)}), "3 blobs"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, change, words):
    _, tensors = written("openpose")
    change(tensors)
    file = caffemodel(tmp_path / "a.caffemodel", tensors)
    with pytest.raises(BadWeights, match=words):
        fill(read_tensors(file, origins_of("openpose")), file, "openpose", preset="tiny")


LIGHT = (
    "model.0.0.weight model.1.3.weight cpm.align.0.weight cpm.trunk.2.2.weight cpm.conv.0.bias "
    "initial_stage.trunk.0.0.weight initial_stage.heatmaps.1.0.bias initial_stage.pafs.0.0.weight "
    "refinement_stages.0.trunk.4.initial.0.weight refinement_stages.0.trunk.0.trunk.1.1.running_mean"
)


@pytest.mark.parametrize("refinements", [1, 3])
def test_the_light_form_comes_back(tmp_path, refinements):
    built, tensors = written("lightweight-openpose", refinements=refinements)
    assert set(LIGHT.split()) <= set(tensors)
    torch.save({"state_dict": tensors, "iter": 3, "scheduler": {}}, tmp_path / "a.pth")
    origins = origins_of(built.name)
    file = tmp_path / "a.pth"
    method = fill(read_tensors(file, origins), file, built.name, preset="tiny").method
    assert method.config == built.config
    assert all(torch.equal(v, method.state_dict()[k]) for k, v in built.state_dict().items())


def test_the_licence_is_said_and_kept(tmp_path, capsys):
    _, tensors = written("openpose")
    file = caffemodel(tmp_path / "a.caffemodel", tensors)
    (tmp_path / "s.toml").write_text('names = ["a", "b", "c"]\nedges = [["a", "b"], ["b", "c"]]\n')
    run, names = tmp_path / "run", tmp_path / "s.toml"
    words = ["--to", "openpose", "--preset", "tiny", "--skeleton", str(names), "-o", str(run), "--json"]
    assert main(["convert", str(file), *words]) == 0
    told = json.loads(capsys.readouterr().out)
    info = Run(run).info()
    assert "non-commercial" in told["licence"] and info["licence"] == told["licence"]
    assert info["view"]["frame"] == "whole" and told["codec"] is None
    assert load_weights(run / "best")[0].name == "openpose"
