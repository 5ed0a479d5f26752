"""Networks of a CPU on generated people, 1 to 8 in a picture: python bench/pose2d_people.py PART RUN.

hrnet      the small HRNet, people's boxes given: learns at 96 pixels (preset fast), then goes on at 128 from
           these weights (preset small, half the rate). RUN is the run at 96, RUN-128 the second
longer     the second goes on with other pictures (MORE): RUN is the first again, RUN-longer the third
openpose   the small PAF network, whole pictures of 192
measure    OKS average precision of a run on pictures kept back, and of those people of whom more than half,
           or more than 0.7, of the labelled points are seen; errors of visible and hidden points as shares of
           the box; and the control (mean shape in the box)
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import record
import torch

from asterism.data.sources import open_data
from asterism.data.splits import split
from asterism.engine.bars import bar
from asterism.engine.lesson import labelled_pictures, lesson_of
from asterism.engine.looks import look_at
from asterism.engine.people import measure_people
from asterism.engine.predict import keypoints
from asterism.engine.runs import Run
from asterism.engine.train import _samples, train, train_on
from asterism.engine.view import read_view, write_view
from asterism.engine.weights import load_tensors, load_weights
from asterism.methods.pose2d.hrnet import HRNet
from asterism.metrics import oks
from asterism.types import People2D

DATA = "world:figures?n=6000&people=1-8&seed=1"
MORE = "world:figures?n=5800&people=1-8&seed=2"  # what is learned of it fits into the memory of PictureCache
SIGMAS = oks.COCO_SIGMAS


def hrnet(run: Path, steps: tuple[int, int]) -> None:
    if not run.exists():
        train_on(DATA, "hrnet", run, preset="fast", steps=steps[0], device="cpu")
    go_on(run, run.with_name(run.name + "-128"), DATA, steps[1], ema=0.995)


def go_on(run: Path, to: Path, data: str, steps: int, *, ema: float) -> None:
    """The small preset, from the weights of another run, at half its rate."""
    images = open_data(data)
    lesson = lesson_of(HRNet, "small", images, data, seed=0, frame="boxes", objects=None)
    method = HRNet(lesson.config)
    load_tensors(run / "best", method)
    recipe = replace(HRNet.recipe_of("small"), steps=steps, lr=1e-3, ema=ema)
    folder = Run(to)
    asked = {"kind": "train", "method": "hrnet", "preset": "small", "seed": 0}
    folder.start({**asked, "from": str(run), **lesson.about})
    write_view(folder, lesson.view)
    samples = _samples(HRNet, images, lesson, recipe, 0)
    with bar("128 pixels") as progress:
        train(
            method,
            samples,
            folder,
            steps=steps,
            recipe=recipe,
            skeleton=lesson.skeleton,
            device="cpu",
            progress=progress,
        )


def measure(run: Path, name: str, data: str) -> dict[str, Any]:
    images = open_data(data)
    assert images.table is not None
    test = split(labelled_pictures(images.table), seed=0).test
    method, skeleton = load_weights(run / "best")
    view = read_view(Run(run))
    assert skeleton is not None
    trained = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()][-1]
    out: dict[str, Any] = {"data": data, "steps": trained["step"], "seconds": trained["seconds"]}
    if method.gives is People2D:
        return out | measure_people(method, skeleton, images, test, view.size, "cpu")
    look = look_at(images, view, test)
    began = time.process_time()
    xy, score = keypoints(method, look.images, look.frames, view.size, device="cpu")
    out["crops_per_cpu_second"] = len(xy) / (time.process_time() - began)
    table, rows = look.images.table, look.frames.row
    assert table is not None
    seen = (table.visible & table.labelled)[rows].sum(1) / np.maximum(table.labelled[rows].sum(1), 1)
    mean = np.array(Run(run).info()["mean_shape"])
    from asterism.engine.evaluate import in_source

    guess = in_source(mean, look, view)
    for kind, least in (("all", 0.0), ("half seen", 0.5), ("0.7 seen", 0.7)):
        keep = np.flatnonzero(seen >= least)
        out[kind] = {
            "people": len(keep),
            "oks_ap": _ap(table, rows[keep], xy[keep], score[keep].mean(1)),
            "mean_shape_oks_ap": _ap(table, rows[keep], guess[keep], np.ones(len(keep))),
        }
    far = np.linalg.norm(xy - table.xy[rows], axis=-1) / table.box[rows, 2:].max(1)[:, None]
    for kind, which in (("visible", table.visible[rows]), ("hidden", ~table.visible[rows])):
        of = far[which & table.labelled[rows]]
        out[kind] = {"points": len(of), "median": float(np.median(of)), "over 10 %": float((of > 0.1).mean())}
    return out


def _ap(table: Any, rows: np.ndarray, xy: np.ndarray, score: np.ndarray) -> float:
    area = oks.object_area(table.area[rows], table.box[rows], table.has_box[rows])
    crowd = np.zeros(len(rows), bool)
    truth = oks.Truth(table.image[rows], table.xy[rows], table.labelled[rows], area, table.box[rows], crowd)
    return oks.average_precision(truth, oks.Found(table.image[rows], xy, score), SIGMAS)["AP"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("part", choices=["hrnet", "longer", "openpose", "measure"])
    parser.add_argument("run", type=Path)
    parser.add_argument("--name", default="")
    parser.add_argument("--steps", type=int, nargs=2, default=[10000, 6000])
    parser.add_argument("--data", default=DATA)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.part == "hrnet":
        hrnet(args.run, tuple(args.steps))
    elif args.part == "longer":
        second = args.run.with_name(args.run.name + "-128")
        go_on(second, args.run.with_name(args.run.name + "-longer"), MORE, args.steps[0], ema=0.998)
    elif args.part == "openpose":
        train_on(args.data, "openpose", args.run, preset="small", steps=args.steps[0], device="cpu")
    else:
        path = Path(__file__).parent / "pose2d_people.json"
        figures = json.loads(path.read_text())["figures"] if path.exists() else {}
        figures[args.name or args.run.name] = measure(args.run, args.name, args.data)
        record.write("pose2d_people", figures, seeds=[0])


if __name__ == "__main__":
    main()
