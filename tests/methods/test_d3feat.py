"""D3Feat's own rules: saliency, detection, views, matches, units and turns."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from tests.methods.sheets import bumpy, clouds

from asterism.engine.cloud_lesson import train_on_clouds
from asterism.engine.clouds import look, watcher
from asterism.io.points import Cloud
from asterism.methods.clouds.d3feat import D3Feat, D3FeatConfig, Raw, _first, _saliency, _turns
from asterism.nets.kpconv import Around
from asterism.types import CloudPairs

TINY = D3Feat.presets["tiny"]


def made(config=TINY):
    torch.manual_seed(0)
    return D3Feat(config)


def raw_of(xyz, owner):
    """Points, and nothing told of them; cells of 1."""
    p, owner = torch.tensor(xyz), torch.tensor(owner)
    flat = torch.zeros(len(p))
    return Raw(p, owner, torch.zeros(len(p), 2), flat, flat > 0, torch.ones(int(owner.max()) + 1))


def test_the_papers_network_is_as_large_as_its_layers():
    with torch.device("meta"):
        net = D3Feat.__new__(D3Feat)
        torch.nn.Module.__init__(net)
        from asterism.nets.kpconv_unet import KPConvUNet

        c = D3FeatConfig()
        net = KPConvUNet(c.kernel, c.width, c.levels, c.descriptor)

    def block(before, out):
        narrow = out // 4
        past = 0 if before == out else before * out + 2 * out
        return before * narrow + 15 * narrow * narrow + narrow * out + 4 * narrow + 2 * out + past

    widths = [128, 256, 512, 1024, 2048]
    own = sum(map(block, [64, *widths], widths))
    down = sum(block(w, w) for w in widths[:-1])
    up = sum(3 * w * w + 2 * w for w in widths[:-1])
    assert sum(p.numel() for p in net.parameters()) == 15 * 64 + 128 + own + down + up + 129 * 32


def test_saliency_by_hand():
    """Two points that see each other and a third of another cloud; features (4, 0), (1, 2) and (5, 5)."""
    told = torch.tensor([[4.0, -7.0], [1.0, 2.0], [5.0, 5.0]])
    around = Around(
        torch.tensor([[0, 1], [1, 0], [2, 3]]), torch.zeros(3, 2, 1), torch.tensor([2.0, 2.0, 1.0])
    )
    score, detected = _saliency(told, around, torch.tensor([0, 0, 1]), 2)
    # shares of their cloud's largest: (1, 0), (.25, 1), (1, 1); means (.625, .5) twice, (1, 1)
    soft = lambda x: math.log(1 + math.exp(x))  # noqa: E731
    wanted = [soft(0.375), max(soft(-0.375) * 0.25, soft(0.5)), soft(0.0)]
    assert score.tolist() == pytest.approx(wanted, abs=1e-5)
    assert detected.tolist() == [True, True, True]
    score, detected = _saliency(
        told, around, torch.tensor([0, 0, 0]), 1
    )  # one cloud: (.8, 0), (.2, .4), (1, 1)
    assert score[0].item() == pytest.approx(soft(0.8 - 0.5), abs=1e-5)
    told[1] = torch.tensor([3.0, 2.0])  # its largest channel is the one in which the first exceeds it
    assert _saliency(told, around, torch.tensor([0, 0, 1]), 2)[1].tolist() == [True, True, True]
    told[1] = torch.tensor([3.0, 0.1])
    told[0] = torch.tensor([4.0, 9.0])
    assert _saliency(told, around, torch.tensor([0, 0, 1]), 2)[1].tolist() == [True, False, True]


def test_scores_of_a_cloud_do_not_depend_on_its_partner():
    method, batch = made(), bumpy(n=300)
    both = method.predict(batch)
    torch.testing.assert_close(method.predict(batch[0]).score, both.score[:1], atol=1e-5, rtol=1e-4)


def test_keypoints_are_detected_best_first_apart_with_descriptors_of_length_one():
    method, batch = made(replace(TINY, n_keypoints=40)), bumpy(n=300)
    method.eval()
    found, raw = method.predict(batch), method(batch)
    for row in range(2):
        kept = found.valid[row]
        xyz, score = found.xyz[row][kept], found.score[row][kept]
        assert 3 <= len(xyz) < 40 and (score.diff() <= 0).all() and float(score.max()) <= 1
        detected = raw.xyz[(raw.owner == row) & raw.detected]
        assert float(torch.cdist(xyz, detected).amin(1).max()) < 1e-3
        assert float((torch.cdist(xyz, xyz) + 9 * torch.eye(len(xyz))).min()) > 2 * float(raw.cell[row])
        torch.testing.assert_close(found.descriptor[row][kept].norm(dim=1), torch.ones(len(xyz)))
    assert (found.descriptor[~found.valid] == 0).all() and (found.xyz[~found.valid] == 0).all()


@pytest.mark.parametrize("unit", [1e-3, 1e3])
def test_a_share_of_the_spread_knows_no_unit(unit):
    method, exact = made(), bumpy(n=300).points.double()
    found, scaled = method.predict(clouds(exact)), method.predict(clouds(unit * exact))
    torch.testing.assert_close(scaled.xyz, unit * found.xyz, atol=1e-6 * unit, rtol=1e-5)
    torch.testing.assert_close(scaled.score, found.score, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(scaled.descriptor, found.descriptor, atol=1e-3, rtol=1e-3)


def test_a_voxel_in_the_files_unit_is_that_long_whatever_the_batch_is_scaled_by():
    method, batch = made(replace(TINY, voxel=0.5)), bumpy(n=300)
    matrix = torch.diag(torch.tensor([4.0, 4.0, 4.0, 1.0])).expand(2, 4, 4)
    assert method(replace(batch, to_source=matrix)).cell.tolist() == pytest.approx([0.125] * 2)
    assert method(batch).cell.tolist() == pytest.approx([0.5] * 2)


def test_matches_by_hand():
    """The second cloud is the first moved by one along x; the third point has nobody near it."""
    method = made(replace(TINY, match=0.5, pairs=9))
    raw = raw_of([[0.0, 0, 0], [3, 0, 0], [9, 0, 0], [4.2, 0, 0], [1, 0, 0]], [0, 0, 0, 1, 1])
    motion = torch.eye(4)
    motion[0, 3] = 1.0
    i, j, away = method._matches(raw, 0, 1, motion)
    assert sorted(zip(i.tolist(), j.tolist())) == [(0, 4), (1, 3)]
    torch.testing.assert_close(away, torch.tensor([[0, 3.2], [3.2, 0]]))
    i, j, away = method._matches(raw, 0, 1, torch.diag(torch.tensor([1.0, 1, 1, 1])) + 50 * torch.eye(4)[3])
    assert len(i) == len(j) == 0 and away.shape == (0, 0)


def test_views_of_a_cloud_are_parts_that_the_motion_lays_on_each_other():
    method, batch = made(replace(TINY, noise=0.0, least=0.5, dropped=0.5)), bumpy(8, 400)
    torch.manual_seed(0)
    one, two, motion = method.views_of(batch)
    there = one.points @ motion[:, :3, :3].mT + motion[:, None, :3, 3]
    torch.testing.assert_close(there, two.points, atol=1e-5, rtol=0)
    share = torch.cat([one.valid, two.valid]).float().mean(1)
    assert 0.24 < float(share.min()) < 0.5 and 0.6 < float(share.max()) <= 1
    assert not torch.equal(one.valid, two.valid)


def test_pairs_bring_their_own_second_view():
    method, batch = made(replace(TINY, noise=0.0, dropped=0.0)), bumpy(n=300)
    motion = torch.eye(4).repeat(2, 1, 1)
    motion[:, :3, :3] = torch.from_numpy(Rotation.random(2, rng=1).as_matrix()).float()
    motion[:, :3, 3] = torch.tensor([1.0, 2, 3])
    moved = batch.points @ motion[:, :3, :3].mT + motion[:, None, :3, 3]
    pair = CloudPairs(
        points=batch.points,
        valid=batch.valid,
        to_source=batch.to_source,
        others=moved,
        others_valid=batch.valid,
        other_from_this=motion,
    )
    one, two, told = method.views_of(pair)
    assert one.valid.all() and two.valid.all()
    there = one.points @ told[:, :3, :3].mT + told[:, None, :3, 3]
    torch.testing.assert_close(there, two.points, atol=1e-4, rtol=0)
    terms = method.loss(pair)
    assert all(term.isfinite() for term in terms.values())


def test_the_first_of_a_share_are_valid_and_never_none():
    order = torch.tensor([[3.0, 1, 2, 0], [0, 1, 2, 3]])[..., None]
    valid = torch.tensor([[True, True, True, False], [False, False, False, True]])
    kept = _first(order, valid, torch.tensor([[0.66], [0.1]]))
    assert kept.tolist() == [[False, True, True, False], [False, False, False, True]]


def test_rotations_are_rotations_of_any_kind():
    torch.manual_seed(0)
    turn = _turns(4000, torch.zeros((), dtype=torch.float64))
    torch.testing.assert_close(turn @ turn.mT, torch.eye(3).double().expand(4000, 3, 3))
    torch.testing.assert_close(torch.linalg.det(turn), torch.ones(4000).double())
    torch.testing.assert_close(turn.square().mean(0), torch.full((3, 3), 1 / 3).double(), atol=0.02, rtol=0)


def test_points_all_in_one_place_are_one_point():
    found = made().predict(clouds(torch.zeros(1, 20, 3)))
    assert found.xyz.isfinite().all() and int(found.valid.sum()) <= 1


def test_a_run_of_the_engine_finds_points_of_a_shape_in_its_own_unit(tmp_path):
    told = train_on_clouds("world:planes?n=5", "d3feat", tmp_path / "run", preset="tiny", steps=2, points=5)
    assert told["points"] == 5 and told["steps"] == 2
    points = 1000 * np.random.default_rng(0).random((300, 3)) * [3.0, 2.0, 1.0] + 5000
    _, found = look(watcher(str(tmp_path / "run"), 4), "crate", Cloud(points=points), 4)
    assert len(found.xyz) == 4 and (found.xyz > 4900).all() and (found.xyz < 8100).all()
