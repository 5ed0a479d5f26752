"""Ways to answer a user's points from few labelled rows, each with its errors on pictures held out.

Four ways, simplest first, all in the pixels of crops that were cut out in the objects' frames:
frame     the median label: as good as the frame is, whatever the discovered points do
head      a smooth deformation told by the discovered points, and ridge (metrics.heads.fit_local), drawn
          towards the frame's answer, the more so the fewer the pictures and the smaller its lead
turning   the complex head: it turns and grows with the discovered points alone; see linear_ways
detector  a refiner (engine.refiner) that corrects the head's answer by looking at the picture
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from asterism.engine.attached import flattened, guided, toward
from asterism.engine.bars import Progress
from asterism.engine.choice import folds
from asterism.engine.refiner import GuidedSamples, Refiner, RefinerConfig, augmentation, usual_peak
from asterism.engine.runs import Run
from asterism.engine.train import train
from asterism.metrics.heads import (
    FOLDS,
    PENALTIES,
    LinearHead,
    cross_validated,
    fit_complex,
    fit_local,
    fit_median,
)
from asterism.types import Images

# The head of n pictures counts n / (n + 3 r), r its held-out error over that of the frame's answer, which
# counts the rest: at 5 to 20 pictures close to n / (n + 2), the best of the shares that were tried.
PRIOR = 3.0
USUAL = 2.0  # pictures that the error of all points counts for beside that of one
# Halves of the pictures: a refiner is learned without each in turn. All learn for the same time, because it
# counts for more than labels: on generated animals half a minute with 5 beat a few seconds with 15.
PARTS = 2
KEPT = 1 / (PARTS + 1)  # of the time
LEAST = 5  # labelled pictures from which refiners are tried
# From so many the turning head is tried: of five pictures of a real mouse it was good on those held out, and
# on others wrong by a third more than the usual place.
TURNING = 10
_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Shown:
    """N labelled rows in network pixels. `teaches` is False for rows that only test (seen the wrong way
    round); `unit` is source pixels per network pixel."""

    points: Float[np.ndarray, "N P 2"]
    score: Float[np.ndarray, "N P"]
    xy: Float[np.ndarray, "N K 2"]
    labelled: Bool[np.ndarray, "N K"]
    image: Int[np.ndarray, " N"]
    unit: Float[np.ndarray, " N"]
    teaches: Bool[np.ndarray, " N"]
    crops: Images
    wide: Images  # the same crops with a margin
    size: tuple[int, int]
    turned: bool  # looked at in the object's own frame

    def rows(self, chosen: NDArray[np.bool_]) -> "Shown":
        """Some of the rows."""
        columns = ("points", "score", "xy", "labelled", "image", "unit", "teaches")
        which = torch.from_numpy(np.flatnonzero(chosen))
        part = {name: getattr(self, name)[chosen] for name in columns}
        return replace(self, **part, crops=self.crops[which], wide=self.wide[which])

    def distance(self, xy: Float[np.ndarray, "N K 2"], known: Bool[np.ndarray, "N K"]) -> NDArray[np.float64]:
        """N K, in source pixels; NaN where nothing is labelled or nothing was answered."""
        gap = np.hypot(*np.moveaxis(xy - self.xy, -1, 0)) * self.unit[:, None]
        return np.where(self.labelled & known, gap, np.nan)


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a way says of rows that it did not learn from: network pixels, and which points it knew."""

    xy: Float[np.ndarray, "N K 2"]
    known: Bool[np.ndarray, "N K"]


@dataclass(frozen=True, kw_only=True)
class Length:
    """How long refiners learn: minutes or updates, of all together."""

    minutes: float | int | None
    steps: int | None
    seed: int
    device: str

    def part(self, share: float, turn: int = 0) -> "Length":
        minutes = None if self.minutes is None else self.minutes * share
        steps = None if self.steps is None else max(1, round(self.steps * share))
        return replace(self, minutes=minutes, steps=steps, seed=self.seed + turn)


Read = Callable[[Shown, NDArray[np.bool_]], LinearHead]  # the rows to learn from


def read_frame(shown: Shown, rows: NDArray[np.bool_]) -> LinearHead:
    return fit_median(shown.points[rows], shown.xy[rows], shown.labelled[rows])[0]


def read_head(shown: Shown, rows: NDArray[np.bool_]) -> LinearHead:
    """The penalty by cross-validation inside the rows; the median where that does best."""
    seen, image = (shown.points[rows], shown.xy[rows], shown.labelled[rows]), shown.image[rows]
    heads, wrong = _anchored(*seen), np.zeros(1 + len(PENALTIES))
    parts = folds(image, FOLDS, len(seen[0]))
    for held in parts if len(parts) > 1 else []:
        points, xy, labelled = (each[held] for each in seen)
        for i, head in enumerate(_anchored(*(each[~held] for each in seen))):
            gap = (head(points) - xy)[labelled & head.known]
            wrong[i] += np.hypot(gap[:, 0], gap[:, 1]).sum()
    best = int(wrong.argmin()) if wrong.any() else 1
    ratio = wrong[best] / wrong[0] if wrong[0] > 0 else 1.0
    count = np.array([len(np.unique(image[on])) for on in seen[2].T])
    return toward(heads[best], heads[0], count / np.maximum(count + PRIOR * ratio, 1e-9))


