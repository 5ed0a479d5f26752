import math

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asterism.geometry import affine, coords
from asterism.geometry.warp import Warp
from asterism.types import Frames

F64 = torch.float64


def maps(seed, b=3):
    """Well-conditioned random affine maps and points."""
    g = torch.Generator().manual_seed(seed)
    a = affine.similarity(
        torch.rand(b, generator=g, dtype=F64) * 6.2,
        0.3 + 3 * torch.rand(b, generator=g, dtype=F64),
        100 * torch.randn(b, 2, generator=g, dtype=F64),
    )
    shear = affine.identity(b, like=a)
    shear[:, 0, 1] = torch.rand(b, generator=g, dtype=F64)
    return affine.compose(a, shear), 300 * torch.randn(b, 7, 2, generator=g, dtype=F64)


@given(st.integers(0, 2**31))
@settings(deadline=None, max_examples=50)
def test_axioms(seed):
    b_from_a, xy = maps(seed)
    c_from_b, _ = maps(seed + 1)
    there = affine.apply(b_from_a, xy)
    torch.testing.assert_close(affine.apply(affine.inverse(b_from_a), there), xy, atol=1e-8, rtol=0)
    both = affine.compose(c_from_b, b_from_a)
    torch.testing.assert_close(affine.apply(both, xy), affine.apply(c_from_b, there))
    torch.testing.assert_close(affine.scale_of(both), affine.scale_of(c_from_b) * affine.scale_of(b_from_a))
    one = affine.identity(3, like=xy)
    torch.testing.assert_close(affine.apply(one, xy), xy)
    torch.testing.assert_close(affine.compose(b_from_a, affine.inverse(b_from_a)), one, atol=1e-8, rtol=0)


def test_apply_is_the_matrix_product():
    m, xy = maps(0)
    wanted = np.einsum("bij,bkj->bki", m[:, :, :2].numpy(), xy.numpy()) + m[:, None, :, 2].numpy()
    np.testing.assert_allclose(affine.apply(m, xy).numpy(), wanted)


def test_similarity_turns_x_towards_y_then_shifts():
    m = affine.similarity(
        torch.tensor([math.pi / 2], dtype=F64),
        torch.tensor([2.0], dtype=F64),
        torch.tensor([[5.0, 7.0]], dtype=F64),
    )
    out = affine.apply(m, torch.tensor([[[1.0, 0.0], [0.0, 1.0]]], dtype=F64))
    torch.testing.assert_close(out, torch.tensor([[[5.0, 9.0], [3.0, 7.0]]], dtype=F64))
    assert affine.scale_of(m).item() == 2


def frames(centre, scale, angle):
    one = torch.ones(1, dtype=F64)
    return Frames(
        centre=torch.tensor([centre], dtype=F64), scale=scale * one, angle=angle * one, doubt=0 * one
    )


def test_an_upright_crop_of_the_size_of_its_box_is_a_shift():
    """A 100 x 60 crop whose short side is 60 source pixels: one pixel is one pixel."""
    m = affine.source_from_crop(frames([200.0, 100.0], 30.0, 0.0), (60, 100))
    torch.testing.assert_close(m, torch.tensor([[[1.0, 0, 150.5], [0, 1, 70.5]]], dtype=F64))


def test_the_whole_image_as_a_frame_is_the_identity_or_a_resize():
    whole = frames([(640 - 1) / 2, (480 - 1) / 2], 240.0, 0.0)
    torch.testing.assert_close(
        affine.source_from_crop(whole, (480, 640)), affine.identity(1, like=whole.centre)
    )
    half = affine.source_from_crop(whole, (240, 320))
    crop = coords.pixel_grid((240, 320), like=whole.centre).reshape(1, -1, 2)
    torch.testing.assert_close(affine.apply(half, crop), coords.xy_from_uv(crop, 2))


def test_the_crop_x_axis_points_along_the_angle():
    angle = 0.7
    m = affine.source_from_crop(frames([50.0, 60.0], 16.0, angle), (32, 32))
    middle = (32 - 1) / 2
    ends = torch.tensor([[[middle, middle], [middle + 16, middle]]], dtype=F64)
    out = affine.apply(m, ends)[0]
    torch.testing.assert_close(out[0], torch.tensor([50.0, 60.0], dtype=F64))
    wanted = torch.tensor([50 + 16 * math.cos(angle), 60 + 16 * math.sin(angle)], dtype=F64)
    torch.testing.assert_close(out[1], wanted)
    assert affine.scale_of(m).item() > 0  # and no reflection: the determinant
    assert torch.linalg.det(m[:, :, :2]).item() > 0


def test_affine_is_a_warp():
    m, xy = maps(3)
    warp = affine.Affine(b_from_a=m)
    assert isinstance(warp, Warp)
    torch.testing.assert_close(warp.inverse_points(warp.points(xy)), xy)
    torch.testing.assert_close(warp.jacobian(xy)[1, 2], m[1, :, :2])
    assert len(warp[0]) == 1


def test_autocast_leaves_coordinates_alone():
    m, xy = maps(4)
    m, xy = m.float(), xy.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = affine.apply(affine.compose(m, affine.inverse(m)), xy)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, xy, atol=1e-2, rtol=0)


def test_gradients():
    m, xy = (t.requires_grad_() for t in maps(5, b=2))
    for f in (affine.apply, lambda m, xy: affine.apply(affine.inverse(m), xy)):
        assert torch.autograd.gradcheck(f, (m, xy))
    assert torch.autograd.gradcheck(affine.compose, (m, m.detach().clone()))
    assert torch.autograd.gradcheck(affine.scale_of, (m,))
