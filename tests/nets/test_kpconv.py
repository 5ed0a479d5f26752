"""Kernel point convolutions by hand, and what they must not depend on."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from asterism.nets.kpconv import Around, KPConv, influence, kernel_points
from asterism.nets.kpconv_pyramid import Reach, pyramid
from asterism.nets.kpconv_unet import KPConvUNet
from asterism.ops.cloud_sampling import grid_subsample

PLAIN = Reach(levels=3, radius=2.5, extent=1.2, neighbours=40, normal=0)
ROUND = Reach(levels=1, radius=2.5, extent=1.2, neighbours=40, normal=12)
KERNEL = kernel_points(15)


def bumpy(n=600, seed=0):
    dice = np.random.default_rng(seed)
    xy = dice.uniform(-1, 1, (n, 2))
    z = 0.5 * np.sin(3 * xy[:, 0] + xy[:, 1]) + 0.3 * xy[:, 1] ** 2
    return grid_subsample(np.column_stack([xy, z]), 0.12)


def unet(levels=3, seed=0):
    torch.manual_seed(seed)
    return KPConvUNet(15, 8, levels, 5).eval()


def test_kernel_points_are_a_shell_around_one_in_the_middle():
    outer = KERNEL[1:]
    assert KERNEL.shape == (15, 3) and (KERNEL[0] == 0).all()
    far = np.linalg.norm(outer, axis=1)
    assert far.mean() == pytest.approx(1) and far.std() < 0.03
    gap = np.linalg.norm(outer[:, None] - outer, axis=-1) + 9 * np.eye(14)
    assert gap.min() > 0.8 and abs(outer.mean(0)).max() < 0.02
    assert np.array_equal(KERNEL, kernel_points(15))


def test_two_kernel_points_stand_where_the_forces_are_equal():
    # 1 / r + r^2 is least where 2 r^3 = 1; scaled to 1. Three are on a line through the middle.
    assert np.linalg.norm(kernel_points(2)[1]) == pytest.approx(1)
    one, two = kernel_points(3)[1:]
    assert one @ two == pytest.approx(-1, abs=1e-5)


def test_fewer_kernel_points_than_two_are_refused():
    with pytest.raises(ValueError, match="at least 2"):
        kernel_points(1)


def test_influence_falls_evenly_to_zero():
    kernel = np.array([[0.0, 0, 0], [1, 0, 0]])
    offset = np.array([[[0.0, 0, 0], [0.5, 0, 0], [np.nan, 0, 0], [3, 0, 0]]])
    told = influence(offset, np.array([[True, True, False, True]]), kernel, 1.0)
    np.testing.assert_allclose(told[0], [[1, 0], [0.5, 0.5], [0, 0], [0, 0]])


def test_a_convolution_by_hand():
    """Two neighbours with the features 2 and 10, of which the second stands half between two kernel points
    with the weights 3 and 5: (2 * 3 + 10 * (3 + 5) / 2) / 2.
    """
    conv = KPConv(2, 1, 1)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([3.0, 5.0])[:, None, None])
    around = Around(
        rows=torch.tensor([[0, 1, 2]]),  # 2 is nobody
        influence=torch.tensor([[[1.0, 0.0], [0.5, 0.5], [0.0, 0.0]]]),
        count=torch.tensor([2.0]),
    )
    assert conv(torch.tensor([[2.0], [10.0]]), around).tolist() == [[23.0]]


def test_negative_neighbours_are_counted_too():
    """The density is that of the points, whatever their features are."""
    conv = KPConv(1, 1, 1)
    with torch.no_grad():
        conv.weight.fill_(1.0)
    around = Around(torch.tensor([[0, 1]]), torch.ones(1, 2, 1), torch.tensor([2.0]))
    assert conv(torch.tensor([[-3.0], [1.0]]), around).item() == pytest.approx(-1.0)


def test_points_that_are_there_twice_change_nothing():
    torch.manual_seed(0)
    points, cell, conv = bumpy(), 0.12, KPConv(15, 3, 4)
    features = torch.randn(len(points), 3)
    once = pyramid([points], [cell], KERNEL, Reach(1, 2.5, 1.2, 100, 0)).own[0]
    twice = pyramid([np.concatenate([points, points])], [cell], KERNEL, Reach(1, 2.5, 1.2, 200, 0)).own[0]
    assert torch.equal(twice.count[: len(points)], 2 * once.count)
    doubled = conv(torch.cat([features, features]), twice)
    torch.testing.assert_close(doubled[: len(points)], conv(features, once), atol=1e-5, rtol=1e-5)


def test_the_order_of_the_points_changes_nothing():
    points, net = bumpy(), unet()
    order = np.random.default_rng(1).permutation(len(points))
    one = net(pyramid([points], [0.12], KERNEL, PLAIN))
    two = net(pyramid([points[order]], [0.12], KERNEL, PLAIN))
    torch.testing.assert_close(two, one[torch.from_numpy(order)], atol=1e-4, rtol=1e-3)


def test_clouds_of_a_batch_do_not_see_each_other():
    one, two, net = bumpy(), bumpy(300, 3) * 7, unet()
    both = pyramid([one, two], [0.12, 0.84], KERNEL, PLAIN)
    told = net(both)
    assert both.owner[0].bincount().tolist() == [len(one), len(two)]
    for cloud, points, cell in ((0, one, 0.12), (1, two, 0.84)):
        alone = net(pyramid([points], [cell], KERNEL, PLAIN))
        torch.testing.assert_close(told[both.owner[0] == cloud], alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("unit", [1e-3, 1e3])
@pytest.mark.parametrize("reach", [PLAIN, ROUND])
def test_no_unit_changes_anything(unit, reach):
    points, net = bumpy(), unet(reach.levels)
    one = net(pyramid([points], [0.12], KERNEL, reach))
    two = net(pyramid([unit * points], [unit * 0.12], KERNEL, reach))
    torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-3)


def test_circles_make_it_blind_to_turns_and_without_them_it_is_not():
    points, net = bumpy(), unet(1)
    turned = points @ Rotation.random(rng=4).as_matrix().T + 3
    one, two = (net(pyramid([p], [0.12], KERNEL, ROUND)) for p in (points, turned))
    torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-3)
    plain = Reach(1, 2.5, 1.2, 40, 0)
    one, two = (net(pyramid([p], [0.12], KERNEL, plain)) for p in (points, turned))
    assert float((one - two).detach().abs().max()) > 0.01


def test_neighbours_of_a_grid_by_hand():
    """A line of points one cell apart: within 2.5 cells there are two on either side."""
    line = np.column_stack([np.arange(9.0) + 0.5, np.zeros(9), np.zeros(9)])
    found = pyramid([line], [1.0], KERNEL, Reach(2, 2.5, 1.2, 40, 0))
    assert found.own[0].count.tolist() == [3, 4, 5, 5, 5, 5, 5, 4, 3]
    assert sorted(found.own[0].rows[0].tolist())[:4] == [0, 1, 2, 9]
    assert found.points[1][:, 0].tolist() == [1, 3, 5, 7, 8.5]
    assert found.up[0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4]
    assert found.down[0].count.tolist() == [4, 6, 6, 5, 3]


def test_gradients_of_a_convolution():
    torch.manual_seed(0)
    conv = KPConv(4, 2, 3).double()
    around = Around(
        torch.tensor([[0, 2, 3], [1, 3, 3]]), torch.rand(2, 3, 4).double(), torch.tensor([2.0, 1.0]).double()
    )
    features = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f, w: _with(conv, w, f, around), (features, conv.weight))


def _with(conv, weight, features, around):
    return torch.func.functional_call(conv, {"weight": weight}, (features, around))


def test_empty_clouds_and_cells_are_refused():
    for clouds, cells in (([np.zeros((0, 3))], [1.0]), ([np.zeros((2, 3))], [0.0])):
        with pytest.raises(ValueError, match="wanted some above 0"):
            pyramid(clouds, cells, KERNEL, PLAIN)
