"""The command line as its users meet it: in a process of its own."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from asterism.app import checks, show
from asterism.app.cli import VERBS, main, usage
from asterism.errors import AsterismError, RequestError

VERB_FILES = Path(checks.__file__).parent


def asterism(*words, cwd=None, **environment):
    command = [sys.executable, "-c", "import sys; from asterism.app.cli import main; sys.exit(main())"]
    return subprocess.run(
        [*command, *map(str, words)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "100", **environment},
        timeout=120,
        check=False,
    )


@pytest.fixture
def refused(capsys):
    """Call with a command line: exit code 2, a message with these words, no traceback, nothing printed."""

    def check(line, *words):
        assert main(list(map(str, line))) == 2
        out, err = capsys.readouterr()
        assert out == "" and "Traceback" not in err
        for word in words:
            assert word in err, err

    return check


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """A working folder with nothing in it; afterwards there is still nothing but what the test made."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- help, lists, doctor


def test_help_lists_every_verb_and_needs_no_torch():
    code = (
        "import sys; from asterism.app.cli import main; main(sys.argv[1:]); assert 'torch' not in sys.modules"
    )
    for words in (["--help"], ["methods"], ["methods", "--json"], ["train", "--help"], ["--version"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert all(f"\n  {verb} " in usage() for verb in VERBS)


def test_no_words_is_a_wrong_request():
    done = asterism()
    assert done.returncode == 2 and "verbs:" in done.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb, capsys):
    assert main([verb, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"usage: asterism {verb}" in shown and "--json" in shown


def test_methods_as_a_table_and_as_json(capsys):
    assert main(["methods", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["methods"]
    assert {"name", "family", "paper", "takes", "gives", "learns_from"} <= set(rows[0])
    assert main(["methods"]) == 0
    table = capsys.readouterr().out
    assert all(row["name"] in table for row in rows)


def test_info_counts_the_hourglass(capsys):
    assert main(["info", "stacked-hourglass", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    wanted = {"name", "family", "paper", "takes", "gives", "learns_from", "parameters", "macs"}
    assert wanted <= set(told) and told["family"] == "pose2d"
    assert told["parameters"] > told["presets"]["small"]["parameters"] > 0
    assert told["macs"] > told["presets"]["small"]["macs"] > 0


def test_doctor_says_that_this_machine_works(capsys):
    assert main(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["works"] is True
    assert {"python", "torch", "numpy", "av"} <= {f["what"] for f in told["findings"]}


def test_doctor_names_a_broken_torchvision_and_works_all_the_same(tmp_path):
    (tmp_path / "torchvision").mkdir()
    text = "raise RuntimeError('operator torchvision::nms does not exist')"
    (tmp_path / "torchvision" / "__init__.py").write_text(text)
    done = asterism("doctor", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stdout
    assert "torchvision::nms" in done.stdout and "pip uninstall torchvision" in done.stdout
    done = asterism("info", "stacked-hourglass", "--json", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0 and json.loads(done.stdout)["parameters"] > 0


# --- speed


def seconds(code, *words):
    """The best of five: what the machine's other work adds is not ours."""
    taken = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code, *words], capture_output=True, check=True)
        taken.append(time.perf_counter() - start)
    return min(taken)


@pytest.mark.parametrize("words", [["--help"], ["methods"]])
def test_help_and_methods_answer_at_once(words):
    taken = seconds("import sys; from asterism.app.cli import main; main(sys.argv[1:])", *words)
    noise = seconds("import json, ast, dataclasses") / 0.04  # 0.04 s on a quiet machine
    assert taken < 0.3 * max(1.0, noise)


def test_importing_the_package_costs_next_to_nothing():
    code = "import time; t = time.perf_counter(); import asterism; print(time.perf_counter() - t)"
    taken = min(float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(3))
    assert taken < 0.15


# --- requests that cannot be met


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tran"], ["no verb", "'tran'", "train"]),
        (["info", "stacked-hourglas"], ["no method", "stacked-hourglass"]),
        (["methods", "--jsn"], ["--jsn", "--json"]),
        (["train"], ["METHOD"]),
        (["train", "hourglass", "data"], ["no method", "stacked-hourglass"]),
        (["train", "stacked-hourglass", "data", "--minutes", "0"], ["--minutes"]),
        (["train", "stacked-hourglass", "data", "--minutes", "nan"], ["--minutes", "nan"]),
        (["train", "stacked-hourglass", "data", "--steps", "-3"], ["--steps"]),
        (["train", "stacked-hourglass", "data", "--steps", "1.5"], ["--steps"]),
        (["train", "stacked-hourglass", "data", "--steps", "5", "--minutes", "1"], ["--steps", "--minutes"]),
        (["train", "stacked-hourglass", "data", "--seed", "-1"], ["--seed"]),
        (["train", "stacked-hourglass", "data", "--resume"], ["--resume", "-o"]),
        (["train", "stacked-hourglass", "nowhere", "-o", "run"], ["nowhere"]),
        (["train", "stacked-hourglass", "world:nothing", "-o", "run"], ["nothing"]),
        (["train", "stacked-hourglass", "world:figures", "-o", "run", "--preset", "huge"], ["huge", "small"]),
        (["discover", "clip.mp4", "-k", "0"], ["-k", "0"]),
        (["discover", "clip.mp4", "-k", "-2"], ["-k"]),
        (["discover", "clip.mp4", "-k", "nan"], ["-k"]),
        (["discover", "clip.mp4", "-k", "100000"], ["-k", "256"]),
        (["discover", "clip.mp4", "-k", "8", "--minutes", "inf"], ["--minutes"]),
        (
            ["discover", "clip.mp4", "-k", "8", "--method", "stacked-hourglass"],
            ["stacked-hourglass", "labels"],
        ),
        (["discover", "clip.mp4", "-k", "8"], ["clip.mp4"]),
        (["evaluate", "nowhere"], ["nowhere", "asterism train"]),
        (["predict", "nowhere", "a.png", "-o", "points.csv"], ["nowhere"]),
        (["demo", "--minutes", "-1"], ["--minutes"]),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_written(words, said, empty, refused):
    refused(words, *said)
    assert list(empty.iterdir()) == []


def test_a_process_ends_with_the_exit_code_and_no_traceback(empty):
    (empty / "none").mkdir()
    done = asterism("discover", "none", "-k", "4", "-o", "run", cwd=empty)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("asterism: ") and "none" in done.stderr and "Traceback" not in done.stderr


def test_a_folder_without_pictures(empty, refused):
    (empty / "none").mkdir()
    refused(["discover", "none", "-k", "4", "-o", "run"], "none")
    refused(["train", "stacked-hourglass", "none", "-o", "run"], "none")
    assert not (empty / "run").exists()


def test_a_file_that_is_no_picture(empty, refused):
    (empty / "pictures").mkdir()
    for name in "acd":
        Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(empty / "pictures" / f"{name}.png")
    (empty / "pictures" / "b.png").write_bytes(b"not a picture at all")
    refused(["discover", "pictures", "-k", "4", "-o", "run"], "b.png")
    assert not (empty / "run").exists()


def test_a_clip_without_frames(empty, refused):
    (empty / "clip.mp4").write_bytes(b"")
    refused(["discover", "clip.mp4", "-k", "4", "-o", "run"], "clip.mp4")
    assert not (empty / "run").exists()


def coco(folder, **change):
    """A COCO file with one picture and one annotation, changed as asked."""
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(folder / "a.png")
    annotation = {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "keypoints": [5, 5, 2, 20, 20, 2],
        "num_keypoints": 2,
        "bbox": [2, 2, 25, 25],
        "area": 400,
        **change,
    }
    file = {
        "images": [{"id": 1, "file_name": "a.png", "width": 32, "height": 32}],
        "annotations": [annotation],
        "categories": [{"id": 1, "name": "thing", "keypoints": ["left", "right"], "skeleton": [[1, 2]]}],
    }
    (folder / "labels.json").write_text(json.dumps(file))


@pytest.mark.parametrize(
    ("change", "field"),
    [({"keypoints": [5, 5, 2]}, "keypoints"), ({"keypoints": [float("nan"), 5, 2, 1, 1, 2]}, "keypoints")],
)
def test_labels_that_do_not_fit(change, field, empty, refused):
    coco(empty, **change)
    refused(["train", "stacked-hourglass", "labels.json", "-o", "run"], "labels.json", field)
    assert not (empty / "run").exists()


# --- where runs may be written


def test_a_run_is_never_overwritten(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(RequestError, match="--resume"):
        checks.new_run(tmp_path, "x")
    assert checks.new_run(tmp_path, "x", resume=True) == tmp_path


def test_other_peoples_files_are_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(RequestError, match="other files"):
        checks.new_run(tmp_path, "x")
    with pytest.raises(RequestError, match="a file"):
        checks.new_run(tmp_path / "thesis.tex", "x")
    with pytest.raises(RequestError, match="is a file, not a folder"):
        checks.new_run(tmp_path / "thesis.tex" / "run", "x")


def test_where_points_and_pictures_may_be_written(empty):
    (empty / "taken").write_text("x")
    checks.new_file("-o", empty / "points.csv")
    checks.new_folder("--draw", empty / "deep" / "pictures")
    with pytest.raises(RequestError, match="there is no folder none"):
        checks.new_file("-o", Path("none") / "points.csv")
    with pytest.raises(RequestError, match="this is a folder"):
        checks.new_file("-o", empty)
    with pytest.raises(RequestError, match="this is a file; name a folder"):
        checks.new_folder("--draw", empty / "taken")
    assert sorted(p.name for p in empty.iterdir()) == ["taken"]


def test_predictions_are_drawn_only_when_asked(empty, capsys):
    coco(empty)
    for name in ("a.png", "b.png"):
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)).save(empty / name)
    twice = json.loads((empty / "labels.json").read_text())
    twice["images"].append({**twice["images"][0], "id": 2, "file_name": "b.png"})
    twice["annotations"].append({**twice["annotations"][0], "id": 2, "image_id": 2})
    (empty / "labels.json").write_text(json.dumps(twice))
    line = ["train", "stacked-hourglass", "labels.json", "-o", "run", "--preset", "tiny", "--steps", "1"]
    assert main([*line, "--device", "cpu"]) == 0
    assert main(["predict", "run", "a.png", "-o", "points.csv", "--device", "cpu"]) == 0
    assert sorted(p.name for p in empty.iterdir()) == ["a.png", "b.png", "labels.json", "points.csv", "run"]
    capsys.readouterr()
    asked = ["--draw", "drawn", "--json", "--device", "cpu"]
    assert main(["predict", "run", "a.png", "-o", "points.csv", *asked]) == 0
    assert json.loads(capsys.readouterr().out)["drawn"] == [str(Path("drawn") / "a.png")]
    assert [p.name for p in (empty / "drawn").iterdir()] == ["a.png"]


def test_the_first_free_name_is_taken(empty):
    assert checks.new_run(None, "mouse") == Path("runs/mouse")
    (empty / "runs" / "mouse").mkdir(parents=True)
    assert checks.new_run(None, "mouse") == Path("runs/mouse-2")


# --- how errors leave the command


@pytest.mark.parametrize(
    ("error", "code"), [(RequestError("a"), 2), (AsterismError("a"), 1), (OSError("a"), 1)]
)
def test_exit_codes(error, code, monkeypatch, capsys):
    def fail(_):
        raise error

    monkeypatch.setattr("asterism.app.methods.run", fail)
    assert main(["methods"]) == code
    assert capsys.readouterr().err == "asterism: a\n"
    with pytest.raises(type(error)):
        main(["methods", "--traceback"])


def test_an_interrupt_is_130(monkeypatch):
    def stop(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("asterism.app.methods.run", stop)
    assert main(["methods"]) == 130


def test_json_has_no_nan_and_knows_numpy():
    told = json.loads(
        show.as_json({"a": float("nan"), "b": np.float32(2), "c": np.arange(2), "d": {"e": Path("x")}})
    )
    assert told == {"a": None, "b": 2.0, "c": [0, 1], "d": {"e": "x"}}


def test_tables_wrap_their_last_column(monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    lines = show.as_table(("a", "words"), [("x", "one two three " * 8)]).splitlines()
    assert len(lines) > 3 and all(len(line) <= 50 for line in lines)
    assert lines[2].startswith("   ")


def test_letters_a_terminal_does_not_have_do_not_stop_the_command():
    assert asterism("methods", PYTHONIOENCODING="ascii").returncode == 0
    assert asterism("train", "--help", PYTHONIOENCODING="ascii").returncode == 0
