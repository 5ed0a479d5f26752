"""KeypointNet's own rules: its size, what moves with the picture, and what each term of the loss asks."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from asterism.data.cloud_sets import ShapeWorld
from asterism.data.posed import PosedSamples
from asterism.geometry import affine, rigid
from asterism.geometry.so3 import angle_between, exp
from asterism.methods.lift3d.latent_3d_keypoints import (
    Latent3dKeypoints,
    Latent3dKeypointsConfig,
    Raw,
    _axis,
    _crowded,
    _in_front,
)
from asterism.types import Images, PosedViews

TINY = Latent3dKeypoints.presets["tiny"]


def made(config=TINY):
    torch.manual_seed(0)
    return Latent3dKeypoints(config)


def views(n=3, seed=0) -> PosedViews:
    cars = PosedSamples(ShapeWorld("cars", n), range(n), TINY.input_size, TINY.field, TINY.distance, seed)
    return PosedViews.cat([cars[0, i] for i in range(n)])


def test_the_papers_networks_are_as_large_as_the_authors():
    with torch.device("meta"):
        method = Latent3dKeypoints(Latent3dKeypointsConfig())
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in method.named_children()}
    more = 3 * 9 * 64  # both ends of the axis in place of one sign: three planes more
    assert count["trunk"] + count["places"] + count["depths"] == 420_884 + more
    assert count["looks"] + count["ends"] == 103_586


def test_a_picture_moved_by_a_cell_moves_the_map_by_a_cell():
    method = made(replace(TINY, strided=2)).eval()
    image = torch.zeros(1, 3, 128, 128)
    image[:, :, 60:66, 62:68] = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(1))
    one = method.trunk(torch.cat([image, torch.ones(1, 4, 128, 128)], 1))
    two = method.trunk(torch.cat([image.roll((4, 8), (2, 3)), torch.ones(1, 4, 128, 128)], 1))
    torch.testing.assert_close(two[..., 14:19, 15:20], one[..., 13:18, 13:18])


def test_an_upright_mirror_has_the_same_middle():
    """No half pixel: with mirrored kernels a mirrored picture gives mirrored points."""
    method = made(replace(TINY, strided=2)).double().eval()
    other = made(replace(TINY, strided=2)).double().eval()
    other.load_state_dict(method.state_dict())
    with torch.no_grad():
        for layer in other.modules():
            if isinstance(layer, torch.nn.Conv2d):
                layer.weight.copy_(layer.weight.flip(-1))
        other.trunk.layers[0].weight[:, [3, 5]] *= -1  # offsets along x
    image = torch.rand(2, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    told = torch.tensor([[3.0, 9], [20, 14]], dtype=torch.float64).expand(2, 2, 2)
    mirrored = torch.stack([31 - told[..., 0], told[..., 1]], -1)
    one, two = method._look(image, told), other._look(image.flip(-1), mirrored)
    torch.testing.assert_close(two.xy[..., 0], 31 - one.xy[..., 0])
    torch.testing.assert_close(two.xy[..., 1], one.xy[..., 1])


def truth(batch: PosedViews, points: Tensor) -> Raw:
    """What a network would say that knows where points of the thing are."""
    pose, inner = batch.cam_from_thing.flatten(0, 1), batch.intrinsics.flatten(0, 1)
    there = rigid.apply(pose, points.expand(len(pose), -1, 3))
    xy = affine.apply(inner[:, :2], there[..., :2] / there[..., 2:])
    h, w = (s // 2 for s in TINY.input_size)
    maps = torch.full((len(pose), len(points), h, w), 1 / (h * w))
    return Raw(xy=xy, depth=there[..., 2] - TINY.distance, spread=torch.zeros(xy.shape[:2]), maps=maps)


@pytest.fixture
def knowing(monkeypatch):
    """A method without noise that says where four points of the thing are, and which way it looks."""
    method, batch = made(replace(TINY, noise=0.0)), views()
    points = 0.5 * torch.randn(4, 3, generator=torch.Generator().manual_seed(2))
    raw = truth(batch, points)
    ends = _axis(batch.intrinsics.flatten(0, 1), batch.cam_from_thing.flatten(0, 1))
    monkeypatch.setattr(method, "_look", lambda image, told: raw)
    monkeypatch.setattr(method, "_ahead", lambda image: ends)
    return method, batch, raw


def test_true_points_cost_nothing(knowing):
    method, batch, _ = knowing
    terms = method.loss(batch)
    assert float(terms["consistency"]) < 1e-8
    assert float(terms["pose"]) < 2e-3  # asin of a root: single precision
    assert float(terms["ahead"]) == 0.0


def test_points_that_move_between_views_cost(knowing, monkeypatch):
    method, batch, raw = knowing
    off = raw.xy.clone()
    off[::2] += torch.tensor([8.0, 0.0])  # half of the picture's half width
    monkeypatch.setattr(method, "_look", lambda image, told: replace(raw, xy=off))
    cost = float(method.loss(batch)["consistency"])
    assert 0.125 < cost < 0.251  # a half seen from the other view is still one of these; the other way less


def test_depth_is_needed_for_the_turn(knowing, monkeypatch):
    method, batch, raw = knowing
    monkeypatch.setattr(method, "_look", lambda image, told: replace(raw, depth=torch.zeros_like(raw.depth)))
    assert float(method.loss(batch)["pose"]) > 0.05


def test_silhouette_asks_for_the_thing(knowing, monkeypatch):
    method, batch, raw = knowing
    inside = torch.nn.functional.avg_pool2d(batch.inside.flatten(0, 1)[:, None].float(), 2)
    share = float(inside.mean((1, 2, 3)).log().mean())  # of maps that are the same everywhere
    assert float(method.loss(batch)["silhouette"]) == pytest.approx(-share, rel=1e-4)
    own = (inside > 0.99).float().expand_as(raw.maps)
    own = own / own.sum((2, 3), keepdim=True)
    monkeypatch.setattr(method, "_look", lambda image, told: replace(raw, maps=own))
    assert float(method.loss(batch)["silhouette"]) == pytest.approx(0.0, abs=1e-5)


def test_points_are_apart_when_the_squared_distance_is():
    points = torch.tensor([[[0.0, 0, 30], [0.1, 0, 30], [1.0, 0, 30]]])
    assert float(_crowded(points, 0.05)) == pytest.approx(2 * (0.05 - 0.01) / 3, rel=1e-5)


def test_unprojected_is_what_the_camera_saw():
    method, batch = made(), views(1)
    points = 0.5 * torch.randn(4, 3, generator=torch.Generator().manual_seed(3))
    raw = truth(batch, points)
    pictures = Images(image=batch.image[0], to_source=affine.identity(2, like=batch.image))
    found = method.unprojected(method.decode(raw, pictures).xyz)
    torch.testing.assert_close(
        found, rigid.apply(batch.cam_from_thing[0], points.expand(2, 4, 3)), atol=1e-4, rtol=1e-4
    )
    inner = batch.intrinsics[0]
    torch.testing.assert_close(found, _in_front(raw.xy, raw.depth + 30, inner), atol=1e-4, rtol=1e-4)
    turn = rigid.kabsch(found[:1], found[1:])[..., :3]
    true = rigid.compose(batch.cam_from_thing[0, 1:], rigid.inverse(batch.cam_from_thing[0, :1]))
    assert float(angle_between(turn, true[..., :3])) < 1e-3


def test_the_front_is_where_the_thing_looks():
    inner = torch.tensor([[100.0, 0, 50], [0, 100, 50], [0, 0, 1]]).expand(2, 3, 3)
    quarter = torch.tensor([[0.0, torch.pi / 2, 0], [0.0, -torch.pi / 2, 0]])
    pose = torch.cat([exp(quarter), torch.tensor([0.0, 0, 30]).expand(2, 3)[..., None]], -1)
    ends = _axis(inner, pose)
    assert ends[:, 0, 0].tolist() == pytest.approx([50 - 100 / 30, 50 + 100 / 30])
    assert ends[:, 1, 0].tolist() == pytest.approx([50 + 100 / 30, 50 - 100 / 30])


def test_the_true_axis_is_told_less_and_less(monkeypatch):
    method, batch = made(), views()
    told, ends = [], method._ahead(batch.image.flatten(0, 1))
    wanted = _axis(batch.intrinsics.flatten(0, 1), batch.cam_from_thing.flatten(0, 1))
    look = method._look
    monkeypatch.setattr(method, "_look", lambda image, flag: (told.append(flag), look(image, flag))[1])
    for progress in (0.0, TINY.own_from, 0.225, 0.5):
        method.recycle(batch, progress)
        method.loss(batch)
    for flag, share in zip(told, (0, 0, 0.5, 1), strict=True):
        torch.testing.assert_close(flag, (1 - share) * wanted + share * ends)


def test_maps_may_be_wide_at_first(knowing):
    method, batch, _ = knowing
    late = replace(TINY, noise=0.0, sharp_from=0.2, sharp_to=0.6)
    method.config = late
    whole, cost = None, []
    for progress in (1.0, 0.0, 0.2, 0.4, 0.6):
        method.recycle(batch, progress)
        now = float(method.loss(batch)["silhouette"])
        whole = now if whole is None else whole
        cost.append(now / whole)
    assert cost == pytest.approx([1, 0, 0, 0.5, 1], abs=1e-6)


def test_half_a_turn_has_a_gradient():
    method, pose = made(replace(TINY, noise=0.0)), torch.eye(3, 4)[None]
    a = torch.randn(1, 4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    for b in (a * torch.tensor([-1.0, -1.0, 1.0]), a):
        cost = method._turned(a, b, pose)
        (slope,) = torch.autograd.grad(cost, a)
        assert cost.isfinite() and slope.isfinite().all()
