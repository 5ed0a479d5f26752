"""One set of points under the evaluation rules of several papers, with points that must not win under any.

The same points get better or worse by the rule alone. Which rule says what was read in the repositories (file
and commit in `source`); what a rule has beside its arithmetic (crops, flips in training, splits of its own
data) is not repeated, and `leaves_out` says what that is.

            intercept   0 is the picture's   truth                        more
strict      yes         anywhere             as given                     penalty by cross-validation
imm         no          upper left corner    as given
zhang       no          centre               as given
autolink    no          upper left corner    as given                     + identity where singular
autolink-h36m  no       upper left corner    train AND test: the nearer   outliers leave the training set
                                             of it and its mirror image
bkind-h36m  no          centre               test: the nearer of the two
mallis      yes         anywhere             as given                     penalty relative to the largest
                                                                          entry; backward, too
dve         no          centre               as given                     training stops where the TEST error
                                                                          is least

Coordinates here are picture coordinates: the centre of the picture (the crop that the points were found in)
is 0 and its longer side is 2, so `corner` of a square one is (-1, -1). Errors are told as a share of each
row's normaliser, for papers of faces take the distance of the pupils and others the picture's side.

Controls go through the same rule: a ring of points that never moves, alone and beside the points, and the
mean shape. A rule without intercept lends a constant point the role of the intercept: then the ring improves
points to which it adds nothing.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from asterism.errors import RequestError
from asterism.metrics import rules
from asterism.metrics.landmarks import Labels, Points
from asterism.metrics.pixel import bootstrap_interval, by_image, distances
from asterism.metrics.rules import CORNER, Outcome, Task

RING = 8  # points of the ring, at half of the way from the centre to the edge
_LEAST = 1e-4  # of the picture's side: what a ring takes off the error beneath it is rounding


@dataclass(frozen=True)
class Protocol:
    """A paper's rule. `flatters` is a loud sentence where the rule bends to the points, else empty."""

    name: str
    paper: str
    source: str
    rule: str
    leaves_out: str
    score: Callable[[Task], Outcome]
    flatters: str = ""


@dataclass(frozen=True)
class Row:
    """One set of points under one rule.

    `relative` is the mean error as a share of the normaliser (None without), `side` as a share of the
    picture's longer side; `plain` is `relative` of the same head against the truth as it was given. `less` is
    the 95 % interval, over test pictures, of how much less it errs than "points" do, in units of `side`.
    """

    protocol: str
    points: str
    relative: float | None
    side: float
    plain: float | None
    backward: float | None
    swapped_train: float
    swapped_test: float
    dropped: float
    gain: float
    n: int
    less: tuple[float, float] | None = None


_FLIPPED = (
    "FLATTERS: the true left and right were exchanged wherever that lowers the error, so a detector that "
    "cannot tell left from right is not charged for it"
)
_OWN = "its own data and crops"

