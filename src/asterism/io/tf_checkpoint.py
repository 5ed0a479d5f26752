"""Variables of a TensorFlow checkpoint (NAME.index beside NAME.data-00000-of-00001), without TensorFlow.

The index is a sorted table in LevelDB's format: blocks of keys, each without what it shares with the one
before, and a footer that says where the block of blocks begins. A value is a protocol buffer: type, shape,
and where in the data the numbers lie. Only whole tables of float32 in one uncompressed file are read.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float

from asterism.errors import BadWeights

_MAGIC, _FOOTER = 0xDB4775248B80FB57, 48  # of LevelDB's table format
_FLOAT = 1  # of TensorFlow's types
_TYPE, _SHAPE, _SHARD, _OFFSET, _SIZE = 1, 2, 3, 4, 5  # fields of BundleEntryProto


def read_checkpoint(path: str | Path) -> dict[str, Float[np.ndarray, "..."]]:
    """Float variables by name; `path` is the .index file. Raises BadWeights, naming the file."""
    path = Path(path)
    data_path = path.with_suffix(".data-00000-of-00001")
    if not data_path.is_file():
        raise BadWeights(f"{path}: its numbers are in {data_path.name}, which is not beside it")
    table, data = path.read_bytes(), data_path.read_bytes()
    found = {}
    try:
        if struct.unpack("<Q", table[-8:])[0] != _MAGIC:
            raise ValueError("does not end as an index does")
        _, at = _handle(table[-_FOOTER:], 0)
        start, _ = _handle(table[-_FOOTER:], at)
        for _, where in _entries(table, *start):
            block, _ = _handle(where, 0)
            for name, value in _entries(table, *block):
                if name:  # the entry without a name describes the file
                    found |= _variable(name.decode(), value, data)
    except (ValueError, IndexError, struct.error) as error:
        raise BadWeights(f"{path}: is damaged, or no index of a TensorFlow checkpoint ({error})") from error
    return found


def _variable(name: str, value: bytes, data: bytes) -> dict[str, np.ndarray]:
    fields = dict(_fields(value))
    if fields.get(_TYPE) != _FLOAT:
        return {}
    if fields.get(_SHARD, 0):
        raise ValueError(f"{name} lies in a second file of data")
    raw = bytes(fields.get(_SHAPE, b""))
    shape = [int(dict(_fields(bytes(size))).get(1, 0)) for _, size in _fields(raw)]
    start = int(fields.get(_OFFSET, 0))
    held = np.frombuffer(data[start : start + int(fields[_SIZE])], dtype="<f4")
    return {name: held.reshape(shape).copy()}


def _entries(table: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block."""
    block = table[start : start + size]
    if table[start + size]:
        raise ValueError("its blocks are compressed")
    (restarts,) = struct.unpack("<I", block[-4:])
    at, end, key = 0, len(block) - 4 * (restarts + 1), b""
    while at < end:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + length]
        at += own + length


def _handle(held: bytes, at: int) -> tuple[tuple[int, int], int]:
    """Offset and size of a block, and where the next handle begins."""
    offset, at = _varint(held, at)
    size, at = _varint(held, at)
    return (offset, size), at


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and bytes of a protocol buffer by the number of their field."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(message, at)
        elif kind == 2:
            size, at = _varint(message, at)
            value, at = message[at : at + size], at + size
        elif kind == 5:
            value, at = message[at : at + 4], at + 4
        else:
            raise ValueError(f"a field of the unknown kind {kind}")
        yield tag >> 3, value


def _varint(held: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = held[at]
        at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
        if byte < 128:
            return value, at
