"""Keypoints of a table land on the pictures they belong to."""

import dataclasses

import numpy as np
import pytest

from asterism.data.base import ImageSet
from asterism.data.tables import take_pictures
from asterism.errors import RequestError
from asterism.io.images import read_image
from asterism.io.table import KeypointTable
from asterism.io.video import Video
from asterism.viz import overlay
from asterism.viz.discovered import write_discovered

H, W = 61, 91


class Grey(ImageSet):
    """Grey pictures that count how often they are decoded."""

    def __init__(self, n, is_clip=False):
        self.n, self.is_clip, self.title, self.read = n, is_clip, "grey.mp4", 0

    def __len__(self):
        return self.n

    def picture(self, index):
        self.read += 1
        return np.full((H, W, 3), 100, np.uint8)

    def name(self, index):
        return f"grey.mp4#{index}" if self.is_clip else f"some/folder/{index}.png"

    def fingerprint(self):
        return "grey"


def table_for(images, pictures, score=1.0):
    n = len(pictures)
    xy = np.stack([np.array([[20.0 + 2 * i, 20.0], [60.0, 40.0]]) for i in range(n)])
    return KeypointTable(
        names=("a", "b"),
        images=tuple(images.name(i) for i in pictures),
        image=np.arange(n),
        individual=np.zeros(n, np.int64),
        xy=xy,
        labelled=np.ones((n, 2), bool),
        visible=np.ones((n, 2), bool),
        score=np.full((n, 2), score),
        box=np.zeros((n, 4)),
        has_box=np.zeros(n, bool),
        area=np.zeros(n),
        source="points.csv",
    )


def test_rows_find_their_pictures_by_name():
    images = Grey(6)
    assert {k: v.tolist() for k, v in overlay.rows_by_picture(images, table_for(images, [4, 1])).items()} == {
        4: [0],
        1: [1],
    }
    strangers = dataclasses.replace(table_for(images, [0]), images=("other.png",))
    with pytest.raises(RequestError, match=r"points\.csv.*other\.png"):
        overlay.rows_by_picture(images, strangers)


def paint(images, folder):
    table = table_for(images, range(len(images)))
    with overlay.Painter(folder) as draw:
        for index, picture in enumerate(images):
            draw(images, index, picture, take_pictures(table, [index]))
    return draw.written


def test_pictures_are_written_under_their_own_names(tmp_path):
    images = Grey(3)
    written = paint(images, tmp_path / "out")
    assert [p.name for p in written] == ["0.png", "1.png", "2.png"]
    assert read_image(written[0]).shape == (5 * H, 5 * W, 3)
    assert (read_image(written[1]) != 100).any()
    assert images.read == 3


def test_names_that_come_twice_are_kept_apart(tmp_path):
    table = table_for(Grey(1), [0])
    with overlay.Painter(tmp_path) as draw:
        for images in (Grey(1), Grey(1)):
            draw(images, 0, images.picture(0), table)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0-1.png", "0.png"]


def test_nothing_drawn_is_nothing_written(tmp_path):
    with overlay.Painter(tmp_path / "out"):
        pass
    assert not (tmp_path / "out").exists()


def test_a_clip_becomes_a_clip(tmp_path):
    (path,) = paint(Grey(7, is_clip=True), tmp_path)
    assert path.name == "grey-points.mp4"
    clip = Video(path)
    assert clip.size == (
        61 * 5 + 1,
        91 * 5 + 1,
    )  # enlarged five times, then made even
    assert len(list(clip)) == 7


def test_a_clip_that_was_not_drawn_to_its_end_is_not_there(tmp_path):
    images = Grey(3, is_clip=True)

    def stopped():
        with overlay.Painter(tmp_path) as draw:
            draw(images, 0, images.picture(0), table_for(images, [0]))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert list(tmp_path.iterdir()) == []


def test_a_sheet_of_a_clip_decodes_it_once_up_to_the_last_picture():
    images = Grey(50, is_clip=True)
    overlay.sheet(images, table_for(images, range(50)), [3, 9, 20])
    assert images.read == 21


def test_spread_is_even_and_never_repeats():
    assert overlay.spread(range(3), 12) == [0, 1, 2]
    assert overlay.spread(range(100), 12)[0] == 0 and overlay.spread(range(100), 12)[-1] == 99
    assert len(set(overlay.spread(range(13), 12))) == 12


def test_the_page_of_a_run_has_its_words_and_its_pictures(tmp_path):
    images = Grey(20)
    report = {
        "title": "8 <points>",
        "sentences": ["All are alive.", "None is off the object."],
        "numbers": {"dead": 0, "jitter_px": 0.51234, "points": {"a": [1, 2.5], "b": None}},
    }
    written = write_discovered(tmp_path, images, table_for(images, range(20), score=0.5), report)
    assert [p.name for p in written] == ["overlay.png", "frames.png", "doubtful.png", "report.html"]
    page = (tmp_path / "report.html").read_text()
    assert "8 &lt;points&gt;" in page and "All are alive." in page and "0.5123" in page and "1, 2.5" in page
    assert page.count("data:image/jpeg;base64,") == 3 and "http" not in page
