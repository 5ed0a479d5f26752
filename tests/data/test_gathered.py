import numpy as np
import torch

from asterism.data.frames import find_frames
from asterism.data.gathered import frame_gap, gather
from asterism.data.sources import open_data
from asterism.data.subset import Unlabelled

CLIPS = "world:creatures?n=60&clips=3&background=textured&seed=3&size=96"


def test_pairs_are_of_one_scene_and_seen_through_one_crop():
    images = Unlabelled(open_data(CLIPS))
    frames = find_frames(images, "moments")
    pairs = gather(images, frames, (32, 32), clips=True, length=2)
    assert pairs.gap >= 1 and pairs.image.shape[1] == 2
    torch.testing.assert_close(pairs.to_source[:, 0], pairs.to_source[:, 1])
    first = frames.image[pairs.rows]
    assert [images.scene(int(i)) for i in first] == [images.scene(int(i) + pairs.gap) for i in first]
    assert pairs.change is not None
    still = pairs.change.float().mean((2, 3, 4))  # the second frame's own difference, not the first's
    assert bool((still > 0).all()) and not torch.equal(still[:, 0], still[:, 1])
    border = (pairs.image[:, 0].int() - pairs.image[:, 1].int()).abs()[..., :2, :].float()
    moved = (pairs.image[:, 0].int() - pairs.image[:, 1].int()).abs()[..., 8:24, 8:24].float()
    assert float(border.mean()) < 0.5 * float(moved.mean())


def test_one_frame_is_enough_where_the_background_is_still():
    images = Unlabelled(open_data(CLIPS))
    single = gather(images, find_frames(images, "moments"), (32, 32), clips=True)
    assert single.gap == 0 and single.image.shape[1] == 1


def test_a_gap_does_not_leave_short_scenes():
    images = Unlabelled(open_data("world:creatures?n=24&clips=6&seed=3&size=96"))
    assert frame_gap(images) <= 2


def test_single_pictures_have_no_pairs():
    images = Unlabelled(open_data("world:figures?n=6&seed=1"))
    alone = gather(images, find_frames(images), (32, 32), clips=True, length=2)
    assert alone.gap == 0 and alone.image.shape[1] == 1
    assert np.array_equal(np.sort(alone.rows), np.arange(len(alone)))
