"""Random changes of a training crop, drawn once and then applied to picture, affine and points alike."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from asterism.geometry import affine
from asterism.geometry.coords import image_centre
from asterism.types import Augment, LabelledImages


@dataclass(frozen=True, kw_only=True)
class Change:
    """One draw from an Augment. Angle in radians, shift in crop pixels (x, y)."""

    angle: float
    scale: float
    shift: tuple[float, float]
    brightness: float
    contrast: float
    flip: bool


def draw(augment: Augment, size: tuple[int, int], random: np.random.Generator) -> Change:
    """A change for a crop of `size` (h, w). The same generator state gives the same change."""
    u = random.uniform(-1.0, 1.0, size=6)
    h, w = size
    return Change(
        angle=math.radians(augment.rotation) * u[0],
        scale=1.0 + augment.scale * u[1],
        shift=(augment.shift * w * u[2], augment.shift * h * u[3]),
        brightness=augment.brightness * u[4],
        contrast=augment.contrast * u[5],
        flip=bool(random.uniform() < augment.flip),
    )


def crop_from_changed(change: Change, size: tuple[int, int], *, like: Tensor) -> Float[Tensor, "1 2 3"]:
    """From pixels of the changed crop to pixels of the plain one, turned, scaled and mirrored.

    A scale above 1 makes the object larger; composing this affine before sampling costs no interpolation.
    """
    middle = image_centre(size, like=like)[None]
    turn = affine.similarity(like.new_tensor([change.angle]), like.new_tensor([1 / change.scale]), middle * 0)
    mirror = turn.clone()
    if change.flip:
        mirror[:, :, 0] = -mirror[:, :, 0]
    start = affine.apply(mirror, -(middle + like.new_tensor([change.shift]))[:, None])[:, 0]
    return torch.cat([mirror[..., :2], (middle + start)[..., None]], dim=-1)


def recolour(image: Float[Tensor, "B 3 H W"], change: Change) -> Float[Tensor, "B 3 H W"]:
    """Contrast about the picture's mean, then brightness as a factor; stays in [0, 1]."""
    mean = image.mean(dim=(1, 2, 3), keepdim=True)
    image = (image - mean) * (1 + change.contrast) + mean
    return (image * (1 + change.brightness)).clamp(0, 1)


def mirror_points(batch: LabelledImages, swap: tuple[int, ...]) -> LabelledImages:
    """In a mirrored picture the left paw is where the right one was: exchange the columns of the points."""
    order = torch.tensor(swap)
    xy, labelled, visible = batch.xy[:, order], batch.labelled[:, order], batch.visible[:, order]
    return replace(batch, xy=xy, labelled=labelled, visible=visible)
