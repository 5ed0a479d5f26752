"""The papers' ablations on generated people: python bench/pose2d_ablations.py [hourglass hrnet openpose].

Every variant learns the same pictures for the same number of steps and is measured on those kept back, with
one thread. Medians and all seeds; `mmacs` is the cost of one picture.
hourglass  two stacks that are both told (the paper's), two of which only the last is told, one stack of the
           cost of two; one person, 64 pixels. Newell et al., ECCV 2016, section 4.3
hrnet      all exchanges (the paper's), only those between stages and in the end, only the last; one person,
           64 pixels. Sun et al., CVPR 2019, section 4.5, table 5
openpose   fields twice, then maps once (TPAMI), fields once, then maps twice, and each once; 1 to 4 people,
           128 pixels. Cao et al., TPAMI 2019, section 5.2, table 4
"""

import argparse
import json
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, ClassVar

import numpy as np
import record
import torch
from torch import Tensor

from asterism.data.sources import open_data
from asterism.data.splits import split
from asterism.engine.cost import cost_of
from asterism.engine.evaluate import measure_detector
from asterism.engine.held import held
from asterism.engine.lesson import labelled_pictures, lesson_of
from asterism.engine.people import measure_people
from asterism.engine.runs import Run
from asterism.engine.train import _samples, train
from asterism.methods.base import Trainable
from asterism.methods.pose2d import openpose
from asterism.methods.pose2d.hrnet import HRNet
from asterism.methods.pose2d.openpose import OpenPose
from asterism.methods.pose2d.stacked_hourglass import StackedHourglass
from asterism.nets.openpose import Normalised
from asterism.types import People2D

ONE = "world:figures?n=2000&seed=11&size=96x96"
SOME = "world:figures?n=2000&seed=12&size=128x128&people=1-4"
HERE = Path(__file__).parent


class LastTold(StackedHourglass):
    """Only the last stack has a cost."""

    name = "stacked-hourglass-last"

    def loss(self, batch: Any) -> dict[str, Tensor]:
        terms = super().loss(batch)
        return dict([list(terms.items())[-1]])


@dataclass(frozen=True)
class Variant:
    cls: type[Trainable]
    config: Any
    data: str


def _hourglass(**changed: Any) -> Any:
    base = replace(StackedHourglass.presets["fast"], input_size=(64, 64), width=64)
    return replace(base, **changed)


def _openpose(name: str, fields: int, maps: int) -> Any:
    def make(m: int, f: int) -> Normalised:
        return Normalised(m, f, field_stages=fields, map_stages=maps)

    openpose.NETWORKS[name] = make
    return replace(OpenPose.presets["small"], input_size=(128, 128), network=name)


_HRNET = replace(HRNet.presets["small"], input_size=(64, 64))
VARIANTS = {
    "hourglass": {
        "two stacks, both told": Variant(StackedHourglass, _hourglass(n_stacks=2), ONE),
        "two stacks, the last told": Variant(LastTold, _hourglass(n_stacks=2), ONE),
        "one stack of the cost of two": Variant(StackedHourglass, _hourglass(width=96), ONE),
        "one stack": Variant(StackedHourglass, _hourglass(), ONE),
    },
    "hrnet": {
        "all exchanges": Variant(HRNet, _HRNET, ONE),
        "between stages": Variant(HRNet, replace(_HRNET, exchanges=(0, 2, 3)), ONE),
        "the last": Variant(HRNet, replace(_HRNET, exchanges=(3,)), ONE),
    },
    "openpose": {
        "fields twice, maps once": Variant(OpenPose, _openpose("fields", 2, 1), SOME),
        "fields once, maps twice": Variant(OpenPose, _openpose("maps", 1, 2), SOME),
        "each once": Variant(OpenPose, _openpose("once", 1, 1), SOME),
    },
}
_STEPS = {"hourglass": 1500, "hrnet": 1500, "openpose": 1500}
_sets: dict[str, Any] = {}


def pictures(data: str) -> Any:
    if data not in _sets:
        _sets.clear()
        _sets[data] = held(open_data(data))
    return _sets[data]


def one(variant: Variant, seed: int, steps: int) -> dict[str, float]:
    class Entrant(variant.cls):  # type: ignore[name-defined]
        presets: ClassVar = {"entrant": variant.config}

    images = pictures(variant.data)
    lesson = lesson_of(Entrant, "entrant", images, variant.data, seed=seed, frame="auto", objects=None)
    base = variant.cls.recipe_of("small")
    recipe = replace(base, steps=steps)
    torch.manual_seed(seed)
    method = variant.cls(lesson.config)
    folder = Path(mkdtemp())
    began = time.process_time()
    samples = _samples(Entrant, images, lesson, recipe, seed)
    train(method, samples, Run(folder / "run"), seed=seed, steps=steps, recipe=recipe, device="cpu")
    spent = time.process_time() - began
    shutil.rmtree(folder)
    test = split(labelled_pictures(images.table), seed=seed).test
    if variant.cls.gives is People2D:
        got = measure_people(method, lesson.skeleton, images, test, lesson.view.size, "cpu")
        got = {"oks_ap": got["oks_ap"], "people_found": got["people_found"], "people": got["people"]}
    else:
        mean = np.array(lesson.about["mean_shape"])
        every = measure_detector(method, lesson.view, images, test, mean, seed, "cpu")
        got = {name: every[name] for name in ("mean_px", "pck_0.1", "oks_ap") if name in every}
    cost = cost_of(variant.cls, lesson.config)
    return {**got, "cpu_seconds": spent, "mmacs": (cost.macs or 0) / 1e6, "parameters": cost.parameters}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("parts", nargs="*", default=list(VARIANTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--steps", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    path = HERE / "pose2d_ablations.json"
    figures = json.loads(path.read_text())["figures"] if path.exists() else {}
    for part in args.parts:
        steps = args.steps or _STEPS[part]
        rows: dict[str, list[dict[str, float]]] = {name: [] for name in VARIANTS[part]}
        for seed in args.seeds:
            for name, variant in VARIANTS[part].items():
                rows[name].append(one(variant, seed, steps))
                print(part, seed, name, rows[name][-1], flush=True)
            figures[part] = {"steps": steps, "variants": {n: table(r) for n, r in rows.items() if r}}
            record.write("pose2d_ablations", figures, seeds=args.seeds, quiet=True)


def table(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Median and all values of each figure."""
    return {
        name: {"median": round(float(np.median([r[name] for r in rows])), 4), "each": [r[name] for r in rows]}
        for name in rows[0]
    }


if __name__ == "__main__":
    main()
