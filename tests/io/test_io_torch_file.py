"""Files of torch.save: tensors come in, programs do not."""

import fractions
import pickle

import pytest
import torch

from asterism.errors import BadWeights
from asterism.io.torch_file import read_torch

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(1, dtype=torch.float16)}


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize(
    "document",
    [TENSORS, {"state_dict": TENSORS, "epoch": 3}, {"model": TENSORS}, {"model": "x", "state_dict": TENSORS}],
)
def test_tensors_wherever_trainers_put_them(tmp_path, document, new):
    torch.save(document, tmp_path / "a.pth", _use_new_zipfile_serialization=new)
    found = read_torch(tmp_path / "a.pth")
    assert list(found) == list(TENSORS) and all(torch.equal(found[k], v) for k, v in TENSORS.items())


@pytest.mark.parametrize("new", [True, False])
def test_classes_are_named_and_never_run(tmp_path, new):
    document = {"state_dict": TENSORS, "config": fractions.Fraction(1, 2)}
    torch.save(document, tmp_path / "a.pth", _use_new_zipfile_serialization=new)
    with pytest.raises(BadWeights, match=r"needs the classes fractions\.Fraction .*plain\.pth"):
        read_torch(tmp_path / "a.pth")


class Harm:
    def __reduce__(self):
        return eval, ("open('harm', 'w')",)


def test_programs_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Harm()}, "a.pth")
    with pytest.raises(BadWeights, match=r"builtins\.eval"):
        read_torch("a.pth")
    (tmp_path / "b.pth").write_bytes(pickle.dumps({"a": Harm()}))
    with pytest.raises(BadWeights):
        read_torch("b.pth")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([1], "holds a list"),
        ({}, "holds a dict"),
        ({"a": 3}, "'a' is a int"),
        ({1: TENSORS["b"]}, "1 is a Tensor"),
    ],
)
def test_other_things_are_no_weights(tmp_path, document, words):
    torch.save(document, tmp_path / "a.pth")
    with pytest.raises(BadWeights, match=words):
        read_torch(tmp_path / "a.pth")


def test_damaged_and_absent(tmp_path):
    torch.save(TENSORS, tmp_path / "a.pth")
    whole = (tmp_path / "a.pth").read_bytes()
    for data in (b"", b"hello", whole[:100], whole[: len(whole) // 2]):
        (tmp_path / "a.pth").write_bytes(data)
        with pytest.raises(BadWeights, match=r"damaged|unpickled"):
            read_torch(tmp_path / "a.pth")
    with pytest.raises(BadWeights, match="no such file"):
        read_torch(tmp_path / "no.pth")
