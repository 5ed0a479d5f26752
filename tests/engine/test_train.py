"""Training: resumed runs have the bits of uninterrupted ones, wherever they were stopped."""

import copy
import signal
import time
from dataclasses import replace

import pytest
import torch

from asterism.engine import loop, optim
from asterism.engine.batches import batch_keys
from asterism.engine.runs import Run
from asterism.engine.train import train
from asterism.engine.weights import load_weights
from asterism.errors import AsterismError, RequestError
from asterism.types import Recipe


class Stopping:
    """Samples that ask for the end, as Ctrl-C does, when the n-th is drawn."""

    def __init__(self, samples, after):
        self.samples, self.left = samples, after

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, key):
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)
        return self.samples[key]


def same(a, b):
    return all(
        torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


def test_resumed_at_any_step_the_bits_are_the_same(dot, dots, tmp_path, monkeypatch):
    straight = copy.deepcopy(dot)
    train(straight, dots(), Run(tmp_path / "straight"), steps=12, device="cpu")
    pieces = Run(tmp_path / "pieces")
    real = loop.Loop.one_step
    stops = {3, 4, 8}  # ten samples, batches of four: an epoch ends inside step 3

    def one_step(self, batch, over):
        real(self, batch, over)
        if self.step in stops:
            stops.remove(self.step)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(loop.Loop, "one_step", one_step)
    for _ in range(3):
        fresh = copy.deepcopy(dot)
        with pytest.raises(KeyboardInterrupt):
            train(fresh, dots(), pieces, steps=12, device="cpu", resume=True)
    assert not stops
    fresh = copy.deepcopy(dot)
    answer = train(fresh, dots(), pieces, steps=12, device="cpu", resume=True)
    assert answer["steps"] == 12
    assert same(straight, fresh)
    assert same(load_weights(tmp_path / "straight/last")[0], load_weights(pieces.last)[0])
    assert same(straight.eval(), load_weights(pieces.best)[0])
    assert not same(straight, load_weights(pieces.last)[0])  # best is averaged, last is not
    assert [line["step"] for line in pieces.lines()].count(1) == 1


def test_another_seed_gives_other_bits(dot, dots, tmp_path):
    other = copy.deepcopy(dot)
    train(dot, dots(), Run(tmp_path / "a"), steps=3, device="cpu", seed=1)
    train(other, dots(), Run(tmp_path / "b"), steps=3, device="cpu", seed=2)
    assert not same(dot, other)


def test_training_leaves_the_global_generator_alone(dot, dots, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(dot, dots(), Run(tmp_path / "a"), steps=2, device="cpu")
    assert torch.equal(torch.rand(3), expected)


def test_the_loss_falls_and_the_log_says_so(dot, dots, tmp_path):
    run = Run(tmp_path / "run")

    class Same(dots):
        def __getitem__(self, key):
            return super().__getitem__((0, key[1]))

    train(dot, Same(4), run, steps=200, device="cpu", recipe=Recipe(steps=200, batch_size=4, lr=3e-3))
    lines = list(run.lines())
    assert lines[-1]["distance"] < 0.2 * lines[0]["distance"]
    assert [line["step"] for line in lines] == [1, *range(20, 201, 20)]


def test_minutes_drive_the_schedule_and_the_end(dot, dots, tmp_path):
    run = Run(tmp_path / "run")
    began = time.monotonic()
    recipe = replace(dot.recipe, batch_size=1, warmup=0.0)
    answer = train(dot, dots(), run, minutes=0.03, device="cpu", recipe=recipe)
    assert 1.8 <= answer["seconds"] <= time.monotonic() - began < 20
    for line in run.lines():  # the clock runs on between the rate and the line
        assert 0 <= line["rate"] - optim.rate(recipe, line["seconds"] / 1.8) < 2e-4
    assert line["step"] > 20


def test_best_is_the_lowest_validation(dot, dots, tmp_path):
    values = iter([3.0, 1.0, 2.0] + [5.0] * 10)
    seen = []

    def validate(method):
        seen.append({k: v.clone() for k, v in method.state_dict().items()})
        return next(values)

    run = Run(tmp_path / "run")
    train(dot, dots(), run, steps=20, device="cpu", validate=validate)
    assert len(seen) == 10
    best = load_weights(run.best)[0].state_dict()
    assert all(torch.equal(best[k], v) for k, v in seen[1].items())
    assert all(torch.equal(dot.state_dict()[k], v) for k, v in seen[1].items())


def test_a_term_that_is_no_number_is_named(dot, dots, tmp_path):
    run = Run(tmp_path / "run")
    train(dot, dots(), run, steps=2, device="cpu")
    with pytest.raises(AsterismError, match=r"dot: at step 3 the term 'distance' of the loss became nan"):
        train(dot, dots(2, poison=0), run, steps=9, device="cpu", resume=True)
    assert all(torch.isfinite(v.float()).all() for v in load_weights(run.last)[0].state_dict().values())


def test_nothing_to_learn_from(dot, dots, tmp_path):
    with pytest.raises(RequestError, match="nothing to learn from"):
        train(dot, dots(0), Run(tmp_path / "run"))


def test_recycling_is_called_and_logged(dot, dots, tmp_path, monkeypatch):
    calls = []

    def recycle(self, batch, progress):
        calls.append(progress)
        return "moved point 1"

    monkeypatch.setattr(type(dot), "recycle", recycle)
    run = Run(tmp_path / "run")
    train(dot, dots(), run, steps=100, device="cpu", recipe=replace(dot.recipe, batch_size=1))
    assert calls == [0.49, 0.99]
    assert [line["recycled"] for line in run.lines() if "recycled" in line] == ["moved point 1"] * 2


def test_an_epoch_shows_every_sample_once_to_one_process():
    keys = [key for step in range(9) for w in range(2) for key in batch_keys(6, step, 4, 0, w, 2)]
    assert keys == [key for step in range(18) for key in batch_keys(6, step, 4, 0)]
    for epoch in range(12):
        assert sorted(index for e, index in keys if e == epoch) == list(range(6))
    assert [i for e, i in keys if e == 0] != [i for e, i in keys if e == 1]


@pytest.mark.parametrize(
    ("schedule", "progress", "expected"),
    [
        ("constant", 0.5, 1.0),
        ("constant", 0.05, 0.5),
        ("cosine", 0.5, 0.5),
        ("steps", 0.7, 0.1),
        ("steps", 0.9, 0.01),
    ],
)
def test_rates(schedule, progress, expected):
    recipe = Recipe(steps=1, batch_size=1, lr=1.0, schedule=schedule, milestones=(0.6, 0.8), warmup=0.1)
    assert optim.rate(recipe, progress) == pytest.approx(expected)


def test_the_average_follows_its_formula(dot):
    average = optim.Average(dot, 0.5)
    expected = average.state["head.bias"].clone()
    for n in range(1, 4):
        with torch.no_grad():
            dot.head.bias.add_(1.0)
        average.update(dot)
        expected.lerp_(dot.head.bias.detach(), 1 - min(0.5, (1 + n) / (10 + n)))
    torch.testing.assert_close(average.state["head.bias"], expected)
    own = dot.head.bias.detach().clone()
    with average.worn(dot):
        assert torch.equal(dot.head.bias, average.state["head.bias"])
    assert torch.equal(dot.head.bias, own)


def test_the_network_runs_in_half_and_the_rest_does_not(dot, dots):
    batch = dots()[(0, 0)]
    full = dot.eval()(batch)
    with optim.forward_in_bfloat16(dot, "cpu"):
        half = dot(batch)
        assert half.dtype == torch.float32
        assert dot.loss(batch)["distance"].dtype == torch.float32
        assert not torch.equal(half, full)
        torch.testing.assert_close(half, full, atol=0.05, rtol=0.05)
    assert torch.equal(dot(batch), full)
