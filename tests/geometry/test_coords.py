import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asterism.geometry import coords

finite = st.floats(-1e4, 1e4)


@given(x=finite, y=finite, stride=st.floats(0.25, 64))
@settings(deadline=None)
def test_cells_round_trip(x, y, stride):
    xy = torch.tensor([[x, y]], dtype=torch.float64)
    torch.testing.assert_close(
        coords.xy_from_uv(coords.uv_from_xy(xy, stride), stride), xy, atol=1e-9, rtol=0
    )


@given(x=finite, y=finite, h=st.integers(1, 5000), w=st.integers(1, 5000))
@settings(deadline=None)
def test_normalised_round_trip(x, y, h, w):
    xy = torch.tensor([x, y], dtype=torch.float64)
    back = coords.xy_from_xyn(coords.xyn_from_xy(xy, (h, w)), (h, w))
    torch.testing.assert_close(back, xy, atol=1e-9, rtol=0)


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 7])
def test_the_centre_of_a_cell_is_the_mean_of_its_pixels(stride):
    grid = coords.pixel_grid((stride * 3, stride * 5), like=torch.zeros((), dtype=torch.float64))
    mean = grid.unflatten(1, (5, stride)).unflatten(0, (3, stride)).mean((1, 3))  # 3 5 2
    cells = coords.pixel_grid((3, 5), like=mean)
    torch.testing.assert_close(coords.uv_from_xy(mean, stride), cells)
    torch.testing.assert_close(coords.xy_from_uv(cells, stride), mean)


def test_convention_normalised_coordinates_are_those_of_grid_sample():
    image = torch.rand(1, 1, 5, 8, dtype=torch.float64)
    grid = coords.xyn_from_xy(coords.pixel_grid((5, 8), like=image), (5, 8))
    out = torch.nn.functional.grid_sample(image, grid[None], align_corners=False)
    torch.testing.assert_close(out, image)


def test_edges_and_centre_of_the_image():
    like = torch.zeros((), dtype=torch.float64)
    edges = torch.tensor([[-0.5, -0.5], [639.5, 479.5]], dtype=torch.float64)
    assert coords.xyn_from_xy(edges, (480, 640)).tolist() == [[-1, -1], [1, 1]]
    assert coords.image_centre((480, 640), like=like).tolist() == [319.5, 239.5]
    assert coords.xyn_from_xy(coords.image_centre((3, 8), like=like), (3, 8)).abs().max() < 1e-12


def test_the_grid_is_x_then_y_and_follows_like():
    grid = coords.pixel_grid((2, 3), like=torch.zeros((), dtype=torch.float64))
    assert grid.dtype == torch.float64
    assert grid.tolist() == [[[0, 0], [1, 0], [2, 0]], [[0, 1], [1, 1], [2, 1]]]
