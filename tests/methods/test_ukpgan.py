"""UKPGAN's own rules: turns and units, padding, distillation, symmetry, the critic's alternation."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from tests.methods.sheets import bumpy, clouds

from asterism.engine.cloud_lesson import train_on_clouds
from asterism.engine.clouds import look, watcher
from asterism.io.points import Cloud
from asterism.methods.clouds.ukpgan import Ukpgan, UkpganConfig, _asymmetry
from asterism.ops.cloud_spread import best_apart, spread
from asterism.types import Clouds

TINY = Ukpgan.presets["tiny"]


def made(config=TINY):
    torch.manual_seed(0)
    return Ukpgan(config)


def test_the_papers_network_is_as_large_as_its_layers():
    with torch.device("meta"):
        method = Ukpgan(UkpganConfig())
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in method.named_children()}
    widths = [1, 32, 32, 64, 64, 128, 128]
    convolutions = sum(27 * a * b + 2 * b for a, b in itertools.pairwise(widths))
    assert count["reader"] == convolutions + (128 * 4**3 + 1) * 129
    assert count["critic"] == 2049 * 512 + 513 * 256 + 257 * 128 + 129 * 64 + 65
    assert method.decoder.n_points == 2048


def test_scores_and_points_turn_with_the_cloud_and_know_no_unit():
    method, batch = made(), bumpy()
    turn = torch.from_numpy(Rotation.random(rng=5).as_matrix())
    exact = batch.points.double()
    method.eval()
    with torch.no_grad():
        before, after = method(clouds(exact)), method(clouds(1000 * exact @ turn.T + 9))
    torch.testing.assert_close(after, before, atol=1e-6, rtol=1e-5)
    assert before[..., -1].std() > 1e-3  # there is something to be equal
    turn = turn.float()
    turned = clouds(1000 * batch.points @ turn.T + torch.tensor([3.0, -2.0, 9.0]))
    found = method.predict(turned)
    wanted = 1000 * method.predict(batch).xyz @ turn.T + torch.tensor([3.0, -2.0, 9.0])
    torch.testing.assert_close(found.xyz, wanted, atol=0.05, rtol=1e-4)


def test_padding_of_any_number_changes_nothing():
    method, batch = made(), bumpy()
    padded = Clouds(
        points=torch.cat([torch.full((2, 7, 3), torch.nan), batch.points], dim=1),
        valid=torch.arange(157).expand(2, 157) >= 7,
        to_source=batch.to_source,
    )
    torch.testing.assert_close(method.predict(padded).xyz, method.predict(batch).xyz)
    terms, plain = method.loss(padded), method.loss(batch)
    for name, term in terms.items():
        torch.testing.assert_close(term, plain[name])
    torch.stack(list(terms.values())).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())


def test_clouds_are_worn_as_they_are_told_to_be():
    method, batch = made(replace(TINY, noise=0.1, dropped=0.5)), bumpy(b=8, n=4000)
    torch.manual_seed(1)
    seen = method.worn(batch)
    share = seen.valid.float().mean(1)
    assert ((share > 0.48) & (share <= 1)).all() and share.min() < 0.65 and share.max() > 0.85
    step = (seen.points - batch.points).std((1, 2)) / spread(batch.points, batch.valid)
    torch.testing.assert_close(step, torch.full((8,), 0.1), atol=5e-3, rtol=0)
    alone = replace(batch, valid=torch.arange(4000).expand(8, 4000) < 1)
    assert method.worn(alone).valid.any(1).all()  # never everything


def test_a_point_without_a_score_tells_nothing_of_the_shape():
    method, batch = made(), bumpy()
    raw = torch.randn(2, 150, TINY.embedding + 1)
    raw[:, 40:, -1] = -1e4
    raw[:, :40, -1] = 1e4
    raw[:, :40, :-1] = raw[:, :40, :-1].abs()  # the largest of each number is above zero
    with torch.no_grad():
        told = method.rebuilt(raw, batch)
        raw[:, 40:, :-1] = torch.randn(2, 110, TINY.embedding)
        torch.testing.assert_close(method.rebuilt(raw, batch), told)
        raw[:, 3, :-1] += 5
        assert (method.rebuilt(raw, batch) - told).abs().amax() > 1e-4


def test_asymmetry_by_hand():
    batch = clouds(torch.tensor([[[1.0, 2, 3], [-1, 2, 3], [0, 5, 0], [9, 9, 9]]]))
    batch = replace(batch, valid=torch.tensor([[True, True, True, False]]))
    raw = torch.tensor([[[1.0, 4.0], [3.0, 4.0], [7.0, 0.0], [99.0, 99.0]]])
    told = _asymmetry(raw, batch)
    assert float(told) == pytest.approx((4 + 4) / 6)  # two pairs differ by 2 in one of two numbers


def test_the_critic_is_moved_by_itself_and_before_the_rest():
    method, batch = made(replace(TINY, critic=(8,))), bumpy()
    groups, seen = method.groups(), []

    def update(loss, group="main"):
        method.zero_grad(set_to_none=True)
        loss.backward()
        moved = {name for name, of in groups.items() if any(p.grad is not None and p.grad.any() for p in of)}
        seen.append((group, moved))

    terms = method.step(batch, update)
    assert seen == [("critic", {"critic"}), ("main", {"main"})]
    assert list(terms) == ["reconstruction", "prior", "symmetry", "critic"]
    method.zero_grad(set_to_none=True)
    torch.stack(list(method.loss(batch).values())).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())


def test_without_a_critic_scores_follow_the_quantiles():
    method, batch = made(), bumpy()
    optimiser = torch.optim.Adam(method.reader.parameters(), lr=0.01)
    costs = []
    for _ in range(40):
        term = method.loss(batch)["prior"]
        costs.append(float(term.detach()))
        optimiser.zero_grad()
        term.backward()
        optimiser.step()
    assert costs[-1] < 0.25 * costs[0]


def test_keypoints_stand_apart_and_missing_ones_are_told():
    method = made(replace(TINY, n_keypoints=60, non_max=0.8))
    batch = bumpy()
    found, size = method.predict(batch), spread(batch.points, batch.valid)
    for row in range(2):
        xyz = found.xyz[row][found.valid[row]]
        assert 3 <= len(xyz) < 60
        gap = torch.cdist(xyz, xyz) + 9 * torch.eye(len(xyz))
        assert gap.min() > 0.8 * size[row]
        assert (found.score[row].diff() <= 0).all()
    assert (found.score[~found.valid] == 0).all() and (found.xyz[~found.valid] == 0).all()


def test_the_best_apart_by_hand():
    points = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [2.5, 0, 0], [torch.nan] * 3]])
    valid = torch.tensor([[True, True, True, False]])
    rows, kept = best_apart(points, valid, torch.tensor([[1.0, 2.0, 0.5, 9.0]]), 3, torch.tensor([1.0]))
    assert rows[0, :2].tolist() == [1, 2] and kept.tolist() == [[True, True, False]]
    assert float(spread(points, valid)) == pytest.approx(
        (((7 / 6) ** 2 + (1 / 6) ** 2 + (8 / 6) ** 2) / 3) ** 0.5
    )


def test_a_run_of_the_engine_finds_points_of_a_shape_in_its_own_unit(tmp_path):
    told = train_on_clouds("world:planes?n=5", "ukpgan", tmp_path / "run", preset="tiny", steps=2, points=5)
    assert told["points"] == 5 and told["steps"] == 2
    dice = np.random.default_rng(0)
    points = 1000 * dice.random((300, 3)) * [3.0, 2.0, 1.0] + 5000
    _, found = look(watcher(str(tmp_path / "run"), 4), "crate", Cloud(points=points), 4)
    assert found.xyz.shape == (4, 3)
    assert (np.linalg.norm(points[:, None] - found.xyz, axis=-1).min(0) < 1).all()
    assert (np.diff(found.score) <= 0).all()


def test_points_all_in_one_place_have_no_surroundings():
    method = made()
    found = method.predict(clouds(torch.zeros(1, 20, 3)))
    assert found.xyz.isfinite().all() and found.score.isfinite().all()
