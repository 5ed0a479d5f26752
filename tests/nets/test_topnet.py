"""TopNet's decoder: how many points, whose children they are, and what they depend on."""

import torch

from asterism.nets.topnet import TopNet


def test_arms_multiply_to_points():
    with torch.device("meta"):
        net = TopNet(256, (2, 4, 4, 4, 4, 4), 8, (64,))
        assert net(torch.zeros(3, 256)).shape == (3, 2048, 3)
    first, second, last = (sum(p.numel() for p in net.levels[i].parameters()) for i in (0, 1, -1))
    assert first == 257 * 64 + 65 * 2 * 8
    assert second == 265 * 64 + 65 * 4 * 8
    assert last == 265 * 64 + 65 * 4 * 3


def test_children_of_one_parent_lie_beside_each_other():
    torch.manual_seed(0)
    net = TopNet(5, (3, 4), 2, ())
    code = torch.randn(2, 5)
    nodes = net.levels[0](code).reshape(2, 3, 2)
    one = net.levels[1](torch.cat([nodes[:, 1].tanh(), code], dim=-1)).reshape(2, 4, 3)
    torch.testing.assert_close(net(code)[:, 4:8], one)


def test_it_learns_a_shape():
    torch.manual_seed(0)
    net, code = TopNet(4, (4, 4), 4, (16,)), torch.ones(1, 4)
    target = torch.rand(1, 16, 3)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(150):
        optimiser.zero_grad()
        cost = (net(code) - target).square().mean()
        cost.backward()
        optimiser.step()
    assert float(cost.detach()) < 0.01
