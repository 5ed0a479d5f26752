"""structural-landmarks: cells are shared, warps are followed, and the picture is drawn from the points."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from asterism.geometry.coords import pixel_grid
from asterism.geometry.warp import Inverse
from asterism.methods.landmarks import structural_landmarks
from asterism.methods.landmarks.structural_landmarks import Raw, StructuralLandmarks, held_by
from asterism.ops.readout import Readout
from asterism.ops.sampling import warp_image
from asterism.types import Images

SIDE = 32


def tiny(**changes) -> StructuralLandmarks:
    torch.manual_seed(0)
    return StructuralLandmarks(replace(StructuralLandmarks.presets["tiny"], **changes))


def pictures(image: Tensor) -> Images:
    return Images(image=image, to_source=torch.eye(2, 3).expand(len(image), 2, 3).contiguous())


def dots(xy: Tensor, size: tuple[int, int] = (SIDE, SIDE), sigma: float = 2.0) -> Tensor:
    """A blob at each point, of a colour of its own, on black: "B K 2" to "B 3 H W"."""
    away = (pixel_grid(size, like=xy) - xy[:, :, None, None]).square().sum(-1)
    colours = torch.tensor([[1.0, 0.1, 0.1], [0.1, 1.0, 0.2], [0.1, 0.2, 1.0]])[: xy.shape[1]]
    return torch.einsum("bkhw,kc->bchw", (-away / (2 * sigma**2)).exp(), colours)


def somewhere(b: int, k: int, seed: int) -> Tensor:
    """k points per picture, one left, one right, one below, each anywhere in its part."""
    corner = torch.tensor([[4.0, 4.0], [18.0, 4.0], [11.0, 18.0]])[:k]
    return corner + 10 * torch.rand(b, k, 2, generator=torch.Generator().manual_seed(seed))


# ------------------------------------------------------------------------------------------- the detector


def test_points_share_each_cell_with_the_background():
    """A blob drawn into the logits: its moments come out, and the background has what is left."""
    method, at, sigma = tiny(stride=1), torch.tensor([20.0, 11.0]), 2.5
    away = (pixel_grid((SIDE, SIDE), like=at) - at).square().sum(-1)
    share = 0.9 * (-away / (2 * sigma**2)).exp()  # of each cell
    logits = torch.full((1, 4, SIDE, SIDE), -20.0)
    logits[0, 1], logits[0, 3] = (share + 1e-12).log(), (1 - share).log()
    method.detector.forward = lambda _: logits  # pyright: ignore[reportAttributeAccessIssue]
    raw = method.forward(pictures(torch.zeros(1, 3, SIDE, SIDE)))
    torch.testing.assert_close(raw.points.xy[0, 1], at, atol=0.02, rtol=0)
    torch.testing.assert_close(raw.points.cov[0, 1], sigma**2 * torch.eye(2), atol=0.1, rtol=0)
    assert raw.points.presence[0, 1].item() == pytest.approx(0.9, abs=0.01)
    assert raw.background.sum().item() == pytest.approx(1.0, abs=1e-4)
    hole = raw.background[0, 0, 11, 20] / raw.background[0, 0, 0, 0]
    assert hole.item() == pytest.approx(0.1, abs=0.01)


def test_the_background_takes_the_picture_that_nobody_claims():
    """After a short lesson in dots the K points hold a small part of the cells."""
    method = short_lesson()
    image = dots(somewhere(16, 3, seed=900))
    with torch.no_grad():
        logits = method.detector(method._cells(image))
        share = logits.softmax(1).mean((0, 2, 3))
    assert share[-1] > 0.5
    assert share[:-1].max() < 0.25


# ------------------------------------------------------------------------------------------------ the warps


class Stub(StructuralLandmarks):
    """Finds the mean of the brightness, or says the middle whatever it sees."""

    fixed = False

    def forward(self, batch: Images) -> Raw:
        mass = batch.image.mean(1).square()  # what lies far away must not count
        mass = mass / mass.sum((1, 2), keepdim=True)
        xy = torch.einsum("bhw,hwc->bc", mass, pixel_grid((SIDE, SIDE), like=mass))[:, None]
        if self.fixed:
            xy = torch.full_like(xy, SIDE / 2)
        b, maps = len(xy), mass[:, None]
        spread = torch.eye(2).expand(b, 1, 2, 2)
        return Raw(points=Readout(xy=xy, cov=spread, maps=maps, presence=torch.ones(b, 1)), background=maps)


@pytest.mark.parametrize("control", ["grid", "landmarks"])
def test_an_equivariant_detector_costs_nothing_and_a_fixed_one_does(control):
    config = replace(
        StructuralLandmarks.presets["tiny"], n_keypoints=1, displacement=0.04, shift=0.08, control=control
    )
    if control == "landmarks":  # the spline wants three, and a single landmark has no neighbour
        config = replace(config, grid=3)
    method, xy = Stub(config), 12 + 8 * torch.rand(32, 1, 2, generator=torch.Generator().manual_seed(1))
    batch = pictures(dots(xy, sigma=1.2))
    torch.manual_seed(2)
    _, right = method._equivariance(batch, method.forward(batch).points.xy)
    assert right.sqrt() < 0.25
    method.fixed = True
    torch.manual_seed(2)
    _, wrong = method._equivariance(batch, method.forward(batch).points.xy)
    assert wrong.sqrt() > 1.5


def test_control_points_at_the_landmarks_move_as_drawn():
    xy = somewhere(4, 3, seed=3)
    drawn = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(4))
    still = structural_landmarks._random(
        replace(StructuralLandmarks.presets["tiny"], rotation=0.0, scale=0.0, shift=0.0),
        (SIDE, SIDE),
        xy,
        0.0,
    )
    warp = held_by(xy, drawn, (SIDE, SIDE), still)
    assert isinstance(warp, Inverse)
    torch.testing.assert_close(warp.inverse_points(xy + drawn), xy, atol=1e-3, rtol=0)
    torch.testing.assert_close(warp.points(xy), xy + drawn, atol=1e-2, rtol=0)
    edge = torch.tensor([[-0.5, -0.5], [SIDE - 0.5, SIDE - 0.5]]).expand(4, 2, 2)
    torch.testing.assert_close(warp.points(edge), edge, atol=1e-2, rtol=0)
    seen = warp_image(dots(xy[:, :1], sigma=1.0), warp).mean(1)  # and the picture goes with them
    centre = torch.einsum("bhw,hwc->bc", seen, pixel_grid((SIDE, SIDE), like=xy)) / seen.sum((1, 2))[:, None]
    torch.testing.assert_close(centre, (xy + drawn)[:, 0], atol=0.35, rtol=0)


def test_landmarks_that_lie_on_each_other_hold_no_spline():
    config = replace(StructuralLandmarks.presets["tiny"], control="landmarks")
    together = torch.full((2, 3, 2), 16.0)
    together[1] = torch.tensor([[8.0, 8.0], [20.0, 9.0], [14.0, 22.0]])
    torch.manual_seed(0)
    warp = structural_landmarks._held_by_landmarks(config, (SIDE, SIDE), together)
    assert warp.points(together).isfinite().all()


# ------------------------------------------------------------------------------------------- the appearance


def test_a_descriptor_is_what_lies_under_its_map():
    method = tiny(stride=1)
    features = torch.randn(1, 8, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    weights = torch.zeros(1, 4, SIDE, SIDE)
    weights[0, 0, 4:8, 4:8], weights[0, 1, 20:24, 20:24], weights[0, 2:, 12, 12] = 1 / 16, 1 / 16, 1.0
    words = method.describe(features, weights)
    assert words.shape == (1, 4, 4)
    far = features.clone()
    far[:, :, 16:] += 3
    again = method.describe(far, weights)
    torch.testing.assert_close(again[:, 0], words[:, 0], atol=0, rtol=0)
    assert (again[:, 1] - words[:, 1]).abs().max() > 0.1


def test_a_change_far_away_hardly_changes_a_descriptor():
    """From the picture on: the normalisation of the features sees all of it, the convolutions do not."""
    method = tiny(feature_widths=(16,))
    image = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    weights = torch.zeros(1, 4, SIDE // 2, SIDE // 2)
    weights[..., 3, 3] = 1

    def word(changed: Tensor) -> Tensor:
        return method.describe(method.look(method._cells(changed)), weights)

    near, far = image.clone(), image.clone()
    near[..., 4:10, 4:10] = 1 - near[..., 4:10, 4:10]
    far[..., 22:28, 22:28] = 1 - far[..., 22:28, 22:28]
    with torch.no_grad():
        moved = [(word(changed) - word(image)).norm() for changed in (near, far)]
    assert moved[1] < 0.05 * moved[0]


def test_a_raster_is_shared_by_density():
    method = tiny(stride=1, levels=2, sigma=1 / 8)
    xy = torch.tensor([[[8.0, 8.0], [24.0, 8.0], [16.0, 24.0]]])
    maps = method.rasters(xy, torch.zeros(1, 4, 4), (SIDE, SIDE))
    assert maps.shape == (1, 2 * (4 + 8), SIDE, SIDE)
    share = maps[:, : 2 * 4].unflatten(1, (4, 2))
    torch.testing.assert_close(share.sum(1), torch.ones(1, 2, SIDE, SIDE))
    peak = 1 / (2 * math.pi * (1 / 8) ** 2)  # against 1 of the background
    assert share[0, 0, 0, 8, 8].item() == pytest.approx(peak / (peak + 1), rel=1e-3)
    assert share[0, 0, 1, 8, 8] < share[0, 0, 0, 8, 8]  # the wider one is lower


# --------------------------------------------------------------------------------------------- the learning


def short_lesson() -> StructuralLandmarks:
    """A minute's worth of steps in a few seconds: three dots that move on their own."""
    if "trained" not in _KEPT:
        with torch.random.fork_rng():
            method = tiny().train()
            optimiser = torch.optim.Adam(method.parameters(), lr=5e-3)
            for step in range(250):
                optimiser.zero_grad()
                terms = method.loss(pictures(dots(somewhere(8, 3, seed=step))))
                torch.stack(list(terms.values())).sum().backward()
                optimiser.step()
        _KEPT["trained"] = method.eval()
    return _KEPT["trained"]


