"""COCO files: exact round trips, and an error that names file and field for every way to be wrong."""

import copy
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from asterism.errors import BadAnnotation
from asterism.io.coco import read_coco, read_coco_results, write_coco, write_coco_results
from asterism.io.locate import require_images
from asterism.io.skeleton import published

COCO_NAMES = published("coco-17").names
DATA = Path(__file__).parents[2] / "../shared/data/label_format_fixtures"
ALL = "names images image individual xy labelled visible score box has_box area sizes edges swap sigma"


def small() -> dict[str, Any]:
    """Two pictures, two animals with three points."""
    return {
        "images": [
            {"id": 7, "file_name": "a.png", "height": 20, "width": 30},
            {"id": 3, "file_name": "b.png", "height": 20, "width": 30},
        ],
        "annotations": [
            {"id": 1, "image_id": 3, "category_id": 1, "keypoints": [1, 2, 2, 3.5, 4, 1, 0, 0, 0]},
            {"id": 2, "image_id": 7, "category_id": 1, "keypoints": [5, 6, 2, 9, 9, 0, 7, 8, 2]},
        ],
        "categories": [
            {
                "id": 1,
                "name": "cat",
                "keypoints": ["nose", "left_ear", "right_ear"],
                "skeleton": [[1, 2], [1, 3]],
            }
        ],
    }


def saved(folder: Path, document: object) -> Path:
    path = folder / "labels.json"
    path.write_text(json.dumps(document))
    return path


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_round_trip(data: st.DataObject, draw_table, assert_same) -> None:
    table = draw_table(data)
    with TemporaryDirectory() as folder:
        write_coco(Path(folder) / "x.json", table)
        assert_same(read_coco(Path(folder) / "x.json"), table, ALL)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_results_round_trip(data: st.DataObject, draw_table, assert_same) -> None:
    table = draw_table(data)
    with TemporaryDirectory() as folder:
        truth, results = Path(folder) / "truth.json", Path(folder) / "results.json"
        write_coco(truth, table)
        write_coco_results(results, table, truth)
        assert_same(
            read_coco_results(results, truth), table, "names images image xy labelled score sizes edges"
        )


def test_what_a_file_says(tmp_path: Path) -> None:
    table = read_coco(saved(tmp_path, small()))
    assert table.names == ("nose", "left_ear", "right_ear") and table.images == ("a.png", "b.png")
    assert table.image.tolist() == [1, 0] and table.individual.tolist() == [0, 0]
    assert table.xy.tolist() == [[[1, 2], [3.5, 4], [0, 0]], [[5, 6], [0, 0], [7, 8]]]  # v = 0 hides (9, 9)
    assert table.labelled.tolist() == [[True, True, False], [True, False, True]]
    assert table.visible.tolist() == [[True, False, False], [True, False, True]]
    assert table.score.tolist() == table.labelled.astype(float).tolist()
    assert table.edges == ((0, 1), (0, 2)) and table.swap == (0, 2, 1) and table.sigma == ()
    assert table.sizes == ((20, 30), (20, 30)) and not table.has_box.any()


def test_special_cases_of_published_files(tmp_path: Path) -> None:
    document = small()
    document["categories"][0]["skeleton"] = [[0, 1], [0, 2]]
    assert read_coco(saved(tmp_path, document)).edges == ((0, 1), (0, 2))  # counted from 0
    document["categories"][0]["skeleton"] = [[16, 14]]
    assert read_coco(saved(tmp_path, document)).edges == ()  # another data set's
    document["annotations"][1]["iscrowd"] = 1
    assert len(read_coco(saved(tmp_path, document))) == 1
    document["annotations"][0]["keypoints"][2] = 1
    assert read_coco(saved(tmp_path, document)).visible.sum() == 2  # no v = 2 anywhere
    del document["categories"][0]["keypoints"]
    assert read_coco(saved(tmp_path, document)).names == ("point0", "point1", "point2")
    document = small()
    document["categories"].append({"id": 2, "name": "car"})
    document["annotations"].append({"id": 3, "image_id": 7, "category_id": 2, "bbox": [0, 0, 5, 5]})
    assert len(read_coco(saved(tmp_path, document))) == 2  # a plain detection
    document["categories"][0] = {"id": 1, "keypoints": list(COCO_NAMES)}
    document["annotations"] = [{"id": 1, "image_id": 7, "category_id": 1, "keypoints": [1, 1, 2] * 17}]
    assert len(read_coco(saved(tmp_path, document)).sigma) == 17


def test_pictures_are_found_around_the_file(tmp_path: Path) -> None:
    (tmp_path / "val2017").mkdir()
    (tmp_path / "annotations").mkdir()
    for name in ("a.png", "b.png"):
        Image.new("L", (30, 20)).save(tmp_path / "val2017" / name)
    path = tmp_path / "annotations/person_keypoints_val2017.json"
    path.write_text(json.dumps(small()))
    table = read_coco(path)
    require_images(table)
    assert Path(table.images[1]).samefile(tmp_path / "val2017/b.png")
    (tmp_path / "val2017/b.png").unlink()
    with pytest.raises(
        BadAnnotation, match=r"1 of 2 pictures are missing; the first, 'b\.png', is not in"
    ) as caught:
        require_images(read_coco(path))
    assert str(tmp_path / "val2017") in str(caught.value) and str(path) in str(caught.value)


