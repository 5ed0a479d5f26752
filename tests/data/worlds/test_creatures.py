"""Points sit on their parts, visibility is occlusion, the set is a function of its seed."""

import pickle

import numpy as np
import pytest

from asterism.data.worlds import Creatures, Figures, demo_clip
from asterism.data.worlds.creature_body import PARTS, SKELETON, SURFACE
from asterism.errors import RequestError


@pytest.fixture(scope="module")
def demo():
    return demo_clip()


@pytest.fixture(scope="module")
def pair():
    return Creatures(n=30, clips=10, seed=5, size=(160, 200), individuals=3)


def test_the_same_seed_gives_the_same_pictures_in_any_order():
    a, b = (Creatures(n=8, clips=2, seed=3, size=(64, 80)) for _ in range(2))
    last = a.picture(7)
    assert np.array_equal(last, list(b)[7]) and a.fingerprint() == b.fingerprint()
    np.testing.assert_array_equal(a.table.xy, b.table.xy)
    other = Creatures(n=8, clips=2, seed=4, size=(64, 80))
    assert not np.array_equal(last, other.picture(7)) and other.fingerprint() != a.fingerprint()


def test_picture_and_table_have_the_promised_form(pair):
    picture, table = pair.picture(0), pair.table
    assert picture.shape == (160, 200, 3) and picture.dtype == np.uint8
    assert table.xy.shape == (90, 14, 2) and np.isfinite(table.xy).all()
    assert not table.xy[~table.labelled].any() and not (table.visible & ~table.labelled).any()
    assert pair.mask(0).max() <= 3 and not pair.is_clip


def test_visible_points_lie_on_their_own_part(pair):
    for i in range(0, 30, 5):
        top, _ = pair.body_map(i)
        for row in np.nonzero(pair.table.image == i)[0]:
            for k in np.nonzero(pair.table.visible[row])[0]:
                x, y = np.rint(pair.table.xy[row, k]).astype(int)
                near = top[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].ravel()
                own = [
                    pair.table.individual[row] * len(PARTS) + PARTS.index(p)
                    for p in SURFACE[SKELETON.names[k]]
                ]
                assert np.isin(near, own).any(), (i, row, SKELETON.names[k])


def test_occlusion_hides_points(pair):
    hidden = pair.table.labelled & ~pair.table.visible
    assert 0.02 < hidden.mean() < 0.5
    assert not hidden[pair.table.individual == 2][:, :7].any()  # the last animal is on top of the others


def test_area_and_box_agree_with_the_mask(demo):
    for i in (0, 100, 250):
        mask = demo.mask(i)
        assert demo.table.area[i] == pytest.approx((mask == 1).sum(), rel=0.08)
        y, x = np.nonzero(mask)
        low, extent = demo.table.box[i, :2], demo.table.box[i, 2:]
        assert np.abs(low - (x.min(), y.min())).max() < 1.5
        assert np.abs(low + extent - (x.max(), y.max())).max() < 1.5


def test_the_demo_turns_through_a_full_circle_and_is_no_rigid_body(demo):
    xy = demo.table.xy
    assert demo.is_clip and len(demo) == 360 and demo.table.labelled.all()
    axis = xy[:, 4] - xy[:, 6]
    heading = np.arctan2(axis[:, 1], axis[:, 0])
    assert np.histogram(heading, 12, (-np.pi, np.pi))[0].min() >= 10
    face = xy[:, 0] - xy[:, 4]
    turn = np.rad2deg(np.angle(np.exp(1j * (np.arctan2(face[:, 1], face[:, 0]) - heading))))
    assert turn.std() > 10 and np.abs(turn).max() > 30
    # Paws in the trunk's own frame still swing
    rotate = np.stack([np.cos(heading), np.sin(heading)], 1)
    paw = ((xy[:, 7] - xy[:, 4]) * rotate).sum(1)
    assert paw.std() > 2.5


def test_the_demo_moves_smoothly(demo):
    step = np.linalg.norm(np.diff(demo.table.xy, axis=0), axis=-1)
    assert step.max() < 16 and np.median(step) > 0.5


def test_a_spot_of_fur_keeps_its_coordinates(demo):
    top, uv = demo.body_map(40)
    y, x = np.nonzero(top >= 0)
    xy, seen = demo.place(40, top[y, x], uv[y, x])
    gap = np.linalg.norm(xy - np.stack([x, y], 1), axis=1)
    assert np.quantile(gap, 0.98) < 0.05 and gap.max() < 1.5 and seen.mean() > 0.97
    # The pixel under a point of the trunk goes where the point goes, 50 frames and a turn later
    for name in ("back", "hips"):
        k = SKELETON.names.index(name)
        pixel = np.rint(demo.table.xy[40, k]).astype(int)
        there, _ = demo.place(90, top[pixel[1], pixel[0]][None], uv[pixel[1], pixel[0]][None])
        assert np.linalg.norm(there[0] - demo.table.xy[90, k]) < 1.0
    assert np.linalg.norm(demo.table.xy[90, 5] - demo.table.xy[40, 5]) > 20


def test_the_animal_stands_out_from_the_ground(demo):
    picture, mask = demo.picture(60).astype(float), demo.mask(60)
    assert np.abs(picture[mask == 1].mean(0) - picture[mask == 0].mean(0)).max() > 25


def test_grounds_move_only_when_they_should():
    still, moving = (Creatures(n=12, clips=1, seed=2, background=b) for b in ("textured", "moving"))

    def change(world):
        a, b, keep = world.picture(0), world.picture(11), (world.mask(0) + world.mask(11)) == 0
        a, b = (p[keep] - p[keep].mean(0) for p in (a, b))
        return (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())

    assert change(still) > 0.8 and change(moving) < 0.5


@pytest.mark.parametrize("kind", ["shadow", "reflection"])
def test_distractors_change_the_ground_and_not_the_animal(kind):
    plain, other = (Creatures(n=8, clips=8, seed=1, distractor=d, body=(0.4, 0.4)) for d in ("none", kind))
    np.testing.assert_array_equal(plain.table.xy, other.table.xy)
    for i in range(8):
        change = np.abs(plain.picture(i).astype(int) - other.picture(i)).max(-1)
        assert np.quantile(change[plain.mask(i) > 0], 0.9) < 5 and np.median(change[plain.mask(i) > 0]) == 0
        if kind == "shadow":
            assert (change > 15).sum() > 100


def test_worlds_travel_to_other_processes(demo):
    for world in (demo, Figures(n=3, size=(48, 48))):
        expected = world.picture(2)
        assert np.array_equal(pickle.loads(pickle.dumps(world)).picture(2), expected)


@pytest.mark.parametrize(
    "wrong",
    [
        {"n": 0},
        {"seed": -1},
        {"clips": 700},
        {"size": (16, 16)},
        {"body": (0.5, 0.2)},
        {"individuals": 0},
        {"background": "x"},
        {"distractor": "x"},
    ],
)
def test_impossible_requests_are_refused(wrong):
    with pytest.raises(RequestError, match=next(iter(wrong))):
        Creatures(**wrong)
