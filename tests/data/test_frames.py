"""Frames: what stands out is found, followed, turned the right way round, and the choice is explained."""

from dataclasses import replace

import numpy as np
import pytest

from asterism.data.base import ImageSet
from asterism.data.foreground import estimate_background, otsu
from asterism.data.frames import Memory, find_frames
from asterism.data.heading import chain, find_heading
from asterism.data.moments import Blobs, clean, fit
from asterism.errors import RequestError
from asterism.io.table import KeypointTable

SIDE = 96


class Drops(ImageSet):
    """Drop-shaped animals (round, with a thin tail) on a still noisy ground, each on a path of its own."""

    def __init__(self, centres, headings, is_clip=True, seed=0, bright=160.0):
        self.title, self.is_clip = "drops", is_clip
        self.centres, self.headings = np.asarray(centres, float), np.asarray(headings, float)  # T N 2, T N
        self.ground = np.random.default_rng(seed).integers(20, 60, (SIDE, SIDE, 3)).astype(np.uint8)
        self.bright = bright

    def __len__(self):
        return len(self.centres)

    def picture(self, index):
        y, x = np.mgrid[:SIDE, :SIDE].astype(float)
        out = self.ground.astype(float)
        for (cx, cy), a in zip(self.centres[index], self.headings[index]):
            u = (x - cx) * np.cos(a) + (y - cy) * np.sin(a)
            v = -(x - cx) * np.sin(a) + (y - cy) * np.cos(a)
            body = (u / 10) ** 2 + (v / 5) ** 2 <= 1
            tail = (u > -22) & (u < -8) & (np.abs(v) < 1.2)
            out[body | tail] = self.bright
        return out.clip(0, 255).astype(np.uint8)

    def name(self, index):
        return f"drops#{index}"

    def fingerprint(self):
        return ""


def circling(t=60):
    """One animal that walks a circle, head first, through one and a half turns."""
    phase = np.linspace(0, 3 * np.pi, t)
    centre = 48 + 22 * np.stack([np.cos(phase), np.sin(phase)], -1)
    return centre[:, None], (phase + np.pi / 2)[:, None]


def turn(a, b):
    """Absolute difference of two angles."""
    return np.abs((np.asarray(a) - b + np.pi) % (2 * np.pi) - np.pi)


def test_the_front_is_found_in_every_frame_of_a_full_turn():
    centres, headings = circling()
    frames = find_frames(Drops(centres, headings))
    assert frames.kind == "moments"
    assert len(frames) == 60
    assert turn(frames.angle, headings[:, 0]).max() < np.radians(8)
    assert frames.doubt.max() < 0.05
    # The centre of mass lies behind the body's centre, on the axis, by the pull of the tail.
    behind = centres[:, 0] - frames.centre
    ahead = np.stack([np.cos(headings[:, 0]), np.sin(headings[:, 0])], -1)
    assert np.abs(behind - (behind * ahead).sum(1, keepdims=True) * ahead).max() < 1.0
    assert np.ptp((behind * ahead).sum(1)) < 1.5
    assert np.ptp(frames.scale) == 0  # it keeps its size


def test_pictures_without_order_face_one_way_too():
    centres, headings = circling()
    order = np.random.default_rng(1).permutation(60)
    frames = find_frames(Drops(centres[order], headings[order], is_clip=False))
    assert frames.kind == "moments"
    assert turn(frames.angle, headings[order, 0]).max() < np.radians(8)


def test_a_remembered_look_decides_the_front():
    """A set whose look was learned the other way round turns all its fronts."""
    centres, headings = circling()
    frames = find_frames(Drops(centres, headings))
    assert frames.look is not None
    backwards = Memory(objects=1, look=frames.look[::-1, ::-1].copy())
    again = find_frames(Drops(centres, headings), memory=backwards)
    assert turn(again.angle, frames.angle + np.pi).max() < np.radians(1)


def test_two_animals_that_cross_keep_their_numbers():
    t = np.linspace(-1, 1, 60)
    first = np.stack([48 + 35 * t, 40 + 0 * t], -1)
    second = np.stack([48 - 35 * t, 52 + 0 * t], -1)  # they pass 12 px apart: their bodies touch
    headings = np.stack([0 * t, np.pi + 0 * t], -1)
    frames = find_frames(Drops(np.stack([first, second], 1), headings), objects=2, kind="moments")
    for k in range(2):
        own = frames.centre[frames.individual == k]
        gaps = [np.hypot(*(own - path).T).max() for path in (first, second)]
        assert min(gaps) < 7
        assert max(gaps) > 40


def test_objects_are_counted():
    centres, headings = circling()
    other = np.stack([96 - centres[:, 0], centres[:, 0]], 1)
    frames = find_frames(Drops(other, np.concatenate([headings + np.pi, headings], 1)))
    assert frames.individual.max() == 1


def test_nothing_moves():
    centres = np.full((20, 1, 2), 48.0)
    frames = find_frames(Drops(centres, np.zeros((20, 1))))
    assert frames.kind == "whole"
    assert "hardly anything stands out" in frames.why
    np.testing.assert_allclose(frames.centre, 47.5)
    np.testing.assert_allclose(frames.scale, 48.0)
    assert len(frames.backgrounds) == 1  # the camera is still all the same


