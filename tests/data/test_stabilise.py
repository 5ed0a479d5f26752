"""A moving camera: planted shifts and maps are found, animals stand out, and a still camera stays still."""

import numpy as np
import pytest
from scipy import ndimage

from asterism.data import scenes as scenes_module
from asterism.data.base import ImageSet
from asterism.data.crops import background_of
from asterism.data.foreground import difference, estimate_background
from asterism.data.frames import find_frames
from asterism.data.moments import Follower
from asterism.data.registration import align, applied, bars, phase_shift, pyramid, shift_between, wander
from asterism.data.rotated import Rotated
from asterism.data.sources import open_data
from asterism.data.stabilise import behind, camera_path, hold
from asterism.data.subset import Unlabelled

SIDE = 96
PANNING = "world:creatures?clips=1&n=120&size=96&background=moving&seed=3"


def ground(seed=0, side=400):
    """A scene with detail of a few pixels and shades of many."""
    random = np.random.default_rng(seed)
    fine, wide = (ndimage.gaussian_filter(random.normal(0, 1, (side, side)), s) * s for s in (1.5, 8))
    return (100 + 70 * fine + 130 * wide).clip(70, 225)


def seen(scene, scene_from_picture, size=(SIDE, SIDE)):
    """What a camera shows of a scene, H W."""
    x, y = np.meshgrid(np.arange(float(size[1])), np.arange(float(size[0])))
    at = applied(scene_from_picture, np.stack([x.ravel(), y.ravel()], -1))
    return ndimage.map_coordinates(scene, [at[:, 1], at[:, 0]], order=3).reshape(size)


def as_picture(grey, noise=2.0, seed=0):
    noisy = grey + np.random.default_rng(seed).normal(0, noise, grey.shape)
    return np.repeat(noisy.round().clip(0, 255).astype(np.uint8)[..., None], 3, -1)


def shift(x, y):
    return np.array([[1.0, 0, x], [0, 1, y], [0, 0, 1]])


def turn(angle, scale, x, y):
    """About the middle of the picture, then shifted."""
    c, s, m = scale * np.cos(angle), scale * np.sin(angle), (SIDE - 1) / 2
    return shift(x + m, y + m) @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ shift(-m, -m)


CORNERS = np.array([[0, 0], [SIDE - 1, 0], [0, SIDE - 1], [SIDE - 1, SIDE - 1.0]])


def off(found, wanted):
    """Largest error of a corner, pixels."""
    return np.abs(applied(found, CORNERS) - applied(wanted, CORNERS)).max()


# ---------------------------------------------------------------------------------------------- two pictures


@pytest.mark.parametrize("planted", [(0.0, 0.0), (3.0, -2.0), (7.3, -4.6), (-20.45, 11.8), (0.25, 0.5)])
def test_phase_correlation_finds_planted_shifts_to_a_tenth_of_a_pixel(planted):
    scene = ground()
    first, second = seen(scene, shift(150, 150)), seen(scene, shift(150 - planted[0], 150 - planted[1]))
    np.testing.assert_allclose(phase_shift(first, second), planted, atol=0.1)
    a, b = pyramid(as_picture(first)), pyramid(as_picture(second, seed=1))
    np.testing.assert_allclose(shift_between(a, b)[:2, 2], planted, atol=0.3)  # on half the pixels, in noise


@pytest.mark.parametrize(
    ("planted", "to_within"),
    [
        (shift(5.3, -3.6), 0.1),
        (turn(0.1, 1.0, 3, 2), 0.1),
        (turn(-0.05, 1.08, -2, 4), 0.1),
        (np.array([[1.02, 0.03, 2], [-0.02, 0.97, -1], [3e-4, -2e-4, 1]]), 0.2),
    ],
)
def test_planted_maps_are_found_although_a_disc_moves_the_other_way(planted, to_within):
    scene, y, x = ground(), *np.mgrid[:SIDE, :SIDE]
    first, second = seen(scene, shift(150, 150)), seen(scene, shift(150, 150) @ np.linalg.inv(planted))
    stripes = 120 + 100 * np.sin(np.arange(SIDE) * 0.7)
    for grey, (cx, cy) in ((first, (40, 50)), (second, (32, 56))):  # a sixth of the picture
        disc = (x - cx) ** 2 + (y - cy) ** 2 < 22**2
        grey[disc] = np.roll(stripes, cx)[x[disc]]
    a, b = pyramid(as_picture(first)), pyramid(as_picture(second, seed=1))
    found = align(a, b, (np.eye(3), shift_between(a, b)))
    assert off(found.b_from_a, planted) < to_within
    assert found.likeness > 0.5


