"""Are discovered points worth anything? The health of a trained detector on its own pictures, in words."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asterism.data.base import FrameTable, ImageSet, Picture
from asterism.data.crops import background_of
from asterism.data.foreground import difference, levels_of, working_shrink
from asterism.data.gathered import Gathered, pictures
from asterism.data.moments import REACH
from asterism.data.registration import shrunk
from asterism.geometry import affine
from asterism.io.table import KeypointTable
from asterism.methods.base import Method
from asterism.metrics.health import Health, Jitter, Limits, Objects, equivariance_error, health, jitter
from asterism.ops.sampling import crop
from asterism.types import Images

_SAMPLE = 60  # pictures that are judged against masks
_WARPED = 256  # crops on which known warps are tried
_TURN, _SCALE, _SHIFT = 15.0, 0.1, 0.08  # degrees and fractions: what a frame may be wrong by
_LOOSE = 0.5  # of the error of points that do not move at all


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """`troubles` are what a second try may cure; `badness` orders the tries, 0 is best."""

    troubles: tuple[str, ...]
    badness: float
    sentences: tuple[str, ...]
    numbers: dict[str, Any]


def judge(
    method: Method, images: ImageSet, frames: FrameTable, crops: Gathered, table: KeypointTable
) -> Verdict:
    """Scores of metrics.health on a sample of the pictures, and what they mean."""
    sure = np.flatnonzero(frames.found)
    rows = sure[np.unique(np.linspace(0, len(sure) - 1, _SAMPLE).round().astype(int))]
    steady, stuck = equivariance(method.to("cpu"), crops, frames)
    found = health(
        table.xy[rows],
        table.score[rows],
        objects_of(frames, rows),
        Limits(loose=_LOOSE * float(stuck.mean())),
        mask=_masks(images, frames, rows),
        equivariance=steady,
        jitter=_jitter(images, frames, table),
    )
    return _verdict(found, steady, stuck, table.names)


def objects_of(frames: FrameTable, rows: NDArray) -> Objects:
    """What is known of the objects without the points. An ellipse is four standard deviations long."""
    size = frames.scale[rows] * (4 / REACH if frames.kind == "moments" else 2)
    return Objects(centre=frames.centre[rows], angle=frames.angle[rows], size=size)


def equivariance(
    method: Method, crops: Gathered, frames: FrameTable
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Per point: mean distance between points of warped crops and warped points, in object sizes.

    The second array is the control: the same for points that stay at their mean place in the crop.
    """
    which = np.unique(np.linspace(0, len(crops) - 1, _WARPED).round().astype(int))
    plain = crops.images(which)
    h, w = plain.image.shape[2:]
    generator = torch.Generator().manual_seed(0)
    draw = torch.rand(4, len(which), generator=generator) * 2 - 1
    middle = torch.tensor([w - 1, h - 1]) / 2
    angle, scale = draw[0] * _TURN * torch.pi / 180, 1 + draw[1] * _SCALE
    to_middle = affine.similarity(
        torch.zeros_like(angle), torch.ones_like(angle), (-middle).expand(len(angle), 2)
    )
    about = affine.similarity(angle, scale, middle + draw[2:].T * _SHIFT * min(h, w))
    plain_from_warped = affine.compose(about, to_middle)
    still = affine.identity(len(which), like=plain.image)
    change = None if plain.change is None else crop(plain.change, plain_from_warped, (h, w))
    warped = Images(image=crop(plain.image, plain_from_warped, (h, w)), to_source=still, change=change)
    before = method.predict(Images(image=plain.image, to_source=still, change=plain.change)).xy
    after = affine.apply(plain_from_warped, method.predict(warped).xy)
    size = objects_of(frames, crops.rows[which]).size / affine.scale_of(plain.to_source).numpy()
    fixed = before.mean(0, keepdim=True).expand_as(before)
    moved = affine.apply(plain_from_warped, fixed)

    def apart(a: Tensor, b: Tensor) -> NDArray[np.float64]:
        return equivariance_error(a.double().numpy(), b.double().numpy(), lambda xy: xy, size)

    return apart(before, after), apart(fixed, moved)


