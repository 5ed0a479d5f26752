"""Hands and faces of people whose bodies were found: where to look follows from the body's points.

A hand lies beyond the wrist on the line from the elbow, and is about as large as the forearm is long (facts
of OpenPose's handDetector.cpp: a third of the forearm beyond the wrist, a square of 1.5 times the longer of
forearm and 0.9 times the upper arm, only where shoulder, elbow and wrist were found). Detectors of hands know
right hands: a left one is looked at in the mirror. The square of a face is ours: about the middle of what was
found of nose, eyes and ears, 2.2 times as wide as these are apart and 1.3 times the way from nose to neck.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from asterism.data.base import ImageSet
from asterism.data.crops import cut
from asterism.data.gathered import pictures as pictures_of
from asterism.data.tables import some_rows
from asterism.engine.bars import Progress
from asterism.engine.looker import Looked, Looker
from asterism.engine.people import Draw
from asterism.engine.team import pick_device
from asterism.engine.tracks import Tracker
from asterism.engine.view import View
from asterism.errors import RequestError
from asterism.geometry import affine
from asterism.geometry.coords import image_centre
from asterism.io.table import KeypointTable
from asterism.types import Frames, Images, Keypoints2D, People2D

BEYOND, SIDE, UPPER = 0.33, 1.5, 0.9  # handDetector.cpp:8-35
_FACE, _NECK = 2.2, 1.3
_SURE = 0.05  # score of a body's point from which it is believed: OpenPose's threshold of a peak
Squares = tuple[Float[np.ndarray, "N 2"], Float[np.ndarray, " N"], Bool[np.ndarray, " N"]]  # centre, side, is


@dataclass(frozen=True, kw_only=True)
class Part:
    """A run that knows hands (or faces), what its points are called here, and whether it wants the mirror."""

    looker: Looker
    prefix: str  # hand_left, hand_right or face
    mirrored: bool = False


@dataclass(frozen=True, kw_only=True)
class WholeBody:
    """Looks like a Looker; columns of the parts follow those of the body, as OpenPose's files have them.

    `with_body` False leaves the body's columns out: it was only looked for to find what hangs on it.
    """

    body: Looker
    parts: tuple[Part, ...]
    with_body: bool = True

    @property
    def follows(self) -> bool:
        return self.body.follows

    @property
    def view(self) -> View:
        return self.body.view

    def tracker(self) -> Tracker:
        return self.body.tracker()

    def look(
        self,
        images: ImageSet,
        *,
        draw: Draw | None = None,
        progress: Progress | None = None,
        tracker: Tracker | None = None,
    ) -> Looked:
        """Bodies first, then what hangs on them. Raises RequestError where the body lacks their points."""
        found = self.body.look(images, progress=progress, tracker=tracker)
        table = found.table
        squares = [squares_of(table, part.prefix) for part in self.parts]
        xy = [np.zeros((len(table), len(part.looker.skeleton), 2)) for part in self.parts]
        score = [np.zeros(x.shape[:2]) for x in xy]
        rows_of = {i: np.flatnonzero(table.image == i) for i in np.unique(table.image).tolist()}
        for index, picture in pictures_of(images, set(rows_of)):
            for p, part in enumerate(self.parts):
                centre, side, there = squares[p]
                rows = rows_of[index][there[rows_of[index]]]
                if len(rows):
                    xy[p][rows], score[p][rows] = _seen(part, picture, centre[rows], side[rows])
        table = _widened(table if self.with_body else _without_points(table), self.parts, xy, score)
        if draw is not None:
            for index, picture in pictures_of(images, set(range(len(images)))):
                rows = rows_of.get(index, np.zeros(0, np.int64))
                here = replace(some_rows(table, rows), image=np.zeros(len(rows), np.int64))
                draw(images, index, picture, replace(here, images=(images.name(index),)))
        return replace(found, table=table)


def squares_of(table: KeypointTable, prefix: str) -> Squares:
    """Where `prefix` (hand_left, hand_right, face) of each row is, in source pixels."""
    return _face(table) if prefix == "face" else _hand(table, prefix.removeprefix("hand_"))


def _point(table: KeypointTable, *words: str) -> tuple[Float[np.ndarray, "N 2"], Bool[np.ndarray, " N"]]:
    """A point by its name: left_wrist or LWrist. Raises RequestError where there is none."""
    names = [name.lower().replace("_", "") for name in table.names]
    for wanted in ("".join(words), words[0][0] + "".join(words[1:]) if len(words) > 1 else ""):
        if wanted in names:
            k = names.index(wanted)
            return table.xy[:, k], table.labelled[:, k] & (table.score[:, k] > _SURE)
    raise RequestError(
        f"--hands, --face: the body has no point '{'_'.join(words)}' ({', '.join(table.names)}); wanted a "
        "run on people with the names of coco-17 or body-25"
    )


def _hand(table: KeypointTable, side: str) -> Squares:
    (wrist, one), (elbow, two), (shoulder, three) = (
        _point(table, side, p) for p in ("wrist", "elbow", "shoulder")
    )
    fore, upper = np.linalg.norm(wrist - elbow, axis=1), np.linalg.norm(elbow - shoulder, axis=1)
    size = SIDE * np.maximum(fore, UPPER * upper)
    return wrist + BEYOND * (wrist - elbow), size, one & two & three & (size > 1)


def _face(table: KeypointTable) -> Squares:
    places = [
        _point(table, "nose"),
        *(_point(table, s, p) for p in ("eye", "ear") for s in ("left", "right")),
    ]
    xy = np.stack([at for at, _ in places], axis=1)  # N 5 2
    there = np.stack([sure for _, sure in places], axis=1)
    count = there.sum(1)
    centre = np.where(there[..., None], xy, 0.0).sum(1) / np.maximum(count, 1)[:, None]
    both = there[:, :, None] & there[:, None]
    apart = np.where(both, np.linalg.norm(xy[:, :, None] - xy[:, None], axis=-1), 0.0).max((1, 2))
    (left, one), (right, two) = _point(table, "left", "shoulder"), _point(table, "right", "shoulder")
    neck = np.where(there[:, 0] & one & two, np.linalg.norm(xy[:, 0] - (left + right) / 2, axis=1), 0.0)
    size = np.maximum(_FACE * apart, _NECK * neck)
    return centre, size, (count >= 2) & (size > 1)


def _seen(
    part: Part, picture: NDArray[np.uint8], centre: Float[np.ndarray, "N 2"], side: Float[np.ndarray, " N"]
) -> tuple[Float[np.ndarray, "N K 2"], Float[np.ndarray, "N K"]]:
    """What the part's run finds in these squares of one picture."""
    looker, size = part.looker, part.looker.view.size
    n = len(centre)
    frames = Frames(
        centre=torch.from_numpy(centre),
        scale=torch.from_numpy(side) / 2,
        angle=torch.zeros(n, dtype=torch.double),
        doubt=torch.zeros(n, dtype=torch.double),
    )
    at = affine.source_from_crop(frames, size)
    if part.mirrored:
        middle = float(image_centre(size, like=at)[..., 0])
        mirror = at.new_tensor([[-1.0, 0.0, 2 * middle], [0.0, 1.0, 0.0]]).expand(n, 2, 3)
        at = affine.compose(at, mirror)
    where = pick_device(looker.device)
    found = looker.method.to(where).predict(
        Images.cat([cut(picture, at[i : i + 1], size) for i in range(n)]).to(where)
    )
    if isinstance(found, People2D):  # one hand or face in each: the best
        found = Keypoints2D(xy=found.xy[:, 0], score=found.score[:, 0] * found.valid[:, :1])
    return found.xy.double().cpu().numpy(), found.score.double().cpu().numpy()


def _without_points(table: KeypointTable) -> KeypointTable:
    flat = {name: getattr(table, name)[:, :0] for name in ("xy", "labelled", "visible", "score")}
    return replace(table, names=(), edges=(), swap=(), sigma=(), **flat)


def _widened(
    table: KeypointTable,
    parts: tuple[Part, ...],
    xy: list[NDArray[np.float64]],
    score: list[NDArray[np.float64]],
) -> KeypointTable:
    names, edges = list(table.names), list(table.edges)
    for part in parts:
        start, skeleton = len(names), part.looker.skeleton
        names += [f"{part.prefix}{k}" for k in range(len(skeleton))]
        edges += [(a + start, b + start) for a, b in skeleton.edges]
    there = [s > 0 for s in score]
    labelled = np.concatenate([table.labelled, *there], axis=1)
    moved = [np.where(t[..., None], x, 0.0) for t, x in zip(there, xy)]
    return replace(
        table,
        names=tuple(names),
        edges=tuple(edges),
        swap=(),
        sigma=(),
        xy=np.concatenate([table.xy, *moved], axis=1),
        labelled=labelled,
        visible=labelled.copy(),
        score=np.concatenate([table.score, *score], axis=1),
    )
