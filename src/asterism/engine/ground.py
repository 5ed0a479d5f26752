"""The ground sets of points are compared on: pictures to learn a head from, to test on, and these turned."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from asterism.data.base import FrameTable, ImageSet
from asterism.data.crops import frames_of
from asterism.engine.looks import Looked, labels_of, look_at, turned_looks
from asterism.engine.predict import keypoints
from asterism.engine.view import View
from asterism.geometry import affine
from asterism.geometry.coords import xyn_from_xy
from asterism.methods.base import Method
from asterism.metrics.landmarks import Labels, Points


@dataclass(frozen=True, kw_only=True)
class Ground:
    """Looks at labelled pictures; every set of points that is compared is found in these very frames."""

    view: View
    learn: Looked
    judge: Looked
    turned: list[Looked]

    @property
    def sides(self) -> tuple[list[Looked], list[Looked], list[Looked]]:
        return [self.learn], [self.judge], self.turned


def ground_of(
    images: ImageSet,
    view: View,
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    seed: int,
    frames: FrameTable | None = None,
) -> Ground:
    """`frames` are those of the whole set where they have been found already; `seed` chooses the angles."""
    learn, judge = (look_at(images, view, pictures, frames) for pictures in (train, test))
    return Ground(view=view, learn=learn, judge=judge, turned=turned_looks(images, view, test, seed))


def found(method: Method, looks: list[Looked], size: tuple[int, int], device: str) -> NDArray[np.float64]:
    """N K 2: the method's points in source pixels, in crops of `size`."""
    return np.concatenate(
        [keypoints(method, look.images, look.frames, size, device=device)[0] for look in looks]
    )


def points_in_frames(find: Callable[[list[Looked]], NDArray[np.float64]], ground: Ground) -> Points:
    """What `find` finds on the ground, in the frames' own axes: a head learned there turns with them."""
    return Points(*(in_frame(find(looks), looks) for looks in ground.sides))


def labels_in_frames(ground: Ground) -> tuple[Labels, Labels, Labels]:
    """Labels to learn from, to test on, and turned, in the frames' own axes."""
    learn, judge, turned = (
        replace(every, xy=in_frame(every.xy, looks))
        for every, looks in ((labels_of(looks), looks) for looks in ground.sides)
    )
    return learn, judge, turned


def in_frame(xy: Float[np.ndarray, "N K 2"], looks: list[Looked]) -> Float[np.ndarray, "N K 2"]:
    """Source pixels turned and shifted into the frames' own axes, at the same scale."""
    angle = np.concatenate([look.frames.angle for look in looks])
    centre = np.concatenate([look.frames.centre for look in looks])
    z = (xy[..., 0] - centre[:, None, 0]) + 1j * (xy[..., 1] - centre[:, None, 1])
    z = z * np.exp(-1j * angle)[:, None]
    return np.stack([z.real, z.imag], axis=-1)


def in_picture(
    xy: Float[np.ndarray, "N K 2"], look: Looked, size: tuple[int, int]
) -> tuple[Float[np.ndarray, "N K 2"], Float[np.ndarray, " N"]]:
    """Source pixels in picture coordinates (metrics.protocols) of crops of `size`, and source pixels per
    unit: the middle of the crop is 0, its longer side 2."""
    frames = frames_of(look.frames, np.arange(len(look.frames)))
    source_from_crop = affine.source_from_crop(frames, size)
    xyn = xyn_from_xy(affine.apply(affine.inverse(source_from_crop), torch.from_numpy(xy)), size)
    longest = max(size)
    unit = affine.scale_of(source_from_crop).numpy() * longest / 2
    return xyn.numpy() * (np.array(size[::-1]) / longest), unit
