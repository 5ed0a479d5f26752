"""Weights of a Caffe network (.caffemodel), read from the wire format of protocol buffers. No dependency.

Only what weights need is understood: layers with their names and blobs, in today's form (LayerParameter) and
in the one before it (V1LayerParameter). Every length is checked against the bytes that are there before it is
used, so a damaged file gives BadWeights with the place of the damage, never an invented array.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from asterism.errors import BadWeights

# Numbers of fields in caffe.proto: of a net, and (name, blobs) of a layer in both forms.
_LAYER, _LAYER_V1 = 100, 2
_PARTS = {_LAYER: (1, 7), _LAYER_V1: (4, 6)}
_DATA, _SHAPE, _DOUBLE_DATA, _DIM = 5, 7, 8, 1
_SIDES = (1, 2, 3, 4)  # num, channels, height, width: a blob's size before it had a shape

_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5  # wire types
_MOST_AXES = 32  # caffe's own limit

Span = tuple[int, int]  # first byte and the one behind the last
Field = tuple[int, int, int | Span]  # number, wire type, value


def read_caffemodel(path: str | Path) -> dict[str, tuple[Float[np.ndarray, "..."], ...]]:
    """Layer's name -> its blobs in float32, in the order of the file; layers without blobs are left out.

    Raises BadWeights, naming the byte or the layer, where the file is damaged, is no such file, or holds a
    name twice.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise BadWeights(f"{path}: cannot be read ({error.strerror}); wanted a .caffemodel") from error
    layers: dict[str, tuple[NDArray[np.float32], ...]] = {}
    wire = _Wire(data, str(path))
    for number, kind, value in wire.fields((0, len(data))):
        if number not in _PARTS or kind != _BYTES:
            continue
        assert isinstance(value, tuple)
        name, blobs = _layer(wire, value, *_PARTS[number])
        if not blobs:
            continue
        if name in layers:
            raise BadWeights(f"{path}: two layers are called '{name}'")
        layers[name] = blobs
    if not layers:
        raise BadWeights(f"{path}: no layer with weights in it; wanted a .caffemodel")
    return layers


class _Wire:
    """The bytes, and fields within a span of them."""

    def __init__(self, data: bytes, path: str) -> None:
        self.data = data
        self.path = path

    def bad(self, at: int, why: str) -> BadWeights:
        return BadWeights(f"{self.path}: byte {at}: {why}; the file is damaged or no .caffemodel")

    def varint(self, at: int, end: int) -> tuple[int, int]:
        """The number that begins at `at`, and the byte behind it."""
        value = 0
        for i in range(10):
            if at + i >= end:
                raise self.bad(at, "a number is cut short")
            byte = self.data[at + i]
            value |= (byte & 127) << (7 * i)
            if byte < 128:
                return value, at + i + 1
        raise self.bad(at, "a number is longer than 10 bytes")

    def fields(self, span: Span) -> Iterator[Field]:
        at, end = span
        while at < end:
            start = at
            tag, at = self.varint(at, end)
            number, kind = tag >> 3, tag & 7
            if number == 0:
                raise self.bad(start, "a field has the number 0")
            if kind == _VARINT:
                value, at = self.varint(at, end)
                yield number, kind, value
                continue
            if kind == _BYTES:
                length, at = self.varint(at, end)
            elif kind in (_EIGHT, _FOUR):
                length = 8 if kind == _EIGHT else 4
            else:
                raise self.bad(start, f"field {number} is of the unknown kind {kind}")
            if length > end - at:
                raise self.bad(start, f"field {number} wants {length} bytes and {end - at} are left")
            yield number, kind, (at, at + length)
            at += length

    def numbers(self, kind: int, value: int | Span) -> list[int]:
        """A repeated whole number, packed or one at a time."""
        if isinstance(value, int):
            return [value]
        if kind != _BYTES:
            raise self.bad(value[0], "wanted whole numbers")
        (at, end), found = value, []
        while at < end:
            number, at = self.varint(at, end)
            found.append(number)
        return found

    def floats(self, value: int | Span, single: bool) -> NDArray[np.float32]:
        width = 4 if single else 8
        if isinstance(value, int):
            raise BadWeights(f"{self.path}: a blob holds whole numbers; the file is damaged")
        at, end = value
        if (end - at) % width:
            raise self.bad(at, f"{end - at} bytes are no whole count of {width}-byte numbers")
        found = np.frombuffer(self.data, f"<f{width}", (end - at) // width, at)
        return found.astype(np.float32)


def _layer(
    wire: _Wire, span: Span, name_field: int, blob_field: int
) -> tuple[str, tuple[NDArray[np.float32], ...]]:
    name, spans = "", []
    for number, kind, value in wire.fields(span):
        if kind != _BYTES or isinstance(value, int):
            continue
        if number == name_field:
            name = wire.data[slice(*value)].decode("utf-8", errors="replace")
        elif number == blob_field:
            spans.append(value)
    return name, tuple(_blob(wire, at, name, i) for i, at in enumerate(spans))


def _blob(wire: _Wire, span: Span, layer: str, index: int) -> NDArray[np.float32]:
    parts: list[NDArray[np.float32]] = []
    shape: list[int] | None = None
    sides = dict.fromkeys(_SIDES, 1)
    for number, _, value in wire.fields(span):
        if number in (_DATA, _DOUBLE_DATA):
            parts.append(wire.floats(value, single=number == _DATA))
        elif number == _SHAPE and not isinstance(value, int):
            inner = [f for f in wire.fields(value) if f[0] == _DIM]
            shape = [n for _, k, v in inner for n in wire.numbers(k, v)]
        elif number in sides and isinstance(value, int):
            sides[number] = value
    if shape is None:  # the old form has always four axes; one of n numbers is 1 1 1 n
        four = list(sides.values())
        shape = four[3:] if four[:3] == [1, 1, 1] else four
    values = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    if len(shape) > _MOST_AXES or math.prod(shape) != len(values):
        raise BadWeights(
            f"{wire.path}: layer '{layer}' blob {index}: its shape is {tuple(shape[:8])} and it holds "
            f"{len(values)} numbers; the file is damaged"
        )
    return values.reshape(shape)
