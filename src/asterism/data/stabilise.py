"""A camera that moves, held still: where it looked in every picture, and what lies behind the objects.

Each picture is laid on a key picture before it (data/registration), so that errors add up over key pictures
only. Pictures that look at one place share a panorama: at every place the median of what was seen there, as
the median picture is of a still camera. From there the background of any one picture is read back.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from asterism.data.base import ImageSet, Picture
from asterism.data.foreground import MEDIAN_OF, Background, difference, levels_of, middle_of, working_shrink
from asterism.data.ghosts import TOLD_BY, ghosts
from asterism.data.registration import (
    GAIN,
    Map,
    Pyramid,
    align,
    applied,
    bars,
    corners_of,
    grown,
    pyramid,
    shift_between,
    shrunk,
    unlike,
)
from asterism.geometry.coords import uv_from_xy
from asterism.ops.sampling import sample

_SIDE = 640  # longest side of a picture in its panorama
_CANVAS = 3.0  # a panorama has at most so many times the sides of a picture
_ZOOM = 1.5  # and shows its pictures at most so much larger or smaller
_SEEN_BY = 5  # pictures that must show a place: as many as a still camera's background needs
_SAMPLES = 61  # pictures a panorama is made of: it is seen by parts, so more than a still camera's
_OVERLAP = 0.6  # of the key picture must be in sight, else the last picture becomes the key
_LIKE = 0.25  # likeness under which two pictures are not of one scene
_FADES = 0.7  # of its first likeness: a key picture that is less like what is seen is replaced
_HELP = 200  # pictures before and after those of a panorama that may show a part of it
_DIM = 8  # grey levels: darker places do not tell how bright the light is
_STRIP = 64  # rows of a panorama that are worked on at a time
_MOST_BYTES = 512 << 20  # of all panoramas of a scene


@dataclass(frozen=True, kw_only=True)
class Held:
    """A scene held still: T pictures, P panoramas.

    A panorama is a picture of any size, H W 4: its fourth channel is 255 where enough pictures showed the
    place. `placed` are panorama_from_picture, in pixels of both.
    """

    panoramas: tuple[NDArray[np.uint8], ...]
    which: NDArray[np.int64]  # T: the panorama of each picture
    placed: NDArray[np.float64]  # T 3 3
    travel: float  # how far the camera moves, as a share of the picture's longest side; inf across a cut
    level: Background  # how far a picture must differ; its picture is the first panorama


def behind(panorama: NDArray[np.uint8], placed: Map, picture: Picture) -> Picture:
    """The background of one picture, H W 3, as its panorama shows it.

    What nobody has seen is the picture itself: nothing is known to have changed there. Elsewhere it is the
    colour nearest to the picture's within a pixel around, because no camera's path is known better than that.
    """
    h, w = picture.shape[:2]
    x, y = np.meshgrid(np.arange(w, dtype=np.float64), np.arange(h, dtype=np.float64))
    at = torch.from_numpy(applied(placed, np.stack([x.ravel(), y.ravel()], -1))).float()[None]
    layers = torch.from_numpy(panorama).movedim(-1, 0)[None].float()
    seen = sample(layers, at)[0].numpy().reshape(h, w, 4)
    known = (seen[..., 3] > 254.5) & ~grown(bars(picture), 2)
    colour = _as_bright(seen[..., :3], picture, known)
    low = ndimage.minimum_filter(colour, (3, 3, 1))
    high = ndimage.maximum_filter(colour, (3, 3, 1))
    return np.where(known[..., None], np.clip(picture, low, high), picture)


def _as_bright(colour: NDArray[np.floating], picture: Picture, known: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The background in the picture's light: each channel times the median ratio of the two."""
    some = known[::3, ::3] & (colour[::3, ::3].min(-1) > _DIM)
    if some.sum() > 20:
        colour = colour * np.median(picture[::3, ::3][some] / colour[::3, ::3][some], axis=0)
    return colour.round().clip(0, 255).astype(np.uint8)


