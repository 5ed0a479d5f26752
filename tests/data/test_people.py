"""Whole pictures with everybody in them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from asterism.data.base import ImageSet
from asterism.data.people import People, whole_frames
from asterism.data.worlds.figures import Figures
from asterism.geometry import affine
from asterism.types import Augment, LabelledPeople


class Relabelled(ImageSet):
    """Another set's pictures with another table."""

    def __init__(self, images, table):
        self.images, self.table, self.skeleton = images, table, images.skeleton
        self.title, self.is_clip = images.title, False

    def __len__(self):
        return len(self.images)

    def picture(self, index):
        return self.images.picture(index)

    def name(self, index):
        return self.images.name(index)

    def fingerprint(self):
        return "relabelled"


@pytest.fixture(scope="module")
def figures():
    return Figures(n=3, seed=1, size=(64, 96), people=(1, 3))


def test_samples_hold_everybody_padded(figures):
    samples = People(figures, whole_frames(figures), (48, 48))
    assert len(samples) == 3
    batch = LabelledPeople.cat([samples[i] for i in range(3)])
    table = figures.table
    count = [int((table.image == i).sum()) for i in range(3)]
    assert batch.valid.sum(1).tolist() == count and batch.xy.shape[1] == max(count)
    assert (batch.counts == 1).all()
    for i in range(3):
        rows = np.flatnonzero(table.image == i)
        back = affine.apply(batch.to_source[i : i + 1], batch.xy[i].flatten(0, 1)[None])
        back = back.unflatten(1, batch.xy.shape[1:3])[0, : len(rows)]
        some = batch.labelled[i, : len(rows)]
        assert torch.equal(some, torch.from_numpy(table.labelled[rows]))
        wanted = torch.from_numpy(table.xy[rows]).float()
        torch.testing.assert_close(back[some], wanted[some], atol=1e-3, rtol=1e-4)


def test_a_mirrored_picture_exchanges_left_and_right(figures):
    size = (48, 48)
    plain = People(figures, whole_frames(figures), size)[0]
    mirrored = People(figures, whole_frames(figures), size, Augment(flip=1.0))[0]
    order = list(figures.skeleton.swap)
    assert torch.equal(mirrored.labelled, plain.labelled[:, :, order])
    some = mirrored.labelled
    wanted = plain.xy[:, :, order].clone()
    wanted[..., 0] = size[1] - 1 - wanted[..., 0]
    torch.testing.assert_close(mirrored.xy[some], wanted[some], atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(mirrored.image.flip(-1), plain.image, atol=1e-4, rtol=0)


def test_the_same_seed_and_epoch_give_the_same_sample(figures):
    augment = Augment(rotation=20.0, scale=0.2, flip=0.5)
    one, two = (People(figures, whole_frames(figures), (32, 32), augment, 5) for _ in range(2))
    assert torch.equal(one[2, 1].image, two[2, 1].image) and torch.equal(one[2, 1].xy, two[2, 1].xy)
    assert not torch.equal(one[2, 1].xy, one[3, 1].xy)


def test_people_without_labels_make_a_region_that_does_not_count(figures):
    table = figures.table
    bare = table.labelled.copy()
    bare[0] = False
    boxes = table.box.copy()
    boxes[0] = (10, 20, 30, 40)
    images = Relabelled(figures, replace(table, labelled=bare, box=boxes, has_box=np.ones(len(table), bool)))
    sample = People(images, whole_frames(images), (96, 96))[0]
    assert not sample.valid[0, 0]
    # the picture of 64 x 96 lies in the middle of 96 x 96
    assert (sample.counts[0, 0] == 0).sum() == 30 * 40
    assert (sample.counts[0, 0, 36:76, 10:40] == 0).all()
