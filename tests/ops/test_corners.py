"""Corners and dots of drawn pictures, to half a pixel; the response turns with the picture."""

import pytest
import torch
from torch import Tensor

from asterism.geometry.coords import pixel_grid
from asterism.ops.corners import blur, corner_response, corners

F64 = torch.float64


def at_dots(xy: Tensor, size: tuple[int, int], sigma: float, colour=(0.8, 0.5, 0.1)) -> Tensor:
    grid = pixel_grid(size, like=xy)
    dots = (-(grid - xy[:, None, None]).square().sum(-1) / (2 * sigma**2)).exp().sum(0)
    return 0.1 + dots * torch.tensor(colour, dtype=xy.dtype)[None, :, None, None]


def checkerboard(h: int, w: int, side: int) -> tuple[Tensor, Tensor]:
    """Squares of `side` pixels, and where four of them meet: half a pixel between two centres."""
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    board = ((x // side + y // side) % 2).to(F64)
    at = [(u - 0.5, v - 0.5) for v in range(side, h, side) for u in range(side, w, side)]
    return board.expand(1, 3, h, w), torch.tensor(at, dtype=F64)


def furthest(wanted: Tensor, found: Tensor) -> float:
    return float(torch.cdist(wanted, found).amin(1).max())


def test_corners_of_a_checkerboard():
    image, wanted = checkerboard(60, 72, 12)
    xy, value, valid = corners(image, most=100, radius=3, quality=0.5, border=4)
    found = xy[valid]
    assert len(found) == len(wanted) == 20
    assert furthest(wanted, found) < 0.5
    assert (value[valid] > 0.5).all() and float(value.max()) == 1


@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_dots(sigma):
    wanted = torch.tensor([[12.3, 9.8], [30.0, 25.5], [50.6, 12.1], [41.2, 44.9], [9.0, 40.4]], dtype=F64)
    xy, _, valid = corners(at_dots(wanted, (56, 64), sigma), most=16, radius=3, quality=0.5)
    assert int(valid.sum()) == 5
    assert furthest(wanted, xy[valid]) < 0.5


def test_two_colours_of_one_brightness_have_a_corner():
    wanted = torch.tensor([[20.0, 14.0]], dtype=F64)
    xy, _, valid = corners(at_dots(wanted, (32, 40), 1.5, (0.4, -0.4, 0.0)), most=4, radius=3, quality=0.5)
    assert int(valid.sum()) == 1 and furthest(wanted, xy[valid]) < 0.5


def test_the_response_turns_with_the_picture():
    image = torch.rand(2, 3, 24, 31, generator=torch.Generator().manual_seed(0), dtype=F64)
    for turns in (1, 2, 3):
        turned = corner_response(image.rot90(turns, (2, 3)))
        torch.testing.assert_close(turned, corner_response(image).rot90(turns, (2, 3)), atol=1e-12, rtol=1e-9)
    torch.testing.assert_close(corner_response(image.flip(-1)), corner_response(image).flip(-1))


def test_an_edge_and_an_empty_picture_have_no_corner():
    image = torch.zeros(2, 3, 20, 20)
    image[0, :, :, 10:] = 1
    assert corner_response(image).abs().max() < 1e-7
    _, _, valid = corners(torch.full((1, 3, 20, 20), 0.7), most=4, radius=2)
    assert not valid.any()


def test_strength_of_contrast_does_not_matter_and_weight_does():
    wanted = torch.tensor([[10.0, 10.0], [30.0, 20.0]], dtype=F64)
    image = at_dots(wanted, (32, 40), 1.5)
    strong, weak = (corners(i, most=4, radius=3, quality=0.5) for i in (image, 0.5 + 0.01 * image))
    assert torch.equal(strong[2], weak[2])
    torch.testing.assert_close(strong[0], weak[0], atol=1e-6, rtol=0)
    weight = torch.zeros(1, 1, 32, 40, dtype=F64)
    weight[..., 20:] = 1
    xy, _, valid = corners(image, most=4, radius=3, quality=0.5, weight=weight)
    assert int(valid.sum()) == 1 and furthest(wanted[1:], xy[valid]) < 0.5


def test_no_two_are_near_and_none_is_on_the_border():
    image = torch.rand(3, 3, 40, 48, generator=torch.Generator().manual_seed(1))
    xy, _, valid = corners(image, most=50, radius=3, quality=0.0, border=5)
    for points, real in zip(xy, valid):
        apart = (points[real][:, None] - points[real]).abs().amax(-1)
        apart.fill_diagonal_(99)
        assert apart.min() > 2  # cells more than 3 apart, each moved by half at most
    assert (xy[valid] > 4).all() and (xy[valid] < torch.tensor([43.0, 35.0])).all()


def test_blur_keeps_the_mean_and_widens():
    image = torch.zeros(1, 2, 31, 31, dtype=F64)
    image[..., 15, 15] = 1
    smooth = blur(image, 2.0)
    grid = pixel_grid((31, 31), like=image)
    torch.testing.assert_close(smooth.sum((2, 3)), torch.ones(1, 2, dtype=F64))
    spread = (smooth[0, 0, ..., None] * (grid - 15).square()).sum((0, 1))
    torch.testing.assert_close(spread, torch.full((2,), 4.0, dtype=F64), atol=0.15, rtol=0)
