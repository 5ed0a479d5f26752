"""Farthest points, Chamfer distances, PointNet and the prior, against plain or other implementations."""

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree  # pyright: ignore[reportAttributeAccessIssue]

from asterism.losses.clouds import chamfer
from asterism.nets.pointnet import PointNet
from asterism.ops.cloud_sampling import farthest_points
from asterism.ops.farthest import farthest
from asterism.ops.shape_prior import fit_prior


def test_farthest_points_are_those_of_the_large_version():
    points = np.random.default_rng(0).random((50, 3))
    batch, valid = torch.from_numpy(points)[None], torch.ones(1, 50, dtype=torch.bool)
    found = farthest(batch, valid, 9, torch.tensor([4]))
    np.testing.assert_allclose(found[0].numpy(), points[farthest_points(points, 9, 4)])


def test_farthest_points_never_choose_padding():
    points = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [9, 9, 9]]])
    found = farthest(points, torch.tensor([[True, True, False]]), 3, torch.tensor([0]))
    assert found.amax() == 1


def test_chamfer_is_that_of_a_tree():
    g = torch.Generator().manual_seed(1)
    a, b = torch.rand(2, 40, 3, generator=g), torch.rand(2, 25, 3, generator=g)
    for i, value in enumerate(chamfer(a, b)):
        there, _ = cKDTree(b[i].numpy()).query(a[i].numpy())
        back, _ = cKDTree(a[i].numpy()).query(b[i].numpy())
        assert float(value) == pytest.approx((there**2).mean() + (back**2).mean(), rel=1e-4)


def test_chamfer_leaves_padding_out():
    a, b = torch.rand(1, 8, 3), torch.rand(1, 6, 3)
    padded = torch.cat([a, torch.full((1, 3, 3), 50.0)], dim=1)
    valid = torch.arange(11)[None] < 8
    torch.testing.assert_close(chamfer(padded, b, valid), chamfer(a, b))
    torch.testing.assert_close(chamfer(b, padded, None, valid), chamfer(b, a))


def test_pointnet_does_not_care_for_order_or_padding():
    torch.manual_seed(0)
    net = PointNet((8, 16))
    points = torch.rand(1, 20, 3)
    every = torch.ones(1, 20, dtype=torch.bool)
    padded = torch.cat([points, torch.full((1, 2, 3), torch.nan)], dim=1)
    torch.testing.assert_close(net(points.flip(1), every), net(points, every))
    torch.testing.assert_close(net(padded, torch.arange(22)[None] < 20), net(points, every))


def family(n=200, seed=0):
    """Three points: the first two move together along x, the third stays but for a little."""
    dice = np.random.default_rng(seed)
    shapes = np.zeros((n, 3, 3)) + np.eye(3)
    shapes[:, :2, 0] += dice.standard_normal((n, 1))
    return shapes + 0.01 * dice.standard_normal(shapes.shape)


def test_what_moves_together_follows_and_the_rest_stays():
    prior = fit_prior(family())
    points = family(1, 7)[0]
    found = prior.follow(points, np.array([0]), points[[0]] + [0.5, 0, 0])
    np.testing.assert_array_equal(found[0], points[0] + [0.5, 0, 0])
    np.testing.assert_allclose(found[1] - points[1], [0.5, 0, 0], atol=0.03)
    np.testing.assert_allclose(found[2], points[2], atol=0.03)
    np.testing.assert_allclose(prior.follow(points, np.array([2]), points[[2]]), points)


def test_new_keypoints_vary_as_the_old_ones_did():
    prior, dice = fit_prior(family()), np.random.default_rng(3)
    drawn = np.stack([prior.draw(dice) for _ in range(500)])
    np.testing.assert_allclose(drawn.mean(0), family().mean(0), atol=0.15)
    assert drawn[:, 0, 0].std() == pytest.approx(1, abs=0.15)
    assert np.abs(drawn[:, 0, 0] - drawn[:, 1, 0] - 1).max() < 0.1


def test_shapes_that_do_not_differ_follow_nothing():
    prior = fit_prior(np.repeat(np.eye(3)[None], 4, axis=0))
    found = prior.follow(np.eye(3), np.array([1]), np.array([[2.0, 2.0, 2.0]]))
    np.testing.assert_allclose(found, [[1, 0, 0], [2, 2, 2], [0, 0, 1]], atol=1e-6)
    with pytest.raises(ValueError, match="at least 2"):
        fit_prior(np.zeros((1, 3, 3)))
