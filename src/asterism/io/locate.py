"""Where the pictures are that a label file names."""

import os
from collections.abc import Sequence
from pathlib import Path

from asterism.errors import BadAnnotation
from asterism.io.table import KeypointTable


def locate(names: Sequence[str], source: str | Path) -> tuple[str, ...]:
    """Each name as a path that exists, seen from the label file `source`; else as it stands.

    Looked in are the folder of `source` and its two parents, in each also `images`, a folder called like the
    last word of the file's name (person_keypoints_val2017.json: val2017) and both together. "clip.mp4#12"
    is frame 12 of a clip.
    """
    roots = _roots(Path(source))
    found: list[str] = []
    first = 0  # data sets keep their pictures together: the place of the last one is the likely one
    for name in names:
        for at in (first, *range(len(roots))):
            if os.path.isfile(roots[at] / _file(name)):
                first = at
                found.append(str(roots[at] / name))
                break
        else:
            found.append(name)
    return tuple(found)


def relative_name(name: str, folder: Path) -> str:
    """`name` as a label file in `folder` should write it: relative and with / when it lies below."""
    if not _exists(name):
        return name
    path = Path(os.path.abspath(name))
    folder = Path(os.path.abspath(folder))
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else name


def require_images(table: KeypointTable) -> None:
    """Raises BadAnnotation, with the paths tried, when a picture of the table is not on the disk."""
    missing = [name for name in table.images if not _exists(name)]
    if missing:
        folders = [os.path.normpath(root) for root in _roots(Path(table.source)) if os.path.isdir(root)]
        raise BadAnnotation(
            f"{table.source}: {len(missing)} of {len(table.images)} pictures are missing; the first, "
            f"'{_file(missing[0])}', is not in {', '.join(folders)}; put it beside the label file"
        )


def _exists(name: str) -> bool:
    return os.path.isfile(_file(name))  # False, too, for names that no file can have


def _file(name: str) -> str:
    file, mark, frame = name.rpartition("#")
    return file if mark and frame.isdigit() else name


def _roots(source: Path) -> list[Path]:
    folder = source if source.is_dir() else source.parent
    subset = source.stem.rpartition("_")[2]
    return [
        base / sub
        for base in (folder, folder / "..", folder / "../..")
        for sub in ("", "images", subset, f"images/{subset}")
    ]
