"""PCD 0.7, the Point Cloud Library's files: ascii, binary and binary_compressed (LZF).

https://pointclouds.org/documentation/tutorials/pcd_file_format.html. Colours are three bytes in one number,
`rgb`. Points that a sensor did not see are NaN there, which io.cloud tells the user of.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asterism.errors import BadCloud
from asterism.io.atomic import atomic_write
from asterism.io.points import Cloud, cloud_of, numbers_of

_KINDS = {"F": "f", "U": "u", "I": "i"}
_SIZES = {"F": (4, 8), "U": (1, 2, 4, 8), "I": (1, 2, 4, 8)}
_WANTED = ("FIELDS", "SIZE", "TYPE", "POINTS", "DATA")


def read(path: Path) -> Cloud:
    """Raises BadCloud with the entry of the header that is wrong."""
    data = path.read_bytes()
    header, at = _header(path, data)
    names, kinds, counts = _fields(path, header)
    points = header["POINTS"][0] if header["POINTS"] else ""
    if not points.isdigit():
        raise BadCloud(f"{path}: POINTS: wanted a whole number, got '{points[:40]}'")
    n, how = int(points), (header["DATA"] or [""])[0]
    if how == "ascii":
        columns = _ascii(path, data[at:], names, kinds, counts, n)
    elif how == "binary":
        columns = _binary(path, data[at:], names, kinds, counts, n)
    elif how == "binary_compressed":
        columns = _compressed(path, data[at:], names, kinds, counts, n)
    else:
        raise BadCloud(f"{path}: DATA: wanted ascii, binary or binary_compressed, got '{how[:40]}'")
    return cloud_of(path, _with_colours(columns))


def _header(path: Path, data: bytes) -> tuple[dict[str, list[str]], int]:
    header: dict[str, list[str]] = {}
    at = 0
    while "DATA" not in header:
        end = data.find(b"\n", at)
        if end < 0 or at > 1 << 16:
            raise BadCloud(f"{path}: is no PCD file: its header has no DATA")
        words = data[at:end].decode("ascii", "replace").split()
        at = end + 1
        if words and not words[0].startswith("#"):
            header[words[0].upper()] = words[1:]
    missing = [name for name in _WANTED if name not in header]
    if missing:
        raise BadCloud(f"{path}: {missing[0]}: is missing from the header")
    return header, at


def _fields(path: Path, header: dict[str, list[str]]) -> tuple[list[str], list[np.dtype], list[int]]:
    names = header["FIELDS"]
    given = {name: header.get(name, ["1"] * len(names)) for name in ("SIZE", "TYPE", "COUNT")}
    for name, values in given.items():
        if len(values) != len(names):
            raise BadCloud(f"{path}: {name}: {len(values)} values for {len(names)} FIELDS")
    kinds, counts = [], []
    for field, size, kind, count in zip(names, given["SIZE"], given["TYPE"], given["COUNT"]):
        if kind not in _KINDS or not size.isdigit() or int(size) not in _SIZES[kind]:
            raise BadCloud(f"{path}: field {field}: TYPE {kind} of SIZE {size} is not known")
        if not count.isdigit():
            raise BadCloud(f"{path}: field {field}: COUNT: wanted a whole number, got '{count[:40]}'")
        kinds.append(np.dtype(f"<{_KINDS[kind]}{size}"))
        counts.append(int(count))
    return names, kinds, counts


Columns = dict[str, NDArray[Any]]


def _ascii(
    path: Path, data: bytes, names: list[str], kinds: list[np.dtype], counts: list[int], n: int
) -> Columns:
    table = numbers_of(path, data.decode("ascii", "replace"), "DATA")
    width = sum(counts)
    if len(table) < n * width:
        raise BadCloud(f"{path}: DATA: {n} POINTS of {width} numbers are announced, {len(table)} are there")
    table = table[: n * width].reshape(n, width)
    at = np.concatenate([[0], np.cumsum(counts)])
    return {
        name: table[:, at[i]].astype(kinds[i] if kinds[i].kind != "f" else np.float64)
        for i, name in enumerate(names)
        if counts[i] == 1 and name != "_"
    }


def _binary(
    path: Path, data: bytes, names: list[str], kinds: list[np.dtype], counts: list[int], n: int
) -> Columns:
    row = np.dtype([(f"{i}", kind, (count,)) for i, (kind, count) in enumerate(zip(kinds, counts))])
    if len(data) < n * row.itemsize:
        raise BadCloud(f"{path}: DATA: {n} POINTS are announced, {len(data) // row.itemsize} are there")
    table = np.frombuffer(data, row, n)
    wanted = [i for i, name in enumerate(names) if counts[i] == 1 and name != "_"]
    return {names[i]: table[f"{i}"][:, 0] for i in wanted}


def _compressed(
    path: Path, data: bytes, names: list[str], kinds: list[np.dtype], counts: list[int], n: int
) -> Columns:
    """Field after field, all points of each, packed by LZF."""
    if len(data) < 8:
        raise BadCloud(f"{path}: DATA: is cut short")
    packed, size = (int(v) for v in np.frombuffer(data, "<u4", 2))
    wanted = n * sum(kind.itemsize * count for kind, count in zip(kinds, counts))
    if size != wanted or len(data) < 8 + packed:
        raise BadCloud(f"{path}: DATA: {wanted} bytes are announced by the header, {size} by the block")
    plain = unpacked(path, data[8 : 8 + packed], size)
    columns, at = {}, 0
    for name, kind, count in zip(names, kinds, counts):
        if count == 1 and name != "_":
            columns[name] = np.frombuffer(plain, kind, n, at)
        at += n * kind.itemsize * count
    return columns


def unpacked(path: Path, data: bytes, size: int) -> bytes:
    """`size` bytes from a block of LZF (Marc Lehmann's LibLZF). Raises BadCloud where it does not fit.

    A control byte under 32 is followed by that many bytes plus one; else its upper three bits are a length
    less two (seven: one more byte to add) and its lower five, with the next byte, a way back less one.
    """
    out = bytearray()
    at, end = 0, len(data)
    damaged = BadCloud(f"{path}: DATA: the compressed block is damaged")
    while at < end:
        control = data[at]
        at += 1
        if control < 32:
            if at + control + 1 > end:
                raise damaged
            out += data[at : at + control + 1]
            at += control + 1
        else:
            length = control >> 5
            if at + (length == 7) >= end:
                raise damaged
            if length == 7:
                length += data[at]
                at += 1
            back = ((control & 31) << 8 | data[at]) + 1
            at += 1
            length += 2
            if back > len(out):
                raise damaged
            start = len(out) - back
            if back >= length:
                out += out[start : start + length]
            else:  # it repeats what it is writing
                piece = bytes(out[start:])
                out += (piece * (length // back + 1))[:length]
        if len(out) > size:
            raise damaged
    if len(out) != size:
        raise damaged
    return bytes(out)


def _with_colours(columns: Columns) -> Columns:
    for name in ("rgb", "rgba"):
        if name in columns:
            bits = columns[name]
            bits = (
                bits.astype(np.float32).view(np.uint32) if bits.dtype.kind == "f" else bits.astype(np.uint32)
            )
            parts = {"red": bits >> 16 & 255, "green": bits >> 8 & 255, "blue": bits & 255}
            return columns | {part: values.astype(np.uint8) for part, values in parts.items()}
    return columns


def write(path: Path, cloud: Cloud) -> None:
    """Binary; points in double precision, colours in one whole number, no triangles."""
    fields = [(name, "<f8") for name in "xyz"]
    columns = list(cloud.points.T)
    if cloud.normals is not None:
        fields += [(f"normal_{name}", "<f4") for name in "xyz"]
        columns += list(cloud.normals.T)
    if cloud.colours is not None:
        red, green, blue = cloud.colours.astype(np.uint32).T
        fields.append(("rgb", "<u4"))
        columns.append(red << 16 | green << 8 | blue)
    table = np.empty(len(cloud), np.dtype(fields))
    for (name, _), column in zip(fields, columns):
        table[name] = column
    kinds = [np.dtype(kind) for _, kind in fields]
    header = [
        "VERSION 0.7",
        "FIELDS " + " ".join(name for name, _ in fields),
        "SIZE " + " ".join(str(kind.itemsize) for kind in kinds),
        "TYPE " + " ".join(kind.kind.upper() for kind in kinds),
        "COUNT " + " ".join("1" for _ in kinds),
        f"WIDTH {len(cloud)}",
        "HEIGHT 1",
        "VIEWPOINT 0 0 0 1 0 0 0",
        f"POINTS {len(cloud)}",
        "DATA binary",
    ]
    with atomic_write(path) as temporary:
        temporary.write_bytes(("\n".join(header) + "\n").encode() + table.tobytes())
