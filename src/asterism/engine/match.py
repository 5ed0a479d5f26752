"""Features of pictures, matched pair by pair and checked by geometry: two views, or many of one thing.

A pair's matches are mutual nearest neighbours whose next best is plainly worse. A homography and a
fundamental matrix are fitted, and what the better one explains are the inliers. As many matches would agree
with some model by chance now and then: how often is counted as Moisan and Stival do ("A probabilistic
criterion to detect rigid point matches between two images and estimate the fundamental matrix", IJCV 2004).
The model that is less expected by chance is the better one, and where that is not far below once the pair is
refused.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from asterism import catalogue
from asterism.engine.runs import Run
from asterism.engine.weights import load_weights
from asterism.errors import RequestError
from asterism.geometry import affine
from asterism.geometry.coords import image_centre
from asterism.geometry.two_views import TwoViews, robust_fundamental, robust_homography
from asterism.io.images import read_image
from asterism.io.pairs import block_matrix
from asterism.matches import Matches
from asterism.methods.base import Method, Trainable
from asterism.ops.nearest import mutual_nearest
from asterism.ops.sampling import crop
from asterism.types import Features, Images

_SAMPLES = {"homography": 4, "fundamental": 7}
_CHANCE = -3.0  # so often, as a power of ten, a pair of strangers may be taken for a pair
_SQUARE = 3.0  # thresholds: matches that are so near to each other say one thing
_ANSWERS = {"homography": 1, "fundamental": 3}  # of a minimal sample


@dataclass(frozen=True, kw_only=True)
class Asked:
    """`ratio`: greatest distance of a match over that of the next best; `threshold`: pixels within which a
    match agrees with a model; `samples`: the most that are drawn for one. Raises RequestError, naming the
    field.
    """

    ratio: float | int = 0.9
    threshold: float | int = 3.0
    samples: int = 20_000

    def __post_init__(self) -> None:
        if not 0 < self.ratio <= 1:
            raise RequestError(f"ratio={self.ratio}: wanted a number above 0, up to 1")
        if not (math.isfinite(self.threshold) and self.threshold > 0):
            raise RequestError(f"threshold={self.threshold}: wanted pixels above zero")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """The features of one picture, in its own pixels."""

    name: str
    size: tuple[int, int]  # h, w
    xy: Float[Tensor, "N 2"]
    descriptor: Float[Tensor, "N D"]


@dataclass(frozen=True, kw_only=True)
class PairFound:
    """Matches (rows of features), those that agree with `model`, and why they are refused, if they are."""

    index: Int[np.ndarray, "P 2"]
    similarity: Float[np.ndarray, " P"]
    inlier: Bool[np.ndarray, " P"]
    model: TwoViews | None
    log_chance: float  # how often so good a model is expected by chance, logarithm to the base ten
    refused: str


def feature_method(name: str, preset: str, most: int | None, upright: bool) -> Method[Any, Any, Any]:
    """A method that gives features, or that of a run. Raises RequestError for another one, one that has not
    learned, and where it lacks the setting.
    """
    if (Path(name) / "run.json").is_file():
        held = load_weights(Run(Path(name)).best)[0]
        if held.gives is not Features:
            raise RequestError(f"--method {name}: holds {held.name}, which gives {held.gives.__name__}")
        return _set(held, most, upright)
    found = catalogue.entry(name)
    known = [n for n, row in catalogue.entries().items() if row.gives == "Features"]
    if found.gives != "Features":
        raise RequestError(f"--method {name}: gives {found.gives}; features come from {', '.join(known)}")
    cls = catalogue.method_class(name)
    if preset not in cls.presets:
        raise RequestError(f"--preset {preset}: {name} has {', '.join(cls.presets)}")
    if issubclass(cls, Trainable):
        raise RequestError(
            f"--method {name}: has to learn first. Name a run of it, --method runs/{name}; make one of "
            f"published weights with asterism convert FILE --to {name}, or with asterism train {name} FOLDER"
        )
    return _set(cls(cls.presets[preset]), most, upright)


def _set(method: Method[Any, Any, Any], most: int | None, upright: bool) -> Method[Any, Any, Any]:
    """The same weights with other settings."""
    config = method.config
    if most is not None:
        config = replace(config, n_keypoints=most)
    if upright:
        if not hasattr(config, "upright"):
            raise RequestError(f"--upright: {method.name} has no such setting")
        config = replace(config, upright=True)
    other = type(method)(config)
    other.load_state_dict(method.state_dict())
    return other.eval()


def seen(method: Method[Any, Any, Any], path: str | Path) -> Seen:
    """Raises BadImage, naming the file."""
    # Methods that learn have crops for input_size, and say beside it how large a picture may be.
    largest = getattr(method.config, "largest", method.config.input_size)
    batch, size = _batch(read_image(path), largest)
    found = method.predict(batch)
    if not isinstance(found, Features):
        raise TypeError(f"{method.name} gives {type(found).__name__}, wanted Features")
    on = found.valid[0]
    return Seen(name=str(path), size=size, xy=found.xy[0][on].double(), descriptor=found.descriptor[0][on])


def _batch(picture: np.ndarray, largest: tuple[int, int]) -> tuple[Images, tuple[int, int]]:
    """The picture, shrunk where it is larger, and its own size."""
    h, w = picture.shape[:2]
    image = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float() / 255
    shrink = max(h / largest[0], w / largest[1], 1.0)
    size = (max(1, round(h / shrink)), max(1, round(w / shrink)))
    to_source = affine.identity(1, like=image)
    if shrink > 1:
        scale = torch.tensor([w / size[1], h / size[0]])
        to_source[0, 0, 0], to_source[0, 1, 1] = scale
        to_source[0, :, 2] = image_centre((h, w), like=image) - scale * image_centre(size, like=image)
        image = crop(image, to_source, size)
    return Images(image=image, to_source=to_source), (h, w)


def match(one: Seen, two: Seen, asked: Asked) -> PairFound:
    """The same two pictures always give the same answer."""
    index, similarity = mutual_nearest(one.descriptor, two.descriptor, asked.ratio)
    best = similarity.argsort(descending=True, stable=True)
    index, similarity = index[best], similarity[best]
    a, b = one.xy[index[:, 0]], two.xy[index[:, 1]]
    model, chance = None, math.inf
    for robust in (robust_homography, robust_fundamental):
        found = robust(a, b, threshold=asked.threshold, generator=torch.Generator(), samples=asked.samples)
        if found is None:
            continue
        count = min(_places(xy[found.inlier], asked) for xy in (a, b))
        new = log_chance(found.kind, len(a), count, asked, two.size)
        if new < chance:
            model, chance = found, new
    inlier = model.inlier if model is not None else torch.zeros(len(index), dtype=torch.bool)
    refused = ""
    if not chance < _CHANCE:
        refused = (
            f"{int(inlier.sum())} of {len(index)} matches agree: as many are expected by chance; these two "
            "pictures do not seem to show the same thing"
        )
    return PairFound(
        index=index.numpy(),
        similarity=similarity.double().numpy(),
        inlier=inlier.numpy(),
        model=model,
        log_chance=chance,
        refused=refused,
    )


def _places(xy: Float[Tensor, "P 2"], asked: Asked) -> int:
    """How many, when those of one small square count once: a corner may have many features."""
    return len(torch.unique((xy / (_SQUARE * asked.threshold)).floor(), dim=0))


def log_chance(kind: str, n: int, k: int, asked: Asked, size: tuple[int, int]) -> float:
    """Of how many models with which k of n random matches agree are expected, the logarithm to the base ten:
    (n - s) C(n, k) C(k, s) times the answers of a sample of s, times p^(k - s), where p is the share of the
    picture that is near to a point (homography) or a line.
    """
    s, (h, w) = _SAMPLES[kind], size
    if k <= s:
        return math.inf
    point, line = math.pi * asked.threshold**2, 2 * asked.threshold * math.hypot(h, w)
    near = min(1.0, (point if kind == "homography" else line) / (h * w))
    total = math.log(_ANSWERS[kind] * (n - s)) + _log_choose(n, k) + _log_choose(k, s)
    return (total + (k - s) * math.log(near)) / math.log(10)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def pairs_of(n: int, window: int) -> Iterator[tuple[int, int]]:
    """All pairs of n pictures; with a window those at most so many apart."""
    return ((i, j) for i, j in combinations(range(n), 2) if not window or j - i <= window)


def match_all(
    every: Sequence[Seen], window: int, asked: Asked, told: Callable[[int, int, PairFound], None]
) -> Matches:
    """All pairs within the window, for `asterism sync`."""
    found = {}
    for i, j in pairs_of(len(every), window):
        found[i, j] = match(every[i], every[j], asked)
        told(i, j, found[i, j])
    return matches_of(every, found)


def matches_of(every: Sequence[Seen], pairs: Mapping[tuple[int, int], PairFound]) -> Matches:
    """The inliers of all pairs that were not refused, weighted by similarity."""
    kept = [(i, j, pair) for (i, j), pair in pairs.items() if not pair.refused]
    found = [(i, j, p.index[p.inlier], p.similarity[p.inlier].clip(1e-6)) for i, j, p in kept]
    counts = np.array([len(each.xy) for each in every], np.int64)
    names = [each.name for each in every]
    xy = torch.cat([each.xy for each in every]).numpy()
    w = block_matrix("matches", counts, found)
    return Matches.of(w, counts, xy, names, [each.size for each in every])
