"""Pictures and crops that several entrants look at, read and cut once."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from asterism.data.base import ImageSet, Picture, Wrapped
from asterism.data.crops import background_of, cut, frames_of
from asterism.data.gathered import pictures
from asterism.data.subset import HELD_BYTES, PictureCache
from asterism.engine.alive import Masked
from asterism.engine.looks import Looked
from asterism.engine.predict import keypoints
from asterism.engine.team import pick_device
from asterism.geometry import affine
from asterism.methods.base import Method
from asterism.types import Images

_BATCH = 32


class Held(Wrapped):
    """A set whose pictures stay in memory, as far as they fit."""

    def __init__(self, images: ImageSet) -> None:
        super().__init__(images)
        self._cache = PictureCache(images)
        self._read = not images.is_clip

    def picture(self, index: int) -> Picture:
        if not self._read:  # a clip is read in one pass: a picture at random costs one
            self._read = True
            self._cache.fill(np.arange(len(self)))
        return self._cache.picture(index)

    def __iter__(self) -> Iterator[Picture]:
        return (self.picture(index) for index in range(len(self)))


class HeldWithMasks(Held):
    """A held set that knows which pixels are objects."""

    def mask(self, index: int) -> NDArray[np.uint8]:
        assert isinstance(self.images, Masked)
        return self.images.mask(index)


def held(images: ImageSet) -> ImageSet:
    """The set held in memory; a clip that does not fit is left as it is."""
    if images.is_clip and len(images) * images.picture(0).nbytes > HELD_BYTES:
        return images
    return HeldWithMasks(images) if isinstance(images, Masked) else Held(images)


class Cuts:
    """Crops of looks, cut once for all methods that take them in one size, as far as they fit in memory."""

    def __init__(self, limit: int = HELD_BYTES) -> None:
        self.limit = limit
        self._held: dict[tuple[int, tuple[int, int]], list[Images]] = {}

    def points(self, method: Method, looks: list[Looked], device: str) -> NDArray[np.float64]:
        """N P 2: the method's points in the frames of the looks, in source pixels."""
        return np.concatenate([self._points(method, look, device) for look in looks])

    def _points(self, method: Method, look: Looked, device: str) -> NDArray[np.float64]:
        size, where = method.config.input_size, pick_device(device)
        key, needed = (id(look), size), len(look.frames) * 16 * size[0] * size[1]  # four layers of float32
        if key not in self._held:
            if needed > self.limit:
                return keypoints(method, look.images, look.frames, size, device=device)[0]
            self.limit -= needed
            self._held[key] = _cut(look, size)
        method.to(where)
        return np.concatenate(
            [method.predict(batch.to(where)).xy.cpu().double().numpy() for batch in self._held[key]]
        )


def _cut(look: Looked, size: tuple[int, int]) -> list[Images]:
    """Batches of crops in the order of the look's frames."""
    frames, parts = look.frames, {}
    for index, picture in pictures(look.images, set(frames.image.tolist())):
        rows = np.flatnonzero(frames.image == index)
        at = affine.source_from_crop(frames_of(frames, rows), size)
        crops = cut(picture, at, size, background_of(frames, int(rows[0]), picture))
        parts |= {int(row): crops[i] for i, row in enumerate(rows)}
    every = range(len(frames))
    return [Images.cat([parts[i] for i in every[start : start + _BATCH]]) for start in every[::_BATCH]]
