"""Points that must lose: places that never move, and what the foreground alone tells. Nothing is learned.

They are Methods, so that they go through the same crops, frames, heads and scores as what was trained.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from asterism.data import foreground
from asterism.data.base import FrameTable, ImageSet
from asterism.data.crops import background_of
from asterism.data.gathered import pictures
from asterism.data.moments import clean
from asterism.engine.looks import Looked
from asterism.geometry import affine
from asterism.geometry.coords import image_centre, xy_from_xyn
from asterism.methods.base import Method
from asterism.types import Images, Keypoints2D

SIZE = (64, 64)  # of the crops the controls look at
_SAMPLE = 31  # pictures from which the level of the foreground is taken
_ENDS = 2.0  # standard deviations from the centre to the end of an axis: those of a filled ellipse
_RING = 8


@dataclass(frozen=True)
class PlacesConfig:
    """Normalised coordinates in the crop, -1 to 1."""

    xyn: tuple[tuple[float, float], ...] = ((0.0, 0.0),)
    input_size: tuple[int, int] = SIZE


@dataclass(frozen=True)
class ForegroundConfig:
    """`level`: a change from the background, in [0, 1], with half weight."""

    level: float = 0.1
    input_size: tuple[int, int] = SIZE


class Still(Method[Images, Tensor, Keypoints2D]):
    """The same places of every crop, whatever it shows."""

    name = "still"
    family = "control"
    paper = link = ""
    Config = PlacesConfig
    presets: ClassVar = dict.fromkeys(("paper", "small", "tiny"), PlacesConfig())
    takes = Images
    gives = Keypoints2D

    def forward(self, batch: Images) -> Tensor:
        xyn = torch.tensor(self.config.xyn, dtype=torch.float32, device=batch.image.device)
        h, w = batch.image.shape[2:]
        return xy_from_xyn(xyn, (h, w)).expand(len(batch), *xyn.shape)

    def decode(self, raw: Tensor, batch: Images) -> Keypoints2D:
        return Keypoints2D(xy=affine.apply(batch.to_source, raw), score=torch.ones_like(raw[..., 0]))


class Blob(Method[Images, Tensor, Keypoints2D]):
    """Centre and axis ends of the foreground's moments. The front is where its third moment points; an empty
    crop has all points in its middle."""

    name = "blob"
    family = "control"
    paper = link = ""
    Config = ForegroundConfig
    presets: ClassVar = dict.fromkeys(("paper", "small", "tiny"), ForegroundConfig())
    takes = Images
    gives = Keypoints2D

    def forward(self, batch: Images) -> Tensor:
        assert batch.change is not None
        middle = image_centre((batch.image.shape[2], batch.image.shape[3]), like=batch.image)
        rows = [self.points(weights, middle.cpu().numpy()) for weights in _weights(batch, self.config.level)]
        return torch.from_numpy(np.stack(rows)).float().to(batch.image.device)

    def points(self, weights: NDArray[np.float32], middle: NDArray[np.floating]) -> Float[np.ndarray, "P 2"]:
        ys, xs = np.nonzero(weights)
        if not len(xs):
            return np.tile(middle, (5, 1)).astype(np.float64)
        mass, xy = weights[ys, xs].astype(np.float64), np.stack([xs, ys], 1).astype(np.float64)
        centre = mass @ xy / mass.sum()
        away = xy - centre
        power, axes = np.linalg.eigh((away * mass[:, None]).T @ away / mass.sum())
        short, long = _ENDS * np.sqrt(np.maximum(power, 0.0))
        axis = axes[:, 1] * self.front(axes[:, 1], float(mass @ (away @ axes[:, 1]) ** 3))
        along, across = long * axis, short * np.array([-axis[1], axis[0]])
        return np.stack([centre, centre + along, centre - along, centre + across, centre - across])

    def front(self, axis: NDArray[np.float64], skew: float) -> float:
        """Sign with which the axis points to the front."""
        return -1.0 if skew < 0 else 1.0

    def decode(self, raw: Tensor, batch: Images) -> Keypoints2D:
        return Keypoints2D(xy=affine.apply(batch.to_source, raw), score=torch.ones_like(raw[..., 0]))


class BlobInFrame(Blob):
    """Blob whose front is the frame's: the crop's x axis."""

    def front(self, axis: NDArray[np.float64], skew: float) -> float:
        return -1.0 if axis[0] < 0 else 1.0


class Box(Blob):
    """Corners and middles of the edges of the foreground's box in the crop."""

    name = "box"

    def points(self, weights: NDArray[np.float32], middle: NDArray[np.floating]) -> Float[np.ndarray, "P 2"]:
        ys, xs = np.nonzero(weights)
        if not len(xs):
            return np.tile(middle, (8, 1)).astype(np.float64)
        return around(np.array([[xs.min(), ys.min(), xs.max(), ys.max()]], np.float64))[0]


def around(corners: Float[np.ndarray, "N 4"]) -> Float[np.ndarray, "N 8 2"]:
    """Corners and middles of the edges of boxes (left, top, right, bottom), clockwise from the upper left."""
    left, top, right, bottom = corners.T
    x, y = (left + right) / 2, (top + bottom) / 2
    places = ((left, top), (x, top), (right, top), (right, y), (right, bottom), (x, bottom))
    return np.stack([np.stack(place, -1) for place in (*places, (left, bottom), (left, y))], 1)


def labelled_boxes(look: Looked) -> Float[np.ndarray, "N 8 2"] | None:
    """The same of the boxes that came with the labels, in source pixels; None where one is missing."""
    table, rows = look.images.table, look.frames.row
    if table is None or not table.has_box[rows].all():
        return None
    box = table.box[rows]
    return around(np.concatenate([box[:, :2], box[:, :2] + box[:, 2:] - 1], 1))


def ring() -> Still:
    """Places on a circle halfway between the middle of the crop and its edge."""
    angle = 2 * np.pi * np.arange(_RING) / _RING
    return Still(PlacesConfig(xyn=tuple((float(np.cos(a) / 2), float(np.sin(a) / 2)) for a in angle)))


def foreground_controls(images: ImageSet, frames: FrameTable) -> dict[str, Method]:
    """Blob and box, where a still background is known."""
    if not frames.backgrounds:
        return {}
    config = ForegroundConfig(level=level_of(images, frames))
    blob = BlobInFrame if frames.kind == "moments" else Blob
    return {"blob": blob(config), "bounding box": Box(config)}


def level_of(images: ImageSet, frames: FrameTable) -> float:
    """The change, in [0, 1], from which a pixel is more foreground than not; the mean over some pictures."""
    known = np.flatnonzero(frames.background >= 0)
    rows = known[np.unique(np.linspace(0, len(known) - 1, _SAMPLE).round().astype(int))]
    row_of = {int(frames.image[row]): int(row) for row in rows}
    levels = []
    for index, picture in pictures(images, set(row_of)):
        behind = background_of(frames, row_of[index], picture)
        if behind is not None:
            levels.append(foreground.background_of(behind, [picture]).level)
    return float(np.mean(levels)) / 255


def _weights(batch: Images, level: float) -> list[NDArray[np.float32]]:
    """Foreground weights of each crop, as data.foreground gives them to whole pictures, without dust."""
    assert batch.change is not None
    soft = (batch.change[:, 0] / level - 0.5).clamp(0, 1).cpu().numpy().astype(np.float32)
    return [clean(one)[0] for one in soft]
