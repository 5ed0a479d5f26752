"""Crops: exact geometry, labels in step, the same random changes wherever they are drawn."""

import math

import numpy as np
import pytest
import torch

from asterism.data.augment import Change, crop_from_changed
from asterism.data.crops import Crops, cut, frames_of
from asterism.errors import RequestError
from asterism.geometry import affine
from asterism.types import Augment, Images, LabelledImages

AUGMENTS = [None, Augment(rotation=40.0, scale=0.2, shift=0.05), Augment(rotation=180.0, flip=1.0)]


@pytest.mark.parametrize("augment", AUGMENTS)
def test_a_dot_lies_where_its_label_says(augment, labels, Held, frames, blob, centroid):
    table = labels([[[70.0, 52.0], [70.0, 52.0], [70.0, 52.0]]])
    images = Held([blob((70, 52), (96, 128))], table)
    crops = Crops(images, frames([[66.0, 50.0]], [24.0], [0.3]), (48, 48), augment, seed=3)
    for epoch in range(4):
        sample = crops[(epoch, 0)]
        assert isinstance(sample, LabelledImages)
        assert sample.labelled.all()
        torch.testing.assert_close(centroid(sample.image[0]), sample.xy[0, 0].double(), atol=0.05, rtol=0)
        back = affine.apply(sample.to_source, sample.xy)[0]
        torch.testing.assert_close(back, torch.tensor([[70.0, 52.0]] * 3), atol=1e-4, rtol=0)


def test_a_crop_of_a_window_is_the_crop_of_the_picture(frames):
    from asterism.ops.sampling import crop

    picture = np.random.default_rng(0).integers(0, 256, (301, 403, 3), dtype=np.uint8)
    whole = torch.from_numpy(picture).movedim(-1, 0)[None].float() / 255
    for scale in (10.0, 40.0, 90.0):
        table = frames([[140.0, 201.0], [155.0, 215.0]], [scale, 1.5 * scale], [0.4, -1.0])
        at = affine.source_from_crop(frames_of(table, np.arange(2)), (32, 40))
        expected = crop(whole.expand(2, -1, -1, -1), at.float(), (32, 40))
        torch.testing.assert_close(cut(picture, at, (32, 40)).image, expected, atol=1e-5, rtol=0)


def test_a_crop_beside_the_picture_is_black(frames):
    table = frames([[-500.0, 900.0]], [20.0], [0.0])
    at = affine.source_from_crop(frames_of(table, np.arange(1)), (16, 16))
    assert cut(np.full((30, 40, 3), 255, np.uint8), at, (16, 16)).image.abs().max() == 0


def test_mirroring_exchanges_left_and_right(labels, Held, frames):
    table = labels([[[20.0, 30.0], [44.0, 31.0], [32.0, 20.0]]], [[True, False, True]])
    images = Held([np.zeros((64, 64, 3), np.uint8)], table)
    at = frames([[31.5, 31.5]], [32.0], [0.0])
    plain = Crops(images, at, (64, 64))[0]
    mirrored = Crops(images, at, (64, 64), Augment(flip=1.0))[0]
    assert mirrored.labelled.tolist() == [[False, True, True]]
    assert mirrored.visible.tolist() == [[False, True, True]]
    torch.testing.assert_close(mirrored.xy[0, 1], torch.tensor([63.0 - 20.0, 30.0]))
    torch.testing.assert_close(plain.xy[0, 0], torch.tensor([20.0, 30.0]))


def test_nothing_is_mirrored_without_a_swap(labels, Held, frames):
    table = labels([[[20.0, 30.0], [44.0, 31.0], [32.0, 20.0]]], swap=())
    images = Held([np.zeros((64, 64, 3), np.uint8)], table)
    sample = Crops(images, frames([[31.5, 31.5]], [32.0], [0.0]), (64, 64), Augment(flip=1.0))[0]
    torch.testing.assert_close(sample.xy[0, 0], torch.tensor([20.0, 30.0]))


