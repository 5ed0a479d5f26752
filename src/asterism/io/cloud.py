"""Point clouds and meshes: one door for PLY, PCD, OFF, OBJ, STL, XYZ, NPY, NPZ and, with an extra, LAS, LAZ.

What is told from the name's ending is checked against the content. A point that is not finite never passes
silently: it is an error that says how many there are and where the first one stands, unless it is asked to be
left out, which scans of organised sensors need (a PCD file writes NaN where the sensor saw nothing).
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asterism.errors import BadCloud, MissingExtra, RequestError
from asterism.io import mesh, pcd, ply
from asterism.io.atomic import atomic_write, write_text
from asterism.io.points import Cloud, cloud_of, numbers_of


def read_cloud(path: str | Path, *, drop_nonfinite: bool = False) -> Cloud:
    """The points of a file, N > 0.

    Raises BadCloud, naming the file and the field, where the file is not what its ending says, is cut short,
    names points that do not exist, or has points that are not finite (`drop_nonfinite` leaves those out, and
    triangles with them); RequestError where there is no such file or the ending is unknown.
    """
    path = Path(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise RequestError(f"{path}: '{path.suffix}' is no kind of cloud; wanted one of {', '.join(READERS)}")
    if not path.is_file():
        raise RequestError(f"{path}: there is no such file")
    cloud = reader(path)
    if not len(cloud):
        raise BadCloud(f"{path}: holds no points")
    return _finite(path, cloud, drop_nonfinite)


def write_cloud(path: str | Path, cloud: Cloud) -> None:
    """Write a cloud in the format of the ending. Raises RequestError for an ending that is not written."""
    path = Path(path)
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        raise RequestError(f"{path}: cannot write '{path.suffix}'; wanted one of {', '.join(WRITERS)}")
    writer(path, cloud)


def _finite(path: Path, cloud: Cloud, drop: bool) -> Cloud:
    good: NDArray[np.bool_] = np.asarray(np.isfinite(cloud.points).all(1))
    if good.all():
        return cloud
    first = int(np.argmin(good))
    if not drop:
        raise BadCloud(
            f"{path}: {int((~good).sum())} of {len(good)} points are not finite, the first is point {first} "
            f"{cloud.points[first].tolist()}; leave them out with --drop-nonfinite"
        )
    if not good.any():
        raise BadCloud(f"{path}: not one of {len(good)} points is finite")
    kept = cloud.rows(good)
    if cloud.faces is None:
        return kept
    number = np.cumsum(good) - 1
    whole = good[cloud.faces].all(1)
    return Cloud(
        points=kept.points, normals=kept.normals, colours=kept.colours, faces=number[cloud.faces[whole]]
    )


# -------------------------------------------------------------------------------- plain text, numpy, surveys


def _read_xyz(path: Path) -> Cloud:
    """Lines of x y z, of x y z nx ny nz, or of x y z and a colour of 0 to 255; # begins a remark."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    rows = [(i, line.split("#")[0].replace(",", " ").strip()) for i, line in enumerate(lines, 1)]
    rows = [(i, line) for i, line in rows if line]
    if not rows:
        raise BadCloud(f"{path}: holds no points")
    first = len(rows[0][1].split())
    if first not in (3, 4, 6):
        raise BadCloud(f"{path}: line {rows[0][0]}: {first} numbers; wanted 3 (x y z), 4 or 6")
    wrong = next(((i, line) for i, line in rows if len(line.split()) != first), None)
    if wrong is not None:
        raise BadCloud(
            f"{path}: line {wrong[0]}: {len(wrong[1].split())} numbers, the first line has {first}"
        )
    try:
        table = np.array([line.split() for _, line in rows], dtype=np.float64)
    except ValueError:
        for i, line in rows:
            numbers_of(path, line, f"line {i}")
        raise
    fields = dict(zip("xyz", table.T))
    if first == 6:
        last = table[:, 3:]
        direction = np.abs(last).max() <= 1
        fields |= dict(zip(("nx", "ny", "nz") if direction else ("red", "green", "blue"), last.T))
    return cloud_of(path, fields)


