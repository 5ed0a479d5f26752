"""multicat-nrsfm: seen points stay, bodies get depth from views alone, and coefficients can be cut."""

from dataclasses import replace

import pytest
import torch

from asterism.geometry import affine, so3
from asterism.methods.lift3d.multicat_nrsfm import MulticatNrsfm, MulticatNrsfmConfig
from asterism.types import Views2D

CONFIG = MulticatNrsfmConfig(
    n_keypoints=7, basis=2, width=64, narrow=32, blocks=2, turned=3.14, cut=False, scaled=False
)
BODY = torch.randn(7, 3, generator=torch.Generator().manual_seed(4))
BODY = BODY - BODY.mean(0)


def views(n: int, seed: int) -> tuple[torch.Tensor, Views2D]:
    g = torch.Generator().manual_seed(seed)
    turn = so3.exp(2 * torch.randn(n, 3, generator=g))
    xyz = BODY * (1 + 0.2 * torch.randn(n, 1, 3, generator=g)) @ turn.mT
    every = torch.ones(n, 7, dtype=torch.bool)
    xy = xyz[..., :2] - xyz[..., :2].mean(1, keepdim=True)
    return xyz, Views2D(xy=xy, valid=every, part=every, to_source=affine.identity(n, like=xyz))


def fresh(config: MulticatNrsfmConfig = CONFIG) -> MulticatNrsfm:
    torch.manual_seed(0)
    return MulticatNrsfm(config)


def depth_error(method: MulticatNrsfm, xyz: torch.Tensor, batch: Views2D) -> float:
    z, true = method.predict(batch).xyz[..., 2], xyz[..., 2] - xyz[..., 2].mean(1, keepdim=True)
    return min(float((sign * z - true).abs().mean() / true.abs().mean()) for sign in (1, -1))


def test_depth_is_learned_from_views_alone():
    method = fresh().train()
    optimiser = torch.optim.Adam(method.parameters(), lr=3e-3)
    _, lesson = views(120, 0)
    with torch.random.fork_rng():
        for step in range(250):
            torch.manual_seed(step)
            optimiser.zero_grad()
            torch.stack(list(method.loss(lesson).values())).sum().backward()
            optimiser.step()
    xyz, batch = views(60, 1)
    assert depth_error(method, xyz, batch) < 0.5 < 0.8 < depth_error(fresh(), xyz, batch)


def test_seen_points_stay_and_hidden_ones_and_strangers_do_not_count():
    method, (_, batch) = fresh(), views(5, 2)
    hidden = batch.valid.clone()
    hidden[:, 3] = False
    others = batch.part.clone()
    others[:, 6] = False
    spoilt = batch.xy.clone()
    spoilt[:, 3] = torch.nan
    spoilt[:, 6] = torch.inf
    one = replace(batch, valid=hidden & others, part=others)
    found = method.predict(one)
    again = method.predict(replace(one, xy=spoilt))
    torch.testing.assert_close(found.xyz, again.xyz)
    seen = one.valid
    torch.testing.assert_close(found.xyz[..., :2][seen], batch.xy[seen])
    assert (found.xyz[:, 3, :2] != batch.xy[:, 3]).any() and not found.xyz[:, 6].any()
    assert found.valid[:, 3].all() and not found.valid[:, 6].any()
    assert found.xyz[..., 2].sum(1).abs().max() < 1e-5


def test_the_size_of_a_view_is_told_where_views_are_scaled():
    method, (_, batch) = fresh(replace(CONFIG, scaled=True)), views(3, 5)
    one, ten = method.predict(batch), method.predict(replace(batch, xy=10 * batch.xy + 4))
    torch.testing.assert_close(ten.xyz[..., 2], 10 * one.xyz[..., 2], atol=1e-4, rtol=1e-4)


def test_what_is_below_the_cut_off_is_zero():
    method, (_, batch) = fresh(replace(CONFIG, cut=True)), views(4, 6)
    assert method.cut_off is not None
    with torch.no_grad():
        method.coefficients.bias.copy_(torch.tensor([0.5, 0.5]))
        method.cut_off.copy_(torch.tensor([10.0, -10.0]))
        raw = method.eval()(batch)
    assert not raw.coefficients[:, 0].any() and (raw.coefficients[:, 1] > 5).all()


@pytest.mark.parametrize("turns", [1, 3])
def test_a_second_network_that_knows_the_shape_has_nothing_to_lose(turns):
    method, (_, batch) = fresh(replace(CONFIG, turns=turns, basis=2)), views(4, 7)
    with torch.no_grad():
        method.coefficients.weight.zero_()
        method.coefficients_again.weight.zero_()
    assert float(method.eval().loss(batch)["canonical"].detach()) == pytest.approx(0, abs=1e-6)
    with torch.no_grad():
        method.coefficients_again.bias.fill_(3.0)
    assert float(method.loss(batch)["canonical"].detach()) > 1e-3
