"""Find keypoints in pictures, folders and clips with what a run has learnt, or in scans and shapes.

The ending of -o chooses the format: .json is COCO, .slp is SLEAP's, .csv is a plain table, or with --format
that of DeepLabCut or SLEAP's analysis (sleap-csv).
Folders and clips of any length are streamed: memory does not grow with them. In clips, methods that find
several people follow them: `individual` is the number that each keeps. A camera (webcam:0) or a network
address (rtsp://, http://, ...) is looked at until Ctrl-C; pictures that come too fast are left out.

Scans and meshes (.ply, .pcd, .off, .obj, .stl, .xyz, .npy, .npz, .las) are for a run that learned from
shapes, or, in the place of a run, for a method that needs none: iss, harris3d, sift3d, fps, random-points.
Then -o is .csv (file, number, x, y, z, score, sigma), .json or .ply.

A run that finds points in space (latent-3d-keypoints) writes a .csv with depth, in pixels too, and the turn
of every picture's thing from the first one's. Show it one upright thing, from far away, filling the picture.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from asterism.app import checks, show
from asterism.errors import RequestError

_PICTURES = ("format", "flip", "boxes", "hands", "face", "body", "every", "pictures")  # options of theirs


@dataclass(frozen=True)
class Args:
    run: tyro.conf.Positional[str]  # the folder that train or discover wrote; or iss, ... for clouds
    input: tyro.conf.Positional[tuple[str, ...]]  # pictures, folders, clips; webcam:0, rtsp://...; clouds
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
    k: Annotated[int | None, tyro.conf.arg(aliases=["-k"], metavar="K")] = None
    """of clouds: the best so many points, where so many stand out; without it 128, or what a run learned"""
    drop_nonfinite: bool = False  # of clouds: leave out points that are not finite, instead of refusing
    device: str = "auto"  # cpu, cuda, or cuda:1; auto takes a GPU where there is one
    json: bool = False  # print one JSON object in the end


def run(args: Args) -> int:
    from asterism.engine.clouds import is_of_clouds

    of_clouds = is_of_clouds(args.run)
    if not of_clouds:
        checks.existing_run(args.run)
    if not args.input:
        kinds = "scans or meshes" if of_clouds else "pictures, folders or clips"
        raise RequestError(f"no input: name {kinds} after {args.run if of_clouds else 'the run'}")
    checks.new_file("-o", args.output)
    if args.draw is not None:
        checks.new_folder("--draw", args.draw)
    answer = _of_clouds(args) if of_clouds else _of_pictures(args)
    print(show.as_json(answer) if args.json else show.as_lines(answer))
    return 0


def _of_pictures(args: Args) -> dict[str, Any]:
    from asterism.engine.predict_files import predict_to
    from asterism.engine.predict_space import is_in_space
    from asterism.io.cloud import READERS

    if args.k is not None or args.drop_nonfinite:
        option = "-k" if args.k is not None else "--drop-nonfinite"
        raise RequestError(f"{option}: is for clouds, and {args.run} looks at pictures; leave it out")
    for what in args.input:
        if Path(what).suffix.lower() in READERS:
            raise RequestError(
                f"{what}: is a cloud, and {args.run} looks at pictures; for clouds name a method that needs "
                f"no run: asterism predict iss {what} -o points.csv"
            )
    if is_in_space(args.run):
        return _in_space(args)
    wanted = {name: getattr(args, name) for name in ("device", *_PICTURES)}
    if args.draw is None:
        return predict_to(Path(args.run), args.input, args.output, **wanted)
    from asterism.viz.overlay import Painter

    with Painter(args.draw) as painter:
        answer = predict_to(Path(args.run), args.input, args.output, draw=painter, **wanted)
    return answer | {"drawn": [str(path) for path in painter.written]}


def _in_space(args: Args) -> dict[str, Any]:
    from asterism.engine.predict_space import predict_in_space
    from asterism.viz.overlay import Painter

    _refuse(args, "for points in the picture", "finds them in space")
    if args.draw is None:
        return predict_in_space(Path(args.run), args.input, args.output, device=args.device)
    with Painter(args.draw) as painter:
        answer = predict_in_space(Path(args.run), args.input, args.output, draw=painter, device=args.device)
    return answer | {"drawn": [str(path) for path in painter.written]}


def _refuse(args: Args, kind: str, looks_at: str) -> None:
    """Options that this run has no use for."""
    for name in _PICTURES:
        if getattr(args, name) != getattr(Args, name):
            option = "no-body" if name == "body" else name
            raise RequestError(f"--{option}: is {kind}, and {args.run} {looks_at}; leave it out")


def _of_clouds(args: Args) -> dict[str, Any]:
    from asterism.engine.clouds import predict_clouds

    _refuse(args, "for pictures", "looks at clouds")
    wanted = {name: getattr(args, name) for name in ("k", "drop_nonfinite", "device")}
    if args.draw is None:
        return predict_clouds(args.run, args.input, args.output, **wanted)
    from asterism.viz.cloud import CloudPainter

    painter = CloudPainter(args.draw)
    answer = predict_clouds(args.run, args.input, args.output, draw=painter, **wanted)
    return answer | {"drawn": [str(path) for path in painter.written]}
