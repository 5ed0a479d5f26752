"""One door for data: whatever the user names becomes an ImageSet."""

from pathlib import Path

from asterism.data.base import ImageSet
from asterism.data.clip import Clip
from asterism.data.folder import PictureFiles, image_folder
from asterism.data.worlds import world
from asterism.errors import RequestError
from asterism.io.images import IMAGE_SUFFIXES
from asterism.io.keypoints import is_label_file, is_label_folder, read_keypoints
from asterism.io.locate import require_images
from asterism.io.skeleton import Skeleton, find_skeleton, with_skeleton
from asterism.io.video import VIDEO_SUFFIXES

_WANTED = (
    "a folder of pictures, a picture, a video, a COCO keypoint file (.json), labels in a .csv (plain, "
    "DeepLabCut's, SLEAP's) or a .slp, a DeepLabCut project, or world:NAME; docs/formats.md lists all labels"
)
_SKELETON = "?skeleton="


def open_data(what: str) -> ImageSet:
    """The pictures, and labels if any, behind a path or `world:NAME?option=value`.

    Labels that carry no edges, mirror pairs or OKS constants, or wrong ones, take them from a skeleton behind
    their path: labels.json?skeleton=mouse.toml, or the name of a published one (io.skeleton).

    Raises RequestError (or its kinds BadImage, BadVideo, BadAnnotation) saying what was given and what works.
    """
    if what.startswith("world:"):
        return world(what.removeprefix("world:"))
    what, mark, named = what.partition(_SKELETON)
    skeleton = find_skeleton(named) if mark else None
    path = Path(what).expanduser()
    if not path.exists():
        raise RequestError(f"{what}: there is no such file or folder; wanted {_WANTED}")
    if path.is_dir() and is_label_folder(path):
        return _labelled(path, skeleton, named)
    if path.is_file() and is_label_file(path):
        return _labelled(path, skeleton, named)
    if skeleton is not None:
        raise RequestError(
            f"{what}: holds no labels, so the skeleton '{named}' has no points to join; leave it out"
        )
    if path.is_dir():
        return image_folder(path)
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return PictureFiles(path.name, (str(path),))
    if suffix in VIDEO_SUFFIXES:
        return Clip(path)
    raise RequestError(f"{what}: no reader for '{suffix or path.name}' files; wanted {_WANTED}")


def _labelled(path: Path, skeleton: Skeleton | None, named: str) -> ImageSet:
    """`named` is what the user typed for the skeleton."""
    table = read_keypoints(path)
    table = with_skeleton(table, skeleton, named) if skeleton else table
    if not len(table):
        raise RequestError(
            f"{path}: holds no labelled keypoints; without labels, give the folder of pictures"
        )
    require_images(table)
    return PictureFiles(path.stem, table.images, table)
