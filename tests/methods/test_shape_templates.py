"""shape-templates: parts are drawn by their formula, hang together, and follow what moves."""

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from asterism.engine.weights import config_from_json
from asterism.geometry import affine
from asterism.methods.landmarks.shape_templates import HUMAN, Part, ShapeTemplates, animal
from asterism.types import Clips, Images

TINY = ShapeTemplates.presets["tiny"]
STICK = (
    Part("trunk", "", (-0.3, 0.0), (0.3, 0.0), 0.1),
    Part("head", "trunk", (0.3, 0.0), (0.6, 0.0), 0.08),
    Part("tail", "trunk", (-0.3, 0.0), (-0.6, 0.0), 0.05),
)


def fresh(**changes) -> ShapeTemplates:
    torch.manual_seed(0)
    return ShapeTemplates(replace(TINY, **changes))


def moved(method: ShapeTemplates, turn: Tensor, shift: Tensor) -> Tensor:
    """Parameters that move every part by the same map: x -> turn x + shift (half sides) about the middle."""
    h, w = method.config.input_size
    centre = (method.joint + method.tip) / 2
    away = (centre - torch.tensor([w - 1.0, h - 1.0]) / 2) / method.unit
    raw = torch.zeros(1, len(centre), 6)
    raw[..., :4] = (turn - torch.eye(2)).flatten()
    raw[..., 4:] = away @ turn.mT + shift - away
    return raw


def rotation(angle: float) -> Tensor:
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, -s], [s, c]])


def clip(image: Tensor) -> Clips:
    """Pictures N T 3 H W as clips that look at their source as it is."""
    n, t = image.shape[:2]
    return Clips(image=image, to_source=torch.eye(2, 3).expand(n, t, 2, 3).contiguous())


# ------------------------------------------------------------------------------------------- the template


@pytest.mark.parametrize("stride", [1, 2])
def test_a_part_is_the_gaussian_of_its_map(stride):
    method = fresh(template=STICK, stride=stride)
    raw = torch.randn(2, 3, 6) * 0.4
    drawn = method._draw(method._placed(raw)).double()
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    pixels = (
        torch.stack([x, y], -1).double().unfold(0, stride, stride).unfold(1, stride, stride).mean((-2, -1))
    )
    for b in range(2):
        for p, part in enumerate(STICK):
            linear = torch.eye(2).double() + raw[b, p, :4].double().view(2, 2)
            ends = torch.tensor([part.joint, part.tip]).double() * 16 + 15.5
            centre = ends.mean(0) + 16 * raw[b, p, 4:].double()
            length = (ends[1] - ends[0]).norm() / 3
            own = torch.diag(torch.stack([length, torch.tensor(16 * part.width).double()]).square())
            cov = linear @ own @ linear.mT + 0.1 * stride**2 * torch.eye(2)  # the raster's least width
            away = pixels - centre
            wanted = (-torch.einsum("hwi,ij,hwj->hw", away, torch.linalg.inv(cov), away) / 2).exp()
            torch.testing.assert_close(drawn[b, p], wanted, atol=1e-5, rtol=1e-4)


def test_no_parameters_redraw_the_template():
    method = fresh(template=STICK)
    placed = method._placed(torch.zeros(2, 3, 6))
    torch.testing.assert_close(placed.tip[1], torch.tensor([p.tip for p in STICK]) * 16 + 15.5)
    torch.testing.assert_close(placed.joint[0], method.joint)
    torch.testing.assert_close(placed.cov[0], method.cov)
    torch.testing.assert_close(placed.joint, placed.wanted)


def test_an_untrained_network_lays_the_template_on_every_picture():
    method = fresh(template=HUMAN, n_keypoints=18, input_size=(32, 48))
    image = Images(image=torch.rand(2, 3, 32, 48), to_source=torch.eye(2, 3).expand(2, 2, 3).contiguous())
    found = method.predict(image)
    wanted = torch.tensor([p.tip for p in HUMAN]) * 16 + torch.tensor([23.5, 15.5])
    torch.testing.assert_close(found.xy, wanted.expand(2, -1, -1))
    assert found.score.min() == 1


def test_size_scales_the_template_about_the_middle():
    one, half = fresh(template=STICK), fresh(template=STICK, size=0.5)
    torch.testing.assert_close((half.tip - 15.5) * 2, one.tip - 15.5)
    torch.testing.assert_close(half.cov * 4, one.cov)


