"""Measure a run: errors in pixels with confidence intervals, on the pictures it was not trained on.

Without DATA the run's own data are used. On the data it was trained on, only the pictures kept back count,
unless --all is given. Runs without labels are measured as landmarks, by how well a linear map of a few
labelled pictures predicts the annotated points from the found ones.
"""

from dataclasses import dataclass
from typing import Literal

import tyro

from asterism.app import checks, show


@dataclass(frozen=True)
class Args:
    run: tyro.conf.Positional[str]  # the folder that train or discover wrote
    data: tyro.conf.Positional[str | None] = None  # other data than the run's own
    protocol: Literal["strict", "imm"] = "strict"
    """for runs without labels: strict (intercept, cross-validation, intervals) or imm (as in that paper)"""
    all: bool = False  # every picture, also those it was trained on; for runs with labels
    device: str = "auto"  # cpu, cuda, or cuda:1; auto takes a GPU where there is one
    json: bool = False  # print one JSON object


def run(args: Args) -> int:
    folder = checks.existing_run(args.run)
    from asterism.engine.evaluate import evaluate_run

    answer = evaluate_run(folder, args.data, protocol=args.protocol, everything=args.all, device=args.device)
    if args.json:
        print(show.as_json(answer))
    else:  # the whole report of found points is for programs
        print(show.as_lines({name: value for name, value in answer.items() if name != "report"}))
    return 0