_KEPT: dict[str, StructuralLandmarks] = {}


def test_the_picture_is_drawn_from_where_the_points_are():
    method, image = short_lesson(), dots(somewhere(32, 3, seed=901))
    with torch.no_grad():
        raw = method.forward(pictures(image))
        right = (method.redraw(image, raw) - image).square().mean()
        other = Raw(points=replace(raw.points, xy=raw.points.xy.roll(1, 0)), background=raw.background)
        wrong = (method.redraw(image, other) - image).square().mean()
    assert wrong > 1.5 * right


def test_points_follow_the_dots():
    method, xy = short_lesson(), somewhere(64, 3, seed=902)
    found = method.predict(pictures(dots(xy))).xy
    untrained = tiny().predict(pictures(dots(xy))).xy

    def unexplained(points: Tensor) -> Tensor:
        """What an affine head cannot say of the dots, as a share of how much they move."""
        known = torch.cat([points.flatten(1), torch.ones(len(points), 1)], 1)
        wanted = xy.flatten(1)
        rest = wanted - known @ torch.linalg.lstsq(known, wanted).solution
        return rest.square().mean() / (wanted - wanted.mean(0)).square().mean()

    assert unexplained(found) < 0.9 * unexplained(untrained)


def test_the_reconstruction_weighs_more_as_the_run_goes_on():
    method = tiny(reconstruction=(0.1, 1.0, 10.0), rises_at=(0.3, 0.6))
    batch = pictures(dots(somewhere(2, 3, seed=5)))
    torch.manual_seed(1)
    first = method.loss(batch)["reconstruction"]
    assert method.recycle(batch, 0.1) == ""
    assert "weighs 1 " in method.recycle(batch, 0.3)
    assert "weighs 10 " in method.recycle(batch, 0.9)
    assert method.recycle(batch, 1.0) == ""
    torch.manual_seed(1)
    torch.testing.assert_close(method.loss(batch)["reconstruction"], 100 * first)


