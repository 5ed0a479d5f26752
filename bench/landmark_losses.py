"""imm under each of its reconstruction costs: python bench/landmark_losses.py [--seeds 0 1 2] [--minutes M].

Preset small in the moments' frames of generated animals; errors are strict, from 50 labels, in pixels of the
picture. Minutes are minutes of processor time on one thread: run it with OMP_NUM_THREADS=1.
"""

import argparse
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

import record
import torch
from landmarks import WORLD, processor_minutes

from asterism.data.base import FrameTable, ImageSet
from asterism.data.frames import find_frames
from asterism.data.gathered import Gathered, gather
from asterism.data.sources import open_data
from asterism.data.splits import split
from asterism.data.subset import Unlabelled
from asterism.engine.alive import health_of
from asterism.engine.evaluate import measure_landmarks
from asterism.engine.lesson import labelled_pictures
from asterism.engine.looks import look_at
from asterism.engine.runs import Run
from asterism.engine.train import train
from asterism.engine.view import View, frames_for, view_of
from asterism.methods.landmarks.imm import COSTS, Imm, ImmConfig

LABELS = 50
HEALTH = ("dead", "collapsed", "on_object", "equivariance_error")


@dataclass(frozen=True)
class Ground:
    """What every cost is measured on."""

    images: ImageSet
    view: View
    crops: Gathered
    every: FrameTable


def losses(args: argparse.Namespace) -> None:
    """A row per cost and seed, and the mean errors per cost."""
    data = WORLD.format(background="textured", seed=args.world)
    ground, rows = _ground(data), []
    for cost in args.costs:
        for seed in args.seeds:
            config = replace(Imm.presets["small"], n_keypoints=args.k, reconstruction=cost)
            rows.append({"cost": cost, "seed": seed, **_one(ground, config, seed, args.minutes)})
            print(rows[-1], flush=True)
    means = {
        cost: {
            frame: round(mean(row["points"][frame] for row in rows if row["cost"] == cost), 3)
            for frame in ("forward", "rotated")
        }
        for cost in args.costs
    }
    figures = {"data": data, "minutes": args.minutes, "k": args.k, "labels": LABELS, "means": means}
    record.write("landmarks_losses", figures | {"rows": rows}, seeds=args.seeds, quiet=True)


def _ground(data: str) -> Ground:
    images = open_data(data)
    blind, size = Unlabelled(images), Imm.presets["small"].input_size
    frames = find_frames(blind, "moments")
    view = view_of(frames, size)
    crops = gather(blind, frames, size, clips=True, length=Imm.clip_length)
    return Ground(images=images, view=view, crops=crops, every=frames_for(images, view))


def _one(ground: Ground, config: ImmConfig, seed: int, minutes: float) -> dict[str, Any]:
    """One training: errors of its points, of the network before it learned and of the mean shape; health."""
    torch.manual_seed(seed)
    method = Imm(config)
    torch.manual_seed(seed)
    untrained = Imm(config).eval()
    recipe = Imm.recipe_of("small")
    with tempfile.TemporaryDirectory() as place:
        done = train(
            method, ground.crops, Run(Path(place)), seed=seed, minutes=minutes, recipe=recipe, device="cpu"
        )
    images, view, every = ground.images, ground.view, ground.every
    assert images.table is not None
    parts = split(labelled_pictures(images.table), seed=seed)
    report = measure_landmarks(
        method.eval(), untrained, view, images, parts.train, parts.test, seed, "strict", "cpu"
    )
    errors = {}
    for points in report.sets:
        row = next((row for row in points.curve if row.n_images == LABELS), points.curve[-1])
        errors[points.name] = {
            "forward": round(row.forward.mean_px, 3),
            "rotated": None if row.rotated is None else round(row.rotated.mean_px, 3),
        }
    alive = health_of(method, look_at(images, view, parts.test, every), every, view, "cpu")
    return {"steps": done["steps"], **errors, **{key: alive[key] for key in HEALTH}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--costs", nargs="+", choices=tuple(COSTS), default=tuple(COSTS))
    parser.add_argument("--world", type=int, default=5, help="seed of the generated animals")
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=0.75)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    args = parser.parse_args()
    processor_minutes()
    losses(args)


if __name__ == "__main__":
    main()
