"""What every data set is: pictures in order, with or without labels."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from asterism.io.table import KeypointTable
from asterism.types import Skeleton

Picture = NDArray[np.uint8]  # H W 3, RGB


class ImageSet(ABC):
    """Pictures in order. A clip is an ImageSet whose pictures follow each other in time (`is_clip`).

    `table` holds the labels (None without any) and `skeleton` what its points are called. Pictures are read
    when asked for and never all held; iterating streams them.
    """

    title: str
    is_clip: bool
    fps: float = 0.0  # pictures per second of a clip, 0 where unknown
    scenes_are_clips: bool = False  # the pictures of each scene follow each other in time
    table: KeypointTable | None = None
    skeleton: Skeleton | None = None

    @abstractmethod
    def __len__(self) -> int:
        """How many pictures."""

    @abstractmethod
    def picture(self, index: int) -> Picture:
        """Picture `index` in RGB. Raises BadImage or BadVideo with the file's name."""

    def picture_size(self, index: int) -> tuple[int, int]:
        """(h, w) of picture `index`; sets that know it without decoding say so."""
        h, w = self.picture(0 if self.is_clip else index).shape[:2]
        return h, w

    @abstractmethod
    def name(self, index: int) -> str:
        """What picture `index` is called in results: its file, or clip.mp4#12."""

    @abstractmethod
    def fingerprint(self) -> str:
        """A hash of the data (names, sizes, labels), written into the run."""

    def scene(self, index: int) -> str:
        """Pictures of one scene come from one camera that may be still: they can share a background."""
        return ""

    def __iter__(self) -> Iterator[Picture]:
        """Pictures in order, one at a time. Clips override this with a single decoding pass."""
        for index in range(len(self)):
            yield self.picture(index)


class Wrapped(ImageSet):
    """The pictures, names and scenes of another set; what differs is said by those that build on this."""

    def __init__(self, images: ImageSet) -> None:
        self.images = images
        self.title, self.is_clip, self.fps = images.title, images.is_clip, images.fps
        self.scenes_are_clips = images.scenes_are_clips
        self.table, self.skeleton = images.table, images.skeleton

    def __len__(self) -> int:
        return len(self.images)

    def picture(self, index: int) -> Picture:
        return self.images.picture(index)

    def picture_size(self, index: int) -> tuple[int, int]:
        return self.images.picture_size(index)

    def name(self, index: int) -> str:
        return self.images.name(index)

    def scene(self, index: int) -> str:
        return self.images.scene(index)

    def fingerprint(self) -> str:
        return self.images.fingerprint()

    def __iter__(self) -> Iterator[Picture]:
        return iter(self.images)


@dataclass(frozen=True, kw_only=True)
class FrameTable:
    """Where to look: one row per individual per picture. See types.Frames for the meaning of the columns.

    `kind` is whole, boxes or moments and `why` says in words how it was chosen. `row[i]` is the row of the
    label table this frame belongs to, -1 for none. `background[i]` indexes `backgrounds`, -1 for none: the
    pictures of one scene share one. Where the camera moves a background is a panorama with a fourth channel
    (data/stabilise) and `placed[i]` takes pixels of the picture to its own; crops.background_of reads both.
    `look` is the objects' mean picture, front to the right (data/heading).
    """

    kind: str
    why: str
    image: NDArray[np.int64]  # N
    individual: NDArray[np.int64]  # N
    row: NDArray[np.int64]  # N
    centre: NDArray[np.float64]  # N 2
    scale: NDArray[np.float64]  # N: half the side of the square, source pixels
    angle: NDArray[np.float64]  # N
    doubt: NDArray[np.float64]  # N
    background: NDArray[np.int64]  # N
    found: NDArray[np.bool_]  # N: False where no object stood out; the other columns are then a guess
    backgrounds: tuple[Picture, ...] = ()
    placed: NDArray[np.float64] | None = None  # N 3 3; None where no camera moves
    look: NDArray[np.float32] | None = None
    objects: int | None = None  # followed by moments, whether or not they have labels

    def __len__(self) -> int:
        return len(self.image)

    def rows(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> "FrameTable":
        """Some of the frames."""
        columns = ("image", "individual", "row", "centre", "scale", "angle", "doubt", "background", "found")
        placed = None if self.placed is None else self.placed[chosen]
        return replace(self, placed=placed, **{name: getattr(self, name)[chosen] for name in columns})
