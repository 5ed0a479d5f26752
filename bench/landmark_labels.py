"""Error against the number of labels: python bench/landmark_labels.py NAME [--draws 2] [--minutes 1].

creatures  generated animals, K = 12
mouse      the clip of a mouse that is held in place; labels are those of 90 other pictures of it, K = 12
flies      the clip of two flies, K = 8: one picture of it is labelled, so there is no curve, only the spread
picture    draws docs/labels.png from bench/landmark_labels.json
choose     what the present rule of choice takes, from the draws that are kept beside the runs
Points are discovered first (--discover minutes in all), and kept in --out. Some labelled pictures are drawn
to learn from, all others test, plain and turned. Ways: those `asterism attach` chooses from, what it chooses,
and a stacked hourglass learned from the same pictures in the same frames for as long as attach may learn.
Minutes are minutes of processor time on one thread: run it with OMP_NUM_THREADS=1.
The real data are not part of the repository: --data names their folder.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from landmarks import merge, processor_minutes
from numpy.typing import NDArray

from asterism.data.base import ImageSet
from asterism.data.crops import Crops
from asterism.data.sources import open_data
from asterism.data.subset import thinned
from asterism.engine.attach import learn, shown_by
from asterism.engine.attached import flattened
from asterism.engine.choice import challenged, choose
from asterism.engine.discover import discover
from asterism.engine.fewshot import (
    KEPT,
    LINEAR,
    PARTS,
    Length,
    Shown,
    held_out,
    learn_refiner,
    linear_ways,
    refined,
)
from asterism.engine.ground import found, in_frame
from asterism.engine.lesson import labelled_pictures, trainable
from asterism.engine.looks import Looked, look_at, turned_looks
from asterism.engine.runs import Run
from asterism.engine.train import train
from asterism.engine.view import View, frames_for, read_view
from asterism.engine.weights import load_weights
from asterism.io.images import write_image
from asterism.io.keypoints import read_keypoints
from asterism.methods.base import Method
from asterism.viz.draw import contact_sheet
from asterism.viz.plot import Curve, chart

HERE = Path(__file__).parent
CREATURES = "world:creatures?n=600&clips=4&background=textured&seed=5"
_MOST = 200  # pictures that test
HOURGLASS = "stacked-hourglass"
Errors = dict[str, NDArray[np.float64]]  # way -> N K, source pixels, NaN where there is none


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What points are discovered in, how many, and the labelled pictures of the same kind, if any."""

    clip: str
    k: int
    labels: str | None


def subjects(data: Path) -> dict[str, Subject]:
    flies = data / "fly_and_robot_video/json_format_v1/centered_pair_low_quality.mp4"
    mouse = data / "mirror_mouse"
    return {
        "creatures": Subject(clip=CREATURES, k=12, labels=CREATURES),
        "mouse": Subject(clip=str(mouse / "videos/test_vid.mp4"), k=12, labels=str(mouse)),
        "flies": Subject(clip=str(flies), k=8, labels=None),
    }


@dataclass(frozen=True, kw_only=True)
class Ground:
    """The labelled pictures, plain and turned, as the run looks at them and as its method sees them."""

    view: View
    plain: Looked
    turned: list[Looked]
    shown: Shown
    shown_turned: list[Shown]


def measure(name: str, args: argparse.Namespace) -> None:
    subject, run = subjects(args.data)[name], args.out / f"labels-{name}"
    if not (run / "keypoints.csv").exists():
        discover(subject.clip, subject.k, run, minutes=args.discover, device="cpu")
    view = read_view(Run(run))
    method, _ = load_weights(run / "best")
    out: dict[str, Any] = {"method": method.name, "frame": view.kind, "discover_minutes": args.discover}
    images = open_data(subject.labels or subject.clip)
    if subject.labels is None:
        merge("landmark_labels", name, out | {"spread": spread_in_clip(run, view, images)}, [0])
        return
    ground = ground_of(method, view, images)
    out |= {"pictures": len(np.unique(ground.shown.image)), "attach_minutes": args.minutes}
    out["spread"] = spread_by_labels(method, view, ground.plain)
    merge("landmark_labels", name, out, [0])
    out["counts"] = {}
    for n in args.counts:
        rows = [one(images, ground, n, draw, args, run) for draw in range(args.draws)]
        out["counts"][str(n)] = summary(rows)
        merge("landmark_labels", name, out, [0])  # a measurement that is stopped leaves what it has
        print(n, out["counts"][str(n)]["native"], out["counts"][str(n)]["rotated"], flush=True)


