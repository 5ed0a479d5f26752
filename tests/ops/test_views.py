import math

import pytest
import torch

from asterism.geometry import affine
from asterism.geometry.coords import image_centre, pixel_grid
from asterism.ops import views
from asterism.ops.sampling import crop

SIZE = (24, 40)


def blobs(xy, sigma=2.0):
    grid = pixel_grid(SIZE, like=xy)
    return (-(grid - xy[:, None, None]).square().sum(-1) / (2 * sigma**2)).exp()[:, None]


def centre_of(image):
    grid = pixel_grid(SIZE, like=image)
    return torch.einsum("bhw,hwc->bc", image[:, 0], grid) / image[:, 0].sum((1, 2))[:, None]


def drawn(**given):
    torch.manual_seed(0)
    fields = {"rotation": 0.0, "scale": 0.0, "shift": 0.0, **given}
    return views.random_similarity(400, SIZE, **fields, like=torch.zeros(()))


def test_no_range_is_the_identity():
    torch.testing.assert_close(drawn(), affine.identity(400, like=torch.zeros(())))


def test_turns_and_scalings_leave_the_middle_where_it_is():
    middle = image_centre(SIZE, like=torch.zeros(())).expand(400, 1, 2)
    torch.testing.assert_close(affine.apply(drawn(rotation=180, scale=0.3), middle), middle)


def test_ranges_are_reached_and_kept():
    turned, scaled, shifted = drawn(rotation=20), drawn(scale=0.2), drawn(shift=0.25)
    angle = torch.atan2(turned[:, 1, 0], turned[:, 0, 0]) * 180 / math.pi
    assert 19 < angle.max() <= 20.001 and -20.001 <= angle.min() < -19
    torch.testing.assert_close(affine.scale_of(turned), torch.ones(400))
    assert 1.19 < scaled[:, 0, 0].max() <= 1.2 and 0.8 <= scaled[:, 0, 0].min() < 0.81
    assert 5.9 < shifted[..., 2].max() <= 6 and -6 <= shifted[..., 2].min() < -5.9  # of 24, along each axis


def test_both_frames_are_cut_out_alike():
    first = blobs(torch.tensor([[15.0, 10.0], [20.0, 12.0]]))
    second = torch.cat([first.flip(0), first], 1)
    view = views.random_similarity(2, SIZE, rotation=30, scale=0.2, shift=0.1, like=first)
    a, b = views.seen_alike(first, second, view)
    assert torch.equal(a, crop(first, view, SIZE)) and torch.equal(b, crop(second, view, SIZE))
    there = affine.apply(affine.inverse(view), torch.tensor([[[15.0, 10.0]], [[20.0, 12.0]]]))[:, 0]
    assert (centre_of(a) - there).abs().max() < 0.1


def test_two_frames_differ_and_every_ordered_pair_comes():
    frames = torch.arange(3.0)[None, :, None, None, None].expand(300, 3, 1, 1, 1)
    first, second = (x.flatten() for x in views.two_frames(frames))
    pairs = {(int(a), int(b)) for a, b in zip(first, second)}
    assert pairs == {(a, b) for a in range(3) for b in range(3) if a != b}
    own = torch.rand(5, 2, 1, 2, 2)
    a, b = views.two_frames(own)
    torch.testing.assert_close(a + b, own.sum(1))  # of the same clip
    with pytest.raises(ValueError, match="one frame"):
        views.two_frames(frames[:, :1])


def test_a_bend_of_nothing_is_the_identity_and_others_are_not():
    like, xy = torch.zeros(3, 1, *SIZE), torch.rand(3, 5, 2) * 20
    none = views.Bend(displacement=0.0, rotation=0.0, scale=0.0, shift=0.0)
    torch.testing.assert_close(views.random_spline(none, like).points(xy), xy, atol=1e-3, rtol=0)
    moved = views.random_spline(views.Bend(), like).points(xy) - xy
    assert moved.norm(dim=-1).amin(1).max() > 0.1
    turned = views.random_spline(views.Bend(displacement=0.0, rotation=15.0, scale=0.0, shift=0.0), like)
    angle = torch.atan2(turned.b_from_a[:, 1, 0], turned.b_from_a[:, 0, 0])
    assert angle.abs().max() <= 15.001 * math.pi / 180 and angle.abs().min() > 0
