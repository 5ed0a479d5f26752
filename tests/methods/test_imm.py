"""imm: the target's points come from the target alone, and the renderer cannot do without them."""

from dataclasses import replace

import pytest
import torch

from asterism.geometry import affine
from asterism.geometry.coords import pixel_grid
from asterism.methods.landmarks.imm import COSTS, Imm
from asterism.ops.sampling import warp_image
from asterism.types import Clips, Images

SIDE = 32


def fresh(**fields) -> Imm:
    torch.manual_seed(0)
    return Imm(replace(Imm.presets["tiny"], **fields))


def dots(n: int, t: int, seed: int) -> tuple[torch.Tensor, Clips]:
    """Two coloured dots that jump about from frame to frame, on a ground that differs from clip to clip."""
    g = torch.Generator().manual_seed(seed)
    xy = torch.rand(n, t, 2, 2, generator=g) * torch.tensor([12.0, 20.0]) + torch.tensor([2.0, 6.0])
    xy[:, :, 1, 0] += 14  # one to the left, one to the right
    grid = pixel_grid((SIDE, SIDE), like=xy)
    blobs = (-(grid - xy[..., None, None, :]).square().sum(-1) / (2 * 3.0**2)).exp()  # n t 2 H W
    colours = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.2, 0.9]])
    ground = 0.1 * torch.rand(n, 1, 3, 1, 1, generator=g)
    image = ground + torch.einsum("ntbhw,bc->ntchw", blobs, colours)
    return xy, Clips(
        image=image.clamp(0, 1), to_source=affine.identity(n, like=image)[:, None].repeat(1, t, 1, 1)
    )


def still(image: torch.Tensor) -> Images:
    return Images(image=image, to_source=affine.identity(len(image), like=image))


@pytest.fixture(scope="module")
def trained() -> Imm:
    with torch.random.fork_rng():
        method = fresh(n_keypoints=4, reconstruction="l1").train()
        optimiser = torch.optim.Adam(method.parameters(), lr=4e-3)
        steps = 300
        for step in range(steps):
            clips = dots(16, 2, step)[1]
            if step % 10 == 0:
                method.recycle(clips, step / steps)
            optimiser.zero_grad()
            sum(method.loss(clips).values()).backward()
            optimiser.step()
    return method.eval()


def test_the_renderer_needs_each_pictures_own_points(trained):
    clips = dots(64, 2, 10_000)[1].image
    source, target = clips[:, 0], clips[:, 1]
    with torch.no_grad():
        look, xy = trained.appearance(source), trained.forward(still(target)).xy
        right = (trained.render(look, xy) - target).abs().mean()
        wrong = (trained.render(look, xy.roll(1, 0)) - target).abs().mean()
    assert wrong > 2 * right


def test_points_follow_the_dots_and_those_of_an_untrained_network_do_not(trained):
    def follows(method):
        """Of each dot's best point, the correlation along the axis where it is worse; the worst dot."""
        xy, clips = dots(128, 1, 10_001)
        found = method.predict(still(clips.image[:, 0])).xy
        both = torch.cat([xy[:, 0], found], dim=1)  # N 4 2
        along = torch.stack([torch.corrcoef(both[..., axis].T)[:2, 2:].abs() for axis in range(2)])
        return float(along.amin(0).amax(1).amin())

    assert follows(trained) > 0.9
    assert follows(fresh(n_keypoints=4)) < 0.9


def test_the_source_cannot_reach_the_targets_gaussians():
    method = fresh().eval()
    seen = []
    method.renderer.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach()))
    target = torch.rand(2, 3, SIDE, SIDE)
    for seed in (1, 2):
        g = torch.Generator().manual_seed(seed)
        method.draw(torch.rand(2, 3, SIDE, SIDE, generator=g), target)
    k = method.config.n_keypoints
    assert torch.equal(seen[0][:, -k:], seen[1][:, -k:])
    assert not torch.allclose(seen[0][:, :-k], seen[1][:, :-k])  # the appearance is the source's
    method.draw(target, target.flip(-1))
    assert not torch.allclose(seen[0][:, -k:], seen[2][:, -k:])


def test_a_gaussian_falls_to_one_over_e_at_sigma():
    method = fresh(sigma=0.5, input_size=(48, 64))
    xy = torch.tensor([[[13.5, 21.5]]]).expand(1, 3, 2)  # the centre of cell (3, 5) at stride 4
    maps = method._gaussians(xy, (12, 16))
    assert method.pose.stride == 4
    assert maps[0, 0, 5, 3] == 1
    torch.testing.assert_close(maps[0, 0, 5, 3 + 3], torch.tensor(-1.0).exp())  # 12 px, half of 24


