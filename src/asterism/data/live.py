"""What a camera shows now, as a set of one picture: the same code looks at it as at a clip."""

from asterism.data.base import ImageSet, Picture


class Live(ImageSet):
    """One picture at a time; `show` puts the next one in its place. Names count the camera's pictures."""

    is_clip = True

    def __init__(self, address: str, fps: float = 0.0) -> None:
        self.address, self.fps = address, fps
        self.title = "".join(c if c.isalnum() or c in "-_" else "-" for c in address)  # names files, too
        self._index = -1
        self._picture: Picture | None = None

    def show(self, index: int, picture: Picture) -> None:
        self._index, self._picture = index, picture

    def __len__(self) -> int:
        return 1

    def picture(self, index: int) -> Picture:
        assert self._picture is not None
        return self._picture

    def name(self, index: int) -> str:
        return f"{self.address}#{self._index}"

    def fingerprint(self) -> str:
        return self.name(0)