_ALL = (
    Protocol(
        name="strict",
        paper="this library",
        source="metrics/landmarks.py",
        rule="ridge with intercept or the similarity-equivariant head, chosen with its penalty by "
        "cross-validation inside the labelled pictures; the truth as it was given",
        leaves_out="here: turned pictures, the curve over labels, intervals (--protocol strict tells them)",
        score=rules.strict,
    ),
    Protocol(
        name="imm",
        paper="Jakab et al., NeurIPS 2018",
        source="tomasjakab/imm scripts/test.py @0fee6b2: Ridge(alpha=0.0, fit_intercept=False) on pixels",
        rule="least squares without intercept, 0 at the upper left corner",
        leaves_out=f"{_OWN}; --bias, which its scripts do not use; the distance of the pupils",
        score=rules.from_corner,
    ),
    Protocol(
        name="zhang",
        paper="Zhang et al., CVPR 2018",
        source="YutingZhang/lmdis-rep evaluation/face_evaluation.m, linear_regressor.m, mean_error_IOD.m "
        "@2d3830e",
        rule="coordinates as fractions of the picture less one half, least squares without intercept; rows "
        "without labels dropped",
        leaves_out=f"{_OWN}; the distance of the pupils. Its file looks for all-zero rows after one half was "
        "taken off, so that as written it drops none",
        score=rules.from_centre,
    ),
    Protocol(
        name="autolink",
        paper="He et al., NeurIPS 2022",
        source="xingzhehe/AutoLink datasets/celeba_wild.py @32edfa3",
        rule="fractions of the picture, inverse of X'X without intercept, X'X + 1 where that fails",
        leaves_out=f"{_OWN}; float32, in which a nearly singular X'X may pass as regular; visibility per "
        "point (CUB), the head with intercept (Taichi), PCK (DeepFashion)",
        score=rules.normal_equations,
    ),
    Protocol(
        name="autolink-h36m",
        paper="He et al., NeurIPS 2022, on Human3.6M",
        source="xingzhehe/AutoLink datasets/h36m.py @32edfa3: regress_kp, test_epoch_end",
        rule="as autolink, but the truth of training and test is mirrored per picture where that lowers the "
        "error (until ten pictures or fewer would be), and training rows beyond three deviations are dropped",
        leaves_out=f"{_OWN}; a singular X'X gets the solution of least norm",
        score=rules.nearer_everywhere,
        flatters=_FLIPPED,
    ),
    Protocol(
        name="bkind-h36m",
        paper="Sun et al., CVPR 2022, on Human3.6M",
        source="neuroethology/BKinD evaluation/evaluate_simplehuman36m.py, regressor/regression.py @32935e4",
        rule="coordinates from -1 to 1, least squares without intercept, scored against the nearer of the "
        "truth and its mirror image",
        leaves_out=f"{_OWN}; the mean over activities before the mean over all",
        score=rules.nearer_in_test,
        flatters=_FLIPPED,
    ),
    Protocol(
        name="mallis",
        paper="Mallis et al., TPAMI 2022",
        source="dimitrismallis/KeypointsToLandmarks utils.py, Evaluators/evalCelebA.py @b14240e",
        rule="means taken off, ridge with 0.001 times the largest entry of X'X, backward with 0.1",
        leaves_out=f"{_OWN}; matrix completion of points that were not found (here all are); 300 pictures "
        "drawn ten times for its curves; the sorted cumulative curve",
        score=rules.centred_ridge,
    ),
    Protocol(
        name="dve",
        paper="Thewlis et al., ICCV 2019",
        source="jamt9000/DVE model/keypoint_prediction.py @2af2a03, train.py @0093b47, configs/*-keypoints",
        rule="coordinates from -1 to 1, a linear map without bias learned by descent; the epoch with the "
        "least loss on the test pictures is the best (monitor: min val_loss, and val is the test set)",
        leaves_out="the fifty points per label that it learns on a dense descriptor: the points that are "
        "given take their place; Adam, decay and the smooth L1 loss: plain descent on squares",
        score=rules.best_stop,
        flatters="FLATTERS: when training stops is chosen by the error on the test pictures",
    ),
)
PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in _ALL}


# ---------------------------------------------------------------------------------------------- the table


def audit(
    points: Points,
    train: Labels,
    test: Labels,
    *,
    controls: Mapping[str, Points] | None = None,
    swap: tuple[int, ...] = (),
    corner: tuple[float, float] = CORNER,
    protocols: Iterable[str] = tuple(PROTOCOLS),
    seed: int = 0,
) -> list[Row]:
    """The same points, and controls, under each rule; rows in the order of protocols, then of point sets.

    Beside `points` and `controls` there are "points and a ring", "ring" and "mean shape". Raises RequestError
    for an unknown rule or labels without a point.
    """
    unknown = [name for name in protocols if name not in PROTOCOLS]
    if unknown:
        raise RequestError(f"unknown protocol {unknown[0]!r}; wanted one of {', '.join(PROTOCOLS)}")
    if not (train.labelled.any(0) & test.labelled.any(0)).any():
        raise RequestError("no point is labelled both in the train and in the test pictures")
    ring, mean = _ring(), _mean_shape(train)
    sets = {
        "points": points,
        "points and a ring": _beside(points, ring),
        "ring": _constant(ring, points),
        "mean shape": _constant(mean, points),
        **(controls or {}),
    }
    rows = []
    for name in protocols:
        own: NDArray[np.float64] | None = None
        for what, one in sets.items():
            row, sums = _row(PROTOCOLS[name], what, Task(one, train, test, swap, corner, seed))
            less = None if own is None else _less(own, sums)
            own = sums if own is None else own
            rows.append(replace(row, less=less))
    return rows


