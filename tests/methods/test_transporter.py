"""transporter: the closed form of a transport, what carries no gradient, and a point on a moving dot."""

from dataclasses import replace

import pytest
import torch

from asterism.geometry import affine
from asterism.geometry.coords import pixel_grid
from asterism.methods.landmarks.transporter import Transporter, transport
from asterism.ops.sampling import warp_image
from asterism.types import Clips, Images

SIDE = 32


def fresh(**fields) -> Transporter:
    torch.manual_seed(0)
    return Transporter(replace(Transporter.presets["tiny"], **fields))


def still(image: torch.Tensor) -> Images:
    return Images(image=image, to_source=affine.identity(len(image), like=image))


def dot(n: int, seed: int) -> tuple[torch.Tensor, Clips]:
    """One bright dot that jumps between two frames, on a ground that differs from clip to clip."""
    g = torch.Generator().manual_seed(seed)
    xy = torch.rand(n, 2, 2, generator=g) * 20 + 6
    grid = pixel_grid((SIDE, SIDE), like=xy)
    blob = (-(grid - xy[:, :, None, None]).square().sum(-1) / (2 * 3.0**2)).exp()  # n 2 H W
    ground = 0.4 * torch.rand(n, 1, 3, 1, 1, generator=g)
    image = (ground + blob[:, :, None] * torch.tensor([0.6, 0.5, 0.1])[:, None, None]).clamp(0, 1)
    return xy, Clips(image=image, to_source=affine.identity(n, like=image)[:, None].repeat(1, 2, 1, 1))


@pytest.fixture(scope="module")
def trained() -> Transporter:
    with torch.random.fork_rng():
        method = fresh(n_keypoints=1, sigma=0.25).train()
        optimiser = torch.optim.Adam(method.parameters(), lr=4e-3)
        steps = 300
        for step in range(steps):
            clips = dot(16, step)[1]
            if step % 10 == 0:
                method.recycle(clips, step / steps)
            optimiser.zero_grad()
            sum(method.loss(clips).values()).backward()
            optimiser.step()
    return method.eval()


def test_the_point_follows_the_dot(trained):
    def correlation(method):
        xy, clips = dot(128, 10_000)
        found = method.predict(still(clips.image[:, 0])).xy[:, 0]
        return min(float(torch.corrcoef(torch.stack([xy[:, 0, i], found[:, i]]))[0, 1]) for i in range(2))

    assert correlation(trained) > 0.9
    assert correlation(fresh(n_keypoints=1)) < 0.9


def test_the_renderer_needs_each_pictures_own_points(trained):
    image = dot(64, 10_001)[1].image
    a, b = image[:, 0], image[:, 1]
    with torch.no_grad():
        fa, fb = trained.encoder(a), trained.encoder(b)
        xy_a, xy_b = trained.forward(still(a)).xy, trained.forward(still(b)).xy
        right = (trained.render(fa, xy_a, fb, xy_b) - b).square().mean()
        wrong = (trained.render(fa, xy_a.roll(1, 0), fb, xy_b.roll(1, 0)) - b).square().mean()
    assert wrong > 2 * right


def test_transport_is_the_loop_over_points():
    torch.manual_seed(0)
    fa, fb = torch.rand(2, 4, 5, 6), torch.rand(2, 4, 5, 6)
    ha, hb = torch.rand(2, 3, 5, 6), torch.rand(2, 3, 5, 6)
    f = fa
    for k in range(3):
        a, b = ha[:, k : k + 1], hb[:, k : k + 1]
        f = (1 - a) * (1 - b) * f + b * fb
    torch.testing.assert_close(transport(fa, ha, fb, hb), f)


def test_a_feature_is_carried_and_its_old_place_is_wiped():
    fa, fb = torch.zeros(1, 1, 1, 5), torch.zeros(1, 1, 1, 5)
    fa[..., 1], fb[..., 3] = 7.0, 9.0
    ha, hb = torch.zeros(1, 1, 1, 5), torch.zeros(1, 1, 1, 5)
    ha[..., 1], hb[..., 3] = 1.0, 1.0
    fa[..., 4] = 2.0  # what no point touches stays as it was in a, whatever b has there
    fb[..., 4] = 5.0
    assert transport(fa, ha, fb, hb).flatten().tolist() == [0, 0, 0, 9, 2]


def test_equal_frames_are_left_as_they_are_where_points_are_whole():
    """F = (1 - h)^2 F + h F: the identity for h of 0 and 1, and 3/4 of F at the worst, h = 1/2."""
    f = torch.rand(1, 2, 1, 3)
    h = torch.tensor([0.0, 0.5, 1.0]).reshape(1, 1, 1, 3)
    torch.testing.assert_close(transport(f, h, f, h), f * torch.tensor([1.0, 0.75, 1.0]))
    nothing = torch.zeros(1, 4, 1, 3)
    assert torch.equal(transport(f, nothing, f, nothing), f)


