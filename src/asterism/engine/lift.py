"""Shapes in space from keypoints alone: one view each, no cameras, nothing known of the shape.

Views are taken for orthographic. How many directions shapes vary in, whether they are symmetric, and what
scales do, is decided by hiding keypoints of rows that were not learned from and asking where they are
(`choose`). A flat shape that bends is asked, too: where it answers as well, nothing is known of depth, and
the whole is refused. The same hidden points say how much too small or large the covariances are.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from asterism.engine.triangulate import FURTHEST
from asterism.errors import RequestError
from asterism.geometry import nrsfm
from asterism.geometry.nrsfm_flat import complete_flat, learn_flat
from asterism.geometry.nrsfm_views import Kind, centred
from asterism.io.table import KeypointTable

_ROWS = 12  # at least, to learn from
_LEARN, _JUDGE = 240, 120  # rows, at most, while settings are chosen
_HIDDEN, _STAY = 0.2, 4  # of the points of a row that is judged; so many stay: an affine view needs four
_BETTER = 0.97  # a richer model must come so much nearer to hidden points
_DEEPER = 0.9  # and a model with depth so much nearer than a flat one
_SCALES, _RIDGES = (0.0, 0.1, 0.4), (0.001, 0.003, 0.01)
_DIRECTIONS = (0, 1, 2, 4, 8, 12, 16)
_EACH = 6  # rows for every direction, at least
_FEW_VIEWS = 0.2  # a point must be seen in so many of the rows
_NARROW = 10.0  # degrees: views that differ by less show one side
_VAGUE = 0.5  # of a depth's variance left unknown
_HOLDS = -2 * math.log(0.05)  # chi square of two degrees of freedom that 95 % stay below
_MEDIAN = math.sqrt(2 * math.log(2))  # median distance of Gaussian noise in the plane, in sigmas


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A keypoint must score `least_score`; a row must show `least_points`. `mirror`: the other one of two
    answers that no picture can tell apart. Raises RequestError, naming the field.
    """

    least_points: int = 5
    least_score: float | int = 0.2
    mirror: bool = False

    def __post_init__(self) -> None:
        if self.least_points < 4:
            raise RequestError(
                f"least_points={self.least_points}: three points fit any pose of any shape; wanted 4 or more"
            )
        if not 0 <= self.least_score <= 1:
            raise RequestError(f"least_score={self.least_score}: wanted a number from 0 to 1")


@dataclass(frozen=True, kw_only=True)
class Setting:
    directions: int
    symmetric: bool
    scale_sd: float
    ridge: float


@dataclass(frozen=True, kw_only=True)
class Choice:
    """`hidden` is the mean distance, in pixels, of hidden points from where they were, of each setting that
    was tried; `flat` that of flat shapes; `widen` what covariances are to be multiplied by.
    """

    setting: Setting
    hidden: dict[Setting, float]
    flat: float
    widen: float


@dataclass(frozen=True, kw_only=True)
class Shapes:
    """Of N rows and K points; lengths in pixels. Refused rows have a reason, and numbers without meaning."""

    names: tuple[str, ...]
    seen: Bool[Tensor, "N K"]
    xyz: Float[Tensor, "N K 3"]  # x and y in the picture, z away from the camera, about the shape's middle
    cov: Float[Tensor, "N K 3 3"]
    error: Float[Tensor, "N K"]  # of the points that are seen
    shift: Float[Tensor, "N 2"]
    view_from_kind: Float[Tensor, "N 3 3"]
    scale: Float[Tensor, " N"]
    coefficients: Float[Tensor, "N S"]
    reason: tuple[str, ...]
    kind: Kind
    choice: Choice
    views_degrees: float  # how far views differ: 90 from all around
    vague: float  # share of the depth's variance that is not known
    refused: str = ""


@dataclass(frozen=True)
class _Seen:
    xy: Tensor  # N K 2, pixels
    valid: Tensor  # N K
    partner: tuple[int, ...]  # empty: no pairs are known
    unit: float  # pixels

    def __getitem__(self, rows: Tensor) -> "_Seen":
        return replace(self, xy=self.xy[rows], valid=self.valid[rows])

    def __len__(self) -> int:
        return len(self.xy)


