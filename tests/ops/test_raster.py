import math

import torch

from asterism.ops.heatmap import gaussian_maps
from asterism.ops.raster import ellipses, gaussian_scales, moved_ellipses

SIZE, STRIDE = (20, 28), 2
XY = torch.tensor([[[21.0, 17.5], [33.25, 9.0]]])


def test_every_scale_is_the_gaussian_of_that_width():
    maps = gaussian_scales(XY, SIZE, STRIDE, (1.0, math.sqrt(2), 4.0))
    assert maps.shape == (1, 2, 3, *SIZE)
    for i, sigma in enumerate((1.0, math.sqrt(2), 4.0)):
        torch.testing.assert_close(maps[:, :, i], gaussian_maps(XY, SIZE, STRIDE, sigma))


def test_a_round_ellipse_is_the_gaussian():
    sigma = 3.0  # cells
    cov = torch.eye(2) * (sigma**2 - 0.1) * STRIDE**2
    torch.testing.assert_close(
        ellipses(XY, cov.expand(1, 2, 2, 2), SIZE, STRIDE), gaussian_maps(XY, SIZE, STRIDE, sigma)
    )


def test_a_long_ellipse_falls_slowly_along_its_axis():
    cov = torch.diag(torch.tensor([64.0, 4.0])).expand(1, 2, 2, 2)
    here = ellipses(torch.tensor([[[21.0, 19.0]] * 2]), cov, SIZE, 1)[0, 0]
    torch.testing.assert_close(here[19, 27], torch.tensor(math.exp(-36 / (2 * 64.1))))
    torch.testing.assert_close(here[15, 21], torch.tensor(math.exp(-16 / (2 * 4.1))))


def test_a_part_that_is_moved_is_drawn_where_the_map_takes_it():
    cov = torch.diag(torch.tensor([30.0, 3.0])).expand(1, 2, 2, 2)
    quarter = torch.tensor([[0.0, -1.0, 40.0], [1.0, 0.0, 2.0]]).expand(1, 2, 2, 3)
    xy, turned = moved_ellipses(XY, cov, quarter)
    torch.testing.assert_close(xy[0, 0], torch.tensor([40 - 17.5, 2 + 21.0]))
    torch.testing.assert_close(turned[0, 0], torch.diag(torch.tensor([3.0, 30.0])))
    maps = ellipses(xy, turned, (40, 40), 1)
    peak = maps[0, 0].flatten().argmax()
    assert abs(float(peak % 40) - 22.5) <= 0.5 and float(peak // 40) == 23


def test_a_line_has_a_gradient_too():
    cov = torch.diag(torch.tensor([9.0, 0.0])).expand(1, 2, 2, 2).clone().requires_grad_()
    ellipses(XY, cov, SIZE, STRIDE).sum().backward()
    assert cov.grad is not None and cov.grad.isfinite().all()
