"""Camera files: written and read back in every format, and every way of getting a field wrong."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from asterism.errors import BadAnnotation, RequestError
from asterism.io.cameras import (
    CAMERA_FORMATS,
    CameraTable,
    read_camera,
    read_cameras,
    write_cameras,
)


def table():
    turn = Rotation.from_rotvec([[0.1, 0.2, 0.3], [0.0, np.pi / 2, 0.0]]).as_matrix()
    shift = np.array([[0.5, -0.25, 4.0], [1 / 3, 0, 2.0]])
    return CameraTable(
        names=("left", "right"),
        intrinsics=np.array([[[800.0, 0, 319.5], [0, 801, 239.5], [0, 0, 1]]] * 2),
        cam_from_world=np.concatenate([turn, shift[..., None]], axis=2),
        distortion=np.array([[-0.1, 0.01, 1e-3, -1e-3, 0.2], [0, 0, 0, 0, 0]]),
        sizes=((480, 640), None),
    )


def same(a, b):
    assert a.names == b.names and a.sizes == b.sizes
    for name in ("intrinsics", "cam_from_world", "distortion"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=0, atol=1e-12)


def test_what_is_written_is_read_back(tmp_path):
    write_cameras(tmp_path / "rig.json", table())
    same(read_cameras(tmp_path / "rig.json"), table())


TOML = """
[cam_0]
name = "left"
size = [640, 480]
matrix = [[800.0, 0.0, 319.5], [0.0, 801.0, 239.5], [0.0, 0.0, 1.0]]
distortions = [-0.1, 0.01, 0.001, -0.001, 0.2]
rotation = [0.1, 0.2, 0.3]
translation = [0.5, -0.25, 4.0]

[cam_1]
name = "right"
matrix = [[800.0, 0.0, 319.5], [0.0, 801.0, 239.5], [0.0, 0.0, 1.0]]
distortions = [0.0, 0.0, 0.0, 0.0]
rotation = [0.0, 1.5707963267948966, 0.0]
translation = [0.3333333333333333, 0.0, 2.0]

