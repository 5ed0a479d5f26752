"""Shapes from one view each: exact without noise when rigid, found again when not, better with symmetry."""

import pytest
import torch

from asterism.geometry import nrsfm, rigid, so3
from asterism.geometry.nrsfm_flat import complete_flat, learn_flat
from asterism.geometry.nrsfm_views import completed

F64 = torch.float64
SWAP = (1, 0, 3, 2, 5, 4, 7, 6)
FLIP = torch.tensor([1.0, 1, -1], dtype=F64)


def world(n=200, s=2, noise=0.0, size=0.2, seed=0):
    """Symmetric shapes of radius near one, and a view of each."""
    g = torch.Generator().manual_seed(seed)
    partner, mirror = torch.tensor(SWAP), torch.tensor([-1.0, 1, 1], dtype=F64)

    def symmetric(x):
        x = (x + (x * mirror)[..., partner, :]) / 2
        return x - x.mean(-2, keepdim=True)

    mean = symmetric(torch.randn(8, 3, generator=g, dtype=F64))
    mean = mean / mean.square().sum(-1).mean().sqrt()
    basis = size * symmetric(torch.randn(s, 8, 3, generator=g, dtype=F64))
    xyz = mean + torch.einsum("ns,skd->nkd", torch.randn(n, s, generator=g, dtype=F64), basis)
    turn = so3.exp(2 * torch.randn(n, 3, generator=g, dtype=F64))
    xy = xyz @ turn[:, :2].mT
    return xyz, xy + noise * torch.randn(xy.shape, generator=g, dtype=F64)


def error(a, b):
    """Mean distance after the best similarity, for the better of the two mirror images of all."""
    far = [(rigid.apply(rigid.umeyama(a * f, b), a * f) - b).norm(dim=-1).mean(1) for f in (1, FLIP)]
    return min(far, key=lambda each: float(each.mean()))


@pytest.mark.parametrize("swap", [(), SWAP])
def test_one_rigid_body_is_found_exactly(swap):
    xyz, xy = world(40, 1, size=0.0)
    kind = nrsfm.learn(xy, 0, ridge=1e-5, scale_sd=0.0, swap=swap)
    assert error(kind.mean[None], xyz[:1]).max() < 1e-4
    assert nrsfm.lift(kind, xy).error.max() < 1e-3


def test_shapes_that_vary_are_found_and_symmetry_helps():
    xyz, xy = world(110, 2, noise=0.02)
    off = {}
    for swap in ((), SWAP):
        kind = nrsfm.learn(xy[:80], 2, ridge=1e-3, scale_sd=0.0, swap=swap)
        off[swap] = error(nrsfm.lift(kind, xy[80:]).xyz, xyz[80:]).mean()
    mean = error(xyz[:80].mean(0).expand(30, -1, -1), xyz[80:]).mean()
    assert off[SWAP] < off[()] < 0.8 * mean and off[SWAP] < 0.4 * mean


def test_lifted_points_project_where_they_were_seen():
    _, xy = world(60, 1, noise=0.01)
    xy = xy + 5
    kind = nrsfm.learn(xy, 1, ridge=1e-3, scale_sd=0.1, swap=SWAP)
    found = nrsfm.lift(kind, xy)
    off = found.xyz[..., :2] + found.shift[:, None] - xy
    torch.testing.assert_close(off.square().sum(-1).mean(1).sqrt(), found.error)
    assert found.error.median() < 0.1
    turn = found.view_from_kind
    torch.testing.assert_close(turn @ turn.mT, torch.eye(3, dtype=F64).expand_as(turn))


def test_missing_points_are_found_and_what_stands_there_does_not_matter():
    xyz, xy = world(110, 1, noise=0.01)
    valid = torch.rand(xy.shape[:2], generator=torch.Generator().manual_seed(1)) > 0.15
    other = torch.where(valid[..., None], xy, torch.nan)
    told = {"swap": SWAP, "ridge": 1e-3, "scale_sd": 0.0}
    kind = nrsfm.learn(other[:80], 1, valid=valid[:80], **told)
    found = nrsfm.lift(kind, other[80:], valid[80:])
    hidden = ~valid[80:]
    off = (found.xyz[..., :2] + found.shift[:, None] - xy[80:]).norm(dim=-1)[hidden]
    flat = (xy[80:] - xy[80:].mean(1, keepdim=True)).norm(dim=-1)[hidden]
    assert off.median() < 0.1 < 0.15 * flat.median()
    assert error(found.xyz, xyz[80:]).median() < 0.1


def test_ellipsoids_hold_as_much_as_they_say():
    xyz, clean = world(200, 2)
    turn, _ = completed(torch.linalg.lstsq(xyz, clean).solution.mT)
    xy = clean + 0.05 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(2), dtype=F64)
    parts = torch.linalg.svd((xyz - xyz.mean(0)).flatten(1), full_matrices=False)
    basis = (parts[2][:2] * parts[1][:2, None] / 200**0.5).unflatten(1, (8, 3))
    kind = nrsfm.Kind(mean=xyz.mean(0), basis=basis, noise=0.05**2, scale_sd=0.0)
    found = nrsfm.lift(kind, xy)
    there = (xyz - xyz.mean(1, keepdim=True)) @ turn.mT
    off = found.xyz - found.xyz.mean(1, keepdim=True) - there
    square = (off[..., None, :] @ torch.linalg.solve(found.cov, off[..., None]))[..., 0, 0]
    for share, most in ((0.68, 3.506), (0.95, 7.815)):  # quantiles of chi square, 3 degrees of freedom
        assert abs((square < most).double().mean() - share) < 0.06
    assert found.cov[..., 2, 2].mean() > 2 * found.cov[..., 0, 0].mean()  # depth is not seen


def test_a_swap_that_pairs_nothing_is_refused():
    for swap in ((1, 2, 0, 3, 4, 5, 6, 7), (1, 0), (0,) * 8):
        with pytest.raises(ValueError, match="swap="):
            nrsfm.learn(world(10)[1], 1, ridge=1e-3, scale_sd=0.0, swap=swap)


def test_flat_shapes_are_found_exactly_and_solid_ones_are_not():
    _, xy = world(60, 0)
    g = torch.Generator().manual_seed(3)
    angle = 6.3 * torch.rand(60, generator=g, dtype=F64)
    turn = so3.exp(angle[:, None] * torch.tensor([0.0, 0, 1], dtype=F64))[:, :2, :2]
    plane = (xy[0] * (0.8 + 0.4 * torch.rand(60, 1, 1, generator=g, dtype=F64))) @ turn.mT + 3
    valid = torch.rand(60, 8, generator=g) > 0.2
    for seen, most, least in ((plane, 1e-3, 0.0), (xy, 9.0, 0.2)):
        kind = learn_flat(seen, 0, ridge=1e-6, scale_sd=0.5, valid=valid)
        off = (complete_flat(kind, seen, valid) - seen).norm(dim=-1)[~valid]
        assert least <= off.mean() < most
        assert (kind.mean[:, 2] == 0).all()
