"""Points in space from one view each, without cameras: many pictures of one thing, or of things of a kind.

KEYPOINTS is any table of named points: a clip of something that turns, or pictures of many chairs. Nothing is
told but where points are seen; views are taken for orthographic, as from far away. What shapes have in common
and how they vary is learned, judged by keypoints that were hidden, and compared with a flat shape that bends:
where that does as well, nothing is known of depth, and the answer is a refusal (exit code 1) and no file.

The result is .csv or .npz, in pixels: x and y as in the picture, z away from the camera about the shape's
middle, with covariances. Beside it lie NAME.poses.csv, NAME.model.json (for asterism pose) and
NAME.report.json. No picture tells a shape from its mirror image in depth: --mirror gives the other one.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from asterism.app import checks, show
from asterism.errors import RequestError

if TYPE_CHECKING:
    from asterism.engine.lift import Shapes
    from asterism.io.table import KeypointTable


@dataclass(frozen=True)
class Args:
    keypoints: tyro.conf.Positional[Path]  # csv, DeepLabCut's, SLEAP's, COCO, ...
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="FILE")]
    """.csv or .npz"""
    skeleton: str = ""  # who is whose mirror image: a .toml, or a published one; without it, from the names
    least_points: int = 5  # that a row must show
    least_score: float = 0.2  # what a keypoint must score to be used
    mirror: bool = False  # the mirror image in depth
    draw: Path | None = None  # a picture (.png) of some rows, turned
    json: bool = False  # print one JSON object


def run(args: Args) -> int:
    from asterism.engine.lift import Asked, lift
    from asterism.engine.lift_files import model_of, motion_of, numbers_of, write_poses
    from asterism.io.atomic import write_text
    from asterism.io.keypoints import read_keypoints
    from asterism.io.model3d import write_model
    from asterism.io.motion import check_motion, write_motion
    from asterism.io.skeleton import find_skeleton, with_skeleton

    checks.new_file("-o", args.output)
    if args.output.suffix.lower() == ".trc":  # it holds metres
        raise RequestError(f"-o {args.output}: lifted points are in pixels; write .csv or .npz")
    check_motion(args.output, "px", 0.0)
    if args.draw is not None:
        checks.new_file("--draw", args.draw)
        if args.draw.suffix.lower() != ".png":
            raise RequestError(f"--draw {args.draw}: wanted a file that ends in .png")
    asked = Asked(least_points=args.least_points, least_score=args.least_score, mirror=args.mirror)
    table = read_keypoints(args.keypoints)
    if args.skeleton:
        table = with_skeleton(table, find_skeleton(args.skeleton), args.skeleton)
    start = time.perf_counter()
    shapes = lift(table, asked)
    answer: dict[str, Any] = {"refusal": shapes.refused} if shapes.refused else {"written": str(args.output)}
    answer |= {"unit": "px"} | numbers_of(shapes) | {"seconds": time.perf_counter() - start}
    if not shapes.refused:
        write_motion(args.output, motion_of(shapes, table))
        write_poses(args.output.with_suffix(".poses.csv"), shapes, table)
        write_model(args.output.with_suffix(".model.json"), model_of(shapes))
        write_text(args.output.with_suffix(".report.json"), show.as_json(answer) + "\n")
        if args.draw is not None:
            _draw(args.draw, shapes, table)
    print(show.as_json(answer) if args.json else show.as_lines(answer))
    if shapes.refused and not args.json:
        print(f"asterism: refused: {shapes.refused}", file=sys.stderr)
    return 1 if shapes.refused else 0


def _draw(path: Path, shapes: "Shapes", table: "KeypointTable") -> None:
    """Some rows that were not refused."""
    from asterism.viz.lifted import draw_lifted

    there = [n for n, reason in enumerate(shapes.reason) if not reason]
    columns = [table.names.index(name) for name in shapes.names]
    place = {k: i for i, k in enumerate(columns)}
    edges = [(place[a], place[b]) for a, b in table.edges if a in place and b in place]
    seen, xyz, cov = (x[there].numpy() for x in (shapes.seen, shapes.xyz, shapes.cov))
    draw_lifted(path, table.xy[there][:, columns], seen, xyz, cov, shapes.names, edges)