[metadata]
error = 0.4
"""


def test_aniposes_toml_holds_rodrigues_vectors_and_widths_first(tmp_path):
    (tmp_path / "calibration.toml").write_text(TOML)
    same(read_cameras(tmp_path / "calibration.toml"), table())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"matrix": [[800, 0, 320], [0, 800, 240], [1451, 993, 1]]}, r"cameras\[1\].matrix: .*1451"),
        ({"matrix": [[-800, 0, 320], [0, 800, 240], [0, 0, 1]]}, "positive fx"),
        ({"matrix": [800, 320, 240]}, "wanted 3 x 3 finite numbers, found 3"),
        ({"rotation": [[1, 0, 0], [0, 1, 0], [0, 0, -1]]}, "no rotation"),
        ({"rotation": [[2, 0, 0], [0, 1, 0], [0, 0, 1]]}, "no rotation"),
        ({"translation": [0, 1]}, "translation: wanted 3 finite numbers, found 2"),
        ({"translation": "near"}, "translation: .*'near'"),
        ({"translation": [0, 1, float("nan")]}, "translation: .*nan"),
        ({"distortions": [0.1, 0.2]}, "distortions: wanted 5 finite"),
        ({"size": [0, 640]}, "size: wanted two whole"),
        ({"name": 3}, "name: wanted a name, found 3"),
        ({"name": "left"}, "occur twice"),
    ],
)
def test_a_malformed_field_is_named(tmp_path, change, told):
    path = tmp_path / "rig.json"
    write_cameras(path, table())
    document = json.loads(path.read_text())
    document["cameras"][1] |= change
    path.write_text(json.dumps(document))
    with pytest.raises(BadAnnotation, match=told):
        read_cameras(path)


def test_a_missing_field_and_a_wrong_file_are_named(tmp_path):
    path = tmp_path / "rig.json"
    write_cameras(path, table())
    document = json.loads(path.read_text())
    del document["cameras"][0]["translation"]
    path.write_text(json.dumps(document))
    with pytest.raises(BadAnnotation, match=r"cameras\[0\].translation: is missing"):
        read_cameras(path)
    path.write_text(json.dumps({"cameras": document["cameras"][1:]}))
    with pytest.raises(BadAnnotation, match="1 cameras"):
        read_cameras(path)
    with pytest.raises(BadAnnotation, match="does not exist"):
        read_cameras(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[cam_0\n")
    with pytest.raises(BadAnnotation, match="TOML"):
        read_cameras(tmp_path / "bad.toml")
    (tmp_path / "fish.toml").write_text(TOML.replace('name = "left"', 'name = "left"\nfisheye = true'))
    with pytest.raises(BadAnnotation, match=r"cam_0.fisheye"):
        read_cameras(tmp_path / "fish.toml")
    with pytest.raises(BadAnnotation, match=r"rig\.xml: does not exist"):
        read_cameras(tmp_path / "rig.xml")


def rig(full=True):
    """Six cameras whose every number has all its digits."""
    rng = np.random.default_rng(0)
    v = 6
    turn = Rotation.random(v, random_state=1).as_matrix()
    matrix = np.zeros((v, 3, 3))
    matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, 2, 2] = rng.uniform(500, 2000, (2, v)).tolist() + [1]
    matrix[:, :2, 2] = rng.uniform(100, 900, (v, 2))
    return CameraTable(
        names=tuple(f"view{i}" for i in range(v)),
        intrinsics=matrix,
        cam_from_world=np.concatenate([turn, rng.normal(0, 300, (v, 3, 1))], axis=2),
        distortion=rng.normal(0, 0.1, (v, 5)) * ([1] * 5 if full else [1, 1, 1, 1, 0]),
        sizes=((480, 640),) * v,
    )


@pytest.mark.parametrize("format", CAMERA_FORMATS)
@pytest.mark.parametrize("full", [True, False])
def test_every_format_round_trips(tmp_path, format, full):
    path = tmp_path / f"rig{CAMERA_FORMATS[format][0]}"
    write_cameras(path, rig(full), format)
    found = read_cameras(path)
    same(found, replace(rig(full), sizes=(None,) * 6) if format == "dannce" else rig(full))
    write_cameras(path, found if format != "dannce" else rig(full), format)
    same(read_cameras(path), found)


def test_half_a_turn_survives_rodrigues(tmp_path):
    """The rotation vector of an angle of pi is the hard one."""
    turn = np.stack(
        [Rotation.from_rotvec(np.pi * np.array(a)).as_matrix() for a in ([1, 0, 0], [0, 0.6, 0.8])]
    )
    some = replace(table(), cam_from_world=np.concatenate([turn, np.ones((2, 3, 1))], axis=2))
    write_cameras(tmp_path / "a.toml", some)
    same(read_cameras(tmp_path / "a.toml"), some)


OPENCV = """%YAML:1.0
---
calibration_time: "Mon 1 Jan"
image_width: 640
image_height: 480
flags: 0
cameraMatrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 8.0e+02, 0., 3.195e+02, 0., 801.,
       2.395e+02, 0., 0., 1. ]
distCoeffs: !!opencv-matrix
   rows: 1
   cols: 5
   dt: d
   data: [ -0.1, 0.01, 1e-3, -1e-3, 0.2 ]
"""
PLACED = """rvec: [ 0.1, 0.2, 0.3 ]
tvec: !!opencv-matrix
   rows: 3
   cols: 1
   dt: d
   data: [ 0.5, -0.25, 4. ]
