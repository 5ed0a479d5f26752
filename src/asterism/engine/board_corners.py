"""Corners of a board in every camera's pictures: videos, folders, or one folder that holds one per camera."""

from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from asterism.data.base import ImageSet
from asterism.data.sources import open_data
from asterism.errors import RequestError
from asterism.io.board import Board
from asterism.io.board_opencv import finder
from asterism.io.corners import Corners, Row, as_corners, natural
from asterism.io.images import IMAGE_SUFFIXES
from asterism.io.video import VIDEO_SUFFIXES


def find_corners(inputs: Sequence[str], board: Board, every: int = 1) -> Corners:
    """Picture t of every camera is moment t; each `every`-th is looked at.

    Raises RequestError where the cameras' numbers of pictures differ or no board is found, MissingExtra
    without OpenCV.
    """
    find = finder(board)
    sources = named(inputs)
    sets = {name: open_data(what) for name, what in sources.items()}
    counts = {name: len(images) for name, images in sets.items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} {n}" for name, n in counts.items())
        raise RequestError(
            f"the cameras have different numbers of pictures ({told}); wanted picture t of each to be "
            "taken at the same moment"
        )
    seen: dict[str, list[Row]] = {}
    for name, images in sets.items():
        seen[name] = _of_one(name, images, find, every)
    blind = [name for name, rows in seen.items() if not rows]
    if blind:
        raise RequestError(
            f"no board was found in the pictures of {', '.join(blind)}; is --board right (charuco: squares "
            "are counted, chess: inner corners), and the board whole and sharp? Or leave these inputs out"
        )
    return as_corners(seen, {name: images.picture_size(0) for name, images in sets.items()}, "pictures")


def _of_one(name: str, images: ImageSet, find, every: int) -> list[Row]:
    size = images.picture_size(0)
    rows: list[Row] = []
    for moment, picture in enumerate(
        tqdm(images, total=len(images), desc=name, unit="pictures", leave=False)
    ):
        if moment % every:
            continue
        if picture.shape[:2] != size:
            raise RequestError(f"{name}: its pictures differ in size ({images.name(moment)} from the first)")
        rows += [(moment, k, x, y) for k, x, y in find(picture)]
    return rows


def named(inputs: Sequence[str]) -> dict[str, str]:
    """Name of each camera and where its pictures are. Raises RequestError for two of one name."""
    what = list(inputs)
    if len(what) == 1 and Path(what[0]).is_dir():
        inside = [p for p in Path(what[0]).iterdir() if not p.name.startswith(".")]
        several = [p for p in inside if p.is_dir() or p.suffix.lower() in VIDEO_SUFFIXES]
        if several and not any(p.suffix.lower() in IMAGE_SUFFIXES for p in inside):
            what = [str(p) for p in sorted(several, key=lambda p: natural(p.name))]
    found: dict[str, str] = {}
    for each in what:
        name = Path(each).stem
        if name in found:
            raise RequestError(f"{found[name]} and {each}: both would be called '{name}'; rename one")
        found[name] = each
    return found
