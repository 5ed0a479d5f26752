"""Measure a run: errors in pixels with confidence intervals, on the pictures it was not trained on.

Without DATA the run's own data are used. On the data it was trained on, only the pictures kept back count,
unless --all is given. Runs without labels are measured as landmarks, by how well a linear map of a few
labelled pictures predicts the annotated points from the found ones.

--protocol all tells what the same points are worth under the rules of seven papers, beside points that never
move and an untrained network: which rule flatters whom. docs/protocols.md explains the rules.
"""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import tyro

from asterism.app import checks, show


@dataclass(frozen=True)
class Args:
    run: tyro.conf.Positional[str]  # the folder that train or discover wrote
    data: tyro.conf.Positional[str | None] = None  # other data than the run's own
    protocol: Literal[
        "strict", "imm", "zhang", "autolink", "autolink-h36m", "bkind-h36m", "mallis", "dve", "all"
    ] = "strict"
    """for runs without labels: strict (intercept, cross-validation, intervals), a paper's rule, or all"""
    all: bool = False  # every picture, also those it was trained on; for runs with labels
    flip: bool = False  # look at the mirrored pictures, too; for runs with labels and heatmaps
    device: str = "auto"  # cpu, cuda, or cuda:1; auto takes a GPU where there is one
    json: bool = False  # print one JSON object


def run(args: Args) -> int:
    folder = checks.existing_run(args.run)
    from asterism.engine.evaluate import evaluate_run

    answer = evaluate_run(
        folder,
        args.data,
        protocol=args.protocol,
        everything=args.all,
        device=args.device,
        flip=args.flip,
    )
    if args.json:
        print(show.as_json(answer))
    elif "audit" in answer:
        print(_as_audit(answer))
    else:  # the whole report of found points is for programs
        print(show.as_lines({name: value for name, value in answer.items() if name != "report"}))
    return 0


def _as_audit(answer: Mapping[str, Any]) -> str:
    """A row per rule, a column per set of points: mean error as a share of the object."""
    sets = list(dict.fromkeys(row["points"] for row in answer["audit"]))
    cells = {(row["protocol"], row["points"]): row for row in answer["audit"]}
    rows = []
    for name, rule in answer["rules"].items():
        own = cells[name, "points"]
        back = "" if own["backward"] is None else f"; backward {own['backward']:.1%}"
        rows.append((name, *(_share(cells[name, one]) for one in sets), rule["rule"] + back))
    parts = [
        f"{key}: {answer[key]}" for key in ("run", "data", "method", "frame", "warning") if key in answer
    ]
    told = [textwrap.fill(sentence, 110) for sentence in answer["sentences"]]
    table = show.as_table(("rule", *sets, "what it says"), rows)
    unit = "Mean error of the test pictures, as a share of the object's size (of the picture's, marked *)."
    return "\n".join([*parts, "", table, "", unit, *told])


def _share(row: Mapping[str, Any]) -> str:
    return f"{row['side']:.2%}*" if row["relative"] is None else f"{row['relative']:.2%}"
