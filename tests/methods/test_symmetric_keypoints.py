"""symmetric-keypoints' own rules: mirror, turns, the linear basis, padding, what learns, doubled points."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from asterism.data.cloud_sets import CloudSamples, batch_of, open_clouds
from asterism.engine.cloud_lesson import train_on_clouds
from asterism.engine.clouds import look, watcher
from asterism.errors import RequestError
from asterism.io.points import Cloud
from asterism.methods.clouds.symmetric_keypoints import (
    SymmetricKeypoints,
    SymmetricKeypointsConfig,
    about_y,
    mirror,
)
from asterism.types import Clouds

TINY = SymmetricKeypoints.presets["tiny"]


def made(config=TINY):
    torch.manual_seed(0)
    return SymmetricKeypoints(config).eval()


def planes(b=3, n=64):
    samples = CloudSamples(open_clouds("world:planes?n=9"), range(9), n)
    return Clouds.cat([samples[0, i] for i in range(b)])


def turned(batch, degrees):
    angle = torch.deg2rad(torch.as_tensor(degrees).double()).expand(len(batch))
    turn = about_y(torch.stack([angle.cos(), angle.sin()], dim=1))
    here = torch.eye(4).double().expand(len(batch), 4, 4)
    return replace(batch, points=batch.points.double() @ turn.mT, to_source=here), turn


def test_the_mirror_is_a_reflection_that_holds_the_vertical():
    plane = torch.tensor([3.0, -4.0], dtype=torch.float64)
    m = mirror(plane)
    torch.testing.assert_close(m @ m, torch.eye(3).double())
    assert float(torch.linalg.det(m)) == pytest.approx(-1)
    normal = torch.tensor([0.6, 0.0, -0.8]).double()
    torch.testing.assert_close(m @ normal, -normal)
    for held in ([0.0, 1.0, 0.0], [0.8, 0.0, 0.6]):
        torch.testing.assert_close(m @ torch.tensor(held).double(), torch.tensor(held).double())


def test_a_heading_is_the_turn_of_the_z_axis():
    angle = torch.tensor([0.0, 0.5, -2.0]).double()
    turn = about_y(torch.stack([angle.cos(), angle.sin()], dim=1))
    torch.testing.assert_close(turn @ turn.mT, torch.eye(3).double().expand(3, 3, 3))
    torch.testing.assert_close(torch.linalg.det(turn), torch.ones(3).double())
    ahead = turn @ torch.tensor([0.0, 0.0, 1.0]).double()
    torch.testing.assert_close(torch.atan2(ahead[:, 0], ahead[:, 2]), angle)


def test_points_turn_with_the_cloud_about_the_vertical_and_know_no_unit():
    method, (batch, _) = made().double(), turned(planes(), 0)
    other, turn = turned(planes(), torch.tensor([17.0, 130.0, -90.0]))
    other = replace(other, points=40 * other.points + 7)
    found, there = method.predict(batch).xyz, method.predict(other).xyz
    torch.testing.assert_close(there, 40 * found @ turn.mT + 7)
    tilted = replace(batch, points=batch.points[..., [1, 0, 2]] * torch.tensor([1.0, 1.0, -1.0]).double())
    lost = method.predict(tilted).xyz - found[..., [1, 0, 2]] * torch.tensor([1.0, 1.0, -1.0]).double()
    assert lost.abs().max() > 0.03  # nothing is promised of other turns


def test_halves_are_mirror_images_and_with_two_sets_only_their_space_is():
    batch = planes()
    for sets, symmetric in ((1, True), (2, False)):
        method = made(replace(TINY, sets=sets))
        with torch.no_grad():
            raw = method(batch)
            middle = batch.points.mean(1, keepdim=True)
            held = (raw.modelled - middle) @ about_y(raw.heading)
            gap = (held[:, :3] @ mirror(method.plane) - held[:, 3:]).abs().max()
        assert (gap < 1e-5) == symmetric


def test_the_model_is_linear_in_its_basis():
    method, batch = made(), planes()
    points, heading = batch.points, torch.tensor([[0.6, 0.8]]).expand(3, 2)
    with torch.no_grad():
        whole = method.modelled(points, batch.valid, heading)
        shapes, parts = method.shapes.clone(), []
        for k in range(TINY.basis):
            method.shapes.zero_()
            method.shapes[k] = shapes[k]
            parts.append(method.modelled(points, batch.valid, heading))
    torch.testing.assert_close(torch.stack(parts).sum(0), whole)
    assert all(part.abs().max() > 1e-3 for part in parts)


def test_a_shape_that_is_symmetric_heads_along_its_plane():
    """Whatever is learned: the weights of a point and of its mirror image are the same."""
    g = torch.Generator().manual_seed(4)
    half = torch.randn(2, 40, 3, generator=g, dtype=torch.float64)
    normal = torch.tensor([0.28, 0.96]).double()
    points = torch.cat([half, half @ mirror(normal)], dim=1)
    points = points - points.mean(1, keepdim=True)
    for seed in range(3):
        torch.manual_seed(seed)
        heading = SymmetricKeypoints(TINY).double().heading(points, torch.ones(2, 80, dtype=torch.bool))
        across = heading[:, 1] * normal[0] + heading[:, 0] * normal[1]  # sine is x, cosine is z
        assert across.abs().max() < 1e-9


def test_padding_of_any_number_changes_nothing():
    method, batch = made(), planes()
    padded = Clouds(
        points=torch.cat([torch.full((3, 5, 3), torch.nan), batch.points], dim=1),
        valid=torch.arange(69).expand(3, 69) >= 5,
        to_source=batch.to_source,
    )
    torch.testing.assert_close(method.predict(padded).xyz, method.predict(batch).xyz)
    with torch.no_grad():
        torch.testing.assert_close(method(padded).proposed, method(batch).proposed)
    terms = method.loss(padded)
    torch.stack(list(terms.values())).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())


def test_the_rotation_learns_from_where_the_points_are():
    """In the authors' code the angle is cut off from the gradient."""
    method = made()
    chamfer = method.loss(planes())["chamfer"]
    chamfer.backward()
    for part in (method.about, method.weigh):
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in part.parameters())


