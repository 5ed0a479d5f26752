"""Keypoints of what a user names (pictures, folders, clips, cameras) into one file."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from asterism.data.base import ImageSet
from asterism.data.folder import PictureFiles
from asterism.data.live import Live
from asterism.data.sources import open_data
from asterism.data.subset import Subset
from asterism.data.tables import joined
from asterism.engine.bars import Progress, bar
from asterism.engine.interrupt import interruptible
from asterism.engine.looker import Looked, Looker, looker
from asterism.engine.people import Draw
from asterism.engine.whole_body import Part, WholeBody
from asterism.errors import RequestError
from asterism.io.images import IMAGE_SUFFIXES
from asterism.io.keypoints import check_format, write_keypoints
from asterism.io.stream import is_live, live_pictures
from asterism.io.table import KeypointTable

_SAVED = 10.0  # seconds between two writings of what a camera has shown so far


def predict_to(
    run: Path,
    inputs: Sequence[str],
    output: Path,
    *,
    format: str | None = None,
    draw: Draw | None = None,
    device: str = "auto",
    flip: bool = False,
    boxes: str | None = None,
    hands: Path | None = None,
    face: Path | None = None,
    body: bool = True,
    every: int = 1,
    pictures: int | None = None,
) -> dict[str, Any]:
    """Keypoints of all inputs (pictures, folders, clips, label files) into one file; returns its numbers.

    The ending of `output` chooses the format unless `format` names one; it is written wholly, in the end.
    `not_found` counts the rows in which no object stood out: their points are left empty. `flip` looks at
    the mirrored pictures, too (engine.flipped). `boxes` says where to look (engine.looker), `hands` and
    `face` are runs for those of the people found (engine.whole_body), whose own points are left out where
    `body` is False; `every` takes each n-th picture of
    clips and cameras, `pictures` ends a camera or a clip after so many. An input that is a camera or an
    address (io.stream) must be the only one; it is looked at until it ends or somebody stops it.
    Raises RequestError before any work when an input or the output cannot be.
    """
    check_format(output, format)
    if every < 1 or (pictures is not None and pictures < 1):
        raise RequestError(f"--every {every}, --pictures {pictures}: wanted 1 or more")
    if not body and hands is None and face is None:
        raise RequestError("--no-body leaves nothing to look for; name a run with --hands or --face")
    people = looker(run, boxes=boxes, device=device, flip=flip)
    chosen = _with_parts(people, hands, face, device, body)
    began = time.monotonic()
    if any(is_live(what) for what in inputs):
        if len(inputs) > 1 or isinstance(people.where, KeypointTable):
            raise RequestError(f"{', '.join(inputs)}: a camera is looked at alone, without a file of boxes")
        save = partial(write_keypoints, output, format=format)
        table, looks, lost = _live(chosen, inputs[0], every, pictures, draw, save)
    else:
        table, looks, lost = _files(chosen, _sets(inputs, every, pictures), draw)
    write_keypoints(output, table, format)
    seconds = time.monotonic() - began
    return {
        "output": str(output),
        "pictures": len(table.images),
        "rows": len(table),
        "not_found": lost,
        "points": len(table.names),
        "frame": " | ".join(dict.fromkeys(looks)),
        "seconds": seconds,
        "pictures_per_second": len(table.images) / seconds,
    }


def _with_parts(
    people: Looker, hands: Path | None, face: Path | None, device: str, body: bool
) -> Looker | WholeBody:
    parts = []
    if face is not None:
        parts.append(Part(looker=looker(face, device=device), prefix="face"))
    if hands is not None:
        of_hands = looker(hands, device=device)
        parts += [Part(looker=of_hands, prefix=f"hand_{s}", mirrored=s == "left") for s in ("left", "right")]
    return WholeBody(body=people, parts=tuple(parts), with_body=body) if parts else people


def _files(
    chosen: Looker | WholeBody, sets: Sequence[ImageSet], draw: Draw | None
) -> tuple[KeypointTable, list[str], int]:
    tables, looks, lost = [], [], 0
    for images in sets:
        shown: AbstractContextManager[Progress | None] = (
            bar(images.title) if len(images) > 1 else nullcontext()
        )
        tracker = chosen.tracker() if chosen.follows and images.is_clip else None
        with shown as progress:
            looked = chosen.look(images, draw=draw, progress=progress, tracker=tracker)
        tables.append(looked.table)
        looks.append(looked.how)
        lost += looked.lost
    return joined(tables), looks, lost


def _live(
    chosen: Looker | WholeBody,
    address: str,
    every: int,
    most: int | None,
    draw: Draw | None,
    save: Callable[[KeypointTable], None],
) -> tuple[KeypointTable, list[str], int]:
    """What is found in the pictures of a camera, until it ends, `most` were looked at, or Ctrl-C."""
    if chosen.view.kind == "moments":
        raise RequestError(
            f"{address}: this run looks at what stands out from a background that many pictures show; record "
            "a clip first, or train with --frame whole or on boxes"
        )
    tracker = chosen.tracker() if chosen.follows else None
    found: list[Looked] = []
    saved = time.monotonic()
    with interruptible() as asked, closing(live_pictures(address, every)) as stream, bar(address) as progress:
        live = Live(address, stream.fps / every)
        for index, picture in islice(stream, most):
            if asked():
                break
            live.show(index, picture)
            found.append(chosen.look(live, draw=draw, tracker=tracker))
            if time.monotonic() - saved > _SAVED:
                save(joined([looked.table for looked in found]))
                saved = time.monotonic()
            progress(0.0, f"picture {index + 1}, {len(found[-1].table)} found")
    if not found:
        raise RequestError(f"{address}: showed no picture")
    return joined([looked.table for looked in found]), [found[-1].how], sum(looked.lost for looked in found)


def _sets(inputs: Sequence[str], every: int, most: int | None) -> list[ImageSet]:
    """One set per folder, clip or label file; single pictures go together, as from one camera."""
    if not inputs:
        raise RequestError("nothing to look at: name pictures, folders or clips")
    sets = [_thinned(open_data(what), every, most) for what in inputs]
    single = [what for what in inputs if Path(what).suffix.lower() in IMAGE_SUFFIXES]
    if len(single) < 2:
        return sets
    others = [images for what, images in zip(inputs, sets) if what not in single]
    return [PictureFiles(f"{len(single)} pictures", tuple(single)), *others]


def _thinned(images: ImageSet, every: int, most: int | None) -> ImageSet:
    """Each n-th picture of a clip, at most so many; sets of pictures as they are."""
    if not images.is_clip or (every == 1 and most is None):
        return images
    return Subset(images, np.arange(0, len(images), every)[:most])
