"""self-training-corr: corners become parts, the parts become landmarks, and left is told from right."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from asterism.methods.landmarks.self_training_corr import LANDMARKS, ROUNDS, WARMUP, SelfTrainingCorr
from asterism.ops import cluster
from asterism.types import Images

SIDE = 32
STEPS = 400
COLOURS = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.8, 0.2], [0.2, 0.2, 0.95]])


def dots(n: int, seed: int) -> tuple[Tensor, Images]:
    """Three dots of different colours that move about on a grey ground: n pictures and their places."""
    generator = torch.Generator().manual_seed(seed)
    xy = torch.tensor([[8.0, 9.0], [23.0, 10.0], [15.0, 23.0]])
    xy = xy + 3.0 * (2 * torch.rand(n, 3, 2, generator=generator) - 1)
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    d = (x - xy[..., 0, None, None]) ** 2 + (y - xy[..., 1, None, None]) ** 2
    blobs = torch.exp(-d / (2 * 1.5**2))  # n 3 H W
    image = 0.4 + torch.einsum("nkhw,kc->nchw", blobs, COLOURS - 0.4)
    image = image + 0.01 * torch.randn(n, 3, SIDE, SIDE, generator=generator)
    return xy, Images(image=image.clamp(0, 1), to_source=torch.eye(2, 3).expand(n, 2, 3).contiguous())


def fresh(seed: int = 0) -> SelfTrainingCorr:
    torch.manual_seed(seed)
    return SelfTrainingCorr(SelfTrainingCorr.presets["tiny"])


def train(method: SelfTrainingCorr, steps: int) -> list[str]:
    """As the engine does: a seed per step, a look back now and then."""
    method.train()
    optimiser = torch.optim.Adam(method.parameters(), lr=4e-3)
    words = []
    for step in range(steps):
        torch.manual_seed(step)
        images = dots(8, step)[1]
        optimiser.zero_grad()
        sum(method.loss(images).values()).backward()
        optimiser.step()
        if step % 10 == 9:
            words.append(method.recycle(images, (step + 1) / steps))
    method.eval()
    return words


@pytest.fixture(scope="module")
def trained() -> SelfTrainingCorr:
    with torch.random.fork_rng():
        method = fresh()
        train(method, STEPS)
    return method


def pseudo_labels(method: SelfTrainingCorr, images: Images):
    with torch.no_grad():
        found = method._generic(images, method.forward(images))
        kept, part, _ = method._pseudo_labels(found)
    return found, kept, part


def test_pseudo_labels_lie_on_the_dots_and_name_them(trained):
    xy, images = dots(64, 10_000)
    found, kept, part = pseudo_labels(trained, images)
    distance, dot = torch.cdist(found.xy, xy).min(-1)  # N P
    assert kept.sum() > 0.5 * 3 * 64
    assert (distance[kept] < 1.5).float().mean() > 0.95
    table = torch.zeros(3, 3)
    for p, d in zip(part[kept].tolist(), dot[kept].tolist()):
        table[p, d] += 1
    assert sorted(table.argmax(1).tolist()) == [0, 1, 2]
    assert table.amax(1).sum() > 0.95 * table.sum()


def test_a_picture_has_a_part_at_most_once(trained):
    _, kept, part = pseudo_labels(trained, dots(64, 10_001)[1])
    for row, which in zip(part, kept):
        assert len(row[which].unique()) == int(which.sum())


def test_landmarks_follow_the_dots_and_an_untrained_network_does_not(trained):
    xy, images = dots(64, 10_002)

    def gap(method: SelfTrainingCorr) -> tuple[Tensor, Tensor]:
        return torch.cdist(xy, method.predict(images).xy).min(-1)

    distance, nearest = gap(trained)
    assert distance.mean() < 2.0
    assert distance.mean() < 0.4 * gap(fresh())[0].mean()
    assert (nearest == nearest.mode(0).values).float().mean() > 0.95  # always the same one
    assert sorted(nearest.mode(0).values.tolist()) == [0, 1, 2]


def test_the_stages_follow_each_other():
    method, images = fresh(), dots(8, 0)[1]
    terms = method.train().loss(images)
    assert terms["landmark"] == 0 and terms["keypoint"] > 0
    assert method.recycle(images, 0.1) == "" and int(method.stage) == WARMUP
    for _ in range(4):
        method.loss(images)
    assert "are in clusters" in method.recycle(images, 0.3) and int(method.stage) == ROUNDS
    assert method.loss(images)["landmark"] == 0
    before = method.coarse.clone()
    method.recycle(images, 0.4)
    assert not torch.equal(before, method.coarse)
    method.recycle(images, 0.7)
    assert int(method.stage) == LANDMARKS
    assert method.loss(images)["landmark"] > 0
    assert "agree" in method.recycle(images, 0.8)


def test_too_few_keypoints_are_waited_for():
    method, images = fresh().train(), dots(4, 0)[1]
    empty = replace(images, image=torch.full_like(images.image, 0.5))
    method.loss(empty)
    assert "too few" in method.recycle(empty, 0.5)
    assert int(method.stage) == WARMUP


def test_the_bank_holds_the_last_pictures():
    method = fresh().train()
    size = len(method.bank)
    for step in range(size // 8 + 2):
        method.loss(dots(8, step)[1])
    assert int(method.filled) == size + 16
    norms = method.bank[method.banked].norm(dim=-1)
    torch.testing.assert_close(norms, torch.ones_like(norms))
    method.eval()
    before = method.bank.clone()
    method.loss(dots(8, 0)[1])
    assert torch.equal(before, method.bank)  # nothing is remembered of pictures that are only judged


def test_what_does_not_change_is_no_keypoint():
    method, images = fresh(), dots(8, 0)[1]
    change = torch.zeros(8, 1, SIDE, SIDE)
    change[..., : SIDE // 2] = 1
    found = method._generic(replace(images, change=change), method.forward(images))
    assert found.valid.any() and (found.xy[found.valid][:, 0] < SIDE // 2 + 1).all()


def test_partners_are_exchanged_when_the_mirrored_picture_is_averaged(trained):
    """With flips averaged, the landmarks of the mirror image are the mirrored ones, partners exchanged."""
    method = fresh()
    method.load_state_dict(trained.state_dict())
    images = dots(16, 10_003)[1]
    swap = torch.tensor([1, 0, 2])
    method.swap.copy_(swap)
    method.met.zero_()[torch.arange(3), swap] = 5.0
    found = method.predict(images)
    mirrored = method.predict(replace(images, image=images.image.flip(-1)))
    assert found.maps is not None and mirrored.maps is not None
    torch.testing.assert_close(mirrored.maps, found.maps.flip(-1)[:, swap], atol=1e-5, rtol=0)
    method.met.fill_(1.0)  # no agreement: the picture alone
    assert not torch.equal(method.predict(images).maps, found.maps)


def test_candidates_that_coincide_become_one_and_no_more_than_needed():
    torch.manual_seed(0)
    method = SelfTrainingCorr(
        replace(SelfTrainingCorr.presets["tiny"], candidates=5 / 3)
    )  # 5 for 3 keypoints
    method.overlap[0, 3] = method.overlap[3, 0] = 0.9
    method.overlap[1, 2] = method.overlap[2, 1] = 0.8
    method.overlap[2, 4] = method.overlap[4, 2] = 0.75
    assert "0 and 3" in method._merge() and "1 and 2" in method._merge()
    assert method.owner.tolist() == [0, 1, 1, 0, 4]
    method.overlap.fill_(1.0)
    assert method._merge() == ""  # three are left
    method.coarse.copy_(torch.eye(5, 8))
    method.coarse_radius.fill_(1.0)
    point = torch.eye(5, 8)[[0, 3, 3, 4]] + 0.1 * torch.tensor([1.0, 2.0, 0.5, 0.0])[:, None]
    picture = torch.tensor([0, 0, 1, 1])
    found = cluster.assign(point, picture, method.coarse, method.coarse_radius)
    member, label = method._members(found, picture)
    assert label.tolist() == [0, 0, 0, 4]
    assert member.tolist() == [True, False, True, True]  # 0 and 3 are one part: the nearer of its picture


def test_the_landmarks_that_recur_most_are_kept():
    torch.manual_seed(0)
    method = SelfTrainingCorr(replace(SelfTrainingCorr.presets["tiny"], candidates=5 / 3)).train()
    images = dots(8, 0)[1]
    method.stage.fill_(LANDMARKS)
    method.coarse.copy_(torch.eye(5, 8))
    rows = torch.tensor([0, 1, 2, 3, 4]).repeat_interleave(torch.tensor([2, 9, 1, 9, 9]))
    method.bank[: len(rows), 0] = torch.eye(5, 8)[rows]
    method.banked[: len(rows), 0] = True
    method.recycle(images, 0.7)
    assert method.chosen.tolist() == [1, 3, 4]
    assert method.predict(images).xy.shape == (8, 3, 2)


def test_the_same_seeds_end_with_the_same_bits():
    states = []
    for _ in range(2):
        method = fresh(3)
        train(method, 40)
        states.append(method.state_dict())
    assert int(states[0]["stage"]) == LANDMARKS
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
