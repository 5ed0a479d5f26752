"""Prediction of a clip of any length holds a batch of pictures, not the clip."""

import gc
import weakref

import numpy as np
import pytest

from asterism.data.base import FrameTable, ImageSet
from asterism.engine.predict import predict, predict_table
from asterism.types import Skeleton


class Endless(ImageSet):
    """Makes pictures and counts those that are still held by somebody."""

    title, is_clip = "endless", True

    def __init__(self, n):
        self.n, self.alive, self.most = n, 0, 0

    def __len__(self):
        return self.n

    def picture(self, index):
        raise AssertionError("a clip is read in one pass")

    def __iter__(self):
        for _ in range(self.n):
            picture = np.zeros((24, 24, 3), np.uint8)
            self.alive += 1
            self.most = max(self.most, self.alive)
            weakref.finalize(picture, self._gone)
            yield picture
            del picture

    def _gone(self):
        self.alive -= 1

    def name(self, index):
        return f"endless#{index}"

    def fingerprint(self):
        return ""


def whole(n, every=1):
    image = np.arange(0, n, every)
    m = len(image)
    return FrameTable(
        kind="whole",
        why="",
        image=image,
        individual=np.zeros(m, np.int64),
        row=np.full(m, -1),
        centre=np.full((m, 2), 11.5),
        scale=np.full(m, 12.0),
        angle=np.zeros(m),
        doubt=np.zeros(m),
        background=np.full(m, -1),
        found=np.ones(m, bool),
    )


@pytest.mark.parametrize("n", [100, 400])
def test_few_pictures_are_alive(dot, n):
    gc.collect()
    clip = Endless(n)
    table = predict_table(dot, Skeleton(names=("a", "b")), clip, whole(n), (16, 16), device="cpu")
    assert len(table) == n and table.image.tolist() == list(range(n))
    assert clip.most <= 2 * 32 + 2


def test_pictures_without_frames_are_passed_over(dot):
    clip = Endless(50)
    chunks = list(predict(dot, clip, whole(50, every=7), (16, 16), device="cpu"))
    assert [row for chunk in chunks for row in chunk.rows] == list(range(8))
    assert list(chunks[0].pictures) == [0, 7, 14, 21, 28, 35, 42, 49]


def test_nothing_to_look_at_is_an_empty_table(dot):
    clip = Endless(3)
    nothing = whole(3).rows(np.zeros(3, bool))
    table = predict_table(dot, Skeleton(names=("a", "b")), clip, nothing, (16, 16), device="cpu")
    assert len(table) == 0 and len(table.images) == 3
