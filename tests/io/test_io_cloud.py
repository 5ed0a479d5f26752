# ruff: noqa: E501  (files of one line each)
"""Clouds and meshes: what is written is read back, and each way of being wrong has a message of its own."""

from pathlib import Path

import numpy as np
import pytest

from asterism.errors import BadCloud, RequestError
from asterism.io.cloud import read_cloud, write_cloud
from asterism.io.pcd import unpacked
from asterism.io.points import Cloud

RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(9, 3)) * 100
NORMALS = np.linalg.qr(RNG.normal(size=(3, 3)))[0][RNG.integers(3, size=9)]
COLOURS = RNG.integers(0, 256, (9, 3)).astype(np.uint8)
FACES = np.array([[0, 1, 2], [2, 3, 4], [8, 7, 6]])
FULL = Cloud(points=POINTS, normals=NORMALS, colours=COLOURS, faces=FACES)


@pytest.mark.parametrize("suffix", ["ply", "npz", "pcd", "xyz", "npy", "off", "obj"])
def test_what_is_written_is_read_back(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    write_cloud(path, FULL)
    found = read_cloud(path)
    np.testing.assert_array_equal(found.points, POINTS)
    if suffix in ("ply", "npz", "pcd", "xyz"):
        np.testing.assert_allclose(found.normals, NORMALS, atol=1e-6)
    if suffix in ("ply", "npz", "pcd"):
        np.testing.assert_array_equal(found.colours, COLOURS)
    if suffix in ("ply", "npz", "off", "obj"):
        np.testing.assert_array_equal(found.faces, FACES)


def test_an_stl_keeps_its_triangles_and_joins_their_corners(tmp_path):
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], float)
    cloud = Cloud(points=square, faces=np.array([[0, 1, 2], [0, 2, 3]]))
    write_cloud(tmp_path / "a.stl", cloud)
    found = read_cloud(tmp_path / "a.stl")
    assert len(found) == 4
    triangles = {tuple(map(tuple, found.points[face])) for face in found.faces}
    assert triangles == {tuple(map(tuple, square[face])) for face in cloud.faces}
    with pytest.raises(RequestError, match="has none; write a"):
        write_cloud(tmp_path / "b.stl", Cloud(points=square))


def test_a_text_stl(tmp_path):
    corners = "vertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\n"
    (tmp_path / "a.stl").write_text(f"solid x\nfacet normal 0 0 1\nouter loop\n{corners}endloop\nendfacet\n")
    assert read_cloud(tmp_path / "a.stl").faces.shape == (1, 3)


def test_ply_of_other_hands(tmp_path):
    head = "ply\nformat {} 1.0\ncomment by hand\nelement vertex 3\n"
    head += "property float x\nproperty float y\nproperty float z\nproperty uchar red\nproperty uchar green\n"
    head += "property uchar blue\nelement face 1\nproperty list uchar int vertex_index\nend_header\n"
    (tmp_path / "text.ply").write_text(
        head.format("ascii") + "0 0 0 1 2 3\n1 0 0 4 5 6\n0 1 0 7 8 9\n3 0 1 2\n"
    )
    row = np.dtype([("xyz", ">f4", 3), ("rgb", "u1", 3)])
    table = np.array([((0, 0, 0), (1, 2, 3)), ((1, 0, 0), (4, 5, 6)), ((0, 1, 0), (7, 8, 9))], row)
    face = b"\x03" + np.array([0, 1, 2], ">i4").tobytes()
    data = head.format("binary_big_endian").encode() + table.tobytes() + face
    (tmp_path / "big.ply").write_bytes(data)
    for name in ("text.ply", "big.ply"):
        found = read_cloud(tmp_path / name)
        np.testing.assert_array_equal(found.points, [[0, 0, 0], [1, 0, 0], [0, 1, 0]])
        np.testing.assert_array_equal(found.colours, [[1, 2, 3], [4, 5, 6], [7, 8, 9]])
        np.testing.assert_array_equal(found.faces, [[0, 1, 2]])


def test_polygons_become_fans(tmp_path):
    (tmp_path / "a.off").write_text(
        "OFF # remark\n5 2 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n0 0 1\n4 0 1 2 3 255 0 0\n3 0 1 4\n"
    )
    np.testing.assert_array_equal(read_cloud(tmp_path / "a.off").faces, [[0, 1, 2], [0, 2, 3], [0, 1, 4]])
    (tmp_path / "a.obj").write_text("v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvn 0 0 1\nf 1/1/1 2//1 3 -1\n")
    np.testing.assert_array_equal(read_cloud(tmp_path / "a.obj").faces, [[0, 1, 2], [0, 2, 3]])


def pcd(data: str, body: bytes, fields: str = "x y z rgb", points: int = 2) -> bytes:
    n = len(fields.split())
    size, kind = " ".join(["4"] * n), " ".join(["F"] * n)
    return (
        f"# .PCD\nVERSION 0.7\nFIELDS {fields}\nSIZE {size}\nTYPE {kind}\nWIDTH {points}\nPOINTS {points}\nDATA {data}\n".encode()
        + body
    )


