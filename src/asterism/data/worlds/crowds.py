"""Points of people who overlap, without pictures: the bodies of `figures`, as dense as one wants."""

import numpy as np
from jaxtyping import Float

from asterism.data.worlds.figure_body import assemble, random_wear
from asterism.data.worlds.figure_pose import random_pose
from asterism.types import Skeleton

_TRIES, _PLACES = 2000, 20  # tried for one person before the crowd is called too dense; of them with one pose


def crowd(
    random: np.random.Generator,
    skeleton: Skeleton,
    people: int,
    size: tuple[int, int],
    *,
    apart: int | float,
    alone: int | float = 0.0,
    stature: tuple[float, float] = (0.35, 0.9),
) -> Float[np.ndarray, "P K 2"]:
    """xy of `people` persons wholly inside a picture of `size` (h, w), in pixels.

    They overlap freely, except that two points of one kind are at least `apart` pixels from each other
    (nearer ones would be one peak of a map), and limbs of one kind may cross but not lie upon each other:
    along half its length a limb is `alone` pixels from every other of its kind (else their fields are one
    mean). Zero asks for nothing. `stature` is their range of heights as shares of the picture's height.
    Raises ValueError when the picture is too full for one more.
    """
    h, w = size
    found = np.zeros((0, len(skeleton), 2))
    body = np.zeros((len(skeleton), 2))
    for _ in range(people):
        for attempt in range(_TRIES):
            if attempt % _PLACES == 0:
                pose, tall = random_pose(random), float(random.uniform(*stature) * h)
                body = assemble(pose, random_wear(random), skeleton, tall, np.zeros(2), 0).xy
                body = body - body.min(0)
            room = np.array([w - 1, h - 1]) - body.max(0)
            if (room < 0).any():
                continue
            xy = body + random.uniform(0, 1, 2) * room
            if len(found) == 0 or _separable(found, xy, skeleton, apart, alone):
                found = np.concatenate([found, xy[None]])
                break
        else:
            raise ValueError(f"{people} people {apart} pixels apart do not fit into {h} x {w} pixels")
    return found


def _separable(
    found: Float[np.ndarray, "P K 2"],
    xy: Float[np.ndarray, "K 2"],
    skeleton: Skeleton,
    apart: int | float,
    alone: int | float,
) -> bool:
    if np.linalg.norm(found - xy, axis=-1).min() < apart:
        return False
    if not alone or not skeleton.edges:
        return True
    first, second = np.array(skeleton.edges).T
    old, new = (np.stack([at[..., first, :], at[..., second, :]], -2) for at in (found, xy))
    free = _beside(old, new[None]), _beside(new[None], old)
    return bool(min(f.min() for f in ((free[0] >= alone).mean(-1), (free[1] >= alone).mean(-1))) >= 0.5)


def _beside(one: Float[np.ndarray, "P L 2 2"], other: Float[np.ndarray, "Q L 2 2"]) -> np.ndarray:
    """Distances of 10 places along each limb of one to the same limb of the other."""
    t = np.linspace(0, 1, 10)[:, None]
    places = one[..., None, 0, :] * (1 - t) + one[..., None, 1, :] * t  # P L 10 2
    start, along = other[..., None, 0, :], (other[..., 1, :] - other[..., 0, :])[..., None, :]
    reach = ((places - start) * along).sum(-1) / np.maximum((along**2).sum(-1), 1e-12)
    return np.linalg.norm(places - start - reach.clip(0, 1)[..., None] * along, axis=-1)