def test_a_scene_that_is_never_the_same_has_no_background():
    class Boiling(Drops):
        """Every picture is another one: no camera's motion explains that."""

        def picture(self, index):
            return np.random.default_rng(index).integers(0, 255, (SIDE, SIDE, 3)).astype(np.uint8)

    centres, headings = circling(30)
    frames = find_frames(Boiling(centres, headings))
    assert frames.kind == "whole"
    assert "camera moves" in frames.why
    assert frames.backgrounds == ()
    assert (frames.background == -1).all()
    assert frames.placed is None


def test_parts_that_come_and_go_are_no_object():
    """Like the paws of an animal held in place: now one, now four of them, here and there."""
    random = np.random.default_rng(0)
    centres = random.uniform(15, 80, (40, 4, 2))
    centres[random.random((40, 4)) < 0.5] = -500.0
    frames = find_frames(Drops(centres, random.uniform(0, 6, (40, 4))))
    assert frames.kind == "whole"
    assert len(frames.backgrounds) == 1


def test_too_few_pictures():
    frames = find_frames(Drops(*circling(3)))
    assert (frames.kind, len(frames)) == ("whole", 3)
    assert "fewer than five" in frames.why
    with pytest.raises(RequestError, match=r"moments.*drops.*fewer than five.*--frame whole"):
        find_frames(Drops(*circling(3)), kind="moments")


def labelled(centres, boxes=None):
    t = len(centres)
    return KeypointTable(
        names=("a",),
        images=tuple(f"{i}" for i in range(t)),
        image=np.arange(t),
        individual=np.zeros(t, np.int64),
        xy=centres.reshape(t, 1, 2),
        labelled=np.ones((t, 1), bool),
        visible=np.ones((t, 1), bool),
        score=np.ones((t, 1)),
        box=np.zeros((t, 4)) if boxes is None else boxes,
        has_box=np.full(t, boxes is not None),
        area=np.zeros(t),
    )


def test_boxes_are_used_when_there_are_any():
    drops = Drops(*circling(6))
    drops.table = labelled(drops.centres, np.tile([10.0, 20.0, 31.0, 11.0], (6, 1)))
    frames = find_frames(drops)
    assert frames.kind == "boxes"
    np.testing.assert_allclose(frames.centre, [[25.0, 25.0]] * 6)  # pixels 10..40 and 20..30
    np.testing.assert_allclose(frames.scale, 31 * 1.25 / 2)
    np.testing.assert_array_equal(frames.row, np.arange(6))


def test_boxes_are_asked_for_in_vain():
    with pytest.raises(RequestError, match=r"--frame boxes.*no boxes"):
        find_frames(Drops(*circling(6)), kind="boxes")
    with pytest.raises(RequestError, match=r"--frame box: wanted one of auto, whole"):
        find_frames(Drops(*circling(6)), kind="box")


def test_a_label_row_goes_to_the_nearest_animal():
    centres, headings = circling(20)
    both = np.stack([96 - centres[:, 0], centres[:, 0]], 1)
    drops = Drops(both, np.concatenate([headings + np.pi, headings], 1))
    drops.table = labelled(both[:, 1])
    frames = find_frames(drops, objects=2, kind="moments")
    assert len(frames) == 20
    np.testing.assert_array_equal(frames.row, np.arange(20))
    assert np.hypot(*(frames.centre - both[:, 1]).T).max() < 6


# ----------------------------------------------------------------------------------------------- closed forms


def test_otsu_separates_two_heaps():
    values = np.concatenate([np.full(900, 10.0), np.full(100, 200.0)])
    assert 10 < otsu(values) < 200


def test_the_background_is_what_is_there_most_of_the_time():
    drops = Drops(*circling())
    still = estimate_background(drops)
    assert still is not None
    np.testing.assert_array_equal(still.picture, drops.ground)
    assert estimate_background(Drops(*circling(4))) is None


def test_chain_agrees_with_enumeration():
    """P(sign) of a chain of four, summed over all sixteen sign sequences."""
    random = np.random.default_rng(3)
    evidence, stays = random.normal(0, 2, 4), random.uniform(0.5, 0.99, 3)
    total, plus = 0.0, np.zeros(4)
    for code in range(16):
        signs = np.array([(code >> i) & 1 for i in range(4)])
        p = np.exp(evidence * signs).prod()
        p *= np.where(np.diff(signs) == 0, stays, 1 - stays).prod()
        total += p
        plus += p * signs
    np.testing.assert_allclose(chain(evidence, stays), plus / total, rtol=1e-9)


