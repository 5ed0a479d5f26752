"""Coverage and inclusivity by hand, their gradients, and padding."""

import pytest
import torch

from asterism.losses.clouds import coverage, inclusivity


def rows(*xyz):
    return torch.tensor([xyz], dtype=torch.float64)


def test_coverage_is_the_smooth_difference_of_the_boxes_sides():
    cloud = rows((0, 0, 0), (4, 1, 0), (2, 0.5, 2))  # a box of 4, 1 and 2
    points = rows((1, 0, 5), (1, 0.6, 5))  # of 0, .6 and 0, elsewhere
    assert float(coverage(points, cloud)[0]) == pytest.approx((3.5 + 0.4**2 / 2 + 1.5) / 3)
    assert float(coverage(cloud + 7, cloud)[0]) == 0


def test_inclusivity_looks_from_the_keypoints_alone():
    cloud = rows((0, 0, 0), (9, 0, 0), (50, 0, 0))
    points = rows((0, 3, 0), (9, 0, 4))
    assert float(inclusivity(points, cloud)[0]) == pytest.approx((9 + 16) / 2)
    assert float(inclusivity(cloud[:, :1], cloud)[0]) == 0  # nobody asks for the rest of the cloud


@pytest.mark.parametrize("loss", [coverage, inclusivity])
def test_gradients_are_those_of_differences(loss):
    g = torch.Generator().manual_seed(1)
    points, cloud = (torch.rand(2, n, 3, generator=g, dtype=torch.float64) for n in (4, 9))
    assert torch.autograd.gradcheck(lambda p: loss(p, 2 * cloud), points.requires_grad_())


@pytest.mark.parametrize("loss", [coverage, inclusivity])
def test_rows_that_are_not_valid_have_no_part(loss):
    g = torch.Generator().manual_seed(2)
    points, cloud = (torch.rand(2, n, 3, generator=g, dtype=torch.float64) for n in (4, 9))
    padded = torch.cat([torch.full((2, 3, 3), torch.nan, dtype=torch.float64), cloud], dim=1)
    valid = torch.arange(12).expand(2, 12) >= 3
    torch.testing.assert_close(
        loss(points, padded.masked_fill(~valid[..., None], 50), valid), loss(points, cloud)
    )
    torch.testing.assert_close(loss(points, padded, valid), loss(points, cloud))