def test_no_gradient_reaches_the_source():
    method = fresh().train()
    a, b = (torch.rand(2, 3, SIDE, SIDE, requires_grad=True) for _ in range(2))
    method.draw(a, b).square().mean().backward()
    assert a.grad is None or a.grad.abs().max() == 0
    assert b.grad is not None and b.grad.abs().max() > 0
    # the networks learn through the target alone: what they make of the source is a constant
    parts = [*method.pose.parameters(), *method.encoder.parameters()]
    full = torch.autograd.grad(method.draw(a, b).square().mean(), parts)
    with torch.no_grad():
        fa, xy_a = method.encoder(a), method.forward(still(a)).xy
    drawn = method.render(fa, xy_a, method.encoder(b), method.forward(still(b)).xy)
    for x, y in zip(full, torch.autograd.grad(drawn.square().mean(), parts)):
        torch.testing.assert_close(x, y)


def test_the_later_view_of_one_picture_moves_dots_where_the_warp_says(monkeypatch):
    method = fresh(input_size=(48, 64)).train()
    xy = torch.tensor([20.0, 27.0]) + 5 * torch.rand(6, 2)
    grid = pixel_grid((48, 64), like=xy)
    image = (-(grid - xy[:, None, None]).square().sum(-1) / (2 * 1.5**2)).exp()[:, None].repeat(1, 3, 1, 1)
    warps = []
    monkeypatch.setattr(
        "asterism.methods.landmarks.transporter.warp_image",
        lambda picture, warp: (warps.append(warp), warp_image(picture, warp))[1],
    )
    pair = method._pair(Clips(image=image[:, None], to_source=torch.eye(2, 3).expand(6, 1, 2, 3)))
    assert torch.equal(pair.source, image)
    (warp,) = warps
    view = pair.target[:, 0]
    mean = torch.einsum("bhw,hwc->bc", view, grid) / view.sum((1, 2))[:, None]
    moved = warp.points(xy[:, None])[:, 0]
    assert ((moved - mean).norm(dim=-1) < 0.25).all()
    assert (moved - xy).norm(dim=-1).min() > 0.1
    assert pair.weight is not None and 0 < (pair.weight == 0).float().mean() < 0.5


def test_both_frames_of_a_clip_are_seen_in_the_same_view():
    method = fresh(view_rotation=20.0, view_scale=0.2, view_shift=0.1)
    grid = pixel_grid((SIDE, SIDE), like=torch.zeros(()))
    blob = (-(grid - torch.tensor([14.0, 18.0])).square().sum(-1) / (2 * 2.0**2)).exp()
    image = blob.expand(16, 2, 3, SIDE, SIDE)
    pair = method._pair(Clips(image=image, to_source=torch.eye(2, 3).expand(16, 2, 2, 3)))
    assert torch.equal(pair.source, pair.target)
    mean = torch.einsum("bhw,hwc->bc", pair.target[:, 0], grid) / pair.target[:, 0].sum((1, 2))[:, None]
    far = (mean - torch.tensor([14.0, 18.0])).norm(dim=-1)
    assert far.min() > 0.01 and far.max() < 8  # 10 % of 32 along each axis, and the turn and scale


@pytest.mark.parametrize("frames", [1, 2])
def test_pictures_that_are_not_square(frames):
    method = fresh(input_size=(48, 64)).train()
    clips = Clips(image=torch.rand(2, frames, 3, 48, 64), to_source=torch.eye(2, 3).expand(2, frames, 2, 3))
    assert method.predict(still(clips.image[:, 0])).xy.shape == (2, 3, 2)
    sum(method.loss(clips).values()).backward()
    for name, p in method.named_parameters():
        assert p.grad is not None and p.grad.isfinite().all(), name


def test_held_points_stand_at_their_places_and_are_let_go():
    method = fresh(start_reach=0.1)
    image = torch.rand(4, 3, SIDE, SIDE)
    with torch.no_grad():
        method.head.weight.zero_()
    assert (method.predict(still(image)).xy - method.start).norm(dim=-1).max() < 0.5
    clips = dot(4, 0)[1]
    assert method.recycle(clips, 0.1) == ""
    assert "free" in method.recycle(clips, 0.3)
    free = method.predict(still(image)).xy
    torch.testing.assert_close(free, torch.full_like(free, (SIDE - 1) / 2), atol=1e-4, rtol=0)
