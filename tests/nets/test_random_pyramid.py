import pytest
import torch

from asterism.nets.random_pyramid import RandomPyramid


def test_shapes_of_pictures_that_are_not_square():
    found = RandomPyramid(widths=(4, 6, 8))(torch.rand(2, 3, 48, 64))
    assert [tuple(f.shape[1:]) for f in found] == [(3, 48, 64), (4, 48, 64), (6, 24, 32), (8, 12, 16)]


def test_the_weights_follow_from_the_seed_alone():
    image = torch.rand(1, 3, 16, 16)
    torch.manual_seed(1)
    a = RandomPyramid(seed=3)(image)[-1]
    state = torch.get_rng_state()
    b = RandomPyramid(seed=3)(image)[-1]
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(2)
    c = RandomPyramid(seed=3)(image)[-1]
    assert torch.equal(a, b) and torch.equal(a, c)
    assert not torch.allclose(a, RandomPyramid(seed=4)(image)[-1])


def test_nothing_is_trained_or_saved_and_gradients_reach_the_picture():
    net = RandomPyramid()
    image = torch.rand(1, 3, 16, 16, requires_grad=True)
    net(image)[-1].sum().backward()
    assert list(net.parameters()) == [] and net.state_dict() == {}
    assert image.grad is not None and image.grad.abs().min() > 0


def test_flat_pictures_differ_in_colour_alone_and_a_border_is_no_edge():
    net = RandomPyramid()
    dark, light = (net(torch.full((1, 3, 16, 16), v)) for v in (0.2, 0.8))
    assert (dark[0] - light[0]).abs().min() > 0.5
    for level in (*dark[1:], *light[1:]):
        assert level.abs().max() < 1e-5


def test_features_keep_their_size_from_level_to_level():
    torch.manual_seed(0)
    sizes = [
        float(f.square().mean().sqrt()) for f in RandomPyramid(widths=(64, 64, 64))(torch.rand(2, 3, 32, 32))
    ]
    assert max(sizes) < 6 * min(sizes)


def test_no_level_is_said():
    with pytest.raises(ValueError, match="at least one level"):
        RandomPyramid(widths=())
