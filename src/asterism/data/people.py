"""Whole pictures with everybody in them: what methods learn from that look at a picture once."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from asterism.data import augment as augmenting
from asterism.data.base import FrameTable, ImageSet
from asterism.data.crops import cut, frames_of
from asterism.data.subset import PictureCache
from asterism.geometry import affine
from asterism.geometry.coords import xyn_from_xy
from asterism.ops.fields import region_weight
from asterism.types import Augment, Images, LabelledPeople


def whole_frames(images: ImageSet) -> FrameTable:
    """One frame per picture: all of it. Nothing is looked for, so nothing is known of backgrounds."""
    n = len(images)
    sizes = np.array([images.picture_size(j) for j in range(n)]).reshape(n, 2)
    return FrameTable(
        kind="whole",
        why="it looks at whole pictures",
        image=np.arange(n),
        individual=np.zeros(n, np.int64),
        row=np.full(n, -1),
        centre=(sizes[:, ::-1] - 1) / 2,
        scale=sizes.max(axis=1) / 2,
        angle=np.zeros(n),
        doubt=np.zeros(n),
        background=np.full(n, -1),
        found=np.ones(n, bool),
    )


class People(Dataset):
    """One sample per frame: the picture and the labels of all its individuals, a batch of one.

    Rows are padded to the largest number of individuals in any picture. An individual without a labelled
    point, but with a box, makes a region that does not count. Random changes as in data.crops.Crops.
    """

    def __init__(
        self,
        images: ImageSet,
        frames: FrameTable,
        size: tuple[int, int],
        augment: Augment | None = None,
        seed: int = 0,
    ) -> None:
        assert images.table is not None
        self.images, self.frames, self.size, self.seed = images, frames, size, seed
        self.table = images.table
        self.swap = images.skeleton.swap if images.skeleton is not None else ()
        self.augment = replace(augment, flip=0.0) if augment is not None and not self.swap else augment
        self.rows = {int(i): np.flatnonzero(self.table.image == i) for i in np.unique(frames.image)}
        self.most = max((len(rows) for rows in self.rows.values()), default=0)
        self._cache = PictureCache(images)

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, key: int | tuple[int, int]) -> LabelledPeople:
        epoch, index = (0, key) if isinstance(key, int) else key
        source_from_crop = affine.source_from_crop(frames_of(self.frames, np.array([index])), self.size)
        change = None
        if self.augment is not None:
            random = np.random.default_rng([self.seed, epoch, index])
            change = augmenting.draw(self.augment, self.size, random)
            plain_from_changed = augmenting.crop_from_changed(change, self.size, like=source_from_crop)
            source_from_crop = affine.compose(source_from_crop, plain_from_changed)
        image = int(self.frames.image[index])
        batch = cut(self._cache.picture(image), source_from_crop, self.size)
        if change is not None:
            batch = replace(batch, image=augmenting.recolour(batch.image, change))
        return self._labelled(batch, source_from_crop, self.rows[image], change is not None and change.flip)

    def _labelled(
        self, batch: Images, source_from_crop: Float[Tensor, "1 2 3"], rows: np.ndarray, mirrored: bool
    ) -> LabelledPeople:
        p, k = self.most, len(self.table.names)
        crop_from_source = affine.inverse(source_from_crop)
        there = affine.apply(crop_from_source, torch.from_numpy(self.table.xy[rows]).reshape(1, -1, 2))
        there = there.reshape(len(rows), k, 2)
        inside = (xyn_from_xy(there, self.size).abs() <= 1).all(-1)
        known = torch.from_numpy(self.table.labelled[rows])
        seen = torch.from_numpy(self.table.visible[rows]) & known & inside
        order = torch.tensor(self.swap) if mirrored else torch.arange(k)
        xy, labelled = torch.zeros(1, p, k, 2), torch.zeros(1, p, k, dtype=torch.bool)
        visible, valid = torch.zeros_like(labelled), torch.zeros(1, p, dtype=torch.bool)
        n = len(rows)
        labelled[0, :n], visible[0, :n] = (known & inside)[:, order], seen[:, order]
        xy[0, :n] = torch.where(labelled[0, :n, :, None], there[:, order].float(), 0.0)
        valid[0, :n] = known.any(1)
        return LabelledPeople(
            image=batch.image,
            to_source=batch.to_source,
            change=batch.change,
            xy=xy,
            labelled=labelled,
            visible=visible,
            valid=valid,
            counts=self._counts(crop_from_source, rows[~self.table.labelled[rows].any(1)]),
        )

    def _counts(self, crop_from_source: Float[Tensor, "1 2 3"], rows: np.ndarray) -> Float[Tensor, "1 1 H W"]:
        """0 in the boxes, as they lie in the crop, of individuals whom nobody labelled."""
        rows = rows[self.table.has_box[rows]]
        if not len(rows):
            return torch.ones(1, 1, *self.size)
        low, extent = np.split(self.table.box[rows], 2, axis=1)
        corners = np.stack([low, low + extent * [1, 0], low + extent * [0, 1], low + extent], axis=1)
        there = affine.apply(crop_from_source, torch.from_numpy(corners).reshape(1, -1, 2)).reshape(-1, 4, 2)
        first, last = there.amin(1), there.amax(1)
        boxes = torch.cat([first, last - first], dim=-1)[None].float()
        return region_weight(boxes, torch.ones(boxes.shape[:2], dtype=torch.bool), self.size)
