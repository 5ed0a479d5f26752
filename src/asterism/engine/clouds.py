"""Keypoints of scans and shapes that a user names, by a method without weights or by a run, into one file.

A method without weights sees every point of a scan, thinned out evenly where there are very many, and the
surface of a mesh, sampled. A run sees as many points as it learned from. Either way the points come out in
the coordinates of the file, in double precision.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from asterism import catalogue
from asterism.data.cloud_sets import CloudFiles, batch_of, open_clouds, surface_points, unit_box
from asterism.engine.bars import bar
from asterism.engine.runs import Run
from asterism.engine.team import pick_device
from asterism.engine.weights import load_weights
from asterism.errors import BadCloud, RequestError
from asterism.io.cloud import READERS, read_cloud
from asterism.io.cloud_points import CloudPoints, check_points_format, write_points
from asterism.io.images import IMAGE_SUFFIXES
from asterism.io.points import Cloud
from asterism.io.video import VIDEO_SUFFIXES
from asterism.methods.base import Method
from asterism.ops.cloud_sampling import cell_means, grid_cells
from asterism.ops.cloud_scale import voxel_for
from asterism.types import Clouds

_MOST = 30_000  # points that a method without weights looks at: 3 s of one core
_SURFACE = 20_000  # points drawn from the surface of a mesh
_LARGEST = 100_000  # keypoints: more are no selection

# What draws: the name of the cloud, the points that were looked at, and what was found.
Draw = Callable[[str, Float[np.ndarray, "N 3"], CloudPoints], None]


@dataclass(frozen=True, kw_only=True)
class Watcher:
    """A method of clouds that is ready. `learned` ones find points that mean the same on every shape, or as
    many as they were made for; of the others K is free.
    """

    method: Method
    learned: bool
    source: str  # what the user typed
    device: str = "cpu"


def is_of_clouds(what: str) -> bool:
    """Whether a run folder, or the name of a method, looks at clouds; False for anything else."""
    row = catalogue.entries().get(method_of(what))
    return row is not None and row.takes == "Clouds"


def method_of(what: str) -> str:
    """The name of a run's method; what is no run's folder as it is, and nothing for a damaged run."""
    path = Path(what) / "run.json"
    if not path.is_file():
        return what
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["method"])
    except (ValueError, KeyError, TypeError):
        return ""


def watcher(what: str, k: int | None, device: str = "auto") -> Watcher:
    """A run of clouds, or a method of clouds without weights that gives at most k points.

    Raises RequestError for methods that have to learn first, and for an impossible k.
    """
    if k is not None and not 1 <= k <= _LARGEST:
        raise RequestError(f"-k {k}: wanted a whole number from 1 to {_LARGEST}, such as -k 128")
    if (Path(what) / "run.json").is_file():
        method, _ = load_weights(Run(Path(what)).best)
        at = str(pick_device(device))
        return Watcher(method=method.to(at), learned=True, source=what, device=at)
    row = catalogue.entry(what)
    if row.learns_from:
        raise RequestError(
            f"{what}: has to learn first: asterism train {what} SHAPES -o RUN, "
            "then: asterism predict RUN scan.ply -o points.csv"
        )
    cls = catalogue.method_class(what)
    config = cls.presets["paper"]
    config = config if k is None else replace(config, n_keypoints=k)
    return Watcher(method=cls(config), learned=False, source=what)


def predict_clouds(
    what: str,
    inputs: Sequence[str],
    output: Path,
    *,
    k: int | None = None,
    drop_nonfinite: bool = False,
    draw: Draw | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Keypoints of all clouds (files, folders, world:NAME) into one .csv, .json or .ply; returns its numbers.

    `fewer` names the clouds in which fewer than k points stood out. Raises RequestError (or BadCloud, naming
    the file) before anything is written.
    """
    names = [name for given in inputs for name in _files(given, what)]
    check_points_format(output, len(names))
    looks = watcher(what, k, device)
    wanted = k or looks.method.config.n_keypoints
    began, found, seen = time.monotonic(), [], 0
    with bar(looks.method.name) as progress:
        for number, (name, cloud) in enumerate(_clouds(inputs, what, drop_nonfinite)):
            points, one = look(looks, name, cloud, k)
            found.append(one)
            seen += len(points)
            if draw is not None:
                draw(name, points, one)
            progress((number + 1) / len(names), name)
    write_points(output, found, looks.method.name)
    return {
        "output": str(output),
        "method": looks.method.name,
        "clouds": len(found),
        "points": sum(len(one.number) for one in found),
        "fewer": [f"{one.file}: {len(one.number)} of {wanted}" for one in found if len(one.number) < wanted],
        "looked_at": seen,
        "seconds": time.monotonic() - began,
    }


