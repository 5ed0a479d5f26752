"""Pictures in files: a folder of them, or the files that a label file names."""

import os
import re
from pathlib import Path

from asterism.data.base import ImageSet, Picture
from asterism.data.tables import hash_of, skeleton_of
from asterism.errors import BadAnnotation, RequestError
from asterism.io.images import IMAGE_SUFFIXES, image_size, read_image
from asterism.io.table import KeypointTable


class PictureFiles(ImageSet):
    """Pictures in files, in the order given, with labels when there is a `table` (its images are the files).

    Raises BadAnnotation, naming the label file, when its names, edges, mirror pairs or sigmas do not fit.
    """

    is_clip = False

    def __init__(self, title: str, files: tuple[str, ...], table: KeypointTable | None = None) -> None:
        self.title = title
        self.table = table
        self._files = files
        if table is not None:
            try:
                self.skeleton = skeleton_of(table)
            except ValueError as error:
                raise BadAnnotation(f"{table.source or title}: {error}") from error

    def __len__(self) -> int:
        return len(self._files)

    def picture(self, index: int) -> Picture:
        return read_image(self._files[index])

    def picture_size(self, index: int) -> tuple[int, int]:
        return image_size(self._files[index])

    def name(self, index: int) -> str:
        return self._files[index]

    def scene(self, index: int) -> str:
        """Pictures of one folder: DeepLabCut keeps the pictures of each video in a folder of its own."""
        return os.path.dirname(self._files[index])

    def fingerprint(self) -> str:
        """Names within their common folder, sizes in bytes, labels: a set that was moved stays itself."""
        folders = [os.path.dirname(os.path.abspath(file)) for file in self._files]
        root = os.path.commonpath(folders) if folders else ""
        names = [os.path.relpath(file, root) if root else file for file in self._files]
        sizes = [os.path.getsize(file) if os.path.exists(file) else -1 for file in self._files]
        return hash_of([*names, *sizes], self.table)


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key under which frame2 comes before frame10."""
    return [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in re.split(r"([0-9]+)", name.lower())]


def image_folder(folder: Path) -> PictureFiles:
    """The pictures of a folder and of the folders in it, in natural order; hidden files are left out.

    Raises RequestError when there is none.
    """
    found = [p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]
    files = [p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts)]
    if not files:
        raise RequestError(
            f"{folder}: this folder holds no pictures; wanted files ending in {', '.join(IMAGE_SUFFIXES)}"
        )
    files.sort(key=lambda p: natural_key(p.relative_to(folder).as_posix()))
    return PictureFiles(folder.name, tuple(map(str, files)))
