import pytest
import torch

from asterism.nets.unet import UNet


def parameters(net):
    return sum(p.numel() for p in net.parameters())


def test_parameters_at_the_defaults():
    # 3x3 blocks 3-16-16, 16-32-32, 32-64-64, up 96-32-32, 48-16-16, two norms each, and the head.
    convs = 9 * (3 * 16 + 16**2 + 16 * 32 + 32**2 + 32 * 64 + 64**2 + 96 * 32 + 32**2 + 48 * 16 + 16**2)
    norms = 4 * (16 + 32 + 64 + 32 + 16)
    assert parameters(UNet(3, 8)) == convs + norms + (16 + 1) * 8 < 300_000


@pytest.mark.parametrize("out_stride, features", [(1, 16), (2, 32), (4, 64)])
def test_shapes_and_gradients_at_every_stride(out_stride, features):
    net = UNet(3, 5, out_stride=out_stride)
    image = torch.rand(2, 3, 32, 48)
    maps = net(image)
    assert maps.shape == (2, 5, 32 // out_stride, 48 // out_stride)
    assert net.features(image).shape[1] == net.out_features == features
    maps.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_a_batch_of_two_is_two_batches_of_one_while_training():
    torch.manual_seed(0)
    net = UNet(3, 5).train()
    image = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(net(image), torch.cat([net(image[:1]), net(image[1:])]), atol=1e-5, rtol=0)


def test_maps_lie_where_the_image_does():
    # Mirroring a symmetric network's input mirrors its output: no scale is shifted against another.
    torch.manual_seed(0)
    net = UNet(1, 1).double()
    for p in net.parameters():
        if p.ndim == 4 and p.shape[-1] == 3:
            p.data += p.data.flip(-1)
    image = torch.rand(1, 1, 16, 24, dtype=torch.float64)
    torch.testing.assert_close(net(image.flip(-1)), net(image).flip(-1))


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: UNet(3, 5, out_stride=8), "out_stride"),
        (lambda: UNet(3, 5, widths=(12, 24)), "multiples of 8"),
        (lambda: UNet(3, 5)(torch.rand(1, 3, 18, 16)), "multiples of 4"),
    ],
)
def test_what_does_not_fit_is_said(call, said):
    with pytest.raises(ValueError, match=said):
        call()
