import pytest
import torch

from asterism.ops import readout
from asterism.ops.heatmap import gaussian_maps

SIZE, STRIDE = (24, 32), 2


def blob(xy, sigma=2.0):
    return gaussian_maps(torch.tensor([[xy]]), SIZE, STRIDE, sigma)


READ = {
    "spatial": lambda maps: readout.spatial_softmax(maps.clamp(min=1e-12).log(), 1.0, STRIDE),
    "marginal": lambda maps: readout.marginal_softmax(40 * maps, 1.0, STRIDE),
    "channel": lambda maps: readout.channel_softmax(
        torch.cat([maps.clamp(min=1e-12).log(), torch.full_like(maps, 4.0)], 1), STRIDE
    ),
    "softplus": lambda maps: readout.softplus_presence(torch.expm1(10 * maps).clamp(min=1e-12).log(), STRIDE),
    "refined": lambda maps: readout.refined_peak(maps, STRIDE),
}


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("at", [(30.25, 20.5), (25.0, 27.75)])
def test_a_dot_that_moves_is_read_where_it_lies(name, at):
    out = READ[name](blob(at))
    assert (out.xy[0, 0] - torch.tensor(at)).abs().max() < 0.25
    torch.testing.assert_close(out.maps.sum((-2, -1)), torch.ones(1, 1))


def test_covariance_of_a_gaussian_is_its_own():
    for name in ("spatial", "channel"):
        cov = READ[name](blob((31.0, 23.0))).cov[0, 0]
        torch.testing.assert_close(cov, torch.eye(2) * (2.0 * STRIDE) ** 2, rtol=0.08, atol=0.3)


def test_points_compete_for_cells_in_the_channel_softmax():
    same = torch.cat([20 * blob((30.0, 20.0))] * 2 + [torch.zeros(1, 1, *SIZE)], 1)
    one = torch.cat([20 * blob((30.0, 20.0)), torch.zeros(1, 1, *SIZE)], 1)
    shared, own = readout.channel_softmax(same, STRIDE), readout.channel_softmax(one, STRIDE)
    assert shared.presence.max() < 0.51 < 0.99 < float(own.presence[0, 0])


def test_a_point_can_switch_off():
    logits = torch.stack([10 * blob((30.0, 20.0))[0, 0] - 5, torch.full(SIZE, -9.0)])[None]
    presence = readout.softplus_presence(logits, STRIDE).presence[0]
    assert presence[0] == 1 and presence[1] < 0.01


def test_two_modes_of_a_marginal_softmax_are_no_place_of_either():
    two = 40 * torch.maximum(blob((12.0, 10.0)), blob((50.0, 38.0)))
    middle = readout.marginal_softmax(two, 1.0, STRIDE).xy[0, 0]
    assert 20 < middle[0] < 42 and 16 < middle[1] < 32


def test_a_map_without_mass_reads_as_the_middle_and_has_a_gradient():
    logits = torch.full((1, 2, *SIZE), -60.0)
    logits[:, 1] = 0
    logits.requires_grad_()
    out = readout.channel_softmax(logits, STRIDE)
    torch.testing.assert_close(out.xy[0, 0], torch.tensor([31.5, 23.5]))
    out.xy.sum().backward()
    assert logits.grad is not None and logits.grad.isfinite().all()
