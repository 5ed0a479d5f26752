import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from asterism.losses.reconstruction import (
    balanced,
    feature_costs,
    gradient_l1,
    multiscale_l1,
    running_mean,
    ssim,
    ssim_map,
)

LOSSES = [multiscale_l1, gradient_l1, ssim]


def pictures(seed=0, size=(24, 20), dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    return torch.rand(2, 2, 3, *size, generator=g, dtype=dtype).unbind(0)


def test_ssim_is_that_of_scikit_image():
    a, b = pictures()
    b = (a + 0.3 * b) / 1.3
    ours = ssim_map(a, b)[0].permute(1, 2, 0).numpy()
    _, theirs = structural_similarity(
        a[0].permute(1, 2, 0).numpy(),
        b[0].permute(1, 2, 0).numpy(),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1.0,
        channel_axis=2,
        full=True,
    )
    np.testing.assert_allclose(ours[5:-5, 5:-5], theirs[5:-5, 5:-5], atol=1e-9)


def test_closed_forms():
    zero, one = torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
    assert multiscale_l1(zero, one) == 1
    assert gradient_l1(zero, one) == 0
    board = (torch.arange(8)[:, None] + torch.arange(8)).remainder(2).float().expand(1, 3, 8, 8)
    assert multiscale_l1(board, board.flip(-1)).item() == pytest.approx(1 / 3)  # the coarse scales are equal
    assert gradient_l1(board, zero) == 1
    assert ssim(zero, one).item() == pytest.approx((1 - 0.01**2 / (1 + 0.01**2)) / 2, abs=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_equal_pictures_cost_nothing_and_the_order_does_not_matter(loss):
    a, b = pictures()
    assert loss(a, a).item() == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(loss(a, b), loss(b, a))


@pytest.mark.parametrize("loss", LOSSES)
def test_weight_chooses_pixels(loss):
    a, b = pictures()
    half = torch.ones(2, 1, 24, 20, dtype=a.dtype)
    torch.testing.assert_close(loss(a, b, half), loss(a, b), atol=1e-9, rtol=0)
    assert loss(a, b, 0 * half) == 0
    half[..., 8:] = 0
    changed = b.clone()
    changed[..., 16:] = 0.5  # further from the weighted part than any window reaches
    torch.testing.assert_close(loss(a, changed, half), loss(a, b, half))


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients(loss):
    a, b = pictures(1, (6, 5))
    weight = torch.ones(2, 1, 6, 5, dtype=a.dtype)
    weight[..., :2] = 0.3
    assert torch.autograd.gradcheck(
        lambda x: loss(x, b[:1, :1], weight[:1]), (a[:1, :1].clone().requires_grad_(),)
    )


def test_feature_costs_are_mean_squares_per_level():
    a = [torch.zeros(2, 3, 4, 8), torch.zeros(2, 5, 2, 4)]
    b = [torch.full((2, 3, 4, 8), 2.0), torch.full((2, 5, 2, 4), 3.0)]
    torch.testing.assert_close(feature_costs(a, b), torch.tensor([4.0, 9.0]))
    b[1][..., 2:] = 7.0
    left = torch.ones(2, 1, 4, 8)
    left[..., 4:] = 0
    torch.testing.assert_close(feature_costs(a, b, left), torch.tensor([4.0, 9.0]))
    assert feature_costs(a, b, 0 * left).tolist() == [0, 0]


def test_the_running_mean_starts_with_what_it_first_sees():
    usual = running_mean(torch.zeros(2), torch.tensor([8.0, 0.5]), 0.75)
    assert usual.tolist() == [8.0, 0.5]
    assert running_mean(usual, torch.tensor([4.0, 0.5]), 0.75).tolist() == [7.0, 0.5]


def test_balanced_costs_count_alike_and_their_sizes_are_constants():
    costs = torch.tensor([100.0, 0.01], requires_grad=True)
    usual = running_mean(torch.zeros(2), costs, 0.99)
    assert not usual.requires_grad
    scaled = usual * torch.ones(2, requires_grad=True)  # a size with a history
    balanced(costs, scaled).backward()
    torch.testing.assert_close(costs.grad, torch.tensor([0.5 / 100, 0.5 / 0.01]))
    assert balanced(torch.tensor([3.0, 5.0]), torch.zeros(2)).item() == 4  # no size yet
