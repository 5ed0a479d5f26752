"""A set of pictures as a camera turned about its axis would have taken them."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from asterism.data.base import ImageSet, Picture
from asterism.data.tables import hash_of
from asterism.geometry import affine
from asterism.geometry.coords import image_centre
from asterism.io.table import KeypointTable
from asterism.ops.sampling import crop


class Rotated(ImageSet):
    """Every picture turned by `angle` (radians, x towards y) about its middle, on a canvas that holds it all.

    The labels turn along. A box becomes the square with the box's longer side about its turned middle, so
    that the object is looked at as large as before. The corners of the canvas are black.
    """

    def __init__(self, images: ImageSet, angle: float) -> None:
        self.images = images
        self.angle = angle
        self.title = images.title
        self.is_clip = images.is_clip
        self.scenes_are_clips = images.scenes_are_clips
        self.skeleton = images.skeleton
        self.table = None if images.table is None else self._turned(images.table)

    def __len__(self) -> int:
        return len(self.images)

    def picture(self, index: int) -> Picture:
        return turned(self.images.picture(index), self.angle)

    def picture_size(self, index: int) -> tuple[int, int]:
        return canvas(self.images.picture_size(index), self.angle)

    def name(self, index: int) -> str:
        return self.images.name(index)

    def scene(self, index: int) -> str:
        return self.images.scene(index)

    def fingerprint(self) -> str:
        return hash_of([self.images.fingerprint(), self.angle])

    def __iter__(self) -> Iterator[Picture]:
        for picture in self.images:
            yield turned(picture, self.angle)

    def _turned(self, table: KeypointTable) -> KeypointTable:
        xy, box = table.xy.copy(), table.box.copy()
        for index in np.unique(table.image):
            rows = table.image == index
            size = table.sizes[index] if table.sizes else self.images.picture_size(int(index))
            turn = rotated_from_source(size, self.angle)
            xy[rows] = _applied(turn, table.xy[rows])
            middle = table.box[rows, :2] + (table.box[rows, 2:] - 1) / 2
            side = table.box[rows, 2:].max(axis=1, keepdims=True)
            box[rows] = np.concatenate([_applied(turn, middle[None])[0] - (side - 1) / 2, side, side], axis=1)
        xy[~table.labelled] = 0.0
        box[~table.has_box] = 0.0
        sizes = tuple(canvas(size, self.angle) for size in table.sizes)
        return replace(table, xy=xy, box=box, sizes=sizes)


def turned(picture: Picture, angle: float) -> Picture:
    """One picture turned about its middle, on its canvas."""
    size = picture.shape[:2]
    source_from_rotated = affine.inverse(rotated_from_source(size, angle)).float()
    whole = torch.from_numpy(np.ascontiguousarray(picture)).movedim(-1, 0)[None].float()
    out = crop(whole, source_from_rotated, canvas(size, angle))[0].movedim(0, -1)
    return out.round().clamp(0, 255).to(torch.uint8).numpy()


def canvas(size: tuple[int, ...], angle: float) -> tuple[int, int]:
    """(h, w) of the smallest picture that holds one of `size` turned by `angle`."""
    (h, w), c, s = size[:2], abs(math.cos(angle)), abs(math.sin(angle))
    return math.ceil(h * c + w * s - 1e-9), math.ceil(h * s + w * c - 1e-9)  # cos(90 degrees) is 6e-17


def rotated_from_source(size: tuple[int, ...], angle: float) -> Float[Tensor, "1 2 3"]:
    """From pixels of a picture of `size` to pixels of its canvas, in float64."""
    like = torch.zeros((), dtype=torch.float64)
    turn = affine.similarity(like[None] + angle, like[None] + 1, torch.zeros(1, 2, dtype=torch.float64))
    middle = image_centre((size[0], size[1]), like=like)
    shift = image_centre(canvas(size, angle), like=like) - affine.apply(turn, middle[None, None])[0]
    return torch.cat([turn[..., :2], shift[..., None]], dim=-1)


def _applied(turn: Float[Tensor, "1 2 3"], xy: Float[np.ndarray, "*n 2"]) -> Float[np.ndarray, "*n 2"]:
    return affine.apply(turn, torch.from_numpy(xy.reshape(1, -1, 2)))[0].numpy().reshape(xy.shape)
