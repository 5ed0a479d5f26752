"""A KeypointTable from arrays, with the checks that every reader of a fixed skeleton needs."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asterism.errors import BadAnnotation
from asterism.io.locate import locate
from asterism.io.skeleton import Skeleton
from asterism.io.table import KeypointTable


def labelled_table(
    path: str | Path,
    skeleton: Skeleton,
    images: list[str],
    image: list[int],
    xy: NDArray[Any],
    labelled: NDArray[np.bool_],
    *,
    visible: NDArray[np.bool_] | None = None,
    score: NDArray[np.float64] | None = None,
    individual: list[int] | None = None,
    box: NDArray[np.float64] | None = None,
    sizes: tuple[tuple[int, int], ...] = (),
) -> KeypointTable:
    """N rows of K points: `image` is the place of each row's picture in `images`. xy "N K 2", the rest "N K".

    Without `individual` the rows of a picture are counted; a `box` "N 4" without a side is none. Raises
    BadAnnotation where there is no row at all, or a labelled point is not finite.
    """
    if not image:
        raise BadAnnotation(f"{path}: holds no labelled keypoints; there is nothing to learn or to measure")
    k = len(skeleton.names)
    xy = np.asarray(xy, dtype=np.float64).reshape(len(image), k, 2)
    labelled = labelled.reshape(len(image), k)
    for n, point in np.argwhere(labelled & ~np.isfinite(xy).all(-1))[:1]:
        raise BadAnnotation(
            f"{path}: '{images[image[n]]}', {skeleton.names[point]}: {xy[n, point].tolist()} is not finite"
        )
    if individual is None:
        seen: dict[int, int] = {}
        individual = [seen[at] for at in image if seen.update({at: seen.get(at, -1) + 1}) is None]
    box = np.zeros((len(image), 4)) if box is None else box
    return KeypointTable(
        names=skeleton.names,
        images=locate(images, path),
        image=np.array(image, dtype=np.int64),
        individual=np.array(individual, dtype=np.int64),
        xy=np.where(labelled[..., None], xy, 0.0),
        labelled=labelled,
        visible=labelled if visible is None else labelled & visible.reshape(labelled.shape),
        score=labelled.astype(np.float64) if score is None else np.where(labelled, score, 0.0),
        box=box,
        has_box=np.all(box[:, 2:] > 0, axis=1),
        area=np.zeros(len(image)),
        sizes=sizes,
        edges=skeleton.edges,
        swap=skeleton.swap,
        sigma=skeleton.sigma,
        source=str(path),
    )


def placed(names: list[str]) -> tuple[list[str], list[int]]:
    """The pictures, each once in the order they come, and the place of every name among them."""
    index: dict[str, int] = {}
    at = [index.setdefault(name, len(index)) for name in names]
    return list(index), at
