import math

import numpy as np
import pytest
import torch

from asterism.data.crops import cut
from asterism.errors import RequestError
from asterism.geometry import affine
from asterism.geometry.coords import pixel_grid, xy_from_uv
from asterism.ops import heatmap
from asterism.ops.heatmap import (
    Dark,
    Gaussian,
    QuarterOffset,
    Rounded,
    SoftArgmax,
    Udp,
    codec_named,
    gaussian_maps,
    soft_argmax,
)
from asterism.types import Frames

F64 = torch.float64
CODECS = [Gaussian, QuarterOffset, Dark, Udp, SoftArgmax, Rounded]


def points(b, k, size, stride, margin=0.0):
    """Uniform points on the image of a map, `margin` cells away from its border."""
    g = torch.Generator().manual_seed(b + k)
    h, w = size
    uv = margin + torch.rand(b, k, 2, generator=g) * (torch.tensor([w - 1.0, h - 1.0]) - 2 * margin)
    return xy_from_uv(uv, stride)


def errors(codec, xy, size):
    decoded = codec.decode(codec.encode(xy, size), affine.identity(len(xy), like=xy))
    return decoded.xy - xy


@pytest.mark.parametrize("codec", [Dark, Udp])
@pytest.mark.parametrize("stride", [2, 4, 8])
@pytest.mark.parametrize("size", [(64, 48), (33, 27), (13, 11)])
@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_round_trip_on_the_whole_map(codec, stride, size, sigma):
    error = errors(codec(stride, sigma), points(40, 25, size, stride), size).norm(dim=-1)
    assert error.mean() < 0.01 and error.max() < 0.05


@pytest.mark.parametrize("stride", [2, 4, 8])
@pytest.mark.parametrize("size", [(64, 48), (33, 27)])
def test_round_trip_of_the_mean_away_from_the_border(stride, size):
    error = errors(SoftArgmax(stride, 2.0), points(40, 25, size, stride, margin=7.0), size).norm(dim=-1)
    assert error.mean() < 0.01 and error.max() < 0.05


@pytest.mark.parametrize(
    "codec, mean, most",  # of a point uniform in a cell: sides 4 and 2, and the reach of one cell
    [(Gaussian, 0.3826 * 4, math.sqrt(8)), (QuarterOffset, 0.3826 * 2, math.sqrt(2))],
)
def test_quantisation_is_that_of_a_square(codec, mean, most):
    error = errors(codec(4, 2.0), points(40, 50, (64, 48), 4, margin=1.0), (64, 48))
    assert error.norm(dim=-1).mean() == pytest.approx(mean, rel=0.05)
    assert error.norm(dim=-1).max() < most + 0.01
    assert error.mean((0, 1)).abs().max() < 0.1  # no bias


def test_decode_goes_to_the_source():
    turn = affine.similarity(torch.tensor([0.6]), torch.tensor([2.5]), torch.tensor([[100.0, -20.0]]))
    xy = points(1, 9, (32, 32), 4, margin=8.0)
    for codec in (Dark(4, 2.0), SoftArgmax(4, 2.0), Udp(4, 2.0)):
        found = codec.decode(codec.encode(xy, (32, 32)), turn)
        torch.testing.assert_close(found.xy, affine.apply(turn, xy), atol=0.02, rtol=0)
    assert found.maps is not None and found.maps.shape == (1, 9, 32, 32)


def test_a_gaussian_is_one_at_its_point_and_falls_as_the_formula():
    maps = gaussian_maps(xy_from_uv(torch.tensor([[[5.0, 3.0]]]), 4), (9, 11), 4, 2.0)
    assert maps[0, 0, 3, 5] == 1
    assert maps[0, 0, 3 + 2, 5 - 1].item() == pytest.approx(math.exp(-5 / 8))
    assert maps.flatten().argmax() == 3 * 11 + 5


def test_soft_argmax_gives_the_covariance_of_the_blob():
    codec = SoftArgmax(4, 1.5, beta=3.0)
    xy = points(2, 3, (40, 40), 4, margin=12.0).double()
    mean, cov, prob = soft_argmax(codec.encode(xy, (40, 40)), 3.0, 4)
    torch.testing.assert_close(mean, xy, atol=1e-6, rtol=0)
    torch.testing.assert_close(prob.sum((-1, -2)), torch.ones(2, 3, dtype=F64))
    want = torch.eye(2, dtype=F64).expand(2, 3, 2, 2) * (1.5 * 4) ** 2
    torch.testing.assert_close(cov, want, atol=1e-3, rtol=0)
    found = codec.decode(codec.encode(xy, (40, 40)), 2 * affine.identity(2, like=xy))
    torch.testing.assert_close(found.cov, 4 * want, atol=1e-2, rtol=0)
    assert found.score.min() > 0.85  # 1 but for where in its cell the point lies


def test_soft_argmax_covariance_of_a_two_cell_map():
    logits = torch.full((1, 1, 5, 5), -1e4, dtype=F64)
    logits[0, 0, 1, 1] = logits[0, 0, 3, 2] = 0.0
    mean, cov, _ = soft_argmax(logits, 1.0, 1)
    torch.testing.assert_close(mean[0, 0], torch.tensor([1.5, 2.0], dtype=F64))
    torch.testing.assert_close(cov[0, 0], torch.tensor([[0.25, 0.5], [0.5, 1.0]], dtype=F64))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("size", [(1, 1), (2, 5), (7, 7)])
