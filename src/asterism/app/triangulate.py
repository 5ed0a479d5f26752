"""Points in space from the keypoints of several calibrated cameras, with covariances and a report.

--keypoints are one file per camera, in the order of --cameras: our csv, DeepLabCut's, SLEAP's, COCO, ...
Cameras are JSON, anipose's or Pose2Sim's TOML, OpenCV's YAML or XML (a folder, a file per camera),
EasyMocap's or COLMAP's folder, or DANNCE's .mat. The result is .csv, .trc or .npz by the ending of -o; beside
it NAME.report.json names cameras, points and frames that do not fit. --refine-cameras adjusts where the
cameras stand from the keypoints alone, keeps this only where cameras and frames that were held out agree
better, and writes NAME.cameras.json.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from asterism.app import checks, show
from asterism.errors import RequestError


@dataclass(frozen=True)
class Args:
    cameras: Path  # the calibration: a file or a folder
    keypoints: tuple[Path, ...]  # one file per camera, in the order of the cameras
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="FILE")]
    """.csv, .trc or .npz"""
    unit: str = "unknown"  # of the calibration: m, cm, mm
    rate: float = 0.0  # frames per second; TRC needs it
    threshold: float | None = None  # pixels within which views agree; without it from the noise that is found
    least_views: int = 3  # cameras that must agree on a point
    least_score: float = 0.2  # what a keypoint must score to be used
    refine_cameras: bool = False  # adjust the cameras' places, if what is held out then agrees better
    draw: Path | None = (
        None  # a picture (.png) of the cameras, the points of one moment, and their ellipsoids
    )
    json: bool = False  # print one JSON object


def run(args: Args) -> int:
    from asterism.engine.triangulate import Rule, motion_of, observed, report, solve
    from asterism.io.atomic import write_text
    from asterism.io.cameras import read_cameras, write_cameras
    from asterism.io.keypoints import read_keypoints
    from asterism.io.motion import check_motion, write_motion

    checks.new_file("-o", args.output)
    check_motion(args.output, args.unit, args.rate)
    rule = Rule(threshold=args.threshold, least_score=args.least_score, least_views=args.least_views)
    if args.draw is not None:
        checks.new_file("--draw", args.draw)
        if args.draw.suffix.lower() != ".png":
            raise RequestError(f"--draw {args.draw}: wanted a file that ends in .png")
    from asterism.data.multiview import cameras_of

    table = read_cameras(args.cameras)
    if len(table) < args.least_views:
        raise RequestError(
            f"{args.cameras}: {len(table)} cameras; --least-views {args.least_views} can never agree. With "
            "two cameras nothing is checked by a third: --least-views 2"
        )
    seen = observed([read_keypoints(path) for path in args.keypoints], table, args.least_score)
    cameras, answer = cameras_of(table), dict[str, Any]()
    if args.refine_cameras:
        from asterism.engine.recalibrate import moved_table, refine_cameras

        judged = refine_cameras(cameras, seen, rule)
        cameras = judged.cameras
        answer["refine"] = {
            "accepted": judged.accepted,
            "told": judged.told(),
            "held_out_px_before": judged.before,
            "held_out_px_after": judged.after,
            "motion": moved_table(judged, table.names),
        }
        if judged.accepted:
            table = replace(table, cam_from_world=cameras.cam_from_world.numpy())
            write_cameras(args.output.with_suffix(".cameras.json"), table)
    start = time.perf_counter()
    solved = solve(cameras, seen, rule)
    seconds = time.perf_counter() - start
    write_motion(args.output, motion_of(seen, solved, table, args.unit, args.rate))
    answer |= {"written": str(args.output), "unit": args.unit}
    answer |= report(table, cameras, seen, solved, rule) | {"seconds": seconds}
    write_text(args.output.with_suffix(".report.json"), show.as_json(answer) + "\n")
    if args.draw is not None:
        from asterism.viz.space import draw_scene

        draw_scene(args.draw, cameras, table, solved.points)
    print(show.as_json(answer) if args.json else show.as_lines(answer))
    return 0
