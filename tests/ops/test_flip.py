import pytest
import torch

from asterism.ops.flip import mirrored, mirrored_back
from asterism.ops.heatmap import Dark, Gaussian, QuarterOffset, Rounded, SoftArgmax, Udp

SWAP = (0, 2, 1)


def seen_in_a_mirror(xy, width):
    """Where a perfect network finds the points of a mirrored picture: right is left."""
    other = xy.clone()
    other[..., 0] = width - 1 - xy[..., 0]
    return other[:, list(SWAP)]


@pytest.mark.parametrize("codec", [Gaussian, QuarterOffset, Dark, Udp, SoftArgmax])
@pytest.mark.parametrize("stride", [2, 4, 8])
def test_maps_of_a_perfect_network_in_a_mirror_fit_without_a_shift(codec, stride):
    codec, size = codec(stride, 2.0), (12, 16)
    g = torch.Generator().manual_seed(0)
    xy = torch.rand(20, 3, 2, generator=g, dtype=torch.float64) * 12 * stride
    other = codec.encode(seen_in_a_mirror(xy, 16 * stride), size)
    torch.testing.assert_close(mirrored_back(other, SWAP, codec.mirror_shift), codec.encode(xy, size))
    assert codec.mirror_shift == 0


@pytest.mark.parametrize("stride", [2, 4, 8])
def test_maps_of_rounded_points_lie_one_cell_off_at_every_whole_pixel(stride):
    codec, size = Rounded(stride, 1.0), (4, 24)
    xy = torch.zeros(16 * stride, 3, 2)
    xy[..., 0] = 4 * stride + torch.arange(16.0 * stride)[:, None]
    other = codec.encode(seen_in_a_mirror(xy, 24 * stride), size)
    want = codec.encode(xy, size)
    assert codec.mirror_shift == 1
    back = mirrored_back(other, SWAP, codec.mirror_shift)
    torch.testing.assert_close(back[..., 1:], want[..., 1:])
    unshifted = mirrored_back(other, SWAP)
    torch.testing.assert_close(unshifted[..., :-1], want[..., 1:])


def test_mirroring_twice_changes_nothing_and_the_free_column_is_kept():
    maps = torch.rand(2, 3, 4, 5)
    assert torch.equal(mirrored_back(mirrored_back(maps, SWAP), SWAP), maps)
    row = torch.arange(5.0).expand(1, 1, 1, 5)
    assert mirrored_back(row, (0,), 1).flatten().tolist() == [4, 4, 3, 2, 1]
    assert mirrored(row).flatten().tolist() == [4, 3, 2, 1, 0]


def test_a_swap_of_other_points_is_refused():
    with pytest.raises(ValueError, match="one index for each of 3"):
        mirrored_back(torch.zeros(1, 3, 2, 2), (0, 1))
