"""From pictures and frames to the batches that methods take."""

import math
from dataclasses import replace
from threading import Lock

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from asterism.data import augment as augmenting
from asterism.data.base import FrameTable, ImageSet, Picture
from asterism.data.stabilise import behind
from asterism.data.subset import PictureCache
from asterism.errors import RequestError
from asterism.geometry import affine
from asterism.geometry.coords import xyn_from_xy
from asterism.ops.sampling import crop
from asterism.types import Augment, Frames, Images, LabelledImages


def frames_of(table: FrameTable, rows: NDArray[np.int64]) -> Frames:
    """Rows of a FrameTable as tensors, in float64: coordinates of large pictures keep their fractions."""
    return Frames(
        centre=torch.from_numpy(table.centre[rows]),
        scale=torch.from_numpy(table.scale[rows]),
        angle=torch.from_numpy(table.angle[rows]),
        doubt=torch.from_numpy(table.doubt[rows]),
    )


def background_of(table: FrameTable, row: int, picture: Picture) -> Picture | None:
    """The background of the frame's picture, also before a moving camera; None where no picture has one.

    A picture without one, among others that have, is its own: nothing is known to have changed in it.
    """
    if not table.backgrounds:
        return None
    which = int(table.background[row])
    if which < 0:
        return picture
    if table.placed is None or table.backgrounds[which].shape[-1] == 3:
        return table.backgrounds[which]
    return behind(table.backgrounds[which], table.placed[row], picture)


def cut(
    picture: Picture,
    source_from_crop: Float[Tensor, "B 2 3"],
    size: tuple[int, int],
    background: Picture | None = None,
) -> Images:
    """Crops of one picture, one per affine, with `change` when the still background is known.

    `change` is the largest difference of a channel from the background, in [0, 1]. Raises RequestError when
    the background has another size than the picture.
    """
    if background is not None and background.shape != picture.shape:
        raise RequestError(
            f"a picture of {picture.shape[1]} x {picture.shape[0]} pixels came to a background of "
            f"{background.shape[1]} x {background.shape[0]}; a clip must keep its size"
        )
    ys, xs = _window(source_from_crop, size, picture.shape[:2])
    layers = _layers(picture[ys, xs])
    if background is not None:
        layers = torch.cat([layers, (layers - _layers(background[ys, xs])).abs().amax(0, keepdim=True)])
    b = len(source_from_crop)
    window_from_crop = source_from_crop.clone()
    window_from_crop[..., 2] -= window_from_crop.new_tensor([xs.start, ys.start])
    cropped = crop(layers.expand(b, *layers.shape), window_from_crop.float(), size)
    return Images(
        image=cropped[:, :3],
        to_source=source_from_crop.float(),
        change=None if background is None else cropped[:, 3:],
    )


def _layers(picture: Picture) -> Float[Tensor, "3 H W"]:
    return torch.from_numpy(np.ascontiguousarray(picture)).movedim(-1, 0).float() / 255


def _window(
    source_from_crop: Float[Tensor, "B 2 3"], size: tuple[int, int], whole: tuple[int, ...]
) -> tuple[slice, slice]:
    """Rows and columns of the picture that the crops can touch: only these become floats.

    It begins at a multiple of the crops' shrinking factors, where sampling.crop's own boxes begin too, so
    that the crop of the window is the crop of the picture.
    """
    h, w = size
    factors = [max(1, round(scale)) for scale in affine.scale_of(source_from_crop).float().tolist()]
    margin, step = 2 * max(factors), math.lcm(*factors)
    corners = source_from_crop.new_tensor([[0, 0], [w - 1, 0], [0, h - 1], [w - 1, h - 1]])
    seen = affine.apply(source_from_crop, corners.expand(len(source_from_crop), 4, 2)).flatten(0, 1)
    spans = []
    for axis, length in ((1, whole[0]), (0, whole[1])):
        low, high = float(seen[:, axis].min()), float(seen[:, axis].max())
        start = min(max(0, math.floor(low) - margin), length - 1) // step * step
        stop = min(max(start + 1, math.ceil(high) + margin), length)
        spans.append(slice(start, stop))
    return spans[0], spans[1]


class Crops(Dataset):
    """One sample per row of `frames`: a batch of one, LabelledImages where all rows have labels, else Images.

    `size` is (h, w) of the crops. A sample is named by (epoch, index), or by index alone for epoch 0; its
    random changes come from Generator(seed, epoch, index), so that any worker at any time draws the same.
    Labelled points that fall outside the crop are not labelled there: no map could show them. Mirroring is
    done only where the skeleton says which points exchange their places.
    """

    def __init__(
        self,
        images: ImageSet,
        frames: FrameTable,
        size: tuple[int, int],
        augment: Augment | None = None,
        seed: int = 0,
    ) -> None:
        self.images = images
        self.frames = frames
        self.size = size
        self.seed = seed
        self.swap = images.skeleton.swap if images.skeleton is not None else ()
        self.has_labels = images.table is not None and bool((frames.row >= 0).all())
        if augment is not None and self.has_labels and not self.swap:
            augment = replace(augment, flip=0.0)
        self.augment = augment
        self._cache = PictureCache(images)
        self._filled = not images.is_clip
        self._filling = Lock()

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, key: int | tuple[int, int]) -> Images:
        epoch, index = (0, key) if isinstance(key, int) else key
        source_from_crop = affine.source_from_crop(frames_of(self.frames, np.array([index])), self.size)
        change = None
        if self.augment is not None:
            change = augmenting.draw(
                self.augment, self.size, np.random.default_rng([self.seed, epoch, index])
            )
            plain_from_changed = augmenting.crop_from_changed(change, self.size, like=source_from_crop)
            source_from_crop = affine.compose(source_from_crop, plain_from_changed)
        picture = self._picture(index)
        background = background_of(self.frames, index, picture)
        batch = cut(picture, source_from_crop, self.size, background)
        if change is not None:
            batch = replace(batch, image=augmenting.recolour(batch.image, change))
        if not self.has_labels:
            return batch
        labelled = self._labelled(batch, source_from_crop, int(self.frames.row[index]))
        if change is not None and change.flip:
            labelled = augmenting.mirror_points(labelled, self.swap)
        return labelled

    def _picture(self, index: int) -> Picture:
        with self._filling:  # the first sample of a clip decodes it in one pass, while other threads wait
            if not self._filled:
                self._cache.fill(np.unique(self.frames.image))
                self._filled = True
        return self._cache.picture(int(self.frames.image[index]))

    def _labelled(self, batch: Images, source_from_crop: Float[Tensor, "1 2 3"], row: int) -> LabelledImages:
        table = self.images.table
        assert table is not None
        source = torch.from_numpy(table.xy[row])[None]
        xy = affine.apply(affine.inverse(source_from_crop), source)[0]
        inside = (xyn_from_xy(xy, self.size).abs() <= 1).all(-1)
        labelled = torch.from_numpy(table.labelled[row].copy()) & inside
        return LabelledImages(
            image=batch.image,
            to_source=batch.to_source,
            change=batch.change,
            xy=torch.where(labelled[:, None], xy, torch.zeros_like(xy)).float()[None],
            labelled=labelled[None],
            visible=(torch.from_numpy(table.visible[row].copy()) & labelled)[None],
        )
