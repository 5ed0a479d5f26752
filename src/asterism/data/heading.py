"""Which end of a long object is its front: one decision for the whole clip, not one per picture.

Every picture gives weak evidence (the thin side is the tail, the mass leans, animals walk forwards); the
clip gives more: an animal does not turn round between two pictures, and it looks like itself the right way
round. The two are joined by the forward-backward algorithm over a chain of signs, and by a mean picture of
the object that is re-estimated with the signs (expectation-maximisation). What is left is the doubt.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from asterism.data.moments import CROP, Blobs

_THIN, _SKEW, _SPEED, _LOOK = 1.0, 1.0, 2.0, 12.0  # log-odds per unit of each cue
_TURN = 1e-6  # chance that the axis of an object by itself is followed the wrong way round from here on
_MEET = 0.01  # the same where two objects touch: what belongs to whom is a guess there
_NEAR = 2.0  # standard deviations of the long axis: objects nearer than this touch (ellipses end at 2 each)
_CLEARLY = 0.1  # more of the way lies along the body
_AXIS = 20.0  # degrees: standard deviation of the change of a round object's axis, less for a long one
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


def _cues(blobs: Blobs, angle: NDArray, k: int, moved: list[NDArray]) -> NDArray:
    """Log-odds that the front lies along `angle`, from shape and motion.

    Of two motions (across the scene, across the picture) the first counts unless the second goes clearly
    more along the body: animals walk along their axis, whatever the camera does.
    """
    sign = np.sign(np.cos(angle - blobs.angle[:, k]))
    odds = -sign * (_THIN * blobs.thin[:, k] + _SKEW * np.clip(blobs.skew[:, k], -1, 1))
    along = [m[:, k, 0] * np.cos(angle) + m[:, k, 1] * np.sin(angle) for m in moved]
    if along:
        straight = [np.abs(a).sum() / max(np.hypot(*m[:, k].T).sum(), 1e-9) for a, m in zip(along, moved)]
        ahead = along[int(straight[-1] > straight[0] + _CLEARLY)]
        odds = odds + _SPEED * np.clip(10 * ahead / np.maximum(blobs.long[:, k], 1e-9), -1, 1)
    return odds * blobs.found[:, k]


def _turns(blobs: Blobs, step: NDArray) -> NDArray[np.float64]:
    """T-1 N: chance that an axis, followed by `step` radians to its nearest neighbour in time, was followed
    the wrong way round. It takes a step of nearly a quarter turn, or another object in the way."""
    thick = np.clip(blobs.short / np.maximum(blobs.long, 1e-9), 0, 1)
    spread = np.maximum(_AXIS * np.maximum(thick[1:], thick[:-1]), 2.0)
    lost = norm.sf((90 - np.degrees(np.abs(step))) / spread)
    apart = np.linalg.norm(blobs.centre[:, :, None] - blobs.centre[:, None], axis=-1)  # T N N
    reach = _NEAR * np.maximum(blobs.long[:, :, None], blobs.long[:, None])
    meet = (apart < reach).sum(-1) > 1  # itself and another
    return np.clip(np.maximum(lost, np.where(meet[1:] | meet[:-1], _MEET, _TURN)), _TURN, 0.5)


def _newness(evidence: NDArray) -> float:
    """How much of a picture's evidence its neighbour in time has not given already: (1 - r) / (1 + r).

    r is the correlation of neighbours. So many of n correlated samples are as good as independent ones.
    """
    away = evidence - evidence.mean() if len(evidence) else evidence
    power = float((away**2).sum())
    r = float((away[1:] * away[:-1]).sum()) / power if power > 0 else 0.0
    return (1 - r) / (1 + r) if 0 < r < 1 else 1.0


def find_heading(
    blobs: Blobs,
    in_time: bool,
    look: NDArray[np.float32] | None = None,
    across_scene: NDArray[np.float64] | None = None,
) -> Heading:
    """Front and doubt of every blob. `look` is the mean picture of an earlier set, when there is one, and
    `across_scene` (T N 2) how each moves against its scene from one picture to the next, along the picture's
    axes, where the camera moves.

    The set finds its own look, starting from shape and motion. A remembered look turns the whole set when it
    is the same animal the other way round; an animal that looks otherwise does not follow it.
    """
    t, n = blobs.found.shape
    angle = blobs.angle
    stays = np.full((t - 1, n), 0.5)
    if in_time:
        angle = np.stack([_continuous(blobs.angle[:, k], blobs.found[:, k]) for k in range(n)], 1)
        both = blobs.found[1:] & blobs.found[:-1]
        stays = np.where(both, 1 - _turns(blobs, np.diff(angle, axis=0)), 0.5)
    against = np.cos(angle - blobs.angle) < 0  # the crops were cut along blobs.angle
    crop = np.where(against[..., None, None], turned(blobs.crop), blobs.crop)
    crop = crop / np.maximum(np.abs(crop).mean((-1, -2), keepdims=True), 1e-6)
    moved = [np.gradient(blobs.centre, axis=0)] if in_time and t > 2 else []
    if moved and across_scene is not None:
        moved.insert(0, across_scene)
    shape = np.stack([_cues(blobs, angle[:, k], k, moved) for k in range(n)], 1)
    new = np.array([_newness(shape[blobs.found[:, k], k]) if in_time else 1.0 for k in range(n)])

    remembered, known = look, look if int(blobs.found.sum()) < _FEW else None
    own = known
    right = np.full((t, n), 0.5)
    for _ in range(_ROUNDS):
        odds = shape if known is None else np.zeros_like(shape)
        if own is not None:
            odds = odds + _LOOK * looks_right(crop, own) * blobs.found
        right = np.stack([chain(new[k] * odds[:, k], stays[:, k]) for k in range(n)], 1)
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