def test_points_outside_the_crop_are_not_labelled(labels, Held, frames):
    table = labels([[[-0.4, 10.0], [-0.6, 10.0], [31.4, 31.4]]])
    images = Held([np.zeros((64, 64, 3), np.uint8)], table)
    sample = Crops(images, frames([[15.5, 15.5]], [16.0], [0.0]), (32, 32))[0]
    assert sample.labelled.tolist() == [[True, False, True]]
    assert sample.xy[0, 1].tolist() == [0, 0]


def test_changes_depend_on_seed_epoch_and_index_alone(Held, frames):
    rng = np.random.default_rng(1)
    pictures = [rng.integers(0, 256, (40, 40, 3), dtype=np.uint8) for _ in range(3)]
    at = frames([[20.0, 20.0]] * 3, [15.0] * 3, [0.0] * 3, rows=False)
    augment = Augment(rotation=30.0, scale=0.2, shift=0.1, brightness=0.3, contrast=0.3, flip=0.5)
    one, two = (Crops(Held(pictures), at, (16, 16), augment, seed=5) for _ in range(2))
    two[(7, 1)], two[2]  # other draws in between
    assert torch.equal(one[(2, 1)].image, two[(2, 1)].image)
    assert not torch.equal(one[(2, 1)].image, one[(3, 1)].image)
    other = Crops(Held(pictures), at, (16, 16), augment, seed=6)
    assert not torch.equal(one[(2, 1)].image, other[(2, 1)].image)
    assert type(one[0]) is Images


def test_change_is_the_largest_difference_of_a_channel(Held, frames):
    still = np.full((20, 20, 3), 100, np.uint8)
    picture = still.copy()
    picture[10, 12] = [100, 49, 120]
    at = frames([[9.5, 9.5]], [10.0], [0.0], rows=False, backgrounds=(still,))
    sample = Crops(Held([picture]), at, (20, 20))[0]
    assert sample.change is not None
    expected = torch.zeros(20, 20)
    expected[10, 12] = 51 / 255
    torch.testing.assert_close(sample.change[0, 0], expected, atol=1e-5, rtol=0)
    wrong = frames([[9.5, 9.5]], [10.0], [0.0], rows=False, backgrounds=(still[:10],))
    with pytest.raises(RequestError, match="20 x 20 pixels came to a background of 20 x 10"):
        Crops(Held([picture]), wrong, (20, 20))[0]


def test_a_larger_scale_makes_the_object_larger():
    change = Change(angle=math.pi / 2, scale=2.0, shift=(3.0, 0.0), brightness=0.0, contrast=0.0, flip=False)
    plain_from_changed = crop_from_changed(change, (9, 9), like=torch.zeros((), dtype=torch.float64))
    changed = torch.tensor([[[7.0, 4.0], [9.0, 4.0]]], dtype=torch.float64)
    expected = torch.tensor([[[4.0, 4.0], [4.0, 5.0]]], dtype=torch.float64)
    torch.testing.assert_close(affine.apply(plain_from_changed, changed), expected)


def test_pictures_are_read_once_while_they_fit(Held, frames):
    images = Held([np.zeros((20, 20, 3), np.uint8)] * 4)
    crops = Crops(images, frames([[9.5, 9.5]] * 4, [10.0] * 4, [0.0] * 4, rows=False), (8, 8))
    for epoch in range(3):
        for index in range(4):
            crops[(epoch, index)]
    assert images.reads == 4


def test_a_picture_without_background_among_others_has_no_change(Held, frames):
    still = np.full((20, 20, 3), 100, np.uint8)
    at = frames([[9.5, 9.5]] * 2, [10.0] * 2, [0.0] * 2, rows=False, backgrounds=(still,))
    at.background[1] = -1
    crops = Crops(Held([still + 51, still + 51]), at, (10, 10))
    both = Images.cat([crops[0], crops[1]])
    assert both.change is not None
    torch.testing.assert_close(both.change[0], torch.full((1, 10, 10), 0.2))
    assert both.change[1].abs().max() == 0
