"""keynet: the authors' 1,496 points with the authors' weights; filters and windows worked by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from asterism.engine.convert import fill, read_tensors
from asterism.engine.origins import origins_of
from asterism.geometry import affine
from asterism.geometry.coords import pixel_grid, uv_from_xy, xy_from_xyn, xyn_from_xy
from asterism.methods.features import keynet
from asterism.methods.features.keynet import KeyNet, KeyNetConfig
from asterism.types import Images

GOLDEN = Path(__file__).parents[3] / "shared" / "data" / "golden_weights" / "keynet_tf"
TINY = KeyNet.presets["tiny"]


def released(config: KeyNetConfig) -> KeyNet:
    """The authors' weights as asterism convert reads them; normalisations have the averages 0 and 1."""
    file = GOLDEN / "model--1651.index"
    filled = fill(read_tensors(file, origins_of("keynet")), file, "keynet")
    assert filled.used == 16 and sum(p.numel() for p in filled.method.parameters()) == 5921
    method = KeyNet(config)
    method.load_state_dict(filled.method.state_dict())
    return method


def grey_as_opencv(path: Path) -> torch.Tensor:
    """The sum in fixed point that OpenCV rounds to 8 bits; three equal channels."""
    r, g, b = (np.asarray(Image.open(path)).astype(np.int64)[..., i] for i in range(3))
    grey = (r * 9798 + g * 19235 + b * 3735 + 16384) >> 15
    return torch.from_numpy(grey).float().expand(3, *grey.shape) / 255


