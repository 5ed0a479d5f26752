"""Train a method on labelled pictures, or on pictures or shapes alone where the method needs no labels.

DATA is a COCO keypoint file (.json), a DeepLabCut project folder or CollectedData csv, a folder of pictures,
a clip, or a generated world such as world:figures; for a method of shapes, a folder of meshes or clouds of
one kind, or world:chairs. One picture in five is kept back, chosen by the seed, and
`asterism evaluate RUN` measures on those.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from asterism import catalogue
from asterism.app import checks, show
from asterism.errors import RequestError


@dataclass(frozen=True)
class Args:
    method: tyro.conf.Positional[str]  # see: asterism methods
    data: tyro.conf.Positional[str]  # a file, a folder or world:NAME
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="RUN")] = None
    """the run folder to write; without it runs/METHOD"""
    points: Annotated[int | None, tyro.conf.arg(aliases=["-k"])] = None
    """how many keypoints, for methods that find them on shapes; without it the preset's number"""
    minutes: float | None = None  # train for so long
    steps: int | None = None  # or for so many updates; without both, as the preset's recipe says
    seed: int = 0  # the same seed, data, machine and number of threads give the same run
    preset: str = "small"  # the method's size: paper, small, or another that `asterism info` lists
    frame: Literal["auto", "whole", "boxes", "moments"] = "auto"
    """where to look: whole picture, labelled boxes, the moving object's moments; auto chooses"""
    skeleton: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """edges, mirror pairs and OKS constants where the labels carry none or wrong ones: a .toml, or coco-17"""
    objects: int | None = None  # how many individuals are in a picture, for --frame moments
    device: str = "auto"  # cpu, cuda, or cuda:1; auto takes a GPU where there is one
    resume: bool = False  # go on with the run in -o
    json: bool = False  # print one JSON object in the end


def run(args: Args) -> int:
    entry = catalogue.entry(args.method)
    if not entry.learns_from:
        raise RequestError(f"{args.method} has nothing to learn; asterism methods lists those that learn")
    if args.minutes is not None and args.steps is not None:
        raise RequestError("--minutes and --steps: give one of them, not both")
    checks.positive("--minutes", args.minutes)
    checks.positive("--steps", args.steps)
    checks.positive("--objects", args.objects)
    checks.positive("-k", args.points)
    checks.seed(args.seed)
    if args.skeleton is not None and args.data.startswith("world:"):
        raise RequestError("--skeleton: a world brings its own; write world:figures?skeleton=body25")
    data = args.data if args.skeleton is None else f"{args.data}?skeleton={args.skeleton}"
    folder = checks.new_run(args.output, args.method, args.resume)
    from asterism.engine.runs import Run
    from asterism.engine.train import train_on
    from asterism.viz.training import write_losses

    answer = train_on(
        data,
        args.method,
        folder,
        preset=args.preset,
        minutes=args.minutes,
        steps=args.steps,
        seed=args.seed,
        frame=args.frame,
        objects=args.objects,
        device=args.device,
        resume=args.resume,
        points=args.points,
    )
    write_losses(Run(folder))
    print(show.as_json(answer) if args.json else show.as_lines(answer))
    if not args.json and entry.learns_from == "Clouds":
        print(f"\nnext: asterism predict {folder} scan.ply -o points.csv")
        if args.method == "keypoint-deformer":
            print(f"      asterism deform {folder} SHAPE.obj --move 0=0.1,0,0 -o moved.obj")
    elif not args.json and entry.gives == "Features":
        print(f"\nnext: asterism match A B --method {folder}")
    elif not args.json and entry.learns_from == "PosedViews":
        print(f"\nnext: asterism predict {folder} PICTURES -o points.csv --draw seen")
    elif not args.json:
        print(f"\nnext: asterism evaluate {folder}\n      asterism predict {folder} PICTURES -o points.csv")
    return 0
