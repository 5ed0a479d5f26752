"""One set of points under the rules of papers: python bench/landmark_audit.py [--run FOLDER] [--minutes M].

The points of video-difference on generated animals, beside points that must not win: the blob's centre
and axis ends, a ring that never moves, the mean shape, the network before it learned. `asterism evaluate RUN
--protocol all` tells the same without the blob. Where there is no run it is learned first, for --minutes of
processor time on one thread: run it with OMP_NUM_THREADS=1. The table of docs/protocols.md is printed.
"""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import record
from landmarks import processor_minutes
from numpy.typing import NDArray

from asterism.data.sources import open_data
from asterism.engine.compare import compare
from asterism.engine.controls import foreground_controls
from asterism.engine.evaluate import untrained_like
from asterism.engine.ground import found, in_picture
from asterism.engine.looks import Looked, look_at
from asterism.engine.runs import Run
from asterism.engine.view import View, frames_for, read_view
from asterism.engine.weights import load_weights
from asterism.methods.base import Method
from asterism.metrics.landmarks import Labels, Points
from asterism.metrics.protocols import PROTOCOLS, Row, audit, exploits

CREATURES = "world:creatures?n=600&clips=4&background=textured&seed=5"
COLUMNS = ("points", "blob", "untrained", "mean shape", "ring", "points and a ring")


def measure(args: argparse.Namespace) -> None:
    run = args.run
    if not (run / "best").exists():
        options: dict[str, Any] = {"minutes": args.minutes, "k": args.k, "frame": "moments", "device": "cpu"}
        compare(CREATURES, ["video-difference"], run.parent, **options)
    info, view = Run(run).info(), read_view(Run(run))
    method, _ = load_weights(run / "best")
    images = open_data(info["data"]["path"])
    frames = frames_for(images, view)
    sides = [look_at(images, view, np.array(info["split"][part]), frames) for part in ("train", "test")]
    controls = {"untrained": untrained_like(method, info["seed"])}
    controls["blob"] = foreground_controls(images, frames)["blob"]
    h, w = view.size
    swap = images.skeleton.swap if images.skeleton is not None else ()
    own, other = places(method, sides, view), {n: places(c, sides, view) for n, c in controls.items()}
    learn, test = (labels(look, view) for look in sides)
    tables = {}
    for n in (len(learn.xy), args.few):
        some = np.random.default_rng(0).permutation(len(learn.xy))[:n]
        rows = audit(
            first(own, some),
            Labels(learn.xy[some], learn.labelled[some], learn.image[some], learn.normaliser[some]),
            test,
            controls={name: first(points, some) for name, points in other.items()},
            swap=swap,
            corner=(-w / max(h, w), -h / max(h, w)),
            seed=info["seed"],
        )
        tables[str(n)] = {"rows": [asdict(row) for row in rows], "sentences": exploits(rows)}
        print(n, "pictures to learn from", as_table(rows), *exploits(rows), sep="\n")
    figures = {
        "data": info["data"]["path"],
        "trained_minutes": info["minutes"],
        "points": method.config.n_keypoints,
        "labelled_pictures": tables,
    }
    record.write("landmark_audit", figures, seeds=[info["seed"]], quiet=True)


def places(by: Method, sides: list[Looked], view: View) -> Points:
    """Each method looks at crops of its own size; places are those of the run's crops."""
    size = by.config.input_size
    return Points(*(in_picture(found(by, [look], size, "cpu"), look, view.size)[0] for look in sides))


def first(points: Points, some: NDArray[np.int64]) -> Points:
    """With some of the pictures to learn from."""
    return Points(points.train[some], points.test)


def labels(look: Looked, view: View) -> Labels:
    given = look.labels
    xy, unit = in_picture(given.xy, look, view.size)
    xy = np.where(given.labelled[..., None], xy, 0.0)
    return Labels(xy, given.labelled, given.image, given.normaliser / unit)


def as_table(rows: list[Row]) -> str:
    """Markdown: a line per rule, errors as shares of the object's size."""
    cells = {(row.protocol, row.points): row for row in rows}
    lines = ["| rule | " + " | ".join(COLUMNS) + " |", "|---" * (1 + len(COLUMNS)) + "|"]
    for name in PROTOCOLS:
        shares = [cells[name, one].relative for one in COLUMNS]
        told = ["-" if share is None else f"{share:.1%}" for share in shares]
        lines.append(f"| {name} | " + " | ".join(told) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    place = Path("runs/landmarks/table-textured-moments-5/video-difference-s0")
    parser.add_argument("--run", type=Path, default=place)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--few", type=int, default=20, help="pictures to learn from, beside all")
    parser.add_argument("-k", type=int, default=10)
    args = parser.parse_args()
    processor_minutes()
    measure(args)


if __name__ == "__main__":
    main()
