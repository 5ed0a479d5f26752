"""Landmarks without labels, measured: python bench/landmarks.py table [--seeds 0 1 2] [--minutes M].

table      every method on generated animals, one background and one kind of frame, beside the controls
Minutes are minutes of processor time on one thread, so that what else the machine does changes little; run
each with OMP_NUM_THREADS=1. A run that is there already is not trained again.
Beside it: landmark_labels.py (error against the number of labels), landmark_faces.py (face crops and their
mirror images), landmark_losses.py (imm under each of its costs), landmark_audit.py (the rules of papers).
"""

import argparse
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import record
import torch

import asterism.engine.loop
from asterism.engine.compare import compare

OURS = "video-difference"
METHODS = (
    OURS,
    *("bkind", "imm", "transporter", "structural-landmarks", "self-training-corr", "shape-templates"),
    "fse-landmarks",
)
WORLD = "world:creatures?n=600&clips=4&background={background}&seed={seed}"
HERE = Path(__file__).parent


def processor_minutes() -> None:
    """Trainings are timed by the processor's clock of this process."""
    torch.set_num_threads(1)
    asterism.engine.loop.time = SimpleNamespace(monotonic=time.process_time)  # type: ignore[assignment]


def table(args: argparse.Namespace) -> None:
    """One comparison per call; bench/landmarks_table.json keeps those of other backgrounds and frames."""
    data = WORLD.format(background=args.background, seed=args.world)
    place = args.out / f"table-{args.background}-{args.frame}-{args.world}"
    methods = args.methods or METHODS
    done = compare(
        data,
        methods,
        place,
        minutes=args.minutes,
        k=args.k,
        seeds=args.seeds,
        frame=args.frame,
        device="cpu",
    )
    part = f"{args.background}, {args.frame}, world {args.world}"
    answer = {"rows": with_earlier(part, done.answer), "protocol": done.answer["protocol"]}
    answer["sentences"] = done.answer["sentences"]
    merge("landmarks_table", part, answer, args.seeds)
    print(as_text(answer["rows"]))


def with_earlier(part: str, answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of this time, and those of methods that were measured before for the same time: a table may be
    filled method by method, each row with its own seeds."""
    path = HERE / "landmarks_table.json"
    before = json.loads(path.read_text())["figures"].get(part) if path.exists() else None
    if before is None or before["protocol"].get("minutes") != answer["protocol"]["minutes"]:
        return answer["rows"]
    if before["protocol"]["fingerprint"] != answer["protocol"]["fingerprint"]:
        return answer["rows"]
    new = {row["name"] for row in answer["rows"]}
    rows = [*answer["rows"], *(row for row in before["rows"] if row["name"] not in new)]
    return sorted(rows, key=lambda row: (row["kind"] != "method", row["name"] != OURS, row["name"]))


def merge(name: str, part: str, figures: dict[str, Any], seeds: list[int], note: str = "") -> None:
    """Parts of one file are measured one at a time, each with its own date and commit."""
    path = HERE / f"{name}.json"
    before = json.loads(path.read_text())["figures"] if path.exists() else {}
    about = {"commit": record.commit(), "seeds": seeds, "command": record.command()}
    record.write(name, {**before, part: {**about, **figures}}, seeds=seeds, note=note, quiet=True)


def as_text(rows: list[dict[str, Any]]) -> str:
    lines = [f"{'':34s}{'forward':>16s}{'rotated':>16s}{'dead':>6s}{'on':>7s}{'equiv':>8s}"]
    for row in rows:
        cells = [_error(row["forward"]), _error(row["rotated"])]
        numbers = [_number(row[key], form) for key, form in (("dead", ".1f"), ("on_object", ".0%"))]
        lines.append(
            f"{row['name']:34s}{cells[0]:>16s}{cells[1]:>16s}{numbers[0]:>6s}{numbers[1]:>7s}"
            f"{_number(row['equivariance_error'], '.2%'):>8s}  {row['remark']}"
        )
    return "\n".join(lines)


def _error(error: dict[str, Any] | None) -> str:
    if error is None:
        return "-"
    spread = "" if error["sd"] is None else f" +- {error['sd']:.2f}"
    return f"{error['mean_px']:.2f}{spread}"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    named = {"table": table}
    parser.add_argument("name", choices=named)
    parser.add_argument("--background", default="textured", choices=("still", "textured", "moving"))
    parser.add_argument("--frame", default="auto", choices=("auto", "whole", "moments"))
    parser.add_argument("--world", type=int, default=5, help="seed of the generated animals")
    parser.add_argument("--methods", nargs="+")
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, default=Path("runs/landmarks"))
    args = parser.parse_args()
    processor_minutes()
    named[args.name](args)


if __name__ == "__main__":
    main()
