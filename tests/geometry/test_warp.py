import torch

from asterism.geometry.tps import ThinPlateSpline
from asterism.geometry.warp import Inverse, Warp
from asterism.ops.sampling import warp_image


def spline(b: int, size: tuple[int, int]) -> ThinPlateSpline:
    return ThinPlateSpline.random(
        b,
        size,
        grid=4,
        displacement=0.04,
        rotation=0.3,
        scale=0.1,
        shift=0.05,
        generator=torch.Generator().manual_seed(0),
        like=torch.zeros((), dtype=torch.float64),
    )


def test_an_inverse_undoes_the_warp():
    warp = spline(2, (40, 56))
    back = Inverse(warp)
    assert isinstance(back, Warp)
    xy = torch.rand(2, 9, 2, dtype=torch.float64) * 30 + 5
    torch.testing.assert_close(back.points(warp.points(xy)), xy, atol=1e-4, rtol=0)
    torch.testing.assert_close(back.inverse_points(xy), warp.points(xy))
    torch.testing.assert_close(Inverse(back).points(xy), warp.points(xy))
    both = back.jacobian(warp.points(xy)) @ warp.jacobian(xy)
    torch.testing.assert_close(both, torch.eye(2, dtype=torch.float64).expand_as(both), atol=1e-5, rtol=0)


def test_a_dot_of_a_picture_goes_where_the_inverse_says():
    warp = Inverse(spline(1, (40, 56)))
    grid = torch.stack(torch.meshgrid(torch.arange(56.0), torch.arange(40.0), indexing="xy"), -1).double()
    at = torch.tensor([[[30.0, 18.0]]], dtype=torch.float64)
    image = (-(grid - at).square().sum(-1) / 8).exp()[None, None]
    seen = warp_image(image, warp)[0, 0]
    centre = (seen[..., None] * grid).sum((0, 1)) / seen.sum()
    torch.testing.assert_close(centre, warp.points(at)[0, 0], atol=0.15, rtol=0)
