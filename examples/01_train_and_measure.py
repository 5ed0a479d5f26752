"""Train a detector on labelled pictures, measure it, and find the points in new ones.

Here the pictures are generated people. Put a COCO file or a DeepLabCut project in place of DATA, and leave
out `steps` and `preset`: these are so small that the example ends in seconds and finds nothing well.
"""

import sys
from pathlib import Path

import asterism

DATA = "world:figures?n=20&size=96"

run = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/figures")
asterism.train_on(DATA, "stacked-hourglass", run, preset="tiny", steps=3)

numbers = asterism.evaluate_run(run)  # on the pictures that were kept back
print(f"mean error {numbers['mean_px']:.1f} px; the mean position: {numbers['mean_position_px']:.1f} px")

told = asterism.predict_to(run, ["world:figures?n=4&size=96&seed=1"], run / "points.csv")
print(f"{told['rows']} people in {told['pictures']} pictures: {told['output']}")
