"""SLEAP's files: round trips of both kinds, what older files mean, and errors that name the file."""

import builtins
import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asterism.errors import BadAnnotation, MissingExtra, RequestError
from asterism.io.keypoints import check_format, read_keypoints, write_keypoints
from asterism.io.sleap import read_sleap_csv, read_slp, write_sleap_csv, write_slp
from asterism.io.table import KeypointTable

SAMPLES = Path(__file__).parents[2] / "../shared/data/fly_and_robot_video/slp_hdf5"
POINTS = "names images image individual xy labelled score swap sigma edges"


def predictions(clip="clip.mp4"):
    random = np.random.default_rng(0)
    labelled = random.random((6, 3)) < 0.8
    labelled[:, 0], labelled[4] = True, False  # in row 4 nothing was found
    return KeypointTable(
        names=("nose", "left_ear", "right_ear"),
        images=tuple(f"{clip}#{i}" for i in (3, 4, 7)),
        image=np.repeat(np.arange(3), 2),
        individual=np.tile(np.arange(2), 3),
        xy=np.where(labelled[..., None], random.uniform(0, 90, (6, 3, 2)), 0.0),
        labelled=labelled,
        visible=labelled.copy(),
        score=np.where(labelled, random.uniform(0.1, 0.9, (6, 3)), 0.0),
        box=np.zeros((6, 4)),
        has_box=np.zeros(6, bool),
        area=np.zeros(6),
        edges=((0, 1), (0, 2)),
        swap=(0, 2, 1),
    )


def kept(table):
    """The rows that have a point: the others are not written."""
    rows = table.labelled.any(1)
    fields = ("image", "individual", "xy", "labelled", "visible", "score", "box", "has_box", "area")
    return replace(table, **{name: getattr(table, name)[rows] for name in fields})


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_slp_round_trip(data: st.DataObject, draw_table, assert_same) -> None:
    table = draw_table(data)
    with TemporaryDirectory() as folder:
        write_slp(Path(folder) / "x.slp", table)
        assert_same(read_slp(Path(folder) / "x.slp"), table, POINTS)


def test_predictions_of_a_clip_round_trip(tmp_path, assert_same):
    table = predictions()
    write_keypoints(tmp_path / "x.slp", table)
    assert_same(read_keypoints(tmp_path / "x.slp"), kept(table), POINTS)
    with h5py.File(tmp_path / "x.slp") as file:
        assert file["metadata"].attrs["format_id"] == 1.2
        assert json.loads(file["videos_json"][0])["backend"]["filename"] == "clip.mp4"
        assert file["frames"]["frame_idx"].tolist() == [3, 4, 7]
        assert (file["instances"]["instance_type"] == 1).all()
        assert len(file["points"]) == 0 and len(file["pred_points"]) == 5 * 3
        about = json.loads(file["metadata"].attrs["json"])
        kinds = [link["type"] for link in about["skeletons"][0]["links"]]
        assert kinds[1] == {"py/id": 1} and kinds[2]["py/reduce"][1] == {"py/tuple": [2]}


def test_the_analysis_csv_round_trips(tmp_path, assert_same):
    table = predictions("x.mp4")
    (tmp_path / "x.mp4").touch()
    write_keypoints(tmp_path / "x.analysis.csv", table, "sleap-csv")
    lines = (tmp_path / "x.analysis.csv").read_text().splitlines()
    assert lines[0].startswith("track,frame_idx,instance.score,nose.x,nose.y,nose.score,left_ear.x")
    assert lines[1].startswith("track_0,3,")
    again = read_keypoints(tmp_path / "x.analysis.csv")
    assert again.images == tuple(str(tmp_path / f"x.mp4#{i}") for i in (3, 4, 7))
    assert_same(again, kept(table), "names image individual xy labelled score swap")


def test_pictures_and_several_clips_are_numbered_in_order_in_the_csv(tmp_path):
    table = predictions()
    for images in (("a.png", "b.png", "c.png"), ("a.mp4#5", "b.mp4#5", "b.mp4#9")):
        write_sleap_csv(tmp_path / "x.csv", replace(table, images=images))
        assert read_sleap_csv(tmp_path / "x.csv").images == ("x#0", "x#1", "x#2")


