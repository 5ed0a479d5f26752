"""Find keypoints in pictures, folders and clips with what a run has learnt.

The ending of -o chooses the format: .json is COCO, .slp is SLEAP's, .csv is a plain table, or with --format
that of DeepLabCut or SLEAP's analysis (sleap-csv).
Folders and clips of any length are streamed: memory does not grow with them. In clips, methods that find
several people follow them: `individual` is the number that each keeps. A camera (webcam:0) or a network
address (rtsp://, http://, ...) is looked at until Ctrl-C; pictures that come too fast are left out.
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
    input: tyro.conf.Positional[tuple[str, ...]]  # pictures, folders of pictures, clips; webcam:0, rtsp://...
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="FILE")]  # keypoints.csv, .json or .slp
    draw: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """also write the pictures with the points drawn on them, in this folder"""
    format: Literal["csv", "coco", "deeplabcut", "sleap", "sleap-csv"] | None = (
        None  # what to write, where the ending is not enough
    )
    boxes: Annotated[str | None, tyro.conf.arg(metavar="FILE|RUN")] = None
    """where to look: a label file with boxes, or a run that finds everybody (openpose); for runs trained on
    boxes"""
    hands: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """a run that knows right hands: looks at both hands of everybody found, the left one mirrored"""
    face: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None  # a run that knows faces
    body: bool = True  # --no-body leaves the body's own points out, where only hands or face are wanted
    every: int = 1  # of clips and cameras, look at each n-th picture only
    pictures: int | None = None  # of a clip or a camera, stop after so many
    flip: bool = False  # look at the mirrored pictures, too: twice the time, for detectors with heatmaps
    device: str = "auto"  # cpu, cuda, or cuda:1; auto takes a GPU where there is one
    json: bool = False  # print one JSON object in the end


def run(args: Args) -> int:
    folder = checks.existing_run(args.run)
    if not args.input:
        raise RequestError("no input: name pictures, folders or clips after the run")
    checks.new_file("-o", args.output)
    if args.draw is not None:
        checks.new_folder("--draw", args.draw)
    from asterism.engine.predict_files import predict_to

    wanted = {
        name: getattr(args, name)
        for name in ("format", "device", "flip", "boxes", "hands", "face", "body", "every", "pictures")
    }
    if args.draw is None:
        answer = predict_to(folder, args.input, args.output, **wanted)
    else:
        from asterism.viz.overlay import Painter

        with Painter(args.draw) as painter:
            answer = predict_to(folder, args.input, args.output, draw=painter, **wanted)
        answer["drawn"] = [str(path) for path in painter.written]
    print(show.as_json(answer) if args.json else show.as_lines(answer))
    return 0
