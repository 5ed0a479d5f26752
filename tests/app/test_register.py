"""`asterism register`: the same answer in every unit, and words for what cannot be done."""

import json

import numpy as np
import pytest

from asterism.app.cli import main
from asterism.data.worlds.rooms import pair
from asterism.engine.register import register
from asterism.errors import BadCloud


def test_a_room_is_registered_in_millimetres_and_the_merged_cloud_written(tmp_path, capsys):
    truth = pair(3)
    np.save(tmp_path / "a.npy", 1000 * truth.a)
    np.save(tmp_path / "b.npy", 1000 * truth.b)
    words = ["register", str(tmp_path / "a.npy"), str(tmp_path / "b.npy")]
    assert main([*words, "-o", str(tmp_path / "m.npy"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    found = np.array(told["b_from_a"])
    found[:3, 3] /= 1000
    np.testing.assert_allclose(found, truth.b_from_a, atol=0.01)
    assert told["refused"] is None and told["overlap"] > 0.5 and told["sigma_shift"] < 20
    assert np.load(tmp_path / "m.npy").shape == (len(truth.a) + len(truth.b), 3)


def test_what_cannot_be_registered_is_said():
    few = np.zeros((10, 3))
    with pytest.raises(BadCloud, match="wanted at least 200"):
        register(few, few)
    flat = np.random.default_rng(0).random((2000, 3)) * (1, 1, 0)
    assert "leaves the motion free" in register(flat, flat).refused
