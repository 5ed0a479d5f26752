"""The figures of the first release: python bench/spine.py NAME [--minutes M] [--seeds 0 1] [--out FOLDER].

mouse      stacked-hourglass on the mirror mouse (90 labelled pictures, 17 points), 80/20 split
figures    stacked-hourglass on generated people, tested on others; sub-pixel decoding against argmax
creatures  video-difference on generated animals, probed with 100 labels, against its controls
flies      discovery on a real clip of two flies
mouse_clip discovery on a real clip of a mouse that is held in place, seen in a mirror
The real data are not part of the repository: --data names their folder.
"""

import argparse
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import record
import torch

from asterism.data.sources import open_data
from asterism.engine.looks import look_at
from asterism.engine.runs import Run
from asterism.engine.view import read_view
from asterism.engine.weights import load_weights
from asterism.metrics import pixel
from asterism.ops.heatmap import Codec, Dark, Gaussian, QuarterOffset

FIGURES = "world:figures?n=3000&seed=1"
FIGURES_TEST = "world:figures?n=300&seed=2"
CREATURES = "world:creatures?n=600&clips=4&background=textured&seed=5"


def fresh(out: Path, name: str) -> Path:
    """An empty place for a run."""
    shutil.rmtree(out / name, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    return out / name


def spread(values: list[float]) -> dict[str, Any]:
    return {"mean": float(np.mean(values)), "each": [round(v, 3) for v in values]}


def mouse(args: argparse.Namespace) -> None:
    answers = []
    for seed in args.seeds:
        run = fresh(args.out, f"mouse{seed}")
        data = str(args.data / "mirror_mouse")
        words = ["train", "stacked-hourglass", data, "-o", str(run), "--preset", args.preset]
        began = time.monotonic()
        record.asterism(*words, "--minutes", str(args.minutes), "--seed", str(seed))
        answers.append(record.asterism("evaluate", str(run)) | {"minutes": (time.monotonic() - began) / 60})
    names = ("mean_px", "median_px", "p90_px", "rmse_px", "mean_position_px", "pck_0.1", "rotated_mean_px")
    figures: dict[str, Any] = {name: spread([a[name] for a in answers]) for name in (*names, "minutes")}
    figures |= {"test_pictures": answers[0]["test_pictures"], "preset": args.preset}
    record.write("spine_mouse", figures, seeds=args.seeds)


def figures(args: argparse.Namespace) -> None:
    rows = []
    for seed in args.seeds:
        run = fresh(args.out, f"figures{seed}")
        words = ["train", "stacked-hourglass", FIGURES, "-o", str(run), "--preset", args.preset]
        record.asterism(*words, "--minutes", str(args.minutes), "--seed", str(seed))
        answer = record.asterism("evaluate", str(run), FIGURES_TEST)
        rows.append(answer | decoders(run, FIGURES_TEST))
    names = ("mean_px", "median_px", "pck_0.1", "mean_position_px")
    out: dict[str, Any] = {name: spread([row[name] for row in rows]) for name in names}
    for name in ("argmax", "quarter_offset", "dark"):
        out[name + "_near_median_px"] = spread([row[name] for row in rows])
    out["subpixel_gain"] = spread([1 - row["dark"] / row["argmax"] for row in rows])
    record.write("spine_figures", out | {"preset": args.preset}, seeds=args.seeds, note=FIGURES)


def decoders(run: Path, data: str) -> dict[str, float]:
    """Mean error of the same maps read by three decoders, where the point was found (within two cells).

    A swapped leg is the network's error; what a decoder adds shows on the points that were found.
    """
    view = read_view(Run(run))
    method, _ = load_weights(run / "best")
    images = open_data(data)
    look = look_at(images, view, np.arange(len(images)))
    sigma = float(method.config.sigma)
    stride = 4
    codecs: dict[str, Codec] = {
        "argmax": Gaussian(stride, sigma),
        "quarter_offset": QuarterOffset(stride, sigma),
        "dark": Dark(stride, sigma),
    }
    errors: dict[str, list[np.ndarray]] = {name: [] for name in codecs}
    keep = []
    from asterism.data.crops import Crops
    from asterism.types import Images

    crops = Crops(images, look.frames, view.size)
    for start in range(0, len(crops), 32):
        batch = Images.cat([crops[i] for i in range(start, min(start + 32, len(crops)))])
        maps = method.predict(Images(image=batch.image, to_source=batch.to_source)).maps
        truth = look.labels.xy[start : start + len(batch)]
        labelled = look.labels.labelled[start : start + len(batch)]
        cell = stride * torch.linalg.det(batch.to_source[:, :, :2]).abs().sqrt()
        for name, codec in codecs.items():
            found = codec.decode(maps, batch.to_source).xy.double().numpy()
            errors[name].append(pixel.distances(found, truth, labelled))
        near = errors["argmax"][-1] < 2 * cell[:, None].numpy()
        keep.append(near & labelled)
    chosen = np.concatenate(keep)
    return {name: float(np.concatenate(parts)[chosen].mean()) for name, parts in errors.items()}


def creatures(args: argparse.Namespace) -> None:
    rows = []
    for seed in args.seeds:
        run = fresh(args.out, f"creatures{seed}")
        words = ["discover", CREATURES, "-k", "14", "-o", str(run), "--frame", "moments"]
        record.asterism(*words, "--minutes", str(args.minutes), "--seed", str(seed))
        answer = record.asterism("evaluate", str(run))
        rows.append({s["name"]: at_count(s["curve"], 100) for s in answer["report"]["sets"]})
    out: dict[str, Any] = {}
    for kind in ("forward", "rotated"):
        mean = {n: spread([row[n][kind] for row in rows]) for n in rows[0]}
        out[kind] = mean
        own = mean["points"]["mean"]
        out[f"{kind}_over_mean_shape"] = own / mean["mean shape"]["mean"]
        out[f"{kind}_over_untrained"] = own / mean["untrained"]["mean"]
    record.write("spine_creatures", out, seeds=args.seeds, note=CREATURES)


def at_count(curve: list[dict[str, Any]], n: int) -> dict[str, float]:
    row = next(row for row in curve if row["n_images"] == n)
    return {kind: row[kind]["mean_px"] for kind in ("forward", "rotated")}


def flies(args: argparse.Namespace) -> None:
    clip(args, "flies", "fly_and_robot_video/json_format_v1/centered_pair_low_quality.mp4")


def mouse_clip(args: argparse.Namespace) -> None:
    clip(args, "mouse_clip", "mirror_mouse/videos/test_vid.mp4")


def clip(args: argparse.Namespace, name: str, file: str) -> None:
    out: dict[str, Any] = {}
    for seed in args.seeds:
        run = fresh(args.out, f"{name}{seed}")
        words = ["discover", str(args.data / file), "-k", "8", "-o", str(run), "--seed", str(seed)]
        numbers = record.asterism(*words, "--minutes", str(args.minutes))["numbers"]
        wanted = ("frame", "objects", "pictures", "healthy", "dead", "collapsed", "off_object", "loose")
        out[f"seed {seed}"] = {k: numbers[k] for k in (*wanted, "equivariance_error")}
        out[f"seed {seed}"]["tries"] = len(numbers["tries"])
    record.write(f"spine_{name}", out, seeds=args.seeds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    named = {
        "mouse": mouse,
        "figures": figures,
        "creatures": creatures,
        "flies": flies,
        "mouse_clip": mouse_clip,
    }
    parser.add_argument("name", choices=named)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--preset", default="small")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    args = parser.parse_args()
    named[args.name](args)


if __name__ == "__main__":
    main()
