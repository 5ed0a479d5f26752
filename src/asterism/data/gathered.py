"""Crops cut once and kept in memory: what discovery learns from. Frames that are in doubt are left out."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asterism.data.base import FrameTable, ImageSet, Picture
from asterism.data.crops import background_of, cut, frames_of
from asterism.geometry import affine
from asterism.types import Clips, Images

_SURE = 0.5  # frames with more doubt teach the wrong way round
MOST_CROPS = 2500  # kept in memory: 41 MB at 64 x 64, 160 MB at 128 x 128
_GAPS = (1, 2, 4, 8, 16, 32)
_FOLLOWED = 0.5


class Gathered:
    """Samples of crops: Clips of one frame or of two, or Images for methods that learn from single pictures.

    The second frame is `gap` later, seen through the crop of the first: what is still stays still.
    """

    def __init__(self, image: Tensor, to_source: Tensor, change: Tensor | None, rows: NDArray, gap: int):
        self.image, self.change = image, change  # N T 3 h w and N T 1 h w, uint8
        self.to_source = to_source  # N T 2 3
        self.rows = rows  # of the frame table
        self.gap = gap
        self.as_clips = True

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, key: tuple[int, int]) -> Clips | Images:
        i = slice(key[1], key[1] + 1)
        change = None if self.change is None else self.change[i].float() / 255
        image, to_source = self.image[i].float() / 255, self.to_source[i]
        if self.as_clips:
            return Clips(image=image, to_source=to_source, change=change)
        return self.images(np.array([key[1]]))

    def images(self, which: NDArray[np.int64]) -> Images:
        """First frames of some samples."""
        change = None if self.change is None else self.change[which, 0].float() / 255
        return Images(
            image=self.image[which, 0].float() / 255, to_source=self.to_source[which, 0], change=change
        )


def gather(
    images: ImageSet,
    frames: FrameTable,
    size: tuple[int, int],
    *,
    clips: bool,
    length: int = 1,
    most: int = MOST_CROPS,
) -> Gathered:
    """Up to `most` crops spread over the pictures, in one pass.

    `clips` asks for Clips: of two frames where `length` is 2 or no background is known, and the pictures
    follow each other in time; else of one.
    """
    sure = np.flatnonzero(frames.doubt <= _SURE)
    sure = sure if len(sure) >= min(len(frames), 20) else np.arange(len(frames))
    rows = sure[np.unique(np.linspace(0, len(sure) - 1, most).round().astype(int))]
    gap = 0
    if clips and (length > 1 or not frames.backgrounds) and _in_time(images):
        gap = frame_gap(images)
        rows = rows[_same_scene(images, frames.image[rows], gap)]
    wanted: dict[int, list[tuple[int, int]]] = {}
    for place, row in enumerate(rows):
        for t in range(2 if gap else 1):
            wanted.setdefault(int(frames.image[row]) + t * gap, []).append((place, t))
    n, t = len(rows), 2 if gap else 1
    image = torch.zeros(n, t, 3, *size, dtype=torch.uint8)
    change = torch.zeros(n, t, 1, *size, dtype=torch.uint8) if frames.backgrounds else None
    to_source = torch.zeros(n, t, 2, 3)
    shows = {int(index): row for row, index in enumerate(frames.image)}  # any row of a picture
    for index, picture in pictures(images, set(wanted)):
        for place, when in wanted[index]:
            row = int(rows[place])
            source_from_crop = affine.source_from_crop(frames_of(frames, np.array([row])), size)
            still = background_of(frames, shows.get(index, row), picture)
            one = cut(picture, source_from_crop, size, still)
            image[place, when] = (one.image[0] * 255).round().byte()
            to_source[place, when] = one.to_source[0]
            if change is not None and one.change is not None:
                change[place, when] = (one.change[0] * 255).round().byte()
    out = Gathered(image, to_source, change, rows, gap)
    out.as_clips = clips
    return out


def _in_time(images: ImageSet) -> bool:
    """Whether some picture has a successor."""
    return (images.is_clip or images.scenes_are_clips) and bool(
        _same_scene(images, np.arange(len(images)), 1).any()
    )


def _same_scene(images: ImageSet, index: NDArray[np.int64], gap: int) -> NDArray[np.bool_]:
    """Whether picture i + gap exists and shows the scene of picture i."""
    last = len(images) - 1
    if images.is_clip:
        return index + gap <= last
    return np.array([i + gap <= last and images.scene(i) == images.scene(i + gap) for i in index.tolist()])


def frame_gap(images: ImageSet) -> int:
    """The smallest gap over which a clip changes 0.7 times as much as it does over the best of the gaps.

    Gaps that fewer than half of the pictures have a successor for are not tried.
    """
    every = np.arange(len(images))
    follow = {gap: _same_scene(images, every, gap) for gap in _GAPS}
    gaps = [gap for gap in _GAPS if gap == 1 or follow[gap].mean() >= _FOLLOWED]
    able = every[follow[gaps[-1]]]
    starts = able[np.unique(np.linspace(0, len(able) - 1, 12).round().astype(int))]
    wanted = {int(s) + g for s in starts for g in (0, *gaps)}
    seen = {index: picture[::4, ::4].astype(np.int16) for index, picture in pictures(images, wanted)}
    energy = np.array(
        [np.mean([np.abs(seen[int(s) + g] - seen[int(s)]).mean() for s in starts]) for g in gaps]
    )
    return gaps[int(np.argmax(energy >= 0.7 * energy.max()))]


def pictures(images: ImageSet, wanted: set[int]):
    """(index, picture) of those wanted: a clip in one decoding pass, files one by one."""
    if not images.is_clip:
        yield from ((index, images.picture(index)) for index in sorted(wanted))
        return
    picture: Picture
    last = max(wanted, default=-1)
    for index, picture in enumerate(images):
        if index in wanted:
            yield index, picture
        if index >= last:
            return
