"""A run that is ready to look at pictures: whole, where boxes say, or where another run found people."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from asterism.data.base import FrameTable, ImageSet
from asterism.data.boxed import Boxed
from asterism.data.tables import some_rows
from asterism.engine.bars import Progress
from asterism.engine.flipped import flipped
from asterism.engine.people import Draw, extents, people_table
from asterism.engine.predict import predict_table, table_of
from asterism.engine.runs import Run
from asterism.engine.tracks import Tracker
from asterism.engine.view import View, frames_for, read_view
from asterism.engine.weights import load_weights
from asterism.errors import RequestError
from asterism.io.keypoints import read_keypoints
from asterism.io.table import KeypointTable
from asterism.methods.base import Method
from asterism.metrics import oks
from asterism.metrics.oks_nms import greedy, similarity
from asterism.types import Keypoints2D, People2D, Skeleton

_BEYOND = 0.1  # of its size, by which a person reaches beyond its points on each side: hair, hands, feet


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What was found, in which frames and why in these, and in how many of them nothing stood out."""

    table: KeypointTable
    how: str
    lost: int = 0


@dataclass(frozen=True, kw_only=True)
class Looker:
    """`where` says where to look: boxes from a file, or a run that finds everybody; None is the run's way."""

    method: Method
    skeleton: Skeleton
    view: View
    device: str
    where: "KeypointTable | Looker | None" = None

    @property
    def follows(self) -> bool:
        """Whether it finds several people whom nobody has numbered, who can be followed through a clip."""
        return self.method.gives is People2D or isinstance(self.where, Looker)

    def tracker(self) -> Tracker:
        skeleton = self.where.skeleton if isinstance(self.where, Looker) else self.skeleton
        return Tracker(oks.sigmas_for(skeleton.names, skeleton.sigma)[0])

    def look(
        self,
        images: ImageSet,
        *,
        draw: Draw | None = None,
        progress: Progress | None = None,
        tracker: Tracker | None = None,
    ) -> Looked:
        """Everything found in the pictures. With a tracker, people keep their numbers through them."""
        asked = {"device": self.device, "draw": draw, "progress": progress}
        size = self.view.size
        if self.method.gives is People2D:
            table = people_table(self.method, self.skeleton, images, size, tracker=tracker, **asked)
            return Looked(table=table, how="whole: everybody is found in one look")
        images = self._with_boxes(images, tracker)
        if isinstance(images, Boxed) and not len(images.table):
            return Looked(table=self._nothing(images), how="boxes: there are none")
        frames = frames_for(images, self.view)
        table = predict_table(self.method, self.skeleton, images, frames, size, **asked)
        if isinstance(self.where, Looker):
            table = distinct(table)
        return Looked(table=table, how=self._how(frames), lost=int((~frames.found).sum()))

    def _with_boxes(self, images: ImageSet, tracker: Tracker | None) -> ImageSet:
        if isinstance(self.where, Looker):
            people = self.where.look(images, tracker=tracker).table
            people = some_rows(people, np.asarray(people.labelled.any(axis=1)))
            box = _grown(extents(people.xy, people.labelled))
            return Boxed(images, replace(people, box=box, has_box=np.ones(len(people), bool)))
        return images if self.where is None else Boxed(images, aligned(self.where, images))

    def _how(self, frames: FrameTable) -> str:
        if isinstance(self.where, Looker):
            return f"boxes: around the people that {self.where.method.name} found"
        return f"{frames.kind}: {frames.why}" if self.where is None else f"boxes: from {self.where.source}"

    def _nothing(self, images: ImageSet) -> KeypointTable:
        k, none = len(self.skeleton), np.zeros(0, np.int64)
        empty = Keypoints2D(xy=torch.zeros(0, k, 2), score=torch.zeros(0, k))
        names = [images.name(i) for i in range(len(images))]
        return table_of(self.skeleton, names, none, none, empty, np.zeros(0, bool))


def looker(run: Path, *, boxes: str | None = None, device: str = "auto", flip: bool = False) -> Looker:
    """The run in folder `run`. `boxes` is a label file with boxes, or the folder of a run that finds people.

    Raises RequestError where the run cannot look there, or, with `flip`, has no maps to average.
    """
    view = read_view(Run(run))
    method, skeleton = load_weights(run / "best")
    if skeleton is None:
        raise RequestError(f"{run}: its weights do not say what the points are called; train it again")
    if flip:
        method = flipped(method, skeleton)
    if boxes is None:
        return Looker(method=method, skeleton=skeleton, view=view, device=device)
    if view.kind != "boxes":
        raise RequestError(
            f"--boxes {boxes}: {run} does not look into boxes, but at {view.kind} frames; leave it out, or "
            "train a run on labels with boxes"
        )
    where = _finder(Path(boxes), device) if Path(boxes, "run.json").is_file() else _read_boxes(boxes)
    return Looker(method=method, skeleton=skeleton, view=view, device=device, where=where)


def _finder(run: Path, device: str) -> Looker:
    found = looker(run, device=device)
    if found.method.gives is not People2D:
        raise RequestError(
            f"--boxes {run}: {found.method.name} finds one individual per frame; wanted a run of a method "
            "that finds everybody, such as openpose, or a file with boxes"
        )
    return found


def _read_boxes(file: str) -> KeypointTable:
    table = read_keypoints(file)
    box = np.where(table.has_box[:, None], table.box, _grown(extents(table.xy, table.labelled)))
    table = replace(table, box=box, has_box=box[:, 2:].min(1) > 0)
    if not table.has_box.any():
        raise RequestError(f"--boxes {file}: has neither boxes nor points to draw them around")
    return some_rows(table, table.has_box)


def _grown(box: NDArray[np.float64]) -> NDArray[np.float64]:
    beyond = _BEYOND * box[:, 2:]
    return np.concatenate([box[:, :2] - beyond, box[:, 2:] + 2 * beyond], axis=1)


def aligned(table: KeypointTable, images: ImageSet) -> KeypointTable:
    """The rows of the pictures of `images`, over all of these. Raises RequestError where there are none."""
    place = {os.path.abspath(images.name(i)): i for i in range(len(images))}
    image = np.array([place.get(os.path.abspath(name), -1) for name in table.images], np.int64)[table.image]
    if not (image >= 0).any():
        raise RequestError(
            f"{table.source}: its pictures ({table.images[0]}, ...) are not those of {images.title} "
            f"({images.name(0)}, ...); pictures are matched by their names"
        )
    there = np.flatnonzero(image >= 0)
    order = there[np.argsort(image[there], kind="stable")]
    names = tuple(images.name(i) for i in range(len(images)))
    return replace(some_rows(table, order), images=names, sizes=(), image=image[order])


def distinct(table: KeypointTable) -> KeypointTable:
    """Without those who are somebody else a second time, by OKS: there were two boxes on one person."""
    sigma, _ = oks.sigmas_for(table.names, table.sigma)
    box = extents(table.xy, table.labelled)
    keep = np.zeros(len(table), bool)
    for i in np.unique(table.image):
        rows = np.flatnonzero(table.image == i)
        alike = similarity(table.xy[rows], box[rows, 2:].prod(1), sigma, table.labelled[rows])
        keep[rows[greedy(alike, table.score[rows].mean(1))]] = True
    return some_rows(table, keep)