def test_wander_tells_a_moving_scene_from_a_moving_animal():
    scene = ground()
    walks = []
    for t in range(9):
        grey = seen(scene, shift(150, 150))
        grey[30:60, 5 * t : 5 * t + 30] = 240
        walks.append(as_picture(grey, seed=t))
    assert wander(walks) == 0.0
    pans = [as_picture(seen(scene, shift(150 + 2 * t, 150)), seed=t) for t in range(9)]
    assert wander(pans) == pytest.approx(5 / SIDE, rel=0.3)
    blank = [as_picture(np.full((SIDE, SIDE), 120.0), seed=t) for t in range(9)]
    assert wander(blank) == 0.0


def test_bars_are_black_up_to_the_edge():
    picture = as_picture(ground()[:40, :60])
    assert not bars(picture).any()
    picture[:6], picture[20:24, 20:24] = 0, 0
    np.testing.assert_array_equal(bars(picture).nonzero()[0].max(), 5)


# --------------------------------------------------------------------------------------------------- a scene


class Handheld(ImageSet):
    """A dark drop that walks on a textured ground before a camera that drifts, turns and zooms."""

    def __init__(self, t=60, cut=None, walks=True):
        self.title, self.is_clip, self.scene_ = "handheld", True, ground(1, 300)
        phase = np.linspace(0, 2.2 * np.pi, t)
        self.at = 150 + 22 * np.stack([np.cos(phase), np.sin(phase)], -1) * walks  # in the scene
        self.to = phase + np.pi / 2
        wave = np.sin(np.arange(t) / 7.0)
        self.maps = np.stack(
            [
                shift(100 + 0.5 * i - t / 4, 102 + 8 * wave[i])
                @ turn(0.08 * wave[i], 1 + 0.05 * wave[i], 0, 0)
                for i in range(t)
            ]
        )
        self.cut = cut

    def __len__(self):
        return len(self.at)

    def picture(self, index):
        scene = self.scene_
        if self.cut is not None and index >= self.cut:
            scene = scene[::-1, ::-1]
        grey = seen(scene, self.maps[index])
        (cx, cy), a = self.centre(index), self.angle(index)
        y, x = np.mgrid[:SIDE, :SIDE].astype(float)
        u, v = (x - cx) * np.cos(a) + (y - cy) * np.sin(a), (y - cy) * np.cos(a) - (x - cx) * np.sin(a)
        grey[((u / 10) ** 2 + (v / 5) ** 2 <= 1) | ((u > -22) & (u < -8) & (np.abs(v) < 1.2))] = 5
        return as_picture(grey, seed=index)

    def centre(self, index):
        return applied(np.linalg.inv(self.maps[index]), self.at[index][None])[0]

    def angle(self, index):
        linear = np.linalg.inv(self.maps[index])[:2, :2]
        ahead = linear @ [np.cos(self.to[index]), np.sin(self.to[index])]
        return np.arctan2(ahead[1], ahead[0])

    def name(self, index):
        return f"handheld#{index}"

    def fingerprint(self):
        return ""


@pytest.fixture(scope="module")
def handheld():
    return Handheld()


def test_the_path_of_the_camera_is_found(handheld):
    found, reel = camera_path(handheld)
    assert (reel == 0).all()
    wanted = [np.linalg.inv(handheld.maps[0]) @ m for m in handheld.maps]
    assert max(off(f, w) for f, w in zip(found, wanted)) < 0.6


def test_a_cut_begins_a_new_reel():
    assert (np.diff(camera_path(Handheld(20, cut=12))[1]) == (np.arange(19) == 11)).all()