def look(
    looks: Watcher, name: str, cloud: Cloud, k: int | None = None
) -> tuple[Float[np.ndarray, "N 3"], CloudPoints]:
    """The points that were looked at, and the keypoints, both in the coordinates of the cloud.

    Raises BadCloud for a cloud whose points are all in one place.
    """
    try:
        middle = unit_box(cloud.points)[:3, 3]
        local = replace(cloud, points=cloud.points - middle)  # far from the origin single precision is coarse
        batch = _learned_batch(looks.method, local) if looks.learned else _whole_batch(local)
    except (BadCloud, ValueError) as error:
        raise BadCloud(f"{name}: {error}") from error
    told = looks.method.predict(batch.to(looks.device)).to("cpu")
    rows = np.flatnonzero(told.valid[0].numpy())
    score = told.score[0].double().numpy()
    if looks.learned and k is not None:
        rows = _best(looks, rows, score, k)
    seen = batch.points[0].double().numpy() * float(batch.to_source[0, 0, 0])
    return seen + batch.to_source[0, :3, 3].double().numpy() + middle, CloudPoints(
        file=name,
        number=rows,
        xyz=told.xyz[0].double().numpy()[rows] + middle,
        score=score[rows],
        sigma=None if told.sigma is None else told.sigma[0].double().numpy()[rows],
    )


def _best(looks: Watcher, rows: np.ndarray, score: np.ndarray, k: int) -> np.ndarray:
    """The k best rows, in the method's own order."""
    if k < len(rows) and np.ptp(score[rows]) == 0:
        raise RequestError(
            f"-k {k}: the {len(rows)} points of {looks.source} have no order of merit; leave -k out"
        )
    return np.sort(rows[np.argsort(-score[rows], kind="stable")[:k]])


def _learned_batch(method: Method, cloud: Cloud) -> Clouds:
    """As the method learned: that many points, in the box of the shape."""
    return batch_of(cloud, method.config.n_points, np.random.default_rng(0))


def _whole_batch(cloud: Cloud) -> Clouds:
    """All points, at most 30,000 of them, in double precision; of a mesh, points of its surface."""
    mesh = cloud.faces is not None and len(cloud.faces) > 0
    if mesh:
        points, normals = surface_points(cloud, _SURFACE, np.random.default_rng(0))
    else:
        kept = thinned(cloud.points, _MOST)
        points, normals = cloud.points[kept], None if cloud.normals is None else cloud.normals[kept]
    matrix = unit_box(points)
    return Clouds(
        points=torch.from_numpy((points - matrix[:3, 3]) / matrix[0, 0])[None],
        valid=torch.ones(1, len(points), dtype=torch.bool),
        to_source=torch.from_numpy(matrix)[None],
        normals=None if normals is None else torch.from_numpy(normals)[None],
    )


def thinned(points: Float[np.ndarray, "N 3"], most: int) -> np.ndarray:
    """Rows of about `most` points (every row where there are not more), spread evenly: of each cell of a grid
    the point nearest to their mean.
    """
    if len(points) <= most:
        return np.arange(len(points))
    voxel = voxel_for(points, most)
    if voxel == 0:
        return np.arange(len(points))
    cells = grid_cells(points, voxel)
    gap = ((points - cell_means(points, cells)[cells]) ** 2).sum(1)
    order = np.lexsort((gap, cells))
    return np.sort(order[np.diff(cells[order], prepend=-1) != 0])


def _files(given: str, what: str) -> list[str]:
    """The names of the clouds behind one input. Raises RequestError for a picture or a clip."""
    suffix = Path(given).suffix.lower()
    if suffix in (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES):
        kind = "picture" if suffix in IMAGE_SUFFIXES else "clip"
        raise RequestError(
            f"{given}: is a {kind}, and {what} looks at clouds ({', '.join(READERS)}); "
            f"for {kind}s name a run that learned from pictures: asterism predict RUN {given} -o points.csv"
        )
    shapes = open_clouds(given)
    if isinstance(shapes, CloudFiles):
        return [str(path) for path in shapes.files]
    return [shapes.name(i) for i in range(len(shapes))]


def _clouds(inputs: Sequence[str], what: str, drop: bool) -> Iterator[tuple[str, Cloud]]:
    for given in inputs:
        shapes = open_clouds(given)
        for i in range(len(shapes)):
            if isinstance(shapes, CloudFiles):
                path = shapes.files[i]
                yield str(path), read_cloud(path, drop_nonfinite=drop)
            else:
                yield shapes.name(i), shapes.cloud(i)
