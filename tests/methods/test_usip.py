"""USIP's own rules: regions, their frames, turns and units, views, and true sigmas."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from scipy.stats import chi
from tests.methods.sheets import bumpy, clouds

from asterism.engine.cloud_lesson import train_on_clouds
from asterism.engine.clouds import look, watcher
from asterism.io.points import Cloud
from asterism.methods.clouds.usip import Usip, UsipConfig, _frames, _turns
from asterism.types import Clouds

TINY = Usip.presets["tiny"]


def made(config=TINY, std=0.05):
    torch.manual_seed(0)
    method = Usip(config)
    torch.nn.init.normal_(method.last.weight, std=std)  # so that there is an offset to be turned
    return method


def test_the_papers_network_is_as_large_as_its_layers():
    with torch.device("meta"):
        method = Usip(UsipConfig())
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in method.named_children()}
    assert count["points"] == 3 * 64 + 2 * 64 * 64 + 2 * 3 * 64
    assert count["regions"] == 2 * 128 * 128 + 2 * 2 * 128
    assert count["near"] == 131 * 256 + 2 * 256 * 256 + 2 * 3 * 256
    assert count["around"] == 2 * 512 * 512 + 2 * 2 * 512
    assert count["head"] == 640 * 512 + 512 * 256 + 2 * (512 + 256)
    assert count["last"] == 257 * 4


def test_a_keypoint_begins_at_the_mean_of_its_region():
    torch.manual_seed(0)
    method, batch = Usip(TINY).eval(), bumpy()
    size = batch.points.sub(batch.points.mean(1, keepdim=True)).square().sum(-1).mean(1).sqrt()
    with torch.no_grad():
        owner, centre, full = method.regions_of(batch.points, batch.valid)
        told = method(batch)
    assert full.all() and torch.equal(told.valid, full)
    mean = torch.stack([batch.points.flatten(0, 1)[owner == i].mean(0) for i in range(2 * TINY.nodes)])
    torch.testing.assert_close(centre.flatten(0, 1), mean)
    torch.testing.assert_close(told.xyz, centre, atol=2e-3, rtol=0)
    sigma = (np.log(2) + TINY.floor) * size[:, None].expand_as(told.sigma)
    torch.testing.assert_close(told.sigma, sigma, atol=2e-3, rtol=0)


def test_regions_by_hand():
    points = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [10, 0, 0], [11, 0, 0], [torch.nan] * 3]])
    valid = torch.tensor([[True, True, True, True, False]])
    method = made(replace(TINY, nodes=2, nodes_used=2)).eval()
    owner, centre, full = method.regions_of(points.nan_to_num(0), valid)
    assert owner[0] == owner[1] != owner[2] == owner[3]
    assert sorted(centre[0, :, 0].tolist()) == [0.5, 10.5] and full.all()
    method = made(replace(TINY, nodes=6, nodes_used=6)).eval()
    owner, centre, full = method.regions_of(points.nan_to_num(0), valid)
    assert int(full.sum()) == 4 and sorted(centre[full][:, 0].tolist()) == [0, 1, 10, 11]
    near = method._neighbours(centre, centre, full)
    for i in range(6):
        chosen = [j for j in near[0, i].tolist() if full[0, j]]
        assert not full[0, i] or (i in chosen and len(set(chosen)) == 4)


def test_more_regions_than_while_learning_hear_of_as_many_more():
    method, batch = made(replace(TINY, nodes=12, nodes_used=24, neighbours=4)), bumpy()
    for training, many, heard in ((True, 12, 4), (False, 24, 8)):
        owner, centre, full = method.train(training).regions_of(batch.points, batch.valid)
        assert centre.shape == (2, many, 3) and int(owner.max()) == 2 * many - 1
        assert method._neighbours(centre, centre, full).shape == (2, many, heard)


def test_frames_turn_with_the_cloud():
    batch = bumpy()
    points, centre = batch.points.double(), batch.points[:, :9].double()
    turn = torch.from_numpy(Rotation.random(rng=3).as_matrix())
    frame = _frames(points, batch.valid, centre, 0.7)
    again = _frames(points @ turn.T + 3, batch.valid, centre @ turn.T + 3, 0.7)
    torch.testing.assert_close(again, frame @ turn.T, atol=1e-9, rtol=0)
    torch.testing.assert_close(frame @ frame.mT, torch.eye(3).double().expand(2, 9, 3, 3))
    torch.testing.assert_close(torch.linalg.det(frame), torch.ones(2, 9).double())


def test_points_and_sigmas_turn_with_the_cloud_and_know_no_unit():
    method, exact = made(), clouds(bumpy().points.double())
    method.double()
    turn = torch.from_numpy(Rotation.random(rng=5).as_matrix())
    shift = torch.tensor([3.0, -2.0, 9.0]).double()
    found, moved = method.predict(exact), method.predict(clouds(1000 * exact.points @ turn.T + shift))
    torch.testing.assert_close(moved.xyz, 1000 * found.xyz @ turn.T + shift)
    torch.testing.assert_close(moved.sigma, 1000 * found.sigma)
    torch.testing.assert_close(moved.score, found.score)
    centre = method.regions_of(exact.points, exact.valid)[1]
    away = torch.cdist(found.xyz, centre).amin(2)
    assert float(away.mean()) > 0.01  # there is something to be turned


def test_rotations_are_rotations_of_any_kind():
    torch.manual_seed(0)
    turn = _turns(4000, torch.zeros((), dtype=torch.float64))
    torch.testing.assert_close(turn @ turn.mT, torch.eye(3).double().expand(4000, 3, 3))
    torch.testing.assert_close(torch.linalg.det(turn), torch.ones(4000).double())
    assert float(turn.mean(0).abs().max()) < 0.05
    torch.testing.assert_close(turn.square().mean(0), torch.full((3, 3), 1 / 3).double(), atol=0.02, rtol=0)


def test_a_view_is_some_points_with_noise_turned():
    method, batch = made(replace(TINY, noise=0.1, noise_limit=2.0, least=0.25)), bumpy(b=16, n=2000)
    torch.manual_seed(0)
    seen, turn = method._view(batch)
    share = seen.valid.float().mean(1)
    assert 0.24 < float(share.min()) < 0.45 and 0.8 < float(share.max()) <= 1
    size = (batch.points - batch.points.mean(1, keepdim=True)).square().sum(-1).mean(1).sqrt()
    step = (seen.points @ turn - batch.points) / size[:, None, None]
    assert float(step.abs().max()) <= 0.2 + 1e-4
    assert float(step.std()) == pytest.approx(0.096, abs=2e-3)  # 4 - 3 erf(2^.5) - 4 phi(2) = .96^2


def test_padding_of_any_number_changes_nothing():
    method, batch = made(), bumpy()
    padded = Clouds(
        points=torch.cat([torch.full((2, 7, 3), torch.nan), batch.points], dim=1),
        valid=torch.arange(157).expand(2, 157) >= 7,
        to_source=batch.to_source,
    )
    torch.testing.assert_close(method.predict(padded).xyz, method.predict(batch).xyz)
    torch.stack(list(method.loss(padded).values())).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())


def test_sigma_is_what_distances_are_after_settling():
    method, kept = made(), [bumpy(b=8, seed=s) for s in range(4)]
    torch.manual_seed(0)
    words = method.settle(kept)
    assert "pairs" in words and float(method.calibration) != pytest.approx(3**-0.5, rel=1e-3)
    for seed, error in ((0, 0.01), (1, 0.1)):  # the same views, and others
        torch.manual_seed(seed)
        gap, sigma = (torch.cat(part) for part in zip(*(method.distances(b) for b in kept)))
        assert float((gap < chi(3).median() * sigma).float().mean()) == pytest.approx(0.5, abs=error)
    found, factor = method.predict(kept[0]), float(method.calibration)
    method.calibration.fill_(2 * factor)
    torch.testing.assert_close(method.predict(kept[0]).sigma, 2 * found.sigma)


def test_keypoints_stand_apart_in_the_order_of_sigma():
    method, batch = made(replace(TINY, nodes=30, nodes_used=30, n_keypoints=30, non_max=0.5)), bumpy()
    found = method.predict(batch)
    size = (batch.points - batch.points.mean(1, keepdim=True)).square().sum(-1).mean(1).sqrt()
    for row in range(2):
        kept = found.valid[row]
        xyz, sigma = found.xyz[row][kept], found.sigma[row][kept]
        assert 3 <= len(xyz) < 30 and (sigma.diff() >= 0).all() and (found.score[row].diff() <= 0).all()
        assert float((torch.cdist(xyz, xyz) + 9 * torch.eye(len(xyz))).min()) > 0.5 * size[row]
    assert (found.score[~found.valid] == 0).all() and (found.xyz[~found.valid] == 0).all()


def test_a_run_of_the_engine_finds_points_of_a_shape_in_its_own_unit(tmp_path):
    told = train_on_clouds("world:planes?n=5", "usip", tmp_path / "run", preset="tiny", steps=2, points=5)
    assert told["points"] == 5 and told["steps"] == 2
    points = 1000 * np.random.default_rng(0).random((300, 3)) * [3.0, 2.0, 1.0] + 5000
    looks = watcher(str(tmp_path / "run"), 4)
    _, found = look(looks, "crate", Cloud(points=points), 4)
    assert found.xyz.shape == (4, 3) and (np.diff(found.sigma) >= 0).all()
    assert (found.xyz > 4900).all() and (found.xyz < 8100).all()
    assert float(looks.method.calibration) != pytest.approx(
        3**-0.5, rel=1e-6
    )  # sigma was measured on shapes that were kept back


def test_points_all_in_one_place_have_no_regions():
    found = made().predict(clouds(torch.zeros(1, 20, 3)))
    assert found.xyz.isfinite().all() and found.sigma.isfinite().all()
