"""What every method of the catalogue keeps. `pytest tests/contract -k your-name` is what a new paper runs."""

import ast
import inspect
import re
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import load, save

from asterism import catalogue
from asterism.geometry import affine
from asterism.types import Clouds, Features, Keypoints2D, Keypoints3D

STEPS = 30


def source_of(method_class) -> Path:
    return Path(inspect.getfile(method_class))


def assert_same(a, b, **tolerance):
    assert type(a) is type(b)
    for f in fields(a):
        one, two = getattr(a, f.name), getattr(b, f.name)
        assert (one is None) == (two is None), f.name
        if one is not None:
            torch.testing.assert_close(one, two, **tolerance, msg=lambda text, name=f.name: f"{name}: {text}")


# ------------------------------------------------------------------------------------------------ the file


def test_the_file_says_what_it_is(method_class):
    source = source_of(method_class).read_text(encoding="utf-8")
    said = ast.get_docstring(ast.parse(source)) or ""
    assert len(source.splitlines()) <= 500
    assert said.startswith(f"{method_class.name}: ")
    assert method_class.link in said
    assert "\nDeparts from the paper:\n- " in said
    assert re.search(r"^ +.+ -> .+", said, re.MULTILINE), "which equation is which function?"
    assert method_class.paper and method_class.link.startswith("https://")


def test_the_catalogue_and_the_class_agree(method_class):
    if source_of(method_class).name == "_template.py":
        assert method_class.name not in catalogue.entries()
        return
    row = catalogue.entry(method_class.name)
    assert row.family == method_class.family == source_of(method_class).parent.name
    assert row.name.replace("-", "_") == source_of(method_class).stem
    assert (row.takes, row.gives) == (method_class.takes.__name__, method_class.gives.__name__)
    learns = getattr(method_class, "learns_from", None)
    assert row.learns_from == (learns.__name__ if learns else "")
    assert len(row.idea) > 80


def test_presets_are_frozen_configs_that_differ(method_class):
    config = method_class.Config
    assert is_dataclass(config) and config.__dataclass_params__.frozen
    assert all(isinstance(preset, config) for preset in method_class.presets.values())
    assert config() == method_class.presets["paper"] or method_class.presets["small"] == config()


# ------------------------------------------------------------------------------------------ the prediction


def test_prediction_has_the_declared_type_and_is_finite(method, batch):
    found = method.predict(batch)
    assert type(found) is method.gives
    assert len(found) == len(batch)
    for f in fields(found):
        value = getattr(found, f.name)
        assert value is None or value.isfinite().all(), f.name
    assert ((found.score >= 0) & (found.score <= 1)).all()
    if isinstance(found, Keypoints2D):
        assert found.xy.shape == (len(batch), method.config.n_keypoints, 2)
        h, w = method.config.input_size  # to_source is the identity
        assert ((found.xy >= -1) & (found.xy <= torch.tensor([w, h]))).all()


def test_predict_restores_the_mode_and_changes_nothing(method, batch):
    for training in (True, False):
        method.train(training)
        before = {name: value.clone() for name, value in method.state_dict().items()}
        first = method.predict(batch)
        assert method.training is training
        assert_same(first, method.predict(batch), atol=0, rtol=0)
        assert all(torch.equal(before[name], value) for name, value in method.state_dict().items())


def test_a_batch_of_two_is_two_batches_of_one(method, batch):
    one_by_one = [method.predict(batch[i]) for i in range(2)]
    assert_same(method.predict(batch), type(one_by_one[0]).cat(one_by_one), atol=1e-4, rtol=1e-4)


