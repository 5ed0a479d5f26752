"""People: points on their parts, occlusion by depth, left and right as in reality, limits of limbs."""

import numpy as np
import pytest

from asterism.data.worlds import Figures
from asterism.data.worlds.figure_body import PARTS, joint_of
from asterism.data.worlds.figure_pose import FOREARM, SHANK, THIGH, UPPER_ARM, random_pose
from asterism.data.worlds.painting import top_map
from asterism.data.worlds.skeletons import BODY25, COCO17
from asterism.errors import RequestError


@pytest.fixture(scope="module")
def alone():
    return Figures(n=60, seed=11, size=(128, 128))


@pytest.fixture(scope="module")
def crowd():
    return Figures(n=12, seed=3, size=(160, 192), people=(2, 5), skeleton="body25")


def test_the_same_seed_gives_the_same_pictures_in_any_order(alone):
    again = Figures(n=60, seed=11, size=(128, 128))
    assert np.array_equal(again.picture(37), alone.picture(37)) and alone.fingerprint() == again.fingerprint()
    other = Figures(n=60, seed=12, size=(128, 128))
    assert not np.array_equal(other.picture(37), alone.picture(37))
    assert alone.picture(0).shape == (128, 128, 3) and alone.picture(0).dtype == np.uint8


def test_the_table_keeps_its_word(alone, crowd):
    for world, k in ((alone, 17), (crowd, 25)):
        table = world.table
        assert table.xy.shape[1:] == (k, 2) and np.isfinite(table.xy).all()
        assert not table.xy[~table.labelled].any() and not (table.visible & ~table.labelled).any()
        assert np.array_equal(np.unique(table.image), np.arange(len(world)))
    counts = np.bincount(crowd.table.image)
    assert counts.min() >= 2 and counts.max() <= 5 and len(set(counts)) > 1
    assert alone.table.sigma == COCO17.sigma and crowd.table.names == BODY25.names


def test_visible_points_lie_on_their_own_person(crowd):
    for i in range(12):
        mask = crowd.mask(i)
        for row in np.nonzero(crowd.table.image == i)[0]:
            seen = crowd.table.visible[row]
            x, y = np.rint(crowd.table.xy[row, seen]).astype(int).T
            steps = np.stack(np.meshgrid((-1, 0, 1), (-1, 0, 1)), -1).reshape(9, 1, 2)
            near = mask[np.clip(y + steps[..., 1], 0, 159), np.clip(x + steps[..., 0], 0, 191)]
            assert (near == crowd.table.individual[row] + 1).any(0).all()


def test_people_in_front_cover_those_behind(crowd):
    table = crowd.table
    hidden = table.labelled & ~table.visible
    first = table.individual == 0
    last = np.append(np.diff(table.image) > 0, True)
    assert hidden[first].mean() > hidden[last].mean() + 0.05
    # A hidden point of the last person is hidden by the person's own body or by a thing
    rows = np.nonzero(last & hidden.any(1))[0]
    assert len(rows) > 5
    for row in rows:
        mask = crowd.mask(int(table.image[row]))
        x, y = np.rint(table.xy[row, hidden[row]]).astype(int).T
        assert np.isin(mask[y, x], (0, table.individual[row] + 1)).mean() > 0.9


def test_faces_are_seen_from_the_front_and_not_from_behind(alone):
    table = alone.table
    front = back = 0
    for i in range(60):
        scene = alone._scene(i)
        facing = -scene.poses[0].head[2, 2]  # of the head's forward axis, towards the camera
        top = {PARTS[scene.layers[j].part] for j in np.unique(top_map(scene.layers, alone.size)) if j >= 0}
        if facing > 0.5 and table.labelled[i, :3].all() and all(layer.owner == 0 for layer in scene.layers):
            front += table.visible[i, 0] and "head" in top
        if facing < -0.7:
            assert not table.visible[i, :3].any()
            back += 1
    assert front > 15 and back > 2


