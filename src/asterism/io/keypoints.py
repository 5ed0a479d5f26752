"""Keypoints in whatever format a file has: one reader, one writer. docs/formats.md is the table."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from asterism.errors import BadAnnotation, RequestError
from asterism.io.coco import read_coco, write_coco
from asterism.io.csvfile import read_csv, write_csv
from asterism.io.deeplabcut import is_deeplabcut, read_deeplabcut, write_deeplabcut
from asterism.io.faces import is_wflw, read_pts, read_wflw
from asterism.io.fields import kind, read_json
from asterism.io.flic import read_flic
from asterism.io.h36m import read_h36m_npz
from asterism.io.hands import read_freihand
from asterism.io.labelstudio import read_label_studio, write_label_studio
from asterism.io.matlab import read_mat
from asterism.io.mpii import read_mpii_h5, read_mpii_json, read_mpii_mat
from asterism.io.openpose import is_openpose, read_openpose, write_openpose
from asterism.io.sleap import (
    is_sleap_csv,
    read_sleap_csv,
    read_slp,
    require_h5py,
    write_sleap_csv,
    write_slp,
)
from asterism.io.table import KeypointTable

# What can be written, by name, and the ending of the file; OpenPose's is a folder.
FORMATS = {"csv": ".csv", "coco": ".json", "deeplabcut": ".csv", "sleap": ".slp", "sleap-csv": ".csv"}
FORMATS |= {"label-studio": ".json", "openpose": ""}
LABEL_SUFFIXES = (".json", ".csv", ".slp", ".mat", ".h5", ".npz", ".pts")
_JSON = (
    "COCO (an object with 'images' and 'annotations'), OpenPose ('people'), Label Studio (a list of "
    "tasks with "
    "'data'), MPII (a list with 'joints' or 'joint_self'), FreiHAND (NAME_xyz.json with NAME_K.json "
    "beside it)"
)


def read_keypoints(path: str | Path) -> KeypointTable:
    """The labels or predictions of a file or folder; its content tells which format it is.

    A folder is a DeepLabCut project, OpenPose's output or .pts files. Raises BadAnnotation naming the file
    and the field, and for content that is no known format the list of formats; MissingExtra for .slp and .h5
    without h5py.
    """
    path = Path(path)
    if not path.exists():
        raise BadAnnotation(f"{path}: does not exist")
    if path.is_dir():
        return _folder(path)
    readers: dict[str, Callable[[Path], KeypointTable]] = {
        ".json": _json,
        ".slp": read_slp,
        ".csv": _csv,
        ".mat": _mat,
        ".h5": read_mpii_h5,
        ".npz": read_h36m_npz,
        ".pts": read_pts,
        ".txt": read_wflw,
    }
    if path.suffix.lower() in readers and (path.suffix.lower() != ".txt" or is_wflw(path)):
        return readers[path.suffix.lower()](path)
    raise BadAnnotation(
        f"{path}: labels are read from .json ({_JSON}), .csv (plain, DeepLabCut's, SLEAP's), .slp, .mat "
        f"(MPII, "
        "FLIC), .h5 (MPII), .npz (Human3.6M), .pts, .txt (WFLW), or a folder: a DeepLabCut project, "
        "OpenPose's "
        "*_keypoints.json, .pts files"
    )


def write_keypoints(path: str | Path, table: KeypointTable, format: str | None = None) -> None:
    """Write a table in one of FORMATS; without a name the ending decides: .csv is plain, .json is COCO,
    .slp is SLEAP's. "openpose" writes a folder, "label-studio" pre-annotations.

    Raises RequestError for a format or an ending that is not known, MissingExtra for .slp without h5py.
    """
    check_format(path, format)
    if format == "deeplabcut":
        write_deeplabcut(path, table, scorer="asterism")
    elif format == "sleap-csv":
        write_sleap_csv(path, table)
    elif format == "label-studio":
        write_label_studio(path, table)
    elif format == "openpose":
        write_openpose(path, table)
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
    if format == "openpose":
        if suffix in FORMATS.values() and suffix:
            raise RequestError(f"{path}: format 'openpose' is a folder of files; name one without an ending")
        return
    if suffix not in FORMATS.values() or not suffix:
        raise RequestError(f"{path}: keypoints are written to a file that ends in .csv, .json or .slp")
    if format is not None and FORMATS[format] != suffix:
        raise RequestError(f"{path}: format '{format}' is written to a file that ends in {FORMATS[format]}")
    if suffix == ".slp":
        require_h5py(f"writing {path}")


def is_label_file(path: Path) -> bool:
    """Whether `read_keypoints` has a reader for a file that is there: by its ending, a .txt by its
    columns."""
    suffix = path.suffix.lower()
    return suffix in LABEL_SUFFIXES or (suffix == ".txt" and is_wflw(path))


def is_label_folder(path: Path) -> bool:
    """Whether a folder holds labels rather than pictures alone."""
    if any(next(path.glob(at + "CollectedData*.csv"), None) for at in ("", "*/", "labeled-data/*/")):
        return True
    return is_openpose(path) or next(path.glob("*.pts"), None) is not None


def _folder(path: Path) -> KeypointTable:
    if is_openpose(path):
        return read_openpose(path)
    if next(path.rglob("*.pts"), None) is not None:
        return read_pts(path)
    return read_deeplabcut(path)


def _csv(path: Path) -> KeypointTable:
    if is_sleap_csv(path):
        return read_sleap_csv(path)
    return read_deeplabcut(path) if is_deeplabcut(path) else read_csv(path)


def _mat(path: Path) -> KeypointTable:
    held = read_mat(path)
    if "RELEASE" in held:
        return read_mpii_mat(path)
    if "examples" in held:
        return read_flic(path)
    raise BadAnnotation(
        f"{path}: holds {', '.join(held) or 'nothing'}; wanted RELEASE (MPII) or examples (FLIC)"
    )


def _json(path: Path) -> KeypointTable:
    found: Any = read_json(path)
    if isinstance(found, dict):
        if "people" in found:
            return read_openpose(path)
        if not {"images", "annotations"} & found.keys():
            raise BadAnnotation(f"{path}: holds {', '.join(list(found)[:5]) or 'nothing'}; wanted {_JSON}")
        return read_coco(path)
    first = found[0] if isinstance(found, list) and found else None
    if isinstance(first, dict) and {"joints", "joint_self"} & first.keys():
        return read_mpii_json(path, found)
    if isinstance(first, dict) and "data" in first:
        return read_label_studio(path, found)
    if isinstance(first, list):
        return read_freihand(path, found)
    if isinstance(first, dict) and "image_id" in first:
        raise BadAnnotation(
            f"{path}: is a list of COCO results, which have no names of pictures; read it with its "
            f"annotations: "
            "asterism.io.coco.read_coco_results(results, annotations)"
        )
    raise BadAnnotation(f"{path}: is {kind(found)} that is no known format; wanted {_JSON}")