def wrong(place: str, value: object) -> dict[str, Any]:
    """The small document with one place replaced, or removed when the value is KeyError."""
    document = small()
    *path, last = [int(p) if p.isdigit() else p for p in place.split("/")]
    at: Any = document
    for part in path:
        at = at[part]
    if value is KeyError:
        del at[last]
    else:
        at[last] = value
    return document


NAN = float("nan")


@pytest.mark.parametrize(
    "document, message",
    [
        ([], "is a list"),
        ({}, "images: wanted a list, found nothing"),
        ("text", "the file: wanted an object"),
        (wrong("images", []), "images: is empty"),
        (wrong("annotations", []), "annotations: is empty"),
        (wrong("images/1/id", 7), r"images\[1\].id: 7 is already images\[0\].id"),
        (wrong("images/1/id", None), r"images\[1\].id: wanted a name or number, found nothing"),
        (wrong("images/1/file_name", "a.png"), r"images\[1\].file_name: a.png is already images\[0\]"),
        (wrong("images/1/file_name", KeyError), r"images\[1\].file_name: wanted"),
        (wrong("images/0/height", 0), r"images\[0\].height: wanted 1 or more"),
        (wrong("images/0/width", NAN), r"images\[0\].width: wanted a number"),
        (wrong("annotations/1/id", 1), r"annotations\[1\].id: 1 is already annotations\[0\].id"),
        (wrong("annotations/1/image_id", 99), r"annotations\[1\].image_id: 99 is none of the 2 images"),
        (wrong("annotations/1/image_id", [7]), r"annotations\[1\].image_id"),
        (wrong("annotations/1/category_id", 4), r"annotations\[1\].category_id: 4 is no category's"),
        (wrong("annotations/1/category_id", [4]), r"annotations\[1\].category_id"),
        (wrong("annotations/1/keypoints", [1, 2, 2] * 2), r"annotations\[1\].keypoints: 6 numbers, wanted"),
        (wrong("annotations/1/keypoints", KeyError), r"annotations\[1\].keypoints: wanted 9 numbers, found"),
        (wrong("annotations/1/keypoints/4", NAN), r"annotations\[1\].keypoints\[4\]: .* found nan"),
        (wrong("annotations/0/keypoints/0", float("inf")), r"annotations\[0\].keypoints\[0\].*found inf"),
        (wrong("annotations/0/keypoints/0", 10**400), r"annotations\[0\].keypoints\[0\]"),
        (wrong("annotations/0/keypoints/0", "3"), r"annotations\[0\].keypoints\[0\].*found the text '3'"),
        (wrong("annotations/0/keypoints/2", 3), r"annotations\[0\].keypoints\[2\]: v is 3, wanted 0, 1 or 2"),
        (wrong("annotations/0/num_keypoints", 4), r"annotations\[0\].num_keypoints: 4 of 3 keypoints"),
        (wrong("annotations/0/bbox", [1, 2, -3, 4]), r"annotations\[0\].bbox: .* negative width or height"),
        (wrong("annotations/0/bbox", [1, 2, 3]), r"annotations\[0\].bbox: 3 numbers, wanted 4"),
        (wrong("annotations/0/area", -1), r"annotations\[0\].area"),
        (wrong("annotations/0/keypoint_scores", [1]), r"annotations\[0\].keypoint_scores: 1 num"),
        (wrong("categories/0/keypoints", ["a", "b", "a"]), r"categories\[0\].keypoints: \['a'\] occur twice"),
        (wrong("categories/0/keypoints", ["a", "b", 3]), r"categories\[0\].keypoints: wanted names"),
        (wrong("categories/0/keypoints", 3), r"categories\[0\].keypoints: wanted names"),
        (wrong("categories/0/skeleton", [[1]]), r"categories: skeleton\[0\]: 1 numbers, wanted 2"),
        (wrong("categories/0/flip_pairs", [[0, 3]]), r"categories: flip_pairs\[0\]: \[0, 3\] does not join"),
        (wrong("categories/0/flip_pairs", [[0, 1], [1, 2]]), r"categories: flip_pairs\[1\]: .* already has"),
        (wrong("categories/0/sigmas", [0.1, 0.1, 0]), "categories: sigmas: wanted numbers above 0"),
        (wrong("categories", 3), "categories: wanted a list"),
    ],
)  # fmt: skip
def test_errors_name_file_and_field(tmp_path: Path, document: object, message: str) -> None:
    path = saved(tmp_path, document)
    with pytest.raises(BadAnnotation, match=message) as caught:
        read_coco(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    "text, message",
    [("", "is empty"), ('{"images": [', "line 1, column 13"), ("[" * 100000, "JSON"), (b"\xff\xfe{", "JSON")],
)
def test_what_is_no_json(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BadAnnotation, match=message):
        read_coco(path)
    with pytest.raises(BadAnnotation, match="does not exist"):
        read_coco(tmp_path / "none.json")


