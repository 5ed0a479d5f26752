"""Open data and look at its labels: the first thing to do with anybody's data set.

The same lines work for a folder, a clip, a COCO file or a DeepLabCut project.
"""

import sys
from pathlib import Path

import asterism
from asterism.io.images import write_image
from asterism.viz import overlay

images = asterism.open_data(sys.argv[2] if len(sys.argv) > 2 else "world:figures?n=12&size=128")
folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
print(f"{images.title}: {len(images)} pictures, {'a clip' if images.is_clip else 'single pictures'}")

if images.table is None:
    print("no labels")
else:
    print(f"{len(images.table)} rows of {len(images.table.names)} points: {', '.join(images.table.names)}")
    some = overlay.spread(range(len(images)), 8)
    folder.mkdir(parents=True, exist_ok=True)
    write_image(folder / "labels.png", overlay.sheet(images, images.table, some))
    print(f"look at {folder / 'labels.png'}")
