"""Labels from a file, laid on the pictures a run learned from: which labelled picture is which of theirs."""

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from asterism.data.base import ImageSet, Wrapped
from asterism.data.tables import skeleton_of
from asterism.errors import BadAnnotation
from asterism.geometry.coords import xyn_from_xy
from asterism.io.images import IMAGE_SUFFIXES, image_size
from asterism.io.keypoints import read_keypoints
from asterism.io.table import KeypointTable

_SHOWN = 3  # names of each side in an error


class Relabelled(Wrapped):
    """The pictures of a set with other labels; `matched` are the pictures that have some."""

    def __init__(self, images: ImageSet, table: KeypointTable, matched: NDArray[np.int64]) -> None:
        super().__init__(images)
        self.table = table
        self.matched = matched
        try:
            self.skeleton = skeleton_of(table)
        except ValueError as error:
            raise BadAnnotation(f"{table.source}: {error}") from error


def with_labels(images: ImageSet, table: KeypointTable, path: str) -> Relabelled:
    """The set with the labels of `table`, whose pictures are found in the set by their names.

    Names agree when the paths do, or the last folder and the file, or the file alone where no two pictures
    share it. clip/img0012.png, as DeepLabCut calls the frames it takes out, is frame 12 of clip.mp4. Labels
    of other pictures are left out. Raises BadAnnotation when none is left, and when picture and label differ
    in size.
    """
    place = _places(images, table)
    if (place < 0).all():
        labels, data = _some(list(table.images)), _some([images.name(i) for i in range(len(images))])
        raise BadAnnotation(
            f"{path}: none of its {len(table.images)} labelled pictures is one of the {len(images)} of "
            f"{images.title}. The labels name {labels}; the data have {data}. If these are other pictures of "
            f"the same kind, say so: --data {path}"
        )
    rows = np.flatnonzero((place[table.image] >= 0) & table.labelled.any(1))
    if not len(rows):
        raise BadAnnotation(f"{path}: no point is labelled in a picture of {images.title}")
    columns = ("individual", "xy", "labelled", "visible", "score", "box", "has_box", "area")
    own = replace(
        table,
        images=tuple(images.name(i) for i in range(len(images))),
        sizes=(),
        image=place[table.image[rows]],
        **{name: getattr(table, name)[rows] for name in columns},
    )
    _check_sizes(images, table, place, path)
    _check_inside(images, own, path)
    return Relabelled(images, own, np.unique(own.image))


def with_labels_of(info: dict[str, Any], images: ImageSet) -> ImageSet:
    """The data of a run with the labels it learned from, where these lay in a file of their own.

    Data whose own labels name the same points keep them: they may show more pictures.
    """
    path = info["data"].get("labels")
    if path is None:
        return images
    table = read_keypoints(path)
    if images.table is not None and images.table.names == table.names:
        return images
    return with_labels(images, table, path)


# ------------------------------------------------------------------------------------------------- matching


def _path(name: str) -> str:
    file, mark, frame = name.rpartition("#")
    return f"{os.path.abspath(file)}#{frame}" if mark and frame.isdigit() else os.path.abspath(name)


def _tail(name: str) -> str:
    return "/".join(name.replace("\\", "/").split("/")[-2:])


def _file(name: str) -> str:
    return name.replace("\\", "/").split("/")[-1]


def _frame(name: str) -> str:
    """'clip#12' for clip.mp4#12 and for clip/img0012.png; the name itself where it is neither."""
    file, mark, frame = name.replace("\\", "/").rpartition("#")
    if mark and frame.isdigit():
        return f"{Path(file).stem}#{int(frame)}"
    path = Path(name.replace("\\", "/"))
    number = re.fullmatch(r"[A-Za-z_]*(\d+)", path.stem)
    return f"{path.parent.name}#{int(number[1])}" if number and path.parent.name else name


_READINGS: tuple[Callable[[str], str], ...] = (_path, _tail, _frame, _file)


def _places(images: ImageSet, table: KeypointTable) -> NDArray[np.int64]:
    """For each picture of the table its index in the set, -1 for none; the first reading that fits counts."""
    names = [images.name(i) for i in range(len(images))]
    place = np.full(len(table.images), -1, np.int64)
    for reading in _READINGS:
        known: dict[str, int] = {}
        for index, name in enumerate(names):
            key = reading(name)
            known[key] = -1 if key in known else index  # two pictures of one name are none
        asked = [reading(name) for name in table.images]
        once = {key for key in asked if asked.count(key) == 1}
        free = set(range(len(names))) - set(place.tolist())
        for j, key in enumerate(asked):
            if place[j] < 0 and key in once and known.get(key, -1) in free:
                place[j] = known[key]
    return place


def _some(names: list[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:_SHOWN])
    return shown + (", ..." if len(names) > _SHOWN else "")


# ---------------------------------------------------------------------------------------------------- sizes


def _check_sizes(images: ImageSet, table: KeypointTable, place: NDArray[np.int64], path: str) -> None:
    """Labels that say how large their picture is, or whose picture is a file, must agree with the set."""
    for j in np.flatnonzero(place >= 0).tolist():
        size, name = None, table.images[j]
        if table.sizes:
            size = table.sizes[j]
        elif Path(name).suffix.lower() in IMAGE_SUFFIXES and os.path.isfile(name):
            size = image_size(name)
        if size is not None and size != images.picture_size(int(place[j])):
            _refuse(images, name, size, int(place[j]), path)


def _refuse(images: ImageSet, name: str, size: tuple[int, int], index: int, path: str) -> None:
    h, w = images.picture_size(index)
    raise BadAnnotation(
        f"{path}: '{name}' has {size[1]} x {size[0]} pixels, the picture '{images.name(index)}' of the data "
        f"{w} x {h}; wanted labels in the pixels of the data"
    )


def _check_inside(images: ImageSet, table: KeypointTable, path: str) -> None:
    """Labels of larger pictures betray themselves by lying outside."""
    out = np.zeros(len(table), bool)
    for row in range(len(table)):
        xy = torch.from_numpy(table.xy[row][table.labelled[row]])
        out[row] = bool((xyn_from_xy(xy, images.picture_size(int(table.image[row]))).abs() > 1).any())
    if 2 * out.sum() <= len(table):
        return
    row = int(out.argmax())
    index, (h, w) = int(table.image[row]), images.picture_size(int(table.image[row]))
    raise BadAnnotation(
        f"{path}: in {out.sum()} of {len(table)} rows points lie outside the picture, first in "
        f"'{images.name(index)}' ({w} x {h} pixels); were these labels made on larger pictures?"
    )
