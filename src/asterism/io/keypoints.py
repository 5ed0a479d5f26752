"""Keypoints in whatever format a file has: one reader, one writer."""

from pathlib import Path

from asterism.errors import BadAnnotation, RequestError
from asterism.io.coco import read_coco, write_coco
from asterism.io.csvfile import read_csv, write_csv
from asterism.io.deeplabcut import is_deeplabcut, read_deeplabcut, write_deeplabcut
from asterism.io.sleap import (
    is_sleap_csv,
    read_sleap_csv,
    read_slp,
    require_h5py,
    write_sleap_csv,
    write_slp,
)
from asterism.io.table import KeypointTable

FORMATS = {"csv": ".csv", "coco": ".json", "deeplabcut": ".csv", "sleap": ".slp", "sleap-csv": ".csv"}


def read_keypoints(path: str | Path) -> KeypointTable:
    """A COCO file (.json), SLEAP's (.slp), a plain, a DeepLabCut or a SLEAP CSV (told apart by the first
    cells), a DeepLabCut folder.

    Raises BadAnnotation naming the file and the field; MissingExtra for .slp without h5py.
    """
    path = Path(path)
    if not path.exists():
        raise BadAnnotation(f"{path}: does not exist")
    if path.is_dir():
        return read_deeplabcut(path)
    if path.suffix.lower() == ".json":
        return read_coco(path)
    if path.suffix.lower() == ".slp":
        return read_slp(path)
    if path.suffix.lower() == ".csv":
        if is_sleap_csv(path):
            return read_sleap_csv(path)
        return read_deeplabcut(path) if is_deeplabcut(path) else read_csv(path)
    raise BadAnnotation(
        f"{path}: labels are read from .json (COCO), .slp (SLEAP), .csv, or a DeepLabCut folder"
    )


def write_keypoints(path: str | Path, table: KeypointTable, format: str | None = None) -> None:
    """Write a table in one of FORMATS; without a name the ending decides: .csv is plain, .json is COCO,
    .slp is SLEAP's.

    Raises RequestError for a format or an ending that is not known, MissingExtra for .slp without h5py.
    """
    check_format(path, format)
    if format == "deeplabcut":
        write_deeplabcut(path, table, scorer="asterism")
    elif format == "sleap-csv":
        write_sleap_csv(path, table)
    elif Path(path).suffix.lower() == ".slp":
        write_slp(path, table)
    elif Path(path).suffix.lower() == ".json":
        write_coco(path, table)
    else:
        write_csv(path, table)


def check_format(path: str | Path, format: str | None) -> None:
    """Raises RequestError, before any work, when `write_keypoints` would refuse the path or the format."""
    suffix = Path(path).suffix.lower()
    if format is not None and format not in FORMATS:
        raise RequestError(f"format '{format}' is not known; choose one of {', '.join(FORMATS)}")
    if suffix not in FORMATS.values():
        raise RequestError(f"{path}: keypoints are written to a file that ends in .csv, .json or .slp")
    if format is not None and FORMATS[format] != suffix:
        raise RequestError(f"{path}: format '{format}' is written to a file that ends in {FORMATS[format]}")
    if suffix == ".slp":
        require_h5py(f"writing {path}")
