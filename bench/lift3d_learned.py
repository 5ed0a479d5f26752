"""The learned lifter on the chairs of lift3d_nrsfm.py, beside the classical: python bench/lift3d_learned.py.

The same views, noise, split, figures and seeds: mean and median distance over 186 held-out chairs after the
best similarity, in radii, one mirror image for all. multicat-nrsfm's preset small, trained on the 645 views
alone, one thread. Ablations are of seed 0 and a third of the steps.

    no canonicalisation   without the second network
    one pass              turn and coefficients from one and the same turned view
    no turns              views are never turned in the picture
    cut-off               coefficients below a learned cut-off are zero
    untrained             a control
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
from lift3d_chairs import chairs
from lift3d_nrsfm import error, views

from asterism.geometry import affine
from asterism.methods.lift3d.multicat_nrsfm import MulticatNrsfm, MulticatNrsfmConfig
from asterism.types import Views2D

CONFIG = replace(MulticatNrsfm.presets["small"], n_keypoints=10, basis=8, scaled=False)


def batch_of(xy: torch.Tensor) -> Views2D:
    every = torch.ones(xy.shape[:2], dtype=torch.bool)
    return Views2D(
        xy=xy.float(), valid=every, part=every, to_source=affine.identity(len(xy), like=xy).float()
    )


class OnePass(MulticatNrsfm):
    name = "one-pass"

    def _raw(self, first, second, batch):
        return super()._raw(first, first, batch)


def learned(
    xy: torch.Tensor, config: MulticatNrsfmConfig, steps: int, seed: int, cls=MulticatNrsfm
) -> MulticatNrsfm:
    torch.manual_seed(seed)
    method, recipe = cls(config), MulticatNrsfm.recipe_of("small")
    optimiser = torch.optim.Adam(method.parameters(), lr=recipe.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(steps, 1))
    method.train()
    for step in range(steps):
        rows = torch.randint(len(xy), (recipe.batch_size,))
        optimiser.zero_grad()
        terms = method.loss(batch_of(xy[rows]))
        torch.stack(list(terms.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(method.parameters(), recipe.clip)
        optimiser.step()
        schedule.step()
        if step % 500 == 499:
            print(step + 1, {k: round(float(v.detach()), 4) for k, v in terms.items()}, flush=True)
    return method


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(3)))
    parser.add_argument("--steps", type=int, default=6000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = chairs()
    train, test = data["train"], data["test"]
    rows, times = dict[str, list](), []

    def judge(name: str, seed: int, config: MulticatNrsfmConfig, steps: int, cls=MulticatNrsfm) -> None:
        (xy, _), (held, _) = views(train, 2 * seed), views(test, 2 * seed + 1)
        began = time.process_time()
        method = learned(xy, config, steps, seed, cls)
        times.append(time.process_time() - began)
        found = method.predict(batch_of(held)).xyz.double()
        rows.setdefault(name, []).append(error(found, test))
        print(name, seed, rows[name][-1], round(times[-1]), flush=True)

    for seed in args.seeds:
        judge("learned", seed, CONFIG, args.steps)
    third = args.steps // 3
    judge("untrained", 0, CONFIG, 0)
    judge("learned, a third of the steps", 0, CONFIG, third)
    judge("no canonicalisation", 0, replace(CONFIG, canonical=0.0), third)
    judge("one pass", 0, CONFIG, third, OnePass)
    judge("no turns", 0, replace(CONFIG, turned=0.0), third)
    judge("cut-off", 0, replace(CONFIG, cut=True), third)
    classical = json.loads((Path(__file__).parent / "lift3d_nrsfm.json").read_text())["figures"]
    figures: dict[str, Any] = {
        "classical, symmetric": {"mean": classical["symmetric, known scale"]["mean"][:2]},
        "classical, plain": {"mean": classical["plain, known scale"]["mean"][:2]},
        "classical, rigid": {"mean": classical["symmetric, rigid"]["mean"][:2]},
    }
    for name, values in rows.items():
        spread = (np.ptp(values, axis=0) / 2).round(4).tolist()
        figures[name] = {"mean": np.mean(values, 0).round(4).tolist(), "half the range": spread}
    figures["seconds to learn, longest"] = round(max(times))
    record.write("lift3d_learned", figures, seeds=args.seeds, note=f"{args.steps} steps")


if __name__ == "__main__":
    main()