def ground_of(method: Method, view: View, images: ImageSet) -> Ground:
    assert images.table is not None
    pictures = labelled_pictures(images.table)
    plain = look_at(images, view, pictures, frames_for(images, view))
    few = np.random.default_rng(0).permutation(pictures)[:_MOST]
    turned = turned_looks(images, view, few, 0)
    return Ground(
        view=view,
        plain=plain,
        turned=turned,
        shown=shown_by(method, plain, view),
        shown_turned=[shown_by(method, look, view) for look in turned],
    )


# ---------------------------------------------------------------------------------------------- one draw


def one(
    images: ImageSet, ground: Ground, n: int, draw: int, args: argparse.Namespace, run: Path
) -> dict[str, Any]:
    """Mean errors of every way when `n` pictures are drawn to learn from; the errors themselves are kept."""
    every = ground.shown
    learnt = np.random.default_rng([0, draw, n]).choice(np.unique(every.image), n, replace=False)
    shown = every.rows(np.isin(every.image, learnt))
    began = time.process_time()
    length = Length(minutes=args.minutes, steps=None, seed=draw, device="cpu")
    learned = learn(shown, length)
    seconds = time.process_time() - began
    heads = {name: read(shown, shown.teaches) for name, read in LINEAR.items()}
    refiner = learned.refiner
    if refiner is None and "detector" in learned.ways:  # not chosen, but its error belongs into the table
        refiner = learn_refiner(shown, shown.teaches, length.part(KEPT))
    rival = None
    if draw < args.hourglass_draws:
        rival = hourglass(images, ground, learnt, args.minutes, run / f"hourglass-{n}-{draw}", draw)
    answer: dict[str, Any] = {"seconds": seconds, "expected": _mean(learned.choice.error)}
    answer["taken"] = dict(Counter(learned.choice.taken))
    answer["held_out"] = {name: _mean(e) for name, e in learned.choice.known.items()}
    kept: Errors = {f"known {name}": e for name, e in learned.choice.known.items()}
    for name, read in LINEAR.items():
        half = held_out(read, shown, np.ones(len(shown.xy), bool), length.seed, PARTS)
        kept[f"same {name}"] = shown.distance(half.xy, half.known)
    sides = (("native", [ground.plain], [every]), ("rotated", ground.turned, ground.shown_turned))
    for kind, looks, seen in sides:
        parts = []
        for look, part in zip(looks, seen):
            test = _spread_out(~np.isin(part.image, learnt))
            found = errors(part.rows(test), heads, refiner, learned.choice.taken)
            if rival is not None:
                found["hourglass"] = hourglass_errors(rival, look, test)
            parts.append(found)
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        answer[kind] = {name: _mean(values) for name, values in joined.items()}
        kept |= {f"{kind} {name}": values for name, values in joined.items()}
    np.savez_compressed(run / f"draw-{n}-{draw}.npz", **kept)  # pyright: ignore[reportArgumentType]
    return answer


def _mean(values: NDArray[np.float64]) -> float:
    return float(np.nanmean(values))