def lift(table: KeypointTable, asked: Asked) -> Shapes:
    """Raises RequestError for a table with too few rows, or points, to learn from."""
    names, seen = _read(table, asked)
    enough = seen.valid.sum(1) >= asked.least_points
    if int(enough.sum()) < _ROWS:
        raise RequestError(
            f"{table.source}: {int(enough.sum())} of {len(seen)} rows show {asked.least_points} points or "
            f"more; wanted {_ROWS} rows at least, to learn a shape from"
        )
    some = seen[enough.nonzero()[:, 0]]
    choice = choose(some)
    kind = _learned(some, choice.setting)
    found = nrsfm.lift(kind, seen.xy / seen.unit, seen.valid)
    usual = float(found.error[enough].median()) / _MEDIAN
    fits = found.error <= FURTHEST * usual
    if bool((enough & ~fits).any()):  # once more without rows that are something else
        kind = _learned(seen[(enough & fits).nonzero()[:, 0]], choice.setting)
        found = nrsfm.lift(kind, seen.xy / seen.unit, seen.valid)
        fits = found.error <= FURTHEST * usual
    shapes = _in_pixels(names, seen, kind, found, choice, enough, fits, asked)
    return replace(shapes, refused=_refusal(shapes))


def _read(table: KeypointTable, asked: Asked) -> tuple[tuple[str, ...], _Seen]:
    valid = torch.from_numpy(table.labelled & (table.score >= asked.least_score))
    kept = (valid.double().mean(0) >= _FEW_VIEWS).nonzero()[:, 0].tolist() if len(table) else []
    names = tuple(table.names[k] for k in kept)
    if len(names) < asked.least_points:
        raise RequestError(
            f"{table.source}: {len(names)} points are seen in a fifth of the rows ({', '.join(names)}); "
            f"wanted {asked.least_points} at least"
        )
    partner: tuple[int, ...] = ()
    if table.swap and all(table.swap[k] in kept for k in kept) and any(table.swap[k] != k for k in kept):
        partner = tuple(kept.index(table.swap[k]) for k in kept)
    xy, valid = torch.from_numpy(table.xy[:, kept]), valid[:, kept]
    off = centred(xy.masked_fill(~valid[..., None], 0.0), valid).square().sum(-1)
    most = valid.sum(1) >= valid.sum(1).median()
    size = (off.sum(1) / valid.sum(1).clamp_min(1)).sqrt()[most]
    unit = float(size.median()) or 1.0
    return names, _Seen(xy=xy, valid=valid, partner=partner, unit=unit)


def _learned(seen: _Seen, setting: Setting) -> Kind:
    return nrsfm.learn(
        seen.xy / seen.unit,
        setting.directions,
        ridge=setting.ridge,
        scale_sd=setting.scale_sd,
        swap=seen.partner if setting.symmetric else (),
        valid=seen.valid,
    )


