"""Published formats on small files written here: what is read, where pixels are, every way to be wrong."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from asterism.errors import AsterismError, BadAnnotation, RequestError
from asterism.io.keypoints import check_format, read_keypoints, write_keypoints
from asterism.io.labelstudio import label_studio_config
from asterism.io.skeleton import published

POINTS = "names image individual xy labelled score edges swap sigma"
h5py = pytest.importorskip("h5py")


def saved(path: Path, document: object) -> Path:
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def changed(document: Any, where: list[Any], value: Any) -> Any:
    """A copy of a document with one entry changed; None takes it out."""
    copy = json.loads(json.dumps(document))
    at = copy
    for key in where[:-1]:
        at = at[key]
    if value is None:
        del at[where[-1]]
    else:
        at[where[-1]] = value
    return copy


def refused(path: Path, message: str) -> None:
    with pytest.raises(BadAnnotation, match=message) as caught:
        read_keypoints(path)
    assert str(caught.value).startswith(str(path.parent))


# --------------------------------------------------------------------------------------------- COCO's kin


def whole_body() -> dict[str, Any]:
    row = {"id": 1, "image_id": 1, "category_id": 1, "keypoints": [5, 6, 1, 7, 8, 2] + [0] * 45}
    row |= {"foot_kpts": [1, 2, 2] + [0] * 15, "face_kpts": [3, 4, 1] * 68, "face_valid": True}
    row |= {"lefthand_kpts": [9, 9, 1] + [0] * 60, "lefthand_valid": True}
    row |= {"righthand_kpts": [8, 8, 0.3] * 21, "righthand_valid": False}
    category = {"id": 1, "name": "person", "keypoints": list(published("coco-17").names)}
    return {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [row],
        "categories": [category | {"skeleton": [[1, 2]]}],
    }


def test_whole_body_joins_its_five_fields(tmp_path: Path) -> None:
    table = read_keypoints(saved(tmp_path / "a.json", whole_body()))
    skeleton = published("coco-wholebody-133")
    assert table.names == skeleton.names and table.edges == skeleton.edges and table.sigma == skeleton.sigma
    assert np.flatnonzero(table.labelled[0]).tolist() == [0, 1, 17, *range(23, 92)]  # no right hand
    assert not table.visible[0, 0] and table.visible[0, 1] and table.visible[0, 23:92].all()
    assert table.xy[0, 17].tolist() == [1, 2] and table.xy[0, 91].tolist() == [9, 9]  # COCO's: as they stand
    document = whole_body()
    for part in ("face", "lefthand", "righthand"):
        del document["annotations"][0][f"{part}_kpts"]
    assert read_keypoints(saved(tmp_path / "a.json", document)).names == published("coco-foot-23").names
    document["annotations"][0]["keypoints"] += document["annotations"][0].pop("foot_kpts")
    foot = read_keypoints(saved(tmp_path / "a.json", document))  # 23 points under 17 names
    assert foot.names == published("coco-foot-23").names and foot.labelled[0, 17]
    bad = changed(whole_body(), ["annotations", 0, "face_kpts"], [1, 2])
    refused(saved(tmp_path / "a.json", bad), r"annotations\[0\]\.face_kpts: 2 numbers, wanted 204")


NAMELESS = [(68, "face", "300w-68"), (98, "face", "wflw-98"), (136, "person", "halpe-136")]


@pytest.mark.parametrize("k, name, wanted", NAMELESS)
def test_published_files_without_names(tmp_path: Path, k: int, name: str, wanted: str) -> None:
    row = {"id": 1, "image_id": 1, "category_id": 1, "keypoints": [1, 2, 2] * k}
    document = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": [row]}
    document["categories"] = [{"id": 1, "name": name, "keypoints": []}]
    table = read_keypoints(saved(tmp_path / "a.json", document))
    assert table.names == published(wanted).names and table.swap == published(wanted).swap


def test_crowdpose_gets_edges_that_fit_and_human36m_its_right_leg(tmp_path: Path) -> None:
    names = list(published("crowdpose-14").names)
    row = {"id": 1, "image_id": 1, "category_id": 1, "keypoints": [1, 2, 2] * 14}
    document = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": [row]}
    document["categories"] = [{"id": 1, "name": "person", "keypoints": names, "skeleton": [[16, 14]]}]
    table = read_keypoints(saved(tmp_path / "a.json", document))
    assert table.edges == published("crowdpose-14").edges and len(table.sigma) == 14
    legs = ["root (pelvis)", "left_hip", "left_knee", "left_foot", "right_hip", "right_knee", "right_foot"]
    document["categories"][0]["keypoints"] = legs + list(published("h36m-17").names[7:])
    row["keypoints"] = [1, 2, 2] * 17
    table = read_keypoints(saved(tmp_path / "a.json", document))
    assert table.names == published("h36m-17").names and table.names[1] == "right_hip"


# --------------------------------------------------------------------------------------------------- MPII

PERSON = {
    "image": "a.png",
    "joints": [[-1, -1], *[[10 * k + 1, 5 * k + 1] for k in range(1, 16)]],
    "joints_vis": [0] + [1] * 15,
    "center": [101, 51],
    "scale": 0.5,
}


def test_mpii_counts_from_one_in_every_form(tmp_path: Path, assert_same) -> None:
    table = read_keypoints(saved(tmp_path / "a.json", [PERSON]))
    assert table.names == published("mpii-16").names and table.labelled[0].tolist() == [False] + [True] * 15
    assert table.xy[0, 3].tolist() == [30, 15] and table.box[0].tolist() == [50, 0, 100, 100]
    other = {"img_paths": "a.png", "objpos": [101, 51], "scale_provided": 0.5}
    other["joint_self"] = [[*xy, v] for xy, v in zip(PERSON["joints"], PERSON["joints_vis"])]
    fields = POINTS + " images box"
    assert_same(read_keypoints(saved(tmp_path / "b.json", [other])), table, fields)
    with h5py.File(tmp_path / "valid.h5", "w") as file:  # centre lowered by 15 x scale, scale x 1.25
        file["imgname"] = [b"a.png"]
        file["part"] = np.array([[[0, 0], *PERSON["joints"][1:]]], float)
        file["visible"] = np.array([[0, 0] + [1.0] * 14])
        file["center"], file["scale"] = np.array([[101, 58.5]]), np.array([0.625])
    found = read_keypoints(tmp_path / "valid.h5")
    assert_same(found, table, fields)
    assert found.visible[0].tolist() == [False, False] + [True] * 14
    joints = list(enumerate(PERSON["joints"]))[1:]
    points: list[Any] = [{"x": x, "y": y, "id": k, "is_visible": k != 1} for k, (x, y) in joints]
    points[4]["is_visible"] = np.zeros(0)
    person = {"annopoints": {"point": points}, "scale": 0.5, "objpos": {"x": 101, "y": 51}}
    pictures = [
        {"image": {"name": "a.png"}, "annorect": person},
        {"image": {"name": "test.png"}, "annorect": np.zeros(0)},
    ]
    savemat(tmp_path / "mpii.mat", {"RELEASE": {"annolist": pictures}})
    found = read_keypoints(tmp_path / "mpii.mat")
    assert_same(found, table, fields)
    assert found.visible[0].tolist() == [False, False] + [True] * 14


@pytest.mark.parametrize(
    "where, value, message",
    [
        ([0, "image"], 3, r"\[0\]\.image: wanted a file's name, found 3"),
        ([0, "joints"], [[1, 2]], r"\[0\]\.joints: wanted 16 joints, found 1"),
        ([0, "joints", 2], [1], r"\[0\]\.joints\[2\]: 1 numbers, wanted 2"),
        ([0, "joints_vis"], None, r"\[0\]\.joints_vis: wanted 16 numbers, found nothing"),
        ([0, "center"], ["x", 1], r"\[0\]\.center\[0\]: wanted a finite number, found the text 'x'"),
        ([0, "scale"], "big", r"\[0\]\.scale\[0\]: wanted a finite number"),
    ],
)
def test_wrong_mpii_json(tmp_path: Path, where: list[Any], value: Any, message: str) -> None:
    refused(saved(tmp_path / "a.json", changed([PERSON], where, value)), message)


def test_wrong_mpii_h5_and_mat(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    path.write_text("no")
    refused(path, r"cannot be read as HDF5")
    with h5py.File(path, "w") as file:
        file["part"] = np.zeros((1, 16, 2))
    refused(path, r"has no 'imgname'; .*DeepLabCut's \.h5 must be saved as \.csv")
    with h5py.File(path, "a") as file:
        file["imgname"], file["visible"] = [b"a.png"], np.zeros((1, 15))
        file["center"], file["scale"] = np.zeros((1, 2)), np.zeros(1)
    refused(path, r"visible: has shape \(1, 15\), wanted \(1, 16\)")
    mat = tmp_path / "a.mat"
    mat.write_text("no")
    refused(mat, r"cannot be read as \.mat")
    savemat(mat, {"x": 1})
    refused(mat, r"holds x; wanted RELEASE \(MPII\) or examples \(FLIC\)")
    savemat(mat, {"RELEASE": {"x": 1}})
    refused(mat, r"RELEASE\.annolist: is missing")
    savemat(mat, {"RELEASE": {"annolist": {"image": {"name": "a.png"}, "annorect": np.zeros(0)}}})
    refused(mat, r"holds no labelled keypoints")
    point = {"annopoints": {"point": {"x": 1, "y": 2, "id": 16}}}
    savemat(mat, {"RELEASE": {"annolist": {"image": {"name": "a.png"}, "annorect": point}}})
    refused(mat, r"annolist\(1\)\.annorect\(1\)\.annopoints\.point\.id: wanted 0\.\.15, found 16")


def test_flic(tmp_path: Path) -> None:
    coords = np.full((2, 29), np.nan)
    coords[:, [0, 9, 16]] = [[11, 21, 31], [12, 22, 32]]  # left shoulder, right hip, nose
    example = {"filepath": "a.jpg", "coords": coords, "torsobox": np.array([1.0, 2, 11, 22])}
    savemat(tmp_path / "examples.mat", {"examples": [example, example]})
    table = read_keypoints(tmp_path / "examples.mat")
    assert len(table) == 2 and table.names == published("flic-11").names
    assert table.individual.tolist() == [0, 1]
    assert np.flatnonzero(table.labelled[0]).tolist() == [0, 7, 10]
    assert table.xy[0, [0, 7, 10]].tolist() == [[10, 11], [20, 21], [30, 31]]  # MATLAB's first pixel is 1
    assert table.box[0].tolist() == [0, 1, 10, 20]
    for wrong, message in [
        (example | {"coords": coords[:, :5]}, r"examples\(1\)\.coords: has shape \(2, 5\), wanted \(2, 29\)"),
        (example | {"filepath": 3}, r"examples\(1\)\.filepath: wanted a file's name"),
        ({"filepath": "a.jpg"}, r"examples\(1\)\.coords: is missing"),
    ]:
        savemat(tmp_path / "examples.mat", {"examples": [wrong]})
        refused(tmp_path / "examples.mat", message)


# -------------------------------------------------------------------------------------------------- faces

PTS = "version: 1\nn_points: 3\n{\n1 1\n2.5 3\n4 5\n}\n"


def test_pts_counts_from_one(tmp_path: Path) -> None:
    Image.new("L", (9, 9)).save(tmp_path / "f.png")
    saved(tmp_path / "f.pts", PTS)
    for path in (tmp_path / "f.pts", tmp_path):
        table = read_keypoints(path)
        assert table.xy[0].tolist() == [[0, 0], [1.5, 2], [3, 4]]
        assert table.images == (str(tmp_path / "f.png"),)
    face = "n_points: 68\n{\n" + "1 1\n" * 68 + "}\n"
    saved(tmp_path / "f.pts", face)
    assert read_keypoints(tmp_path / "f.pts").swap == published("300w-68").swap
    saved(tmp_path / "g.pts", PTS)
    refused(tmp_path, r"g\.pts: n_points: has 3 points, .*f\.pts has 68; read them apart")


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("{", "[", r"wanted a line '\{'"),
        ("}", "", r"wanted a line '\{'"),
        ("2.5 3", "2.5", r"line 5: 1 numbers, wanted x and y"),
        ("2.5 3", "2.5 three", r"line 5: 'three' is no number"),
        ("2.5 3", "2.5 nan", r"line 5: 'nan', wanted a finite number"),
        ("n_points: 3", "n_points: 4", r"n_points: says 4, 3 follow"),
        (PTS, "{\n}\n", r"has no points"),
    ],
)
def test_wrong_pts(tmp_path: Path, old: str, new: str, message: str) -> None:
    refused(saved(tmp_path / "f.pts", PTS.replace(old, new, 1)), message)


def test_wflw(tmp_path: Path) -> None:
    numbers = " ".join(str(i) for i in range(196))
    path = saved(tmp_path / "list.txt", f"{numbers} 1 2 11 22 0 0 0 0 1 0 a/b.jpg\n" * 2)
    table = read_keypoints(path)
    assert table.names == published("wflw-98").names and table.individual.tolist() == [0, 1]
    assert table.xy[0, 1].tolist() == [2, 3] and table.box[0].tolist() == [1, 2, 10, 20]  # as they stand
    assert not read_keypoints(saved(path, f"{numbers} a.jpg\n")).has_box.any()
    refused(saved(path, f"{numbers} a.jpg\n1 2 b.jpg\n"), r"line 2: 3 columns, wanted 197")
    refused(saved(path, f"{numbers} a.jpg\nx{numbers[1:]} b.jpg\n"), r"line 2, column 1: 'x' is no number")
    refused(saved(path, "1 2 3\n"), r"labels are read from \.json")


# ----------------------------------------------------------------------------------- hands and Human3.6M


def test_freihand_is_projected(tmp_path: Path) -> None:
    xyz = [[[0.1 * k, -0.1, 2.0] for k in range(21)]]
    cameras = [[[100, 0, 112], [0, 200, 110], [0, 0, 1]]]
    path = saved(tmp_path / "training_xyz.json", xyz)
    refused(path, r"the cameras training_K\.json must lie beside it")
    saved(tmp_path / "training_K.json", cameras)
    table = read_keypoints(path)
    assert table.names == published("hand-21").names and table.images == ("rgb/00000000.jpg",)
    np.testing.assert_allclose(table.xy[0, 2], [122, 100])  # 100 x 0.2 / 2 + 112, 200 x -0.1 / 2 + 110
    saved(tmp_path / "training_K.json", cameras * 2)
    refused(path, r"training_K\.json: 2 cameras, wanted 1")
    saved(tmp_path / "training_K.json", [[1]])
    refused(path, r"training_K\.json: \[0\]: wanted 3 x 3 finite numbers")
    saved(tmp_path / "training_K.json", cameras)
    refused(saved(path, changed(xyz, [0, 3, 2], -1)), r"\[0\]\[3\]\[2\]: -1, wanted a distance above 0")
    refused(saved(tmp_path / "other.json", xyz), r"whose file's name ends in _xyz\.json")


def test_human36m_npz(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    part = np.ones((2, 17, 3))
    part[0, 4] = 7, 8, 0
    np.savez(path, imgname=["a.jpg", "b.jpg"], part=part, center=np.full((2, 2), 50.0), scale=np.full(2, 0.2))
    table = read_keypoints(path)
    assert table.names == published("h36m-17").names and not table.labelled[0, 4]
    assert table.xy[1, 0].tolist() == [1, 1] and table.box[0].tolist() == [30, 30, 40, 40]
    np.savez(path, imgname=["a.jpg"], part=np.ones((1, 24, 3)))
    assert read_keypoints(path).names[12:15] == ("neck", "head_top", "pelvis")
    np.savez(path, imgname=["a.jpg"], part=part)
    refused(path, r"part: has shape \(2, 17, 3\), wanted 1 x K x 3")
    np.savez(path, part=part)
    refused(path, r"has no array 'imgname'")
    np.savez(path, imgname=np.array([{"a": 1}], dtype=object), part=part)
    refused(path, r"cannot be read without pickle .*numpy\.savez")


# ----------------------------------------------------------------------------------------------- OpenPose


def person(k: int = 25, **more: list[float]) -> dict[str, Any]:
    return {"person_id": [-1], "pose_keypoints_2d": [30, 40, 0.5] + [0] * 3 * (k - 1), **more}


def test_openpose(tmp_path: Path, assert_same) -> None:
    Image.new("L", (9, 9)).save(tmp_path / "b.png")
    saved(tmp_path / "a_keypoints.json", {"version": 1.3, "people": []})
    saved(tmp_path / "b_keypoints.json", {"version": 1.3, "people": [person(), person()]})
    table = read_keypoints(tmp_path)
    assert table.names == published("body-25").names and table.edges == published("body-25").edges
    assert table.images == ("a", str(tmp_path / "b.png")) and table.image.tolist() == [1, 1]
    assert table.individual.tolist() == [0, 1] and table.labelled.sum() == 2
    assert table.xy[0, 0].tolist() == [30, 40] and table.score[0, 0] == 0.5  # as they stand
    write_keypoints(tmp_path / "out", table, "openpose")
    assert_same(read_keypoints(tmp_path / "out"), table, POINTS)
    single = read_keypoints(tmp_path / "b_keypoints.json")
    assert len(single) == 2 and len(single.images) == 1


@pytest.mark.parametrize("k, name", [(25, "body-25"), (18, "coco-18"), (15, "mpi-15")])
def test_openpose_with_hands_and_face(tmp_path: Path, assert_same, k: int, name: str) -> None:
    more = {"face_keypoints_2d": [1, 2, 1.0] * 70, "hand_right_keypoints_2d": [5, 6, 0.25] * 21}
    people = [person(k, face_keypoints_2d=[]), person(k, **more, hand_left_keypoints_2d=[])]
    saved(tmp_path / "clip_000000000012_keypoints.json", {"people": people})
    (tmp_path / "clip.mp4").touch()
    table = read_keypoints(tmp_path)
    assert table.names[:k] == published(name).names and len(table.names) == k + 70 + 21
    assert table.names[k] == "face0" and table.names[-1] == "hand_right20"
    assert not table.labelled[0, k:].any() and table.labelled[1, k:].all()
    assert table.images == (f"{tmp_path / 'clip.mp4'}#12",)
    write_keypoints(tmp_path / "out", table, "openpose")
    assert_same(read_keypoints(tmp_path / "out"), table, POINTS)
    assert (tmp_path / "out/clip_000000000012_keypoints.json").is_file()


@pytest.mark.parametrize(
    "people, message",
    [
        ("x", r"people: wanted a list, found the text 'x'"),
        ([3], r"people\[0\]: wanted an object, found 3"),
        ([{"pose_keypoints_2d": 3}], r"people\[0\]\.pose_keypoints_2d: wanted x, y, confidence"),
        ([person(), person(20)], r"people\[1\]\.pose_keypoints_2d: 20 points, wanted 25 or 18 or 15"),
        ([person(), person(18)], r"people\[1\]\.pose_keypoints_2d: 18 points, others have 25"),
        ([{"pose_keypoints_2d": ["x"] * 75}], r"pose_keypoints_2d\[0\]: wanted a finite number"),
        ([{"pose_keypoints_2d": [0.5, 0.5, 1] * 25}], r"are no pixels; .*--keypoint_scale 0"),
        ([], r"nobody was found in any of its 1 files"),
    ],
)
def test_wrong_openpose(tmp_path: Path, people: Any, message: str) -> None:
    refused(saved(tmp_path / "a_keypoints.json", {"people": people}), message)


def test_what_openpose_cannot_hold(tmp_path: Path) -> None:
    table = read_keypoints(saved(tmp_path / "a.json", [PERSON]))
    with pytest.raises(RequestError, match=r"body-25, coco-18, mpi-15 .*16 points \(right_ankle"):
        write_keypoints(tmp_path / "out", table, "openpose")
    with pytest.raises(RequestError, match=r"'openpose' is a folder of files"):
        check_format(tmp_path / "a.json", "openpose")
    body = read_keypoints(saved(tmp_path / "a_keypoints.json", {"people": [person()]}))
    body = replace(body, images=("x/a.png", "y/a.png"))
    with pytest.raises(RequestError, match=r"two pictures would be written to a_keypoints\.json"):
        write_keypoints(tmp_path / "out", body, "openpose")


# ------------------------------------------------------------------------------------------- Label Studio


def point(name: str, x: float, y: float, **more: Any) -> dict[str, Any]:
    value = {"x": x, "y": y, "width": 0.5, "keypointlabels": [name]}
    return {"type": "keypointlabels", "original_width": 200, "original_height": 100, "value": value, **more}


TASKS = [
    {
        "data": {"image": "/data/upload/1/0a1b2c3d-a.png"},
        "annotations": [
            {"was_cancelled": True, "result": [point("nose", 1, 1)]},
            {"result": [point("nose", 0, 0), point("tail", 50, 50), {"type": "choices"}]},
        ],
    },
    {"data": {"image": "https://host/b.png"}, "annotations": []},
]


def test_label_studio_counts_from_the_corner(tmp_path: Path) -> None:
    table = read_keypoints(saved(tmp_path / "a.json", TASKS))
    assert table.images == ("a.png", "b.png") and table.names == ("nose", "tail") and len(table) == 1
    assert table.xy[0].tolist() == [[-0.5, -0.5], [99.5, 49.5]]  # the corner, and the middle of 200 x 100
    box = {"x": 10, "y": 20, "width": 30, "height": 40, "rectanglelabels": ["mouse"]}
    about = {"type": "rectanglelabels", "id": "r", "original_width": 200, "original_height": 100}
    result = [point("nose", 20, 30, parentID="r"), about | {"value": box}, point("nose", 80, 80)]
    two = changed(TASKS, [0, "annotations", 1, "result"], result)
    table = read_keypoints(saved(tmp_path / "a.json", two))
    assert len(table) == 2 and table.has_box.tolist() == [True, False]
    assert table.box[0].tolist() == [19.5, 19.5, 60, 40]


def test_label_studio_round_trip(tmp_path: Path) -> None:
    table = read_keypoints(saved(tmp_path / "b_keypoints.json", {"people": [person(18), person(18)]}))
    Image.new("L", (60, 50)).save(tmp_path / "b.png")
    xy = table.xy + table.labelled[..., None] * [[0.3, 0.7]]
    table = replace(table, images=(str(tmp_path / "b.png"),), xy=xy)
    write_keypoints(tmp_path / "tasks.json", table, "label-studio")
    found = read_keypoints(tmp_path / "tasks.json")
    assert found.names == ("Nose",) and found.sizes == ((50, 60),)
    assert found.images == table.images and found.has_box.all()
    np.testing.assert_allclose(found.xy[:, 0], table.xy[:, 0], rtol=0, atol=1e-9)
    np.testing.assert_array_equal(found.score[:, 0], table.score[:, 0])
    assert '<Label value="Nose"/>' in label_studio_config(found.names)
    with pytest.raises(AsterismError, match=r"counts in percent, and the size of 'none\.png'"):
        write_keypoints(tmp_path / "x.json", replace(table, images=("none.png",)), "label-studio")


RESULT = [0, "annotations", 1, "result"]


@pytest.mark.parametrize(
    "where, value, message",
    [
        ([0, "data"], 3, r"\[0\]\.data: wanted an object, found 3"),
        ([0, "data"], {"a": 3}, r"\[0\]\.data\.image: wanted a picture's address"),
        ([0, "annotations"], 3, r"\[0\]\.annotations: wanted a list, found 3"),
        (RESULT, 3, r"\[0\]\.annotations\[1\]\.result: wanted a list"),
        (RESULT, [], r"no task has a result of type 'keypointlabels'"),
        ([*RESULT, 0, "original_width"], 0, r"result\[0\]\.original_width: wanted a size"),
        ([*RESULT, 0, "original_height"], "x", r"result\[0\]\.original_height: wanted a number"),
        ([*RESULT, 0, "value", "x"], None, r"result\[0\]\.value\.x, y\[0\]: wanted a finite"),
        ([*RESULT, 0, "value", "keypointlabels"], [], r"keypointlabels: wanted one name"),
        ([*RESULT, 1], point("nose", 5, 5), r"a second 'nose' in the same picture; draw a box"),
        ([1, "data", "image"], "a.png", r"the picture 'a\.png' is in several tasks"),
    ],
)
def test_wrong_label_studio(tmp_path: Path, where: list[Any], value: Any, message: str) -> None:
    refused(saved(tmp_path / "a.json", changed(TASKS, where, value)), message)


# ----------------------------------------------------------------------------------------------- the door


@pytest.mark.parametrize(
    "document, message",
    [
        ({"what": 1}, r"holds what; wanted COCO .*OpenPose .*Label Studio .*MPII .*FreiHAND"),
        ([], r"is a list that is no known format; wanted COCO"),
        ([1], r"no known format"),
        ([{"image_id": 1}], r"list of COCO results, .*read_coco_results"),
    ],
)
def test_unclear_json_lists_the_formats(tmp_path: Path, document: Any, message: str) -> None:
    refused(saved(tmp_path / "a.json", document), message)
