import pytest
import torch

from asterism.nets.hourglass import STRIDE, Hourglass, Residual, StackedHourglass


@pytest.mark.parametrize(
    "n_stacks, count", [(1, 3_426_448), (2, 6_570_400), (4, 12_858_304), (8, 25_434_112)]
)
def test_parameters_are_those_of_the_paper_without_the_dead_convolutions(n_stacks, count):
    with torch.device("meta"):
        net = StackedHourglass(16, n_stacks=n_stacks)
    assert sum(p.numel() for p in net.parameters()) == count


def test_every_stack_gives_maps_and_every_parameter_a_gradient():
    torch.manual_seed(0)
    net = StackedHourglass(5, n_stacks=3, width=16, depth=2)
    maps = net(torch.rand(2, 3, 32, 48))
    assert [m.shape for m in maps] == [(2, 5, 32 // STRIDE, 48 // STRIDE)] * 3
    torch.stack(maps).square().sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_a_later_stack_sees_the_maps_of_the_one_before():
    net = StackedHourglass(5, n_stacks=2, width=16, depth=1).eval()
    image = torch.rand(1, 3, 16, 16)
    first, second = net(image)
    net.heads[0].bias.data += 1.0
    moved_first, moved_second = net(image)
    torch.testing.assert_close(moved_first, first + 1)
    assert (moved_second - second).abs().max() > 1e-4


def test_an_hourglass_sees_the_whole_map_and_keeps_its_size():
    torch.manual_seed(0)
    net = Hourglass(3, 8).eval()
    x = torch.rand(1, 8, 16, 16, requires_grad=True)
    net(x)[0, :, 0, 0].sum().backward()
    assert x.grad is not None and (x.grad.abs().sum((0, 1)) > 0)[8:, 8:].any()


def test_equal_widths_have_no_convolution_in_the_skip():
    assert not list(Residual(8, 8).skip.parameters())
    assert len(list(Residual(8, 16).skip.parameters())) == 2


def test_what_does_not_fit_is_said():
    with pytest.raises(ValueError, match="multiples of 16"):
        StackedHourglass(5, n_stacks=1, width=8, depth=2)(torch.rand(1, 3, 24, 16))
    with pytest.raises(ValueError, match="width"):
        StackedHourglass(5, width=30)
