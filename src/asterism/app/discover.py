"""Find K keypoints in a clip or a folder of pictures that nobody has labelled.

A method is chosen for the data and trained; then it judges its own points (dead, collapsed, off the object,
on the bounding box, not steady under known warps) and tries again where they are bad. The run folder holds
the keypoints as csv, pictures, a page to open (report.html) and the same report as JSON.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from asterism import catalogue
from asterism.app import checks, show
from asterism.errors import RequestError

_MOST_POINTS = 256  # more than any skeleton in use; a larger number is a slip of the hand


@dataclass(frozen=True)
class Args:
    data: tyro.conf.Positional[str]  # a clip, a folder of pictures, or world:NAME
    k: Annotated[int | None, tyro.conf.arg(aliases=["-k"], metavar="K")] = None
    """how many keypoints; without it as many as cover what moves (4 to 16), or 8 where no object is known"""
    minutes: float = 4.0
    """how long to learn, all in all: six tenths for a first try, the rest for a second when points come out
    bad; when they do not it ends early"""
    method: str | None = None  # a method that learns without labels; without it one is chosen
    objects: int | None = None  # how many animals or objects; without it they are counted
    frame: Literal["auto", "whole", "moments"] = "auto"
    """where to look: the whole picture, or the moving object's moments; auto chooses"""
    seed: int = 0  # the same seed, data, machine and number of threads give the same run
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="RUN")] = None
    """the run folder to write; without it runs/NAME"""
    device: str = "auto"  # cpu, cuda, or cuda:1; auto takes a GPU where there is one
    format: Literal["coco", "deeplabcut", "sleap", "sleap-csv"] | None = None
    """also write the keypoints for another program, beside keypoints.csv"""
    json: bool = False  # print the health report as one JSON object


def run(args: Args) -> int:
    checks.positive("-k", args.k, _MOST_POINTS)
    checks.positive("--minutes", args.minutes)
    checks.positive("--objects", args.objects)
    checks.seed(args.seed)
    if args.method is not None and catalogue.entry(args.method).learns_from not in ("Images", "Clips"):
        raise RequestError(
            f"--method {args.method}: it needs labels; asterism methods lists what learns without"
        )
    folder = checks.new_run(args.output, Path(args.data.replace(":", "-").split("?")[0]).stem or "discovered")
    from asterism.data.sources import open_data
    from asterism.engine.discover import discover
    from asterism.io.atomic import write_text
    from asterism.io.keypoints import read_keypoints
    from asterism.viz.discovered import write_discovered

    report = discover(
        args.data,
        args.k,
        folder,
        minutes=args.minutes,
        method=args.method,
        objects=args.objects,
        frame=args.frame,
        seed=args.seed,
        device=args.device,
        format=args.format,
    )
    table = read_keypoints(folder / "keypoints.csv")
    written = write_discovered(folder, open_data(args.data), table, report)
    write_text(folder / "report.json", show.as_json(report))
    tables = sorted(folder.glob("keypoints*"))
    print(show.as_json(report) if args.json else show.as_report(report, [*tables, *written]))
    return 0
