from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from asterism.geometry import affine
from asterism.methods.landmarks import fse_landmarks
from asterism.methods.landmarks.fse_landmarks import FseLandmarks, FseLandmarksConfig
from asterism.types import Images


def tiny(**changes) -> FseLandmarks:
    torch.manual_seed(0)
    return FseLandmarks(replace(FseLandmarks.presets["tiny"], **changes))


def blobs(b, size, at) -> Images:
    """One bright blob per picture, on black."""
    v, u = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    d = (u - at[:, 0, None, None]).square() + (v - at[:, 1, None, None]).square()
    image = (-d / 32.0).exp()[:, None].expand(b, 3, *size)
    return Images(image=image, to_source=affine.identity(b, like=image))


def test_the_papers_network_has_maps_of_42_cells_from_128_pixels():
    method = FseLandmarks(FseLandmarksConfig())
    assert method.margin == 22
    found = method.predict(blobs(1, (128, 128), torch.tensor([[60.0, 60.0]])))
    assert found.maps is not None and found.maps.shape == (1, 30, 42, 42)
    filters = (3, 20, 48, 64, 80, 256, 30)
    want = sum(25 * a * b + 2 * b for a, b in pairwise(filters))
    assert sum(p.numel() for p in method.parameters()) == want


def test_cells_lie_where_the_convolutions_without_padding_look():
    # All kernels the same and symmetric: the map must be highest where the blob is, in pixels of the picture.
    method = tiny().eval()
    for layer in method.net:
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.constant_(layer.weight, 1 / layer.weight[0].numel())
    at = torch.tensor([[31.5, 29.5], [27.5, 37.5]])
    batch = blobs(2, (64, 64), at)
    sharp = (method.net(batch.image) * 400).flatten(2).softmax(-1).unflatten(-1, (18, 18))
    cells = torch.arange(18.0)
    u, v = (sharp.sum(2) * cells).sum(-1), (sharp.sum(3) * cells).sum(-1)
    xy = 2 * torch.stack([u, v], -1) + 0.5 + method.margin
    torch.testing.assert_close(xy, at[:, None].expand(2, 3, 2), atol=0.2, rtol=0)


@pytest.mark.parametrize("align", ["points", "maps"])
@pytest.mark.parametrize("diversity", ["pairwise", "pooled"])
def test_every_form_of_the_paper_has_a_gradient(align, diversity):
    method = tiny(align=align, diversity=diversity)
    batch = blobs(2, (64, 64), torch.tensor([[31.5, 29.5], [27.5, 37.5]]))
    terms = method.loss(batch)
    assert list(terms) == ["align", "diversity"]
    for term in terms.values():
        (gradient,) = torch.autograd.grad(term, [next(method.net.parameters())], retain_graph=True)
        assert gradient.isfinite().all() and gradient.abs().sum() > 0


def test_still_views_of_one_picture_align_at_once():
    still = {"displacement": 0.0, "rotation": 0.0, "scale": 0.0, "shift": 0.0}
    batch = blobs(2, (64, 64), torch.tensor([[31.5, 29.5], [27.5, 37.5]]))
    assert tiny(align="points", **still).loss(batch)["align"].item() == pytest.approx(0, abs=1e-6)
    # The maps' form keeps both variances: uniform maps of n cells have 2 * 2 * (n^2 - 1) / 12.
    method = tiny(align="maps", **still)
    torch.nn.init.zeros_([*method.net.parameters()][-2])
    assert method.loss(batch)["align"].item() == pytest.approx(4 * (1 - 18**-2) / 12, rel=1e-3)


def wander(method: FseLandmarks, at: Tensor) -> float:
    """How far the point strays from its usual place on the blob, as a share of how far the blob goes."""
    offset = method.predict(blobs(len(at), (44, 44), at)).xy[:, 0] - at
    return float((offset - offset.mean(0)).norm(dim=-1).mean() / (at - at.mean(0)).norm(dim=-1).mean())


def test_one_point_learns_to_follow_a_blob():
    torch.manual_seed(0)
    method = tiny(n_keypoints=1, widths=(8, 8), diversity_weight=0.0, rotation=30.0, shift=0.15)
    optimiser = torch.optim.Adam(method.parameters(), lr=5e-3)
    at = 14 + 14 * torch.rand(64, 2)
    not_seen = at[48:]
    assert wander(method, not_seen) > 0.8
    for i in range(40):
        batch = blobs(8, (44, 44), at[torch.arange(8) + 8 * (i % 6)])
        optimiser.zero_grad()
        torch.stack(list(method.loss(batch).values())).sum().backward()
        optimiser.step()
    assert wander(method, not_seen) < 0.5


def test_an_unknown_form_is_refused_by_name():
    with pytest.raises(ValueError, match="align: wanted points or maps, got dense"):
        tiny(align="dense")


def test_a_repeated_border_lets_points_lie_everywhere():
    method = tiny(border="repeated").eval()
    assert method.first == 0
    found = method.predict(blobs(1, (48, 64), torch.tensor([[3.0, 40.0]])))
    assert found.maps is not None and found.maps.shape == (1, 3, 24, 32)
    for layer in method.net:
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.constant_(layer.weight, 1 / layer.weight[0].numel())
    at = torch.tensor([[47.0, 19.0], [22.5, 25.5]])
    sharp = (method.net(torch.nn.functional.pad(blobs(2, (48, 64), at).image, (14,) * 4)) * 400).flatten(2)
    centre = torch.stack([sharp.argmax(-1) % 32, sharp.argmax(-1) // 32], -1) * 2 + 0.5
    torch.testing.assert_close(centre, at[:, None].expand(2, 3, 2), atol=1.0, rtol=0)


def test_views_are_compared_in_the_picture_they_come_from():
    """A point that sits on the same place of the picture in both views costs nothing, another one does."""
    method, image = tiny(n_keypoints=1), torch.rand(4, 3, 64, 64)
    torch.manual_seed(1)
    warps = method._warp(image), method._warp(image)
    place = torch.tensor([[[31.0, 33.0]]]).expand(4, 1, 2)
    seen = warps[0].points(place), warps[1].points(place)
    cells = torch.tensor([[14.5, 14.5], [48.5, 48.5]])
    flat = torch.full((4, 1, 2), 0.5)
    same = fse_landmarks.Pair(xy=seen, prob=(flat, flat), cells=cells, warps=warps)
    assert fse_landmarks.ALIGN["points"](same).item() < 1e-6
    fixed = fse_landmarks.Pair(xy=(place, place), prob=(flat, flat), cells=cells, warps=warps)
    assert fse_landmarks.ALIGN["points"](fixed).item() > 1
