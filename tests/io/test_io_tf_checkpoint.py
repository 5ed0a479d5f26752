"""A checkpoint written here byte by byte comes back; damaged ones are refused with their names."""

import struct

import numpy as np
import pytest

from asterism.errors import BadWeights
from asterism.io.tf_checkpoint import read_checkpoint


def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def block(entries, squeezed=0):
    """Keys share what they can with the one before; one restart, a byte of compression, a checksum."""
    out, last = b"", b""
    for key, value in entries:
        shared = next((i for i, (a, b) in enumerate(zip(key, last)) if a != b), min(len(key), len(last)))
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    return out + struct.pack("<II", 0, 1) + bytes([squeezed]) + b"\0" * 4


def write(folder, arrays, squeezed=0):
    data, rows = b"", [(b"", field(1, 1))]
    for name, array in sorted(arrays.items()):
        kind = 1 if array.dtype == np.float32 else 9
        shape = b"".join(field(2, field(1, n)) for n in array.shape)
        place = (field(4, len(data)) if data else b"") + field(5, array.nbytes) + b"\x35abcd"
        rows.append((name.encode(), field(1, kind) + field(2, shape) + place))
        data += array.tobytes()
    first = block(rows, squeezed)
    handle = varint(0) + varint(len(first) - 5)
    second = block([(b"zz", handle)])
    footer = varint(0) + varint(0) + varint(len(first)) + varint(len(second) - 5)
    table = first + second + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)
    (folder / "m.index").write_bytes(table)
    (folder / "m.data-00000-of-00001").write_bytes(data)
    return folder / "m.index"


def test_variables_come_back_and_other_types_are_left_out(tmp_path):
    kernel = np.arange(300, dtype=np.float32).reshape(5, 5, 3, 4)
    path = write(
        tmp_path, {"net/kernel": kernel, "net/bias": kernel[0, 0, 0], "step": np.array(7), "x": kernel[:0]}
    )
    found = read_checkpoint(path)
    assert sorted(found) == ["net/bias", "net/kernel", "x"]
    assert np.array_equal(found["net/kernel"], kernel) and found["x"].shape == (0, 5, 3, 4)


def test_what_cannot_be_read_is_named(tmp_path):
    path = write(tmp_path, {"a": np.ones(3, np.float32)}, squeezed=1)
    with pytest.raises(BadWeights, match="compressed"):
        read_checkpoint(path)
    path.write_bytes(b"no index at all, but long enough to hold a footer of one")
    with pytest.raises(BadWeights, match=r"m\.index: is damaged"):
        read_checkpoint(path)
    (tmp_path / "m.data-00000-of-00001").unlink()
    with pytest.raises(BadWeights, match="not beside it"):
        read_checkpoint(path)