def test_points_move_with_to_source(method, batch):
    if isinstance(batch, Clouds):
        assert_points_move_in_space(method, batch)
        return
    turn = affine.similarity(
        torch.tensor([0.3, -1.2]), torch.tensor([2.0, 0.5]), torch.tensor([[40.0, -3.0], [7.0, 90.0]])
    )
    found = method.predict(batch)
    moved = method.predict(replace(batch, to_source=affine.compose(turn, batch.to_source)))
    one, two = (f.xyz[..., :2] if isinstance(f, Keypoints3D) else f.xy for f in (found, moved))
    wanted = affine.apply(turn, one.flatten(1, -2)).view_as(one)  # of several people, too
    if isinstance(found, Features | Keypoints3D):  # what is not valid is zero, wherever the picture lies
        wanted = wanted.masked_fill(~found.valid[..., None], 0.0)
    torch.testing.assert_close(two, wanted, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(moved.score, found.score)
    if getattr(found, "cov", None) is not None:
        a = turn[:, None, :, :2]
        torch.testing.assert_close(moved.cov, a @ found.cov @ a.mT, atol=1e-3, rtol=1e-4)


def assert_points_move_in_space(method, batch):
    """A rigid motion and another unit, written in to_source, are those of what comes out."""
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0))).Q
    moved_from_source = torch.eye(4)
    moved_from_source[:3, :3], moved_from_source[:3, 3] = 40 * turn, torch.tensor([5.0, -3.0, 70.0])
    found = method.predict(batch)
    moved = method.predict(replace(batch, to_source=moved_from_source @ batch.to_source))
    assert isinstance(found, Keypoints3D)
    wanted = found.xyz @ moved_from_source[:3, :3].T + moved_from_source[:3, 3]
    torch.testing.assert_close(moved.xyz, wanted, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(moved.score, found.score)


def test_saved_and_loaded_weights_predict_the_same(method, batch):
    expected = method.predict(batch)
    torch.manual_seed(1)
    other = type(method)(method.config)
    other.load_state_dict(
        load(save({k: v.contiguous() for k, v in method.state_dict().items()})), strict=True
    )
    assert_same(other.predict(batch), expected, atol=0, rtol=0)


def test_the_same_seed_gives_the_same_method(method, batch):
    torch.manual_seed(0)
    assert_same(type(method)(method.config).predict(batch), method.predict(batch), atol=0, rtol=0)


# -------------------------------------------------------------------------------------------- the learning


def test_loss_and_gradients_are_finite_and_reach_every_parameter(trainable, lesson):
    terms = trainable.train().loss(lesson)
    assert terms and all(term.shape == () and term.isfinite() for term in terms.values())
    torch.stack(list(terms.values())).sum().backward()
    for name, parameter in trainable.named_parameters():
        assert parameter.grad is not None, f"{name} has no part in the loss"
        assert parameter.grad.isfinite().all(), name


def test_a_lesson_is_the_same_under_the_same_seed(trainable, lesson):
    trainable.eval()
    costs = []
    for _ in range(2):
        torch.manual_seed(3)
        costs.append(trainable.loss(lesson))
    assert costs[0].keys() == costs[1].keys()
    assert all(torch.equal(costs[0][name], costs[1][name]) for name in costs[0])


def test_every_parameter_is_moved_by_one_optimiser(trainable):
    moved = [id(p) for group in trainable.groups().values() for p in group]
    assert len(moved) == len(set(moved))
    assert set(moved) == {id(p) for p in trainable.parameters()}


def test_the_loss_falls_on_one_repeated_batch(trainable, lesson):
    trainable.train()
    optimiser = torch.optim.Adam(trainable.parameters(), lr=3e-3)
    costs = []

    def update(loss, group="main"):
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    torch.manual_seed(5)
    for i in range(STEPS):
        costs.append(float(torch.stack(list(trainable.step(lesson, update).values())).sum()))
        if i % 10 == 0:
            assert isinstance(trainable.recycle(lesson, i / STEPS), str)
    assert sum(costs[-5:]) < 0.95 * sum(costs[:5])


def test_recipe_is_possible(trainable):
    recipe = trainable.recipe
    assert recipe.steps > 0 and recipe.batch_size > 0 and recipe.lr > 0
    assert recipe.optimiser in ("adam", "adamw", "sgd", "rmsprop")
    assert recipe.schedule in ("constant", "cosine", "steps")
    assert 0 <= recipe.warmup < 1 and 0 <= recipe.ema < 1