def _masks(images: ImageSet, frames: FrameTable, rows: NDArray) -> NDArray[np.bool_] | None:
    """What differs from the background inside the frame's circle, per judged row; None without a background
    or an object."""
    if not frames.backgrounds or frames.kind != "moments":
        return None
    seen = dict(pictures(images, set(frames.image[rows].tolist())))
    if len({picture.shape for picture in seen.values()}) > 1:
        return None
    behind = {}
    for row in rows.tolist():
        still = background_of(frames, row, seen[int(frames.image[row])])
        behind[row] = seen[int(frames.image[row])] if still is None else still
    levels = _levels(frames, rows, seen, behind)
    out = []
    for row in rows.tolist():
        picture = seen[int(frames.image[row])]
        y, x = np.ogrid[: picture.shape[0], : picture.shape[1]]
        near = np.hypot(x - frames.centre[row, 0], y - frames.centre[row, 1]) <= frames.scale[row]
        level = levels[int(frames.background[row])]
        out.append((difference(picture, behind[row]) > level / 2) & near)
    return np.stack(out)


def _levels(
    frames: FrameTable, rows: NDArray, seen: dict[int, Picture], behind: dict[int, Picture]
) -> dict[int, float]:
    """For every background, how far a picture must differ from it."""
    levels = {}
    for which in np.unique(frames.background[rows]).tolist():
        own = rows[frames.background[rows] == which].tolist()
        shrink = working_shrink(behind[own[0]].shape[:2])
        apart = [shrunk(difference(seen[int(frames.image[row])], behind[row]), shrink) for row in own]
        levels[which] = levels_of(behind[own[0]], np.stack(apart), shrink).level
    return levels


def _jitter(images: ImageSet, frames: FrameTable, table: KeypointTable) -> Jitter | None:
    if not images.is_clip:
        return None
    first = np.flatnonzero((table.individual == 0) & frames.found)
    if len(first) < 3:
        return None
    return jitter(table.xy[first], float(np.median(objects_of(frames, first).size)))


def _verdict(found: Health, steady: NDArray, stuck: NDArray, names: tuple[str, ...]) -> Verdict:
    count = len(found.flags)
    by_flag: dict[str, list[str]] = {}
    for k, words in enumerate(found.flags):
        for word in words:
            by_flag.setdefault(word, []).append(names[k])
    troubles = [f"{word} points ({', '.join(those)})" for word, those in by_flag.items()]
    troubles += [f"collapsed points ({names[a]} on {names[b]})" for a, b, _ in found.twins]
    sentences = [
        f"All {count} points are alive, apart from each other, and steady."
        if not troubles
        else f"{len(found.healthy)} of {count} points are healthy. Not to be trusted: {'; '.join(troubles)}."
    ]
    sentences.append(
        f"Turned by up to {_TURN:.0f} degrees, scaled and shifted, the points move with the picture to "
        f"{steady.mean():.1%} of the object's size (worst point {steady.max():.1%}; points that never move "
        f"would be off by {stuck.mean():.1%})."
    )
    if found.on_object is not None:
        sentences.append(
            f"They lie on what moves in {np.mean(found.on_object):.0%} of the pictures looked at."
        )
    if found.jitter is not None:
        sentences.append(
            f"From frame to frame they tremble by {np.median(found.jitter.size):.2%} of its size."
        )
    numbers = {
        "healthy": len(found.healthy),
        "dead": list(dict.fromkeys(by_flag.get("dead", []) + by_flag.get("absent", []))),
        "collapsed": [[names[a], names[b]] for a, b, _ in found.twins],
        "off_object": list(dict.fromkeys(by_flag.get("off the object", []) + by_flag.get("background", []))),
        "loose": by_flag.get("loose", []),
        "bounding_box": by_flag.get("bounding-box", []),
        "equivariance_error": float(steady.mean()),
        "equivariance_error_of_fixed_points": float(stuck.mean()),
        "health": asdict(found),
    }
    badness = (count - len(found.healthy)) / count + float(steady.mean() / max(stuck.mean(), 1e-9))
    return Verdict(troubles=tuple(troubles), badness=badness, sentences=tuple(sentences), numbers=numbers)
