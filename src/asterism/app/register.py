"""Move one scan onto another and merge them; any unit, no settings. Refuses where they do not overlap.

A and B are clouds or meshes (PLY, PCD, OFF, OBJ, STL, XYZ, NPY, NPZ; LAS and LAZ with an extra) in the same
unit, whichever it is. The motion b_from_a takes points of A to where they are in B; -o writes both, in B's
place. A refusal says why, ends with 1 and writes nothing.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from asterism.app import checks, show


@dataclass(frozen=True)
class Args:
    a: tyro.conf.Positional[Path]  # the scan that is moved
    b: tyro.conf.Positional[Path]  # the scan that stays
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="CLOUD")] = None
    """the merged cloud, such as merged.ply"""
    drop_nonfinite: bool = False  # leave out points that are not finite, instead of refusing the file
    json: bool = False  # print one JSON object


def run(args: Args) -> int:
    if args.output is not None:
        checks.new_file("-o", args.output)
    from asterism.engine.register import as_answer, merged, register
    from asterism.io.cloud import read_cloud, write_cloud

    a, b = (read_cloud(path, drop_nonfinite=args.drop_nonfinite) for path in (args.a, args.b))
    found = register(a.points, b.points)
    answer = as_answer(found)
    if args.output is not None and not found.refused:
        write_cloud(args.output, merged(a, b, found.b_from_a))
        answer["merged"] = str(args.output)
    print(show.as_json(answer) if args.json else show.as_lines(answer))
    if found.refused and not args.json:
        print(f"asterism: refused: {found.refused}", file=sys.stderr)
    return 1 if found.refused else 0
