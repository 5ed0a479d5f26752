"""The rig: points are where their cameras project them, people move smoothly, bones keep their length."""

import numpy as np
import pytest
import torch

from asterism.data.worlds import Rig, world
from asterism.data.worlds.figure_pose import FOREARM, SHANK, THIGH, UPPER_ARM
from asterism.errors import RequestError
from asterism.geometry import camera, triangulation


@pytest.fixture(scope="module")
def rig():
    return Rig(n=12, views=6, subjects=2, seed=4)


def by_view(column, rig):
    """N ... to T V ..."""
    return np.moveaxis(column.reshape(rig.views, rig.moments, *column.shape[1:]), 0, 1)


def test_the_same_seed_gives_the_same_pictures_in_any_order(rig):
    again = Rig(n=12, views=6, subjects=2, seed=4)
    assert np.array_equal(again.picture(37), rig.picture(37)) and again.fingerprint() == rig.fingerprint()
    assert not np.array_equal(Rig(n=12, views=6, subjects=2, seed=5).picture(37), rig.picture(37))
    assert rig.picture(0).shape == (128, 128, 3) and rig.picture(0).dtype == np.uint8


def test_labels_are_projections_of_the_points_in_space(rig):
    xyz = torch.from_numpy(rig.xyz)
    xy = camera.project(rig.cameras, xyz.reshape(1, -1, 3).expand(6, -1, 3))[0]
    xy = xy.reshape(6, 12, 17, 2).transpose(0, 1).numpy()
    seen, labelled = by_view(rig.table.xy, rig), by_view(rig.table.labelled, rig)
    np.testing.assert_allclose(seen[labelled], xy[labelled], atol=1e-9)
    inside = ((xy >= 0) & (xy <= 127)).all(-1)
    assert np.array_equal(labelled, inside) and labelled.mean() > 0.9


def test_labels_triangulate_to_the_points(rig):
    seen, labelled = (torch.from_numpy(by_view(c, rig).copy()) for c in (rig.table.xy, rig.table.labelled))
    found = triangulation.triangulate(rig.cameras, seen, labelled, threshold=0.1, sigma=1.0)
    assert found.valid.float().mean() > 0.98
    gap = (found.xyz - torch.from_numpy(rig.xyz)).norm(dim=-1)[found.valid]
    assert gap.max() < 1e-6  # metres


def test_people_keep_their_bones_and_stand_on_the_floor(rig):
    for placed in rig._motion:
        joints = placed.pose.joints
        for side in ("left", "right"):
            at = {n.removeprefix(side + "_"): p for n, p in joints.items() if n.startswith(side)}
            arm = [("shoulder", "elbow", UPPER_ARM), ("elbow", "wrist", FOREARM)]
            for a, b, length in [*arm, ("hip", "knee", THIGH), ("knee", "ankle", SHANK)]:
                bone = np.linalg.norm(at[a] - at[b]) / placed.stature
                assert bone == pytest.approx(length, rel=0.02)
        assert min(at[1] for at in joints.values()) == pytest.approx(0, abs=1e-9)


def test_motion_is_smooth_within_a_person(rig):
    steps = np.linalg.norm(np.diff(rig.xyz, axis=0), axis=-1).max(1)
    change = [t for t in range(11) if rig.subject(t) != rig.subject(t + 1)]
    assert change == [5]
    assert np.delete(steps, change).max() < 0.6 and steps.min() > 0


def test_pictures_show_the_person_and_the_still_background(rig):
    """Of two moments of one camera, what differs lies where the person is."""
    gap = np.abs(rig.picture(2).astype(int) - rig.picture(11).astype(int)).max(-1)
    box = np.array([rig.table.box[2], rig.table.box[11]])
    low, high = box[:, :2].min(0), (box[:, :2] + box[:, 2:]).max(0)
    y, x = np.nonzero(gap > 60)
    here = (x > low[0] - 3) & (x < high[0] + 3) & (y > low[1] - 3) & (y < high[1] + 3)
    assert len(x) > 200 and here.mean() > 0.99


def test_points_are_hidden_in_some_views_and_seen_in_others(rig):
    labelled, visible = by_view(rig.table.labelled, rig), by_view(rig.table.visible, rig)
    assert not (visible & ~labelled).any() and 0.4 < visible.mean() < 0.95
    assert ((visible.sum(1) >= 1) & (visible.sum(1) < 6)).mean() > 0.3


def test_names_scenes_and_words():
    rig = world("rig?n=6&views=3&subjects=2&seed=1&size=64x96")
    assert isinstance(rig, Rig) and len(rig) == 18 and rig.picture_size(0) == (64, 96)
    assert (
        rig.name(7) == "cam1/000001" and rig.scene(7) == "cam1/subject0" and rig.scene(17) == "cam2/subject1"
    )
    assert rig.picture(3).shape == (64, 96, 3) and len(rig.cameras) == 3


@pytest.mark.parametrize("wrong", [{"n": 0}, {"views": 1}, {"subjects": 99}, {"seed": -1}, {"skeleton": "x"}])
def test_impossible_requests_are_refused(wrong):
    with pytest.raises(RequestError, match=next(iter(wrong))):
        Rig(**wrong)
