"""The two ways of naming a person's points that most files use: COCO's 17 and OpenPose's BODY_25."""

from asterism.io.skeleton import published
from asterism.types import Skeleton


def _skeleton(name: str) -> Skeleton:
    found = published(name)
    return Skeleton(names=found.names, edges=found.edges, swap=found.swap, sigma=found.sigma)


COCO17 = _skeleton("coco-17")
BODY25 = _skeleton("body-25")  # edges in the order of its part affinity fields; no sigmas
