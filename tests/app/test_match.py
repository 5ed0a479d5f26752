"""`asterism match`: pictures of one thing are matched, pictures of two things are not."""

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from asterism.app.cli import main
from asterism.engine.match import Asked, log_chance, match, pairs_of, seen
from asterism.engine.runs import Run
from asterism.engine.weights import save_weights
from asterism.geometry import affine, homography
from asterism.io.images import read_image
from asterism.io.matches import read_matches
from asterism.methods.features.keynet import KeyNet
from asterism.methods.features.sift import Sift, SiftConfig
from asterism.ops.sampling import crop

TURN = affine.similarity(torch.tensor([0.4]), torch.tensor([0.9]), torch.tensor([[60.0, -40.0]]))


def texture(seed, side=240):
    g, picture = torch.Generator().manual_seed(seed), torch.zeros(3, side, side)
    for cell in (5, 10, 20, 40):
        noise = torch.rand(1, 3, side // cell, side // cell, generator=g)
        picture += torch.nn.functional.interpolate(noise, (side, side), mode="bicubic")[0] / 4
    return picture.clamp(0, 1)


def save(name, image):
    Image.fromarray((255 * image).round().byte().permute(1, 2, 0).numpy()).save(name)


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """a.png; b.png, the same turned and shrunk; c.png, something else."""
    monkeypatch.chdir(tmp_path)
    one = texture(1)
    save("a.png", one)
    save("b.png", crop(one[None], affine.inverse(TURN), (240, 240))[0])
    save("c.png", texture(2))
    return tmp_path


def test_two_pictures_of_one_thing(pictures, capsys):
    assert main(["match", "a.png", "b.png", "-o", "m.csv", "--draw", "m.png", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["model"] == "homography" and told["log10_chance"] < -50
    xy = torch.tensor([[[50.0, 90], [160, 70], [120, 180]]], dtype=torch.float64)
    found = homography.apply(torch.tensor(told["matrix"], dtype=torch.float64)[None], xy)
    assert (found - affine.apply(TURN.double(), xy)).abs().max() < 0.5
    rows = list(csv.DictReader((pictures / "m.csv").read_text().splitlines()))
    assert len(rows) == told["matches"] and sum(int(row["inlier"]) for row in rows) == told["inliers"] > 30
    assert read_image("m.png").shape == (640, 2 * 640 + 12, 3)


def test_two_pictures_of_two_things_are_refused_and_nothing_is_written(pictures, capsys):
    assert main(["match", "a.png", "c.png", "-o", "m.npz", "--draw", "m.png"]) == 1
    assert "do not seem to show the same thing" in capsys.readouterr().err
    assert not (pictures / "m.npz").exists() and not (pictures / "m.png").exists()


def test_a_folder_gives_what_sync_reads(pictures, capsys):
    assert main(["match", ".", "-o", "m.npz", "--features", "150", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["images"], told["pairs"], told["pairs_refused"]) == (3, 3, 2)
    matches = read_matches("m.npz")
    assert [name.split("/")[-1] for name in matches.names] == ["a.png", "b.png", "c.png"]
    assert matches.sizes == ((240, 240),) * 3 and matches.w.nnz == 2 * told["inliers"]
    assert matches.pairs().tolist() == [[0, 1]]
    assert main(["sync", "m.npz", "-o", "tracks.npz"]) == 0


def test_a_large_picture_is_shrunk_and_points_are_those_of_the_file(pictures):
    image = np.asarray(Image.open("a.png"))
    Image.fromarray(image.repeat(3, 0).repeat(3, 1)).save("large.png")
    small, large = (Sift(SiftConfig(n_keypoints=200, input_size=(h, h))) for h in (240, 240))
    one, two = seen(small, "a.png"), seen(large, "large.png")
    assert two.size == (720, 720)
    gap = torch.cdist(3 * one.xy + 1, two.xy).amin(1)  # the middle of a block of three
    assert (gap < 0.3).double().mean() > 0.9


def test_random_matches_are_expected_by_chance_and_right_ones_are_not():
    assert log_chance("homography", 100, 4, Asked(), (480, 640)) == math.inf
    assert log_chance("homography", 100, 6, Asked(), (480, 640)) > -3
    assert log_chance("homography", 100, 30, Asked(), (480, 640)) < -50
    assert log_chance("fundamental", 100, 14, Asked(), (480, 640)) > -3
    few, many = (log_chance("fundamental", 100, k, Asked(), (480, 640)) for k in (40, 80))
    assert many < few < -3


def test_pairs_within_a_window():
    assert list(pairs_of(4, 1)) == [(0, 1), (1, 2), (2, 3)]
    assert len(list(pairs_of(5, 0))) == 10


def test_the_same_pictures_give_the_same_answer(pictures):
    method = Sift(SiftConfig(n_keypoints=100))
    one, two = seen(method, "a.png"), seen(method, "b.png")
    first, again = match(one, two, Asked()), match(one, two, Asked())
    assert (first.index == again.index).all() and (first.inlier == again.inlier).all()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["a.png"], "wanted two or more"),
        (["a.png", "no.png"], "no.png: does not exist"),
        (["a.png", "b.png", "-o", "m.txt"], ".npz or .csv"),
        (["a.png", "b.png", "c.png"], "-o matches.npz"),
        (["a.png", "b.png", "--method", "hrnet"], "features come from"),
        (["a.png", "b.png", "--ratio", "2"], "ratio=2"),
        (["a.png", "b.png", "--features", "3"], "wanted 8"),
        (["a.png", "b.png", "--draw", "m.gif"], ".png"),
    ],
)
def test_what_cannot_be_is_told(pictures, words, told, capsys):
    assert main(["match", *words]) == 2
    assert told in capsys.readouterr().err


def test_a_method_that_learns_is_named_by_its_run(pictures, capsys):
    """Filters that have learned nothing still find places again; without a run there is nothing to use."""
    assert main(["match", "a.png", "b.png", "--method", "keynet"]) == 2
    assert "asterism train keynet FOLDER" in capsys.readouterr().err
    torch.manual_seed(0)
    method = KeyNet(replace(KeyNet.presets["small"], n_keypoints=600, suppress=5))
    run = Run(pictures / "run")
    run.start({"kind": "train", "method": "keynet"})
    save_weights(run.best, method, None, {})
    words = ["match", "a.png", "b.png", "--method", "run", "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "homography"
    assert main([*words, "--features", "40"]) in (0, 1)
    assert max(json.loads(capsys.readouterr().out)["features"]) <= 40


def test_features_are_trained_from_a_folder_and_have_no_names_to_predict(pictures, capsys):
    assert main(["train", "keynet", str(pictures), "--preset", "tiny", "--steps", "1", "-o", "run"]) == 0
    assert "asterism match A B --method run" in capsys.readouterr().out
    assert main(["predict", "run", "a.png", "-o", "p.csv"]) == 2
    assert "asterism match A B --method" in capsys.readouterr().err and not (pictures / "p.csv").exists()
