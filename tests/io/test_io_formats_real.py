"""Real files of published sets, where the shared data are there."""

from pathlib import Path

import numpy as np
import pytest

from asterism.io.keypoints import read_keypoints
from asterism.io.skeleton import published

DATA = Path(__file__).parents[2] / "../shared/data"
FIXTURES = DATA / "label_format_fixtures"
pytestmark = [pytest.mark.data, pytest.mark.skipif(not FIXTURES.is_dir(), reason="no shared data")]


@pytest.mark.parametrize(
    "file, skeleton, rows, labelled",
    [
        ("coco/test_coco.json", "coco-17", 14, 181),
        ("coco/test_coco_wholebody.json", "coco-wholebody-133", 14, 701),
        ("crowdpose/test_crowdpose.json", "crowdpose-14", 5, 47),
        ("halpe/test_halpe.json", "halpe-136", 14, 856),
        ("300w/test_300w.json", "300w-68", 2, 136),
        ("300vw", "300w-68", 4, 272),
        ("wflw/test_wflw.json", "wflw-98", 4, 392),
        ("ap10k/test_ap10k.json", "ap10k-17", 2, 32),
        ("freihand/test_freihand.json", "hand-21", 8, 168),
        ("h36m/h36m_coco.json", "h36m-17", 4, 68),
        ("h36m/test_h36m_body3d.npz", "h36m-17", 4, 68),
        ("mpii/test_mpii.json", "mpii-16", 5, 76),
    ],
)
def test_what_a_real_file_holds(file: str, skeleton: str, rows: int, labelled: int) -> None:
    table, wanted = read_keypoints(FIXTURES / file), published(skeleton)
    assert table.names == wanted.names and table.edges == wanted.edges and table.swap == wanted.swap
    assert table.sigma == wanted.sigma and len(table) == rows and table.labelled.sum() == labelled


def test_mpii_json_and_h5_agree() -> None:
    """The same person, read from HRNet's list and from the hourglass' table: points and box."""
    h5py = pytest.importorskip("h5py")
    assert h5py
    table = read_keypoints(FIXTURES / "mpii/test_mpii.json")
    whole = read_keypoints(DATA / "mpii_validation_annotations/valid.h5")
    assert len(whole) == 2958 and len(whole.images) == 2729
    name = "005808361.jpg"
    a = next(n for n, i in enumerate(table.image) if table.images[i].endswith(name))
    near = [n for n, i in enumerate(whole.image) if whole.images[i].endswith(name)]
    b = min(near, key=lambda n: float(np.abs(whole.xy[n] - table.xy[a]).sum()))
    head = [8, 9]  # neck and head top, whose fractions the .h5 cuts off
    np.testing.assert_array_equal(np.delete(whole.xy[b], head, 0), np.delete(table.xy[a], head, 0))
    np.testing.assert_array_equal(whole.xy[b, head], np.floor(table.xy[a, head]))
    np.testing.assert_allclose(whole.box[b], table.box[a], atol=1e-4)
    assert table.xy[a, 0].tolist() == [803, 710]  # 804, 711 in the file: MATLAB's


def test_human36m_has_its_legs_on_the_side_of_its_arms() -> None:
    """In each of the four pictures the hip called right lies on the side of the right shoulder."""
    table = read_keypoints(FIXTURES / "h36m/h36m_coco.json")
    at = {name: table.xy[:, k, 0] for k, name in enumerate(table.names)}
    hips = at["right_hip"] - at["left_hip"]
    assert (np.sign(hips) == np.sign(at["right_shoulder"] - at["left_shoulder"])).all()
    same = read_keypoints(FIXTURES / "h36m/test_h36m_body3d.npz")
    np.testing.assert_allclose(same.xy, table.xy, atol=1e-3)


def test_pts_are_a_pixel_from_what_others_made_of_them() -> None:
    pts = read_keypoints(FIXTURES / "300vw/001/annot/000006.pts")
    coco = read_keypoints(FIXTURES / "300vw/anno_300vw.json")
    row = next(n for n, i in enumerate(coco.image) if coco.images[i].endswith("001/imgs/000006.jpg"))
    np.testing.assert_allclose(pts.xy[0] + 1, coco.xy[row], atol=1e-9)
    assert pts.images[0].endswith("imgs/000006.jpg")
