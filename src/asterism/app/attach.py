"""Give discovered points your own names: learn from 5 to 50 labelled pictures on top of a run of discover.

FILE holds labels of pictures of the run's own data: DeepLabCut's csv, the plain csv, or COCO's json. The ways
to answer each point (its usual place in the object's frame, linear heads on the discovered points, detectors
that look at the picture) are compared on labelled pictures that were held out, and the best is kept. What it
prints is the error to expect. The result is a run like any other: predict and evaluate take it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from asterism.app import checks, show
from asterism.errors import RequestError


@dataclass(frozen=True)
class Args:
    run: tyro.conf.Positional[str]  # the folder that discover wrote
    labels: Annotated[str, tyro.conf.arg(metavar="FILE")]
    """labelled pictures: .csv (plain or DeepLabCut's), COCO's .json, or a DeepLabCut folder"""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="RUN2")] = None
    """the run folder to write; without it runs/NAME-named"""
    data: str | None = None  # the pictures the labels are of, where they are not the run's own
    minutes: float = 3.0  # how long detectors may learn; 0 leaves them out and takes seconds
    seed: int = 0  # deals the pictures that are held out, and starts the detectors
    device: str = "auto"  # cpu, cuda, or cuda:1; auto takes a GPU where there is one
    json: bool = False  # print the report as one JSON object


def run(args: Args) -> int:
    folder = checks.existing_run(args.run)
    if args.minutes != 0:
        checks.positive("--minutes", args.minutes)
    checks.seed(args.seed)
    if not Path(args.labels).exists():
        raise RequestError(
            f"--labels {args.labels}: there is no such file; wanted labelled pictures in a .csv or .json"
        )
    output = checks.new_run(args.output, f"{folder.name}-named")
    from asterism.engine.attach import attach

    report = attach(
        folder,
        args.labels,
        output,
        data=args.data,
        minutes=args.minutes,
        seed=args.seed,
        device=args.device,
    )
    if args.json:
        print(show.as_json(report))
    else:
        print(show.as_report(report, [output / "report.json"]))
        print(f"\nnext: asterism predict {output} PICTURES -o points.csv --draw pictures")
    return 0
