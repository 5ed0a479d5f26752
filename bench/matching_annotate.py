"""Landmarks without labels: python bench/matching_annotate.py --house DIR [--faces DIR ...].

house      every eighth of the 111 frames of CMU's house, whose 30 landmarks people marked: these are carried
           from every frame to every other by the flow of k landmarks that were found, and counted where they
           come within a share of the picture's longer side (PCK). Beside it "no flow", the same place, and
           "pair alone", the flow of the matches of the two pictures alone (geometry checked, all inliers)
faces, cats   crops of faces (no labels): how many landmarks, and how well they agree
strangers  pictures of different things: what must be refused
"""

import argparse
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import record
import torch

from asterism.data.folder import image_folder
from asterism.engine.annotate import Landmarks, annotate, flow, thinned
from asterism.engine.match import Asked, Seen, feature_method, match, seen
from asterism.errors import RequestError

SHARES = (0.02, 0.05, 0.1)


def looked_at(files: list[str]) -> list[Seen]:
    method = feature_method("sift", "small", 300, True)
    return [thinned(seen(method, name), 0.01) for name in files]


def pair_alone(every: list[Seen], a: int, b: int) -> Landmarks:
    """The inliers of two pictures as landmarks."""
    pair = match(every[a], every[b], Asked(samples=2000))
    on = pair.index[pair.inlier]
    xy = np.full((len(every), len(on), 2), np.nan)
    xy[a], xy[b] = every[a].xy[on[:, 0]].numpy(), every[b].xy[on[:, 1]].numpy()
    _, first = np.unique(xy[a].round(1), axis=0, return_index=True)
    names, sizes = tuple(e.name for e in every), tuple(e.size for e in every)
    score = np.isfinite(xy[:, first, 0]) * 1.0
    ones = np.ones(len(first))
    return Landmarks(names=names, sizes=sizes, xy=xy[:, first], score=score, matched=ones, chance=0.0)


def carried(truth: np.ndarray, size: tuple[int, int], flow_of: Any) -> list[float]:
    """PCK of labels carried between all ordered pairs; a pair without a flow counts as no point right."""
    off = []
    for a, b in permutations(range(len(truth)), 2):
        try:
            there = flow_of(a, b)(torch.from_numpy(truth[a])[None])[0].numpy()
        except RequestError:
            there = np.full_like(truth[a], np.inf)
        off.append(np.linalg.norm(there - truth[b], axis=1) / max(size))
    far = np.concatenate(off)
    return [round(float((far < share).mean()), 4) for share in SHARES]


def house(folder: Path) -> dict[str, Any]:
    frames = list(range(0, 111, 8))
    truth = np.stack([np.loadtxt(folder / "label" / f"house{i + 1}")[:, :2] for i in frames])
    every = looked_at([str(folder / f"house.seq{i}.png") for i in frames])
    size = every[0].size
    out: dict[str, Any] = {"PCK at shares of the longer side": SHARES}
    out["no flow"] = carried(truth, size, lambda a, b: lambda xy: xy)
    for k in (10, 20, 40):
        found = annotate(every, k)
        out[f"k = {k}"] = carried(truth, size, lambda a, b, f=found: flow(f, a, b).points)
        out[f"k = {k}, found"] = len(found.matched)
    out["pair alone"] = carried(truth, size, lambda a, b: flow(pair_alone(every, a, b), a, b).points)
    return out


def counted(folder: Path) -> dict[str, Any]:
    files = image_folder(folder)
    every = looked_at([files.name(i) for i in range(len(files))])
    found = annotate(every, 10)
    matched = [round(m, 3) for m in found.matched.tolist()]
    told = {"pictures": len(every), "landmarks": len(matched), "matched": matched}
    return told | {"chance": round(found.chance, 3)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--house", type=Path, required=True)
    parser.add_argument("--faces", type=Path)
    parser.add_argument("--cats", type=Path)
    parser.add_argument("--strangers", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    figures: dict[str, Any] = {"house": house(given.house)}
    for name in ("faces", "cats", "strangers"):
        if getattr(given, name):
            figures[name] = counted(getattr(given, name))
    record.write("matching_annotate", figures, seeds=[0])


if __name__ == "__main__":
    main()