def test_any_map_gives_finite_points_and_scores_in_the_unit_interval(codec, size):
    g = torch.Generator().manual_seed(0)
    maps = [
        torch.zeros(1, 3, *size),
        torch.full((1, 3, *size), -7.0),
        50 * torch.randn(1, 3, *size, generator=g),
    ]
    for m in maps:
        found = codec(4, 2.0).decode(m, affine.identity(1, like=m))
        assert found.xy.isfinite().all()
        assert ((found.score >= 0) & (found.score <= 1)).all()
    assert Dark(4, 2.0).decode(maps[0], affine.identity(1, like=maps[0])).score.max() == 0


@pytest.mark.parametrize("codec", [Dark, Udp, QuarterOffset])
def test_noise_moves_a_point_no_further_than_half_a_cell_from_the_highest(codec):
    maps = torch.rand(8, 16, 20, 20, generator=torch.Generator().manual_seed(4))
    away = codec(4, 2.0).locate(maps) - Gaussian(4, 2.0).locate(maps)
    assert away.abs().max() <= 0.5 and away.abs().max() > 0.2


def test_smoothing_beats_the_highest_cell_under_noise():
    xy = points(20, 20, (48, 48), 4, margin=6.0)
    noise = 0.1 * torch.randn(20, 20, 48, 48, generator=torch.Generator().manual_seed(5))
    means = []
    for codec in (Gaussian(4, 2.0), Dark(4, 2.0)):
        found = codec.decode(codec.encode(xy, (48, 48)) + noise, affine.identity(20, like=xy))
        means.append((found.xy - xy).norm(dim=-1).mean())
    assert means[1] < 0.85 * means[0]


def test_udp_places_the_outer_cells_on_the_outer_pixels():
    codec = Udp(4, 2.0)
    corners = torch.tensor([[[0.0, 0.0], [63.0, 0.0], [0.0, 47.0], [63.0, 47.0]]])
    maps = codec.encode(corners, (12, 16))
    assert maps[0, :, [0, 0, 11, 11], [0, 15, 0, 15]].diagonal().tolist() == [1.0] * 4


def test_gradients():
    logits = torch.randn(2, 2, 5, 4, dtype=F64, generator=torch.Generator().manual_seed(6)).requires_grad_()
    assert torch.autograd.gradcheck(lambda l: soft_argmax(l, 0.7, 4), (logits,))
    xy = points(2, 2, (5, 4), 4).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda p: gaussian_maps(p, (5, 4), 4, 1.5), (xy,))


@pytest.mark.parametrize("codec", [Dark, Udp, SoftArgmax])
@pytest.mark.parametrize("scale, angle", [(48.0, 0.0), (70.0, 0.6), (96.0, -2.0)])
def test_what_is_seen_in_a_crop_comes_back_to_the_source(codec, scale, angle):
    """A dot in a picture; a perfect network sees its centre of mass in the crop's own pixels."""
    truth = torch.tensor([103.3, 88.7], dtype=F64)
    grid = pixel_grid((180, 200), like=truth)
    dot = (-(grid - truth).square().sum(-1) / (2 * 5.0**2)).exp()
    picture = (255 * dot).round().to(torch.uint8)[..., None].expand(180, 200, 3).numpy()
    frames = Frames(
        centre=torch.tensor([[95.0, 80.5]], dtype=F64),
        scale=torch.tensor([scale], dtype=F64),
        angle=torch.tensor([angle], dtype=F64),
        doubt=torch.zeros(1, dtype=F64),
    )
    size = (128, 96)
    batch = cut(np.ascontiguousarray(picture), affine.source_from_crop(frames, size), size)
    seen = batch.image[:, :1].double()  # 1 1 H W
    mass = seen[..., None] * pixel_grid(size, like=truth)
    xy = mass.sum((2, 3)) / seen.sum((2, 3))[..., None]  # 1 1 2
    codec = codec(4, 2.0)
    found = codec.decode(codec.encode(xy.float(), (32, 24)), batch.to_source)
    assert (found.xy[0, 0] - truth).norm() < 0.05


def test_rounded_targets_lie_on_the_nearest_cell_and_are_read_by_the_stride():
    codec = Rounded(4, 2.0)
    xy = torch.tensor([[[21.9, 14.0], [22.0, 13.9], [20.0, 12.0]]])
    maps = codec.encode(xy, (8, 10))
    tops = [divmod(int(m.argmax()), 10)[::-1] for m in maps[0]]
    assert tops == [(5, 4), (6, 3), (5, 3)]
    found = codec.decode(maps, affine.identity(1, like=maps))
    torch.testing.assert_close(found.xy[0], torch.tensor([[20.0, 16.0], [24.0, 12.0], [20.0, 12.0]]))


def test_codecs_are_named_and_others_refused():
    assert codec_named("udp", 4, 1.5) == Udp(4, 1.5)
    assert {codec_named(name, 4, 2) for name in heatmap.CODECS} == {codec(4, 2) for codec in CODECS}
    with pytest.raises(RequestError, match="codec: 'Dark' is unknown; wanted one of argmax, quarter-offset"):
        codec_named("Dark", 4, 2)
