"""A skeleton behind a label file's path, as `--skeleton` writes it."""

import json
from pathlib import Path

import pytest
from PIL import Image

from asterism.app.cli import main
from asterism.data.sources import open_data
from asterism.errors import BadAnnotation, RequestError


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    row = {"id": 1, "image_id": 1, "category_id": 1, "keypoints": [5, 5, 2, 20, 20, 2]}
    document = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": [row]}
    document["categories"] = [{"id": 1, "name": "mouse", "keypoints": ["head", "tail"]}]
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(document))
    (tmp_path / "mouse.toml").write_text(
        'names = ["tail", "head"]\nedges = [["tail", "head"]]\nsigmas = [0.1, 0.2]'
    )
    return path


def test_labels_take_a_skeleton(labels: Path) -> None:
    plain = open_data(str(labels)).skeleton
    assert plain is not None and plain.edges == () and plain.sigma == ()
    dressed = open_data(f"{labels}?skeleton={labels.parent / 'mouse.toml'}").skeleton
    assert dressed is not None and dressed.names == ("head", "tail")
    assert dressed.edges == ((1, 0),) and dressed.sigma == (0.2, 0.1)


def test_skeletons_that_cannot_be_used(labels: Path, capsys) -> None:
    with pytest.raises(
        BadAnnotation, match=r"its 2 keypoints are not the 17 of coco-17 \(only in the labels"
    ):
        open_data(f"{labels}?skeleton=coco-17")
    with pytest.raises(BadAnnotation, match=r"'mouse' is neither a file that ends in \.toml nor a published"):
        open_data(f"{labels}?skeleton=mouse")
    with pytest.raises(RequestError, match=r"holds no labels, so the skeleton 'coco-17' has no points"):
        open_data(f"{labels.parent / 'a.png'}?skeleton=coco-17")
    run = str(labels.parent / "run")
    assert main(["train", "stacked-hourglass", str(labels), "--skeleton", "coco-17", "-o", run]) == 2
    assert "are not the 17 of coco-17" in capsys.readouterr().err
    assert main(["train", "stacked-hourglass", "world:figures", "--skeleton", "coco-17", "-o", run]) == 2
    assert "a world brings its own" in capsys.readouterr().err