def choose(seen: _Seen) -> Choice:
    """One property after the other, each time the best; a richer model only where it is plainly better."""
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(seen)))
    third = min(len(seen) // 3, _JUDGE)
    learn, judge = seen[order[third:][:_LEARN]], seen[order[:third]]
    hidden = _hide(judge)
    tried: dict[Setting, float] = {}
    widen: dict[Setting, float] = {}

    def off(setting: Setting) -> float:
        if setting not in tried:
            kind = _learned(learn, setting)
            told = nrsfm.lift(kind, judge.xy / seen.unit, judge.valid & ~hidden)
            tried[setting] = _distance(told.xyz[..., :2] + told.shift[:, None], judge, hidden)
            widen[setting] = _widen(kind, told, judge, hidden)
        return tried[setting]

    best = Setting(directions=2, symmetric=bool(seen.partner), scale_sd=0.0, ridge=_RIDGES[1])
    most = min(len(learn) // _EACH, 2 * seen.xy.shape[1] - 6)
    ladder = [s for s in _DIRECTIONS if s <= max(most, 0)]
    best = replace(best, directions=min(2, ladder[-1]))
    ways = [[replace(best, scale_sd=sd) for sd in _SCALES]]
    best = _plainly(ways[0], off)
    if seen.partner:
        best = _plainly([best, replace(best, symmetric=False)], off)
    for s in [s for s in ladder if s > best.directions]:
        richer = _plainly([best, replace(best, directions=s)], off)
        if richer == best:
            break
        best = richer
    for s in [s for s in reversed(ladder) if s < best.directions and best.directions <= 2]:
        best = _plainly([replace(best, directions=s), best], off)
    best = _plainly([best, *(replace(best, ridge=r) for r in _RIDGES if r != best.ridge)], off)
    flat = min(_flat_off(learn, judge, hidden, best, s) for s in {best.directions, 2 * best.directions + 2})
    return Choice(setting=best, hidden=tried, flat=flat, widen=widen[best])


def _plainly(settings, off) -> Setting:
    """The first, unless a later one is plainly better."""
    best = settings[0]
    for other in settings[1:]:
        if off(other) < _BETTER * off(best):
            best = other
    return best


def _hide(judge: _Seen) -> Tensor:
    """Points to be asked for: a fifth of those seen, one at least, while _STAY stay."""
    dice = torch.from_numpy(np.random.default_rng(1).random(judge.valid.shape))
    rank = dice.masked_fill(~judge.valid, 2.0).argsort(1).argsort(1)
    count = judge.valid.sum(1)
    many = (_HIDDEN * count).round().clamp_min(1).minimum((count - _STAY).clamp_min(0))
    return judge.valid & (rank < many[:, None])


def _distance(xy: Tensor, judge: _Seen, hidden: Tensor) -> float:
    """Mean, in pixels; a stray counts as much as the shape's radius."""
    off = judge.unit * (xy - judge.xy / judge.unit).norm(dim=-1)[hidden]
    return float(off.clamp_max(judge.unit).mean()) if len(off) else math.nan


def _flat_off(learn: _Seen, judge: _Seen, hidden: Tensor, setting: Setting, directions: int) -> float:
    told = {"ridge": setting.ridge, "scale_sd": max(setting.scale_sd, _SCALES[-1])}
    kind = learn_flat(learn.xy / learn.unit, directions, valid=learn.valid, **told)
    return _distance(complete_flat(kind, judge.xy / judge.unit, judge.valid & ~hidden), judge, hidden)


def _widen(kind: Kind, told: nrsfm.Lifted, judge: _Seen, hidden: Tensor) -> float:
    """By how much covariances are to be multiplied so that 95 % ellipses hold 95 % of the hidden points."""
    off = (told.xyz[..., :2] + told.shift[:, None] - judge.xy / judge.unit)[hidden]
    cov = (told.cov[..., :2, :2] + kind.noise * torch.eye(2).to(told.cov))[hidden]
    square = (off[:, None] @ torch.linalg.solve(cov, off[..., None]))[:, 0, 0]
    return float(square.quantile(0.95)) / _HOLDS if len(square) else 1.0


def _in_pixels(
    names: tuple[str, ...],
    seen: _Seen,
    kind: Kind,
    found: nrsfm.Lifted,
    choice: Choice,
    enough: Tensor,
    fits: Tensor,
    asked: Asked,
) -> Shapes:
    flip = torch.tensor([1.0, 1, -1 if asked.mirror else 1], dtype=found.xyz.dtype)
    eye = torch.eye(3, dtype=found.xyz.dtype)
    known = found.xyz.square()[..., 2].mean()
    unknown = found.cov[..., 2, 2].mean()
    placed = torch.cat([found.xyz[..., :2] + found.shift[:, None], found.xyz[..., 2:]], dim=-1)
    error = (placed[..., :2] - seen.xy / seen.unit).norm(dim=-1) * seen.unit
    cov = choice.widen * seen.unit**2 * (found.cov + kind.noise * eye) * flip[:, None] * flip
    axis = found.view_from_kind[enough & fits][:, 2]
    reason = []
    for count, ok, far in zip(seen.valid.sum(1).tolist(), fits.tolist(), found.error.tolist()):
        few = f"{count} points are seen; wanted {asked.least_points}" if count < asked.least_points else ""
        odd = "" if ok else f"is not a shape like the others: {far * seen.unit:.1f} px off"
        reason.append(few or odd)
    return Shapes(
        names=names,
        seen=seen.valid,
        xyz=seen.unit * placed * flip,
        cov=cov,
        error=error.masked_fill(~seen.valid, math.nan),
        shift=found.shift * seen.unit,
        view_from_kind=flip[:, None] * found.view_from_kind * flip,
        scale=found.scale,
        coefficients=found.coefficients,
        reason=tuple(reason),
        kind=replace(kind, mean=seen.unit * kind.mean * flip, basis=seen.unit * kind.basis * flip),
        choice=choice,
        views_degrees=_wide(axis),
        vague=float(unknown / (known + unknown).clamp_min(1e-12)),
    )


def _wide(axis: Float[Tensor, "N 3"]) -> float:
    """How far lines of sight are from the one in their middle, root mean square, in degrees."""
    if not len(axis):
        return 0.0
    values = torch.linalg.eigvalsh(axis.mT @ axis / len(axis))
    return math.degrees(math.asin(math.sqrt(min(1.0, max(0.0, float(values[0] + values[1]))))))


def _refusal(shapes: Shapes) -> str:
    choice = shapes.choice
    best = choice.hidden[choice.setting]
    if not best < _DEEPER * choice.flat:
        return (
            f"a flat shape that bends tells hidden keypoints as well ({choice.flat:.1f} px, in space "
            f"{best:.1f} px): nothing is known of depth. Wanted views from more sides"
        )
    if shapes.views_degrees < _NARROW:
        return (
            f"all views are from one side, within {shapes.views_degrees:.0f} degrees: depth cannot be known. "
            "Wanted views that differ by more"
        )
    if shapes.vague > _VAGUE:
        return f"{shapes.vague:.0%} of the variance of depth stays unknown; wanted more points or views"
    return ""
