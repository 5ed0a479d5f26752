"""Devices and the team of one; teams of several are in test_processes."""

import pytest
import torch

from asterism.engine.team import Team, leads, pick_device, team
from asterism.errors import RequestError


def test_devices_by_name():
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device().type in ("cpu", "cuda", "mps")
    with pytest.raises(RequestError, match=r"device 'toaster': .*; wanted auto, cpu, cuda"):
        pick_device("toaster")


def test_one_alone_agrees_with_itself():
    with team(torch.device("cpu")) as alone:
        assert alone == Team(rank=0, world=1) and alone.leads and leads()
        assert alone.agree([0.1, 1.0], torch.device("cpu")) == [0.1, 1.0]
        layer = torch.nn.Linear(2, 1)
        layer(torch.ones(1, 2)).sum().backward()
        alone.average(layer.parameters())
        assert torch.equal(layer.weight.grad, torch.ones(1, 2))