def _spread_out(test: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """At most _MOST rows, evenly over all."""
    which = np.flatnonzero(test)
    kept = np.zeros(len(test), bool)
    kept[which[np.unique(np.linspace(0, len(which) - 1, _MOST).round().astype(int))]] = True
    return kept


def errors(shown: Shown, heads: Mapping[str, Any], refiner: Any, taken: Sequence[str]) -> Errors:
    """Distances of every way, and of the way chosen for each point."""
    known = np.broadcast_to(heads["frame"].known, shown.labelled.shape)
    found = {}
    for name, head in heads.items():
        weight, intercept = flattened(head)
        xy = np.einsum("npi,pikj->nkj", shown.points, weight) + intercept
        found[name] = shown.distance(xy, known)
    if refiner is not None:
        every = np.ones(len(shown.xy), bool)
        found["detector"] = shown.distance(refined(refiner, heads["head"], shown, every), known)
    found["chosen"] = np.stack([found[name][:, k] for k, name in enumerate(taken)], axis=1)
    return found


def hourglass(
    images: ImageSet, ground: Ground, learnt: NDArray[np.int64], minutes: float, run: Path, seed: int
) -> Method:
    """A network from scratch: the same labelled pictures, the same frames, the same time."""
    cls = trainable(HOURGLASS, "small")
    config = replace(cls.presets["small"], n_keypoints=len(ground.plain.names))
    recipe = cls.recipe_of("small")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        built = cls(config)
    frames = ground.plain.frames.rows(np.isin(ground.plain.frames.image, learnt))
    crops = Crops(images, thinned(images, frames), config.input_size, recipe.augment, seed)
    train(built, crops, Run(run), seed=seed, minutes=minutes, recipe=recipe, device="cpu")
    return built.eval()


def hourglass_errors(method: Method, look: Looked, test: NDArray[np.bool_]) -> NDArray[np.float64]:
    part = replace(look, frames=look.frames.rows(test))
    xy = found(method, [part], method.config.input_size, "cpu")
    gap = np.hypot(*np.moveaxis(xy - look.labels.xy[test], -1, 0))
    return np.where(look.labels.labelled[test], gap, np.nan)


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over draws, the ratios to the frame and of turned to plain, and the draws themselves."""
    out: dict[str, Any] = {}
    for kind in ("native", "rotated"):
        names = rows[0][kind]
        out[kind] = {n: float(np.mean([row[kind][n] for row in rows if n in row[kind]])) for n in names}
    ratios = [row["native"]["chosen"] / row["native"]["frame"] for row in rows]
    out["chosen_over_frame"] = {"mean": float(np.mean(ratios)), "worst": float(np.max(ratios))}
    out["rotated_over_native"] = out["rotated"]["chosen"] / out["native"]["chosen"]
    out["expected"] = float(np.mean([row["expected"] for row in rows]))
    return out | {"draws": rows}


# ------------------------------------------------------------------------------------------------ spread


def spread_by_labels(method: Method, view: View, look: Looked) -> dict[str, Any]:
    """How far each point strays from its mean place (root mean square, source pixels): in the image, in the
    body's own frame as the labels tell it, and beside the labelled point that it follows best."""
    points, labels = found(method, [look], view.size, "cpu"), look.labels
    full = labels.labelled.all(0) if labels.labelled.all(0).sum() > 2 else labels.labelled.mean(0) > 0.9
    rows = labels.labelled[:, full].all(1)
    truth, points = labels.xy[rows][:, full], points[rows]
    body = _upright(truth, points)
    follows = np.stack([_stray(points - truth[:, [k]]) for k in range(truth.shape[1])]).min(0)
    out = _compared(_stray(points), _stray(body))
    return out | {"body": "rigid fit of the labelled points", "beside_a_label": follows.round(2).tolist()}


def spread_in_clip(run: Path, view: View, images: ImageSet) -> dict[str, Any]:
    """The same without labels, of what the run found: the body's frame is the one it looked at."""
    frames, table = frames_for(images, view), read_keypoints(run / "keypoints.csv")
    image, body = [], []
    for who in np.unique(frames.individual):
        mine = frames.rows(frames.found & (frames.individual == who))
        own = np.flatnonzero((table.individual == who) & table.labelled.all(1))
        row_of = {int(table.image[row]): row for row in own}
        mine = mine.rows(np.isin(mine.image, list(row_of)))
        points = table.xy[[row_of[int(index)] for index in mine.image]]
        look = Looked(images=images, frames=mine, labels=None, names=())  # type: ignore[arg-type]
        image.append(_stray(points))
        body.append(_stray(in_frame(points, [look])))
    return _compared(np.mean(image, 0), np.mean(body, 0)) | {"body": "moments of what moves"}


def _compared(image: NDArray[np.float64], body: NDArray[np.float64]) -> dict[str, Any]:
    return {
        "image_px": image.round(2).tolist(),
        "body_px": body.round(2).tolist(),
        "ratio_median": float(np.median(body / image)),
        "points_steadier_in_the_body": int((body < image).sum()),
        "points": len(body),
    }


def _stray(xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Root mean square distance from the mean place; N P 2 -> P."""
    return np.sqrt(np.square(xy - xy.mean(0)).sum(-1).mean(0))


def _upright(truth: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The points, moved by the rotation and shift that bring each row's labels to their mean shape."""
    z, p = (xy[..., 0] + 1j * xy[..., 1] for xy in (truth, points))
    middle = z.mean(1, keepdims=True)
    z, p, shape = z - middle, p - middle, (z - middle)[0]
    for _ in range(10):
        shape = (z * _turn(shape, z)).mean(0)
    p = p * _turn(shape, z)
    return np.stack([p.real, p.imag], -1)


def _turn(shape: NDArray[np.complex128], z: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Of each row, the rotation that brings it nearest to the shape."""
    turn = (shape * z.conj()).sum(1)
    return (turn / np.abs(turn))[:, None]


# ----------------------------------------------------------------------------------------------- choice


def choices(args: argparse.Namespace) -> None:
    """What the rule in engine.choice takes, from the held-out errors of the draws that are kept."""
    for name in ("creatures", "mouse"):
        figures = json.loads((HERE / "landmark_labels.json").read_text())["figures"][name]
        for n, part in figures["counts"].items():
            for draw, row in enumerate(part["draws"]):
                held: Errors = dict(np.load(args.out / f"labels-{name}" / f"draw-{n}-{draw}.npz"))
                ways = linear_ways(figures["frame"] == "moments", int(n))
                taken = choose({way: held[f"known {way}"] for way in ways})
                if "known detector" in held:
                    same = {way: held[f"same {way}"] for way in ways}
                    taken = challenged(taken, "detector", held["known detector"], same)
                row |= {"expected": _mean(taken.error), "taken": dict(Counter(taken.taken))}
                for kind in ("native", "rotated"):
                    own = np.stack([held[f"{kind} {w}"][:, k] for k, w in enumerate(taken.taken)], 1)
                    row[kind]["chosen"] = _mean(own)
            figures["counts"][n] = summary(part["draws"])
        merge("landmark_labels", name, figures | {"command": figures["command"]}, [0])


def picture() -> None:
    """docs/labels.png: plain errors against the number of labelled pictures."""
    figures = json.loads((HERE / "landmark_labels.json").read_text())["figures"]
    ways, charts = ("frame", "head", "detector", "chosen", "hourglass"), []
    for name, part in figures.items():
        if "counts" not in part:
            continue
        counts = {int(n): row["native"] for n, row in part["counts"].items()}
        told = sorted(counts)
        lines = {way: Curve(x=told, y=[counts[n].get(way, np.nan) for n in told]) for way in ways}
        charts.append(chart(lines, x_name="labelled pictures", y_name="error, px", title=name))
    write_image(HERE.parent / "docs" / "labels.png", contact_sheet(charts, 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("name", choices=("creatures", "mouse", "flies", "choose", "picture"))
    parser.add_argument("--counts", type=int, nargs="+", default=[5, 10, 20, 50])
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--hourglass-draws", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--discover", type=float, default=2.0)
    parser.add_argument("--out", type=Path, default=Path("runs/landmarks"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    args = parser.parse_args()
    processor_minutes()
    if args.name == "choose":
        choices(args)
    elif args.name == "picture":
        picture()
    else:
        measure(args.name, args)


if __name__ == "__main__":
    main()
