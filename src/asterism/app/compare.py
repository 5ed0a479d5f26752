"""Train several methods on your data under one protocol, and see which is best, and whether any is of use.

All get the same pictures, frames, minutes and seeds, and are measured on the same pictures kept back, with
95 % intervals, beside controls that must lose: mean shapes, untrained networks, and points that the
foreground alone tells. The folder gets compare.csv, compare.json, report.html and one run per method and
seed, for predict and evaluate. Asked again, what is there is not trained again.
"""

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from asterism import catalogue
from asterism.app import checks, show
from asterism.errors import RequestError

_MOST_POINTS = 256  # as for discover
_ROOM = 110


@dataclass(frozen=True)
class Args:
    data: tyro.conf.Positional[str]  # a clip, a folder, a file of labels, or world:NAME
    methods: str  # names with commas between them; see: asterism methods
    minutes: float  # how long each learns, for each seed
    k: Annotated[int | None, tyro.conf.arg(aliases=["-k"], metavar="K")] = None
    """how many keypoints, for methods that learn without labels; without it 8"""
    seeds: tuple[int, ...] = (0,)  # such as 0 1 2: each method learns once from each
    frame: Literal["auto", "whole", "moments", "boxes"] = "auto"
    """where all look: whole picture, the moving object's moments, labelled boxes; auto looks at no label"""
    objects: int | None = None  # how many animals or objects; without it they are counted
    preset: str | None = None  # a size that all methods have; without it small, or whole for whole pictures
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="FOLDER")] = None
    """the folder to write; without it runs/compare"""
    device: str = "auto"  # cpu, cuda, or cuda:1; auto takes a GPU where there is one
    json: bool = False  # print one JSON object


def run(args: Args) -> int:
    names = [name.strip() for name in args.methods.split(",") if name.strip()]
    for name in names:
        if not catalogue.entry(name).learns_from:
            raise RequestError(
                f"--methods {name}: has nothing to learn; asterism methods lists those that learn"
            )
    if not names:
        raise RequestError(
            "--methods: no name given; wanted for example --methods video-difference,fse-landmarks"
        )
    checks.positive("--minutes", args.minutes)
    checks.positive("-k", args.k, _MOST_POINTS)
    checks.positive("--objects", args.objects)
    for seed in args.seeds:
        checks.seed(seed)
    folder = args.output or Path("runs") / "compare"
    checks.new_folder("-o", folder)
    from asterism.engine.compare import compare
    from asterism.viz.compared import NOTE, columns, write_compared

    comparison = compare(
        args.data,
        names,
        folder,
        minutes=args.minutes,
        k=args.k,
        seeds=args.seeds,
        frame=args.frame,
        objects=args.objects,
        preset=args.preset,
        device=args.device,
    )
    answer = comparison.answer
    written = [folder / "compare.csv", folder / "compare.json", *write_compared(folder, comparison)]
    if args.json:
        print(show.as_json(answer))
        return 0
    told = [textwrap.fill(sentence, _ROOM) for sentence in answer["sentences"]]
    print("\n".join([answer["title"], "", show.as_table(*columns(answer)), "", *told]))
    print("\n".join(["", textwrap.fill(NOTE, _ROOM), "", "written:", *(f"  {path}" for path in written)]))
    return 0