def test_two_kinds_of_keypoints_in_one_file(tmp_path: Path) -> None:
    document = small()
    document["categories"].append({"id": 2, "name": "dog", "keypoints": ["x", "y", "z"]})
    document["annotations"][1]["category_id"] = 2
    with pytest.raises(BadAnnotation, match=r"categories\[1\].keypoints: differ from categories\[0\]"):
        read_coco(saved(tmp_path, document))


def test_track_ids(tmp_path: Path) -> None:
    document = small()
    document["annotations"][0] |= {"track_id": 5}
    document["annotations"][1] |= {"track_id": 5}
    assert read_coco(saved(tmp_path, document)).individual.tolist() == [5, 5]
    document["annotations"][1]["image_id"] = 3
    with pytest.raises(BadAnnotation, match=r"annotations\[1\].track_id: 5 is already annotations\[0\]"):
        read_coco(saved(tmp_path, document))


def test_results_about_unknown_pictures(tmp_path: Path) -> None:
    truth = saved(tmp_path, small())
    table = read_coco(truth)
    document = small()
    document["images"][0]["file_name"] = "other.png"
    with pytest.raises(BadAnnotation, match=r"images: 'a\.png' is not among them"):
        write_coco_results(tmp_path / "r.json", table, saved(tmp_path, document))
    assert not (tmp_path / "r.json").exists()
    saved(tmp_path, small())
    for results, message in [
        ([{"image_id": 99, "keypoints": [0] * 9}], r"\[0\].image_id: 99 is not in"),
        ([{"image_id": 7, "keypoints": [0] * 8}], r"\[0\].keypoints: 8 numbers, wanted 9"),
        ({"image_id": 7}, "wanted a list of results"),
    ]:
        (tmp_path / "r.json").write_text(json.dumps(results))
        with pytest.raises(BadAnnotation, match=message):
            read_coco_results(tmp_path / "r.json", truth)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [place for key, child in items for place in places(child, (*path, key))]


def test_any_value_in_any_place(tmp_path: Path) -> None:
    """Every place of a file in turn holds every odd value: a table comes out, or BadAnnotation."""
    document = small()
    document["annotations"][0] |= {"bbox": [1, 2, 3, 4], "area": 5, "track_id": 0, "num_keypoints": 2}
    document["annotations"][1] |= {"track_id": 1, "keypoint_scores": [1, 0.5, 1]}
    document["categories"][0] |= {"flip_pairs": [[1, 2]], "sigmas": [0.1, 0.1, 0.1]}
    refused = 0
    for place in places(document):
        for odd in (None, True, -1, 1.5, NAN, 10**400, "", "x", [], [[]], {}, {"a": 1}):
            broken = copy.deepcopy(document)
            at: Any = broken
            for part in place[:-1]:
                at = at[part]
            at[place[-1]] = odd
            path = saved(tmp_path, broken)
            try:
                table = read_coco(path)
                assert np.isfinite(table.xy).all() and np.isfinite(table.box).all()
            except BadAnnotation:
                refused += 1
    assert refused > 300


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason="no shared data")
@pytest.mark.parametrize(
    "name, shape, labelled",
    [
        ("coco/test_coco.json", (14, 17, 2), 181),
        ("ap10k/test_ap10k.json", (2, 17, 2), 32),
        ("crowdpose/test_crowdpose.json", (5, 14, 2), 47),
        ("wflw/test_wflw.json", (4, 98, 2), 392),
        ("posetrack18/annotations/test_posetrack18_val.json", (14, 17, 2), 182),
    ],
)
def test_published_files(
    tmp_path: Path, assert_same, name: str, shape: tuple[int, ...], labelled: int
) -> None:
    table = read_coco(DATA / name)
    assert table.xy.shape == shape and table.labelled.sum() == labelled
    require_images(table)
    write_coco(tmp_path / "x.json", table)
    assert_same(read_coco(tmp_path / "x.json"), table, ALL)


def test_pycocotools_reads_what_is_written(tmp_path: Path) -> None:
    mask = pytest.importorskip("pycocotools.coco")
    document = small()
    for row in document["annotations"]:
        row |= {"bbox": [0, 0, 20, 20], "area": 200}
    table = read_coco(saved(tmp_path, document))
    write_coco(tmp_path / "x.json", table)
    write_coco_results(tmp_path / "r.json", table, tmp_path / "x.json")
    truth = mask.COCO(str(tmp_path / "x.json"))
    results = truth.loadRes(str(tmp_path / "r.json"))
    assert sorted(results.getImgIds()) == [1, 2] and len(results.getAnnIds()) == 2
