"""Shapes from one view each: exact without noise when rigid, found again when not, better with symmetry."""

import pytest
import torch

from asterism.geometry import nrsfm, rigid, so3

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
    kind = nrsfm.learn(xy, 0, ridge=1e-4, scale_sd=0.0, swap=swap)
    assert error(kind.mean[None], xyz[:1]).max() < 1e-6
    assert nrsfm.lift(kind, xy).error.max() < 1e-6


def test_shapes_that_vary_are_found_and_symmetry_helps():
    xyz, xy = world(160, 2, noise=0.02)
    off = {}
    for swap in ((), SWAP):
        kind = nrsfm.learn(xy[:120], 2, ridge=1e-3, scale_sd=0.0, swap=swap)
        off[swap] = error(nrsfm.lift(kind, xy[120:]).xyz, xyz[120:]).mean()
    mean = error(xyz[:120].mean(0).expand(40, -1, -1), xyz[120:]).mean()
    assert off[SWAP] < off[()] < 0.8 * mean and off[SWAP] < 0.4 * mean


def test_lifted_points_project_where_they_were_seen():
    _, xy = world(60, 1, noise=0.01)
    kind = nrsfm.learn(xy, 1, ridge=1e-3, scale_sd=0.1, swap=SWAP)
    found = nrsfm.lift(kind, xy)
    off = found.in_view()[..., :2] - (xy - xy.mean(1, keepdim=True))
    torch.testing.assert_close(off.square().sum(-1).mean(1).sqrt(), found.error)
    assert found.error.median() < 0.1
    turn = found.view_from_kind
    torch.testing.assert_close(turn @ turn.mT, torch.eye(3, dtype=F64).expand_as(turn))


def test_a_swap_that_pairs_nothing_is_refused():
    for swap in ((1, 2, 0, 3, 4, 5, 6, 7), (1, 0), (0,) * 8):
        with pytest.raises(ValueError, match="swap="):
            nrsfm.learn(world(10)[1], 1, ridge=1e-3, scale_sd=0.0, swap=swap)
