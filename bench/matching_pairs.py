"""When `asterism match` refuses: all pairs of photographs of three places.

    python bench/matching_pairs.py --graffiti DIR --photos DIR

Oxford's graffiti (1, 3, 5 and 6: one wall, ever more from the side) and two photographs each of a church and
of Sacre-Coeur. Of each pair the matches, those that agree with the better model, the logarithm (base ten) of
how many models as good are expected by chance, and whether it was refused. Pairs of two places are the
control.
"""

import argparse
import time
from itertools import combinations
from pathlib import Path

import record
import torch

from asterism.engine.match import Asked, feature_method, match, seen

NAMES = {
    "img1.ppm": "graffiti 1",
    "img3.ppm": "graffiti 3",
    "img5.ppm": "graffiti 5",
    "img6.ppm": "graffiti 6",
}
NAMES |= {"DSC_0410.JPG": "church 1", "DSC_0411.JPG": "church 2"}
NAMES |= {"sacre_coeur1.jpg": "sacre-coeur 1", "sacre_coeur2.jpg": "sacre-coeur 2"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--graffiti", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    method = feature_method("sift", "small", None, False)
    held = {}
    for file, name in NAMES.items():
        (path,) = [p for folder in (args.graffiti, args.photos) for p in folder.rglob(file)]
        held[name] = seen(method, path)
    rows = {}
    for one, two in combinations(held, 2):
        began = time.perf_counter()
        found = match(held[one], held[two], Asked())
        rows[f"{one} | {two}"] = {
            "matches": len(found.index),
            "agree": int(found.inlier.sum()),
            "model": found.model.kind if found.model else "",
            "log10_chance": round(found.log_chance, 1),
            "refused": bool(found.refused),
            "seconds": round(time.perf_counter() - began, 1),
        }
        print(one, two, rows[f"{one} | {two}"], flush=True)
    strange = [r for pair, r in rows.items() if len({name.split()[0] for name in pair.split(" | ")}) == 2]
    figures = {
        "pairs": rows,
        "strangers": len(strange),
        "strangers refused": sum(r["refused"] for r in strange),
        "strangers, least log10_chance": min(r["log10_chance"] for r in strange),
    }
    record.write("matching_pairs", figures, seeds=[0])


if __name__ == "__main__":
    main()
