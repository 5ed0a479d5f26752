"""What stands out from a still background: the median of a set of pictures, and each picture's difference.

The foreground is a soft weight in [0, 1]: the difference from the background against a level that Otsu's
method finds on the differences of the whole set (Otsu, A threshold selection method from gray-level
histograms, 1979), never under six times the noise of the background itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asterism.data.base import ImageSet, Picture
from asterism.data.registration import shrunk

MEDIAN_OF = 31  # pictures whose median is the background: odd, and small enough for 4K clips in memory
MOST_NOISE = 8.0  # grey levels: real clips of a still camera have 2 to 6, generated panning ones 9 to 15
WORKING_SIDE = 192  # longest side on which moments are taken


@dataclass(frozen=True, kw_only=True)
class Background:
    """The still part of a set of pictures, and how far a picture must differ to count as foreground."""

    picture: Picture
    level: float  # grey levels: half weight at this difference
    noise: float  # grey levels: the usual difference of a pixel from its background
    shrink: int  # whole factor from source pixels to the working size
    samples: NDArray[np.float32]  # n h w: differences of the pictures it was made from, working size

    def weights(self) -> NDArray[np.float32]:
        """n h w: foreground weights of the samples."""
        return weighted(self.samples, self)

    @property
    def share(self) -> float:
        """Median share of a picture that is foreground."""
        return float(np.median(self.weights().mean(axis=(1, 2))))


def difference(a: Picture, b: Picture) -> NDArray[np.uint8]:
    """Largest absolute difference over the channels, H W."""
    apart = np.maximum(a, b) - np.minimum(a, b)
    return np.maximum(np.maximum(apart[..., 0], apart[..., 1]), apart[..., 2])


def otsu(values: NDArray[np.floating], bins: int = 256) -> float:
    """The level that separates values in [0, 255] into two classes with the largest variance between."""
    counts, edges = np.histogram(values, bins=bins, range=(0.0, 255.0))
    middle = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    total = np.cumsum(counts * middle)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (total / below - (total[-1] - total) / above) ** 2
    return float(middle[int(np.nanargmax(np.where(above > 0, between, np.nan)))])


def estimate_background(images: ImageSet) -> Background | None:
    """Median of up to 31 pictures spread over the set.

    None when the set has fewer than five pictures or pictures of several sizes: then nothing is still.
    """
    some = samples_of(images)
    return None if some is None else background_of(median_of(some), some)


def samples_of(images: ImageSet) -> list[Picture] | None:
    """The pictures a background is made of; None where there can be none."""
    wanted = np.unique(np.linspace(0, len(images) - 1, MEDIAN_OF).round().astype(np.int64))
    if len(images) < 5:
        return None
    some = list(_chosen(images, set(wanted.tolist())))
    return some if len({picture.shape for picture in some}) == 1 else None


def median_of(some: list[Picture]) -> Picture:
    """What is there most of the time."""
    return np.median(np.stack(some), axis=0).astype(np.uint8)


def background_of(median: Picture, some: list[Picture]) -> Background:
    """The level for a known background, from pictures that are looked at against it."""
    shrink = working_shrink(median.shape[:2])
    return levels_of(
        median, np.stack([shrunk(difference(picture, median), shrink) for picture in some]), shrink
    )


def middle_of(
    stack: NDArray[np.uint8], seen: NDArray[np.bool_], least: int
) -> tuple[Picture, NDArray[np.bool_]]:
    """The (lower) median of pictures n H W 3 where each is `seen`, and where at least `least` of them are."""
    values = np.sort(np.where(seen[..., None], stack, 255), axis=0)  # what is not seen comes last
    count = seen.sum(0)
    which = np.maximum(count - 1, 0)[None, ..., None] // 2
    return np.take_along_axis(values, which, axis=0)[0], count >= least


def working_shrink(size: tuple[int, ...]) -> int:
    """The whole factor from pictures of `size` to the grid on which moments are taken."""
    return max(1, round(max(size) / WORKING_SIDE))


def levels_of(background: Picture, values: NDArray[np.float32], shrink: int) -> Background:
    """The level and the noise that differences from a background (n h w, working size) speak of."""
    noise = float(np.median(values)) + 1.0  # most of the differences are the still background's
    level = max(otsu(values[values > noise]) if (values > noise).any() else 255.0, 6.0 * noise)
    return Background(picture=background, level=level, noise=noise, shrink=shrink, samples=values)


def _chosen(images: ImageSet, wanted: set[int]) -> Iterable[Picture]:
    if not images.is_clip:
        return (images.picture(index) for index in sorted(wanted))
    return (picture for index, picture in enumerate(images) if index in wanted)


def stands_out(
    picture: Picture, background: Background, behind: Picture | None = None
) -> NDArray[np.float32]:
    """Difference from the background, or from the one given instead, on the working grid, grey levels."""
    return shrunk(difference(picture, background.picture if behind is None else behind), background.shrink)


def weighted(values: NDArray[np.float32], background: Background) -> NDArray[np.float32]:
    """Weight in [0, 1] of a difference: 0 up to half the level, 1 from one and a half times it."""
    return np.clip(values / background.level - 0.5, 0.0, 1.0)


def foreground(picture: Picture, background: Background) -> NDArray[np.float32]:
    """Weight in [0, 1] of every pixel of the working grid."""
    return weighted(stands_out(picture, background), background)
