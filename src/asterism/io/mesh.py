"""OFF, OBJ and STL: meshes as text, and STL also as binary. Polygons become fans of triangles.

An STL file has no points of its own, only triangles: corners at the very same place become one point.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asterism.errors import BadCloud, RequestError
from asterism.io.atomic import atomic_write, write_text
from asterism.io.points import Cloud, checked_faces, cloud_of, numbers_of, triangles

_TRIANGLE = np.dtype([("normal", "<f4", (3,)), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def _lines(path: Path) -> list[tuple[int, str]]:
    text = path.read_text(encoding="utf-8", errors="replace")
    lines = ((i, line.split("#")[0].strip()) for i, line in enumerate(text.splitlines(), 1))
    return [(i, line) for i, line in lines if line]


def read_off(path: Path) -> Cloud:
    """Raises BadCloud with the line that is wrong. Colours after a face's corners are read over."""
    lines = _lines(path)
    if not lines or not lines[0][1].upper().startswith("OFF"):
        raise BadCloud(f"{path}: is no OFF file: its first line must be OFF")
    rest = lines[0][1][3:].strip()  # some files have the counts on the first line
    head, body = ((lines[0][0], rest), lines[1:]) if rest else (lines[1] if lines[1:] else (0, ""), lines[2:])
    counts = numbers_of(path, head[1], f"line {head[0]}")
    if len(counts) < 2 or (counts < 0).any() or not np.isfinite(counts).all():
        raise BadCloud(
            f"{path}: line {head[0]}: wanted the numbers of points and faces, got '{head[1][:40]}'"
        )
    n, m = int(counts[0]), int(counts[1])
    if len(body) < n + m:
        raise BadCloud(f"{path}: {n} points and {m} faces are announced, {len(body)} lines are there")
    points = np.stack([_three(path, i, line) for i, line in body[:n]]) if n else np.zeros((0, 3))
    polygons = [_polygon(path, i, line) for i, line in body[n : n + m]]
    return cloud_of(path, dict(zip("xyz", points.T)), triangles(path, polygons) if m else None)


def _three(path: Path, number: int, line: str) -> NDArray[np.float64]:
    found = numbers_of(path, line, f"line {number}")
    if len(found) < 3:
        raise BadCloud(f"{path}: line {number}: wanted x y z, got '{line[:40]}'")
    return found[:3]


def _polygon(path: Path, number: int, line: str) -> NDArray[np.int64]:
    found = numbers_of(path, line, f"line {number}")
    if not len(found) or len(found) < 1 + found[0]:
        raise BadCloud(f"{path}: line {number}: fewer corners than the {found[:1].tolist()} announced")
    return found[1 : 1 + int(found[0])].astype(np.int64)


def read_obj(path: Path) -> Cloud:
    """Points and faces; negative numbers count from the end. Normals are kept where each point has one."""
    points, faces = [], []
    for i, line in _lines(path):
        word, _, rest = line.partition(" ")
        if word == "v":
            points.append((i, rest.split()))
        elif word == "f":
            faces.append((i, [corner.split("/")[0] for corner in rest.split()], len(points)))
    if not points:
        raise BadCloud(f"{path}: is no OBJ file: no line begins with 'v '")
    short = next((i for i, words in points if len(words) < 3), None)
    if short is not None:
        raise BadCloud(f"{path}: line {short}: wanted 'v x y z'")
    xyz = _numbers(path, [(i, words[:3]) for i, words in points]).reshape(-1, 3)
    corners = _numbers(path, [(i, words) for i, words, _ in faces]).astype(np.int64)
    sizes = np.array([len(words) for _, words, _ in faces], np.int64)
    if (corners == 0).any():
        face = int(np.searchsorted(np.cumsum(sizes), np.argmax(corners == 0), side="right"))
        raise BadCloud(f"{path}: line {faces[face][0]}: a corner is 0; OBJ counts from 1")
    before = np.repeat([n for *_, n in faces], sizes) if faces else corners
    found = np.where(corners > 0, corners - 1, before + corners)
    polygons = np.split(found, np.cumsum(sizes)[:-1]) if faces else []
    return cloud_of(path, dict(zip("xyz", xyz.T)), triangles(path, polygons) if faces else None)


def _numbers(path: Path, rows: list[tuple[int, list[str]]]) -> NDArray[np.float64]:
    """The numbers of all rows, one after the other. Raises BadCloud with the line of one that is none."""
    try:
        return np.array([word for _, words in rows for word in words], dtype=np.float64)
    except ValueError:
        for i, words in rows:
            numbers_of(path, " ".join(words), f"line {i}")
        raise


def read_stl(path: Path) -> Cloud:
    """Binary or text, told by the size. Raises BadCloud where it is neither."""
    data = path.read_bytes()
    count = int(np.frombuffer(data, "<u4", 1, 80)[0]) if len(data) >= 84 else -1
    if len(data) == 84 + count * _TRIANGLE.itemsize and count >= 0:
        corners = np.frombuffer(data, _TRIANGLE, count, 84)["corners"].reshape(-1, 3).astype(np.float64)
    elif data.lstrip().startswith(b"solid"):
        lines = [(i, line) for i, line in _lines(path) if line.startswith("vertex")]
        if not lines or len(lines) % 3:
            raise BadCloud(f"{path}: {len(lines)} lines of vertex; wanted three for each triangle")
        corners = np.stack([_three(path, i, line[6:]) for i, line in lines])
    else:
        wanted = (
            f"{84 + count * _TRIANGLE.itemsize} bytes for {count} triangles" if count >= 0 else "a header"
        )
        raise BadCloud(f"{path}: is no STL file, or cut short: {len(data)} bytes; wanted {wanted}")
    points, number = np.unique(corners, axis=0, return_inverse=True)
    return cloud_of(path, dict(zip("xyz", points.T)), number.reshape(-1, 3))


def _faces(path: Path, cloud: Cloud) -> NDArray[np.int64]:
    return np.zeros((0, 3), np.int64) if cloud.faces is None else checked_faces(path, cloud.faces, len(cloud))


def _text(rows: NDArray[Any], before: str = "") -> str:
    return "".join(before + " ".join(map(repr, row)) + "\n" for row in rows.tolist())


def write_off(path: Path, cloud: Cloud) -> None:
    faces = _faces(path, cloud)
    head = f"OFF\n{len(cloud)} {len(faces)} 0\n"
    write_text(path, head + _text(cloud.points) + _text(faces, "3 "))


def write_obj(path: Path, cloud: Cloud) -> None:
    write_text(path, _text(cloud.points, "v ") + _text(_faces(path, cloud) + 1, "f "))


def write_stl(path: Path, cloud: Cloud) -> None:
    """Binary, in single precision, which is all that STL has. Raises RequestError without triangles."""
    faces = _faces(path, cloud)
    if not len(faces):
        raise RequestError(f"{path}: an STL file holds triangles, and this cloud has none; write a .ply")
    corners = cloud.points[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-300)
    table = np.zeros(len(faces), _TRIANGLE)
    table["normal"], table["corners"] = normal, corners
    with atomic_write(path) as temporary:
        temporary.write_bytes(bytes(80) + np.uint32(len(faces)).tobytes() + table.tobytes())
