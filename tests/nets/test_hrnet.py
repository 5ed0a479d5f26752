import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from asterism.nets.hrnet import STRIDE, HighResolution
from asterism.nets.resnet import DeconvolvedResNet


def counted(make):
    with torch.device("meta"):
        net = make().eval()
    return net, sum(p.numel() for p in net.parameters())


def gmacs(net):
    """Billions of multiply-adds of one picture of 256 by 192."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.zeros(1, 3, 256, 192, device="meta"))
    return counter.get_total_flops() / 2e9


@pytest.mark.parametrize(
    "width, with_17, with_16, macs",
    [(32, 28_536_113, 28_536_080, 7.645), (48, 63_595_745, 63_595_696, 15.692)],
)
def test_costs_are_those_of_the_authors_networks(width, with_17, with_16, macs):
    net, parameters = counted(lambda: HighResolution(17, width=width))
    assert (parameters, len(net.state_dict())) == (with_17, 1754)
    assert counted(lambda: HighResolution(16, width=width))[1] == with_16
    assert gmacs(net) == pytest.approx(macs, rel=0.005)


def test_costs_of_the_simple_baseline():
    net, parameters = counted(lambda: DeconvolvedResNet(17))
    assert parameters == 33_999_697
    assert gmacs(net) == pytest.approx(5.426, rel=0.005)


def small(**changes):
    torch.manual_seed(0)
    settings = {"width": 4, "rounds": (1, 2), "blocks": 1, "bottlenecks": 1, "stem": 4} | changes
    net = HighResolution(5, **settings)
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    return net.eval()


def test_maps_are_a_quarter_and_every_parameter_has_a_gradient():
    for exchanges in (None, (2,), (0, 2)):
        net = small(exchanges=exchanges).train()
        maps = net(torch.rand(2, 3, 32, 48))
        assert maps.shape == (2, 5, 32 // STRIDE, 48 // STRIDE)
        maps.square().sum().backward()
        assert all(p.grad is not None for p in net.parameters())


def test_a_round_without_exchange_keeps_the_resolutions_apart():
    branches = [torch.rand(1, 4, 8, 8), torch.rand(1, 8, 4, 4)]
    moved = [branches[0], branches[1] + 1]
    for exchanges, same in ((None, False), ((2,), True)):
        first = small(exchanges=exchanges).stages[0].rounds[0]
        before, after = first(branches), first(moved)
        assert torch.equal(before[0], after[0]) is same
        assert not torch.equal(before[1], after[1])


def test_an_exchange_is_the_sum_over_resolutions():
    round_ = small().stages[1].rounds[0]
    x = [torch.randn(1, 4 << i, 16 >> i, 16 >> i) for i in range(3)]
    paths = round_.exchange.outputs
    up = torch.nn.functional.interpolate(paths[1][2][1](paths[1][2][0](x[2])), scale_factor=2)
    want = (paths[1][0](x[0]) + x[1] + up).relu()
    torch.testing.assert_close(round_.exchange(x)[1], want)
    assert round_.exchange(x)[2].shape == x[2].shape


def test_wrong_sizes_and_useless_ends_are_refused():
    with pytest.raises(ValueError, match="multiples of 16"):
        small()(torch.rand(1, 3, 40, 32))
    with pytest.raises(ValueError, match="the last round"):
        small(exchanges=(0, 1))
    with pytest.raises(ValueError, match="multiples of 32"):
        DeconvolvedResNet(3, blocks=(1, 1, 1, 1), width=4, up_width=4)(torch.rand(1, 3, 40, 32))


def test_the_first_maps_are_nearly_empty_and_normalisations_forget_at_a_tenth():
    torch.manual_seed(0)
    for net in (HighResolution(3, width=4, rounds=(1,), stem=4), DeconvolvedResNet(3, width=4, up_width=8)):
        assert net(torch.rand(2, 3, 32, 32)).abs().max() < 0.1
        norms = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        assert {m.momentum for m in norms} == {0.1}
        assert 5e-4 < net.head.weight.std() < 2e-3 and not net.head.bias.any()
