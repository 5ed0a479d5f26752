"""Error against the number of labels of what `asterism attach` can choose from, and of what it chooses.

python bench/attach.py RUN DATA [--counts 5 10 20 50] [--draws 2] [--minutes 1] prints JSON. RUN is a run of
discover, DATA has labels of many pictures: some are drawn to learn from, all others test, plain and turned.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from asterism.data.sources import open_data
from asterism.engine.attach import learn, shown_by
from asterism.engine.attached import flattened
from asterism.engine.fewshot import KEPT, LINEAR, Length, Shown, learn_refiner, refined
from asterism.engine.lesson import labelled_pictures
from asterism.engine.looks import look_at, turned_looks
from asterism.engine.runs import Run
from asterism.engine.view import frames_for, read_view
from asterism.engine.weights import load_weights

_MOST = 200  # pictures that test


def curve(
    run: Path, data: str, counts: Sequence[int], draws: int, minutes: float, seeds: Sequence[int] = (0,)
) -> dict[str, Any]:
    """Mean errors in source pixels by number of labelled pictures: each way, and the chosen one.

    `minutes` are those of one attach; `expected` is the error that it would have printed.
    """
    view, images = read_view(Run(run)), open_data(data)
    assert images.table is not None
    method, _ = load_weights(run / "best")
    pictures = labelled_pictures(images.table)
    plain = shown_by(method, look_at(images, view, pictures, frames_for(images, view)), view)
    few = np.random.default_rng(0).permutation(pictures)[:_MOST]
    turned = [shown_by(method, look, view) for look in turned_looks(images, view, few, 0)]
    out: dict[str, Any] = {"run": str(run), "data": data, "minutes": minutes, "counts": {}}
    for n in counts:
        rows = []
        for seed in seeds:
            for draw in range(draws):
                learnt = np.random.default_rng([seed, draw, n]).choice(pictures, n, replace=False)
                rows.append(one(plain, turned, learnt, minutes, seed))
        out["counts"][str(n)] = summary(rows)
    return out


def one(plain: Shown, turned: list[Shown], learnt: np.ndarray, minutes: float, seed: int) -> dict[str, Any]:
    """One draw of labelled pictures."""
    shown = plain.rows(np.isin(plain.image, learnt))
    began = time.monotonic()
    length = Length(minutes=minutes, steps=None, seed=seed, device="cpu")
    learned = learn(shown, length)
    seconds = time.monotonic() - began
    heads = {name: read(shown, shown.teaches) for name, read in LINEAR.items()}
    refiner = learned.refiner
    if refiner is None and "detector" in learned.ways:  # not chosen, but its error belongs into the table
        refiner = learn_refiner(shown, shown.teaches, length.part(KEPT))
    answer: dict[str, Any] = {"seconds": seconds, "expected": float(np.nanmean(learned.choice.error))}
    answer["taken"] = dict(Counter(learned.choice.taken))
    answer["held_out"] = {name: float(np.nanmean(e)) for name, e in learned.choice.known.items()}
    for kind, looks in (("native", [plain]), ("rotated", turned)):
        parts: list[dict[str, np.ndarray]] = []
        for look in looks:
            test = ~np.isin(look.image, learnt)
            test &= np.cumsum(test) <= _MOST if kind == "rotated" else _spread(test)
            if test.any():
                parts.append(errors(look.rows(test), heads, refiner, learned.choice.taken))
        joined = {name: np.concatenate([part[name].ravel() for part in parts]) for name in parts[0]}
        answer[kind] = {name: float(np.nanmean(values)) for name, values in joined.items()}
    return answer


def _spread(test: np.ndarray) -> np.ndarray:
    """At most _MOST rows, evenly over all."""
    which = np.flatnonzero(test)
    kept = np.zeros(len(test), bool)
    kept[which[np.unique(np.linspace(0, len(which) - 1, _MOST).round().astype(int))]] = True
    return kept


def errors(
    shown: Shown, heads: dict[str, Any], refiner: Any, taken: tuple[str, ...]
) -> dict[str, np.ndarray]:
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
    chosen = np.stack([found[name][:, k] for k, name in enumerate(taken)], axis=1)
    return {**found, "chosen": chosen}


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over draws, the ratio of the chosen to the frame, and the draws themselves."""
    out: dict[str, Any] = {}
    for kind in ("native", "rotated"):
        out[kind] = {name: float(np.mean([row[kind][name] for row in rows])) for name in rows[0][kind]}
    ratios = [row["native"]["chosen"] / row["native"]["frame"] for row in rows]
    out["chosen_over_frame"] = {"mean": float(np.mean(ratios)), "worst": float(np.max(ratios))}
    out["expected"] = float(np.mean([row["expected"] for row in rows]))
    return out | {"draws": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("data")
    parser.add_argument("--counts", type=int, nargs="+", default=[5, 10, 20, 50])
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    args = parser.parse_args()
    print(json.dumps(curve(args.run, args.data, args.counts, args.draws, args.minutes, args.seeds), indent=1))


if __name__ == "__main__":
    main()
