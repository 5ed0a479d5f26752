"""Find keypoints in pictures, folders and clips with what a run has learnt.

The ending of -o chooses the format: .csv (one row per picture), .json (COCO); --format overrides it.
Folders and clips of any length are streamed: memory does not grow with them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from asterism.app import checks, show
from asterism.errors import RequestError


@dataclass(frozen=True)
class Args:
    run: tyro.conf.Positional[str]  # the folder that train or discover wrote
    input: tyro.conf.Positional[tuple[str, ...]]  # pictures, folders of pictures, clips
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="FILE")]  # keypoints.csv or .json
    draw: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """also write the pictures with the points drawn on them, in this folder"""
    format: Literal["csv", "coco", "deeplabcut"] | None = None  # the format, whatever the file is called
    json: bool = False  # print one JSON object in the end


def run(args: Args) -> int:
    folder = checks.existing_run(args.run)
    if not args.input:
        raise RequestError("no input: name pictures, folders or clips after the run")
    checks.writable("-o", args.output)
    if args.draw is not None:
        checks.writable("--draw", args.draw)
    from asterism.engine.predict import predict_to

    answer = predict_to(folder, list(args.input), args.output, draw=args.draw, format=args.format)
    print(show.as_json(answer) if args.json else show.as_lines(answer))
    return 0
