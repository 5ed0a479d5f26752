"""PLY: a header that names the fields of each element, then ASCII or binary of either byte order.

Greg Turk, The PLY Polygon File Format, 1994. Elements other than vertex and face are read over.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asterism.errors import BadCloud
from asterism.io.atomic import atomic_write
from asterism.io.points import Cloud, cloud_of, numbers_of, triangles

_TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"float": "f4", "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2"},
    **{"int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8"},
}
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_MOST = 1 << 34  # elements: more than any file holds, few enough to multiply


@dataclass(frozen=True)
class _Property:
    name: str
    kind: str  # of numpy, without byte order
    count: str = ""  # kind of a list's length; empty for a single value


@dataclass
class _Element:
    name: str
    count: int
    properties: list[_Property]

    @property
    def has_lists(self) -> bool:
        return any(p.count for p in self.properties)


def read(path: Path) -> Cloud:
    """Raises BadCloud with the line of the header, or the element, that is wrong."""
    data = path.read_bytes()
    elements, order, at = _header(path, data)
    columns: dict[str, NDArray[Any]] = {}
    polygons: list[NDArray[np.int64]] = []
    words = data[at:].decode("ascii", "replace").split() if not order else []
    place = 0 if not order else at
    for element in elements:
        if not order:
            found, lists, place = _ascii(path, element, words, place)
        elif element.has_lists:
            found, lists, place = _binary_lists(path, element, data, place, order)
        else:
            found, lists, place = _binary(path, element, data, place, order)
        if element.name == "vertex":
            columns = found
        elif element.name == "face":
            polygons = lists
    if not columns:
        raise BadCloud(f"{path}: element vertex: is missing; this PLY file has no points")
    return cloud_of(path, columns, triangles(path, polygons) if polygons else None)


def _header(path: Path, data: bytes) -> tuple[list[_Element], str, int]:
    end = data.find(b"end_header")
    if not data.startswith(b"ply") or end < 0:
        raise BadCloud(f"{path}: is no PLY file: it must begin with 'ply' and have an 'end_header'")
    at = data.find(b"\n", end) + 1 or len(data)
    elements: list[_Element] = []
    order = None
    for number, line in enumerate(data[:end].decode("ascii", "replace").splitlines(), 1):
        words = line.split() or [""]
        if words[0] == "format":
            order = _ORDERS.get(words[1] if len(words) > 1 else "")
        elif words[0] == "element":
            if len(words) != 3 or not words[2].isdigit() or int(words[2]) > _MOST:
                raise BadCloud(f"{path}: line {number}: wanted 'element NAME COUNT', got '{line[:60]}'")
            elements.append(_Element(words[1], int(words[2]), []))
        elif words[0] == "property":
            if not elements:
                raise BadCloud(f"{path}: line {number}: a property before any element")
            elements[-1].properties.append(_property(path, number, words))
    if order is None:
        raise BadCloud(f"{path}: format: wanted one of {', '.join(_ORDERS)}")
    return elements, order, at


def _property(path: Path, number: int, words: list[str]) -> _Property:
    kinds = words[2:4] if words[1:2] == ["list"] else words[1:2]
    if len(words) != len(kinds) + (3 if len(kinds) == 2 else 2) or any(kind not in _TYPES for kind in kinds):
        raise BadCloud(f"{path}: line {number}: wanted 'property TYPE NAME', got '{' '.join(words)[:60]}'")
    if len(kinds) == 2:
        return _Property(words[4], _TYPES[kinds[1]], _TYPES[kinds[0]])
    return _Property(words[2], _TYPES[kinds[0]])


def _short(path: Path, element: _Element, found: int) -> BadCloud:
    return BadCloud(
        f"{path}: element {element.name}: the header says {element.count}, the file ends after {found}"
    )


Found = tuple[dict[str, NDArray[Any]], list[NDArray[np.int64]], int]


def _binary(path: Path, element: _Element, data: bytes, at: int, order: str) -> Found:
    names = [p.name for p in element.properties]
    if len(set(names)) < len(names):
        raise BadCloud(f"{path}: element {element.name}: a property stands there twice")
    row = np.dtype([(p.name, order + p.kind) for p in element.properties])
    end = at + row.itemsize * element.count
    if end > len(data):
        raise _short(path, element, (len(data) - at) // max(row.itemsize, 1))
    table = np.frombuffer(data, row, element.count, at)
    return {name: table[name] for name in names}, [], end


def _binary_lists(path: Path, element: _Element, data: bytes, at: int, order: str) -> Found:
    """Row by row; at once where every list has the length of the first, as in meshes of triangles."""
    quick = _uniform(element, data, at, order)
    if quick is not None:
        return quick
    lists, single = [], {p.name: [] for p in element.properties if not p.count}
    for i in range(element.count):
        for p in element.properties:
            count, kind = 1, np.dtype(order + p.kind)
            if p.count:
                length = np.dtype(order + p.count)
                if at + length.itemsize > len(data):
                    raise _short(path, element, i)
                count = int(np.frombuffer(data, length, 1, at)[0])
                at += length.itemsize
            if count < 0 or at + count * kind.itemsize > len(data):
                raise _short(path, element, i)
            values = np.frombuffer(data, kind, count, at)
            at += count * kind.itemsize
            if not p.count:
                single[p.name].append(values[0])
            elif p.name in ("vertex_indices", "vertex_index"):
                lists.append(values.astype(np.int64))
    return {name: np.array(values) for name, values in single.items()}, lists, at


def _uniform(element: _Element, data: bytes, at: int, order: str) -> Found | None:
    """Faces that are one list each, all of one length; None where they are not."""
    if len(element.properties) != 1 or not element.count:
        return None
    p = element.properties[0]
    length = np.dtype(order + p.count)
    if at + length.itemsize > len(data):
        return None
    count = int(np.frombuffer(data, length, 1, at)[0])
    if count < 0:
        return None
    row = np.dtype([("count", length), ("values", order + p.kind, (count,))])
    end = at + row.itemsize * element.count
    if end > len(data):
        return None
    table = np.frombuffer(data, row, element.count, at)
    if (table["count"] != count).any():
        return None
    named = p.name in ("vertex_indices", "vertex_index")
    return {}, list(table["values"].astype(np.int64)) if named else [], end


def _ascii(path: Path, element: _Element, words: list[str], at: int) -> Found:
    if not element.has_lists:
        width = len(element.properties)
        end = at + width * element.count
        if end > len(words):
            raise _short(path, element, (len(words) - at) // max(width, 1))
        where = f"element {element.name}"
        table = numbers_of(path, " ".join(words[at:end]), where).reshape(element.count, width)
        kinds = [np.dtype(p.kind) for p in element.properties]
        columns = {
            p.name: table[:, i].astype(kind if kind.kind != "f" else np.float64)
            for i, (p, kind) in enumerate(zip(element.properties, kinds))
        }
        return columns, [], end
    lists: list[NDArray[np.int64]] = []
    for i in range(element.count):
        for p in element.properties:
            count = 1
            if p.count:
                if at >= len(words):
                    raise _short(path, element, i)
                count = int(numbers_of(path, words[at], f"element {element.name} {i}")[0])
                at += 1
            if count < 0 or at + count > len(words):
                raise _short(path, element, i)
            if p.count and p.name in ("vertex_indices", "vertex_index"):
                values = numbers_of(path, " ".join(words[at : at + count]), f"element {element.name} {i}")
                lists.append(values.astype(np.int64))
            at += count
    return {}, lists, at


def write(path: Path, cloud: Cloud) -> None:
    """Binary, little endian; points in double precision."""
    kinds = [(name, "<f8") for name in "xyz"]
    columns = list(cloud.points.T)
    if cloud.normals is not None:
        kinds += [(name, "<f4") for name in ("nx", "ny", "nz")]
        columns += list(cloud.normals.T)
    if cloud.colours is not None:
        kinds += [(name, "u1") for name in ("red", "green", "blue")]
        columns += list(cloud.colours.T)
    table = np.empty(len(cloud), np.dtype(kinds))
    for (name, _), column in zip(kinds, columns):
        table[name] = column
    words = {"<f8": "double", "<f4": "float", "u1": "uchar"}
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(cloud)}"]
    lines += [f"property {words[kind]} {name}" for name, kind in kinds]
    body = table.tobytes()
    if cloud.faces is not None:
        lines += [f"element face {len(cloud.faces)}", "property list uchar int vertex_indices"]
        faces = np.empty(len(cloud.faces), np.dtype([("count", "u1"), ("corners", "<i4", (3,))]))
        faces["count"], faces["corners"] = 3, cloud.faces
        body += faces.tobytes()
    with atomic_write(path) as temporary:
        temporary.write_bytes("\n".join([*lines, "end_header", ""]).encode() + body)
