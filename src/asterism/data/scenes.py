"""The scenes of a set and what lies behind their objects: a still picture, or what a moving camera saw."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from asterism.data.base import ImageSet, Picture
from asterism.data.foreground import MOST_NOISE, Background, background_of, median_of, samples_of
from asterism.data.ghosts import without_ghosts
from asterism.data.moments import count_objects
from asterism.data.registration import applied, wander
from asterism.data.stabilise import behind, hold

MOST = 0.35  # of the picture: more foreground than this is a moving camera or a change of scene
_MOVES = 0.003  # of the picture's longest side: two pixels of 640


class Scene(ImageSet):
    """The pictures of one scene as a set of their own."""

    def __init__(self, images: ImageSet, members: NDArray[np.int64]) -> None:
        self.title = images.title
        self.members = members
        self._images = images
        self._all = len(members) == len(images)
        self.is_clip = (images.is_clip and self._all) or images.scenes_are_clips

    def __len__(self) -> int:
        return len(self.members)

    def picture(self, index: int) -> Picture:
        return self._images.picture(int(self.members[index]))

    def picture_size(self, index: int) -> tuple[int, int]:
        return self._images.picture_size(int(self.members[index]))

    def name(self, index: int) -> str:
        return self._images.name(int(self.members[index]))

    def fingerprint(self) -> str:
        return self._images.fingerprint()

    def __iter__(self):
        return iter(self._images) if self._all else super().__iter__()


def scenes_of(images: ImageSet) -> list[Scene]:
    """In the order in which they begin."""
    names = np.array([images.scene(j) for j in range(len(images))])
    return [Scene(images, np.flatnonzero(names == name)) for name in dict.fromkeys(names.tolist())]


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What lies behind the objects of a scene of T pictures.

    `backgrounds` is one picture, or the panoramas of a moving camera (data/stabilise); then `which` and
    `placed` say where each picture lies in them. `level` says how far a picture must differ.
    """

    scene: Scene
    level: Background
    share: float  # median share of a picture that is foreground
    seen: int  # objects that can be counted in it
    backgrounds: tuple[NDArray[np.uint8], ...]
    which: NDArray[np.int64]  # T
    placed: NDArray[np.float64] | None = None  # T 3 3
    moves: bool = False  # the camera does; else it is the light

    @property
    def steady(self) -> bool:
        """Whether the pictures agree with it, but for what moves in front."""
        return self.share <= MOST and self.level.noise <= MOST_NOISE

    def behind(self, t: int, picture: Picture) -> Picture:
        """The background of picture `t` of the scene."""
        still = self.backgrounds[int(self.which[t])]
        return still if self.placed is None else behind(still, self.placed[t], picture)

    def moved(self, centre: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """How points T N 2 move against the scene from picture to picture, in the picture's pixels and along
        its axes; None where the camera stands still."""
        if self.placed is None or not self.moves:
            return None
        steps = np.diff(centre, axis=0)  # across the picture, where the scene goes on in another panorama
        for t in np.flatnonzero(np.diff(self.which) == 0).tolist():
            this_from_later = np.linalg.inv(self.placed[t]) @ self.placed[t + 1]
            steps[t] = applied(this_from_later, centre[t + 1]) - centre[t]
        return (np.concatenate([steps[:1], steps]) + np.concatenate([steps, steps[-1:]])) / 2


def ground_of(scene: Scene, remembered: Picture | None = None) -> Ground | None:
    """The ground of a scene; the remembered one for pictures too few to have their own, None without either.

    A camera that moves, or light that changes, is followed where that helps; where it does not, the ground is
    not `steady`.
    """
    sizes = {scene.picture_size(j) for j in range(len(scene))}
    if len(sizes) > 1:
        return None
    some = samples_of(scene)
    if some is not None:
        level = background_of(median_of(some), some)
    elif remembered is not None and sizes == {remembered.shape[:2]}:
        level = background_of(remembered, [scene.picture(j) for j in range(len(scene))])
    else:
        return None
    drifts = some is not None and scene.is_clip and wander(some) >= _MOVES
    if some is not None and level.noise <= MOST_NOISE and not drifts:
        level = without_ghosts(level, some)
    still = _ground(scene, level, (level.picture,), np.zeros(len(scene), np.int64))
    if still.steady and not drifts:
        return still
    held = hold(scene)
    if held is None:
        return still
    moving = _ground(scene, held.level, held.panoramas, held.which)
    moving = replace(moving, placed=held.placed, moves=held.travel >= _MOVES)
    return moving if moving.steady and (moving.moves or not still.steady) else still


def _ground(
    scene: Scene, level: Background, backgrounds: tuple[NDArray[np.uint8], ...], which: NDArray[np.int64]
) -> Ground:
    """With what the samples say; they are not kept."""
    share, seen = level.share, count_objects(level.weights())
    level = replace(level, samples=level.samples[:0].copy())
    return Ground(scene=scene, level=level, share=share, seen=seen, backgrounds=backgrounds, which=which)
