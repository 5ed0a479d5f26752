"""Labels from views that agree, with a detector that is truth, noise and strays."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from asterism.data.multiview import views_of
from asterism.data.tables import take_pictures
from asterism.data.worlds import Rig
from asterism.engine.relabel import Rule, agree, best_of_windows, table_of, with_own
from asterism.errors import RequestError
from asterism.geometry import camera

T, V, K = 10, 8, 17  # moments, views, points


@pytest.fixture(scope="module")
def rig():
    return views_of(Rig(n=T, views=V, subjects=1, seed=3))


@pytest.fixture(scope="module")
def truth(rig):
    """Where every point is in every view, "T V K 2", also outside the pictures."""
    xyz = torch.from_numpy(rig.views[0].images.xyz)
    seen = camera.project(rig.cameras, xyz.reshape(1, -1, 3).expand(V, -1, 3))[0]
    return seen.reshape(V, T, K, 2).transpose(0, 1).contiguous()


def sure(xy):
    return torch.full(xy.shape[:-1], 0.5, dtype=xy.dtype)


def inside(xy):
    return ((xy >= -0.5) & (xy <= 127.5)).all(-1)


def distance(found, truth, where):
    return (found - truth).norm(dim=-1)[where]


def test_perfect_detections_are_given_back(rig, truth):
    seen = agree(rig.cameras, truth, sure(truth), rig.sizes(), Rule(inlier=1.0, window=5))
    assert seen.points.valid.all() and torch.equal(seen.known, inside(truth))
    assert distance(seen.xy, truth, seen.known).max() < 1e-6
    assert torch.allclose(seen.score, torch.full((T,), 0.5 * V * K, dtype=seen.score.dtype))
    assert seen.chosen.tolist() == [0, 5]


def test_strays_cost_only_their_own_views_and_are_corrected(rig, truth):
    g = torch.Generator().manual_seed(0)
    noise = 0.7 * torch.randn(truth.shape, generator=g, dtype=truth.dtype)
    stray = torch.rand(truth.shape[:-1], generator=g) < 0.2
    anywhere = 127 * torch.rand(truth.shape, generator=g, dtype=truth.dtype)
    xy = torch.where(stray[..., None], anywhere, truth + noise)
    seen = agree(rig.cameras, xy, sure(xy), rig.sizes(), Rule(inlier=4.0, least_share=0.5))
    assert seen.points.valid.double().mean() > 0.98
    assert seen.points.inlier[stray].double().mean() < 0.05
    gap = distance(seen.xy, truth, seen.known & stray)  # what was wrong is right now
    assert len(gap) > 200 and gap.median() < 0.7 and gap.quantile(0.95) < 2.0
    assert distance(seen.xy, truth, seen.known).median() < 0.6  # and what was seen is a little better


def test_what_half_of_the_views_miss_is_labelled_in_all(rig, truth):
    score = sure(truth)
    score[:, ::2] = 0.1
    seen = agree(rig.cameras, truth, score, rig.sizes(), Rule(inlier=1.0, least_score=0.2))
    assert not seen.points.inlier[:, ::2].any() and torch.equal(seen.known, inside(truth))
    labels = table_of(seen, tuple(rig.name(i) for i in range(len(rig))), rig.skeleton)
    view = labels.image // T
    assert (labels.visible[view % 2 == 0]).sum() == 0 and labels.visible[view % 2 == 1].any()
    assert np.allclose(labels.score[labels.labelled], 0.5)


def test_two_views_are_refused(rig, truth):
    score = sure(truth)
    score[:, 2:, :5] = 0.0  # five points are seen by two views only
    seen = agree(rig.cameras, truth, score, rig.sizes(), Rule(inlier=1.0))
    assert not seen.points.valid[:, :5].any() and seen.points.valid[:, 5:].all()
    assert not seen.known[:, :, :5].any() and not seen.xy[:, :, :5].any()


def test_three_of_many_are_no_majority(rig, truth):
    xy = truth.clone()
    xy[:, 3:] = 127 * torch.rand(xy[:, 3:].shape, generator=torch.Generator().manual_seed(1), dtype=xy.dtype)
    few = agree(rig.cameras, xy, sure(xy), rig.sizes(), Rule(inlier=1.0, least_share=0.5))
    enough = agree(rig.cameras, xy, sure(xy), rig.sizes(), Rule(inlier=1.0, least_share=0.3))
    assert few.points.valid.double().mean() < 0.05
    assert not (few.points.inlier.any(1) & ~few.points.valid).any()
    assert enough.points.valid.double().mean() > 0.95


def test_a_moment_with_few_points_does_not_teach(rig, truth):
    score = sure(truth)
    score[0, :, 3:] = 0.0
    seen = agree(rig.cameras, truth, score, rig.sizes(), Rule(inlier=1.0, window=1, least_points=0.5))
    assert seen.chosen.tolist() == list(range(1, T))


def test_a_camera_that_looks_away_gets_no_labels(rig, truth):
    cameras = rig.cameras
    about = torch.diag(torch.tensor([-1.0, 1.0, -1.0], dtype=torch.float64))  # half a turn about its own y
    cameras.cam_from_world[0] = about @ cameras.cam_from_world[0]
    try:
        score = sure(truth)
        score[:, 0] = 0.0
        seen = agree(cameras, truth, score, rig.sizes(), Rule(inlier=1.0))
        assert not seen.known[:, 0].any() and seen.known[:, 1:].any(-1).all()
    finally:
        cameras.cam_from_world[0] = about @ cameras.cam_from_world[0]


def test_the_numbers_count(rig, truth):
    score = sure(truth)
    score[:, 0] = 0.0
    numbers = agree(rig.cameras, truth, score, rig.sizes(), Rule(inlier=1.0, window=5)).numbers()
    assert numbers["accepted"] == 1 and numbers["views_per_point"] == V - 1 and numbers["chosen_moments"] == 2
    assert numbers["reprojection_px"] < 1e-6
    assert numbers["new_labels"] == int(inside(truth)[[0, 5]].sum())
    nothing = agree(rig.cameras, truth, 0 * score, rig.sizes(), Rule(inlier=1.0)).numbers()
    assert nothing == dict.fromkeys(nothing, 0)


def test_the_best_of_each_window():
    score = torch.tensor([1.0, 3, 3, 2, 0, 1, 0, 0, 0, 5])
    assert best_of_windows(score, 3).tolist() == [1, 3, 9]
    assert best_of_windows(score, 1).tolist() == [0, 1, 2, 3, 5, 9]
    assert best_of_windows(score, 100).tolist() == [9]
    assert best_of_windows(0 * score, 3).tolist() == []


def test_new_labels_are_of_the_right_pictures_and_leave_those_made_by_hand(rig, truth):
    seen = agree(rig.cameras, truth, sure(truth), rig.sizes(), Rule(inlier=1.0, window=5))
    names = tuple(rig.name(i) for i in range(len(rig)))
    new = table_of(seen, names, rig.skeleton)
    assert sorted(new.image.tolist()) == sorted(v * T + t for v in range(V) for t in (0, 5))
    own = rig.table
    assert np.abs(new.xy[0] - own.xy[new.image[0]])[own.labelled[new.image[0]]].max() < 1e-6
    assert take_pictures(new, [T]).images == ("cam1/000000",)
    hand = table_of(seen, names, rig.skeleton)
    rows = np.flatnonzero(hand.image == T)
    hand.xy[rows] = 7.0
    both = with_own(_only(hand, rows), new)
    assert len(both) == len(new) and (both.xy[both.image == T] == 7.0).all()


def _only(table, rows):
    columns = ("image", "individual", "xy", "labelled", "visible", "score", "box", "has_box", "area")
    return replace(table, **{name: getattr(table, name)[rows] for name in columns})


@pytest.mark.parametrize(
    "wrong",
    [
        {"inlier": 0},
        {"least_views": 2},
        {"window": 0},
        {"least_score": 2},
        {"least_share": 2},
        {"least_points": -1},
    ],
)
def test_impossible_rules_are_refused(wrong):
    with pytest.raises(RequestError, match=next(iter(wrong))):
        Rule(**{"inlier": 1.0} | wrong)
