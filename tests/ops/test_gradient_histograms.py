"""A ramp points where it rises, its descriptor has one direction, and turned pictures have the same ones."""

import math

import pytest
import torch

from asterism.geometry.coords import pixel_grid
from asterism.ops.gradient_histograms import CELLS, DIRECTIONS, described, gradients, with_angles

PLACE = torch.tensor([[30.0, 30.0, 2.0]])
FIRST = torch.zeros(1, dtype=torch.long)


def ramp(angle):
    way = torch.tensor([math.cos(angle), math.sin(angle)])
    return (pixel_grid((61, 61), like=way) @ way)[None] / 61


@pytest.mark.parametrize("angle", [0.0, 0.7, 2.5, -1.9])
def test_a_ramp_points_where_it_rises(angle):
    places, level = with_angles(gradients(ramp(angle)), PLACE, FIRST)
    assert places.shape == (1, 4) and level.tolist() == [0]
    assert math.cos(float(places[0, 3]) - angle) > 0.999


def test_the_descriptor_of_a_ramp_has_one_direction_and_that_of_nothing_none():
    told = described(gradients(ramp(math.pi / 2)), torch.nn.functional.pad(PLACE, (0, 1)), FIRST)
    by_direction = told.unflatten(1, (CELLS**2, DIRECTIONS)).square().sum(1)[0]
    assert by_direction[2] > 0.999  # of eight, the third is a quarter turn
    assert torch.linalg.vector_norm(told).item() == pytest.approx(1, abs=1e-5)
    assert not described(
        gradients(torch.ones(1, 61, 61)), torch.nn.functional.pad(PLACE, (0, 1)), FIRST
    ).any()
    assert described(gradients(ramp(0.0)), torch.zeros(0, 4), FIRST[:0]).shape == (0, 128)


def test_a_turned_picture_has_the_same_descriptors_and_an_upright_one_has_not():
    picture = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    picture = torch.nn.functional.interpolate(picture, (61, 61), mode="bicubic")[0]
    both = [gradients(p) for p in (picture, picture.rot90(1, (1, 2)))]  # the middle stays
    turned = [described(s, *with_angles(s, PLACE, FIRST, 1.0)) for s in both]
    torch.testing.assert_close(*turned, atol=0.02, rtol=0)
    upright = [described(s, torch.nn.functional.pad(PLACE, (0, 1)), FIRST) for s in both]
    assert (upright[0] * upright[1]).sum() < 0.9
