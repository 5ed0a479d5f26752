"""Labelled pictures as a run looks at them: plain, and turned by random angles."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from asterism.data.base import FrameTable, ImageSet
from asterism.data.crops import frames_of
from asterism.data.rotated import Rotated, turned
from asterism.data.subset import Subset
from asterism.engine.view import View, frames_for
from asterism.errors import RequestError
from asterism.geometry import affine
from asterism.geometry.coords import xyn_from_xy
from asterism.metrics.landmarks import Labels
from asterism.metrics.pixel import object_side

_ANGLES = 4  # whole sets are turned and looked at anew, once per angle; each test picture is in one of them


@dataclass(frozen=True, kw_only=True)
class Looked:
    """Labelled rows, in the order of the label table, and the frame each is looked at in."""

    images: ImageSet
    frames: FrameTable
    labels: Labels
    names: tuple[str, ...]


def look_at(
    images: ImageSet, view: View, pictures: NDArray[np.int64], frames: FrameTable | None = None
) -> Looked:
    """The labelled rows of some pictures in the frames the run would choose. Raises RequestError for none.

    `frames` are those of the whole set where they have been found already.
    """
    table = images.table
    if table is None:
        raise RequestError(f"{images.title}: has no labels to measure against")
    frames = frames or frames_for(images, view)
    frames = frames.rows(np.isin(frames.image, pictures) & (frames.row >= 0))
    frames = frames.rows(np.flatnonzero(table.labelled[frames.row].any(1)))
    if not len(frames):
        raise RequestError(f"{images.title}: no labelled object was found in the pictures to test on")
    rows = frames.row
    side = object_side(table.xy[rows], table.labelled[rows], table.box[rows], table.has_box[rows])
    labels = Labels(table.xy[rows], table.labelled[rows], frames.image, side)
    return Looked(images=images, frames=frames, labels=labels, names=table.names)


def turned_looks(images: ImageSet, view: View, pictures: NDArray[np.int64], seed: int) -> list[Looked]:
    """The pictures dealt to a few random angles; whole pictures are turned, then frames are found anew.

    Where the frames need a still background all pictures of the set are turned, because it must be found
    again too. The size of an object stays what it was: turning changes a bounding box, not the object.
    """
    random = np.random.default_rng([seed, _ANGLES])
    pictures = np.sort(pictures)
    dealt = random.permutation(np.arange(len(pictures)) % _ANGLES)
    plain = look_at(images, view, pictures)
    looks = []
    for group, angle in enumerate(random.uniform(-np.pi, np.pi, _ANGLES).tolist()):
        own = pictures[dealt == group]
        mine = np.isin(plain.frames.image, own)
        if not mine.any():
            continue
        as_turned = _turned_view(view, angle)
        if plain.frames.backgrounds:
            look = look_at(Rotated(images, angle), as_turned, own)
        else:
            look = look_at(Rotated(Subset(images, own), angle), as_turned, np.arange(len(own)))
        # The rows are those of the plain look, in the same order: every label has its frame in both.
        before, labels = plain.frames.rows(mine), plain.labels
        same = replace(look.labels, image=labels.image[mine], normaliser=labels.normaliser[mine])
        looks.append(_as_near(replace(look, labels=same), before, view))
    return looks


def _turned_view(view: View, angle: float) -> View:
    """What is remembered of the background is turned along: sets of a few pictures have no other."""
    if view.memory.background is None:
        return view
    return replace(view, memory=replace(view.memory, background=turned(view.memory.background, angle)))


def _as_near(look: Looked, before: FrameTable, view: View) -> Looked:
    """The canvas of a whole picture grows when it is turned; it is looked at from as near as before."""
    if look.frames.kind != "whole":
        return look
    frames = replace(look.frames, scale=before.scale)
    crop_from_source = affine.inverse(_source_from_crops(frames, view))
    xyn = xyn_from_xy(affine.apply(crop_from_source, torch.from_numpy(look.labels.xy)), view.size)
    inside = (xyn.abs() <= 1).all(-1).numpy()  # what turned out of sight cannot be asked for
    return replace(look, frames=frames, labels=replace(look.labels, labelled=look.labels.labelled & inside))


def labels_of(looks: list[Looked]) -> Labels:
    """The labels of several looks as one set of rows."""
    parts = [look.labels for look in looks]
    columns = ("xy", "labelled", "image", "normaliser")
    return Labels(*(np.concatenate([getattr(part, name) for part in parts]) for name in columns))


def in_source(xy: Float[np.ndarray, "K 2"], look: Looked, view: View) -> Float[np.ndarray, "N K 2"]:
    """The same places of every crop, in source pixels."""
    every = torch.from_numpy(xy).expand(len(look.frames), *xy.shape)
    return affine.apply(_source_from_crops(look.frames, view), every).numpy()


def _source_from_crops(frames: FrameTable, view: View) -> Float[Tensor, "N 2 3"]:
    return affine.source_from_crop(frames_of(frames, np.arange(len(frames))), view.size)
