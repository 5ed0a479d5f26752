"""A set of pictures with boxes from elsewhere in the place of its own labels."""

from asterism.data.base import ImageSet, Wrapped
from asterism.io.table import KeypointTable


class Boxed(Wrapped):
    """The pictures of `images` with the rows, and boxes, of `table`, whose images are theirs."""

    table: KeypointTable

    def __init__(self, images: ImageSet, table: KeypointTable) -> None:
        super().__init__(images)
        self.table, self.skeleton = table, None