def test_while_learning_some_of_the_points_are_seen_turned_about_the_vertical():
    batch = planes(b=6)
    batch = replace(batch, valid=torch.arange(64).expand(6, 64) >= 40)  # 24 of them
    points = batch.points.masked_fill(~batch.valid[..., None], torch.nan)
    method = made(replace(TINY, n_seen=20, turned=90.0))
    torch.manual_seed(0)
    seen = method._turned(replace(batch, points=points))
    assert seen.points.shape == (6, 20, 3) and seen.valid.all() and seen.points.isfinite().all()
    angles = []
    for now, before in zip(seen.points, batch.points[:, 40:]):
        row = (now[:, None, 1] - before[:, 1]).abs().argmin(1)  # heights stay
        assert row.unique().numel() == 20
        step = torch.view_as_complex(now[:, [2, 0]]) / torch.view_as_complex(before[row][:, [2, 0]])
        torch.testing.assert_close(step, step[:1].expand(20), atol=1e-3, rtol=0)
        angles.append(float(step[0].angle()))
    assert max(map(abs, angles)) <= np.pi / 2 and max(angles) - min(angles) > 1
    every = replace(method.config, n_seen=64)
    assert made(every)._turned(replace(batch, points=points)).valid.sum(1).tolist() == [24] * 6


def test_points_on_each_other_throughout_the_category_are_told_once():
    method = made()
    with torch.no_grad():
        method.shapes[:, 1] = method.shapes[:, 0]  # the second point on the first: their images coincide, too
        method.shapes[:, :, 0] += 5  # far from the plane, and the images so from the halves
        method.shapes[:, 2] += 2
        said = method.settle([planes(1)])
        assert method.predict(planes()).valid.tolist() == [[True, False, True, True, False, True]] * 3
        assert "4 of 6" in said
        method.kept.fill_(True)
        method.shapes[..., 0] = 0  # everything in the plane: every image lies on its own point
        method.settle([planes(1)])
        assert method.kept.tolist() == [True, False, True, False, False, False]


def test_a_point_alone_has_a_model_too():
    method = made()
    found = method.predict(
        Clouds(
            points=torch.zeros(1, 5, 3),
            valid=torch.ones(1, 5, dtype=torch.bool),
            to_source=torch.eye(4)[None],
        )
    )
    assert found.xyz.isfinite().all()


def test_impossible_configs_are_refused(tmp_path):
    with pytest.raises(RequestError, match="sets 3: wanted 1"):
        SymmetricKeypoints(replace(TINY, sets=3))
    with pytest.raises(RequestError, match="7 points: wanted an even number such as -k 14"):
        train_on_clouds("world:planes?n=5", "symmetric-keypoints", tmp_path / "run", preset="tiny", points=7)
    assert not (tmp_path / "run").exists()


def test_the_papers_basis_has_its_size_and_range():
    torch.manual_seed(0)
    method = SymmetricKeypoints(SymmetricKeypointsConfig())
    assert method.shapes.shape == (10, 7, 3)
    assert -0.5 <= float(method.shapes.detach().min()) < -0.45
    assert 0.45 < float(method.shapes.detach().max()) <= 0.5


def test_a_run_learns_planes_and_finds_them_turned_in_their_own_unit(tmp_path):
    told = train_on_clouds(
        "world:planes?n=12", "symmetric-keypoints", tmp_path / "run", preset="tiny", steps=12, points=8
    )
    assert told["points"] == 8
    shapes = open_clouds("world:planes?n=2&seed=5")
    method = watcher(str(tmp_path / "run"), None)
    points = batch_of(shapes.cloud(0), 400, np.random.default_rng(0)).points[0].double().numpy()
    turn = about_y(torch.tensor([[0.0, 1.0]]).double())[0].numpy()
    _, found = look(method, "plane", Cloud(points=1000 * points + 5000))
    _, there = look(method, "turned", Cloud(points=points @ turn.T))
    assert found.number.tolist() == there.number.tolist() and len(found.xyz) >= 2
    gap = np.linalg.norm((found.xyz - 5000) / 1000 @ turn.T - there.xyz, axis=1)
    assert gap.max() < 1e-3
