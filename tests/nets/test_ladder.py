import pytest
import torch

from asterism.nets.averaged import follow, frozen_copy
from asterism.nets.ladder import Ladder, Renderer


def parameters(net):
    return sum(p.numel() for p in net.parameters())


def test_parameters_of_the_ladder():
    # 7x7 3-32, 3x3 32-32, then 4x4 and 3x3 per halving, two norms each
    convs = 49 * 3 * 32 + 9 * 32**2 + sum(16 * a * b + 9 * b**2 for a, b in ((32, 64), (64, 128), (128, 256)))
    assert parameters(Ladder(3, (32, 64, 128, 256))) == convs + 4 * (32 + 64 + 128 + 256)


def test_parameters_of_the_renderer():
    convs = 9 * (40 * 32 + 32**2 + 32 * 16 + 16 * 12) + 12
    assert parameters(Renderer(40, 3, (16, 32), fold=2)) == convs + 2 * (2 * 32 + 16)


@pytest.mark.parametrize("fold, stride", [(1, 4), (2, 8), (4, 16)])
def test_shapes_and_gradients_of_pictures_that_are_not_square(fold, stride):
    widths = (8, 16, 24)
    ladder, renderer = Ladder(3, widths, fold=fold), Renderer(24 + 5, 3, widths, fold=fold)
    image = torch.rand(2, 3, 48, 64)
    found = ladder.features(image)
    assert ladder.stride == stride
    assert [tuple(f.shape[1:]) for f in found] == [
        (w, 48 // fold // 2**i, 64 // fold // 2**i) for i, w in enumerate(widths)
    ]
    drawn = renderer(torch.cat([found[-1], torch.rand(2, 5, *found[-1].shape[2:])], 1))
    assert drawn.shape == image.shape
    drawn.square().sum().backward()
    for p in (*ladder.parameters(), *renderer.parameters()):
        assert p.grad is not None and p.grad.abs().sum() > 0


def test_a_batch_of_two_is_two_batches_of_one_while_training():
    torch.manual_seed(0)
    net = torch.nn.Sequential(Ladder(3, (8, 16)), Renderer(16, 3, (8, 16))).train()
    image = torch.rand(2, 3, 16, 24)
    torch.testing.assert_close(net(image), torch.cat([net(image[:1]), net(image[1:])]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("fold", [1, 2])
def test_maps_lie_where_the_picture_does(fold):
    """Mirroring the input of a mirrored network mirrors its output; a 3x3 that halves would be off."""
    torch.manual_seed(0)
    down, up = Ladder(1, (8, 16), fold=fold).double(), Renderer(16, 1, (8, 16), fold=fold).double()
    image = torch.rand(1, 1, 16, 24, dtype=torch.float64)
    there, back = down(image), up(down(image))
    for net in (down, up):
        for p in net.parameters():
            if p.ndim == 4:
                p.data = p.data.flip(-1)
    if fold == 2:  # the columns of a block are channels: left and right change places
        order = torch.tensor([1, 0, 3, 2])
        first = down.rungs[0][0].weight
        first.data = first.data[:, order]
        up.head.weight.data, up.head.bias.data = up.head.weight.data[order], up.head.bias.data[order]
    torch.testing.assert_close(down(image.flip(-1)), there.flip(-1))
    torch.testing.assert_close(up(down(image.flip(-1))), back.flip(-1))


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: Ladder(3, (12, 24)), "multiples of 8"),
        (lambda: Ladder(3, ()), "multiples of 8"),
        (lambda: Renderer(3, 3, (12,)), "multiples of 8"),
        (lambda: Ladder(3, (8, 8), fold=2)(torch.rand(1, 3, 18, 16)), "multiples of 4"),
    ],
)
def test_what_does_not_fit_is_said(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_a_frozen_copy_follows_and_is_nobodys_parameter():
    torch.manual_seed(0)
    net = Ladder(3, (8, 16))
    copy = frozen_copy(net)
    image = torch.rand(1, 3, 8, 8, requires_grad=True)
    assert list(copy.parameters()) == []
    assert set(copy.state_dict()) == set(net.state_dict())
    torch.testing.assert_close(copy(image), net(image))
    before = copy(image).detach()
    with torch.no_grad():
        for p in net.parameters():
            p += 1
    torch.testing.assert_close(copy(image), before)  # they share no storage
    weight = net.rungs[0][0].weight
    follow(copy, net, 0.75)
    torch.testing.assert_close(copy.get_buffer("rungs.0.0.weight"), weight - 0.75)
    copy(image).sum().backward()
    assert image.grad is not None and image.grad.abs().sum() > 0
    assert all(p.grad is None for p in net.parameters())
