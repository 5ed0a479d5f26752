"""Where a background holds an animal that rested: the place stands out once the animal has left it.

What stands out has a rim. If an object is there the rim is an edge in the picture and none in the background;
of a ghost, an object in the background that the picture does not have, the rim is an edge in the background.
"""

import numpy as np
from numpy.typing import NDArray

from asterism.data.base import Picture
from asterism.data.foreground import Background, background_of, difference, middle_of, weighted
from asterism.data.moments import clean
from asterism.data.registration import grown, shrunk

_SURE = 0.3  # -1: the rim is the picture's alone; 1: the background's alone
TOLD_BY = 2  # pictures that must show what is behind a ghost
_LEAST = 20  # pixels of the working grid: less has no rim to speak of


def ghosts(picture: Picture, behind: Picture, level: Background) -> NDArray[np.bool_]:
    """H W: places where the picture shows the scene and its background shows an object."""
    f = level.shrink
    weights, _, parts = clean(weighted(shrunk(difference(picture, behind), f), level))
    out = np.zeros(picture.shape[:2], bool)
    steep = [_steepness(layers, f) for layers in (picture, behind)]
    jump = _steepness(picture.astype(np.float32) - behind, f)
    for part in range(1, int(parts.max()) + 1):
        here = (parts == part) & (weights > 0)
        if here.sum() < _LEAST:
            continue
        rim = grown(here, 1) & grown(~here, 1)
        if (steep[1] - steep[0])[rim].sum() > _SURE * jump[rim].sum():
            large = np.repeat(np.repeat(grown(here, 2), f, 0), f, 1)
            out[: large.shape[0], : large.shape[1]] |= large
    return out


def _steepness(layers: NDArray, factor: int) -> NDArray[np.float32]:
    """Squared gradient on the working grid, summed over the colours."""
    out = np.float32(0)
    for c in range(3):
        for slope in np.gradient(shrunk(layers[..., c].astype(np.float32), factor)):
            out = out + slope**2
    return np.asarray(out, np.float32)


def without_ghosts(level: Background, some: list[Picture]) -> Background:
    """A still background in which no animal rests that leaves its place in two of the pictures or more."""
    masks = np.stack([ghosts(picture, level.picture, level) for picture in some])
    if masks.sum(0).max() < TOLD_BY:
        return level
    colour, known = middle_of(np.stack(some), masks, TOLD_BY)
    return background_of(np.where(known[..., None], colour, level.picture), some)
