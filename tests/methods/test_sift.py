"""sift: where dots are and how wide, nothing on edges, the same under turns, and matches that are right."""

import math

import pytest
import torch

from asterism.geometry import affine, homography
from asterism.geometry.coords import pixel_grid
from asterism.methods.features.sift import Sift, SiftConfig
from asterism.ops.nearest import mutual_nearest
from asterism.ops.sampling import warp_image
from asterism.types import Images

SIFT = Sift(SiftConfig(n_keypoints=300))


def look(image: torch.Tensor, method: Sift = SIFT):
    found = method.predict(Images(image=image[None], to_source=affine.identity(1, like=image)))
    on = found.valid[0]
    return {name: getattr(found, name)[0][on] for name in ("xy", "scale", "angle", "score", "descriptor")}


def texture(seed: int = 0, side: int = 160) -> torch.Tensor:
    g, picture = torch.Generator().manual_seed(seed), torch.zeros(3, side, side)
    for cell in (4, 8, 16, 32):
        noise = torch.rand(1, 3, side // cell, side // cell, generator=g)
        picture += torch.nn.functional.interpolate(noise, (side, side), mode="bicubic")[0] / 4
    return picture.clamp(0, 1)


@pytest.mark.parametrize("width", [2.0, 4.0, 7.0])
def test_a_dot_is_found_in_its_middle_and_as_wide_as_it_is(width):
    at = torch.tensor([40.3, 33.6])
    far = (pixel_grid((80, 90), like=at) - at).square().sum(-1)
    found = look((-far / (2 * width**2)).exp().expand(3, -1, -1))
    best = int(found["score"].argmax())
    assert (found["xy"][best] - at).abs().max() < 0.05
    assert abs(float(found["scale"][best]) / width - 1) < 0.15


def test_neither_an_edge_nor_one_colour_has_features():
    assert len(look(torch.full((3, 64, 64), 0.4))["xy"]) == 0
    step = ((pixel_grid((96, 96), like=torch.zeros(())) @ torch.tensor([1.0, 0.4])) > 60).float()
    found = look(step.expand(3, -1, -1))["xy"]
    assert ((found > 12) & (found < 83)).all(-1).sum() == 0


def test_a_quarter_turn_turns_features_and_hardly_changes_descriptors():
    picture = texture()
    one, two = look(picture), look(picture.rot90(1, (1, 2)))
    there = torch.stack([one["xy"][:, 1], 159 - one["xy"][:, 0]], dim=1)
    # every second pixel of a line is not every second pixel of it backwards: not exactly the same
    gap = torch.cdist(there, two["xy"]).amin(1) / one["scale"]
    assert (gap < 0.2).float().mean() > 0.9
    pairs, similarity = mutual_nearest(one["descriptor"], two["descriptor"])
    gap = (there[pairs[:, 0]] - two["xy"][pairs[:, 1]]).norm(dim=1) / one["scale"][pairs[:, 0]]
    assert (gap < 0.2).float().mean() > 0.95 and similarity[gap < 0.2].median() > 0.99
    turn = two["angle"][pairs[:, 1]] - one["angle"][pairs[:, 0]] + math.pi / 2
    assert ((torch.sin(turn / 2).abs() * 2)[gap < 0.2] < 0.1).float().mean() > 0.9


def test_matches_of_a_picture_seen_from_elsewhere_are_right_and_upright_ones_are_not():
    picture = texture(1)
    turn, scale = torch.tensor([0.6]), torch.tensor([1.3])
    move = affine.similarity(turn, scale, torch.tensor([[40.0, -50.0]]))
    warp = homography.from_affine(move)
    other = warp_image(picture[None], Moved(warp))[0]
    share = {}
    for name, method in (("sift", SIFT), ("upright", Sift(SiftConfig(n_keypoints=300, upright=True)))):
        one, two = look(picture, method), look(other, method)
        pairs, _ = mutual_nearest(one["descriptor"], two["descriptor"], 0.85)
        off = homography.apply(warp, one["xy"][None])[0][pairs[:, 0]] - two["xy"][pairs[:, 1]]
        share[name] = int((off.norm(dim=1) < 2).sum())
        if name == "sift":
            assert len(pairs) > 25 and share[name] > 0.85 * len(pairs)
    assert share["upright"] < 0.3 * share["sift"]


class Moved:
    """A warp by a homography."""

    def __init__(self, b_from_a: torch.Tensor) -> None:
        self.inverse = homography.inverse(b_from_a)

    def inverse_points(self, xy: torch.Tensor) -> torch.Tensor:
        return homography.apply(self.inverse, xy)

    def points(self, xy: torch.Tensor) -> torch.Tensor:
        return homography.apply(homography.inverse(self.inverse), xy)

    def jacobian(self, xy: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


def test_the_best_so_many_are_kept_in_order_and_the_rest_is_padding():
    few = Sift(SiftConfig(n_keypoints=20))
    some, every = look(texture(), few), look(texture())
    assert len(some["xy"]) == 20 and (some["score"].diff() <= 0).all()
    assert torch.allclose(some["score"], every["score"][:20])
    image = torch.stack([torch.full((3, 160, 160), 0.5), texture()])
    found = few.predict(Images(image=image, to_source=affine.identity(2, like=image)))
    assert found.valid.sum(1).tolist() == [0, 20]
    assert not found.descriptor[0].any()
    assert torch.allclose(found.descriptor[1].norm(dim=1), torch.ones(20))