# ------------------------------------------------------------------------------------------------ the forms


@pytest.mark.parametrize("concentrate", ["gaussian", "entropy"])
def test_both_forms_of_the_concentration_agree_on_a_gaussian(concentrate):
    sigma, size = 4.0, (64, 48)
    at = torch.tensor([24.0, 30.0])
    blob = (-(pixel_grid(size, like=at) - at).square().sum(-1) / (2 * sigma**2)).exp()[None, None]
    found = Readout(
        xy=at[None, None],
        cov=(sigma**2 * torch.eye(2))[None, None],
        maps=blob / blob.sum(),
        presence=torch.ones(1, 1),
    )
    value = structural_landmarks.CONCENTRATION[concentrate](found, size)
    assert value.item() == pytest.approx(2 * math.pi * math.e * (sigma / 48) ** 2, rel=0.01)


def test_the_known_background_is_removed():
    image = torch.rand(2, 3, SIDE, SIDE)
    change = torch.zeros(2, 1, SIDE, SIDE)
    change[:, :, 8:16, 8:16] = 0.4
    batch = replace(pictures(image), change=change)
    seen = structural_landmarks.GROUND["removed"](batch)
    torch.testing.assert_close(seen[:, :, 8:16, 8:16], image[:, :, 8:16, 8:16])
    assert (seen[:, :, 20:] == structural_landmarks.GREY).all()
    assert structural_landmarks.GROUND["kept"](batch) is image
    assert structural_landmarks.GROUND["removed"](pictures(image)) is image


def test_a_picture_need_not_be_square():
    method = tiny(control="landmarks")
    batch = pictures(torch.rand(2, 3, 24, 40))
    terms = method.loss(batch)
    assert all(term.isfinite() for term in terms.values())
    found = method.predict(batch)
    assert found.maps is not None and found.maps.shape == (2, 3, 12, 20)
    assert (found.xy <= torch.tensor([39.0, 23.0])).all()


def test_an_unknown_form_is_refused_by_name():
    with pytest.raises(ValueError, match="control: wanted grid or landmarks, got corners"):
        tiny(control="corners")
    with pytest.raises(ValueError, match="reconstruction: wanted 2 weights"):
        tiny(rises_at=(0.5,))
