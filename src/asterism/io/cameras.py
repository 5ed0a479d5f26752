"""Calibrated cameras in whatever format a file or folder has: one reader, one writer.

| format | read from | `format` to write |
|---|---|---|
| our JSON | .json with `cameras` | json |
| anipose, Pose2Sim | .toml | toml |
| DANNCE | .mat with `params` | dannce |
| OpenCV | .yml, .yaml, .xml of one camera; a folder of them | opencv-yaml, opencv-xml (a folder) |
| EasyMocap | a folder with intri.yml and extri.yml, or one of the two | easymocap (a folder) |
| COLMAP | a folder with cameras and images, .bin or .txt | colmap-binary, colmap-text (a folder) |
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from asterism.errors import BadAnnotation, RequestError
from asterism.io.camera_colmap import is_colmap, read_colmap_cameras, write_colmap_cameras
from asterism.io.camera_dannce import read_dannce_cameras, write_dannce_cameras
from asterism.io.camera_opencv import (
    OPENCV_SUFFIXES,
    read_easymocap,
    read_opencv,
    read_opencv_folder,
    write_easymocap,
    write_opencv_folder,
)
from asterism.io.camera_table import CameraTable
from asterism.io.camera_text import (
    read_json_cameras,
    read_toml_cameras,
    write_json_cameras,
    write_toml_cameras,
)

__all__ = ["CAMERA_FORMATS", "CameraTable", "read_camera", "read_cameras", "write_cameras"]

# What can be written, by name: the ending of the file ("" is a folder) and its writer.
CAMERA_FORMATS: dict[str, tuple[str, Callable[[str | Path, CameraTable], None]]] = {
    "json": (".json", write_json_cameras),
    "toml": (".toml", write_toml_cameras),
    "dannce": (".mat", write_dannce_cameras),
    "opencv-yaml": ("", partial(write_opencv_folder, suffix=".yml")),
    "opencv-xml": ("", partial(write_opencv_folder, suffix=".xml")),
    "easymocap": ("", write_easymocap),
    "colmap-text": ("", partial(write_colmap_cameras, suffix=".txt")),
    "colmap-binary": ("", partial(write_colmap_cameras, suffix=".bin")),
}
_KNOWN = (
    "cameras are read from .json, anipose's and Pose2Sim's .toml, DANNCE's .mat, OpenCV's .yml, .yaml and "
    ".xml (a camera per file), and folders: of OpenCV's files, of EasyMocap's intri.yml and extri.yml, of "
    "COLMAP's cameras and images (.bin or .txt)"
)


def read_cameras(path: str | Path) -> CameraTable:
    """Two cameras or more, and where they stand. Raises BadAnnotation naming the file and the field."""
    table = _read(Path(path), placed=True)
    if len(table) < 2:
        raise BadAnnotation(f"{path}: {len(table)} cameras; points in space want at least 2")
    return table


def read_camera(path: str | Path) -> CameraTable:
    """One camera; in OpenCV's files it need not say where it stands. Raises BadAnnotation for several."""
    table = _read(Path(path), placed=False)
    if len(table) != 1:
        raise BadAnnotation(
            f"{path}: holds the cameras {', '.join(table.names)}; wanted one, such as OpenCV's .yml"
        )
    return table


def write_cameras(path: str | Path, table: CameraTable, format: str | None = None) -> None:
    """Write a table in one of CAMERA_FORMATS; without a name the ending decides.

    Numbers are read back to 1e-9. Raises RequestError for a format or an ending that is not known, and for
    what the format has no place for.
    """
    suffix = Path(path).suffix.lower()
    if format is None:
        format = next((name for name, (end, _) in CAMERA_FORMATS.items() if end and end == suffix), None)
        if format is None:
            raise RequestError(
                f"{path}: cameras are written to .json, .toml or .mat, or name a format: {_named()}"
            )
    if format not in CAMERA_FORMATS:
        raise RequestError(f"format '{format}' is not known; choose one of {_named()}")
    wanted, write = CAMERA_FORMATS[format]
    if wanted != suffix:
        what = f"a file that ends in {wanted}" if wanted else "a folder; name one without an ending"
        raise RequestError(f"{path}: format '{format}' is {what}")
    write(path, table)


def _named() -> str:
    return ", ".join(CAMERA_FORMATS)


def _read(path: Path, *, placed: bool) -> CameraTable:
    if path.is_dir():
        return _folder(path)
    suffix = path.suffix.lower()
    if path.name in ("intri.yml", "extri.yml"):
        return read_easymocap(path.parent)
    if suffix in OPENCV_SUFFIXES:
        return read_opencv(path, placed=placed)
    readers = {".json": read_json_cameras, ".toml": read_toml_cameras, ".mat": read_dannce_cameras}
    if suffix in readers:
        return readers[suffix](path)
    raise BadAnnotation(f"{path}: {_KNOWN}")


def _folder(path: Path) -> CameraTable:
    if is_colmap(path):
        return read_colmap_cameras(path)
    if (path / "intri.yml").is_file():
        return read_easymocap(path)
    if any(p.suffix.lower() in OPENCV_SUFFIXES for p in path.iterdir()):
        return read_opencv_folder(path)
    raise BadAnnotation(f"{path}: this folder holds no camera file; {_KNOWN}")
