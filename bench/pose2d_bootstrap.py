"""Multi-view bootstrapping from 20 labelled pictures of a generated rig: bench/pose2d_bootstrap.py

For each seed: a rig of 8 cameras and people who move; 20 pictures of the first 6 cameras have labels.
`bootstrap` learns from these, twice from what 6 cameras agree on. The control learns from the same 20
pictures alone, for as long as all of that took (training, looking and triangulating), by the processor's
clock of one thread. Errors are means over all points inside the picture, hidden ones too, on moments that
nobody learned from (the end of every person's time), in the 6 cameras and in 2 that were never used, and of
other people in a rig of other cameras.
Run with OMP_NUM_THREADS=1. Overlays of the new labels are written beside the runs. A seed that was measured
already is not measured again.
"""

import argparse
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import record
from landmarks import processor_minutes

from asterism.catalogue import method_class
from asterism.data.base import ImageSet
from asterism.data.multiview import MultiView, views_of
from asterism.data.tables import take_pictures
from asterism.data.worlds import Rig
from asterism.engine.bootstrap import Ground, Teaching, bootstrap, learn, look
from asterism.engine.held import held
from asterism.engine.predict import keypoints
from asterism.engine.runs import Run
from asterism.engine.weights import load_weights
from asterism.io.images import write_image
from asterism.io.keypoints import read_keypoints
from asterism.methods.base import Method
from asterism.viz.overlay import sheet, spread

USED = range(6)  # cameras that learn
KEPT = 0.25  # of every person's time: nobody learns from it
Errors = dict[str, float]


def moments(rig: Rig) -> tuple[np.ndarray, np.ndarray]:
    """Moments to learn from, and the last ones of every person."""
    test = []
    for person in range(rig.subjects):
        mine = np.array([t for t in range(rig.moments) if rig.subject(t) == person])
        test += mine[-max(1, round(KEPT * len(mine))) :].tolist()
    return np.setdiff1d(np.arange(rig.moments), test), np.array(test)


def few(images: MultiView, n: int, seed: int) -> Any:
    """Labels of n pictures, over all pictures of the set."""
    assert images.table is not None
    chosen = np.random.default_rng([seed, 20]).choice(len(images), n, replace=False)
    table = images.table
    rows = np.isin(table.image, chosen)
    columns = ("image", "individual", "xy", "labelled", "visible", "score", "box", "has_box", "area")
    return replace(table, **{name: getattr(table, name)[rows] for name in columns})


def errors(method: Method, tests: dict[str, Ground], truth: dict[str, ImageSet]) -> Errors:
    """Mean error in pixels, and the share of points within 5 % of the picture."""
    out: Errors = {}
    for name, ground in tests.items():
        xy, _ = keypoints(method, ground.images, ground.frames, ground.view.size, device="cpu")
        table = truth[name].table
        assert table is not None
        gap = np.hypot(*np.moveaxis(xy - table.xy, -1, 0))[table.labelled]
        out[name] = float(gap.mean())
        out[f"{name}, median"] = float(np.median(gap))
        out[f"{name}, within 5 %"] = float((gap <= 0.05 * 128).mean())
    return out