def _read_npy(path: Path) -> Cloud:
    try:
        found = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise BadCloud(f"{path}: is no NPY file of numbers ({error})") from None
    return _array(path, "the array", found)


def _read_npz(path: Path) -> Cloud:
    """An array named points or xyz, else the only one; `normals`, `colours` and `faces` where there are."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError, KeyError) as error:
        raise BadCloud(f"{path}: is no NPZ file of numbers ({error})") from None
    name = next((name for name in ("points", "xyz", "pc") if name in arrays), None)
    if name is None and len(arrays) == 1:
        name = next(iter(arrays))
    if name is None:
        raise BadCloud(f"{path}: has the arrays {', '.join(arrays)}; wanted one called points")
    cloud = _array(path, name, arrays[name])
    fields: dict[str, NDArray[Any]] = dict(zip("xyz", cloud.points.T))
    for field, columns in (("normals", ("nx", "ny", "nz")), ("colours", ("red", "green", "blue"))):
        if field in arrays:
            if arrays[field].shape != cloud.points.shape:
                wanted = cloud.points.shape
                raise BadCloud(f"{path}: array {field}: has shape {arrays[field].shape}; wanted {wanted}")
            fields |= dict(zip(columns, arrays[field].T))
    faces = arrays.get("faces")
    if faces is not None and (faces.ndim != 2 or faces.shape[1] != 3 or faces.dtype.kind not in "iu"):
        raise BadCloud(f"{path}: array faces: wanted whole numbers M x 3, got {faces.dtype} {faces.shape}")
    return cloud_of(path, fields, faces)


def _array(path: Path, name: str, found: NDArray[Any]) -> Cloud:
    if found.ndim != 2 or found.shape[1] not in (3, 6) or found.dtype.kind not in "fiu":
        raise BadCloud(
            f"{path}: {name}: wanted numbers N x 3 (or N x 6 with normals), got {found.dtype} {found.shape}"
        )
    return cloud_of(path, dict(zip(("x", "y", "z", "nx", "ny", "nz"), found.T)))


def _read_las(path: Path) -> Cloud:
    try:
        import laspy
    except ImportError:
        raise MissingExtra("laspy", "surveys", f"reading {path.suffix} files") from None
    try:
        file = laspy.read(path)
    except Exception as error:  # laspy raises errors of many kinds on damaged files
        raise BadCloud(f"{path}: cannot be read ({error})") from None
    fields: dict[str, NDArray[Any]] = {name: np.asarray(getattr(file, name)) for name in "xyz"}
    if "red" in set(file.point_format.dimension_names):
        fields |= {name: np.asarray(getattr(file, name)) for name in ("red", "green", "blue")}
    return cloud_of(path, fields)


def _write_xyz(path: Path, cloud: Cloud) -> None:
    table = cloud.points if cloud.normals is None else np.concatenate([cloud.points, cloud.normals], axis=1)
    write_text(path, "".join(" ".join(map(repr, row)) + "\n" for row in table.tolist()))


def _write_npy(path: Path, cloud: Cloud) -> None:
    with atomic_write(path) as temporary:
        np.save(temporary, cloud.points)


def _write_npz(path: Path, cloud: Cloud) -> None:
    arrays = {name: getattr(cloud, name) for name in ("points", "normals", "colours", "faces")}
    with atomic_write(path) as temporary:
        np.savez(temporary, **{name: array for name, array in arrays.items() if array is not None})


READERS: Mapping[str, Callable[[Path], Cloud]] = {
    ".ply": ply.read,
    ".pcd": pcd.read,
    ".off": mesh.read_off,
    ".obj": mesh.read_obj,
    ".stl": mesh.read_stl,
    ".xyz": _read_xyz,
    ".txt": _read_xyz,
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".las": _read_las,
    ".laz": _read_las,
}
WRITERS: Mapping[str, Callable[[Path, Cloud], None]] = {
    ".ply": ply.write,
    ".pcd": pcd.write,
    ".off": mesh.write_off,
    ".obj": mesh.write_obj,
    ".stl": mesh.write_stl,
    ".xyz": _write_xyz,
    ".txt": _write_xyz,
    ".npy": _write_npy,
    ".npz": _write_npz,
}
