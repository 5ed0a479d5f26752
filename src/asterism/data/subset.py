"""Some pictures of a set, and pictures held in memory."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from asterism.data.base import FrameTable, ImageSet, Picture
from asterism.data.tables import hash_of, take_pictures

HELD_BYTES = 512 << 20  # 4700 pictures of 192 x 192, 580 of 640 x 480


class Subset(ImageSet):
    """Pictures `indices` of a set, in that order, with the rows of its table that belong to them."""

    def __init__(self, images: ImageSet, indices: Sequence[int] | NDArray[np.int64]) -> None:
        self.images = images
        self.indices = np.asarray(indices, dtype=np.int64)
        self.title = images.title
        self.is_clip = images.is_clip and bool((np.diff(self.indices) > 0).all())
        self.fps = (
            images.fps / float(np.median(np.diff(self.indices))) if len(self) > 1 and self.is_clip else 0.0
        )
        self.scenes_are_clips = images.scenes_are_clips and bool((np.diff(self.indices) == 1).all())
        self.skeleton = images.skeleton
        self.table = None if images.table is None else take_pictures(images.table, self.indices)

    def __len__(self) -> int:
        return len(self.indices)

    def picture(self, index: int) -> Picture:
        return self.images.picture(int(self.indices[index]))

    def picture_size(self, index: int) -> tuple[int, int]:
        return self.images.picture_size(int(self.indices[index]))

    def name(self, index: int) -> str:
        return self.images.name(int(self.indices[index]))

    def fingerprint(self) -> str:
        return hash_of([self.images.fingerprint(), *self.indices.tolist()])

    def scene(self, index: int) -> str:
        return self.images.scene(int(self.indices[index]))

    def __iter__(self) -> Iterator[Picture]:
        if not self.is_clip:
            yield from super().__iter__()
            return
        wanted = set(self.indices.tolist())
        for index, picture in enumerate(self.images):  # one decoding pass
            if index in wanted:
                yield picture
                wanted.remove(index)
                if not wanted:
                    return


class Unlabelled(Subset):
    """All pictures of a set without its labels: what a method that learns without labels may see."""

    def __init__(self, images: ImageSet) -> None:
        super().__init__(images, np.arange(len(images)))
        self.table = None
        self.skeleton = None

    def fingerprint(self) -> str:
        return self.images.fingerprint()


class PictureCache:
    """The pictures last asked for, up to `limit` bytes. Threads may share it."""

    def __init__(self, images: ImageSet, limit: int = HELD_BYTES) -> None:
        self.images = images
        self.limit = limit
        self.used = 0
        self._held: OrderedDict[int, Picture] = OrderedDict()
        self._lock = Lock()

    def fill(self, wanted: NDArray[np.int64]) -> None:
        """Read these pictures in one pass, until the limit is reached. For clips: a random read is dear."""
        missing = set(wanted.tolist())
        for index, picture in enumerate(self.images):
            if not missing or self.used + picture.nbytes > self.limit:
                return
            if index in missing:
                missing.remove(index)
                self._keep(index, picture)

    def picture(self, index: int) -> Picture:
        with self._lock:
            if index in self._held:
                self._held.move_to_end(index)
                return self._held[index]
        picture = self.images.picture(index)
        self._keep(index, picture)
        return picture

    def _keep(self, index: int, picture: Picture) -> None:
        with self._lock:
            if index not in self._held:
                self._held[index] = picture
                self.used += picture.nbytes
            while self.used > self.limit:
                self.used -= self._held.popitem(last=False)[1].nbytes


def thinned(images: ImageSet, frames: FrameTable, limit: int = HELD_BYTES) -> FrameTable:
    """The frames of a clip whose pictures fit into `limit` bytes, evenly spaced in time; all when all fit.

    Neighbouring pictures hardly differ, so a clip thinned out teaches nearly as much; reading single frames
    of a video again and again would cost a decoding pass each. Sets of files are left as they are.
    """
    shown = np.unique(frames.image)
    if not images.is_clip or not len(shown):
        return frames
    most = max(1, limit // images.picture(int(shown[0])).nbytes)
    if len(shown) <= most:
        return frames
    kept = shown[np.linspace(0, len(shown) - 1, most).round().astype(np.int64)]
    return frames.rows(np.isin(frames.image, kept))
