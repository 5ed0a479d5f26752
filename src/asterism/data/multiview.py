"""The pictures of several calibrated cameras that look at one thing at the same moments."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from asterism.data.base import ImageSet, Picture
from asterism.data.sources import open_data
from asterism.data.subset import Subset
from asterism.data.tables import hash_of, joined, skeleton_of
from asterism.data.worlds import Rig
from asterism.errors import RequestError
from asterism.io.cameras import CameraTable, read_cameras
from asterism.types import Cameras


class MultiView(ImageSet):
    """V sets of T pictures each: picture v * T + t is what camera v saw at moment t.

    `cameras` has a row per view. Labels are there when every view has some. Raises RequestError, naming the
    view, when the numbers of pictures or of cameras do not agree.
    """

    is_clip = False

    def __init__(self, views: Sequence[ImageSet], cameras: Cameras) -> None:
        if len(views) != len(cameras):
            raise RequestError(f"{len(views)} views, but {len(cameras)} cameras; wanted one camera per view")
        counts = [len(view) for view in views]
        if len(set(counts)) > 1:
            told = ", ".join(f"{view.title} {n}" for view, n in zip(views, counts))
            raise RequestError(
                f"the views have different numbers of pictures ({told}); wanted picture t of every view to "
                "show the same moment"
            )
        self.views, self.cameras = tuple(views), cameras
        self.moments = counts[0]
        self.title = f"{len(views)} views of {self.moments} moments"
        self.scenes_are_clips = all(view.is_clip or view.scenes_are_clips for view in views)
        tables = [view.table for view in views if view.table is not None]
        if len(tables) == len(views) and len({table.names for table in tables}) == 1:
            self.table = joined(tables)
            self.skeleton = skeleton_of(self.table)

    def __len__(self) -> int:
        return len(self.views) * self.moments

    def picture(self, index: int) -> Picture:
        view, t = divmod(index, self.moments)
        return self.views[view].picture(t)

    def picture_size(self, index: int) -> tuple[int, int]:
        view, t = divmod(index, self.moments)
        return self.views[view].picture_size(t)

    def name(self, index: int) -> str:
        view, t = divmod(index, self.moments)
        return self.views[view].name(t)

    def scene(self, index: int) -> str:
        view, t = divmod(index, self.moments)
        return f"{view}:{self.views[view].scene(t)}"

    def fingerprint(self) -> str:
        rows = (self.cameras.intrinsics, self.cameras.cam_from_world, self.cameras.distortion)
        return hash_of([*(view.fingerprint() for view in self.views), *(row.tolist() for row in rows)])

    def __iter__(self) -> Iterator[Picture]:
        for view in self.views:
            yield from view

    def sizes(self) -> NDArray[np.int64]:
        """V 2: (h, w) of the pictures of each view."""
        return np.array([view.picture_size(0) for view in self.views])

    def only(self, views: Sequence[int], moments: Sequence[int] | NDArray[np.int64]) -> "MultiView":
        """Some of the cameras at some of the moments."""
        chosen = torch.tensor(list(views))
        return MultiView([Subset(self.views[v], moments) for v in views], self.cameras[chosen])


def open_views(inputs: Sequence[str], cameras: str | None) -> MultiView:
    """One video or folder per camera, in the order of the camera file; or one world:rig, which has its own.

    Raises RequestError where there are fewer than three views, where their number is not that of the cameras,
    and where a picture has another size than its camera; BadAnnotation for a malformed camera file.
    """
    sets = [open_data(what) for what in inputs]
    if len(sets) == 1 and isinstance(sets[0], Rig):
        if cameras is not None:
            raise RequestError(f"--cameras {cameras}: {inputs[0]} has cameras of its own; leave it out")
        return views_of(sets[0])
    if cameras is None:
        raise RequestError("--cameras: wanted the file of the calibrated cameras (.json, or anipose's .toml)")
    table = read_cameras(cameras)
    if len(sets) < 3:
        raise RequestError(
            f"{len(sets)} views: at least three must agree on a point; name one input per camera"
        )
    if len(sets) != len(table):
        raise RequestError(
            f"{len(sets)} inputs, but {cameras} has the cameras {', '.join(table.names)}; wanted one input "
            "per camera, in this order"
        )
    for what, images, name, size in zip(inputs, sets, table.names, table.sizes):
        if size is not None and images.picture_size(0) != size:
            (h, w), (wanted_h, wanted_w) = images.picture_size(0), size
            raise RequestError(
                f"{what}: has pictures of {w} x {h} pixels, {cameras} says {wanted_w} x {wanted_h} of its "
                f"camera '{name}'; is the order of the inputs that of the file?"
            )
    return MultiView(sets, cameras_of(table))


def views_of(rig: Rig) -> MultiView:
    """A generated rig, camera by camera."""
    every = np.arange(rig.moments)
    return MultiView([Subset(rig, v * rig.moments + every) for v in range(rig.views)], rig.cameras)


def cameras_of(table: CameraTable) -> Cameras:
    """The rows of a camera file as tensors, float64."""
    return Cameras(
        intrinsics=torch.from_numpy(table.intrinsics),
        cam_from_world=torch.from_numpy(table.cam_from_world),
        distortion=torch.from_numpy(table.distortion),
    )


def camera_table(images: MultiView) -> CameraTable:
    """The cameras of a set as a file holds them."""
    return CameraTable(
        names=tuple(f"cam{v}" for v in range(len(images.views))),
        intrinsics=images.cameras.intrinsics.double().numpy(),
        cam_from_world=images.cameras.cam_from_world.double().numpy(),
        distortion=images.cameras.distortion.double().numpy(),
        sizes=tuple((int(h), int(w)) for h, w in images.sizes()),
    )