def exploits(rows: Iterable[Row]) -> list[str]:
    """What the table shows of the rules, in words: which flatter, with what, and by how much."""
    told, cells = [], {(row.protocol, row.points): row for row in rows}
    for name in dict.fromkeys(protocol for protocol, _ in cells):
        own, ringed = cells[name, "points"], cells[name, "points and a ring"]
        if _better(ringed) and own.side - ringed.side > _LEAST:
            share = f"{1 - ringed.side / own.side:.0%}"
            told.append(f"{name}: a ring of points that never moves takes {share} off the error.")
        if words := PROTOCOLS[name].flatters:
            told.append(f"{name} {words}{_price(own)}.")
        others = [row for (p, what), row in cells.items() if p == name and what != "points and a ring"]
        least = min(others, key=lambda row: row.side)
        if least is not own:
            apart = "" if _better(least) else ", though these pictures do not tell the two apart"
            told.append(f"{name}: the control '{least.points}' has a smaller error than the points{apart}.")
    return told


def _better(row: Row) -> bool:
    return row.less is not None and row.less[0] > 0


def _price(row: Row) -> str:
    """What mirroring the truth was worth, where a rule does that and there was something to mirror."""
    if not row.swapped_test or row.relative is None or row.plain is None:
        return ""
    return (
        f"; here in {row.swapped_train:.0%} of the training and {row.swapped_test:.0%} of the test rows: "
        f"{row.relative:.1%} of the object instead of {row.plain:.1%}"
    )


# ------------------------------------------------------------------------------------------------- helpers


def _row(protocol: Protocol, name: str, task: Task) -> tuple[Row, NDArray[np.float64]]:
    """The row, and the sums of distances and counts per picture."""
    outcome = protocol.score(task)
    found, truth = outcome.head(task.points.test), outcome.truth
    judged = truth.labelled & outcome.head.known
    distance = distances(found, truth.xy, judged)
    given = task.test.labelled & outcome.head.known
    scale = task.test.normaliser[:, None]
    back, rows = outcome.backward, outcome.backward_rows
    row = Row(
        protocol=protocol.name,
        points=name,
        relative=_relative(distance, judged, scale),
        side=float(distance[judged].mean() / 2),
        plain=_relative(distances(found, task.test.xy, given), given, scale),
        backward=None
        if back is None or rows is None
        else _relative(back, np.repeat(rows[:, None], back.shape[1], 1), scale),
        swapped_train=outcome.swapped_train,
        swapped_test=outcome.swapped_test,
        dropped=outcome.dropped,
        gain=outcome.head.gain,
        n=int(judged.sum()),
    )
    return row, np.stack(by_image(distance.sum(1), judged.sum(1), task.test.image))


def _less(own: NDArray[np.float64], other: NDArray[np.float64]) -> tuple[float, float]:
    """95 % interval of how much less `other` errs, as a share of the picture's side."""
    rng = np.random.default_rng(0)
    low, high = bootstrap_interval((own[0] - other[0])[None], own[1][None], rng)
    return low / 2, high / 2


def _relative(
    distance: Float[np.ndarray, "M K"], judged: Bool[np.ndarray, "M K"], scale: Float[np.ndarray, "M 1"]
) -> float | None:
    told = judged & (scale > 0)
    return float((distance / np.where(scale > 0, scale, 1.0))[told].mean()) if told.any() else None


def _ring() -> Float[np.ndarray, "P 2"]:
    angle = 2 * np.pi * np.arange(RING) / RING
    return np.stack([np.cos(angle), np.sin(angle)], -1) / 2


def _mean_shape(train: Labels) -> Float[np.ndarray, "K 2"]:
    count = np.maximum(train.labelled.sum(0), 1)[:, None]
    return np.where(train.labelled[..., None], train.xy, 0.0).sum(0) / count


def _constant(places: Float[np.ndarray, "P 2"], like: Points) -> Points:
    return Points(*(np.tile(places, (len(part), 1, 1)) for part in (like.train, like.test)))


def _beside(points: Points, places: Float[np.ndarray, "Q 2"]) -> Points:
    still = _constant(places, points)
    both = zip((points.train, points.test), (still.train, still.test))
    return Points(*(np.concatenate(pair, 1) for pair in both))
