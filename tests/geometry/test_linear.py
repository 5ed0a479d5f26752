import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asterism.geometry.linear import inverse3, solve2, solve3


@given(st.integers(0, 2**31), st.floats(-8, 8))
@settings(deadline=None, max_examples=40)
def test_agree_with_lapack_in_any_unit(seed, unit):
    g = torch.Generator().manual_seed(seed)
    m3 = torch.randn(4, 5, 3, 3, generator=g, dtype=torch.float64) * 10**unit
    m2, r2, r3 = m3[..., :2, :2], m3[..., 2, :2], m3[..., 2, :]
    torch.testing.assert_close(m2 @ solve2(m2, r2)[..., None], r2[..., None], rtol=1e-5, atol=1e-9 * 10**unit)
    torch.testing.assert_close(inverse3(m3), torch.linalg.inv(m3), rtol=1e-5, atol=1e-9 * 10**-unit)
    torch.testing.assert_close(solve3(m3, r3), torch.linalg.solve(m3, r3), rtol=1e-5, atol=1e-9)


def test_singular_is_finite_and_large():
    flat = torch.diag(torch.tensor([1.0, 2.0, 0.0]))
    assert torch.isfinite(inverse3(flat)).all()
    assert inverse3(flat)[2, 2] > 1e6
    assert torch.isfinite(inverse3(torch.zeros(3, 3))).all()
    assert torch.isfinite(solve2(torch.zeros(2, 2), torch.ones(2))).all()
