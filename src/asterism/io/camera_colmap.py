"""Cameras of a COLMAP model: cameras and images, as text or as binary files.

Every image is a camera of ours, named as the picture, in the order of the image ids. COLMAP's quaternions are
w, x, y, z; its pixels begin at the corner of the first pixel, ours at its centre, so half a pixel is taken
off the principal point on the way in and put on on the way out. Models without a term that we lack are read:
SIMPLE_PINHOLE, PINHOLE, SIMPLE_RADIAL, RADIAL, OPENCV, and FULL_OPENCV where k4, k5 and k6 are zero. Format:
https://colmap.github.io/format.html.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from asterism.errors import BadAnnotation, RequestError
from asterism.io.atomic import atomic_write, write_text
from asterism.io.camera_table import Camera, CameraTable, as_table, matrix_of

_HALF = 0.5
# id and name of a model, and where its parameters go: fx, fy, cx, cy, then k1, k2, p1, p2, k3, k4, k5, k6
_MODELS = {
    0: ("SIMPLE_PINHOLE", (0, 0, 1, 2)),
    1: ("PINHOLE", (0, 1, 2, 3)),
    2: ("SIMPLE_RADIAL", (0, 0, 1, 2, 3)),
    3: ("RADIAL", (0, 0, 1, 2, 3, 4)),
    4: ("OPENCV", (0, 1, 2, 3, 4, 5, 6, 7)),
    6: ("FULL_OPENCV", tuple(range(12))),
}
_NAMES = [
    "SIMPLE_PINHOLE",
    "PINHOLE",
    "SIMPLE_RADIAL",
    "RADIAL",
    "OPENCV",
    "OPENCV_FISHEYE",
    "FULL_OPENCV",
    "FOV",
    "SIMPLE_RADIAL_FISHEYE",
    "RADIAL_FISHEYE",
    "THIN_PRISM_FISHEYE",
    "RAD_TAN_THIN_PRISM_FISHEYE",
]
_COUNTS = (3, 4, 4, 5, 8, 8, 12, 5, 4, 5, 12, 16)  # parameters of each, in the order of the ids
_OPENCV, _FULL = 4, 6


@dataclass(frozen=True)
class _Lens:
    model: int
    width: int
    height: int
    params: tuple[float, ...]


@dataclass(frozen=True)
class _View:
    image: int
    quaternion: tuple[float, ...]  # w, x, y, z
    shift: tuple[float, ...]
    camera: int
    name: str


def is_colmap(folder: Path) -> bool:
    return any(
        (folder / f"cameras{s}").is_file() and (folder / f"images{s}").is_file() for s in (".bin", ".txt")
    )


def read_colmap_cameras(folder: Path) -> CameraTable:
    """The binary model of a folder where there is one, else the text. Raises BadAnnotation with the file."""
    suffix = ".bin" if (folder / "cameras.bin").is_file() else ".txt"
    inner, outer = folder / f"cameras{suffix}", folder / f"images{suffix}"
    try:
        lenses = _binary_lenses(inner) if suffix == ".bin" else _text_lenses(inner)
        views = _binary_views(outer) if suffix == ".bin" else _text_views(outer)
    except OSError as error:
        raise BadAnnotation(f"{folder}: cannot be read ({error})") from error
    cameras = []
    for view in sorted(views, key=lambda v: v.image):
        if view.camera not in lenses:
            raise BadAnnotation(
                f"{outer}: image {view.image}: its camera {view.camera} is not in {inner.name}"
            )
        cameras.append(_camera(inner, outer, lenses[view.camera], view))
    return as_table(folder, cameras)


def write_colmap_cameras(folder: str | Path, table: CameraTable, suffix: str) -> None:
    """cameras, images and (empty) points3D, `suffix` .txt or .bin; the folder is made.

    Raises RequestError for what COLMAP has no place for: skew, and cameras without the size of their
    pictures.
    """
    lenses, views = [], []
    quaternions = Rotation.from_matrix(table.cam_from_world[:, :, :3]).as_quat()[:, [3, 0, 1, 2]]
    for v, (name, size) in enumerate(zip(table.names, table.sizes)):
        k, terms = table.intrinsics[v], table.distortion[v].tolist()
        if size is None:
            raise RequestError(f"{folder}: camera '{name}' has no size; COLMAP wants width and height")
        if k[0, 1] != 0:
            raise RequestError(f"{folder}: camera '{name}' has skew {k[0, 1]:g}; COLMAP's models have none")
        if set(name) & set(" \n\r\t\0") or not name:
            raise RequestError(f"{folder}: camera {name!r}: COLMAP's names have no blanks")
        plane = (k[0, 0], k[1, 1], k[0, 2] + _HALF, k[1, 2] + _HALF)
        full = terms[4] != 0
        params = (*plane, *terms[:4], *((terms[4], 0.0, 0.0, 0.0) if full else ()))
        lenses.append(_Lens(_FULL if full else _OPENCV, size[1], size[0], tuple(map(float, params))))
        shift = tuple(table.cam_from_world[v, :, 3].tolist())
        views.append(_View(v + 1, tuple(quaternions[v].tolist()), shift, v + 1, name))
    Path(folder).mkdir(exist_ok=True)
    (_write_binary if suffix == ".bin" else _write_text)(Path(folder), lenses, views)


def _camera(inner: Path, outer: Path, lens: _Lens, view: _View) -> Camera:
    field = f"camera {view.camera}"
    if lens.model not in _MODELS:
        name = _NAMES[lens.model] if 0 <= lens.model < len(_NAMES) else str(lens.model)
        known = ", ".join(each for each, _ in _MODELS.values())
        raise BadAnnotation(f"{inner}: {field}: the model {name} is not read; known are {known}")
    where = _MODELS[lens.model][1]
    values = [lens.params[i] for i in where] + [0.0] * (12 - len(where))
    if any(values[9:]):
        raise BadAnnotation(f"{inner}: {field}: k4, k5, k6 are {values[9:]}; wanted zeros")
    fx, fy, cx, cy = values[:4]
    matrix = [[fx, 0, cx - _HALF], [0, fy, cy - _HALF], [0, 0, 1]]
    length = float(np.linalg.norm(view.quaternion))
    if not abs(length - 1) < 1e-3:
        raise BadAnnotation(f"{outer}: image {view.image}: the quaternion has length {length:g}, wanted 1")
    if not np.isfinite([*view.shift, *values]).all():
        raise BadAnnotation(f"{outer}: image {view.image}: holds numbers that are not finite")
    return Camera(
        name=view.name,
        matrix=matrix_of(inner, {"params": matrix}, field, "params"),
        rotation=Rotation.from_quat(np.array(view.quaternion)[[1, 2, 3, 0]]).as_matrix(),
        translation=np.array(view.shift),
        distortion=np.array(values[4:9]),
        size=(lens.height, lens.width),
    )


# ----------------------------------------------------------------------------------------------------- text


def _text_lenses(path: Path) -> dict[int, _Lens]:
    found = {}
    for number, words in _lines(path):
        try:
            model = _NAMES.index(words[1])
            lens = _Lens(model, int(words[2]), int(words[3]), tuple(map(float, words[4:])))
            found[int(words[0])] = lens
        except (ValueError, IndexError):
            raise BadAnnotation(
                f"{path}: line {number}: wanted id, a model of COLMAP's, width, height and its parameters"
            ) from None
        if len(lens.params) != _COUNTS[model]:
            raise BadAnnotation(
                f"{path}: line {number}: {words[1]} has {_COUNTS[model]} parameters, found {len(lens.params)}"
            )
    return found


def _text_views(path: Path) -> list[_View]:
    """Every other line holds the points that the image sees; it may be empty."""
    lines = [
        (i, text.strip())
        for i, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if not text.startswith("#")
    ]
    found = []
    for number, text in lines[::2]:
        if not text:
            continue
        words = text.split()
        try:
            pose = tuple(map(float, words[1:8]))
            found.append(_View(int(words[0]), pose[:4], pose[4:], int(words[8]), words[9]))
        except (ValueError, IndexError):
            raise BadAnnotation(
                f"{path}: line {number}: wanted id, qw, qx, qy, qz, tx, ty, tz, camera and name"
            ) from None
    return found


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    rows = enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    return [(i, text.split()) for i, text in rows if text.strip() and not text.startswith("#")]


def _write_text(folder: Path, lenses: list[_Lens], views: list[_View]) -> None:
    rows = [
        f"{i} {_NAMES[c.model]} {c.width} {c.height} {' '.join(map(repr, c.params))}"
        for i, c in enumerate(lenses, 1)
    ]
    write_text(folder / "cameras.txt", "\n".join(["# CAMERA_ID MODEL WIDTH HEIGHT PARAMS[]", *rows, ""]))
    rows = [
        f"{v.image} {' '.join(map(repr, (*v.quaternion, *v.shift)))} {v.camera} {v.name}\n" for v in views
    ]
    head = "# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, then a line of POINTS2D[]"
    write_text(folder / "images.txt", "\n".join([head, *rows, ""]))
    write_text(folder / "points3D.txt", "# POINT3D_ID X Y Z R G B ERROR TRACK[]\n")


# --------------------------------------------------------------------------------------------------- binary


class _Reader:
    """Little-endian numbers of a file, one after another."""

    def __init__(self, path: Path) -> None:
        self.path, self.bytes, self.at = path, path.read_bytes(), 0

    def take(self, form: str) -> tuple:
        size = struct.calcsize("<" + form)
        if self.at + size > len(self.bytes):
            raise BadAnnotation(f"{self.path}: ends at byte {len(self.bytes)}, in the middle of an entry")
        self.at += size
        return struct.unpack_from("<" + form, self.bytes, self.at - size)

    def text(self) -> str:
        end = self.bytes.find(b"\0", self.at)
        if end < 0:
            raise BadAnnotation(f"{self.path}: ends in the middle of a name")
        self.at, start = end + 1, self.at
        return self.bytes[start:end].decode("utf-8", "replace")


def _binary_lenses(path: Path) -> dict[int, _Lens]:
    file, found = _Reader(path), {}
    for _ in range(file.take("Q")[0]):
        number, model, width, height = file.take("IiQQ")
        if not 0 <= model < len(_COUNTS):
            raise BadAnnotation(f"{path}: camera {number}: the model {model} is not known")
        found[number] = _Lens(model, width, height, file.take(f"{_COUNTS[model]}d"))
    return found


def _binary_views(path: Path) -> list[_View]:
    file, found = _Reader(path), []
    for _ in range(file.take("Q")[0]):
        image, *pose, camera = file.take("I7dI")
        name = file.text()
        (seen,) = file.take("Q")
        file.at += 24 * seen  # x, y and the point of every observation
        found.append(_View(image, tuple(pose[:4]), tuple(pose[4:]), camera, name))
    return found


def _write_binary(folder: Path, lenses: list[_Lens], views: list[_View]) -> None:
    cameras = b"".join(
        struct.pack(f"<IiQQ{len(c.params)}d", i, c.model, c.width, c.height, *c.params)
        for i, c in enumerate(lenses, 1)
    )
    images = b"".join(
        struct.pack("<I7dI", v.image, *v.quaternion, *v.shift, v.camera) + v.name.encode() + b"\0" + bytes(8)
        for v in views
    )
    count = struct.pack("<Q", len(views))
    for name, body in (("cameras", count + cameras), ("images", count + images), ("points3D", bytes(8))):
        with atomic_write(folder / f"{name}.bin") as temporary:
            temporary.write_bytes(body)
