"""bkind: the difference of two frames is drawn from one frame's features and both frames' points."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from asterism.geometry import affine
from asterism.methods.landmarks.bkind import BKind, Raw, difference
from asterism.types import Clips, Images

TINY = BKind.presets["tiny"]
SIDE = 32


def fresh(**changes) -> BKind:
    torch.manual_seed(0)
    return BKind(replace(TINY, **changes))


def dots(xy: Tensor, size: tuple[int, int] = (SIDE, SIDE), sigma: float = 2.0) -> Tensor:
    """Pictures N 3 H W with coloured blobs at xy (N B 2) on a still ground."""
    y, x = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    d = (x - xy[..., 0, None, None]) ** 2 + (y - xy[..., 1, None, None]) ** 2
    colours = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.2, 0.8]])[: xy.shape[1]]
    ground = 0.1 + 0.1 * ((x // 4 + y // 4) % 2)
    return ground + torch.einsum("nbhw,bc->nchw", torch.exp(-d / (2 * sigma**2)), colours)


def clip(image: Tensor) -> Clips:
    n, t = image.shape[:2]
    return Clips(image=image, to_source=torch.eye(2, 3).expand(n, t, 2, 3).contiguous())


def as_images(image: Tensor) -> Images:
    return Images(image=image, to_source=affine.identity(len(image), like=image))


# ---------------------------------------------------------------------------------------------- the target


def test_equal_frames_differ_nowhere():
    image = torch.rand(2, 3, 24, 40)
    assert difference(image, image).abs().max() < 1e-4


def test_the_difference_is_bright_only_where_a_dot_moved():
    places = torch.tensor([[[8.0, 8.0], [24.0, 8.0]], [[8.0, 8.0], [24.0, 24.0]]])
    before, after = dots(places, sigma=1.5)[:, None]
    found = difference(before, after)[0, 0]
    assert found[8, 24] > 0.3 and found[24, 24] > 0.3  # where it was and where it is
    assert found[8, 8].abs() < 1e-3  # the other dot stands still
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    far = ((x - 24) ** 2 + torch.minimum((y - 8) ** 2, (y - 24) ** 2)) > (5 + 5 + 5 + 1) ** 2 * 2
    assert found[far].abs().max() < 1e-3  # windows of 11 and 11 pixels, and the dot's own width


def test_the_other_frame_is_seen_through_the_first_one_s_crop():
    """Two crops of one still scene, one shifted by three pixels, show no difference."""
    wide = dots(torch.tensor([[[16.0, 12.0]]]), (SIDE, SIDE + 3))
    image = torch.stack([wide[..., :SIDE], wide[..., 3:]], 1)
    to_source = torch.eye(2, 3).expand(1, 2, 2, 3).clone()
    to_source[:, 1, 0, 2] = 3
    now, later = fresh()._pair(Clips(image=image, to_source=to_source))
    torch.testing.assert_close(later[..., 3:], now[..., 3:])


# ------------------------------------------------------------------------------------------ the bottleneck


def test_gaussians_have_the_closed_form():
    method = fresh(variances=(0.3, 0.05, 0.02))
    xy = torch.tensor([[[10.0, 20.0], [3.5, 7.5], [31.0, 0.0]]])
    for level, (stride, v) in enumerate(zip((8, 4, 2), (0.3, 0.05, 0.02))):
        maps = method._gaussians(xy, (SIDE, SIDE), level)
        cell = torch.arange(SIDE // stride) * stride + (stride - 1) / 2  # centres of cells in pixels
        d = (cell - xy[..., :1, None])[:, :, 0, None] ** 2 + (cell - xy[..., 1:, None]).mT ** 2
        wanted = torch.exp(-d / (2 * v * 16**2)) / math.sqrt(2 * math.pi * v)
        torch.testing.assert_close(maps, wanted, atol=1e-5, rtol=1e-5)


def test_the_later_frame_reaches_the_decoder_through_its_points_alone(monkeypatch):
    """Its own features never do, and its Gaussians know nothing of the first frame's points."""
    method, k = fresh(curriculum=1.0), TINY.n_keypoints
    seen: list[Tensor] = []
    for block in method.decoder:
        block.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    found = {}
    monkeypatch.setattr(method, "_draw", record(method._draw, found))
    image = torch.rand(2, 2, 3, SIDE, SIDE)
    method.loss(clip(image))
    raw = method.forward(as_images(image.flatten(0, 1)))
    torch.testing.assert_close(found["appearance"], raw.appearance[::2])
    torch.testing.assert_close(found["now"], raw.xy[::2])
    torch.testing.assert_close(found["later"], raw.xy[1::2])
    for level, x in enumerate(seen):
        later, now = x[:, -2 * k : -k], x[:, -k:]
        torch.testing.assert_close(later, method._gaussians(raw.xy[1::2], (SIDE, SIDE), level))
        torch.testing.assert_close(now, method._gaussians(raw.xy[::2], (SIDE, SIDE), level))


