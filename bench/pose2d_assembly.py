"""Putting people together from perfect maps and fields: python bench/pose2d_assembly.py [--seeds 0 1 ...].

Crowds of BODY_25 people who overlap, in a picture of 368 x 656 pixels, maps at stride 4 (92 x 164 cells).
whole      share of people found with all their parts and no other's, 5 to 30 people. "separable": points of
           one kind are 3 cells apart, and a limb is 2.5 cells from the others of its kind along half its
           length; "apart": only the first; "integral": scored by the paper's line integral
dropped    5 % of the parts are in neither maps nor fields: F1 of parts in people (of a person in two pieces
           the larger counts), with BODY_25's 26 limbs and with limbs over one part added; F1 of limbs
time       milliseconds of peaks, pairs and global_greedy on two threads, the median and the least of 40
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import record
import torch
from scipy.optimize import linear_sum_assignment

from asterism.data.worlds.crowds import crowd
from asterism.data.worlds.skeletons import BODY25
from asterism.ops.assembly import (
    Assemble,
    Assembled,
    global_best,
    global_greedy,
    hungarian,
    limb_by_limb,
    nearest,
)
from asterism.ops.assembly_pairs import (
    Limbs,
    Peaks,
    agreement,
    bridges,
    find_pairs,
    find_peaks,
    limbs_of,
    line_integral,
)
from asterism.ops.fields import limb_fields, people_maps

SIZE, STRIDE, SIGMA, HALF_WIDTH = (368, 656), 4, 7 / 8, 1.0
WAYS: tuple[Assemble, ...] = (global_best, global_greedy, limb_by_limb, hungarian, nearest)
LIMBS = limbs_of(BODY25.edges)
BRIDGED = limbs_of((*BODY25.edges, *bridges(BODY25.edges)))


def people(seed: int, n: int, apart: float, alone: float) -> np.ndarray:
    return crowd(np.random.default_rng(seed), BODY25, n, SIZE, apart=apart * STRIDE, alone=alone * STRIDE)


def drawn(xy: np.ndarray, labelled: np.ndarray, limbs: Limbs) -> tuple[torch.Tensor, torch.Tensor]:
    cells = (SIZE[0] // STRIDE, SIZE[1] // STRIDE)
    at = torch.from_numpy(xy)[None].float(), torch.from_numpy(labelled)[None]
    maps = people_maps(*at, cells, STRIDE, SIGMA)[0]
    return maps, limb_fields(*at, limbs.ends, cells, STRIDE, HALF_WIDTH)[0]


def rows_of(xy: np.ndarray, labelled: np.ndarray, peaks: Peaks) -> np.ndarray:
    """P K: the row of each part's peak, -1 for a part that was dropped."""
    uv = (xy + 0.5) / STRIDE - 0.5
    far = np.linalg.norm(uv[:, :, None] - peaks.uv.numpy(), axis=-1)
    far = np.where(peaks.valid.numpy(), far, np.inf)
    return np.where(labelled & (far.min(-1) < 1), far.argmin(-1), -1)


def recovered(found: Assembled, truth: np.ndarray) -> float:
    got = {tuple(row) for row in found.member.tolist()}
    return float(np.mean([tuple(row) in got for row in truth.tolist()]))


def f1_of_parts(found: Assembled, truth: np.ndarray) -> float:
    shared = ((found.member[:, None] == truth) & (truth >= 0)).sum(-1)
    right = shared[linear_sum_assignment(shared, maximize=True)].sum()
    return float(2 * right / ((found.member >= 0).sum() + (truth >= 0).sum()))


def f1_of_limbs(found: Assembled, truth: np.ndarray, limbs: Limbs) -> float:
    def pairs(rows: np.ndarray) -> set[tuple[int, int, int]]:
        return {
            (l, r[a], r[b])
            for r in rows.tolist()
            for l, (a, b) in enumerate(limbs.ends)
            if min(r[a], r[b]) >= 0
        }

    one, two = pairs(found.member), pairs(truth)
    return 2 * len(one & two) / (len(one) + len(two))


def whole(
    seeds: list[int], n: int, apart: float, alone: float, score: Callable = agreement
) -> dict[str, float]:
    rows = []
    for seed in seeds:
        xy = people(seed, n, apart, alone)
        every = np.ones(xy.shape[:2], bool)
        maps, fields = drawn(xy, every, LIMBS)
        peaks = find_peaks(maps)
        pairs, truth = find_pairs(peaks, fields, LIMBS, score=score), rows_of(xy, every, peaks)
        rows.append([recovered(way(peaks, pairs, LIMBS), truth) for way in WAYS])
    return {way.__name__: round(float(m), 4) for way, m in zip(WAYS, np.mean(rows, 0))}


def dropped(seeds: list[int], n: int, limbs: Limbs) -> dict[str, Any]:
    parts, pieces = [], []
    for seed in seeds:
        xy = people(seed, n, 3, 2.5)
        labelled = np.random.default_rng([seed, 1]).random(xy.shape[:2]) >= 0.05
        maps, fields = drawn(xy, labelled, limbs)
        peaks = find_peaks(maps)
        pairs, truth = find_pairs(peaks, fields, limbs), rows_of(xy, labelled, peaks)
        found = [way(peaks, pairs, limbs) for way in WAYS]
        parts.append([f1_of_parts(f, truth) for f in found])
        pieces.append([f1_of_limbs(f, truth, limbs) for f in found])
    names = [way.__name__ for way in WAYS]
    kinds = {"parts": np.median(parts, 0), "limbs": np.median(pieces, 0)}
    return {kind: {n: round(float(v), 4) for n, v in zip(names, values)} for kind, values in kinds.items()}


def timed(seed: int, n: int, repeats: int = 40) -> dict[str, float]:
    xy = people(seed, n, 3, 2.5)
    maps, fields = drawn(xy, np.ones(xy.shape[:2], bool), LIMBS)
    spent = []
    for _ in range(repeats):
        began = time.perf_counter()
        peaks = find_peaks(maps)
        global_greedy(peaks, find_pairs(peaks, fields, LIMBS), LIMBS)
        spent.append(1e3 * (time.perf_counter() - began))
    return {"median_ms": round(float(np.median(spent)), 2), "least_ms": round(min(spent), 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    seeds = args.seeds
    figures: dict[str, Any] = {"whole": {}, "dropped": {}, "time": {}}
    for n in (5, 10, 20, 30):
        figures["whole"][f"separable {n}"] = whole(seeds, n, 3, 2.5)
        figures["time"][f"{n} people"] = timed(seeds[0], n)
    figures["whole"]["integral 30"] = whole(seeds, 30, 3, 2.5, line_integral)
    figures["whole"]["apart 30"] = whole(seeds, 30, 3, 0)
    figures["whole"]["apart integral 30"] = whole(seeds, 30, 3, 0, line_integral)
    for name, limbs in (("26 limbs", LIMBS), (f"{len(BRIDGED.ends)} limbs", BRIDGED)):
        figures["dropped"][name] = dropped(seeds, 15, limbs)
    least = [figures["time"][f"{n} people"]["least_ms"] for n in (5, 30)]
    figures["time"]["30 over 5"] = round(least[1] / least[0], 2)
    record.write("pose2d_assembly", figures, seeds=seeds)


if __name__ == "__main__":
    main()
