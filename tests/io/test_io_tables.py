"""Plain and DeepLabCut CSV: exact round trips, and errors with the line and the column."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asterism.errors import BadAnnotation, RequestError
from asterism.io.csvfile import read_csv, write_csv
from asterism.io.deeplabcut import read_deeplabcut, write_deeplabcut
from asterism.io.images import write_image
from asterism.io.keypoints import FORMATS, read_keypoints, write_keypoints
from asterism.io.locate import require_images

MOUSE = Path(__file__).parents[2] / "../shared/data/mirror_mouse"
POINTS = "names images image individual xy labelled score swap sigma"

DLC = """scorer,S,S,S,S
bodyparts,nose,nose,tail,tail
coords,x,y,x,y
labeled-data/a/1.png,1.5,2,,
labeled-data/a/2.png,,,,
labeled-data/a/3.png,3,4,5,6
"""
PLAIN = """image,individual,nose_x,nose_y,tail_x,tail_y
a.png,0,1.5,2,,
b.png,,,,,
c.png,0,3,4,5,6
c.png,1,,,7,8
"""


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_plain_csv_round_trip(data: st.DataObject, draw_table, assert_same) -> None:
    table = draw_table(data)
    with TemporaryDirectory() as folder:
        write_csv(Path(folder) / "x.csv", table)
        assert_same(read_csv(Path(folder) / "x.csv"), table, POINTS)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_deeplabcut_round_trip(data: st.DataObject, draw_table, assert_same) -> None:
    table = draw_table(data)
    with TemporaryDirectory() as folder:
        write_deeplabcut(Path(folder) / "x.csv", table, "me, myself")
        assert_same(read_deeplabcut(Path(folder) / "x.csv"), table, POINTS)


def test_what_a_plain_csv_says(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(PLAIN)
    table = read_keypoints(tmp_path / "a.csv")
    assert table.names == ("nose", "tail") and table.images == ("a.png", "b.png", "c.png")
    assert table.image.tolist() == [0, 2, 2] and table.individual.tolist() == [0, 0, 1]
    assert table.labelled.tolist() == [[True, False], [True, True], [False, True]]
    assert table.xy[2].tolist() == [[0, 0], [7, 8]] and (table.score == table.labelled).all()


def test_what_a_label_file_says(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(DLC)
    table = read_keypoints(tmp_path / "a.csv")
    assert table.names == ("nose", "tail") and len(table.images) == 3
    assert table.image.tolist() == [0, 2]  # nobody is labelled in the second picture
    assert table.xy[0].tolist() == [[1.5, 2], [0, 0]] and table.labelled[0].tolist() == [True, False]


def test_a_path_in_three_columns_and_a_byte_order_mark(tmp_path: Path) -> None:
    text = (
        DLC.replace("scorer,", "scorer,,,")
        .replace("bodyparts,", "bodyparts,,,")
        .replace("coords,", "coords,,,")
    )
    text = text.replace("labeled-data/a/", "labeled-data,a,").replace("\n", "\r\n")
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read_keypoints(tmp_path / "a.csv").images[2] == "labeled-data/a/3.png"


def test_several_individuals_with_points_of_their_own(tmp_path: Path) -> None:
    """The object of a multi-animal project ("single") has body parts that the animals lack."""
    (tmp_path / "a.csv").write_text(
        "scorer,S,S,S,S,S,S\nindividuals,mus1,mus1,mus2,mus2,single,single\n"
        "bodyparts,nose,nose,nose,nose,ball,ball\ncoords,x,y,x,y,x,y\n1.png,1,2,,,5,6\n2.png,,,3,4,,\n"
    )
    table = read_deeplabcut(tmp_path / "a.csv")
    assert table.names == ("nose", "ball") and table.individual.tolist() == [0, 2, 1]
    assert table.labelled.tolist() == [[True, False], [False, True], [True, False]]


def test_predictions_with_likelihood_and_frame_numbers(tmp_path: Path) -> None:
    text = "scorer,N,N,N\nbodyparts,nose,nose,nose\ncoords,x,y,likelihood\n0,1,2,0.25\n7,3,4,1\n"
    (tmp_path / "clipDLC_net.csv").write_text(text)
    (tmp_path / "clip.avi").touch()
    table = read_deeplabcut(tmp_path / "clipDLC_net.csv")
    assert table.images == (f"{tmp_path}/clip.avi#0", f"{tmp_path}/clip.avi#7")
    assert table.score.tolist() == [[0.25], [1.0]]
    require_images(table)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for video in ("a", "b"):
        folder = tmp_path / "labeled-data" / video
        folder.mkdir(parents=True)
        (folder / "CollectedData_S.csv").write_text(DLC.replace("/a/", f"/{video}/"))
        for i in (1, 2, 3):
            write_image(folder / f"{i}.png", np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "config.yaml").write_text(
        "Task: x\nskeleton:\n- - nose\n  - tail\n- - objectA\n  - nose\nskeleton_color: black\n"
    )
    return tmp_path


def test_a_project(project: Path) -> None:
    table = read_keypoints(project)
    assert len(table.images) == 6 and table.image.tolist() == [0, 2, 3, 5] and table.edges == ((0, 1),)
    require_images(table)
    (project / "config.yaml").write_text("skeleton: [[nose, 'tail']]\nbodyparts: [nose, tail]\n")
    assert read_keypoints(project).edges == ((0, 1),)
    (project / "config.yaml").write_text("skeleton: []\nskeleton2:\n- - nose\n  - tail\n")
    assert read_keypoints(project).edges == ()


def test_a_project_written_and_read_back(project: Path, assert_same) -> None:
    path = project / "labeled-data/a/CollectedData_S.csv"
    table = read_deeplabcut(path)
    write_deeplabcut(path, table, "S")
    assert "\nlabeled-data/a/1.png,1.5,2.0,,\n" in path.read_text()
    assert_same(read_deeplabcut(path), table, POINTS)


def test_label_files_that_do_not_fit_together(project: Path) -> None:
    b = project / "labeled-data/b/CollectedData_S.csv"
    whole = b.read_text()
    b.write_text(whole.replace("nose", "snout"))
    with pytest.raises(BadAnnotation, match="bodyparts") as caught:
        read_keypoints(project)
    assert str(b) in str(caught.value)
    b.write_text(whole.replace("/b/", "/a/"))
    with pytest.raises(BadAnnotation, match=r"1\.png' is already labelled in .*a/CollectedData_S\.csv"):
        read_keypoints(project)


def test_a_missing_picture(project: Path) -> None:
    (project / "labeled-data/b/3.png").unlink()
    with pytest.raises(
        BadAnnotation, match=r"1 of 6 pictures are missing; .*'labeled-data/b/3\.png'"
    ) as caught:
        require_images(read_keypoints(project))
    assert str(project) in str(caught.value)


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("1.5,2,,", "1.5,x,,", r"line 4, column nose_y: 'x' is no number"),
        ("1.5,2,,", "1.5,,,", r"line 4, column nose_y: is empty, its other coordinate is not"),
        ("1.5,2,,", "inf,2,,", r"line 4, column nose_x: 'inf', wanted a finite number"),
        ("1.5,2,,", "1.5,2,", r"line 4: 4 cells, wanted 5"),
        ("a/3", "a/1", r"line 6: 'labeled-data/a/1.png' is already in line 4"),
        ("tail,tail", "nose,nose", r"bodyparts: nose occurs twice"),
        ("tail,tail", "tail,nose", r"bodyparts: columns 4 and the next name two points"),
        ("x,y,x,y", "x,y,y,x", r"coords: wanted x, y again and again"),
        ("x,y,x,y", "a,b,c,d", r"coords: wanted x, y"),
        ("bodyparts", "parts", r"header: begins with scorer"),
        ("S,S,S,S", "S,S,S", r"scorer: 3 columns, coords has 4"),
        (DLC[DLC.index("lab") :], "", r"has a header and no lines"),
    ],
)
def test_label_file_errors(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "a.csv"
    assert old in DLC
    path.write_text(DLC.replace(old, new))
    with pytest.raises(BadAnnotation, match=message) as caught:
        read_keypoints(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("1.5,2,,", "1.5,x,,", r"line 2, column nose_y: 'x' is no number"),
        ("1.5,2,,", ",2,,", r"line 2, column nose_x: is empty"),
        ("1.5,2,,", "-inf,2,,", r"line 2, column nose_x"),
        ("1.5,2,,", "1.5,2,,,", r"line 2: 7 cells, the header has 6"),
        ("c.png,1,,", "c.png,0,,", r"line 5: 'c.png', individual 0 is already in line 4"),
        ("c.png,1,,", "c.png,one,,", r"line 5, column individual: 'one' is no whole number"),
        ("c.png,1,,", ",1,,", r"line 5, column image: is empty"),
        ("tail_x,tail_y", "nose_x,nose_y", r"header: \['nose'\] occur twice"),
        ("tail_x,tail_y", "tail_y,tail_x", r"header: column 5 is 'tail_y', wanted"),
        ("image,individual", "file,individual", r"header: begins with"),
        (PLAIN[PLAIN.index(",nose") :], "\na.png,0\n", r"header: has no keypoints"),
        (PLAIN, "\n\n", r"is empty"),
        (PLAIN, '"a', r"cannot be read as CSV"),
    ],
)
def test_plain_csv_errors(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "a.csv"
    assert old in PLAIN
    path.write_text(PLAIN.replace(old, new))
    with pytest.raises(BadAnnotation, match=message) as caught:
        read_keypoints(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_mutated_files_give_a_table_or_bad_annotation(tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    path, refused = tmp_path / "a.csv", 0
    for trial in range(200):
        raw = bytearray((DLC if trial % 2 else PLAIN).encode())
        for at in rng.integers(0, len(raw), rng.integers(1, 5)):
            raw[at] = rng.choice(bytearray(b',\n"x19-.\xff\0e '))
        path.write_bytes(raw[: rng.integers(1, len(raw))] if trial % 3 == 0 else raw)
        try:
            assert np.isfinite(read_keypoints(path).xy).all()
        except BadAnnotation as error:
            refused += str(path) in str(error)
    assert 100 < refused < 200


def test_folders_and_endings_that_hold_no_labels(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    for path, message in [
        (tmp_path, "holds no labels"),
        (tmp_path / "a.txt", r"labels are read from \.json"),
        (tmp_path / "none.csv", "does not exist"),
    ]:
        with pytest.raises(BadAnnotation, match=message):
            read_keypoints(path)


def test_the_ending_or_the_name_of_a_format_decides(tmp_path: Path, assert_same) -> None:
    (tmp_path / "a.csv").write_text(PLAIN)
    table = read_keypoints(tmp_path / "a.csv")
    for name, format, first in [
        ("x.csv", None, "image,individual"),
        ("x.csv", "csv", "image,individual"),
        ("x.csv", "deeplabcut", "scorer,"),
        ("x.json", None, "{"),
        ("x.json", "coco", "{"),
    ]:
        write_keypoints(tmp_path / name, table, format)
        assert (tmp_path / name).read_text().startswith(first)
        assert_same(read_keypoints(tmp_path / name), table, "names images image individual xy labelled score")
    for name, format in [("x.txt", None), ("x.json", "csv"), ("x.csv", "coco"), ("x.csv", "h5")]:
        with pytest.raises(RequestError, match=r"\.csv|\.json|csv, coco"):
            write_keypoints(tmp_path / name, table, format)
    wanted = {"csv", "coco", "deeplabcut", "sleap", "sleap-csv", "label-studio", "openpose"}
    assert set(FORMATS) == wanted


def test_names_are_written_as_seen_from_the_file(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.zeros((2, 2, 3), np.uint8))
    (tmp_path / "a.csv").write_text(PLAIN)
    table = read_keypoints(tmp_path / "a.csv")
    assert table.images[:2] == (str(tmp_path / "a.png"), "b.png")
    for name in ("x.csv", "x.json"):
        write_keypoints(tmp_path / name, table)
        assert str(tmp_path) not in (tmp_path / name).read_text()
        assert read_keypoints(tmp_path / name).images == table.images


@pytest.mark.data
@pytest.mark.skipif(not MOUSE.is_dir(), reason="no shared data")
def test_a_real_label_file(tmp_path: Path, assert_same) -> None:
    table = read_keypoints(MOUSE)
    assert len(table) == 90 and len(table.names) == 17 and table.labelled.sum() == 1396
    assert table.swap[:8] == (3, 2, 1, 0, 4, 5, 6, 7)
    require_images(table)
    assert_same(table, replace(read_keypoints(MOUSE / "CollectedData.csv"), source=""), POINTS)
    for format, ending in FORMATS.items():
        if format in ("sleap-csv", "label-studio", "openpose"):  # frames of a clip, rounding, other points
            continue
        write_keypoints(tmp_path / f"x{ending}", table, format)
        assert_same(read_keypoints(tmp_path / f"x{ending}"), table, POINTS)
