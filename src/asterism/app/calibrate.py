"""Cameras, their lenses and places, from a board that they see: with standard deviations and a report.

Name one video or folder of pictures per camera, or one folder that holds a folder or video per camera; the
names become the cameras' names. Picture t of each was taken at the same moment. --board is
charuco:7x5:0.04:0.03 (squares, their side, the markers' side) or chess:9x6:0.025 (inner corners, the squares'
side). Finding corners in pictures needs the extra `boards`; corners that are known already come from
--detections FILE, csv with columns camera, frame, corner, x, y.

The cameras are written as the ending of -o says; beside them NAME.report.json says what they miss on moments
that were kept back, how sure every lens is, and what to do better.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from asterism.app import checks, show
from asterism.errors import RequestError


@dataclass(frozen=True)
class Args:
    board: str  # charuco:7x5:0.04:0.03 or chess:9x6:0.025
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="CAMERAS")]
    """.toml, .json or .mat"""
    inputs: tyro.conf.Positional[tuple[str, ...]] = ()  # a video or folder per camera, or one folder of them
    detections: Path | None = None  # corners that are known already (.csv)
    save_detections: Path | None = None  # write the corners that were found (.csv)
    size: str | None = None  # WIDTHxHEIGHT of the pictures, where --detections does not say
    every: int = 1  # look at each n-th picture
    most: int = 150  # moments that are used; those that cover the pictures best
    leave_out: tuple[str, ...] = ()  # cameras
    json: bool = False  # print one JSON object


def run(args: Args) -> int:
    from asterism.engine.calibrate import calibrate
    from asterism.io.atomic import write_text
    from asterism.io.board import read_board
    from asterism.io.cameras import write_cameras
    from asterism.io.corners import read_corners, with_sizes, without, write_corners

    board = read_board(args.board)
    _check(args)
    start = time.perf_counter()
    if args.detections is not None:
        corners = read_corners(args.detections, len(board))
    else:
        from asterism.engine.board_corners import find_corners

        corners = find_corners(args.inputs, board, args.every)
    corners = with_sizes(without(corners, args.leave_out), _size(args.size))
    if args.save_detections is not None:
        write_corners(args.save_detections, corners)
    found = calibrate(corners, board, most=args.most)
    write_cameras(args.output, found.table)
    answer = {"written": str(args.output)} | found.report | {"seconds": time.perf_counter() - start}
    write_text(args.output.with_suffix(".report.json"), show.as_json(answer) + "\n")
    print(show.as_json(answer) if args.json else show.as_lines(answer))
    return 0


def _check(args: Args) -> None:
    checks.new_file("-o", args.output)
    if args.output.suffix.lower() not in (".toml", ".json", ".mat"):
        raise RequestError(f"-o {args.output}: cameras are written to .toml, .json or .mat")
    if args.save_detections is not None:
        checks.new_file("--save-detections", args.save_detections)
    if (args.detections is None) == (not args.inputs):
        raise RequestError("wanted pictures, a video or folder per camera, or --detections FILE, not both")
    if args.every < 1:
        raise RequestError(f"--every {args.every}: wanted 1 or more")
    if args.most < 8:
        raise RequestError(f"--most {args.most}: wanted 8 moments or more")


def _size(words: str | None) -> tuple[int, int] | None:
    """(h, w) of WIDTHxHEIGHT."""
    if words is None:
        return None
    w, mark, h = words.partition("x")
    if not mark or not w.isdecimal() or not h.isdecimal() or not int(w) * int(h):
        raise RequestError(f"--size {words}: wanted WIDTHxHEIGHT, such as --size 1280x720")
    return int(h), int(w)