def one(seed: int, args: argparse.Namespace) -> dict[str, Any]:
    rig = Rig(n=args.moments, views=8, subjects=args.people, seed=100 + seed)
    learned, kept = moments(rig)
    every = views_of(rig)
    images = every.only(USED, learned)
    images = MultiView([held(view) for view in images.views], images.cameras)
    images.title = rig.title
    for view in images.views:  # drawing the world is no work of the method's
        _ = [view.picture(t) for t in range(len(view))]
    labels = few(images, args.labels, seed)
    stranger = views_of(Rig(n=24, views=8, subjects=8, seed=900 + seed))
    truth: dict[str, ImageSet] = {
        "new moments, cameras used": every.only(USED, kept),
        "new moments, new cameras": every.only([6, 7], kept),
        "new people, new cameras": stranger.only(range(8), np.arange(24)),
    }
    teaching = Teaching(minutes=args.minutes, seed=seed, preset=args.preset, frame="whole", device="cpu")
    size = method_class(teaching.method).presets[args.preset].input_size
    tests = {name: look(images, size, "whole") for name, images in truth.items()}  # type: ignore[arg-type]
    out = args.out / f"seed{seed}"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    began = time.process_time()
    report = bootstrap(images, labels, out / "bootstrap", rounds=args.rounds, teaching=teaching)
    minutes = (time.process_time() - began) / 60
    answer: dict[str, Any] = {"minutes": minutes, "rounds": report["numbers"]["rounds"]}
    for turn in range(args.rounds + 1):
        method, _ = load_weights(out / "bootstrap" / f"round-{turn}" / "best")
        answer[f"round {turn}"] = errors(method, tests, truth)
        if turn:
            answer[f"labels {turn}"] = label_errors(out / "bootstrap", images, labels.image, turn)
    longer = replace(teaching, minutes=minutes)
    ground = look(images, size, "whole")
    control = learn(method_class(teaching.method), ground, labels, Run(out / "control"), longer, None)
    answer["control"] = errors(control, tests, truth)
    told = [f"round {turn}" for turn in range(args.rounds + 1)] + ["control"]
    print(seed, {name: {k: round(v, 2) for k, v in answer[name].items()} for name in told}, flush=True)
    print(seed, answer["rounds"], [answer[f"labels {t + 1}"] for t in range(args.rounds)], flush=True)
    return answer


def label_errors(out: Path, images: MultiView, own: np.ndarray, turn: int) -> dict[str, float]:
    """How right the new labels are, those of hidden points too; and a sheet to look at."""
    table = read_keypoints(out / f"labels-{turn}.csv")
    place = {images.name(i): i for i in range(len(images))}
    index = np.array([place[name] for name in table.images])
    assert images.table is not None
    truth = take_pictures(images.table, index)
    gap = np.hypot(*np.moveaxis(table.xy - truth.xy[table.image], -1, 0))
    new = ~np.isin(index[table.image], own)[:, None]
    both = table.labelled & truth.labelled[table.image] & new
    hidden = both & ~truth.visible[table.image]
    chosen = [int(index[i]) for i in spread(range(len(index)), 24)]
    shown = sheet(images, replace(table, edges=images.table.edges), chosen, columns=8)
    write_image(out / f"labels-{turn}.png", shown)
    return {
        "pictures": float(new.sum()),
        "labelled": float(both.sum() / (truth.labelled[table.image] & new).sum()),
        "mean_px": float(gap[both].mean()),
        "median_px": float(np.median(gap[both])),
        "hidden_px": float(gap[hidden].mean()),
        "off_by_5_%": float((gap[both] > 0.05 * 128).mean()),
    }


def summary(rows: list[dict[str, Any]], rounds: int) -> dict[str, Any]:
    """Means over seeds, and by how much the last round is better than the control and than the first."""
    out: dict[str, Any] = {}
    for name in ("round 0", f"round {rounds}", "control"):
        out[name] = {k: float(np.mean([row[name][k] for row in rows])) for k in rows[0][name]}
    for name in ("control", "round 0"):
        out[f"less than {name}"] = {
            key: {
                "mean": float(np.mean([less(row, key, name, rounds) for row in rows])),
                "each": [round(less(row, key, name, rounds), 3) for row in rows],
            }
            for key in rows[0]["control"]
            if "," in key and not key.endswith("%")
        }
    return out | {"seeds": rows}


def less(row: dict[str, Any], key: str, name: str, rounds: int) -> float:
    return 1 - row[f"round {rounds}"][key] / row[name][key]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=1.0, help="of training in each round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--labels", type=int, default=20)
    parser.add_argument("--moments", type=int, default=120)
    parser.add_argument("--people", type=int, default=4)
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--out", type=Path, default=Path("runs/bootstrap"))
    args = parser.parse_args()
    processor_minutes()
    rows = []
    for seed in args.seeds:
        path = args.out / f"seed{seed}" / "figures.json"
        if not path.exists():
            answer = one(seed, args)
            path.write_text(json.dumps(answer))
        rows.append(json.loads(path.read_text()))
    figures = summary(rows, args.rounds) | {"asked": {k: str(v) for k, v in vars(args).items()}}
    record.write("pose2d_bootstrap", figures, seeds=args.seeds, quiet=True)


if __name__ == "__main__":
    main()
