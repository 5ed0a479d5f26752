"""Caffemodels: the wire format, written by hand here, and every way of cutting it short."""

import contextlib

import numpy as np
import pytest

from asterism.errors import BadWeights
from asterism.io.caffe import read_caffemodel


def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def field(number, value):
    """A whole number, or bytes with their length before them."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def blob(array, old=False):
    array = np.asarray(array, "<f4")
    data = field(5, array.tobytes())
    if old:
        four = [1] * (4 - array.ndim) + list(array.shape)
        return b"".join(field(i, n) for i, n in enumerate(four, 1)) + data
    return data + field(7, field(1, b"".join(varint(n) for n in array.shape)))


def layer(name, *arrays, old=False):
    name_field, blob_field, at = (4, 6, 2) if old else (1, 7, 100)
    inner = field(name_field, name.encode()) + field(3, b"top")
    return field(at, inner + b"".join(field(blob_field, blob(a, old)) for a in arrays))


WEIGHT = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)


@pytest.mark.parametrize("old", [False, True])
def test_names_and_blobs_come_back(tmp_path, old):
    path = tmp_path / "a.caffemodel"
    layers = (
        layer("conv1_1", WEIGHT, [1.5, -2], old=old) + layer("pool", old=old) + layer("p", [0.25], old=old)
    )
    path.write_bytes(field(1, b"net") + layers)
    found = read_caffemodel(path)
    assert list(found) == ["conv1_1", "p"]
    assert np.array_equal(found["conv1_1"][0], WEIGHT) and found["conv1_1"][0].dtype == np.float32
    assert np.array_equal(found["conv1_1"][1], [1.5, -2]) and found["p"][0].shape == (1,)


def test_numbers_one_at_a_time_and_doubles(tmp_path):
    path = tmp_path / "a.caffemodel"
    single = b"".join(varint(5 << 3 | 5) + np.float32(v).tobytes() for v in (1, 2)) + field(7, field(1, 2))
    double = field(8, np.array([3.0, 4.0], "<f8").tobytes()) + field(7, field(1, varint(1) + varint(2)))
    path.write_bytes(field(100, field(1, b"a") + field(7, single) + field(7, double)))
    one, two = read_caffemodel(path)["a"]
    assert one.tolist() == [1, 2] and two.tolist() == [[3, 4]]


def test_every_cut_is_told_and_nothing_is_invented(tmp_path):
    path, whole = tmp_path / "a.caffemodel", layer("c", WEIGHT, [1.0, 2.0])
    for n in range(len(whole)):
        path.write_bytes(whole[:n])
        with pytest.raises(BadWeights, match=r"a\.caffemodel"):
            read_caffemodel(path)


def test_any_bytes_give_an_answer_or_an_error(tmp_path):
    path, random = tmp_path / "a.caffemodel", np.random.default_rng(0)
    whole = bytearray(layer("c", WEIGHT))
    answered = 0
    for _ in range(300):
        damaged = whole.copy()
        damaged[random.integers(len(whole))] = random.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(BadWeights):
            read_caffemodel(path)
            answered += 1
    assert 0 < answered < 300  # damaged values can be read, damaged lengths cannot; nothing else is raised


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (layer("c", [1.0]) * 2, "two layers are called 'c'"),
        (b"\xff" * 20, "longer than 10 bytes"),
        (field(100, field(1, b"c") + field(7, field(5, b"abc"))), "3 bytes are no whole count"),
        (
            field(100, field(1, b"c") + field(7, field(5, bytes(8)) + field(7, field(1, 3)))),
            r"shape is \(3,\) and it holds 2",
        ),
        (b"", "no layer with weights"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, data, words):
    path = tmp_path / "a.caffemodel"
    path.write_bytes(data)
    with pytest.raises(BadWeights, match=words):
        read_caffemodel(path)


def test_no_file(tmp_path):
    with pytest.raises(BadWeights, match="cannot be read"):
        read_caffemodel(tmp_path / "no")