@pytest.mark.data
@pytest.mark.skipif(not GOLDEN.is_dir(), reason="no golden weights")
def test_the_authors_points_with_the_authors_weights():
    """All 1,496 of them: the level, the pixel of that level, and the response."""
    wanted = np.load(GOLDEN / "test_im.ppm.kpt.npy")  # x, y, scale, response; x is index times scale
    image = grey_as_opencv(GOLDEN / "test_im.ppm")[None]
    method = released(KeyNetConfig(upright=True, sigma=1.0))
    found = method.predict(Images(image=image, to_source=affine.identity(1, like=image)))
    assert int(found.valid.sum()) == len(wanted) == 1496
    on = found.valid[0]
    level = (2 * found.scale[0][on].log2()).round().long() + 1
    ours = {}
    for k in range(6):
        rows, stride = level == k, 2 ** ((k - 1) / 2)
        h, w = 640, 800
        for _ in range(k - 1):
            h, w = -(-h // 2**0.5), -(-w // 2**0.5)
        xy = found.xy[0][on][rows].double()
        uv = uv_from_xy(xy, stride) if k == 0 else xy_from_xyn(xyn_from_xy(xy, (640, 800)), (int(h), int(w)))
        assert (uv - uv.round()).abs().max() < 1e-3
        score = found.score[0][on][rows].double()
        keys = [(k, *at) for at in uv.round().long().tolist()]
        ours |= dict(zip(keys, (score / (1 - score)).tolist()))
    scale = wanted[:, 2]
    theirs = {
        (round(2 * float(np.log2(s))) + 1, round(x / s), round(y / s)): r
        for x, y, s, r in zip(wanted[:, 0], wanted[:, 1], scale, wanted[:, 3])
    }
    assert ours.keys() == theirs.keys()
    assert max(abs(ours[key] / theirs[key] - 1) for key in ours) < 1e-3


def test_derivatives_of_a_parabola():
    """Sobel's masks have the weight 8: of x^2 + 3 x y they make 8 (2 x + 3 y), 8 * 3 x, 128, 0 and 192."""
    x, y = torch.arange(9.0).expand(9, 9), torch.arange(9.0)[:, None].expand(9, 9)
    found = keynet.handcrafted((x**2 + 3 * x * y)[None, None])[0, :, 4, 4]
    dx, dy, dxx, dyy, dxy = 8 * (2 * 4 + 3 * 4), 8 * 3 * 4, 128, 0, 192
    wanted = [dx, dx**2, dxx, dy, dy**2, dyy, dx * dy, dxx * dyy, dxy, dxy**2]
    assert found.tolist() == pytest.approx(wanted)


def test_normalising_takes_brightness_and_contrast_away():
    g = torch.Generator().manual_seed(0)
    image = 50 * torch.rand(1, 1, 40, 40, generator=g)  # so contrasted that 1 + s is nearly s
    one, two = keynet.normalised(image, 9), keynet.normalised(3 * image + 7, 9)
    assert (one - two).abs().max() < 0.1
    assert keynet.normalised(torch.full((1, 1, 20, 20), 0.3), 9).abs().max() < 1e-5
    assert keynet.normalised(image[..., :6, :6], 65).isfinite().all()


def test_the_proposed_place_is_the_peak_and_a_flat_window_proposes_its_middle():
    maps = torch.zeros(1, 2, 16)
    maps[0, 0, 5] = 7.0
    share = keynet.proposed(maps)
    assert share[0, 0, 5] > 0.9999
    assert share[0, 1].tolist() == pytest.approx([1 / 16] * 16, rel=0.1)


def test_windows_lie_side_by_side_and_the_rest_is_cut_off():
    maps = torch.arange(35.0).reshape(1, 1, 5, 7)
    assert keynet._windows(maps, 2)[0, :4].tolist() == [
        [0, 1, 7, 8],
        [2, 3, 9, 10],
        [4, 5, 11, 12],
        [14, 15, 21, 22],
    ]
    assert keynet._windows(maps, 2).shape == (1, 6, 4)


def test_a_window_costs_the_squared_share_of_its_side_that_the_places_are_apart():
    own, other = torch.zeros(2, 1, 1, 8, 8).unbind(0)
    own[0, 0, 2, 1], other[0, 0, 4, 5] = 9.0, 3.0  # 4 and 2 of 8: (1/2)^2 + (1/4)^2
    seen, c = torch.ones_like(own), replace(TINY, unit=1.0, spread=1.0)
    assert float(keynet._window_cost(own, other, seen, 8, c)) == pytest.approx(0.3125, rel=1e-3)
    assert float(keynet._window_cost(own, own, seen, 8, c)) < 1e-6
    assert float(keynet._window_cost(own, other, 0 * seen, 8, c)) == 0


class Bright(torch.nn.Module):
    """A response that follows the picture: 30 on dots, 0 elsewhere; in the copies `moved` pixels aside."""

    def __init__(self, moved: int) -> None:
        super().__init__()
        self.moved = moved

    def forward(self, grey: torch.Tensor) -> torch.Tensor:
        crop, copy = (30 * grey.clamp(0, 1).pow(4)).chunk(2)
        return torch.cat([crop, copy.roll(self.moved, 3)])


def test_a_response_that_follows_the_picture_costs_little_and_one_beside_it_much():
    """The maps are warped the right way round, and what one cannot see does not count."""
    torch.manual_seed(0)
    method = KeyNet(replace(TINY, light=0.0, contrast=0.0))
    torch.testing.assert_close(
        KeyNet(replace(TINY, angle=0.0, zoom=(1.0, 1.0), shear=0.0))._warp(torch.rand(2, 3, 64, 64)),
        torch.eye(3).expand(2, 3, 3),
        atol=1e-5,
        rtol=0,
    )
    dots = 10 + 14 * pixel_grid((4, 4), like=torch.zeros(())).flatten(0, 1) + 3 * torch.rand(4, 16, 2)
    far = (pixel_grid((64, 64), like=dots) - dots[:, :, None, None]).square().sum(-1)  # B 16 h w
    image = (-far / (2 * 2.5**2)).exp().amax(1, keepdim=True).expand(4, 3, 64, 64)
    batch, cost = Images(image=image, to_source=affine.identity(4, like=image)), []
    for moved in (0, 5):
        method.net = Bright(moved)
        torch.manual_seed(1)
        cost.append(float(method.loss(batch)["window_16"]))
    assert cost[0] < 0.4 * cost[1]


def test_a_picture_without_room_for_a_point_has_none_and_one_colour_neither():
    torch.manual_seed(0)
    method = KeyNet(KeyNetConfig(n_keypoints=20, down=1))
    for image in (torch.rand(1, 3, 20, 20), torch.full((1, 3, 80, 80), 0.5)):
        found = method.predict(Images(image=image, to_source=affine.identity(1, like=image)))
        assert found.valid.shape == (1, 20) and found.xy.isfinite().all()
    assert not found.descriptor.abs().sum() > 0


def test_points_of_a_turned_picture_are_turned_and_described_alike():
    """Untrained filters find other points in it; those near the same place agree."""
    torch.manual_seed(0)
    method = KeyNet(KeyNetConfig(n_keypoints=150, up=0, down=0, suppress=5))
    noise = torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    image = torch.nn.functional.interpolate(noise, (160, 160), mode="bicubic").clamp(0, 1)
    both = [
        method.predict(Images(image=i, to_source=affine.identity(1, like=i)))
        for i in (image, image.rot90(1, (2, 3)))
    ]
    there = torch.stack([both[0].xy[0, :, 1], 159 - both[0].xy[0, :, 0]], dim=1)
    gap, nearest = torch.cdist(there, both[1].xy[0]).min(1)
    close = (gap < 1.5) & both[0].valid[0]
    alike = (both[0].descriptor[0] * both[1].descriptor[0][nearest]).sum(1)
    assert close.sum() > 5
    assert alike[close].median() > 0.9 > alike[~close & both[0].valid[0]].median() + 0.1
