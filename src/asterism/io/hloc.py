"""hloc's HDF5 files of matches and keypoints; needs h5py.

Matches: the groups name0/name1 with `matches0` (for each feature of name0 the index in name1, -1 for none)
and `matching_scores0`; slashes in names are written as dashes. Keypoints: name/keypoints (N 2), pixels at
centres, as ours, and name/image_size (w, h). matches0 is int16 in hloc, so an image has at most 32767
keypoints there.
"""

from pathlib import Path
from typing import Any

import numpy as np

from asterism.errors import BadMatches, MissingExtra, RequestError
from asterism.io.atomic import atomic_write
from asterism.io.pairs import block_matrix, consistent_pairs
from asterism.matches import Matches, Tracks

_MOST = int(np.iinfo(np.int16).max)


def read_hloc_matches(path: str | Path, features: str | Path | None = None) -> Matches:
    """Matches of a pairs file; with `features`, the file of keypoints, also how many there are, and where.

    Without it an image has as many features as its matches speak of. Raises BadMatches with the file and
    field.
    """
    h5py = _h5py(f"reading {path}")
    try:
        with h5py.File(path, "r") as file:
            pairs = _pairs(file)
        keypoints = _keypoints(h5py, features) if features is not None else {}
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise BadMatches(
            f"{path}: is no file of hloc matches (name0/name1/matches0), or is damaged ({error})"
        ) from error
    names = list(dict.fromkeys([*keypoints, *(name for pair in pairs for name in pair[:2])]))
    place = {name: i for i, name in enumerate(names)}
    counts = np.zeros(len(names), dtype=np.int64)
    for one, two, matched, _ in pairs:
        counts[place[one]] = max(counts[place[one]], len(matched))
        counts[place[two]] = max(counts[place[two]], int(matched.max(initial=-1)) + 1)
    xy, sizes = None, ()
    if features is not None:
        if missing := [name for name in names if name not in keypoints]:
            raise BadMatches(f"{features}: holds no keypoints of {missing[0]}, which {path} matches")
        counts = np.array([len(keypoints[name][0]) for name in names], dtype=np.int64)
        xy = np.concatenate([keypoints[name][0] for name in names])
        known = [keypoints[name][1] for name in names]
        sizes = [size for size in known if size is not None]
    listed = []
    for one, two, matched, score in pairs:
        held = np.flatnonzero(matched >= 0)
        listed.append((place[one], place[two], np.stack([held, matched[held]], axis=1), score[held]))
    w = block_matrix(str(path), counts, listed)
    return Matches.of(w, counts, xy, names, sizes if len(sizes) == len(names) else (), where=str(path))


def write_hloc_matches(path: str | Path, tracks: Tracks, matches: Matches) -> None:
    """The tracks as hloc's matches, one group for each pair that had matches."""
    h5py = _h5py(f"writing {path}")
    if not matches.names:
        raise RequestError(f"-o {path}: hloc's matches go by image names, which the input lacks; write .npz")
    if matches.counts.max(initial=0) > _MOST:
        raise RequestError(f"-o {path}: hloc's matches0 holds at most {_MOST} features per image; write .npz")
    names = [name.replace("/", "-") for name in matches.names]
    with atomic_write(path) as temporary, h5py.File(temporary, "w") as file:
        for i, j, index, weight in consistent_pairs(tracks, matches):
            group = file.create_group(f"{names[i]}/{names[j]}")
            matched = np.full(matches.counts[i], -1, dtype=np.int16)
            score = np.zeros(matches.counts[i], dtype=np.float16)
            matched[index[:, 0]], score[index[:, 0]] = index[:, 1], weight
            group["matches0"], group["matching_scores0"] = matched, score


def _pairs(file: Any) -> list[tuple[str, str, np.ndarray, np.ndarray]]:
    found = []
    for one in file:
        for two in file[one]:
            group = file[one][two]
            matched = np.asarray(group["matches0"][:], dtype=np.int64)
            score = group["matching_scores0"][:] if "matching_scores0" in group else np.ones(len(matched))
            found.append((one, two, matched, np.maximum(score.astype(np.float64), 1e-6)))
    return found


def _keypoints(h5py: Any, path: str | Path) -> dict[str, tuple[np.ndarray, tuple[int, int] | None]]:
    """By the name as pairs write it: xy and (h, w)."""
    found: dict[str, tuple[np.ndarray, tuple[int, int] | None]] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Group) and "keypoints" in item:
            size = item["image_size"][:] if "image_size" in item else None
            hw = None if size is None else (int(size[1]), int(size[0]))
            found[name.replace("/", "-")] = (np.asarray(item["keypoints"][:, :2], dtype=np.float64), hw)

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return found


def _h5py(purpose: str) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise MissingExtra("h5py", "sleap", purpose) from error
    return h5py
