"""What a method is to learn from a data set: configuration, frames, split, names of the points."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from asterism.catalogue import method_class
from asterism.data.base import FrameTable, ImageSet
from asterism.data.crops import frames_of
from asterism.data.frames import find_frames
from asterism.data.people import whole_frames
from asterism.data.splits import Split, split
from asterism.data.subset import thinned
from asterism.engine.view import View, view_of
from asterism.errors import BadAnnotation, RequestError
from asterism.geometry import affine
from asterism.geometry.coords import xyn_from_xy
from asterism.io.table import KeypointTable
from asterism.methods.base import Trainable
from asterism.types import Clips, Images, LabelledImages, LabelledPeople, Skeleton


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """`frames` are those to train on; `about` is what run.json says of all this."""

    config: Any
    frames: FrameTable
    view: View
    skeleton: Skeleton
    about: dict[str, Any]


def trainable(name: str, preset: str) -> type[Trainable]:
    """The class. Raises RequestError when it does not learn, learns from no pictures, or lacks the preset."""
    cls = method_class(name)
    if not issubclass(cls, Trainable):
        raise RequestError(f"{name} has nothing to learn")
    if cls.learns_from not in (Images, LabelledImages, LabelledPeople, Clips):
        raise RequestError(f"{name} learns from {cls.learns_from.__name__}; only pictures can be given here")
    if preset not in cls.presets:
        raise RequestError(f"--preset {preset}: {name} has {', '.join(cls.presets)}")
    return cls


def lesson_of(
    cls: type[Trainable],
    preset: str,
    images: ImageSet,
    path: str,
    *,
    seed: int,
    frame: str,
    objects: int | None,
) -> Lesson:
    """Look at the data as the method will. Raises RequestError when it wants labels and there are none."""
    table, config = images.table, cls.presets[preset]
    several = cls.learns_from is LabelledPeople
    with_labels = cls.learns_from is LabelledImages or several
    if with_labels:
        if table is None or images.skeleton is None:
            raise RequestError(
                f"{path}: {cls.name} learns from labels and there are none here; give a COCO .json, a "
                "DeepLabCut project or world:figures, or take a method that learns without: asterism methods"
            )
        config = cls.config_for(config, images.skeleton)
    found = _whole(cls, images, frame) if several else find_frames(images, frame, objects)
    if objects is not None and found.kind != "moments":
        raise RequestError(
            f"--objects {objects}: only moving objects are counted, and {path} is looked at in other frames "
            f"({found.kind}: {found.why}); leave it out, or give --frame moments"
        )
    parts = None if table is None else split(labelled_pictures(table), seed=seed)
    frames = found if parts is None else found.rows(np.isin(found.image, parts.train))
    if with_labels and not several and table is not None:
        frames = frames.rows((frames.row >= 0) & table.labelled[frames.row].any(1))
        _check_places(images, table, frames.row, path)
    frames = thinned(images, frames)
    view = view_of(found, config.input_size)
    skeleton = images.skeleton if with_labels else None
    shape = None
    if with_labels and not several and table is not None:
        shape = mean_shape(frames, table, view.size).tolist()
    about = {
        "config": asdict(config),
        "view": {**view.as_json(), "why": found.why},
        "data": {"path": path, "fingerprint": images.fingerprint(), "pictures": len(images)},
        "split": _split_json(parts),
        "trained_frames": len(frames),
        "mean_shape": shape,
    }
    return Lesson(
        config=config,
        frames=frames,
        view=view,
        skeleton=skeleton or unnamed(config.n_keypoints),
        about=about,
    )


def _whole(cls: type[Trainable], images: ImageSet, frame: str) -> FrameTable:
    """Raises RequestError when other frames are asked for than those that show everybody at once."""
    if frame not in ("auto", "whole"):
        raise RequestError(f"--frame {frame}: {cls.name} finds everybody in whole pictures; leave it out")
    return whole_frames(images)


def _check_places(images: ImageSet, table: KeypointTable, rows: NDArray[np.int64], path: str) -> None:
    """Raises BadAnnotation when no labelled point of these rows lies in its picture."""
    for row in rows.tolist():
        size = images.picture_size(int(table.image[row]))
        xy = torch.from_numpy(table.xy[row][table.labelled[row]])
        if (xyn_from_xy(xy, size).abs() <= 1).all(-1).any():
            return
    if not len(rows):
        return
    row, point = int(rows[0]), int(table.labelled[rows[0]].argmax())
    index, (x, y) = int(table.image[row]), table.xy[row, point]
    h, w = images.picture_size(index)
    raise BadAnnotation(
        f"{table.source or path}: no labelled point lies in its picture: in '{images.name(index)}' "
        f"({w} x {h} pixels) the point '{table.names[point]}' is at {x:g}, {y:g}; wanted its pixels"
    )


def unnamed(k: int) -> Skeleton:
    """Points that were discovered have numbers for names."""
    return Skeleton(names=tuple(f"point{i}" for i in range(k)))


def labelled_pictures(table: KeypointTable) -> NDArray[np.int64]:
    """Indices of the pictures that show a labelled point."""
    return np.unique(table.image[table.labelled.any(1)])


def mean_shape(frames: FrameTable, table: KeypointTable, size: tuple[int, int]) -> Float[np.ndarray, "K 2"]:
    """Mean place of each point in the crops, the control of every report; their middle for one never seen."""
    crop_from_source = affine.inverse(
        affine.source_from_crop(frames_of(frames, np.arange(len(frames))), size)
    )
    xy = affine.apply(crop_from_source, torch.from_numpy(table.xy[frames.row])).numpy()
    seen = table.labelled[frames.row][..., None]
    count = seen.sum(0)
    middle = np.array([(size[1] - 1) / 2, (size[0] - 1) / 2])
    return np.where(count > 0, np.where(seen, xy, 0.0).sum(0) / np.maximum(count, 1), middle)


def _split_json(parts: Split | None) -> dict[str, Any] | None:
    return None if parts is None else {"train": parts.train.tolist(), "test": parts.test.tolist()}