@pytest.mark.parametrize("k", [1, 2, 3, 7, 8, 9, 14])
def test_an_animal_has_any_number_of_parts(k):
    parts = animal(k)
    assert len(parts) == len({part.name for part in parts}) == k
    names = [part.name for part in parts]
    assert parts[0].parent == ""
    assert all(part.parent in names[:i] for i, part in enumerate(parts) if i)
    assert fresh(n_keypoints=k).tip.shape == (k, 2)


def test_an_animal_s_tail_is_as_long_in_one_part_as_in_five():
    reach = [min(part.tip[0] for part in animal(k)) for k in (4, 8, 12)]
    assert reach == pytest.approx([reach[0]] * 3)


def test_the_human_is_symmetrical_and_hangs_together():
    by_name = {part.name: part for part in HUMAN}
    assert len(HUMAN) == len(by_name) == 18
    for part in HUMAN:
        twin = by_name[part.name.replace("left", "right")]
        assert twin.tip[1] == part.tip[1]
        assert abs(twin.tip[0]) == abs(part.tip[0])
        if part.parent:
            ends = by_name[part.parent]
            assert part.joint in (ends.joint, ends.tip)


def test_wrong_templates_are_refused():
    with pytest.raises(ValueError, match=r"18 parts .* not 8"):
        ShapeTemplates(replace(ShapeTemplates.presets["human"], n_keypoints=8))
    with pytest.raises(ValueError, match="one root"):
        fresh(template=(*STICK[:2], replace(STICK[2], parent="wing")))
    with pytest.raises(ValueError, match="one root"):
        fresh(template=(*STICK[:2], replace(STICK[2], parent="")))
    with pytest.raises(ValueError, match="multiples of 8"):
        fresh(input_size=(32, 36))


def test_a_template_survives_json():
    config = ShapeTemplates.presets["human"]
    read = json.loads(json.dumps(asdict(config)))
    assert config_from_json(type(config), read, Path("method.json")) == config


# ----------------------------------------------------------------------------------------------- the terms


def terms(method: ShapeTemplates, raw: Tensor, monkeypatch) -> dict[str, Tensor]:
    monkeypatch.setattr(method, "forward", lambda batch: raw)
    return method.loss(clip(torch.rand(len(raw), 2, 3, *method.config.input_size)))


@pytest.mark.parametrize("size", [(32, 32), (32, 48)])
def test_a_body_that_is_moved_as_a_whole_hangs_together(size, monkeypatch):
    method = fresh(template=STICK, input_size=size, rigid=1.0)
    raw = moved(method, rotation(0.8), torch.tensor([0.1, -0.15]))
    found = terms(method, raw, monkeypatch)
    for name in ("anchors", "boundary", "rigid"):
        assert float(found[name]) == pytest.approx(0, abs=1e-9), name
    assert float(method.decode(raw, images(size)).score.min()) == pytest.approx(1)


def images(size: tuple[int, int]) -> Images:
    return Images(image=torch.rand(1, 3, *size), to_source=torch.eye(2, 3)[None])


def test_a_part_that_is_pulled_away_costs_its_squared_distance(monkeypatch):
    method = fresh(template=STICK, anchors=3.0)
    raw = moved(method, rotation(0.3), torch.zeros(2))
    costs = []
    for pull in (0.1, 0.2):
        torn = raw.clone()
        torn[0, 2, 4:] += torch.tensor([0.0, pull])
        costs.append(float(terms(method, torn, monkeypatch)["anchors"]))
        score = method.decode(torn, images((32, 32))).score[0]
        assert score[:2].tolist() == pytest.approx([1, 1])
        assert float(score[2]) == pytest.approx(math.exp(-((pull / 0.1) ** 2) / 2), rel=1e-3)
    assert costs == pytest.approx([3 * 0.1**2 / 4, 3 * 0.2**2 / 4], rel=1e-4)  # in whole sides


def test_points_outside_cost_their_distance_from_the_border(monkeypatch):
    method = fresh(template=STICK, boundary=1.0)
    raw = moved(method, torch.eye(2), torch.tensor([0.7, 0.0]))
    # trunk's and head's ends lie at 0.3, 0.6 and 0.3: of four ends at +x two joints and two tips pass 1
    edge = [max(0.0, x + 0.7 - 1) for x in (-0.3, 0.3, 0.3, 0.6, -0.3, -0.6)]
    assert float(terms(method, raw, monkeypatch)["boundary"]) == pytest.approx(sum(edge), rel=1e-4)


