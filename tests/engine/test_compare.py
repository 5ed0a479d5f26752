"""A comparison from end to end on tiny budgets: rows, controls, resuming, failures, and what is said."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from asterism.data.sources import open_data
from asterism.engine import compare as comparing
from asterism.engine import evaluate, lesson, predict_files, scoreboard
from asterism.engine.arena import measure
from asterism.engine.compare import compare
from asterism.engine.controls import SIZE, Blob, BlobInFrame, Box, ForegroundConfig, ring
from asterism.engine.runs import Run
from asterism.engine.scoreboard import (
    COLUMNS,
    Entrant,
    Measured,
    as_csv,
    behind,
    forward_sums,
    row_of,
    verdict,
)
from asterism.errors import RequestError
from asterism.metrics.landmarks import Answers
from asterism.types import Images

WORLD = "world:creatures?clips=1&n=24&size=48&background=textured&seed=3"
NAMES = ("video-difference", "stacked-hourglass")
TINY = {"steps": 2, "k": 3, "preset": "tiny", "device": "cpu"}
CONTROLS = ["mean shape", "mean shape in the frame", "untrained video-difference", "blob", "bounding box"]


@pytest.fixture(scope="module", autouse=True)
def looked_once():
    """Every comparison on the world looks at it through one arena: that is most of the time."""
    real, held = comparing.arena_of, {}

    def arena(images, frame, objects, device):
        if images.title != open_data(WORLD).title:
            return real(images, frame, objects, device)
        if (frame, objects) not in held:
            held[frame, objects] = real(images, frame, objects, device)
        return held[frame, objects]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparing, "arena_of", arena)
        yield arena


@pytest.fixture(scope="module")
def compared(tmp_path_factory, looked_once):
    folder = tmp_path_factory.mktemp("compare") / "out"
    return folder, compare(WORLD, NAMES, folder, **TINY)


def rows_of(answer):
    return {row["name"]: row for row in answer["rows"]}


# ------------------------------------------------------------------------------------------- from end to end


def test_one_row_per_method_and_the_controls(compared):
    _, comparison = compared
    rows = comparison.answer["rows"]
    assert [row["name"] for row in rows] == [*NAMES, *CONTROLS]
    assert [row["kind"] for row in rows] == ["method"] * 2 + ["control"] * 5
    by_name = rows_of(comparison.answer)
    assert by_name["video-difference"]["learns_from"] == "no labels"
    assert by_name["stacked-hourglass"]["learns_from"] == "labels"
    for row in rows:
        for part in ("forward", "rotated"):
            low, high = row[part]["ci95"]
            assert low <= row[part]["mean_px"] <= high
            assert row[part]["sd"] is None
        assert (row["equivariance_error"] is None) == (row["name"] == "mean shape")
    assert by_name["stacked-hourglass"]["points"] == 14 and by_name["video-difference"]["points"] == 3
    assert by_name["mean shape in the frame"]["dead"] == 14  # they never move
    assert by_name["video-difference"]["parameters"] > 1000 and by_name["video-difference"]["steps"] == 2
    assert 0 <= by_name["blob"]["on_object"] <= 1


def test_the_files_are_well_formed_and_say_the_same(compared):
    folder, comparison = compared
    answer = json.loads((folder / "compare.json").read_text())
    assert answer == json.loads(json.dumps(comparison.answer))
    lines = list(csv.DictReader(io.StringIO((folder / "compare.csv").read_text())))
    assert [line["name"] for line in lines] == [row["name"] for row in answer["rows"]]
    assert tuple(lines[0]) == COLUMNS
    for line, row in zip(lines, answer["rows"]):
        assert float(line["forward_px"]) == row["forward"]["mean_px"]
        assert float(line["rotated_low"]) == row["rotated"]["ci95"][0]
        assert line["equivariance_error"] == "" or float(line["equivariance_error"]) >= 0
    assert answer["protocol"]["train_pictures"] + answer["protocol"]["test_pictures"] == 24
    assert "One seed" in " ".join(answer["sentences"])


def test_the_runs_are_runs_like_any_other(compared, tmp_path, monkeypatch):
    folder, comparison = compared
    for module in (evaluate, predict_files):  # pictures that are painted already
        monkeypatch.setattr(module, "open_data", lambda _: comparison.images)
    rows = rows_of(comparison.answer)
    test = Run(folder / "video-difference-s0").info()["split"]["test"]
    for name in NAMES:
        assert Run(folder / f"{name}-s0").info()["split"]["test"] == test  # one split for all
    told = evaluate.evaluate_run(folder / "video-difference-s0", device="cpu")
    assert told["test_pictures"] == len(test) and "warning" not in told
    row = rows["video-difference"]  # the head's folds are dealt otherwise; the points are the same
    assert told["health"]["equivariance_error"] == pytest.approx(row["equivariance_error"], rel=1e-3)
    done = predict_files.predict_to(
        folder / "stacked-hourglass-s0", [WORLD], tmp_path / "points.csv", device="cpu"
    )
    assert done["points"] == 14


def test_what_is_there_is_not_trained_again(compared, monkeypatch):
    folder, comparison = compared

    def trained(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(comparing, "train", trained)
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/best/*")}
    again = compare(WORLD, NAMES, folder, **TINY)
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/best/*")} == before and before
    old, new = rows_of(comparison.answer), rows_of(again.answer)
    for name in NAMES:
        assert new[name]["remark"] == "" and new[name]["forward"] == old[name]["forward"]


def test_another_request_does_not_mix_with_what_is_there(compared):
    folder, _ = compared
    with pytest.raises(RequestError, match=r"video-difference-s0: was made otherwise \(config\)"):
        compare(WORLD, NAMES, folder, **{**TINY, "k": 4})
    with pytest.raises(RequestError, match=r"was made otherwise \(steps\)"):
        compare(WORLD, NAMES, folder, **{**TINY, "steps": 3})


def test_an_interrupted_run_goes_on(tmp_path, monkeypatch):
    real, begun = comparing.train, []

    def stopped(method, samples, run, **options):
        begun.append(options["resume"])
        if len(begun) == 1:
            real(method, samples, run, **{**options, "steps": 1})
            raise KeyboardInterrupt
        return real(method, samples, run, **options)

    monkeypatch.setattr(comparing, "train", stopped)
    with pytest.raises(KeyboardInterrupt):
        compare(WORLD, NAMES[:1], tmp_path, **TINY)
    done = compare(WORLD, NAMES[:1], tmp_path, **TINY)
    assert begun == [False, True]
    assert next(Run(tmp_path / "video-difference-s0").lines())["step"] == 1
    assert rows_of(done.answer)["video-difference"]["steps"] == 2


def test_a_method_that_fails_is_a_row_with_the_reason(labelled, tmp_path, monkeypatch):
    free = lesson.method_class("free")

    def explode(self, batch):
        raise ArithmeticError("the numbers are gone")

    monkeypatch.setattr(free, "loss", explode)
    monkeypatch.setattr(comparing, "entry", lambda name: type("", (), {"learns_from": "Images"}))
    answer = compare(labelled, ["free", "dot"], tmp_path / "out", steps=2, seeds=(0, 1), device="cpu").answer
    rows = rows_of(answer)
    assert "ArithmeticError: the numbers are gone" in rows["free"]["remark"]
    assert rows["free"]["forward"] is None and rows["free"]["seeds"] == []
    assert rows["dot"]["seeds"] == [0, 1] and rows["dot"]["remark"] == ""
    assert rows["dot"]["forward"]["sd"] > 0 and len(rows["dot"]["forward"]["each"]) == 2
    assert np.mean(rows["dot"]["forward"]["each"]) == pytest.approx(rows["dot"]["forward"]["mean_px"])
    assert any("free: seed 0 failed" in sentence for sentence in answer["sentences"])
    assert rows["bounding box" if "bounding box" in rows else "labelled box"]["forward"]["mean_px"] >= 0


def test_without_labels_only_what_needs_none_is_told(tmp_path, labelled):
    pictures = str(tmp_path / "set")
    answer = compare(pictures, ["fse-landmarks", "stacked-hourglass"], tmp_path / "out", **TINY).answer
    rows = rows_of(answer)
    assert all(row["forward"] is None and row["rotated"] is None for row in rows.values())
    assert rows["fse-landmarks"]["equivariance_error"] > 0
    assert "learns from labels" in rows["stacked-hourglass"]["remark"]
    assert {"ring that never moves", "untrained fse-landmarks"} <= set(rows)
    assert "no labels, so the table has only" in " ".join(answer["sentences"])


@pytest.mark.parametrize(
    ("methods", "options", "words"),
    [
        (["video-diference"], {}, "no method is called"),
        (["video-difference", "video-difference"], {}, "each of them once"),
        (["video-difference"], {"seeds": ()}, "at least one"),
        (["video-difference"], {"minutes": 1}, "one of them"),
        (["video-difference"], {"preset": "huge"}, "--preset huge"),
    ],
)
def test_wrong_requests_write_nothing(methods, options, words, tmp_path):
    with pytest.raises(RequestError, match=words):
        compare(WORLD, methods, tmp_path / "out", **{**TINY, **options})
    assert not (tmp_path / "out").exists()


# -------------------------------------------------------------------------------------------------- controls


def test_blob_and_box_of_a_bar():
    """A bar of 20 x 4 pixels along x: variances of a row of n pixels are (n^2 - 1) / 12."""
    import torch

    change = torch.zeros(1, 1, 64, 64)
    change[..., 30:34, 20:40] = 1
    image = torch.zeros(1, 3, 64, 64)
    batch = Images(image=image, to_source=torch.eye(2, 3)[None], change=change)
    config = ForegroundConfig(level=0.5)
    along, across = 2 * np.sqrt((20**2 - 1) / 12), 2 * np.sqrt((4**2 - 1) / 12)
    wanted = np.array([29.5, 31.5]) + [[0, 0], [along, 0], [-along, 0], [0, across], [0, -across]]
    np.testing.assert_allclose(BlobInFrame(config).predict(batch).xy[0].numpy(), wanted, atol=1e-4)
    change[..., 26:38, 20:24] = 1  # a heavy end: the thin one is where the third moment points
    ends = Blob(config).predict(batch).xy[0].numpy()
    assert ends[1, 0] > ends[0, 0] > ends[2, 0]
    box = Box(config).predict(batch).xy[0].numpy()
    np.testing.assert_allclose(box[[0, 2, 4, 6]], [[20, 26], [39, 26], [39, 37], [20, 37]])
    empty = Images(image=image, to_source=batch.to_source, change=torch.zeros(1, 1, 64, 64))
    assert (Box(config).predict(empty).xy == 31.5).all()


def test_a_ring_is_no_steadier_than_points_that_never_move(looked_once):
    arena = looked_once(open_data(WORLD), "auto", None, "cpu")
    health = measure(ring(), arena).health
    assert health["equivariance_error"] == pytest.approx(
        health["equivariance_error_of_fixed_points"], rel=1e-4
    )
    assert health["dead"] == 8 and arena.view.size == SIZE


# ----------------------------------------------------------------------------------------- rows and sentences


def entrant(name, kind, errors, learns="no labels"):
    """One seed per row of `errors`, one test picture per column, one point each."""
    answers = [Answers(e[:, None], np.ones((len(e), 1), bool), None, None, "ridge", 1.0) for e in errors]
    measured = tuple(Measured(answers=a) for a in answers)
    return Entrant(
        name=name, kind=kind, learns_from=learns, seeds=tuple(range(len(errors))), measured=measured
    )


TESTED = scoreboard.Tested(image=np.arange(40), turned=np.arange(0), size=np.full(40, 50.0))


def test_intervals_are_over_pictures_and_spread_is_over_seeds():
    errors = np.stack([np.full(40, 2.0), np.full(40, 4.0)])
    row = row_of(entrant("a", "method", errors), TESTED)
    assert row["forward"] == {
        "mean_px": 3.0,
        "ci95": [3.0, 3.0],  # every picture is alike
        "sd": pytest.approx(np.sqrt(2)),
        "each": [2.0, 4.0],
        "share": pytest.approx(0.06),
    }
    assert row["rotated"] is None
    assert as_csv([row]).splitlines()[1].startswith("a,method,no labels,0 1,3.0,3.0,3.0,1.41")


def test_differences_are_between_the_same_pictures():
    hard = np.linspace(1, 40, 40)[None]  # pictures differ widely, the two by one pixel always
    one, other = entrant("one", "method", hard + 1), entrant("other", "method", hard)
    gap, (low, high) = behind(forward_sums(one, TESTED), forward_sums(other, TESTED))
    assert gap == low == high == pytest.approx(1.0)


def test_the_words_name_the_best_and_shout_when_a_control_wins():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1, (1, 40))
    good, bad = entrant("good", "method", 2 + noise), entrant("bad", "method", 6 + noise)
    mean, labelled = (
        entrant("mean shape", "control", 4 + noise, ""),
        entrant("net", "method", 1 + noise, "labels"),
    )
    told = " ".join(verdict([good, bad, mean], TESTED))
    assert "good is best: 1.99 px" in told and "The best control, mean shape, errs by" in told
    assert "No better than the best control: bad." in told and "CONTROL WINS" not in told
    assert "A CONTROL WINS: mean shape" in " ".join(verdict([bad, mean], TESTED))
    close = entrant("close", "method", 4.05 + np.resize([1.0, -1.0], (1, 40)))
    assert "A CONTROL IS AS GOOD" in " ".join(verdict([close, mean], TESTED))
    both = " ".join(verdict([good, labelled, mean], TESTED))
    assert "net is best: 0.99 px" in both and "good is best among those that learned without labels" in both
    sick = tuple(replace(m, health={"points": 8, "healthy": 1, "dead": 0}) for m in good.measured)
    told = verdict([replace(good, measured=sick), mean], TESTED)[0]
    assert "BUT 1 of its 8 points are healthy" in told and "costs 1.0 px" in told
    failed = Entrant(name="x", kind="method", learns_from="labels", seeds=(), measured=(), remark="no")
    assert "No method could be trained" in verdict([failed, mean], TESTED)[0]


def test_methods_that_find_several_people_are_refused(tmp_path):
    with pytest.raises(RequestError, match="openpose finds several people in one look"):
        compare(WORLD, ["openpose"], tmp_path / "new", **TINY)