def test_in_profile_the_far_ear_is_hidden(alone):
    profiles = 0
    for i in range(60):
        sideways = alone._scene(i).poses[0].head[2, 0]  # of the head's left, away from the camera
        if abs(sideways) > 0.8:
            far = COCO17.names.index("left_ear" if sideways > 0 else "right_ear")
            assert not alone.table.visible[i, far]
            profiles += 1
    assert profiles > 5


def test_left_is_on_the_right_of_a_picture_of_somebody_who_faces_it():
    rng = np.random.default_rng(0)
    for _ in range(200):
        pose = random_pose(rng)
        np.testing.assert_allclose(pose.chest.T @ pose.chest, np.eye(3), atol=1e-9)
        # No mirror images: left x up is forward
        np.testing.assert_allclose(np.cross(pose.chest[:, 0], pose.chest[:, 1]), pose.chest[:, 2], atol=1e-9)
        across = pose.joints["left_shoulder"] - pose.joints["right_shoulder"]
        assert across @ pose.chest[:, 0] > 0.1
        if pose.chest[2, 2] < -0.9 and pose.chest[1, 1] < -0.9:
            assert across[0] > 0


def test_bones_keep_their_length_and_knees_bend_backward():
    rng = np.random.default_rng(1)
    for _ in range(200):
        joints = random_pose(rng).joints
        for side in ("left", "right"):
            at = {n.removeprefix(side + "_"): p for n, p in joints.items() if n.startswith(side)}
            arm = [("shoulder", "elbow", UPPER_ARM), ("elbow", "wrist", FOREARM)]
            for a, b, length in [*arm, ("hip", "knee", THIGH), ("knee", "ankle", SHANK)]:
                assert np.linalg.norm(at[a] - at[b]) == pytest.approx(length, rel=0.02)
            foot, thigh, shank = at["toe"] - at["heel"], at["knee"] - at["hip"], at["ankle"] - at["knee"]
            # The shank turns from the thigh's direction to the heel's side, never to the toes'
            bend = shank / SHANK - thigh / THIGH
            assert bend @ foot <= 0.02


def test_area_agrees_with_the_mask_and_boxes_hold_the_points(alone):
    for i in range(0, 60, 6):
        assert alone.table.area[i] == pytest.approx((alone.mask(i) == 1).sum(), rel=0.12)
    low, extent = alone.table.box[:, None, :2], alone.table.box[:, None, 2:]
    inside = (alone.table.xy >= low - 1) & (alone.table.xy <= low + extent + 1)
    assert inside.all(-1)[alone.table.labelled].all()


def test_a_person_alone_fills_the_picture(alone):
    side = alone.table.box[:, 2:].max(1) / 128
    assert side.min() > 0.55 and np.median(side) > 0.75


def test_skeletons_are_the_published_ones():
    assert [joint_of(n) for n in ("LBigToe", "RHip", "MidHip", "Neck", "left_ear", "REye")] == [
        "left_big_toe",
        "right_hip",
        "mid_hip",
        "neck",
        "left_ear",
        "right_eye",
    ]
    assert COCO17.swap == (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)
    assert len(COCO17.edges) == 19 and len(BODY25.edges) == 26 and len(BODY25) == 25
    assert BODY25.names[8] == "MidHip" and BODY25.names[19] == "LBigToe" and BODY25.swap[19] == 22
    for skeleton in (COCO17, BODY25):  # mirrored edges are edges
        mirrored = {frozenset(skeleton.swap[i] for i in edge) for edge in skeleton.edges}
        assert mirrored == {frozenset(edge) for edge in skeleton.edges}


@pytest.mark.parametrize(
    "wrong",
    [{"n": 0}, {"seed": -1}, {"size": (8, 8)}, {"people": (3, 2)}, {"people": (0, 1)}, {"skeleton": "x"}],
)
def test_impossible_requests_are_refused(wrong):
    with pytest.raises(RequestError, match=next(iter(wrong))):
        Figures(**wrong)