def test_the_pair_of_one_picture_moves_dots_where_the_warps_say(monkeypatch):
    method = fresh(input_size=(48, 64)).train()
    warps = []
    monkeypatch.setattr(
        "asterism.methods.landmarks.imm.warp_image",
        lambda picture, warp: (warps.append(warp), warp_image(picture, warp))[1],
    )
    xy = torch.tensor([28.0, 20.0]) + 5 * torch.rand(8, 2)
    grid = pixel_grid((48, 64), like=xy)
    image = (-(grid - xy[:, None, None]).square().sum(-1) / (2 * 1.5**2)).exp()[:, None].repeat(1, 3, 1, 1)
    pair = method._pair(Clips(image=image[:, None], to_source=torch.eye(2, 3).expand(8, 1, 2, 3)))
    there = xy
    for view, warp in zip((pair.target, pair.source), warps, strict=True):
        mean = torch.einsum("bhw,hwc->bc", view[:, 0], grid) / view[:, 0].sum((1, 2))[:, None]
        moved = warp.points(there[:, None])[:, 0]
        assert ((moved - mean).norm(dim=-1) < 0.25).all()
        assert (moved - there).norm(dim=-1).min() > 0.1  # it went somewhere
        there = moved


def test_the_pair_of_a_clip_is_two_different_frames_in_either_order():
    method = fresh()
    image = torch.arange(2.0)[None, :, None, None, None].expand(64, 2, 3, SIDE, SIDE)
    pair = method._pair(Clips(image=image, to_source=torch.eye(2, 3).expand(64, 2, 2, 3)))
    source, target = pair.source[:, 0, 0, 0], pair.target[:, 0, 0, 0]
    assert (source + target == 1).all()
    assert 16 < int(source.sum()) < 48
    assert pair.weight is None


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


def test_pixels_that_the_warp_does_not_show_do_not_count():
    method = fresh(reconstruction="l1")
    image = torch.rand(4, 1, 3, SIDE, SIDE)
    pair = method._pair(Clips(image=image, to_source=torch.eye(2, 3).expand(4, 1, 2, 3)))
    assert pair.weight is not None
    hidden = pair.weight == 0
    assert 0 < hidden.float().mean() < 0.5
    drawn = pair.target + hidden.float()
    # a pixel's neighbours in the coarse scales of the cost see it, itself it must not count
    assert float(COSTS["l1"](method, drawn, pair)) < 0.5 * float(
        COSTS["l1"](method, drawn, replace(pair, weight=None))
    )


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("frames", [1, 2])
def test_every_cost_learns_from_pictures_that_are_not_square(cost, frames):
    method = fresh(reconstruction=cost, input_size=(48, 64)).train()
    clips = Clips(image=torch.rand(2, frames, 3, 48, 64), to_source=torch.eye(2, 3).expand(2, frames, 2, 3))
    assert method.predict(still(clips.image[:, 0])).xy.shape == (2, 3, 2)
    total = sum(method.loss(clips).values())
    total.backward()
    for name, p in method.named_parameters():
        assert p.grad is not None and p.grad.isfinite().all(), name
    assert sum(p.grad.abs().sum() for p in method.pose.parameters() if p.grad is not None) > 0
    assert len(method.usual) == {"pyramid": 4, "self": 3}.get(cost, 0) and (method.usual > 0).all()


def test_the_slow_copy_and_the_usual_sizes_move_in_training_only():
    method = fresh(reconstruction="self")
    clips = dots(4, 2, 0)[1]
    with torch.no_grad():
        for p in method.pose.parameters():
            p += 0.1
    before = {n: b.clone() for n, b in method.named_buffers()}
    method.eval().loss(clips)
    assert all(torch.equal(b, before[n]) for n, b in method.named_buffers())
    method.train().loss(clips)
    changed = {n for n, b in method.named_buffers() if not torch.equal(b, before[n])}
    assert "usual" in changed and "slow.rungs.0.0.weight" in changed


def test_held_points_stand_at_their_places_and_are_let_go():
    method = fresh(start_reach=0.1)
    image = torch.rand(4, 3, SIDE, SIDE)
    with torch.no_grad():
        method.head.weight.zero_()
    held = method.predict(still(image)).xy
    assert (held - method.start).norm(dim=-1).max() < 0.5
    clips = dots(4, 2, 0)[1]
    assert method.recycle(clips, 0.1) == ""
    assert "free" in method.recycle(clips, 0.3)
    free = method.predict(still(image)).xy
    torch.testing.assert_close(free, torch.full_like(free, (SIDE - 1) / 2), atol=1e-4, rtol=0)
    assert float(fresh(start_until=0.0).hold) == 0


def test_an_unknown_cost_is_said():
    with pytest.raises(ValueError, match="wanted one of l1, gradient"):
        fresh(reconstruction="vgg")
