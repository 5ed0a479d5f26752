"""Where an object is in front of one camera, from its named keypoints: a pose with covariance per row.

--model is a JSON file of the object's points, {"points": {"nose": [x, y, z], ...}}, or of a mean shape with a
basis, and then the shape of this very object is found, too. --camera is OpenCV's YAML or XML, or any camera
file with one camera. A row without a pose says why.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from asterism.app import checks, show
from asterism.errors import RequestError


@dataclass(frozen=True)
class Args:
    keypoints: tyro.conf.Positional[Path]  # csv, DeepLabCut's, SLEAP's, COCO, ...
    model: Path  # the object's points in space (.json)
    camera: Path  # OpenCV's .yml or .xml, or a camera file that holds one camera
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="POSES")]
    """.csv"""
    sigma: float = 2.0  # standard deviation of a keypoint, in pixels; points within 4.3 of it agree
    least_points: int = 5  # that must agree
    least_score: float = 0.2  # what a keypoint must score to be used
    json: bool = False  # print one JSON object


def run(args: Args) -> int:
    from asterism.data.multiview import cameras_of
    from asterism.engine.pose import Asked, find_poses, numbers, write_poses
    from asterism.io.cameras import read_camera
    from asterism.io.keypoints import read_keypoints
    from asterism.io.model3d import read_model

    asked = Asked(sigma=args.sigma, least_points=args.least_points, least_score=args.least_score)
    checks.new_file("-o", args.output)
    if args.output.suffix.lower() != ".csv":
        raise RequestError(f"-o {args.output}: poses are written to a file that ends in .csv")
    model, camera = read_model(args.model), cameras_of(read_camera(args.camera))
    table = read_keypoints(args.keypoints)
    poses = find_poses(camera, model, table, asked)
    write_poses(args.output, poses, model, table)
    answer = {"written": str(args.output), "unit": model.unit} | numbers(poses)
    print(show.as_json(answer) if args.json else show.as_lines(answer))
    return 0