def test_pcd_ascii_binary_and_compressed(tmp_path):
    table = np.array([[1, 2, 3, 0], [4, 5, 6, 0]], "<f4")
    table[:, 3] = np.array([0x010203, 0x0A0B0C], np.uint32).view(np.float32)
    plain = table.T.tobytes()  # field after field
    packed = b"".join(
        bytes([len(plain[i : i + 32]) - 1]) + plain[i : i + 32] for i in range(0, len(plain), 32)
    )
    files = {
        "ascii": " ".join(map(repr, table.astype(float).ravel().tolist())).encode(),
        "binary": table.tobytes(),
        "binary_compressed": np.array([len(packed), len(plain)], "<u4").tobytes() + packed,
    }
    for data, body in files.items():
        (tmp_path / "a.pcd").write_bytes(pcd(data, body))
        found = read_cloud(tmp_path / "a.pcd")
        np.testing.assert_array_equal(found.points, [[1, 2, 3], [4, 5, 6]])
        np.testing.assert_array_equal(found.colours, [[1, 2, 3], [10, 11, 12]])


def test_lzf_repeats_what_it_is_writing():
    path = Path("a.pcd")
    assert unpacked(path, b"\x02abc" + bytes([1 << 5, 2]), 6) == b"abcabc"
    assert unpacked(path, b"\x00a" + bytes([7 << 5, 1, 0]), 11) == b"a" * 11  # 2 + 7 + 1 more, from one back
    for wrong in (b"\x05abc", bytes([1 << 5, 0]), b"\x02abc" + bytes([1 << 5])):
        with pytest.raises(BadCloud, match="damaged"):
            unpacked(path, wrong, 6)


WRONG = {
    "none.foo": (b"", "is no kind of cloud"),
    "a.ply": (b"hello", "must begin with 'ply'"),
    "b.ply": (b"ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty float y\nend_header\n1 2 3 4\n", "field z: is missing"),
    "c.ply": (b"ply\nformat binary_little_endian 1.0\nelement vertex 9\nproperty float x\nend_header\n1234", "the header says 9, the file ends after 1"),
    "d.ply": (b"ply\nformat ascii 1.0\nelement vertex two\nend_header\n", "line 3: wanted 'element NAME COUNT'"),
    "e.ply": (b"ply\nformat odd 1.0\nend_header\n", "format: wanted one of"),
    "f.ply": (b"ply\nformat ascii 1.0\nelement vertex 1\nproperty real x\nend_header\n1\n", "line 4: wanted 'property TYPE NAME'"),
    "a.pcd": (b"FIELDS x y z\n", "its header has no DATA"),
    "b.pcd": (b"FIELDS x y z\nSIZE 4 4\nTYPE F F F\nPOINTS 1\nDATA ascii\n1 2 3", "SIZE: 2 values for 3 FIELDS"),
    "c.pcd": (pcd("binary", b"1234"), "2 POINTS are announced, 0 are there"),
    "d.pcd": (pcd("ascii", b"1 2 3 x 4 5 6 7"), "'x' is no number"),
    "e.pcd": (pcd("zipped", b""), "DATA: wanted ascii"),
    "a.off": (b"3 3\n", "first line must be OFF"),
    "b.off": (b"OFF\n3 1 0\n0 0 0\n", "2 lines are there") ,
    "c.off": (b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 3\n", "face 0: [0, 1, 3] names a point outside 0..2"),
    "d.off": (b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n2 0 1\n", "face 0: has 2 corners"),
    "a.obj": (b"# nothing\n", "no line begins with 'v '"),
    "b.obj": (b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 0 1 2\n", "line 4: a corner is 0"),
    "c.obj": (b"v 0 0\n", "line 1: wanted 'v x y z'"),
    "a.stl": (b"x" * 90, "is no STL file"),
    "a.xyz": (b"1 2 3\n1 2\n", "line 2: 2 numbers, the first line has 3"),
    "b.xyz": (b"1 2 3\n1 2 z\n", "line 2: 'z' is no number"),
    "c.xyz": (b"# nothing\n", "holds no points"),
    "a.npy": (b"hello", "is no NPY file"),
    "a.npz": (b"hello", "is no NPZ file"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_each_way_of_being_wrong_has_its_own_message(tmp_path, name):
    data, words = WRONG[name]
    if name == "b.off":
        words = "3 points and 1 faces are announced, 1 lines are there"
    (tmp_path / name).write_bytes(data)
    with pytest.raises(RequestError) as error:
        read_cloud(tmp_path / name)
    assert words in str(error.value)
    assert name in str(error.value)


def test_points_that_are_not_finite_never_pass_silently(tmp_path):
    points = POINTS.copy()
    points[3, 1] = np.nan
    write_cloud(tmp_path / "a.ply", Cloud(points=points, faces=FACES))
    with pytest.raises(BadCloud, match="1 of 9 points are not finite, the first is point 3"):
        read_cloud(tmp_path / "a.ply")
    kept = read_cloud(tmp_path / "a.ply", drop_nonfinite=True)
    np.testing.assert_array_equal(kept.points, np.delete(points, 3, axis=0))
    np.testing.assert_array_equal(kept.points[kept.faces], points[FACES[[0, 2]]])


def test_arrays_with_names(tmp_path):
    np.savez(tmp_path / "a.npz", points=POINTS, other=np.zeros(3))
    np.testing.assert_array_equal(read_cloud(tmp_path / "a.npz").points, POINTS)
    np.savez(tmp_path / "b.npz", one=POINTS, other=np.zeros(3))
    with pytest.raises(BadCloud, match="wanted one called points"):
        read_cloud(tmp_path / "b.npz")
    np.save(tmp_path / "a.npy", np.zeros((4, 4)))
    with pytest.raises(BadCloud, match="N x 3"):
        read_cloud(tmp_path / "a.npy")
    with pytest.raises(RequestError, match="there is no such file"):
        read_cloud(tmp_path / "c.npy")
