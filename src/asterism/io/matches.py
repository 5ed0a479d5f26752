"""Matches of many images in our npz, and the tracks found in them; other tools' files are in hloc.py and
colmap.py.

Matches: `data, indices, indptr, shape` (the symmetric block matrix as CSR), `counts` (features per image),
and where known `xy` (N 2, pixels at centres), `names` and `sizes` (h, w). Tracks: `labels` (-1 for none),
`confidence`, `counts`.
"""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from asterism.errors import BadMatches, RequestError
from asterism.io.atomic import atomic_write
from asterism.io.colmap import read_colmap_matches, write_colmap_matches
from asterism.io.hloc import read_hloc_matches, write_hloc_matches
from asterism.matches import Matches, Tracks

_NEEDED = ("data", "indices", "indptr", "shape", "counts")


def read_matches(path: str | Path, features: str | Path | None = None) -> Matches:
    """Matches of a .npz of ours, a .h5 of hloc (with `features`, its file of keypoints) or a COLMAP .db.

    Raises BadMatches with the file and the field; RequestError for another kind of file.
    """
    path = Path(path)
    if not path.is_file():
        raise RequestError(f"{path}: no such file; wanted matches as .npz, .h5 (hloc) or .db (COLMAP)")
    if path.suffix == ".npz":
        return read_npz(path)
    if path.suffix in (".h5", ".hdf5"):
        return read_hloc_matches(path, features)
    if path.suffix == ".db":
        return read_colmap_matches(path)
    raise RequestError(f"{path}: wanted matches as .npz, .h5 (hloc) or .db (COLMAP), not '{path.suffix}'")


def read_npz(path: str | Path) -> Matches:
    """Matches of our npz. Raises BadMatches with the file and the field."""
    held = _arrays(Path(path), _NEEDED)
    shape = held["shape"].tolist()
    try:
        w = sparse.csr_array((held["data"], held["indices"], held["indptr"]), shape=tuple(shape))
        w.check_format(full_check=True)
    except (ValueError, TypeError, IndexError) as error:
        raise BadMatches(f"{path}: data, indices, indptr and shape are no CSR matrix ({error})") from error
    names = [str(name) for name in held.get("names", [])]
    sizes = [(int(h), int(w)) for h, w in held.get("sizes", np.zeros((0, 2)))]
    return Matches.of(w, held["counts"], held.get("xy"), names, sizes, where=str(path))


def write_npz(path: str | Path, matches: Matches) -> None:
    """Write matches in the form that read_npz reads."""
    held: dict[str, np.ndarray] = {
        "data": matches.w.data,
        "indices": matches.w.indices,
        "indptr": matches.w.indptr,
        "shape": np.array(matches.w.shape),
        "counts": matches.counts,
    }
    if matches.xy is not None:
        held["xy"] = matches.xy
    if matches.names:
        held["names"] = np.array(matches.names)
    if matches.sizes:
        held["sizes"] = np.array(matches.sizes)
    _save(path, held)


def write_tracks(path: str | Path, tracks: Tracks, matches: Matches, source: str | Path = "") -> None:
    """Tracks as .npz; or as consistent matches between the pairs that had matches: .h5 (hloc) or .db
    (COLMAP).

    `source`: the COLMAP database the matches came from, whose images and cameras the new one takes over.
    """
    path = Path(path)
    if path.suffix == ".npz":
        _save(path, {"labels": tracks.labels, "confidence": tracks.confidence, "counts": tracks.counts})
    elif path.suffix in (".h5", ".hdf5"):
        write_hloc_matches(path, tracks, matches)
    elif path.suffix == ".db":
        write_colmap_matches(path, tracks, matches, source)
    else:
        raise RequestError(f"-o {path}: wanted a name that ends with .npz, .h5 (hloc) or .db (COLMAP)")


def read_tracks(path: str | Path) -> Tracks:
    """Tracks of an npz. Raises BadMatches with the file and the field."""
    held = _arrays(Path(path), ("labels", "confidence", "counts"))
    try:
        return Tracks(
            labels=held["labels"].astype(np.int64), confidence=held["confidence"], counts=held["counts"]
        )
    except ValueError as error:
        raise BadMatches(f"{path}: {error}") from error


def _arrays(path: Path, needed: tuple[str, ...]) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            held = {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise BadMatches(f"{path}: is no npz of numbers, or is damaged ({error})") from error
    if missing := [name for name in needed if name not in held]:
        raise BadMatches(f"{path}: lacks {', '.join(missing)}; wanted {', '.join(needed)}")
    return held


def _save(path: str | Path, held: dict[str, Any]) -> None:
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **held)
