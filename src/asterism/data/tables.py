"""Label tables and the sets they belong to: take some of their pictures, name their points, hash them."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray

from asterism.io.table import KeypointTable
from asterism.types import Skeleton

_ROW_FIELDS = ("individual", "xy", "labelled", "visible", "score", "box", "has_box", "area")


def skeleton_of(table: KeypointTable) -> Skeleton:
    """What the table's points are called. Raises ValueError, naming the field, when they do not fit."""
    return Skeleton(names=table.names, edges=table.edges, swap=table.swap, sigma=table.sigma)


def take_pictures(table: KeypointTable, indices: Sequence[int] | NDArray[np.int64]) -> KeypointTable:
    """The table of some pictures: picture j of the result is picture indices[j]. Rows keep their order."""
    chosen = np.asarray(indices, dtype=np.int64)
    new = np.full(len(table.images), -1, dtype=np.int64)
    new[chosen] = np.arange(len(chosen))
    rows = np.flatnonzero(new[table.image] >= 0)
    sizes = tuple(table.sizes[i] for i in chosen) if table.sizes else ()
    images = tuple(table.images[i] for i in chosen)
    columns = {name: getattr(table, name)[rows] for name in _ROW_FIELDS}
    return replace(table, images=images, sizes=sizes, image=new[table.image[rows]], **columns)


def some_rows(table: KeypointTable, rows: NDArray[np.int64] | NDArray[np.bool_]) -> KeypointTable:
    """Some rows, over all pictures."""
    columns = {name: getattr(table, name)[rows] for name in ("image", *_ROW_FIELDS)}
    return replace(table, **columns)


def joined(tables: Sequence[KeypointTable]) -> KeypointTable:
    """One table of many with the same points: pictures and rows one after the other."""
    first, shift, image = tables[0], 0, []
    for table in tables:
        image.append(table.image + shift)
        shift += len(table.images)
    columns = {name: np.concatenate([getattr(t, name) for t in tables]) for name in _ROW_FIELDS}
    images = tuple(name for table in tables for name in table.images)
    sizes = tuple(size for table in tables for size in table.sizes)
    sizes = sizes if len(sizes) == len(images) else ()
    return replace(first, images=images, sizes=sizes, image=np.concatenate(image), **columns)


def hash_of(parts: Iterable[object], table: KeypointTable | None = None) -> str:
    """SHA-256, in hex, of what identifies a set: its `parts` (as text) and its labels."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{part}\0".encode())
    if table is not None:
        digest.update("\0".join(table.names).encode())
        for f in fields(table):
            column = getattr(table, f.name)
            if isinstance(column, np.ndarray):
                digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()