def hold(scene: ImageSet) -> Held | None:
    """Follow the camera and lay the pictures together. None when a set has no order in time, or fewer than
    five pictures, or sees too many places to be held in memory."""
    if not scene.is_clip or len(scene) < _SEEN_BY:
        return None
    size = scene.picture_size(0)
    scene_from_picture, reel = camera_path(scene)
    parts = _parts(scene_from_picture, reel, size)
    plans = [_plan(scene_from_picture, reel, part, size) for part in parts]
    if sum(4 * plan.size[0] * plan.size[1] for plan in plans) > _MOST_BYTES:
        return None
    panoramas, values = [], []
    for plan, pictures in _shown(scene, plans):
        panoramas.append(_panorama(plan, pictures, working_shrink(size)))
        own = [t for t in plan.samples if t in plan.own]
        some = own[:: -(-len(own) * len(plans) // MEDIAN_OF)]
        values += _differences(panoramas[-1], plan, {t: pictures[t] for t in some}, working_shrink(size))
    return Held(
        panoramas=tuple(panoramas),
        which=np.concatenate([np.full(len(part), i) for i, part in enumerate(parts)]),
        placed=np.stack([plan.places[t] for plan, part in zip(plans, parts) for t in part]),
        travel=_travel(scene_from_picture, reel, size),
        level=levels_of(panoramas[0], np.stack(values), working_shrink(size)),
    )


# ------------------------------------------------------------------------------------------------- the camera


def camera_path(scene: ImageSet) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """scene_from_picture (T 3 3), and the number of the reel: pictures of two reels do not fit together.

    The scene's pixels are those of the first picture of the reel. A camera that was never seen to move, as
    before a wall without texture, stands still.
    """
    maps, reels, gains = [np.eye(3)], [0], []
    key: Pyramid | None = None
    before = key
    scene_from_key, first_likeness = np.eye(3), 1.0
    for picture in scene:
        now = pyramid(picture)
        if key is None or before is None:
            key = before = now
            continue
        last_from_key = np.linalg.inv(maps[-1]) @ scene_from_key
        shift = shift_between(before, now)
        found = align(key, now, (shift @ last_from_key, last_from_key))
        if found.overlap < _OVERLAP or found.likeness < max(_LIKE, _FADES * first_likeness):
            key, scene_from_key = before, maps[-1]
            found = align(key, now, (shift, np.eye(3)))
            first_likeness = found.likeness
        gains.append(found.residual / max(unlike(key, now, np.eye(3)), 1e-9))
        if found.likeness < _LIKE:  # a cut
            key, scene_from_key, first_likeness = now, np.eye(3), 1.0
            maps.append(np.eye(3))
            reels.append(reels[-1] + 1)
        else:
            maps.append(scene_from_key @ np.linalg.inv(found.b_from_a))
            reels.append(reels[-1])
        before = now
    if np.percentile(gains, 25) > GAIN:
        return np.tile(np.eye(3), (len(maps), 1, 1)), np.zeros(len(maps), np.int64)
    return np.stack(maps), np.array(reels)


def _travel(maps: NDArray[np.float64], reel: NDArray[np.int64], size: tuple[int, int]) -> float:
    """The ninth decile of how far the corners lie from their median place, as a share of the longest side."""
    if reel[-1]:
        return np.inf
    seen = np.stack([applied(m, corners_of(size)) for m in maps])
    away = np.linalg.norm(seen - np.median(seen, axis=0), axis=-1).mean(1)
    return float(np.percentile(away, 90)) / max(size)


# ---------------------------------------------------------------------------------------------- the panoramas


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """A panorama to be made: size (h, w), and panorama_from_picture of every picture that shows in it."""

    size: tuple[int, int]
    places: dict[int, Map]
    own: range
    samples: tuple[int, ...]


def _parts(maps: NDArray[np.float64], reel: NDArray[np.int64], size: tuple[int, int]) -> list[range]:
    """Runs of pictures that fit on one canvas each."""
    corners, limit = corners_of(size), _CANVAS * np.array(size[::-1])
    parts, start = [], 0
    low = high = corners
    for t in range(len(maps)):
        seen = applied(np.linalg.inv(maps[start]) @ maps[t], corners)
        low, high = np.minimum(low, seen.min(0)), np.maximum(high, seen.max(0))
        zoom = np.linalg.norm(seen[3] - seen[0]) / np.linalg.norm(corners[3])
        if reel[t] != reel[start] or (high - low > limit).any() or not 1 / _ZOOM < zoom < _ZOOM:
            parts.append(range(start, t))
            start, low, high = t, corners.min(0), corners.max(0)
    return [*parts, range(start, len(maps))]


def _plan(maps: NDArray[np.float64], reel: NDArray[np.int64], part: range, size: tuple[int, int]) -> _Plan:
    """The canvas of the pictures of `part`, seen from the one in the middle; their neighbours help out."""
    shrink = max(1, round(max(size) / _SIDE))
    middle = part[len(part) // 2]
    zero = uv_from_xy(torch.zeros(2, dtype=torch.float64), shrink).numpy()
    smaller = np.array([[1 / shrink, 0, zero[0]], [0, 1 / shrink, zero[1]], [0, 0, 1]])
    view = smaller @ np.linalg.inv(maps[middle])
    every = np.concatenate([applied(view @ maps[t], corners_of(size)) for t in part])
    low, high = np.floor(every.min(0)), np.ceil(every.max(0))
    view = np.array([[1, 0, -low[0]], [0, 1, -low[1]], [0, 0, 1]]) @ view
    w, h = (high - low + 1).astype(int).tolist()
    centre = corners_of(size).mean(0, keepdims=True)
    near = range(max(0, part.start - _HELP), min(len(maps), part.stop + _HELP))
    near = [t for t in near if reel[t] == reel[middle]]
    over = [applied(view @ maps[t], centre)[0] for t in near]
    helps = [t for t, (x, y) in zip(near, over) if 0 <= x < w and 0 <= y < h]
    chosen = np.unique(np.linspace(0, len(helps) - 1, _SAMPLES).round().astype(int))
    return _Plan(
        size=(h, w),
        places={t: view @ maps[t] for t in helps},
        own=part,
        samples=tuple(helps[i] for i in chosen.tolist()),
    )


def _shown(scene: ImageSet, plans: list[_Plan]) -> Iterator[tuple[_Plan, dict[int, Picture]]]:
    """Every plan with the pictures it is made of, in one pass; a picture is let go when no plan waits."""
    held: dict[int, Picture] = {}
    waiting = list(plans)
    wanted = {t for plan in plans for t in plan.samples}
    for t, picture in enumerate(scene):
        if t in wanted:
            held[t] = picture
        while waiting and waiting[0].samples[-1] <= t:
            plan = waiting.pop(0)
            yield plan, {i: held[i] for i in plan.samples}
            needed = {i for plan in waiting for i in plan.samples}
            held = {i: picture for i, picture in held.items() if i in needed}


def _median(
    plan: _Plan, pictures: dict[int, Picture], real: dict[int, NDArray[np.bool_]], least: int
) -> NDArray[np.uint8]:
    """H W 4: at every place the median of what the pictures show where they are `real`, if enough do."""
    h, w = plan.size
    out = np.zeros((h, w, 4), np.uint8)
    order = sorted(pictures)
    for top in range(0, h, _STRIP):
        rows = min(_STRIP, h - top)
        values, shown = np.zeros((len(order), rows, w, 3), np.uint8), np.zeros((len(order), rows, w), bool)
        for i, t in enumerate(order):
            columns, colour, seen = _looked_up(pictures[t], real[t], plan.places[t], top, rows, w)
            values[i, :, columns], shown[i, :, columns] = colour, seen
        colour, known = middle_of(values, shown, least)
        out[top : top + rows, :, :3] = np.where(known[..., None], colour, 0)
        out[top : top + rows, :, 3] = np.where(known, 255, 0)
    return out


def _panorama(plan: _Plan, pictures: dict[int, Picture], shrink: int) -> NDArray[np.uint8]:
    """What the camera saw, without animals that rested somewhere for a while."""
    real = {t: ~grown(bars(picture), 2) for t, picture in pictures.items()}
    out = _median(plan, pictures, real, _SEEN_BY)
    level = levels_of(out, np.stack(_differences(out, plan, pictures, shrink)), shrink)
    shows = {t: ghosts(p, behind(out, plan.places[t], p), level) for t, p in pictures.items()}
    if sum(mask.any() for mask in shows.values()) < TOLD_BY:
        return out
    cured = _median(plan, pictures, shows, TOLD_BY)
    return np.where((cured[..., 3:] > 0) & (out[..., 3:] > 0), cured, out)


def _differences(
    panorama: NDArray[np.uint8], plan: _Plan, pictures: dict[int, Picture], shrink: int
) -> list[NDArray[np.float32]]:
    """How far each picture lies from its background, on the working grid."""
    return [
        shrunk(difference(picture, behind(panorama, plan.places[t], picture)), shrink)
        for t, picture in pictures.items()
    ]


def _looked_up(
    picture: Picture, real: NDArray[np.bool_], place: Map, top: int, rows: int, width: int
) -> tuple[slice, NDArray[np.uint8], NDArray[np.bool_]]:
    """What a picture shows of a strip of its panorama: the columns it can touch, colours, and where."""
    h, w = picture.shape[:2]
    x = applied(place, corners_of((h, w)))[:, 0]
    columns = slice(max(0, int(x.min())), max(0, min(width, int(x.max()) + 2)))
    x, y = np.meshgrid(
        np.arange(columns.start, columns.stop, dtype=np.float64), np.arange(float(top), top + rows)
    )
    picture_from_place: Map = np.linalg.inv(place).astype(np.float64)
    at = applied(picture_from_place, np.stack([x.ravel(), y.ravel()], -1)).clip(-9, 9 + max(h, w))
    near = np.rint(at).astype(np.int64)
    seen = np.asarray(((at >= 0) & (at <= (w - 1, h - 1))).all(-1), bool)
    seen[seen] = real[near[seen, 1], near[seen, 0]]
    layers = torch.from_numpy(picture).movedim(-1, 0)[None].float()
    colour = sample(layers, torch.from_numpy(at).float()[None])[0].numpy()
    shape = (rows, x.shape[1])
    return columns, colour.round().clip(0, 255).astype(np.uint8).reshape(*shape, 3), seen.reshape(shape)
