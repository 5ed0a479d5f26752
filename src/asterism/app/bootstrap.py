"""Let calibrated cameras teach a detector: a few labels become many where at least three views agree.

INPUTS are one video or folder of pictures per camera, in the order of the camera file, picture t of each
taken at the same moment; or one generated world:rig. --labels names points in some of their pictures. A
detector learns from these, looks at all pictures of all cameras, and learns again from the points that the
views agree on, projected into every view.

RUN/round-0, round-1, ... are runs like any other: predict and evaluate take them. labels-1.png, ... show the
new labels: look at them.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from asterism.app import checks, show
from asterism.errors import RequestError

_SHOWN = 12  # pictures on a sheet


@dataclass(frozen=True)
class Args:
    inputs: tyro.conf.Positional[tuple[str, ...]]  # a video or folder per camera, or world:rig
    labels: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    """labelled pictures of the inputs: .csv (plain or DeepLabCut's) or COCO's .json"""
    cameras: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """matrix, distortions, rotation and translation of every camera: .json, or anipose's .toml"""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="RUN")] = None
    """the folder to write; without it runs/bootstrap"""
    rounds: int = 2  # how often the views teach
    minutes: float = 2.0  # of training in each round, the first one too
    steps: int | None = None  # or updates in each round
    inlier: float | None = None  # how far off a view may be, in pixels; without it 4 pixels of the network's
    least_views: int = 3  # how many views must agree
    window: int = 5  # of so many moments in a row the best one teaches
    method: str = "stacked-hourglass"  # any that learns from labels; see: asterism methods
    preset: str = "fast"  # the method's size
    frame: Literal["auto", "whole", "moments"] = "auto"
    """where to look: whole picture, or the moving object's moments; auto chooses"""
    seed: int = 0  # the same seed, data, machine and number of threads give the same run
    device: str = "auto"  # cpu, cuda, or cuda:1; auto takes a GPU where there is one
    json: bool = False  # print the report as one JSON object


def run(args: Args) -> int:
    if not args.inputs:
        raise RequestError("no input: name a video or a folder per camera, or world:rig")
    for option, value in (("--rounds", args.rounds), ("--minutes", args.minutes), ("--steps", args.steps)):
        checks.positive(option, value)
    checks.positive("--inlier", args.inlier)
    checks.seed(args.seed)
    if not args.labels.exists():
        raise RequestError(f"--labels {args.labels}: there is no such file; wanted labelled pictures")
    folder = checks.new_run(args.output, "bootstrap")
    from asterism.data.multiview import open_views
    from asterism.engine.bootstrap import Teaching, bootstrap
    from asterism.engine.labels import with_labels
    from asterism.engine.relabel import Rule
    from asterism.io.images import write_image
    from asterism.io.keypoints import read_keypoints
    from asterism.viz.overlay import sheet, spread

    images = open_views(args.inputs, args.cameras)
    labels = with_labels(images, read_keypoints(args.labels), str(args.labels)).table
    assert labels is not None
    teaching = Teaching(
        method=args.method,
        preset=args.preset,
        minutes=args.minutes,
        steps=args.steps,
        seed=args.seed,
        frame=args.frame,
        device=args.device,
    )
    rule = Rule(inlier=args.inlier, least_views=args.least_views, window=args.window)
    report = bootstrap(images, labels, folder, rounds=args.rounds, rule=rule, teaching=teaching)
    written = [folder / "report.json"]
    for turn in range(1, args.rounds + 1):
        table = read_keypoints(folder / f"labels-{turn}.csv")
        shown = spread(range(len(table.images)), _SHOWN)
        places = {os.path.abspath(images.name(i)): i for i in range(len(images))}
        path = folder / f"labels-{turn}.png"
        write_image(path, sheet(images, table, [places[os.path.abspath(table.images[i])] for i in shown]))
        written.append(path)
    print(show.as_json(report) if args.json else show.as_report(report, written))
    if not args.json:
        best = report["numbers"]["best"]
        print(f"\nnext: asterism predict {best} PICTURES -o points.csv --draw pictures")
    return 0
