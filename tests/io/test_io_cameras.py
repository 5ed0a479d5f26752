"""Camera files: written and read back, anipose's conventions, and every way of getting a field wrong."""

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from asterism.errors import BadAnnotation
from asterism.io.cameras import CameraTable, read_cameras, write_cameras


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
    with pytest.raises(BadAnnotation, match=r"\.json and from anipose"):
        read_cameras(tmp_path / "rig.xml")
