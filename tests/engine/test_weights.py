"""Weights folders: strict, tamper-evident, replaced wholly."""

import json
from dataclasses import dataclass, field

import pytest
import torch

from asterism.engine import weights
from asterism.engine.weights import config_from_json, load_weights, save_weights
from asterism.errors import BadWeights
from asterism.types import Augment, Skeleton

SKELETON = Skeleton(names=("a", "b"), edges=((0, 1),), swap=(1, 0), sigma=(0.1, 0.2))


@pytest.fixture
def saved(dot, tmp_path):
    save_weights(tmp_path / "w", dot, SKELETON, {"steps": 3})
    return tmp_path / "w"


def test_round_trip(dot, saved):
    method, skeleton = load_weights(saved)
    assert skeleton == SKELETON
    assert method.config == dot.config
    assert not method.training
    assert all(torch.equal(v, method.state_dict()[k]) for k, v in dot.state_dict().items())
    assert json.loads((saved / "method.json").read_text())["trained"] == {"steps": 3}
    assert sorted(p.name for p in saved.parent.iterdir()) == ["w"]


@dataclass(frozen=True)
class Deep:
    sizes: tuple[tuple[int, int], ...]
    name: str | None = None
    both: tuple[int, float] | None = (1, 2.0)
    inner: Augment = field(default_factory=Augment)


@pytest.mark.parametrize(
    "config", [Deep(sizes=()), Deep(sizes=((1, 2), (3, 4)), name="x", both=None, inner=Augment(flip=0.5))]
)
def test_configs_survive_json(config, tmp_path):
    from dataclasses import asdict

    assert config_from_json(Deep, json.loads(json.dumps(asdict(config))), tmp_path) == config


def edit(folder, **changes):
    about = json.loads((folder / "method.json").read_text())
    (folder / "method.json").write_text(json.dumps(about | changes))


def test_a_changed_byte_is_noticed(saved):
    path = saved / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(BadWeights, match="altered or damaged"):
        load_weights(saved)


def test_what_does_not_fit_is_said(saved):
    config = {"n_keypoints": 3, "input_size": [16, 16], "widths": [8]}
    cases = [
        ({"config": config}, r"head.weight has shape \(4, 512\), wanted \(6, 512\)"),
        ({"config": {**config, "colour": 1}}, "DotConfig has no fields colour"),
        ({"config": [1]}, "wanted the fields of DotConfig"),
        ({"method": "no-such"}, "field 'method': no method is called 'no-such'"),
        ({"config": {**config, "n_keypoints": "3"}}, "field 'n_keypoints' is '3'; wanted int"),
        ({"config": {**config, "n_keypoints": True}}, "field 'n_keypoints' is True; wanted int"),
        ({"config": {**config, "input_size": 16}}, "field 'input_size' is 16; wanted tuple"),
        ({"config": {**config, "widths": [None]}}, "field 'widths' is None; wanted int"),
        ({"method": 5}, "field 'method' is 5; wanted a text"),
        ({"sha256": None}, "field 'sha256' is None; wanted a text"),
        ({"skeleton": "a b"}, "wanted the fields of Skeleton"),
        ({"format": 99}, "field 'format' is 99, this version reads 1"),
        ({"skeleton": {"names": ["a", "a"]}}, "Skeleton: names: .* occur twice"),
    ]
    whole = (saved / "method.json").read_text()
    for changes, message in cases:
        (saved / "method.json").write_text(whole)
        edit(saved, **changes)
        with pytest.raises(BadWeights, match=message):
            load_weights(saved)


def test_incomplete_folders(saved, tmp_path):
    with pytest.raises(BadWeights, match="holds weights of 'dot', wanted 'other'"):
        load_weights(saved, "other")
    (saved / "weights.safetensors").unlink()
    with pytest.raises(BadWeights, match=r"no weights\.safetensors here"):
        load_weights(saved)
    (saved / "method.json").write_text("{")
    with pytest.raises(BadWeights, match="is damaged"):
        load_weights(saved)
    (saved / "method.json").write_text("[[]]")
    with pytest.raises(BadWeights, match="is damaged: wanted a JSON object"):
        load_weights(saved)
    (saved / "method.json").write_text("{}")
    with pytest.raises(BadWeights, match="lacks the fields config, format"):
        load_weights(saved)
    with pytest.raises(BadWeights, match=r"no method\.json here"):
        load_weights(tmp_path)


@pytest.mark.parametrize("at", range(4))
def test_a_kill_at_any_moment_leaves_the_old_folder(dot, saved, monkeypatch, at):
    """The renames of a save are cut short at each of its places; what is loaded is always whole."""
    calls = 0

    class Killed(BaseException):
        pass

    def counted(real):
        def call(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls > at:
                raise Killed
            return real(*args, **kwargs)

        return call

    with torch.no_grad():
        dot.head.bias.fill_(7)
    with monkeypatch.context() as patch:
        patch.setattr(weights.os, "replace", counted(weights.os.replace))
        patch.setattr(weights, "save", counted(weights.save))
        with pytest.raises(Killed):
            save_weights(saved, dot, SKELETON, {})
    assert calls == at + 1
    assert not (load_weights(saved)[0].head.bias == 7).any()
    save_weights(saved, dot, SKELETON, {})
    assert (load_weights(saved)[0].head.bias == 7).all()
    assert sorted(p.name for p in saved.parent.iterdir()) == ["w"]


def test_a_reader_may_recover_while_a_writer_swaps(dot, saved, monkeypatch):
    real = weights.os.replace

    def replace(source, target):
        real(source, target)
        if str(target).endswith(".w.old"):
            weights.recover(saved)

    with torch.no_grad():
        dot.head.bias.fill_(7)
    with monkeypatch.context() as patch:
        patch.setattr(weights.os, "replace", replace)
        save_weights(saved, dot, SKELETON, {})
    assert (load_weights(saved)[0].head.bias == 7).all()
    assert sorted(p.name for p in saved.parent.iterdir()) == ["w"]
