"""A video as a set of pictures in time order."""

import os
from collections.abc import Iterator
from pathlib import Path

from asterism.data.base import ImageSet, Picture
from asterism.data.tables import hash_of
from asterism.io.video import Video

# Enough bytes of a file's beginning and end to tell two recordings of one length apart.
_SAMPLE_BYTES = 1 << 20


class Clip(ImageSet):
    """The frames of one video file. Iterating decodes once, front to back, and holds one frame.

    Frames asked for one by one are decoded from the file each time; subset.PictureCache keeps those that are
    needed again. Raises BadVideo, or MissingExtra when the decoder is not installed.
    """

    is_clip = True

    def __init__(self, path: Path) -> None:
        self.title = path.name
        self.path = path
        self.video = Video(path)
        self.fps = self.video.fps

    def __len__(self) -> int:
        return len(self.video)

    def picture(self, index: int) -> Picture:
        return self.video.frames([range(len(self))[index]])[0]

    def picture_size(self, index: int) -> tuple[int, int]:
        return self.video.size

    def name(self, index: int) -> str:
        return f"{self.path}#{index}"

    def fingerprint(self) -> str:
        size = os.path.getsize(self.path)
        with open(self.path, "rb") as file:
            head = file.read(_SAMPLE_BYTES)
            file.seek(max(0, size - _SAMPLE_BYTES))
            tail = file.read()
        return hash_of([self.path.name, size, head.hex(), tail.hex()])

    def __iter__(self) -> Iterator[Picture]:
        yield from self.video
