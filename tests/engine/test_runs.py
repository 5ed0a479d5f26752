"""Run folders."""

import json

import pytest

from asterism.engine.runs import Run
from asterism.errors import RequestError


def test_a_run_is_started_once(tmp_path):
    run = Run(tmp_path / "a" / "run")
    assert not run.exists()
    run.start({"method": "dot"})
    assert run.exists()
    info = run.info()
    assert info["method"] == "dot"
    assert {"asterism", "torch", "python"} <= set(info["made_with"])
    with pytest.raises(RequestError, match="holds a run already; go on with --resume"):
        run.start({})


def test_other_peoples_folders_are_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(RequestError, match="is not an empty folder"):
        Run(tmp_path).start({})
    with pytest.raises(RequestError, match="is not an empty folder"):
        Run(tmp_path / "thesis.tex").start({})
    with pytest.raises(RequestError, match="cannot be made"):
        Run(tmp_path / "thesis.tex" / "run").start({})


def test_what_is_no_run(tmp_path):
    with pytest.raises(RequestError, match=r"is no run \(no run.json in it\)"):
        Run(tmp_path).info()
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RequestError, match=r"run\.json: is damaged"):
        Run(tmp_path).info()


def test_the_log_survives_a_cut_and_rewinds(tmp_path):
    run = Run(tmp_path)
    for step in range(5):
        run.log({"step": step, "loss": float("nan") if step == 2 else 1.0})
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write('{"step": 5, "lo')
    assert [line["step"] for line in run.lines()] == [0, 1, 2, 3, 4]
    assert next(line for line in run.lines() if line["step"] == 2)["loss"] is None
    run.rewind(3)
    run.log({"step": 4})
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 1, 2, 3, 4]