def test_stretching_a_part_is_not_rigid(monkeypatch):
    method = fresh(template=STICK, rigid=1.0)
    raw = moved(method, rotation(2.0) @ torch.diag(torch.tensor([1.5, 1.0])), torch.zeros(2))
    wanted = (1.5**2 - 1) ** 2
    assert float(terms(method, raw, monkeypatch)["rigid"]) == pytest.approx(wanted, rel=1e-4)


def test_pixels_like_the_still_background_count_less():
    method = fresh(ground=0.2)
    still, change = torch.rand(1, 2, 3, 32, 32), torch.zeros(1, 2, 1, 32, 32)
    change[0, 0, 0, 3, 4], change[0, 1, 0, 20, 21] = 0.5, 0.25
    weight = method._pair(replace(clip(still), change=change))[2][0, 0]
    assert weight[3, 4] == 1
    assert float(weight[20, 21]) == pytest.approx(0.2 + 0.8 * 0.5)
    assert float(weight[10, 10]) == pytest.approx(0.2)
    assert method._pair(clip(still))[2].unique().tolist() == [1.0]  # nothing is known of the background


# -------------------------------------------------------------------------------------------- the learning


def sticks(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Clips of two frames in which the template itself, in one colour, is moved and turned; its tips."""
    g = torch.Generator().manual_seed(seed)
    method = fresh(template=STICK, stride=1)
    turn = rotation(0.0).expand(2 * n, 2, 2).clone()
    angle = (torch.rand(2 * n, generator=g) - 0.5) * 0.6
    turn[:, 0, 0] = turn[:, 1, 1] = angle.cos()
    turn[:, 1, 0], turn[:, 0, 1] = angle.sin(), -angle.sin()
    shift = (torch.rand(2 * n, 2, generator=g) - 0.5) * torch.tensor([0.5, 0.9])
    raw = torch.cat([moved(method, t, s) for t, s in zip(turn, shift)])
    placed = method._placed(raw)
    body = method._draw(placed).amax(1, keepdim=True)
    image = 0.2 + body * torch.tensor([0.7, 0.4, 0.1])[:, None, None]
    return image.unflatten(0, (n, 2)), placed.tip.unflatten(0, (n, 2))[:, 0]


@pytest.fixture(scope="module")
def trained() -> ShapeTemplates:
    with torch.random.fork_rng():
        method = fresh(
            template=STICK, stride=1, rigid=0.002, translator=(16, 16), regressor=(8, 16, 16), hidden=32
        ).train()
        optimiser = torch.optim.Adam(method.parameters(), lr=3e-3)
        for step in range(140):
            optimiser.zero_grad()
            terms = method.loss(clip(sticks(16, step % 40)[0]))
            torch.stack(list(terms.values())).sum().backward()
            optimiser.step()
    return method.eval()


def test_the_parts_follow_the_body(trained):
    image, tips = sticks(64, 1000)
    found = trained.predict(
        Images(image=image[:, 0], to_source=torch.eye(2, 3).expand(64, 2, 3).contiguous())
    )
    still = (tips.mean(0) - tips).norm(dim=-1).mean()
    assert (found.xy - tips).norm(dim=-1).mean() < 0.6 * still


def test_parts_of_another_picture_redraw_worse(trained):
    image, _ = sticks(64, 1001)
    with torch.no_grad():
        now, other, _ = trained._pair(clip(image))
        to_source = affine.identity(64, like=now)
        parts = trained._draw(trained._placed(trained.forward(Images(image=now, to_source=to_source))))
        right = (trained._redraw(other, parts) - now).abs().mean()
        wrong = (trained._redraw(other, parts.roll(1, 0)) - now).abs().mean()
    assert wrong > 1.5 * right


def test_pictures_need_not_be_square_nor_clips():
    method = fresh(input_size=(32, 48))
    for t in (1, 2):
        found = method.train().loss(clip(torch.rand(2, t, 3, 32, 48)))
        assert all(term.isfinite() for term in found.values())
    now, other, _ = method._pair(clip(torch.rand(2, 1, 3, 32, 48)))
    assert other.shape == now.shape
    assert not torch.equal(other, now)
