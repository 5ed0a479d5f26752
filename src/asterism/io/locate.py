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
    for name in names:
        file = _file(name)
        root = next((root for root in roots if os.path.isfile(os.path.join(root, file))), None)
        if (
            root is not None and root is not roots[0]
        ):  # pictures lie together: the last place is the likely one
            roots.remove(root)
            roots.insert(0, root)
        found.append(name if root is None else str(root / name))
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
        folders = [str(root) for root in _roots(Path(table.source))]
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
    folder = source if os.path.isdir(source) else source.parent
    subset = source.stem.rpartition("_")[2]
    bases = [Path(os.path.normpath(folder / up)) for up in ("", "..", "../..")]
    roots = [base / sub for base in bases for sub in ("", "images", subset, f"images/{subset}")]
    return [root for root in roots if os.path.isdir(root)]
