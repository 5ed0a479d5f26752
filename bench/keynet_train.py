"""keynet learned from photographs of scikit-image's package.

python bench/keynet_train.py RUN [--minutes M] [--seed S] [--resume]
"""

import argparse
from dataclasses import asdict
from pathlib import Path

import torch
from keynet_patches import LEARNED, Patches

from asterism.engine.runs import Run
from asterism.engine.train import train
from asterism.methods.features.keynet import KeyNet


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    config, run = KeyNet.presets["small"], Run(given.run)
    torch.manual_seed(given.seed)
    method = KeyNet(config)
    if not given.resume:
        run.start({"kind": "bench", "method": "keynet", "config": asdict(config), "data": list(LEARNED)})
    recipe = KeyNet.recipe_of("small")
    patches = Patches(config.input_size[0])
    asked = {"seed": given.seed, "minutes": given.minutes, "recipe": recipe, "resume": given.resume}
    print(train(method, patches, run, **asked))


if __name__ == "__main__":
    main()
