"""One numpy table for labels and for predictions, whatever file they came from."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class KeypointTable:
    """N rows of K named points; a row is one individual in one image.

    xy is in source pixels, centres at whole numbers, and always finite: a point that nobody annotated has
    `labelled` False, xy 0 and score 0. `individual` tells rows of the same image apart and is steady through
    a clip. `box` is (x, y, width, height); rows without one have `has_box` False. `score` is 1 for labels.
    """

    names: tuple[str, ...]
    images: tuple[str, ...]  # one per picture: a path, or "clip.mp4#12" for frame 12 of a clip
    image: NDArray[np.int64]  # N: index into images
    individual: NDArray[np.int64]  # N
    xy: NDArray[np.float64]  # N K 2
    labelled: NDArray[np.bool_]  # N K
    visible: NDArray[np.bool_]  # N K
    score: NDArray[np.float64]  # N K
    box: NDArray[np.float64]  # N 4
    has_box: NDArray[np.bool_]  # N
    area: NDArray[np.float64]  # N: 0 where unknown
    sizes: tuple[tuple[int, int], ...] = ()  # (h, w) per picture, when the file says it
    edges: tuple[tuple[int, int], ...] = ()
    swap: tuple[int, ...] = ()
    sigma: tuple[float, ...] = ()
    source: str = field(default="", compare=False)  # the file, for messages

    def __len__(self) -> int:
        return len(self.image)