"""


def test_opencvs_file_as_its_sample_writes_it(tmp_path):
    (tmp_path / "left.yml").write_text(OPENCV)
    alone = read_camera(tmp_path / "left.yml")
    assert alone.names == ("left",) and alone.sizes == ((480, 640),)
    np.testing.assert_array_equal(alone.intrinsics, table().intrinsics[:1])
    np.testing.assert_array_equal(alone.cam_from_world[0], np.eye(3, 4))
    with pytest.raises(BadAnnotation, match=r"left.yml: R: is missing"):
        read_cameras(tmp_path)
    for name in ("left", "right"):
        (tmp_path / f"{name}.yml").write_text(OPENCV + PLACED)
    both = read_cameras(tmp_path)
    np.testing.assert_allclose(both.cam_from_world, table().cam_from_world[[0, 0]], atol=1e-15)
    np.testing.assert_array_equal(both.distortion, table().distortion[[0, 0]])


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("0., 0., 1. ]\ndist", "1451., 993., 1. ]\ndist", r"left.yml: cameraMatrix: wanted \[fx.*1451"),
        ("801.", "-801.", "cameraMatrix: wanted .*positive"),
        ("801.", ".Nan", "cameraMatrix: wanted 3 x 3 finite"),
        ("rows: 3\n   cols: 3", "rows: 3\n   cols: 4", "cameraMatrix: says 3 x 4 and holds 9"),
        ("801.", "eight", "cameraMatrix: is no matrix"),
        ("cameraMatrix", "camera", "camera_matrix: is missing"),
        ("cols: 5", "cols: 8", "distCoeffs: says 1 x 8"),
        ("0.2 ]", "0.2, 0, 0, 3. ]", "distCoeffs: says 1 x 5"),
        ("image_height: 480", "image_height: 0", "size: wanted two whole"),
        ("flags: 0", "flags 0", "line 6"),
    ],
)
def test_a_malformed_opencv_file_is_named(tmp_path, old, new, told):
    assert old in OPENCV
    (tmp_path / "left.yml").write_text(OPENCV.replace(old, new))
    with pytest.raises(BadAnnotation, match=told):
        read_camera(tmp_path / "left.yml")


def test_terms_that_the_model_lacks_are_refused_where_they_are_not_zero(tmp_path):
    path = tmp_path / "left.yml"
    path.write_text(OPENCV.replace("cols: 5", "cols: 8").replace("0.2 ]", "0.2, 0., 0., 0. ]"))
    np.testing.assert_array_equal(read_camera(path).distortion, table().distortion[:1])
    path.write_text(OPENCV.replace("cols: 5", "cols: 8").replace("0.2 ]", "0.2, 0., 0., 3. ]"))
    with pytest.raises(BadAnnotation, match=r"distCoeffs: has 8 terms .*3\.0"):
        read_camera(path)


def test_xml_with_entities_is_not_read(tmp_path):
    (tmp_path / "a.xml").write_text('<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><a/>')
    with pytest.raises(BadAnnotation, match="DOCTYPE"):
        read_camera(tmp_path / "a.xml")


def test_colmaps_pixels_begin_at_the_corner_and_its_simple_models_are_read(tmp_path):
    (tmp_path / "cameras.txt").write_text(
        "# comment\n7 SIMPLE_RADIAL 640 480 800 320 240 -0.1\n9 PINHOLE 640 480 800 801 320 240\n"
    )
    (tmp_path / "images.txt").write_text(
        "# comment\n2 1 0 0 0 1 2 3 9 b.png\n10.5 20.5 -1\n1 0 1 0 0 0 0 1 7 a.png\n\n"
    )
    found = read_cameras(tmp_path)
    assert found.names == ("a.png", "b.png")
    np.testing.assert_array_equal(found.intrinsics[0], [[800, 0, 319.5], [0, 800, 239.5], [0, 0, 1]])
    np.testing.assert_array_equal(found.intrinsics[1, 1], [0, 801, 239.5])
    np.testing.assert_allclose(found.cam_from_world[0, :, :3], np.diag([1, -1, -1]), atol=1e-15)
    np.testing.assert_array_equal(found.distortion, [[-0.1, 0, 0, 0, 0], [0] * 5])


@pytest.mark.parametrize(
    ("cameras", "images", "told"),
    [
        ("1 FOV 640 480 800 800 320 240 0.1", "1 1 0 0 0 0 0 1 1 a", "camera 1: the model FOV"),
        ("1 PINHOLE 640 480 800 320 240", "1 1 0 0 0 0 0 1 1 a", "cameras.txt: line 1: PINHOLE has 4"),
        ("1 PINHOLE 640 480 -8 800 320 240", "1 1 0 0 0 0 0 1 1 a", "camera 1.params: wanted .*positive"),
        ("1 WRONG 640 480 800", "1 1 0 0 0 0 0 1 1 a", "cameras.txt: line 1: wanted id, a model"),
        ("1 PINHOLE 640 480 800 800 320 240", "1 1 0 0 0 0 0 1 2 a", "image 1: its camera 2 is not in"),
        ("1 PINHOLE 640 480 800 800 320 240", "1 2 0 0 0 0 0 1 1 a", "image 1: the quaternion has length 2"),
        ("1 PINHOLE 640 480 800 800 320 240", "1 1 0 0 0 0 0 1 a", "images.txt: line 1: wanted id"),
    ],
)
def test_a_malformed_colmap_model_is_named(tmp_path, cameras, images, told):
    (tmp_path / "cameras.txt").write_text(cameras + "\n")
    (tmp_path / "images.txt").write_text(images + "\n\n")
    with pytest.raises(BadAnnotation, match=told):
        read_cameras(tmp_path)


def test_a_cut_binary_model_is_named(tmp_path):
    write_cameras(tmp_path / "model", rig(), "colmap-binary")
    path = tmp_path / "model/images.bin"
    path.write_bytes(path.read_bytes()[:-70])
    with pytest.raises(BadAnnotation, match=r"images.bin: ends "):
        read_cameras(tmp_path / "model")


DANNCE = Path(__file__).parents[2] / "../shared/data/dannce_six_cameras/demo"


@pytest.mark.data
@pytest.mark.parametrize("mouse", ["markerless_mouse_1", "markerless_mouse_2"])
def test_dannces_own_file(tmp_path, mouse):
    path = DANNCE / mouse / "label3d_dannce.mat"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    found = read_cameras(path)
    assert found.names == tuple(f"Camera{i}" for i in range(1, 7))
    for format in ("json", "toml", "dannce", "opencv-xml", "easymocap"):  # COLMAP has no skew
        out = tmp_path / f"rig{CAMERA_FORMATS[format][0]}{'' if CAMERA_FORMATS[format][0] else format}"
        write_cameras(out, found, format)
        same(read_cameras(out), found)
    with pytest.raises(RequestError, match="no size"):
        write_cameras(tmp_path / "model", found, "colmap-text")
    with pytest.raises(RequestError, match="skew"):
        write_cameras(tmp_path / "model", replace(found, sizes=((1024, 1280),) * 6), "colmap-text")


def test_what_cannot_be_written_is_refused(tmp_path):
    for path, format, told in (
        ("rig.yml", None, "name a format"),
        ("rig.json", "colmap-text", "is a folder"),
        ("rig.toml", "json", "ends in .json"),
        ("rig", "wrong", "not known"),
    ):
        with pytest.raises(RequestError, match=told):
            write_cameras(tmp_path / path, rig(), format)
    with pytest.raises(RequestError, match="'a b'"):
        write_cameras(tmp_path / "rig", replace(rig(), names=("a b", *"cdefg")), "easymocap")
    with pytest.raises(BadAnnotation, match="no camera file"):
        read_cameras(tmp_path)
    write_cameras(tmp_path / "rig.json", rig())
    with pytest.raises(BadAnnotation, match="wanted one"):
        read_camera(tmp_path / "rig.json")
