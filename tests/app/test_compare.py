"""The verbs compare and evaluate --protocol as they are typed: what is printed, written and refused."""

import contextlib
import csv
import functools
import io
import json
import typing

import pytest

from asterism.app import evaluate
from asterism.app.cli import main
from asterism.data.sources import open_data
from asterism.engine import compare as comparing
from asterism.metrics.protocols import PROTOCOLS

WORLD = "world:creatures?clips=1&n=16&size=48&background=textured&seed=3"
LINE = ["compare", WORLD, "--methods", "video-difference", "--preset", "tiny", "-k", "3", "--device", "cpu"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A comparison whose training lasts a moment, and what was printed; the world is looked at once."""
    folder, printed = tmp_path_factory.mktemp("verb") / "out", io.StringIO()
    images = open_data(WORLD)
    with pytest.MonkeyPatch.context() as patch:
        real, look = comparing.train, functools.cache(comparing.arena_of)
        patch.setattr(comparing, "train", lambda *a, **o: real(*a, **{**o, "minutes": 1e-3}))
        patch.setattr(comparing, "arena_of", lambda _, *rest: look(images, *rest))
        with contextlib.redirect_stdout(printed):
            assert main([*LINE, "--minutes", "0.00001", "-o", str(folder)]) == 0
        yield folder, printed.getvalue()


def test_what_is_written_is_whole(made):
    made, _ = made
    names = {"compare.csv", "compare.json", "points.png", "report.html", "video-difference-s0"}
    assert {path.name for path in made.iterdir()} == names
    answer = json.loads((made / "compare.json").read_text())
    with open(made / "compare.csv", newline="") as file:
        assert [line["name"] for line in csv.DictReader(file)] == [row["name"] for row in answer["rows"]]
    page = (made / "report.html").read_text()
    assert page.count("<tr") == 1 + len(answer["rows"]) and "points.png" in page
    assert answer["sentences"][0].split(":")[0] in page


def test_it_prints_the_table_or_json(made, capsys):
    folder, printed = made
    for word in ("error px", "video-difference", "mean shape in the frame", "blob", "written:", "Controls"):
        assert word in printed
    assert main([*LINE, "--minutes", "0.00001", "-o", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["name"] == "video-difference"


def test_every_rule_can_be_asked_for(made, capsys):
    wanted = typing.get_args(typing.get_type_hints(evaluate.Args)["protocol"])
    assert set(wanted) == {"all", *PROTOCOLS}
    assert (
        main(["evaluate", str(made[0] / "video-difference-s0"), "--protocol", "all", "--device", "cpu"]) == 0
    )
    shown = capsys.readouterr().out
    for name in PROTOCOLS:
        assert f"\n{name} " in shown
    assert "points and a ring" in shown and "FLATTERS" in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--methods", "nothing"], ["no method", "nothing"]),
        (["--methods", ","], ["--methods"]),
        (["--minutes", "0"], ["--minutes"]),
        (["-k", "0"], ["-k"]),
        (["--seeds", "0", "0"], ["each of them once"]),
        (["--seeds", "-1"], ["--seed"]),
        (["--preset", "huge"], ["--preset huge"]),
        (["--objects", "0"], ["--objects"]),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_written(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line = {"--methods": ["video-difference"], "--minutes": ["1"]} | {words[0]: words[1:]}
    assert main(["compare", WORLD, *(w for option, v in line.items() for w in (option, *v))]) == 2
    told = capsys.readouterr().err
    assert all(word in told for word in said), told
    assert list(tmp_path.iterdir()) == []
