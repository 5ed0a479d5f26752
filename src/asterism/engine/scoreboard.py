"""Rows of a comparison: what was measured of each method, its intervals, and what they say in words."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from asterism.metrics.landmarks import Answers
from asterism.metrics.pixel import bootstrap_interval, by_image

COLUMNS = (
    *("name", "kind", "learns_from", "seeds", "forward_px", "forward_low", "forward_high", "forward_sd"),
    *("forward_share", "rotated_px", "rotated_low", "rotated_high", "rotated_sd", "equivariance_error"),
    *("dead", "points", "healthy", "on_object", "jitter", "gain", "parameters", "seconds", "steps", "remark"),
)
_HEALTH = ("equivariance_error", "dead", "points", "healthy", "on_object", "jitter")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One seed of one method, or a control. None where there are no labels, or a score cannot be had."""

    answers: Answers | None = None
    health: Mapping[str, Any] | None = None
    parameters: int | None = None
    seconds: float | None = None
    steps: int | None = None


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """All seeds of one method; `remark` says why it failed, or what else must be known of it."""

    name: str
    kind: str  # method or control
    learns_from: str  # labels, no labels, or "" where nothing is learned
    seeds: tuple[int, ...]
    measured: tuple[Measured, ...]
    remark: str = ""

    @property
    def answers(self) -> list[Answers]:
        return [one.answers for one in self.measured if one.answers is not None]


@dataclass(frozen=True, kw_only=True)
class Tested:
    """The rows the answers are about: which picture each shows, plain and turned, and the object's size."""

    image: Int[np.ndarray, " M"]
    turned: Int[np.ndarray, " R"]
    size: Float[np.ndarray, " M"]


def row_of(entrant: Entrant, tested: Tested | None) -> dict[str, Any]:
    """A row of the table, in JSON's types; intervals are over test pictures, `sd` and `each` over seeds."""
    scores = [one.health for one in entrant.measured if one.health is not None]
    row: dict[str, Any] = {
        "name": entrant.name,
        "kind": entrant.kind,
        "learns_from": entrant.learns_from,
        "seeds": list(entrant.seeds),
        "forward": None,
        "rotated": None,
        **{key: _mean([score.get(key) for score in scores]) for key in _HEALTH},
        "gain": _mean([answer.gain for answer in entrant.answers]),
        "parameters": next((m.parameters for m in entrant.measured if m.parameters is not None), None),
        "seconds": _mean([m.seconds for m in entrant.measured]),
        "steps": _mean([m.steps for m in entrant.measured]),
        "remark": entrant.remark,
    }
    if tested is not None and entrant.answers:
        share = {"share": _share(entrant.answers, tested)}
        row["forward"] = _error(forward_sums(entrant, tested)) | share
        turned = rotated_sums(entrant, tested)
        row["rotated"] = None if turned is None else _error(turned)
    return row


Sums = tuple[Float[np.ndarray, "_ I"], Float[np.ndarray, "_ I"]]  # distances and counts per seed and image


def forward_sums(entrant: Entrant, tested: Tested) -> Sums:
    return _stacked([by_image(a.forward.sum(1), a.judged.sum(1), tested.image) for a in entrant.answers])


def rotated_sums(entrant: Entrant, tested: Tested) -> Sums | None:
    parts = []
    for a in entrant.answers:
        if a.rotated is None or a.rotated_judged is None or not a.rotated_judged.any():
            return None
        parts.append(by_image(a.rotated.sum(1), a.rotated_judged.sum(1), tested.turned))
    return _stacked(parts)


