"""One door for data: every kind opens, every mistake is named."""

import numpy as np
import pytest
from PIL import Image

from asterism.data.clip import Clip
from asterism.data.folder import PictureFiles, natural_key
from asterism.data.sources import open_data
from asterism.data.splits import split
from asterism.data.subset import PictureCache, Subset, thinned
from asterism.data.tables import joined, take_pictures
from asterism.errors import BadAnnotation, RequestError
from asterism.io.coco import write_coco
from asterism.io.deeplabcut import write_deeplabcut
from asterism.io.video import write_video


@pytest.fixture
def folder(tmp_path):
    """img1 .. img12, each of one colour, its number."""
    (tmp_path / "pictures" / ".thumbnails").mkdir(parents=True)
    for n in range(1, 13):
        colour = np.full((8, 10, 3), n, np.uint8)
        Image.fromarray(colour).save(tmp_path / "pictures" / f"img{n}.png")
    Image.fromarray(colour).save(tmp_path / "pictures" / ".thumbnails" / "img1.png")
    (tmp_path / "pictures" / "notes.txt").write_text("x")
    return tmp_path / "pictures"


def test_a_folder_in_natural_order(folder):
    images = open_data(str(folder))
    assert len(images) == 12
    assert [int(picture[0, 0, 0]) for picture in images] == list(range(1, 13))
    assert images.name(9).endswith("img10.png")
    assert images.table is None and not images.is_clip


def test_a_moved_folder_has_the_same_fingerprint(folder):
    before = open_data(str(folder)).fingerprint()
    moved = folder.rename(folder.with_name("moved"))
    assert open_data(str(moved)).fingerprint() == before
    (moved / "img3.png").rename(moved / "img3b.png")
    assert open_data(str(moved)).fingerprint() != before


def test_natural_order():
    names = ["f10.png", "f9.png", "F1.png", "f.png", "10.png", "9.png"]
    assert sorted(names, key=natural_key) == ["9.png", "10.png", "F1.png", "f9.png", "f10.png", "f.png"]


def test_one_picture(folder):
    assert len(open_data(str(folder / "img2.png"))) == 1


def test_a_clip_streams_and_jumps(tmp_path):
    shades = [20, 60, 100, 140, 180, 220]
    write_video(tmp_path / "a.mp4", [np.full((32, 48, 3), s, np.uint8) for s in shades], 10)
    clip = open_data(str(tmp_path / "a.mp4"))
    assert isinstance(clip, Clip) and clip.is_clip and len(clip) == 6
    streamed = list(clip)
    assert np.array_equal(clip.picture(4), streamed[4])
    assert np.array_equal(clip.picture(-1), streamed[5])
    assert clip.name(3).endswith("a.mp4#3")
    some = Subset(clip, [1, 4])
    assert some.is_clip
    assert [int(p.mean() + 8) // 40 for p in some] == [1, 4]
    assert np.array_equal(some.picture(1), streamed[4])
    assert some.name(1) == clip.name(4)
    assert some.fingerprint() != clip.fingerprint()


def test_label_files(folder, labels):
    table = labels([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.5]]] * 12)
    table = type(table)(**{**vars(table), "images": tuple(f"img{n}.png" for n in range(1, 13))})
    write_coco(folder / "a.json", table)
    write_deeplabcut(folder / "CollectedData_me.csv", table, "me")
    for what in (folder / "a.json", folder / "CollectedData_me.csv", folder):
        images = open_data(str(what))
        assert images.table is not None and images.skeleton is not None
        assert images.skeleton.names == ("left", "right", "nose")
        at = int(images.table.image[3])
        row = images.picture(at)[0, 0, 0]
        assert images.name(at).endswith(f"img{row}.png")
        np.testing.assert_allclose(images.table.xy[3], table.xy[3])
    two = type(table)(**{**vars(table), "swap": (1, 2, 0)})
    with pytest.raises(BadAnnotation, match=r"not its own inverse"):
        PictureFiles("x", table.images, two)


@pytest.mark.parametrize("what", ["no/such/thing", "world:no-such"])
def test_what_does_not_exist(what):
    with pytest.raises(
        RequestError, match=r"no/such/thing: there is no such file|no world is called 'no-such'"
    ):
        open_data(what)


def test_what_cannot_be_used(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match=r"holds no pictures; wanted files ending in \.jpg"):
        open_data(str(tmp_path / "empty"))
    with pytest.raises(RequestError, match=r"no reader for '\.txt' files; wanted a folder"):
        open_data(str(folder / "notes.txt"))


def test_worlds_open():
    images = open_data("world:figures?n=3&size=64")
    assert len(images) == 3 and images.table is not None


def test_a_subset_keeps_its_rows(labels, Held):
    table = labels([[[float(i), 0.0]] for i in range(5)], swap=())
    some = Subset(Held([np.full((4, 4, 3), i, np.uint8) for i in range(5)], table), [3, 0])
    assert some.table is not None and not some.is_clip
    assert some.table.images == ("3.png", "0.png")
    for row in range(2):
        picture = some.picture(int(some.table.image[row]))
        assert picture[0, 0, 0] == some.table.xy[row, 0, 0]


def test_tables_join(labels):
    a, b = labels([[[1.0, 1.0]]] * 2, swap=()), labels([[[2.0, 2.0]]] * 3, swap=())
    both = joined([a, b])
    assert both.image.tolist() == [0, 1, 2, 3, 4]
    assert both.images == a.images + b.images
    assert both.xy[2:, 0, 0].tolist() == [2, 2, 2]
    assert take_pictures(both, [4]).xy.tolist() == [[[2, 2]]]


def test_splits_share_no_picture():
    one, two = split(100, seed=3), split(100, seed=3)
    assert one.test.tolist() == two.test.tolist() != split(100, seed=4).test.tolist()
    assert len(one.test) == 20
    assert sorted([*one.train, *one.test]) == list(range(100))
    assert len(split(np.array([5, 5, 9]), seed=0).test) == 1
    with pytest.raises(RequestError, match="1 labelled pictures cannot be split"):
        split(np.array([4, 4]), seed=0)


def test_the_cache_is_bounded(Held):
    images = Held([np.zeros((10, 10, 3), np.uint8)] * 6)
    cache = PictureCache(images, limit=1000)
    for index in (0, 1, 2, 0, 3, 0):  # 0 is used again and stays
        cache.picture(index)
    assert images.reads == 4 and cache.used == 900
    cache.picture(1)
    assert images.reads == 5
    small = PictureCache(images, limit=10)
    assert small.picture(0).shape == (10, 10, 3) and small.used == 0


def test_a_long_clip_is_thinned_evenly(Held, frames):
    n = 20
    clip = Held([np.zeros((10, 10, 3), np.uint8)] * n, is_clip=True)
    every = frames([[5.0, 5.0]] * n, [5.0] * n, [0.0] * n, rows=False)
    assert thinned(clip, every) is every
    assert thinned(clip, every, limit=1500).image.tolist() == [0, 5, 10, 14, 19]
    clip.is_clip = False
    assert thinned(clip, every, limit=1500) is every


def test_labels_without_their_pictures(folder, labels):
    table = labels([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.5]]] * 12)
    write_coco(folder / "a.json", table)
    with pytest.raises(BadAnnotation, match=r"a\.json: 12 of 12 pictures are missing; the first, '0\.png'"):
        open_data(str(folder / "a.json"))
