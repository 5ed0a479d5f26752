"""video-difference: points start on what moves, learn to follow it, and the useful ones are kept."""

from dataclasses import replace

import pytest
import torch

from asterism.methods.landmarks.video_difference import VideoDifference, _spread_on
from asterism.types import Clips, Images

SIDE = 32


def dots(n: int, seed: int) -> tuple[torch.Tensor, Images]:
    """Two blobs of different colours at independent places on a still ground: n pictures and their places."""
    generator = torch.Generator().manual_seed(seed)
    xy = torch.rand(n, 2, 2, generator=generator) * torch.tensor([12.0, 20.0]) + torch.tensor([2.0, 6.0])
    xy[:, 1, 0] += 14  # one blob to the left, one to the right
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    d = (x - xy[..., 0, None, None]) ** 2 + (y - xy[..., 1, None, None]) ** 2
    blobs = torch.exp(-d / (2 * 2.0**2))  # n 2 H W
    colours = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.2, 0.9]])
    image = 0.1 + torch.einsum("nbhw,bc->nchw", blobs, colours)
    images = Images(
        image=image.clamp(0, 1),
        to_source=torch.eye(2, 3).expand(n, 2, 3).contiguous(),
        change=blobs.amax(1, keepdim=True) * 0.8,
    )
    return xy, images


def as_clips(images: Images) -> Clips:
    assert images.change is not None
    return Clips(
        image=images.image[:, None], to_source=images.to_source[:, None], change=images.change[:, None]
    )


def fresh(seed: int = 0) -> VideoDifference:
    torch.manual_seed(seed)
    return VideoDifference(replace(VideoDifference.presets["tiny"], n_keypoints=2))


@pytest.fixture(scope="module")
def trained() -> VideoDifference:
    with torch.random.fork_rng():
        method = fresh().train()
        optimiser = torch.optim.Adam(method.parameters(), lr=4e-3)
        steps = 240
        for step in range(steps):
            clips = as_clips(dots(16, step)[1])
            if step % 10 == 0:
                method.recycle(clips, step / steps)
            optimiser.zero_grad()
            sum(method.loss(clips).values()).backward()
            optimiser.step()
    return method.eval()


def follows(method: VideoDifference) -> float:
    """Mean distance of each blob from its nearest point, in pixels, on pictures never seen."""
    xy, images = dots(64, 10_000)
    found = method.predict(images).xy
    return float(torch.cdist(xy, found).amin(-1).mean())


def test_points_follow_the_blobs_and_an_untrained_network_does_not(trained):
    untrained = follows(fresh())
    assert follows(trained) < 2.5
    assert follows(trained) < 0.5 * untrained


def test_each_blob_has_a_point_of_its_own(trained):
    xy, images = dots(64, 10_001)
    nearest = torch.cdist(xy, trained.predict(images).xy).argmin(-1)  # N 2
    assert (nearest[:, 0] != nearest[:, 1]).float().mean() > 0.9
    assert nearest.float().std(0).max() < 0.3  # and it is always the same one


def test_shuffled_points_draw_worse(trained):
    _, images = dots(64, 10_002)
    with torch.no_grad():
        raw, target = trained.forward(images), trained._target(images.image, images.change)
        weight = raw.presence * trained.active
        right = (trained._draw(raw.xy, weight) - target).abs().mean()
        wrong = (trained._draw(raw.xy.roll(1, 0), weight) - target).abs().mean()
    assert wrong > 1.5 * right


def test_as_many_points_are_kept_as_were_asked_for(trained):
    assert int(trained.active.sum()) == 2
    assert trained.active[trained.chosen].tolist() == [1.0, 1.0]
    assert trained.predict(dots(3, 0)[1]).xy.shape == (3, 2, 2)


def test_candidates_start_on_what_moves():
    method = fresh().train()
    _, images = dots(16, 0)
    words = method.recycle(as_clips(images), 0.0)
    assert "start" in words
    assert images.change is not None
    moved = torch.nn.functional.avg_pool2d(images.change, 2).mean((0, 1))
    u, v = method.start.round().long().unbind(-1)
    assert (moved[v, u] > 0.1 * moved.max()).all()
    assert torch.pdist(method.start).min() > 1.0  # and apart


def test_a_held_candidate_stays_near_its_place():
    method = fresh().train()
    _, images = dots(8, 0)
    method.recycle(as_clips(images), 0.0)
    xy = method.predict(images).xy
    place = method.start[method.chosen] * 2 + 0.5  # cells to pixels
    assert (xy - place).norm(dim=-1).mean() < 4


def test_what_draws_nothing_is_moved_to_the_residual():
    method = fresh().train()
    _, images = dots(16, 0)
    clips = as_clips(images)
    method.recycle(clips, 0.0)
    with torch.no_grad():
        method.colour[1] = 0.0  # candidate 1 draws nothing whatever it finds
    with torch.no_grad():
        useless = int(method.usefulness(images, images.change)[:, 0].argmin())
    before = method.start.clone()
    method.hold.zero_()
    words = method.recycle(clips, 0.28)
    assert "drew nothing" in words
    assert (method.hold > 0).nonzero()[:, 0].tolist() == [useless]
    changed = (method.start != before).any(-1).nonzero()[:, 0].tolist()
    assert changed in ([useless], [])


def test_spread_on_covers_separate_heaps():
    weight = torch.zeros(20, 20)
    weight[3:6, 3:6], weight[14:17, 12:15] = 1.0, 1.0
    places = _spread_on(weight, 2)
    order = places[:, 0].argsort()
    torch.testing.assert_close(places[order], torch.tensor([[4.0, 4.0], [13.0, 15.0]]), atol=0.2, rtol=0)


def test_a_moving_camera_learns_from_two_frames():
    method = fresh().train()
    _, images = dots(8, 0)
    pairs = Clips(
        image=torch.stack([images.image, images.image.roll(1, 0)], 1),
        to_source=images.to_source[:, None].expand(-1, 2, -1, -1).contiguous(),
    )
    terms = method.loss(pairs)
    assert all(torch.isfinite(t) for t in terms.values())
    assert terms["reconstruction"] > 0


def test_a_moving_camera_shows_the_network_no_change():
    """A single picture has none when points are placed, so learning must do without it too."""
    method = fresh().train()
    _, images = dots(8, 0)
    pairs = Clips(
        image=torch.stack([images.image, images.image.roll(1, 0)], 1),
        to_source=images.to_source[:, None].expand(-1, 2, -1, -1).contiguous(),
    )
    seen, change = method._frames(pairs)
    assert seen.change is None
    assert change.shape == (16, 1, SIDE, SIDE)
    assert float(change.amax()) > 0.3


def test_coverage_is_the_mean_distance_to_the_nearest_point():
    method = fresh()
    change = torch.zeros(1, 1, SIDE, SIDE)
    change[..., 8:10, 8:10] = change[..., 20:22, 8:10] = 1.0  # one cell each, at (8.5, 8.5) and (8.5, 20.5)
    at = torch.tensor([[[8.5, 8.5], [8.5, 24.5]]])
    assert float(method._uncovered(at, change)) == pytest.approx((0 + 4) / 2 / method.unit, abs=1e-6)
    assert float(method._uncovered(at, torch.zeros_like(change))) == 0
    assert float(method._uncovered(at, 0.1 * change)) == 0  # dust: under a quarter of the usual peak
