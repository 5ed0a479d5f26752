"""Turn weights that other programs published into a run, from a file that you have.

FILE is a checkpoint (.pth, .pt, TensorFlow's .index) or a .caffemodel; METHOD is stacked-hourglass, hrnet,
simple-baseline, openpose, lightweight-openpose or keynet. Nothing is downloaded and nothing is unpickled;
every tensor must find its place. The weights keep the licence that their authors gave them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from asterism import catalogue
from asterism.app import checks, show
from asterism.errors import RequestError


@dataclass(frozen=True)
class Args:
    file: tyro.conf.Positional[Path]  # the weights, as their authors published them
    to: Annotated[str, tyro.conf.arg(metavar="METHOD")]  # the method they are for
    preset: str | None = None  # of METHOD; without it what the shapes in the file say
    size: Annotated[tuple[int, int] | None, tyro.conf.arg(metavar="H W")] = None
    """pixels of the pictures they were trained on, where not those of METHOD's paper, such as 384 288"""
    codec: str | None = None  # how points are read from heatmaps, where not as the origin's code does
    skeleton: str | None = None  # what the points are called: coco-17, or a .toml file of names
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="RUN")] = None
    """the run folder to write; without it runs/METHOD"""
    json: bool = False  # print one JSON object in the end


def run(args: Args) -> int:
    catalogue.entry(args.to)
    if not args.file.is_file():
        raise RequestError(f"{args.file}: {'is a folder' if args.file.exists() else 'no such file'}")
    folder = checks.new_run(args.output, args.to)
    from asterism.engine.convert import convert_file

    answer = convert_file(
        args.file,
        args.to,
        folder,
        preset=args.preset,
        size=args.size,
        codec=args.codec,
        skeleton=args.skeleton,
    )
    print(show.as_json(answer) if args.json else show.as_lines(answer))
    if not args.json:
        matches = catalogue.entry(args.to).gives == "Features"
        further = f"match A B --method {folder}" if matches else f"predict {folder} PICTURES -o points.csv"
        print(f"\nnext: asterism {further}")
    return 0
