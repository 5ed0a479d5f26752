"""One door for data: whatever the user names becomes an ImageSet."""

from collections.abc import Callable
from pathlib import Path

from asterism.data.base import ImageSet
from asterism.data.clip import Clip
from asterism.data.folder import PictureFiles, image_folder
from asterism.errors import RequestError
from asterism.io.coco import read_coco
from asterism.io.deeplabcut import read_deeplabcut
from asterism.io.images import IMAGE_SUFFIXES
from asterism.io.table import KeypointTable
from asterism.io.video import VIDEO_SUFFIXES

_WANTED = (
    "a folder of pictures, a picture, a video, a COCO keypoint file (.json), a DeepLabCut project, its "
    "CollectedData .csv or the folder that holds it, or world:NAME"
)


def open_data(what: str) -> ImageSet:
    """The pictures, and labels if any, behind a path or `world:NAME?option=value`.

    Raises RequestError (or its kinds BadImage, BadVideo, BadAnnotation) saying what was given and what works.
    """
    if what.startswith("world:"):
        from asterism.data.worlds import world

        return world(what.removeprefix("world:"))
    path = Path(what).expanduser()
    if not path.exists():
        raise RequestError(f"{what}: there is no such file or folder; wanted {_WANTED}")
    if path.is_dir():
        return _folder(path)
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return PictureFiles(path.name, (str(path),))
    if suffix in VIDEO_SUFFIXES:
        return Clip(path)
    if suffix == ".json":
        return _labelled(path, read_coco)
    if suffix == ".csv":
        return _labelled(path, read_deeplabcut)
    raise RequestError(f"{what}: no reader for '{suffix or path.name}' files; wanted {_WANTED}")


def _folder(path: Path) -> ImageSet:
    """A DeepLabCut project or folder when it holds CollectedData, else plain pictures."""
    if (path / "config.yaml").is_file() or any(path.rglob("CollectedData*.csv")):
        return _labelled(path, read_deeplabcut)
    return image_folder(path)


def _labelled(path: Path, read: Callable[[Path], KeypointTable]) -> ImageSet:
    table = read(path)
    if not len(table):
        raise RequestError(
            f"{path}: holds no labelled keypoints; without labels, give the folder of pictures"
        )
    return PictureFiles(path.stem, table.images, table)