def test_a_hundred_wrong_hints_do_not_turn_an_axis_that_is_followed():
    """Evidence that is wrong for a third of a clip: neighbours repeat each other, and no axis jumps."""
    random = np.random.default_rng(0)
    t = 300
    angle = np.cumsum(random.normal(0, 0.05, t))
    hint = np.where((np.arange(t) > 80) & (np.arange(t) < 180), -0.6, 0.6)  # the tail is tucked in
    blobs = Blobs(
        found=np.ones((t, 1), bool),
        centre=np.full((t, 1, 2), 50.0),
        long=np.full((t, 1), 10.0),
        short=np.full((t, 1), 4.0),
        angle=(angle[:, None] + np.pi / 2) % np.pi - np.pi / 2,  # known up to half a turn
        skew=np.zeros((t, 1)),
        thin=np.zeros((t, 1)),
        crop=np.zeros((t, 1, 24, 24), np.float32),
        border=np.zeros((t, 1), bool),
        mass=np.ones((t, 1)),
    )
    way = np.sign(np.cos(blobs.angle[:, 0] - angle))
    heading = find_heading(replace(blobs, thin=-(hint * way)[:, None]), in_time=True)
    assert turn(heading.angle[:, 0], angle).max() < np.radians(1)
    loose = find_heading(replace(blobs, thin=-(hint * way)[:, None]), in_time=False)
    assert (turn(loose.angle[:, 0], angle) > np.radians(90)).mean() == pytest.approx(99 / t)


def test_fit_finds_two_gaussians_and_leaves_dust_alone():
    random = np.random.default_rng(0)
    heaps = [random.normal(c, s, (400, 2)) for c, s in (((20, 20), (6, 2)), ((60, 50), (2, 5)))]
    dust = random.uniform(0, 96, (20, 2))
    points = np.concatenate([*heaps, dust])
    start = np.array([[25.0, 15.0], [55.0, 55.0]]), np.stack([np.eye(2) * 30] * 2)
    means, covariances, owner = fit(points, np.ones(len(points)), *start, area=96.0 * 96.0)
    np.testing.assert_allclose(means, [[20, 20], [60, 50]], atol=0.8)
    np.testing.assert_allclose(np.sqrt(np.diagonal(covariances, 0, 1, 2)), [[6, 2], [2, 5]], rtol=0.15)
    assert owner[:800].sum(1).mean() > 0.95
    assert np.median(owner[800:].sum(1)) < 0.05


def test_clean_drops_dust_and_orders_components():
    weights = np.zeros((20, 20), np.float32)
    weights[2:8, 2:8], weights[12:16, 12:16], weights[0, 19] = 1.0, 1.0, 0.5
    kept, masses, labels = clean(weights)
    np.testing.assert_allclose(masses, [36, 16])
    assert kept[0, 19] == 0
    assert labels[3, 3] == 1
    assert labels[13, 13] == 2


# ------------------------------------------------------------------------------------------- awkward data


def test_mixed_scenes_keep_the_order_of_the_pictures():
    class TwoRooms(Drops):
        def scene(self, index):
            return str(index % 2)

    centres, headings = circling(40)
    frames = find_frames(TwoRooms(centres, headings, is_clip=False))
    assert frames.kind == "moments"
    assert len(frames.backgrounds) == 2
    np.testing.assert_array_equal(frames.image, np.arange(40))
    assert np.hypot(*(frames.centre - centres[:, 0]).T).max() < 6


def test_one_picture_of_another_size():
    class Odd(Drops):
        def picture(self, index):
            return super().picture(index)[:-2] if index == 7 else super().picture(index)

    frames = find_frames(Odd(*circling(40), is_clip=False))
    assert frames.kind == "whole"
    assert frames.backgrounds == ()


def test_a_few_pictures_use_the_remembered_background():
    centres, headings = circling(60)
    drops = Drops(centres, headings)
    frames = find_frames(drops)
    few = Drops(centres[10:12], headings[10:12], is_clip=False)
    memory = Memory(objects=1, look=frames.look, background=frames.backgrounds[0])
    again = find_frames(few, "moments", memory=memory)
    np.testing.assert_allclose(again.centre, frames.centre[10:12], atol=0.5)
    assert turn(again.angle, frames.angle[10:12]).max() < np.radians(3)
    whole = find_frames(few, "whole", memory=memory)
    assert len(whole.backgrounds) == 1


def test_an_animal_that_left_is_not_found():
    centres, headings = circling(60)
    centres[40:45] = -500.0
    frames = find_frames(Drops(centres, headings), "moments")
    np.testing.assert_array_equal(np.flatnonzero(~frames.found), np.arange(40, 45))
    assert (frames.doubt[40:45] == 1).all()


def test_an_animal_without_front_or_motion_is_in_doubt():
    class Eggs(Drops):
        """The drop without its tail."""

        def picture(self, index):
            y, x = np.mgrid[:SIDE, :SIDE].astype(float)
            (cx, cy), a = self.centres[index][0], self.headings[index][0]
            u, v = (x - cx) * np.cos(a) + (y - cy) * np.sin(a), (y - cy) * np.cos(a) - (x - cx) * np.sin(a)
            out = self.ground.copy()
            out[(u / 12) ** 2 + (v / 5) ** 2 <= 1] = 160
            return out

    centres, headings = circling(40)
    eggs = find_frames(Eggs(centres, headings, is_clip=False))
    drops = find_frames(Drops(centres, headings, is_clip=False))
    assert eggs.kind == drops.kind == "moments"
    assert np.median(eggs.doubt) > 0.5
    assert np.median(drops.doubt) < 0.1