def _stacked(parts: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> Sums:
    sums, counts = zip(*parts)
    return np.stack(sums), np.stack(counts)


def _error(sums: Sums) -> dict[str, Any]:
    distance, count = sums
    each = distance.sum(1) / count.sum(1)
    return {
        "mean_px": float(distance.sum() / count.sum()),
        "ci95": list(bootstrap_interval(distance.sum(0)[None], count.sum(0)[None], np.random.default_rng(0))),
        "sd": float(each.std(ddof=1)) if len(each) > 1 else None,
        "each": each.tolist(),
    }


def _share(answers: Sequence[Answers], tested: Tested) -> float | None:
    """Mean error as a share of the object's size."""
    known = tested.size > 0
    if not known.any():
        return None
    scale = np.where(known, tested.size, 1.0)[:, None]
    shares = [(a.forward / scale)[a.judged & known[:, None]].mean() for a in answers]
    return float(np.mean(shares))


def behind(one: Sums, other: Sums) -> tuple[float, tuple[float, float]]:
    """By how many pixels `one` errs more than `other` on the same pictures, and the 95 % interval."""
    gap = one[0].mean(0) - other[0].mean(0)
    count = one[1].mean(0)
    interval = bootstrap_interval(gap[None], count[None], np.random.default_rng(0))
    return float(gap.sum() / count.sum()), interval


# ------------------------------------------------------------------------------------------------ in words


def verdict(entrants: Sequence[Entrant], tested: Tested | None) -> list[str]:
    """Who is best, whom it is told apart from, and whether a control wins."""
    methods = [e for e in entrants if e.kind == "method" and e.measured]
    if not methods:
        return ["No method could be trained, so nothing can be compared."]
    if tested is None:
        return _without_labels(entrants)
    sums = {e.name: forward_sums(e, tested) for e in entrants if e.answers}
    ranked = _ranked([e.name for e in methods], sums)
    controls = _ranked([e.name for e in entrants if e.kind == "control"], sums)
    told = [_first(ranked[0], controls, sums, "") + _caution(next(e for e in methods if e.name == ranked[0]))]
    if len(ranked) > 1:
        gaps = (f"{name} by {_gap(*behind(sums[name], sums[ranked[0]]))}" for name in ranked[1:])
        told.append(f"Behind {ranked[0]}: {'; '.join(gaps)}.")
    lost = [name for name in ranked[1:] if controls and _mean_of(sums[name]) >= _mean_of(sums[controls[0]])]
    if lost and _mean_of(sums[ranked[0]]) < _mean_of(sums[controls[0]]):
        told.append(f"No better than the best control: {', '.join(lost)}.")
    free = [name for name in ranked if name in {e.name for e in methods if e.learns_from == "no labels"}]
    if free and free[0] != ranked[0]:
        told.append(_first(free[0], controls, sums, " among those that learned without labels"))
    turned = {e.name: s for e in entrants if e.answers and (s := rotated_sums(e, tested)) is not None}
    if ranked[0] in turned:
        best = _ranked([name for name in ranked if name in turned], turned)[0]
        still = _ranked([name for name in controls if name in turned], turned)
        told.append(_first(best, still, turned, " on the pictures turned by random angles"))
    return told


def _caution(best: Entrant) -> str:
    """A small error is no proof of points on parts: a linear head reads codes, too."""
    row = row_of(best, None)
    if not row["points"] or row["healthy"] is None or row["healthy"] >= row["points"] / 2:
        return ""
    code = "." if best.learns_from == "labels" else f"; 1 px of noise in them costs {row['gain']:.1f} px."
    return (
        f" BUT {row['healthy']:.3g} of its {row['points']:.0f} points are healthy (alive, steady, on "
        f"the object): look at the pictures first{code}"
    )


def _mean_of(sums: Sums) -> float:
    return float(sums[0].sum() / sums[1].sum())


def _ranked(names: Sequence[str], sums: Mapping[str, Sums]) -> list[str]:
    return sorted((name for name in names if name in sums), key=lambda name: _mean_of(sums[name]))


def _first(best: str, controls: Sequence[str], sums: Mapping[str, Sums], where: str) -> str:
    """The best method beside the best control, in a sentence that shouts where the control is not beaten."""
    own = _mean_of(sums[best])
    if not controls:
        return f"{best} is best{where}: {own:.2f} px."
    control = controls[0]
    gap, (low, high) = behind(sums[control], sums[best])
    words = f"{_mean_of(sums[control]):.2f} px, {_gap(gap, (low, high))}"
    if gap > 0:
        return f"{best} is best{where}: {own:.2f} px. The best control, {control}, errs by {words} more."
    verb = "A CONTROL WINS" if high < 0 else "A CONTROL IS AS GOOD"
    words = f"{_mean_of(sums[control]):.2f} px, {_gap(-gap, (-high, -low))}"
    return (
        f"{verb}{where}: {control} errs by {words} less than the best method, {best} ({own:.2f} px). "
        "Nothing that was trained has shown to be of use there."
    )


def _gap(mean: float, interval: tuple[float, float]) -> str:
    low, high = interval
    apart = "" if low > 0 or high < 0 else ", which these pictures do not tell apart"
    return f"{mean:.2f} px (95 % interval {low:.2f} to {high:.2f}{apart})"


def _without_labels(entrants: Sequence[Entrant]) -> list[str]:
    """Steadiness is all there is: share of points that are not healthy, plus the error under known warps."""
    rows = {e.name: row_of(e, None) for e in entrants if e.measured and e.measured[0].health}
    bad = {}
    for name, row in rows.items():
        if row["equivariance_error"] is not None and row["points"]:
            stuck = _mean(
                [m.health["equivariance_error_of_fixed_points"] for m in _of(entrants, name) if m.health]
            )
            steady = row["equivariance_error"] / max(stuck or 0.0, 1e-9)
            bad[name] = 1 - row["healthy"] / row["points"] + steady
    if not bad:
        return ["Nothing could be scored without labels."]
    best = min(bad, key=bad.__getitem__)
    kind = next(e.kind for e in entrants if e.name == best)
    word = f"A CONTROL is the steadiest: {best}" if kind == "control" else f"{best} is the steadiest"
    row = rows[best]
    return [
        f"{word}: {row['healthy']:.1f} of {row['points']:.0f} points healthy, off by "
        f"{row['equivariance_error']:.1%} of the object under known warps.",
        "Without labels nobody can say which points are the anatomy you have in mind: steady is not right.",
    ]


def _of(entrants: Sequence[Entrant], name: str) -> tuple[Measured, ...]:
    return next(e.measured for e in entrants if e.name == name)


def _mean(values: Sequence[float | int | None]) -> float | None:
    known = [float(v) for v in values if v is not None]
    return float(np.mean(known)) if known else None


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """One line per row, one number per cell, empty where there is none."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        flat = {key: row[key] for key in COLUMNS if key in row}
        flat["seeds"] = " ".join(map(str, row["seeds"]))
        for part in ("forward", "rotated"):
            error = row[part] or {}
            low, high = error.get("ci95", (None, None))
            flat |= {f"{part}_px": error.get("mean_px"), f"{part}_sd": error.get("sd")}
            flat |= {f"{part}_low": low, f"{part}_high": high}
        flat["forward_share"] = (row["forward"] or {}).get("share")
        writer.writerow(flat)
    return out.getvalue()
