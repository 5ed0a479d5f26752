"""A set of pictures with boxes from elsewhere in the place of its own labels."""

from collections.abc import Iterator

from asterism.data.base import ImageSet, Picture
from asterism.io.table import KeypointTable


class Boxed(ImageSet):
    """The pictures of `images` with the rows, and boxes, of `table`, whose images are theirs."""

    table: KeypointTable

    def __init__(self, images: ImageSet, table: KeypointTable) -> None:
        self.images, self.table = images, table
        self.title, self.is_clip, self.fps = images.title, images.is_clip, images.fps

    def __len__(self) -> int:
        return len(self.images)

    def picture(self, index: int) -> Picture:
        return self.images.picture(index)

    def picture_size(self, index: int) -> tuple[int, int]:
        return self.images.picture_size(index)

    def name(self, index: int) -> str:
        return self.images.name(index)

    def fingerprint(self) -> str:
        return self.images.fingerprint()

    def __iter__(self) -> Iterator[Picture]:
        yield from self.images
