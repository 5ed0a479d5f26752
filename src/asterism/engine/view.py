"""How a run looks at pictures: the kind of frame, the size of the crops, what it remembers of its data."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from asterism.data.base import FrameTable, ImageSet
from asterism.data.frames import BOX_MARGIN, Memory, find_frames
from asterism.engine.runs import VIEW_FILE, Run
from asterism.errors import BadWeights, RequestError
from asterism.io.atomic import atomic_write


@dataclass(frozen=True, kw_only=True)
class View:
    """`kind` is whole, boxes or moments; `size` (h, w) of the crops.

    `inside`: labelled boxes, with their margin, fill crops that are not square as far as they fit (HRNet);
    otherwise the longer side of the box spans the shorter side of the crop. No difference in square crops.
    """

    kind: str
    size: tuple[int, int]
    memory: Memory
    inside: bool = False

    def as_json(self) -> dict[str, Any]:
        plain = {"frame": self.kind, "size": list(self.size), "objects": self.memory.objects}
        return plain | ({"inside": True} if self.inside else {})


def view_of(frames: FrameTable, size: tuple[int, int]) -> View:
    """The view of a run that learns in these frames. A still background is remembered when it is alone."""
    still = len(frames.backgrounds) == 1 and frames.placed is None
    background = frames.backgrounds[0] if still else None
    return View(
        kind=frames.kind,
        size=size,
        memory=Memory(objects=frames.objects, look=frames.look, background=background),
    )


def write_view(run: Run, view: View) -> None:
    """The arrays of the view beside run.json, which holds the rest (View.as_json under "view")."""
    arrays = {"look": view.memory.look, "background": view.memory.background}
    with atomic_write(run.folder / VIEW_FILE) as temporary:
        np.savez_compressed(temporary, **{k: v for k, v in arrays.items() if v is not None})


def read_view(run: Run) -> View:
    """Raises BadWeights where the run does not say how it looks at pictures."""
    try:
        about = run.info()["view"]
        kind, (h, w), objects = about["frame"], about["size"], about["objects"]
        inside = about.get("inside", False) is True
        with np.load(run.folder / VIEW_FILE, allow_pickle=False) as arrays:
            held = {name: arrays[name] for name in ("look", "background") if name in arrays}
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise BadWeights(
            f"{run.folder}: run.json and {VIEW_FILE} do not say how it looks at pictures"
        ) from error
    return View(kind=kind, size=(h, w), memory=Memory(objects=objects, **held), inside=inside)


def frames_for(images: ImageSet, view: View) -> FrameTable:
    """Frames of other pictures, found as the run found its own.

    A run that learned in labelled boxes looks at pictures without boxes in the frames that can be found
    there; FrameTable.why says so. Raises RequestError when moments are wanted and no background stands still.
    """
    if view.kind == "boxes" and (images.table is None or not images.table.has_box.all()):
        found = find_frames(images, "auto", memory=view.memory)
        return replace(found, why=f"the run learned in labelled boxes and there are none here; {found.why}")
    try:
        found = find_frames(images, view.kind, memory=view.memory)
        return _inside(found, images, view.size) if view.inside and view.kind == "boxes" else found
    except RequestError as error:
        if view.kind != "moments" or type(error) is not RequestError:  # a damaged file speaks for itself
            raise
        raise RequestError(
            f"{images.title}: this run looks at what stands out from a still background, which these "
            f"pictures do not show ({error}); give a clip or several pictures from one camera"
        ) from error


def _inside(frames: FrameTable, images: ImageSet, size: tuple[int, int]) -> FrameTable:
    """Boxes with their margin as large in the crop as they fit."""
    assert images.table is not None
    box = images.table.box[frames.row]
    step = np.maximum(box[:, 2] / size[1], box[:, 3] / size[0])  # source pixels per pixel of the crop
    return replace(frames, scale=np.maximum(step * min(size) * BOX_MARGIN / 2, 1.0))