def test_columns_in_any_order_and_without_scores_or_tracks(tmp_path):
    (tmp_path / "a.csv").write_text(
        "track,frame_idx,instance.score,b.y,a.x,a.y,b.x\n,2,0.5,4,1,2,3\n,2,,8,,,7\nfly,3,,4,1,2,3\n"
    )
    table = read_sleap_csv(tmp_path / "a.csv")
    assert table.names == ("b", "a") and table.images == ("a#2", "a#3")
    np.testing.assert_array_equal(table.xy[0], [[3, 4], [1, 2]])
    assert table.individual.tolist() == [0, 1, 0] and table.image.tolist() == [0, 0, 1]
    assert table.labelled.tolist() == [[True, True], [True, False], [True, True]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("track,frame_idx,instance.score\n,1,1\n", "has no keypoints"),
        ("track,frame_idx,a.x\n,1,1\n", r"no column a\.y"),
        ("track,frame_idx,a.x,a.y\n,one,1,1\n", "line 2, column frame_idx: 'one'"),
        ("track,frame_idx,a.x,a.y\n,1,1\n", "line 2: 3 cells, the header has 4"),
        ("track,frame_idx,a.x,a.y\n,1,1,far\n", "line 2, column a_y: 'far'"),
    ],
)
def test_errors_of_the_csv(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(BadAnnotation, match=message):
        read_keypoints(tmp_path / "a.csv")


def changed(path, change):
    with h5py.File(path, "r+") as file:
        change(file)


def test_old_files_begin_at_the_corner_and_points_not_visible_are_missing(tmp_path):
    path, table = tmp_path / "x.slp", kept(predictions())

    def older(file):
        file["metadata"].attrs["format_id"] = 1.0
        points = file["pred_points"][:]
        points["visible"][0] = False
        file["pred_points"][...] = points

    write_slp(path, table)
    changed(path, older)
    again = read_slp(path)
    assert not again.labelled[0, 0]
    np.testing.assert_allclose(again.xy[1, 0], table.xy[1, 0] - 0.5)


def test_labels_come_before_predictions(tmp_path):
    path = tmp_path / "x.slp"

    def corrected(file):
        instances, predicted = file["instances"][:], file["pred_points"][:]
        instances["instance_type"][1] = 0
        instances["point_id_start"][1], instances["point_id_end"][1] = 0, 3
        file["instances"][...] = instances
        points = file["points"][:].copy()
        points = np.resize(points, 3)
        for name in ("x", "y", "visible"):
            points[name] = predicted[name][:3]
        del file["points"]
        file["points"] = points

    write_slp(path, kept(predictions()))
    changed(path, corrected)
    table = read_slp(path)
    assert len(table) == 1 and table.individual.tolist() == [1]
    assert (table.score[table.labelled] == 1).all()


def test_damaged_files_are_named(tmp_path):
    path, table = tmp_path / "x.slp", predictions()

    def endless(file):
        points = file["pred_points"][:]
        points["x"][0] = np.inf
        file["pred_points"][...] = points

    for change, message in [
        (lambda file: file.pop("frames"), r"no \.slp file"),
        (lambda file: file["metadata"].attrs.update(json="{"), r"no \.slp file"),
        (lambda file: file["metadata"].attrs.update(json='{"skeletons": []}'), "skeletons: holds 0"),
        (endless, "instance 0: wanted 3 points, finite"),
    ]:
        write_slp(path, table)
        changed(path, change)
        with pytest.raises(BadAnnotation, match=message) as caught:
            read_keypoints(path)
        assert str(caught.value).startswith(str(path))
    path.write_bytes(b"no HDF5")
    with pytest.raises(BadAnnotation, match=r"no \.slp file"):
        read_keypoints(path)


def test_without_h5py_it_is_said_what_to_install_before_any_work(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **named):
        if name == "h5py":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match=r'pip install "asterism\[sleap\]"'):
        check_format(tmp_path / "x.slp", None)
    check_format(tmp_path / "x.csv", "sleap-csv")
    with pytest.raises(RequestError, match=r"ends in \.slp"):
        check_format(tmp_path / "x.csv", "sleap")


@pytest.mark.data
@pytest.mark.skipif(not SAMPLES.is_dir(), reason="no shared data")
def test_real_files():
    flies = read_slp(SAMPLES / "minimal_instance.slp")
    assert flies.names == ("A", "B") and flies.edges == ((0, 1),) and len(flies) == 2
    np.testing.assert_allclose(flies.xy[0, 0], [92.65220773, 202.72597774])
    dance = read_slp(SAMPLES / "dance.mp4.labels.slp")
    assert len(dance.names) == 17 and len(dance) == 3  # labels only; 450 frames of predictions are left out
    assert dance.images[0].endswith("dance.mp4#0")
