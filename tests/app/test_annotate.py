"""`asterism annotate`: pictures of one thing get the same landmarks, pictures of nothing common get none."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from asterism.app.cli import main
from asterism.engine.annotate import Landmarks, _least, bent, flow, table_of, thinned
from asterism.engine.match import Seen
from asterism.errors import RequestError
from asterism.geometry import affine
from asterism.io.images import read_image
from asterism.io.keypoints import read_keypoints
from asterism.ops.sampling import crop

SIDE, COUNT = 160, 5


def texture(seed):
    g, picture = torch.Generator().manual_seed(seed), torch.zeros(3, SIDE, SIDE)
    for cell in (5, 10, 20, 40):
        noise = torch.rand(1, 3, SIDE // cell, SIDE // cell, generator=g)
        picture += torch.nn.functional.interpolate(noise, (SIDE, SIDE), mode="bicubic")[0] / 4
    return picture.clamp(0, 1)


def moved(i):
    """b_from_a of picture i: a little larger, turned and shifted."""
    angle, scale = torch.tensor([0.04 * i]), torch.tensor([1 + 0.03 * i])
    return affine.similarity(angle, scale, torch.tensor([[3.0 * i, -2.0 * i]]))


def save(name, image):
    Image.fromarray((255 * image).round().byte().permute(1, 2, 0).numpy()).save(name)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one").mkdir()
    (tmp_path / "many").mkdir()
    thing = texture(1)
    for i in range(COUNT):
        save(f"one/{i}.png", crop(thing[None], affine.inverse(moved(i)), (SIDE, SIDE))[0])
        save(f"many/{i}.png", texture(10 + i))
    return tmp_path


def test_one_thing_has_the_same_landmarks_in_all_pictures(here, capsys):
    words = ["annotate", "one", "-k", "6", "-o", "l.json", "--draw", "l.png", "--flow", "bent", "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["landmarks"] == 6 and told["chance"] < 0.65
    table = read_keypoints("l.json")
    assert table.names == tuple(f"landmark{i}" for i in range(6)) and len(table) == COUNT
    for k in range(6):
        seen = np.flatnonzero(table.labelled[:, k])
        at = [
            affine.apply(affine.inverse(moved(i)).double(), torch.from_numpy(table.xy[i, k])[None, None])[
                0, 0
            ]
            for i in seen.tolist()
        ]
        assert len(seen) >= 4 and torch.stack(at).std(0).max() < 1.5
    assert read_image("l.png").ndim == 3
    first, last = read_image("one/0.png").astype(float), read_image("bent/4.png").astype(float)
    inner = np.s_[40:120, 40:120]
    before = np.abs(first - read_image("one/4.png"))[inner].mean()
    assert np.abs(first - last)[inner].mean() < 0.5 * before


@pytest.mark.parametrize("chance, least", [(0.0, 0.15), (0.1, 0.235), (0.3, 0.525), (0.6, 0.8), (1.0, 1.0)])
def test_what_is_asked_of_a_landmark(chance, least):
    assert _least(chance) == pytest.approx(least)


def test_pictures_of_nothing_common_are_refused(here, capsys):
    assert main(["annotate", "many", "-o", "l.json"]) == 1
    assert "refused: no landmark" in capsys.readouterr().err
    assert not (here / "l.json").exists()


def test_wrong_requests(here, capsys):
    (here / "two").mkdir()
    for i in range(2):
        save(f"two/{i}.png", texture(i))
    for words, told in (
        (["annotate", "l.png", "-o", "l.json"], "l.png: is no folder"),
        (["annotate", "one", "-o", "l.txt"], "-o l.txt"),
        (["annotate", "one", "-o", "l.json", "-k", "0"], "-k 0"),
        (["annotate", "one", "-o", "l.json", "--ratio", "0"], "--ratio 0"),
        (["annotate", "one", "-o", "l.json", "--features", "3"], "--features 3"),
        (["annotate", "one", "-o", "l.json", "--draw", "l.jpg"], "--draw l.jpg"),
        (["annotate", "two", "-o", "l.json"], "2 pictures: wanted 4"),
    ):
        assert main(words) == 2
        assert told in capsys.readouterr().err


def landmarks(xy):
    xy = np.asarray(xy, float)
    m, k = xy.shape[:2]
    names = tuple(f"{i}.png" for i in range(m))
    score = np.where(np.isfinite(xy[..., 0]), 0.5, 0.0)
    return Landmarks(names=names, sizes=((20, 30),) * m, xy=xy, score=score, matched=np.ones(k), chance=0.1)


def test_flow_is_exact_at_landmarks_and_wants_four():
    one = [[3, 4], [20, 5], [22, 15], [4, 16]]
    two = [[4, 4], [21, 6], [23, 16], [5, 15]]
    there = flow(landmarks([one, two]), 0, 1).points(torch.tensor([one]).double())
    np.testing.assert_allclose(there[0].numpy(), two, atol=1e-9)
    gone = landmarks([one, two])
    gone.xy[1, 0] = np.nan
    with pytest.raises(RequestError, match=r"0.png and 1.png share 3 landmarks that fit"):
        flow(gone, 0, 1)


def test_a_landmark_on_another_part_does_not_fold_the_flow():
    one = np.array([[3, 4], [20, 5], [22, 15], [4, 16], [12, 9]], float)
    two = one + [1, 2]
    two[4] = [1, 18]
    there = flow(landmarks([one, two]), 0, 1).points(torch.from_numpy(one)[None])
    np.testing.assert_allclose(there[0].numpy(), one + [1, 2], atol=1e-9)


def test_a_shift_bends_a_picture_to_the_pixel():
    one = np.array([[3, 4], [20, 5], [22, 15], [4, 16]], float)
    picture = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    shown = bent(landmarks([one, one + [2, 1]]), 0, 1, picture)
    np.testing.assert_array_equal(shown[1:, 2:], picture[:-1, :-2])
    assert not shown[0].any() and not shown[:, :2].any()


def test_the_table_leaves_out_what_was_not_found():
    nan = np.nan
    table = table_of(landmarks([[[1, 2], [3, 4]], [[nan, nan], [nan, nan]], [[5, 6], [nan, nan]]]))
    assert table.image.tolist() == [0, 2] and table.labelled.tolist() == [[True, True], [True, False]]
    assert table.score.tolist() == [[0.5, 0.5], [0.5, 0.0]] and np.isfinite(table.xy).all()


def test_of_features_that_are_near_the_first_stays():
    xy = torch.tensor([[0.0, 0], [0.5, 0], [5, 0], [1, 0]]).double()
    one = Seen(name="a", size=(30, 40), xy=xy, descriptor=torch.eye(4))
    kept = thinned(one, 0.016)  # 0.8 pixels
    assert kept.xy[:, 0].tolist() == [0.0, 5.0, 1.0] and kept.descriptor.argmax(1).tolist() == [0, 2, 3]
