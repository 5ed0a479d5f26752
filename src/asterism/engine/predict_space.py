"""Points in space of single pictures, by a run that learned from views of things of a kind, into one CSV.

The run knows the thing upright, alone, from far away, filling the picture: pictures are looked at whole, or
in the boxes of a label file. Points come out in pixels, depth too, away from the camera; and the turn of each
picture's thing from the first one's, which holds where things are of one shape.
"""

import csv
import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial.transform import Rotation
from torch import Tensor

from asterism import catalogue
from asterism.data.base import FrameTable, ImageSet
from asterism.data.crops import background_of, cut, frames_of
from asterism.data.frames import find_frames
from asterism.data.gathered import pictures as pictures_of
from asterism.data.people import whole_frames
from asterism.data.sources import open_data
from asterism.engine.bars import bar
from asterism.engine.clouds import method_of
from asterism.engine.people import Draw
from asterism.engine.predict import table_of
from asterism.engine.runs import Run
from asterism.engine.team import pick_device
from asterism.engine.weights import load_weights
from asterism.errors import RequestError
from asterism.geometry import affine, rigid
from asterism.io.atomic import write_text
from asterism.io.locate import relative_name
from asterism.methods.base import Method
from asterism.types import Images, Keypoints2D, Skeleton


@runtime_checkable
class InSpace(Protocol):
    """What a method of single pictures says of its points beside the contract."""

    def unprojected(self, xyz: Float[Tensor, "B K 3"]) -> Float[Tensor, "B K 3"]: ...


def is_in_space(run: str) -> bool:
    """Whether a run looks at single pictures and finds points in space."""
    row = catalogue.entries().get(method_of(run))
    return row is not None and (row.takes, row.gives) == ("Images", "Keypoints3D")


def predict_in_space(
    run: Path, inputs: Sequence[str], output: Path, *, draw: Draw | None = None, device: str = "auto"
) -> dict[str, Any]:
    """Points of all pictures into a .csv: image, individual, turn_x, _y, _z (Rodrigues vector from the first
    row's thing, in camera axes), and of every point _x, _y, _z (pixels) and _score. Returns its numbers.

    Raises RequestError, before any work, for another ending.
    """
    if output.suffix.lower() != ".csv":
        raise RequestError(f"-o {output}: points in space are written to .csv")
    method, skeleton = load_weights(Run(run).best)
    assert isinstance(method, InSpace) and skeleton is not None, f"{run} holds {method.name}"
    where = torch.device(pick_device(device))
    method.to(where).eval()
    began, out, first, rows = time.monotonic(), io.StringIO(), None, 0
    writer = csv.writer(out, lineterminator="\n")
    parts = [f"{name}_{part}" for name in skeleton.names for part in ("x", "y", "z", "score")]
    writer.writerow(["image", "individual", "turn_x", "turn_y", "turn_z", *parts])
    for what in inputs:
        images = open_data(what)
        boxed = images.table is not None and bool(images.table.has_box.all())
        frames = find_frames(images, "boxes") if boxed else whole_frames(images)
        with bar(what) as progress:
            for index, row, found, there in _each(method, images, frames, where):
                first = there if first is None else first
                told = rigid.kabsch(first, there)[0, :, :3].numpy()
                cells = [
                    relative_name(images.name(index), output.parent),
                    int(frames.individual[row]),
                    *Rotation.from_matrix(told).as_rotvec(),
                ]
                points = np.concatenate([found["xyz"], found["score"][:, None]], 1)
                writer.writerow([*cells, *map(repr, points.ravel().tolist())])
                rows += 1
                if draw is not None:
                    _draw(draw, images, index, skeleton, found)
                progress((index + 1) / len(images), images.name(index))
    write_text(output, out.getvalue())
    seconds = time.monotonic() - began
    return {"output": str(output), "method": method.name, "rows": rows, "seconds": seconds}


def _each(method: Method, images: ImageSet, frames: FrameTable, where: torch.device):
    """Picture, row of `frames`, points in source pixels, and in the camera: "1 K 3", double precision."""
    size = method.config.input_size
    rows_of = {int(i): np.flatnonzero(frames.image == i) for i in np.unique(frames.image)}
    for index, picture in pictures_of(images, set(rows_of)):
        here = rows_of[index]
        at = affine.source_from_crop(frames_of(frames, here), size)
        batch: Images = cut(picture, at, size, background_of(frames, int(here[0]), picture))
        told = method.predict(batch.to(where)).to("cpu")
        growth = torch.linalg.det(at[:, :, :2]).abs().sqrt()[:, None, None]
        inside = torch.cat(
            [affine.apply(affine.inverse(at), told.xyz[..., :2]), told.xyz[..., 2:] / growth], -1
        )
        assert isinstance(method, InSpace)
        there = method.unprojected(inside.double())
        for k, row in enumerate(here.tolist()):
            found = {"xyz": told.xyz[k].double().numpy(), "score": told.score[k].double().numpy()}
            yield index, row, found, there[k][None]


def _draw(draw: Draw, images: ImageSet, index: int, skeleton: Skeleton, found: dict[str, np.ndarray]) -> None:
    flat = Keypoints2D(
        xy=torch.from_numpy(found["xyz"][None, :, :2]), score=torch.from_numpy(found["score"][None])
    )
    at, sure = np.zeros(1, np.int64), np.ones(1, bool)
    draw(images, index, images.picture(index), table_of(skeleton, [images.name(index)], at, at, flat, sure))