def record(draw, found: dict[str, Tensor]):
    def recording(appearance: Tensor, now: Tensor, later: Tensor) -> Tensor:
        found.update(appearance=appearance, now=now, later=later)
        return draw(appearance, now, later)

    return recording


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match="multiples of 8"):
        fresh(input_size=(32, 36))
    with pytest.raises(ValueError, match="finer than a pixel"):
        fresh(variances=(0.1,) * 5)


# ----------------------------------------------------------------------------------------------- the terms


def centroid(batch: Images) -> Raw:
    """Points that turn with the picture by construction: each colour's centre of mass."""
    b, k, h, w = batch.image.shape
    share = batch.image / batch.image.sum((2, 3), keepdim=True)
    x, y = torch.arange(w, dtype=torch.float), torch.arange(h, dtype=torch.float)
    xy = torch.stack([(share.sum(2) * x).sum(-1), (share.sum(3) * y).sum(-1)], -1)
    zero = torch.zeros(b, k, 2, 2)
    return Raw(xy=xy, cov=zero, maps=share, appearance=zero)


def corner(batch: Images) -> Raw:
    found = centroid(batch)
    return replace(found, xy=torch.full_like(found.xy, 6.0))


@pytest.mark.parametrize("size", [(SIDE, SIDE), (SIDE, SIDE + 16)])
def test_points_that_turn_with_the_picture_cost_nothing(size, monkeypatch):
    method = fresh(turns=3, input_size=size)
    image = dots(torch.rand(4, 2, 2) * 20 + 5, size)
    monkeypatch.setattr(method, "forward", centroid)
    cost, found = method._turned(image, centroid(as_images(image)).xy)
    assert float(cost) < 1e-8
    assert len(found) == 3
    monkeypatch.setattr(method, "forward", corner)
    assert float(method._turned(image, corner(as_images(image)).xy)[0]) > 0.1


def test_turns_and_separation_wait_for_their_share_of_the_training():
    method = fresh(curriculum=0.3).train()
    batch = clip(torch.rand(2, 2, 3, SIDE, SIDE))
    assert method.recycle(batch, 0.2) == ""
    early = method.loss(batch)
    assert early["equivariance"].item() == early["separation"].item() == 0
    assert "count" in method.recycle(batch, 0.4)
    assert method.recycle(batch, 0.5) == ""
    late = method.loss(batch)
    assert late.keys() == early.keys()
    assert late["equivariance"].item() > 0 and late["separation"].item() > 0
    again = fresh(curriculum=0.3)
    again.load_state_dict(method.state_dict())
    assert float(again.progress) == 0.5  # a resumed run goes on where it was


# -------------------------------------------------------------------------------------------- the learning


def moving(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Clips of two frames of one dot that moves, and where it is: n 2 3 H W and n 2 2."""
    g = torch.Generator().manual_seed(seed)
    xy = torch.rand(2 * n, 1, 2, generator=g) * 20 + 6
    return dots(xy).unflatten(0, (n, 2)), xy[:, 0].unflatten(0, (n, 2))


@pytest.fixture(scope="module")
def trained() -> BKind:
    with torch.random.fork_rng():
        method = fresh(n_keypoints=2).train()
        optimiser = torch.optim.Adam(method.parameters(), lr=4e-3)
        for step in range(200):
            optimiser.zero_grad()
            terms = method.loss(clip(moving(8, step)[0]))
            torch.stack(list(terms.values())).sum().backward()
            optimiser.step()
    return method.eval()


def test_a_point_follows_the_dot(trained):
    image, xy = moving(64, 1000)
    found = trained.predict(as_images(image[:, 0])).xy
    gone = found - found.mean(0)
    went = (xy[:, 0] - xy[:, 0].mean(0))[:, None]
    follows = (gone * went).sum((0, 2)) / (gone.square().sum((0, 2)) * went.square().sum((0, 2))).sqrt()
    assert follows.abs().max() > 0.9


def test_shuffled_points_draw_worse(trained):
    image, _ = moving(64, 1001)
    now, later = image.unbind(1)
    with torch.no_grad():
        here, there = (trained.forward(as_images(x)) for x in (now, later))
        target = torch.nn.functional.avg_pool2d(difference(now, later), trained.strides[-1])
        right = (trained._draw(here.appearance, here.xy, there.xy) - target).square().mean()
        wrong = (trained._draw(here.appearance, here.xy, there.xy.roll(1, 0)) - target).square().mean()
    assert wrong > 4 * right


def test_pictures_need_not_be_square_nor_clips():
    method = fresh(input_size=(32, 48)).train()
    for t in (1, 2):
        terms = method.loss(clip(torch.rand(2, t, 3, 32, 48)))
        assert all(term.isfinite() for term in terms.values())
    assert method.predict(as_images(torch.rand(2, 3, 32, 48))).xy.shape == (2, 3, 2)
    now, later = method._pair(clip(torch.rand(2, 1, 3, 32, 48)))
    assert later.shape == now.shape
    assert not torch.equal(later, now)
