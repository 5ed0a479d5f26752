"""One door for data: whatever the user names becomes an ImageSet."""

from pathlib import Path

from asterism.data.base import ImageSet
from asterism.data.clip import Clip
from asterism.data.folder import PictureFiles, image_folder
from asterism.data.worlds import world
from asterism.errors import RequestError
from asterism.io.images import IMAGE_SUFFIXES
from asterism.io.keypoints import read_keypoints
from asterism.io.locate import require_images
from asterism.io.video import VIDEO_SUFFIXES

_WANTED = (
    "a folder of pictures, a picture, a video, a COCO keypoint file (.json), labels in a .csv (plain, "
    "DeepLabCut's, SLEAP's) or a .slp, a DeepLabCut project, or world:NAME"
)


def open_data(what: str) -> ImageSet:
    """The pictures, and labels if any, behind a path or `world:NAME?option=value`.

    Raises RequestError (or its kinds BadImage, BadVideo, BadAnnotation) saying what was given and what works.
    """
    if what.startswith("world:"):
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
    if suffix in (".json", ".csv", ".slp"):
        return _labelled(path)
    raise RequestError(f"{what}: no reader for '{suffix or path.name}' files; wanted {_WANTED}")


def _folder(path: Path) -> ImageSet:
    """A DeepLabCut project or folder when there are label files where it puts them, else plain pictures."""
    if any(next(path.glob(at + "CollectedData*.csv"), None) for at in ("", "*/", "labeled-data/*/")):
        return _labelled(path)
    return image_folder(path)


def _labelled(path: Path) -> ImageSet:
    table = read_keypoints(path)
    if not len(table):
        raise RequestError(
            f"{path}: holds no labelled keypoints; without labels, give the folder of pictures"
        )
    require_images(table)
    return PictureFiles(path.stem, table.images, table)
