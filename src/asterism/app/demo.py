"""The main job on a generated clip: find keypoints on a creature that nobody has labelled.

No network, no files: the clip is generated. It takes a few minutes on two cores and writes keypoints,
pictures and a report.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from asterism.app import checks, show

_CLIP = "world:demo"


@dataclass(frozen=True)
class Args:
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="RUN")] = None
    """the run folder to write; without it runs/demo, or the first of runs/demo-2, ... that is free"""
    minutes: float = 2.0  # how long to learn, a second try included, for which four tenths are kept back
    seed: int = 0
    json: bool = False  # print the report as one JSON object


def run(args: Args) -> int:
    checks.positive("--minutes", args.minutes)
    checks.seed(args.seed)
    folder = checks.new_run(args.output, "demo")
    from asterism.data.sources import open_data
    from asterism.engine.discover import discover
    from asterism.io.atomic import write_text
    from asterism.io.keypoints import read_keypoints
    from asterism.viz.discovered import write_discovered

    report = discover(
        _CLIP, 8, folder, minutes=args.minutes, method=None, objects=None, frame="auto", seed=args.seed
    )
    table = read_keypoints(folder / "keypoints.csv")
    written = write_discovered(folder, open_data(_CLIP), table, report)
    write_text(folder / "report.json", show.as_json(report))
    print(show.as_json(report) if args.json else show.as_report(report, [folder / "keypoints.csv", *written]))
    return 0
