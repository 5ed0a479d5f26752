"""The arithmetic of the evaluation rules in protocols.py, one function for each: Task -> Outcome.

A head is fitted to the training rows, and the truth it is scored against is chosen: in the strict rule it is
the truth as it was given, in some it is bent towards the answer, which is what `Outcome` counts. Written from
what the rules say; no line is theirs.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from asterism.metrics.heads import LinearHead, Solve, cross_validated, fit_lstsq, fit_with, moved_origin
from asterism.metrics.landmarks import PROTOCOLS as HEADS
from asterism.metrics.landmarks import Labels, Points
from asterism.metrics.pixel import distances

CORNER = (-1.0, -1.0)
_TOLERATED = 10  # pictures that may stay unmirrored (autolink, h36m.py)
_ROUNDS = 100  # each lowers the error; the end is reached in a few
_FORWARD, _BACKWARD = 1e-3, 1e-1  # penalties of mallis
_DOUBLINGS = 21  # descent is looked at after 1, 2, 4, ... steps


@dataclass(frozen=True)
class Task:
    """Points and labels in picture coordinates; `swap[k]` is the index of k's mirror image, () without."""

    points: Points
    train: Labels
    test: Labels
    swap: tuple[int, ...] = ()
    corner: tuple[float, float] = CORNER
    seed: int = 0


@dataclass(frozen=True)
class Outcome:
    """A head and the truth it is scored against, and how far a rule went to please it, as shares of rows.

    `backward` are the distances of the points from what the labels predict, where the rule asks for them;
    `backward_rows` are the rows that have all the labels this takes.
    """

    head: LinearHead
    truth: Labels
    swapped_train: float = 0.0
    swapped_test: float = 0.0
    dropped: float = 0.0
    backward: Float[np.ndarray, "M P"] | None = None
    backward_rows: Bool[np.ndarray, " M"] | None = None


def strict(task: Task) -> Outcome:
    """The house's own: metrics.landmarks with all labelled pictures."""
    rng = np.random.default_rng(task.seed)
    train = task.train
    heads = cross_validated(HEADS["strict"], task.points.train, train.xy, train.labelled, train.image, rng)
    return Outcome(heads[0], task.test)


def from_corner(task: Task) -> Outcome:
    """Least squares without intercept; 0 is the upper left corner."""
    return Outcome(_least_squares(task, np.array(task.corner), task.train), task.test)


def from_centre(task: Task) -> Outcome:
    """Least squares without intercept; 0 is the centre. Rows without any label are dropped first."""
    kept = np.any(task.train.labelled, axis=1, keepdims=False)
    head = _least_squares(task, np.zeros(2), task.train, kept)
    return Outcome(head, task.test, dropped=float(np.mean(~kept)))


def normal_equations(task: Task) -> Outcome:
    """from_corner by the inverse of X'X, to which the identity is added where it has none; the picture's
    side is 1, so that the identity weighs what it weighs there."""
    origin = np.array(task.corner)
    points, labels = (task.points.train - origin) / 2, (task.train.xy - origin) / 2
    head = fit_with("normal equations", _inverse_or_identity, points, labels, task.train.labelled)
    return Outcome(moved_origin(head, origin), task.test)  # a linear map has no unit


def nearer_everywhere(task: Task) -> Outcome:
    """from_corner with the truth of training and test pictures mirrored wherever that pleases the answer."""
    origin = np.array(task.corner)
    train = _settled(task, origin)
    error = _per_row(_least_squares(task, origin, train)(task.points.train), train)
    kept = error < error.mean() + 3 * error.std(ddof=1) if error.std() else np.ones(len(error), bool)
    head = _least_squares(task, origin, train, kept)
    test = _please(head(task.points.test), task.test, task.swap)
    test = test if _swaps(task.test, test) > _TOLERATED else task.test
    return Outcome(
        head,
        test,
        swapped_train=_swaps(task.train, train) / len(train.xy),
        swapped_test=_swaps(task.test, test) / len(test.xy),
        dropped=float(np.mean(~kept)),
    )


def nearer_in_test(task: Task) -> Outcome:
    """from_centre, scored against the nearer of each test picture's truth and its mirror image."""
    head = _least_squares(task, np.zeros(2), task.train)
    test = _please(head(task.points.test), task.test, task.swap)
    return Outcome(head, test, swapped_test=_swaps(task.test, test) / len(test.xy))


def centred_ridge(task: Task) -> Outcome:
    """Means taken off, then ridge with a penalty relative to the largest entry of X'X; backward likewise."""
    train = task.train
    head = fit_with("ridge", _relative_ridge(_FORWARD), task.points.train, train.xy, train.labelled)
    rows = np.all(task.test.labelled[:, train.labelled.any(0)], axis=1, keepdims=False)
    return Outcome(head, task.test, backward=_backward(task), backward_rows=rows)


