"""What all entrants of a comparison share: pictures, frames, which teach and which test; and their scores."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from asterism.data.base import FrameTable, ImageSet
from asterism.data.frames import find_frames
from asterism.data.gathered import gather
from asterism.data.splits import Split, split
from asterism.data.subset import Unlabelled
from asterism.engine.alive import health_of
from asterism.engine.controls import (
    SIZE,
    PlacesConfig,
    Still,
    foreground_controls,
    labelled_boxes,
    level_of,
    ring,
)
from asterism.engine.ground import Ground, ground_of, in_frame, labels_in_frames, points_in_frames
from asterism.engine.held import Cuts, held
from asterism.engine.lesson import labelled_pictures, mean_shape
from asterism.engine.looks import Looked, labels_of
from asterism.engine.predict import keypoints
from asterism.engine.scoreboard import Entrant, Measured, Tested
from asterism.engine.view import View, frames_for, view_of
from asterism.errors import RequestError
from asterism.geometry import affine
from asterism.geometry.coords import xyn_from_xy
from asterism.methods.base import Method, Trainable
from asterism.metrics.heads import Fit, fit_mean
from asterism.metrics.health import on_object
from asterism.metrics.landmarks import PROTOCOLS, Answers, Labels, Points, strict_answers
from asterism.metrics.pixel import distances
from asterism.types import LabelledImages

STRICT = PROTOCOLS["strict"]
SPLIT_SEED = 0  # one split for all seeds: what differs between seeds is then the training alone
_SHOWN = 6  # test pictures that are drawn with everybody's points


@dataclass(frozen=True, kw_only=True)
class Arena:
    """`frames` are found without a look at the labels; `labelled` are those of labelled rows, `ground` and
    `labels` (to learn heads from, to test on, turned; in the frames' axes) None without any. `look` shows the
    test pictures, `exhibits` those that are drawn."""

    images: ImageSet
    frames: FrameTable
    view: View
    parts: Split
    look: Looked
    exhibits: FrameTable
    device: str
    cuts: Cuts = field(default_factory=Cuts)
    labelled: FrameTable | None = None
    ground: Ground | None = None
    labels: tuple[Labels, Labels, Labels] | None = None

    @property
    def tested(self) -> Tested | None:
        if self.labels is None:
            return None
        _, test, turned = self.labels
        return Tested(image=test.image, turned=turned.image, size=test.normaliser)


def arena_of(images: ImageSet, frame: str, objects: int | None, device: str) -> Arena:
    """Look at the data once, for everybody. Raises RequestError for data that cannot be compared on."""
    if len(images) < 2:
        raise RequestError(f"{images.title}: holds {len(images)} picture(s); some must teach and others test")
    images = held(images)
    frames = find_frames(images if frame == "boxes" else Unlabelled(images), frame, objects)
    view = view_of(frames, SIZE)
    table = images.table
    parts = split(len(images) if table is None else labelled_pictures(table), seed=SPLIT_SEED)
    labelled = None if table is None else frames_for(images, view)
    ground = None
    if labelled is not None:
        ground = ground_of(images, view, parts.train, parts.test, SPLIT_SEED, labelled)
    look = ground.judge if ground is not None else _unlabelled_look(images, frames, parts)
    return Arena(
        images=images,
        frames=frames,
        view=view,
        parts=parts,
        look=look,
        exhibits=_some(look.frames),
        device=device,
        labelled=labelled,
        ground=ground,
        labels=None if ground is None else labels_in_frames(ground),
    )


def _unlabelled_look(images: ImageSet, frames: FrameTable, parts: Split) -> Looked:
    frames = frames.rows(np.isin(frames.image, parts.test))
    n = len(frames)
    nothing = Labels(np.zeros((n, 0, 2)), np.zeros((n, 0), bool), frames.image, np.zeros(n))
    return Looked(images=images, frames=frames, labels=nothing, names=())


def _some(frames: FrameTable) -> FrameTable:
    sure = np.flatnonzero(frames.found)
    sure = sure if len(sure) else np.arange(len(frames))
    return frames.rows(sure[np.unique(np.linspace(0, len(sure) - 1, _SHOWN).round().astype(int))])


# ---------------------------------------------------------------------------------------------- measuring


def measure(method: Method, arena: Arena, trained: Mapping[str, Any] | None = None) -> Measured:
    """Errors, where there are labels, and the scores that need none, on the test pictures."""
    size = method.config.input_size
    view = replace(arena.view, size=size)
    health = health_of(method, arena.look, arena.frames, view, arena.device)
    if health.get("on_object", 0) is None and arena.frames.backgrounds:
        health["on_object"] = _on_what_moves(method, arena, size)
    trained = trained or {}
    return Measured(
        answers=_answers(method, arena),
        health=health,
        parameters=sum(p.numel() for p in method.parameters()),
        seconds=trained.get("seconds"),
        steps=trained.get("steps"),
    )


def _answers(method: Method, arena: Arena) -> Answers | None:
    """A detector of the named points answers itself, other points through the strict head."""
    if arena.ground is None or arena.labels is None:
        return None
    if isinstance(method, Trainable) and method.learns_from is LabelledImages:
        return _named(method, arena)
    points = points_in_frames(lambda looks: arena.cuts.points(method, looks, arena.device), arena.ground)
    return _through(STRICT, points, arena.labels)


def _named(method: Method, arena: Arena) -> Answers:
    """Only points that some training picture labels: all entrants are asked for the same ones."""
    ground, parts = arena.ground, []
    assert ground is not None
    known = ground.learn.labels.labelled.any(0)
    for looks in ([ground.judge], ground.turned):
        truth = labels_of(looks)
        judged = truth.labelled & known
        parts += [distances(arena.cuts.points(method, looks, arena.device), truth.xy, judged), judged]
    return Answers(*parts, head="none", gain=1.0)


def _on_what_moves(method: Method, arena: Arena, size: tuple[int, int]) -> float | None:
    """Share of points on what differs from the still background, where no mask is known."""
    frames = arena.look.frames.rows(arena.look.frames.found)
    crops = gather(arena.images, frames, size, clips=False)
    every = crops.images(np.arange(len(crops)))
    if every.change is None:
        return None
    xy = method.to("cpu").predict(every).xy
    inside = affine.apply(affine.inverse(every.to_source), xy).double().numpy()
    return float(on_object(inside, every.change[:, 0].numpy() > level_of(arena.images, arena.frames)).mean())


def shown(method: Method, arena: Arena) -> NDArray[np.float64]:
    """The method's points in the pictures that are drawn."""
    size = method.config.input_size
    return keypoints(method, arena.images, arena.exhibits, size, device=arena.device)[0]


def truth_shown(arena: Arena) -> NDArray[np.float64]:
    """The labels in the pictures that are drawn; not finite where there is none, which is not drawn."""
    table = arena.images.table
    assert table is not None
    rows = arena.exhibits.row
    return np.where(table.labelled[rows][..., None], table.xy[rows], np.nan)


# ----------------------------------------------------------------------------------------------- controls


def controls_of(
    arena: Arena, untrained: Mapping[str, Method], drawn: dict[str, NDArray[np.float64]]
) -> list[Entrant]:
    """What must lose. `untrained` are networks before they learned; `drawn` gets the controls' points."""
    entrants = _mean_shapes(arena, drawn)
    methods: dict[str, Method] = {} if arena.labels is not None else {"ring that never moves": ring()}
    methods |= {f"untrained {name}": method for name, method in untrained.items()}
    methods |= foreground_controls(arena.images, arena.frames)
    for name, method in methods.items():
        drawn[name] = shown(method, arena)
        entrants.append(_control(name, measure(method, arena)))
    return entrants


def _control(name: str, measured: Measured) -> Entrant:
    return Entrant(name=name, kind="control", learns_from="", seeds=(), measured=(measured,))


def _mean_shapes(arena: Arena, drawn: dict[str, NDArray[np.float64]]) -> list[Entrant]:
    """The mean label in the pictures, and in the frame, which knows as much as the frame does; boxes that
    came with the labels where no background tells one."""
    if arena.ground is None or arena.labels is None:
        return []
    sides = [labels_of(looks) for looks in arena.ground.sides]
    nothing = Points(*(np.zeros((len(side.xy), 1, 2)) for side in sides))
    still = _mean_place(arena.ground)
    drawn["mean shape in the frame"] = shown(still, arena)
    within = replace(measure(still, arena), answers=_through((fit_mean,), nothing, arena.labels))
    entrants = [
        _control(
            "mean shape", Measured(answers=_through((fit_mean,), nothing, (sides[0], sides[1], sides[2])))
        ),
        _control("mean shape in the frame", within),
    ]
    boxes = [[labelled_boxes(look) for look in looks] for looks in arena.ground.sides]
    if not arena.frames.backgrounds and all(box is not None for side in boxes for box in side):
        places = [np.concatenate([box for box in side if box is not None]) for side in boxes]
        points = Points(*(in_frame(xy, looks) for xy, looks in zip(places, arena.ground.sides)))
        entrants.append(_control("labelled box", Measured(answers=_through(STRICT, points, arena.labels))))
    return entrants


def _through(fits: tuple[Fit, ...], points: Points, labels: tuple[Labels, Labels, Labels]) -> Answers:
    train, test, turned = labels
    return strict_answers(points, train, test, np.random.default_rng(SPLIT_SEED), rotated=turned, fits=fits)


def _mean_place(ground: Ground) -> Still:
    """Mean place of each labelled point in the crops of the training pictures."""
    table = ground.learn.images.table
    assert table is not None
    xy = torch.from_numpy(mean_shape(ground.learn.frames, table, SIZE))
    return Still(PlacesConfig(xyn=tuple((float(x), float(y)) for x, y in xyn_from_xy(xy, SIZE))))
