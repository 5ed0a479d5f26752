"""Move a shape's keypoints and the shape follows; without moves, a page in which they are dragged.

RUN is what `asterism train keypoint-deformer SHAPES` wrote; SHAPE is a mesh or a cloud of the same kind,
turned the same way, in any unit. Every vertex moves, so the mesh keeps its detail; from .obj to .obj, faces,
texture coordinates and materials stay as they are. With --prior the points that are not moved go where the
category expects them. The page needs viser: pip install viser.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from asterism.app import checks, show
from asterism.errors import RequestError


@dataclass(frozen=True)
class Args:
    run: tyro.conf.Positional[str]  # a run folder of keypoint-deformer
    shape: tyro.conf.Positional[Path]  # .obj, .ply, .off, .stl, or a cloud
    move: tuple[str, ...] = ()  # NUMBER=DX,DY,DZ in the file's unit, such as 3=0.1,0,0; several are allowed
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="FILE")] = None
    """the moved shape; its ending is the format"""
    prior: bool = False  # the other points follow as the category expects
    to: Path | None = None  # or move all keypoints to those of this shape
    draw: int | None = None  # or to those of a new shape of the category; the number is a seed
    port: int = 8080  # of the page
    json: bool = False  # print one JSON object


def run(args: Args) -> int:
    folder = checks.existing_run(args.run)
    wanted = [name for name in ("move", "to", "draw") if getattr(args, name) not in ((), None)]
    if len(wanted) > 1:
        raise RequestError(f"--{' and --'.join(wanted)}: give one of them, not both")
    if args.prior and wanted != ["move"]:
        raise RequestError("--prior says where the points go that are not moved: give it with --move")
    if bool(wanted) != (args.output is not None):
        raise RequestError("a shape is written by --move (or --to, or --draw) and -o FILE together")
    if args.output is not None:
        checks.new_file("-o", args.output)
    if args.draw is not None:
        checks.seed(args.draw)
    from asterism.engine.deform import deformer, held, write_moved
    from asterism.io.cloud import WRITERS, read_cloud

    if args.output is not None and args.output.suffix.lower() not in WRITERS:
        raise RequestError(f"-o {args.output}: wanted an ending of {', '.join(WRITERS)}")
    method, prior = deformer(folder)
    shape = held(method, prior, read_cloud(args.shape))
    if args.output is None:
        from asterism.engine.deform_page import serve

        serve(shape, args.shape, args.port)
        return 0
    if args.to is not None:
        keypoints = held(method, prior, read_cloud(args.to))
        # in the box of this shape: the other file may have another unit and place
        scale = shape.box[0, 0] / keypoints.box[0, 0]
        targets = (keypoints.keypoints - keypoints.box[:3, 3]) * scale + shape.box[:3, 3]
    elif args.draw is not None:
        targets = shape.drawn(args.draw)
    else:
        moves = moves_of(args.move, shape.keypoints)
        targets = shape.keypoints.copy()
        for k, xyz in moves.items():
            targets[k] = xyz
        targets = shape.follow(moves) if args.prior else targets
    points = shape.moved(targets)
    write_moved(args.output, args.shape, shape, points)
    answer = {
        "output": str(args.output),
        "vertices": len(points),
        "moved_mean": float(np.linalg.norm(points - shape.cloud.points, axis=1).mean()),
        "keypoints": shape.keypoints.tolist(),
        "keypoints_after": targets.tolist(),
    }
    print(show.as_json(answer) if args.json else show.as_lines(answer))
    return 0


def moves_of(texts: tuple[str, ...], keypoints: np.ndarray) -> dict[int, np.ndarray]:
    """Where each moved keypoint goes. Raises RequestError for a move that cannot be read or has no point."""
    found: dict[int, np.ndarray] = {}
    for text in texts:
        name, _, shift = text.partition("=")
        try:
            k, by = int(name), np.array([float(word) for word in shift.split(",")])
        except ValueError:
            raise RequestError(f"--move {text}: wanted NUMBER=DX,DY,DZ, such as --move 3=0.1,0,0") from None
        if by.shape != (3,) or not np.isfinite(by).all():
            raise RequestError(f"--move {text}: wanted three finite numbers behind =, such as 3=0.1,0,0")
        if not 0 <= k < len(keypoints):
            raise RequestError(f"--move {text}: there are points 0 to {len(keypoints) - 1}")
        if k in found:
            raise RequestError(f"--move {text}: point {k} is moved twice; add the two moves")
        found[k] = keypoints[k] + by
    return found