def _anchored(
    points: Float[np.ndarray, "N P 2"], xy: Float[np.ndarray, "N K 2"], labelled: Bool[np.ndarray, "N K"]
) -> list[LinearHead]:
    """The median, then the local head with every penalty."""
    return fit_median(points, xy, labelled) + fit_local(points, xy, labelled)


def read_turning(shown: Shown, rows: NDArray[np.bool_]) -> LinearHead:
    seen = (shown.points[rows], shown.xy[rows], shown.labelled[rows])
    random = np.random.default_rng(len(seen[0]))
    return cross_validated((fit_complex,), *seen, shown.image[rows], random)[0]


LINEAR: dict[str, Read] = {"frame": read_frame, "head": read_head, "turning": read_turning}


def linear_ways(turned: bool, pictures: int) -> dict[str, Read]:
    """Those worth trying, simplest first. Nothing is left to turn in the object's own frame (`turned`)."""
    some = not turned and pictures >= TURNING
    return {name: read for name, read in LINEAR.items() if some or name != "turning"}


def held_out(read: Read, shown: Shown, rows: NDArray[np.bool_], seed: int, parts: int = FOLDS) -> Answers:
    """Answers for `rows` by heads that have not seen their pictures; other rows are not known."""
    xy, known = np.zeros(shown.xy.shape), np.zeros(shown.labelled.shape, bool)
    for held in folds(shown.image, parts, seed):
        learn, ask = rows & ~held & shown.teaches, rows & held
        if not learn.any() or not ask.any():
            continue
        head = read(shown, learn)
        weight, intercept = flattened(head)
        xy[ask] = np.einsum("npi,pikj->nkj", shown.points[ask], weight) + intercept
        known[ask] = head.known
    return Answers(xy=xy, known=known)


# --------------------------------------------------------------------------------------------------- refiners


def judge_refiners(shown: Shown, length: Length, progress: Progress | None = None) -> Answers:
    """Answers of refiners that were learned without a part of the pictures, for that part.

    They learn from half as many pictures as the one that is kept: their errors are rather above those to
    expect than below.
    """
    parts = folds(shown.image, PARTS, length.seed)
    xy, known = np.zeros(shown.xy.shape), np.zeros(shown.labelled.shape, bool)
    for i, held in enumerate(parts):
        learn = ~held & shown.teaches
        if not learn.any():
            continue

        def moved(share: float, words: str, i: int = i) -> None:
            if progress is not None:
                progress((i + share) / len(parts), words)

        member = learn_refiner(shown, learn, length.part((1 - KEPT) / len(parts), i + 1), moved)
        head = read_head(shown, learn)
        xy[held] = refined(member, head, shown, held)
        known[held] = head.known
    return Answers(xy=xy, known=known)


def learn_refiner(
    shown: Shown, rows: NDArray[np.bool_], length: Length, progress: Progress | None = None
) -> Refiner:
    """A refiner of the head of `rows`, which learns from guesses as wrong as those it will be given."""
    guess = held_out(read_head, shown, rows, length.seed)
    config = RefinerConfig(
        n_keypoints=shown.xy.shape[1], n_points=shown.points.shape[1], input_size=shown.size
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(length.seed)
        member = Refiner(config)
    member.error.copy_(torch.from_numpy(_wrong_by(guess, shown, rows)))
    change = shown.crops.change
    which = torch.from_numpy(np.flatnonzero(rows))
    member.peak.fill_(usual_peak(None if change is None else change[which]))
    samples = GuidedSamples(
        shown.wide[which],
        shown.size,
        shown.points[rows],
        guess.xy[rows],
        shown.xy[rows],
        shown.labelled[rows] & guess.known[rows],
        augmentation(shown.turned),
        length.seed,
    )
    with TemporaryDirectory() as place:
        train(
            member,
            samples,
            Run(Path(place)),
            seed=length.seed,
            steps=length.steps,
            minutes=length.minutes,
            device=length.device,
            progress=progress,
        )
    return member.to("cpu").eval()


def _wrong_by(guess: Answers, shown: Shown, rows: NDArray[np.bool_]) -> Float[np.ndarray, " K"]:
    """Root mean square per axis of each point's error, weighed with that of all as two more pictures."""
    seen = shown.labelled & guess.known & rows[:, None]
    square = np.where(seen, ((guess.xy - shown.xy) ** 2).sum(-1) / 2, 0.0)
    count = seen.sum(0)
    usual = square.sum() / max(count.sum(), 1)
    return np.sqrt((square.sum(0) + USUAL * usual) / (count + USUAL))


def refined(
    member: Refiner, head: LinearHead, shown: Shown, rows: NDArray[np.bool_]
) -> Float[np.ndarray, "n K 2"]:
    """The refiner's answers for some rows, beginning at those of the head."""
    weight, intercept = flattened(head)
    which = np.flatnonzero(rows)
    parts = []
    with torch.inference_mode():
        for start in range(0, len(which), _BATCH):
            at = which[start : start + _BATCH]
            guess = np.einsum("npi,pikj->nkj", shown.points[at], weight) + intercept
            given = (torch.from_numpy(each).float() for each in (shown.points[at], guess))
            parts.append(member(guided(shown.crops[torch.from_numpy(at)], *given)).xy.double().numpy())
    return np.concatenate(parts) if parts else np.zeros((0, *shown.xy.shape[1:]))
