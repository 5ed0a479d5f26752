import math
import time

import pytest
import torch
from torch import Tensor

from asterism.geometry import affine
from asterism.geometry.affine import Affine
from asterism.geometry.coords import pixel_grid
from asterism.ops.sampling import crop, sample, valid_pixels, warp_image
from asterism.types import Frames

F64 = torch.float64


def ramp(h: int, w: int, dtype=torch.float32) -> Tensor:
    """An image whose two channels are its own x and y: sampling it must give the coordinates back."""
    return pixel_grid((h, w), like=torch.zeros((), dtype=dtype)).permute(2, 0, 1)[None].contiguous()


def frames(centre, scale, angle=0.0) -> Frames:
    return Frames(
        centre=torch.tensor([centre], dtype=torch.float32),
        scale=torch.tensor([float(scale)]),
        angle=torch.tensor([float(angle)]),
        doubt=torch.zeros(1),
    )


@pytest.mark.parametrize("h, w", [(1, 1), (5, 9), (480, 640)])
def test_crop_at_the_identity_gives_the_image_back(h, w):
    image = torch.rand(2, 3, h, w, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(crop(image, affine.identity(2, like=image), (h, w)), image, atol=1e-4, rtol=0)


@pytest.mark.parametrize("scale", [10.0, 31.0, 64.0, 100.0, 140.0])
@pytest.mark.parametrize("angle", [0.0, 0.7, -2.5])
def test_crop_reads_the_pixels_the_affine_names(scale, angle):
    image = ramp(600, 640)
    source_from_crop = affine.source_from_crop(frames((310.3, 291.6), scale, angle), (33, 40))
    out = crop(image, source_from_crop, (33, 40))
    grid = pixel_grid((33, 40), like=image).flatten(0, 1)[None]
    want = affine.apply(source_from_crop, grid).unflatten(1, (33, 40)).permute(0, 3, 1, 2)
    torch.testing.assert_close(out, want, atol=2e-3, rtol=0)


def test_crop_is_zero_outside_the_image_and_finite_far_away():
    image = torch.ones(1, 1, 20, 20)
    out = crop(image, affine.source_from_crop(frames((0.0, 0.0), 8), (16, 16)), (16, 16))
    assert out[0, 0, :7].abs().max() == 0 and out[0, 0, :, :7].abs().max() == 0
    torch.testing.assert_close(out[0, 0, 9:, 9:], torch.ones(7, 7))
    for scale in (4.0, 400.0):
        far = crop(image, affine.source_from_crop(frames((9e4, -9e4), scale), (16, 16)), (16, 16))
        assert far.abs().max() == 0


def test_crop_averages_what_is_finer_than_its_pixels():
    board = ((pixel_grid((240, 240), like=torch.zeros(())).sum(-1)) % 2)[None, None]
    for angle in (0.0, 0.4):
        out = crop(board, affine.source_from_crop(frames((119.5, 119.5), 80, angle), (20, 20)), (20, 20))
        assert (out - 0.5).abs().max() < 0.02
    point = torch.zeros(1, 1, 240, 240)
    point[0, 0, 101, 133] = 1.0  # no pixel of the source may be skipped: the mass of a dot is kept on average
    out = crop(point, affine.source_from_crop(frames((119.5, 119.5), 120), (30, 30)), (30, 30))
    assert out.sum() * 64 == pytest.approx(1.0, abs=1e-5)


def test_crop_of_a_mixed_batch_is_the_crops_one_by_one():
    image = torch.rand(4, 3, 90, 70, generator=torch.Generator().manual_seed(1))
    looks = [affine.source_from_crop(frames((30, 40 + s), s, s), (16, 24)) for s in (5.0, 60.0, 9.0, 33.0)]
    together = crop(image, torch.cat(looks), (16, 24))
    for i, look in enumerate(looks):
        torch.testing.assert_close(
            together[i : i + 1], crop(image[i : i + 1], look, (16, 24)), atol=2e-4, rtol=0
        )


def test_crop_is_differentiable():
    image = torch.rand(
        2, 1, 12, 12, dtype=F64, generator=torch.Generator().manual_seed(2), requires_grad=True
    )
    look = torch.tensor(
        [[[1.1, 0.21, 1.37], [-0.23, 1.13, 2.27]], [[2.17, 0.03, 0.37], [0.13, 2.23, 0.77]]], dtype=F64
    )
    look.requires_grad_()
    assert torch.autograd.gradcheck(lambda i, a: crop(i, a, (2, 3)), (image, look))


def test_sample_reads_pixels_at_whole_numbers_and_is_linear_between():
    image = ramp(9, 7, F64)
    xy = torch.tensor([[[0, 0], [6, 8], [2.25, 3.75], [5.5, 0.1]]], dtype=F64)
    torch.testing.assert_close(sample(image, xy), xy, atol=1e-12, rtol=0)
    assert sample(image, torch.full((1, 1, 2), 100.0, dtype=F64)).abs().max() == 0
    xy = xy[:, 2:].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda i, p: sample(i, p), (image.requires_grad_(), xy))


def test_warp_image_moves_a_dot_where_points_says():
    turn = affine.similarity(torch.tensor([0.5]), torch.tensor([1.1]), torch.tensor([[14.0, -6.0]]))
    warp = Affine(b_from_a=turn)
    xy = torch.tensor([[[30.0, 25.0]]])
    blob = torch.exp(-(pixel_grid((64, 64), like=xy) - xy[0, 0]).square().sum(-1) / 18)[None, None]
    out = warp_image(blob, warp)[0, 0]
    grid = pixel_grid((64, 64), like=xy)
    centroid = (out[..., None] * grid).sum((0, 1)) / out.sum()
    torch.testing.assert_close(centroid, warp.points(xy)[0, 0], atol=0.02, rtol=0)


def test_valid_pixels_are_those_that_show_the_image():
    shift = Affine(b_from_a=torch.tensor([[[1.0, 0.0, 3.0], [0.0, 1.0, -2.0]]]))
    image = torch.rand(1, 1, 8, 10, generator=torch.Generator().manual_seed(3))
    valid = valid_pixels(shift, (8, 10), like=image)
    want = torch.zeros(1, 8, 10, dtype=torch.bool)
    want[:, :6, 3:] = True
    assert torch.equal(valid, want)
    moved = warp_image(image, shift)
    torch.testing.assert_close(moved[0, 0, :6, 3:], image[0, 0, 2:, :7], atol=1e-5, rtol=0)
    torch.testing.assert_close(moved[0, 0, :6, 0], image[0, 0, 2:, 0], atol=1e-5, rtol=0)


def test_crop_is_fast_enough_for_a_loader():
    image = torch.rand(1, 3, 480, 640)
    look = affine.source_from_crop(frames((320, 240), 230, math.pi / 5), (128, 128))
    times = []
    for _ in range(10):
        start = time.perf_counter()
        crop(image, look, (128, 128))
        times.append(time.perf_counter() - start)
    assert min(times) < 0.02  # some 2 ms on a quiet core; generous, for busy machines