def best_stop(task: Task) -> Outcome:
    """from_centre by gradient descent from zero, stopped after the step at which the TEST error is least."""
    heads = [_descended(task, 2**power) for power in range(_DOUBLINGS)]
    heads.append(_least_squares(task, np.zeros(2), task.train))
    errors = [_mean_error(head, task.points.test, task.test) for head in heads]
    return Outcome(heads[int(np.argmin(errors))], task.test)


# ------------------------------------------------------------------------------------------------- helpers


def _least_squares(
    task: Task, origin: NDArray[np.float64], train: Labels, kept: NDArray[np.bool_] | None = None
) -> LinearHead:
    rows = slice(None) if kept is None else kept
    points, xy = task.points.train[rows] - origin, train.xy[rows] - origin
    return moved_origin(fit_lstsq(points, xy, train.labelled[rows])[0], origin)


def _settled(task: Task, origin: NDArray[np.float64]) -> Labels:
    """The training truth after head and truth have been fitted to each other until they agree."""
    train = task.train
    for _ in range(_ROUNDS):
        pleased = _please(_least_squares(task, origin, train)(task.points.train), train, task.swap)
        if _swaps(train, pleased) <= _TOLERATED:
            return train
        train = pleased
    return train


def _inverse_or_identity(
    x: Float[np.ndarray, "n F"], y: Float[np.ndarray, "n T"]
) -> tuple[Float[np.ndarray, "F T"], Float[np.ndarray, " T"]]:
    gram = x.T @ x
    if np.linalg.matrix_rank(x) < len(gram):
        gram = gram + np.eye(len(gram))
    return np.linalg.solve(gram, x.T @ y), np.zeros(y.shape[1])


def _relative_ridge(penalty: float) -> Solve:
    def solve(
        x: Float[np.ndarray, "n F"], y: Float[np.ndarray, "n T"]
    ) -> tuple[Float[np.ndarray, "F T"], Float[np.ndarray, " T"]]:
        centre, target = x.mean(0), y.mean(0)
        gram = (x - centre).T @ (x - centre)
        gram = gram + penalty * (gram.max() + 1e-12) * np.eye(len(gram))
        weight = np.linalg.solve(gram, (x - centre).T @ (y - target))
        return weight, target - centre @ weight

    return solve


def _descended(task: Task, steps: int) -> LinearHead:
    """Least squares after `steps` of descent from zero, its rate the largest that never overshoots."""

    def solve(
        x: Float[np.ndarray, "n F"], y: Float[np.ndarray, "n T"]
    ) -> tuple[Float[np.ndarray, "F T"], Float[np.ndarray, " T"]]:
        u, s, vh = np.linalg.svd(x, full_matrices=False)
        share = 1 - (1 - (s / max(s[0], 1e-300)) ** 2) ** steps  # of each direction that has been learned
        gain = np.divide(share, s, out=np.zeros_like(s), where=s > 1e-12 * s[0])
        return vh.T @ (gain[:, None] * (u.T @ y)), np.zeros(y.shape[1])

    return fit_with("descent", solve, task.points.train, task.train.xy, task.train.labelled)


def _backward(task: Task) -> Float[np.ndarray, "M P"] | None:
    """Points from labels, learned from the rows that have every label that is ever given."""
    used = task.train.labelled.any(0)
    learn = task.train.labelled[:, used].all(1)
    if learn.sum() < 2:
        return None
    target = task.points.train[learn]
    every = np.ones(target.shape[:2], bool)
    head = fit_with("ridge", _relative_ridge(_BACKWARD), task.train.xy[learn][:, used], target, every)
    gap = head(task.test.xy[:, used]) - task.points.test
    return np.hypot(gap[..., 0], gap[..., 1])


def _mirrored(labels: Labels, swap: tuple[int, ...]) -> Labels:
    if not swap:
        return labels
    order = list(swap)
    return replace(labels, xy=labels.xy[:, order], labelled=labels.labelled[:, order])


def _please(answer: Float[np.ndarray, "N K 2"], labels: Labels, swap: tuple[int, ...]) -> Labels:
    """The labels, mirrored in the rows in which their mirror image is nearer to the answer."""
    other = _mirrored(labels, swap)
    nearer = _per_row(answer, other) < _per_row(answer, labels)
    return replace(
        labels,
        xy=np.where(nearer[:, None, None], other.xy, labels.xy),
        labelled=np.where(nearer[:, None], other.labelled, labels.labelled),
    )


def _swaps(before: Labels, after: Labels) -> int:
    """In how many rows the two differ."""
    return int((before.xy != after.xy).any((1, 2)).sum())


def _per_row(answer: Float[np.ndarray, "N K 2"], labels: Labels) -> Float[np.ndarray, " N"]:
    distance = distances(answer, labels.xy, labels.labelled)
    return distance.sum(1) / np.maximum(labels.labelled.sum(1), 1)


def _mean_error(head: LinearHead, points: Float[np.ndarray, "M P 2"], labels: Labels) -> float:
    judged = labels.labelled & head.known
    return float(distances(head(points), labels.xy, judged)[judged].mean()) if judged.any() else np.inf
