"""Landmarks on face crops, without labels: python bench/landmark_faces.py [--seeds 0 1 2] [--minutes 3].

Each method learns from the 45 human faces of --data (photographs, paintings, drawings) and finds its points
in them and in their mirror images. Told is how far the two are apart, under the permutation that was learned
from half of the pictures, under none, and of the network before it learned; see metrics/mirror.py. A method
that averages a picture with its mirror image does not do so here, for it would agree with itself by
construction; mirror_px_as_used is with its averaging.
Points that never move pass this test, too: beside it stand the error against the mirror image of another
face, how far points move, and how steady they are under known warps. Whether they sit on parts is for the eye
(--draw FILE draws the first seed of each).
Minutes are minutes of processor time on one thread: run it with OMP_NUM_THREADS=1.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from landmarks import merge, processor_minutes
from numpy.typing import NDArray

from asterism.data.frames import find_frames
from asterism.data.gathered import Gathered, gather
from asterism.data.sources import open_data
from asterism.engine.judge import equivariance
from asterism.engine.lesson import trainable
from asterism.engine.runs import Run
from asterism.engine.train import train
from asterism.engine.weights import load_weights, read_about
from asterism.io.images import write_image
from asterism.methods.base import Method, Trainable
from asterism.metrics.mirror import mirror_score
from asterism.types import Images
from asterism.viz import draw

SELF_TRAINING = "self-training-corr"
METHODS = (SELF_TRAINING, "fse-landmarks")
_DRAWN = 15  # faces


def measure(args: argparse.Namespace) -> None:
    images = open_data(str(args.data / "face_crops/demo/images/human_face"))
    frames = find_frames(images, "whole")
    shown = []
    for name in args.methods:
        rows, side = [], min(trainable(name, args.preset).presets[args.preset].input_size)
        for seed in args.seeds:
            run = args.out / f"faces-{name}-{args.preset}-{seed}"
            fresh = built(name, args.preset, args.k, seed)
            crops = gather(images, frames, fresh.config.input_size, clips=False)
            before = scores(fresh, crops)
            method, about = trained(fresh, crops, run, args, seed)
            steady, stuck = equivariance(method, crops, frames)
            row = scores(method, crops) | {"untrained": before, "seed": seed, "steps": about["steps"]}
            row |= {"equivariance": float(steady.mean()), "equivariance_of_fixed_points": float(stuck.mean())}
            rows.append(row)
            print(name, seed, {k: v for k, v in row.items() if isinstance(v, float)}, flush=True)
            if seed == args.seeds[0]:
                shown.append(sheet(method, crops))
        figures = summary(rows) | {"side_px": side, "minutes": args.minutes, "k": args.k, "rows": rows}
        merge("landmark_faces", f"{name}, {args.preset}", figures, args.seeds, NOTE)
    if args.draw is not None:
        write_image(args.draw, draw.contact_sheet(shown, 1))


NOTE = (
    "Errors in pixels of the network's input, whose shorter side is side_px. The pictures show people and "
    "are not copied here: --draw FILE draws the points on them."
)


def built(name: str, preset: str, k: int, seed: int) -> Trainable:
    cls = trainable(name, preset)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return cls(replace(cls.presets[preset], n_keypoints=k)).eval()


def trained(
    fresh: Trainable, crops: Gathered, run: Path, args: argparse.Namespace, seed: int
) -> tuple[Method, dict[str, Any]]:
    if not (run / "done").exists():
        recipe = fresh.recipe_of(args.preset)
        crops.as_clips = False
        train(fresh, crops, Run(run), seed=seed, minutes=args.minutes, recipe=recipe, device="cpu")
        (run / "done").touch()
    return load_weights(run / "best")[0].eval(), read_about(run / "best")["trained"]


def places(method: Method, crops: Gathered) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points of all pictures and of their mirror images, each in its own network pixels."""
    every = crops.images(np.arange(len(crops)))
    own = torch.eye(2, 3).expand(len(crops), 2, 3)
    found = []
    for image in (every.image, every.image.flip(-1)):
        found.append(method.predict(Images(image=image, to_source=own)).xy.double().numpy())
    return found[0], found[1]


def scores(method: Method, crops: Gathered) -> dict[str, Any]:
    width, config = method.config.input_size[1], method.config
    used = mirror_score(*places(method, crops), width)
    if hasattr(config, "agreement"):
        method.config = replace(config, agreement=2.0)  # never reached: no averaging
    plain, mirrored = places(method, crops)
    method.config = config
    told = mirror_score(plain, mirrored, width)
    others = mirror_score(plain, np.roll(mirrored, 2, axis=0), width)
    stray = np.sqrt(np.square(plain - plain.mean(0)).sum(-1).mean(0))
    gap = np.hypot(*np.moveaxis(plain[:, :, None] - plain[:, None], -1, 0))
    gap = gap + 1e9 * np.eye(gap.shape[1])
    return {
        "mirror_px": told.error,
        "mirror_px_without_swap": told.error_without_swap,
        "mirror_px_per_point": [round(e, 2) for e in told.per_point],
        "mirror_px_as_used": used.error,
        "mirror_px_of_another_face": others.error,
        "swap": list(told.swap),
        "moves_px": float(stray.mean()),
        "nearest_other_px": float(gap.min(2).mean()),
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Median and spread over seeds."""
    out: dict[str, Any] = {}
    names = ("mirror_px", "mirror_px_without_swap", "mirror_px_of_another_face", "moves_px")
    for name in (*names, "mirror_px_as_used", "nearest_other_px", "equivariance"):
        values = [row[name] for row in rows]
        out[name] = {"median": float(np.median(values)), "low": min(values), "high": max(values)}
    before = [row["untrained"]["mirror_px"] for row in rows]
    out["untrained_mirror_px"] = {"median": float(np.median(before)), "low": min(before), "high": max(before)}
    return out


def sheet(method: Method, crops: Gathered) -> NDArray[np.uint8]:
    """Faces of all kinds with the points, as the method is used: with its averaging."""
    which = np.unique(np.linspace(0, len(crops) - 1, _DRAWN).round().astype(int))
    every = crops.images(which)
    own = torch.eye(2, 3).expand(len(which), 2, 3)
    xy = method.predict(Images(image=every.image, to_source=own)).xy.double().numpy()
    size = method.config.input_size
    large = (3 * size[0], 3 * size[1])
    cells = []
    for image, points in zip(every.image, xy):
        face = (image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        face = draw.fit(face, max(large))
        cells.append(draw.points(face, draw.moved(points, size, large)))
    return draw.contact_sheet(cells, 5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--preset", default="small")
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--draw", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/landmarks"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    args = parser.parse_args()
    processor_minutes()
    measure(args)


if __name__ == "__main__":
    main()