def test_what_moves_against_the_scene_is_found(handheld):
    frames = find_frames(handheld)
    assert frames.kind == "moments"
    assert frames.why == "the camera moves; 1 object(s) stand out from the scene held still"
    centres = np.stack([handheld.centre(i) for i in range(60)])
    angles = np.array([handheld.angle(i) for i in range(60)])
    assert np.median(np.hypot(*(frames.centre - centres).T)) < 3.5  # the tail pulls the centre of mass
    assert np.hypot(*(frames.centre - centres).T).max() < 6
    assert np.abs((frames.angle - angles + np.pi) % (2 * np.pi) - np.pi).max() < np.radians(12)
    assert frames.placed.shape == (60, 3, 3)
    back = background_of(frames, 30, handheld.picture(30))
    assert np.percentile(difference(back, as_picture(seen(handheld.scene_, handheld.maps[30]), 0.0)), 90) < 12
    some = frames.rows(np.array([4, 8]))
    np.testing.assert_array_equal(some.placed, frames.placed[[4, 8]])


def test_a_camera_that_overtakes_the_animal_does_not_turn_it_round():
    """It walks to the right and slides to the left across the picture; nothing but motion tells its front."""

    class Overtaken(Handheld):
        def __init__(self):
            super().__init__(50)
            steps = np.arange(50.0)
            self.at = np.stack([110 + 1.0 * steps, 150 + 0 * steps], -1)
            self.to = 0 * steps
            self.maps = np.stack([shift(70 + 1.7 * s, 100) for s in steps])

        def picture(self, index):
            grey = seen(self.scene_, self.maps[index])
            cx, cy = self.centre(index)
            y, x = np.mgrid[:SIDE, :SIDE].astype(float)
            grey[((x - cx) / 12) ** 2 + ((y - cy) / 5) ** 2 <= 1] = 5
            return as_picture(grey, seed=index)

    images = Overtaken()
    frames = find_frames(images, "moments", objects=1)
    assert np.ptp([images.centre(i)[0] for i in range(50)]) > 25
    assert (np.abs(frames.angle) < np.radians(15)).mean() > 0.9


def test_a_panning_world_has_frames():
    images = Unlabelled(open_data(PANNING))
    frames = find_frames(images)
    assert frames.kind == "moments" and "the camera moves" in frames.why
    truth = np.stack([np.argwhere(images.images.mask(i)).mean(0)[::-1] for i in range(120)])
    assert (np.hypot(*(frames.centre - truth).T) < 5).mean() > 0.95


def test_pictures_turned_with_black_corners_have_frames_too(handheld):
    turned = Rotated(Handheld(40), 0.6)
    frames = find_frames(turned)
    assert frames.kind == "moments" and "the camera moves" in frames.why


def test_nothing_is_known_of_what_nobody_saw():
    panorama = np.zeros((20, 30, 4), np.uint8)
    panorama[:, 10:] = 255
    panorama[:, 10:, :3] = 100
    picture = np.full((20, 20, 3), 90, np.uint8)
    picture[5:9, 12:16] = 10
    still = behind(panorama, np.eye(3), picture)
    np.testing.assert_array_equal(still[:, :9], picture[:, :9])
    np.testing.assert_array_equal(still[:, 12:], 90)  # in the picture's light


def test_sets_without_order_and_short_ones_are_not_held(handheld):
    loose = Handheld(12)
    loose.is_clip = False
    assert hold(loose) is None
    assert hold(Handheld(4)) is None


def test_a_still_camera_gives_what_it_gave_and_is_not_followed(monkeypatch):
    def never(scene):
        raise AssertionError("followed")

    monkeypatch.setattr(scenes_module, "hold", never)
    images = Unlabelled(open_data("world:creatures?clips=1&n=100&size=96&background=textured&seed=3"))
    frames = find_frames(images)
    still = estimate_background(images)
    follower = Follower(still, 1, in_time=True)
    for picture in images:
        follower.add(picture)
    blobs = follower.blobs()
    assert frames.placed is None
    np.testing.assert_array_equal(frames.backgrounds[0], still.picture)
    np.testing.assert_array_equal(frames.centre, blobs.centre[:, 0])
    assert frames.why == "1 object(s) stand out from a still background"


# --------------------------------------------------------------------------------------------------- ghosts


def test_an_animal_that_rests_most_of_the_time_is_no_background():
    class Rests(Handheld):
        """Still camera; the drop stays where it is for two thirds of the clip."""

        def __init__(self):
            super().__init__(60)
            self.maps = np.stack([shift(100, 102)] * 60)
            self.at[:40], self.to[:40] = self.at[40], self.to[40]

    images = Rests()
    frames = find_frames(images)
    assert frames.kind == "moments" and frames.objects == 1
    centres = np.stack([images.centre(i) for i in range(60)])
    assert np.hypot(*(frames.centre - centres).T).max() < 6
