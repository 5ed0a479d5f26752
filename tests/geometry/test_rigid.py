import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from asterism.geometry import rigid

F64 = torch.float64


def maps(seed, b=4, n=9, scale=1.0):
    g = torch.Generator().manual_seed(seed)
    rotation = torch.from_numpy(Rotation.random(b, rng=seed).as_matrix())
    b_from_a = torch.cat([scale * rotation, torch.randn(b, 3, 1, generator=g, dtype=F64)], dim=-1)
    return b_from_a, torch.randn(b, n, 3, generator=g, dtype=F64)


@given(st.integers(0, 2**31), st.floats(0.1, 10))
@settings(deadline=None, max_examples=50)
def test_axioms_and_exact_fits(seed, scale):
    (m, a), (other, _) = maps(seed, scale=scale), maps(seed + 1)
    b = rigid.apply(m, a)
    torch.testing.assert_close(rigid.apply(rigid.inverse(m), b), a)
    torch.testing.assert_close(rigid.apply(rigid.compose(other, m), a), rigid.apply(other, b))
    torch.testing.assert_close(rigid.scale_of(m), torch.full((4,), scale, dtype=F64))
    torch.testing.assert_close(rigid.umeyama(a, b), m)
    torch.testing.assert_close(rigid.kabsch(a, rigid.apply(other, a)), other)


def test_noisy_and_weighted_rotations_are_scipys():
    m, a = maps(0)
    b = rigid.apply(m, a) + 0.3 * torch.randn(a.shape, generator=torch.Generator().manual_seed(1), dtype=F64)
    weight = torch.rand(4, 9, generator=torch.Generator().manual_seed(2), dtype=F64)
    got = rigid.kabsch(a, b, weight)
    for i in range(4):
        w = weight[i].numpy()
        ca, cb = (x[i].numpy() - np.average(x[i].numpy(), axis=0, weights=w) for x in (a, b))
        wanted, _ = Rotation.align_vectors(cb, ca, weights=w)
        np.testing.assert_allclose(got[i, :, :3].numpy(), wanted.as_matrix(), atol=1e-9)


def test_umeyamas_own_example():
    """Umeyama 1991, Section III: a reflected triangle."""
    a = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0, 2, 0]]], dtype=F64)
    b = torch.tensor([[[0.0, 0, 0], [-1, 0, 0], [0, 2, 0]]], dtype=F64)
    found = rigid.umeyama(a, b)
    assert torch.linalg.det(found[:, :, :3]).item() > 0
    torch.testing.assert_close(rigid.apply(found, a), b)  # in space, turning the triangle over is a rotation


def test_a_mirror_image_gets_a_rotation():
    _, a = maps(3)
    found = rigid.kabsch(a, a * torch.tensor([-1.0, 1, 1], dtype=F64))
    torch.testing.assert_close(torch.linalg.det(found[:, :, :3]), torch.ones(4, dtype=F64))
    turned = torch.from_numpy(Rotation.random(200, rng=0).as_matrix())
    target = a[:1] * torch.tensor([-1.0, 1, 1], dtype=F64)
    centred = [x - x.mean(1, keepdim=True) for x in (a[:1], target)]
    trace = torch.einsum("rij,nj,ni->r", turned, centred[0][0], centred[1][0])
    ours = torch.einsum("ij,nj,ni->", found[0, :, :3], centred[0][0], centred[1][0])
    assert ours > trace.max()


def test_points_without_weight_take_no_part():
    m, a = maps(4)
    b = rigid.apply(m, a)
    b[:, :3] += 100
    weight = torch.ones(4, 9, dtype=F64)
    weight[:, :3] = 0
    torch.testing.assert_close(rigid.umeyama(a, b, weight), m)


@pytest.mark.parametrize("fit", [rigid.kabsch, rigid.umeyama])
@pytest.mark.parametrize("weighted", [False, True])
def test_gradients(fit, weighted):
    m, a = maps(5, b=2, n=5)
    noise = torch.randn(a.shape, generator=torch.Generator().manual_seed(6), dtype=F64)
    args = [a, rigid.apply(m, a) + 0.3 * noise] + [torch.rand(2, 5, dtype=F64) + 0.5] * weighted
    assert torch.autograd.gradcheck(fit, [x.requires_grad_() for x in args])


def test_gradients_of_a_reflected_fit():
    _, a = maps(7, b=1, n=6)
    b = a * torch.tensor([-1.0, 1, 1], dtype=F64)
    assert torch.autograd.gradcheck(rigid.kabsch, [x.requires_grad_() for x in (a, b.clone())])


def degenerate():
    cube = torch.tensor([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=F64)[None]
    line = torch.tensor([[0.0, 0, 0], [1, 1, 1], [2, 2, 2]], dtype=F64)[None]
    return {"equal singular values": cube, "a line": line, "one place": torch.ones(1, 4, 3, dtype=F64)}


@pytest.mark.parametrize("name", degenerate())
@pytest.mark.parametrize("fit", [rigid.kabsch, rigid.umeyama])
def test_degenerate_points_give_finite_maps_and_gradients(name, fit):
    a = degenerate()[name].requires_grad_()
    b = (2 * a.detach() + 1).requires_grad_()
    found = fit(a, b)
    found.square().sum().backward()
    for t in (found, a.grad, b.grad):
        assert torch.isfinite(t).all()
    if fit is rigid.umeyama:
        torch.testing.assert_close(rigid.apply(found, a), b)


def test_equal_singular_values_have_the_right_gradient():
    a = degenerate()["equal singular values"]
    assert torch.autograd.gradcheck(rigid.kabsch, [a.clone().requires_grad_(), (a + 1).requires_grad_()])


def test_no_weight_at_all_is_finite():
    _, a = maps(8)
    found = rigid.kabsch(a, a, torch.zeros(4, 9, dtype=F64))
    assert torch.isfinite(found).all()
