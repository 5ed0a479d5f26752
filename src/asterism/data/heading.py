"""Which end of a long object is its front: one decision for the whole clip, not one per picture.

Every picture gives weak evidence (the thin side is the tail, the mass leans, animals walk forwards); the
clip gives more: an animal does not turn round between two pictures, and it looks like itself the right way
round. The two are joined by the forward-backward algorithm over a chain of signs, and by a mean picture of
the object that is re-estimated with the signs (expectation-maximisation). What is left is the doubt.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asterism.data.moments import CROP, Blobs

_THIN, _SKEW, _SPEED, _LOOK = 2.0, 1.0, 1.0, 12.0  # log-odds per unit of each cue
_TURN = 1e-3  # chance that the sign changes between two pictures whose axes agree
_ROUNDS = 5
_WHOLE = 4.0  # log-odds that the whole set is right, per unit of the cues' mean
_FEW = 8  # with fewer sightings than this the remembered look decides, otherwise the set's own
_ALIKE = 0.4  # correlation from which two looks are the same animal, one of them turned


@dataclass(frozen=True, kw_only=True)
class Heading:
    """`angle` T N of the front, and `doubt` T N: twice the chance of the wrong end, and of no clear axis."""

    angle: NDArray[np.float64]
    doubt: NDArray[np.float64]
    look: NDArray[np.float32]  # CROP CROP: the mean picture, front to the right


def chain(evidence: NDArray[np.floating], stays: NDArray[np.float64]) -> NDArray[np.float64]:
    """P(sign = +1) per picture, of a two-state chain. `evidence` T: log-odds; `stays` T-1: P(same sign)."""
    n = len(evidence)
    forward, backward = np.zeros(n), np.zeros(n)  # log-odds messages

    def passed(odds: float, stay: float) -> float:
        p = 1 / (1 + np.exp(-np.clip(odds, -50, 50)))
        same = p * stay + (1 - p) * (1 - stay)
        return float(np.log(same) - np.log1p(-same))

    for t in range(1, n):
        forward[t] = passed(forward[t - 1] + evidence[t - 1], stays[t - 1])
    for t in range(n - 2, -1, -1):
        backward[t] = passed(backward[t + 1] + evidence[t + 1], stays[t])
    return 1 / (1 + np.exp(-np.clip(forward + backward + evidence, -50, 50)))


def turned(crop: NDArray) -> NDArray:
    """Half a turn."""
    return crop[..., ::-1, ::-1]


def looks_right(crop: NDArray, look: NDArray) -> NDArray[np.floating]:
    """Correlation of each crop's difference from its own half turn with the look's, -1 to 1."""
    odd, wanted = crop - turned(crop), look - turned(look)
    size = np.sqrt((odd**2).sum((-1, -2)) * (wanted**2).sum((-1, -2)))
    return (odd * wanted).sum((-1, -2)) / np.maximum(size, 1e-9)


def _continuous(angle: NDArray, found: NDArray) -> NDArray:
    """Axis angles with half turns added so that neighbours in time agree as well as they can."""
    out = angle.copy()
    for t in range(1, len(out)):
        if found[t]:
            out[t] = out[t - 1] + (out[t] - out[t - 1] + np.pi / 2) % np.pi - np.pi / 2
        else:
            out[t] = out[t - 1]
    return out


def _cues(blobs: Blobs, angle: NDArray, k: int, in_time: bool) -> NDArray:
    """Log-odds that the front lies along `angle`, from shape and motion."""
    sign = np.sign(np.cos(angle - blobs.angle[:, k]))
    odds = -sign * (_THIN * blobs.thin[:, k] + _SKEW * np.clip(blobs.skew[:, k], -1, 1))
    if in_time and len(angle) > 2:
        moved = np.gradient(blobs.centre[:, k], axis=0)
        ahead = moved[:, 0] * np.cos(angle) + moved[:, 1] * np.sin(angle)
        odds = odds + _SPEED * np.clip(10 * ahead / np.maximum(blobs.long[:, k], 1e-9), -1, 1)
    return odds * blobs.found[:, k]


def find_heading(blobs: Blobs, in_time: bool, look: NDArray[np.float32] | None = None) -> Heading:
    """Front and doubt of every blob. `look` is the mean picture of an earlier set, when there is one.

    The set finds its own look, starting from shape and motion. A remembered look turns the whole set when it
    is the same animal the other way round; an animal that looks otherwise does not follow it.
    """
    t, n = blobs.found.shape
    angle = blobs.angle
    stays = np.full((t - 1, n), 0.5)
    if in_time:
        angle = np.stack([_continuous(blobs.angle[:, k], blobs.found[:, k]) for k in range(n)], 1)
        agree = np.abs(np.cos(np.diff(angle, axis=0)))
        both = blobs.found[1:] & blobs.found[:-1]
        stays = np.where(both, 1 - _TURN - (0.5 - _TURN) * (1 - agree), 0.5)
    against = np.cos(angle - blobs.angle) < 0  # the crops were cut along blobs.angle
    crop = np.where(against[..., None, None], turned(blobs.crop), blobs.crop)
    crop = crop / np.maximum(np.abs(crop).mean((-1, -2), keepdims=True), 1e-6)
    shape = np.stack([_cues(blobs, angle[:, k], k, in_time) for k in range(n)], 1)

    remembered, known = look, look if int(blobs.found.sum()) < _FEW else None
    own = known
    right = np.full((t, n), 0.5)
    for _ in range(_ROUNDS):
        odds = shape if known is None else np.zeros_like(shape)
        if own is not None:
            odds = odds + _LOOK * looks_right(crop, own) * blobs.found
        right = np.stack([chain(odds[:, k], stays[:, k]) for k in range(n)], 1)
        if known is None:
            p = (right * blobs.found)[..., None, None]
            q = ((1 - right) * blobs.found)[..., None, None]
            own = ((p * crop + q * turned(crop)).sum((0, 1)) / max(blobs.found.sum(), 1)).astype(np.float32)
    final = own if own is not None else np.zeros((CROP, CROP), np.float32)
    if remembered is not None and known is None and float(looks_right(final[None], remembered)[0]) < -_ALIKE:
        right, final = 1 - right, turned(final).copy()  # the same animal, which was met the other way round
    front = np.where(right >= 0.5, angle, angle + np.pi)
    # The signs agree with each other; that all of them are wrong is as likely as the cues, taken alone, say.
    sure = float(np.abs((shape * np.sign(right - 0.5))[blobs.found].mean())) if blobs.found.any() else 0.0
    all_wrong = 0.0 if remembered is not None else 1 / (1 + np.exp(_WHOLE * sure))
    right_end = np.maximum(right, 1 - right) * (1 - all_wrong) + np.minimum(right, 1 - right) * all_wrong
    wrong_end = 2 * np.minimum(right_end, 1 - right_end)
    round_ = np.clip((blobs.short / np.maximum(blobs.long, 1e-9) - 0.6) / 0.3, 0, 1)
    doubt = np.where(blobs.found, 1 - (1 - wrong_end) * (1 - round_), 1.0)
    return Heading(angle=(front + np.pi) % (2 * np.pi) - np.pi, doubt=doubt, look=final)
