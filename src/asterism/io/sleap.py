"""SLEAP's files: labels and predictions in .slp (HDF5, needs h5py), and its analysis CSV, which needs none.

A point that SLEAP calls not visible is one that nobody annotated here: its coordinates mean nothing.
Occlusion, boxes and areas are not kept. An individual is SLEAP's track, called track_0, track_1 and so on.
"""

import csv
import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asterism.errors import BadAnnotation, MissingExtra
from asterism.io.atomic import atomic_write, write_text
from asterism.io.csvfile import point_cells, point_table, read_point, read_rows
from asterism.io.locate import relative_name
from asterism.io.names import infer_swap
from asterism.io.table import KeypointTable
from asterism.io.video import VIDEO_SUFFIXES

_FORMAT = 1.2  # since 1.1 a whole number is a pixel's centre; 1.2 has a tracking score
_FRAME = [("frame_id", "<u8"), ("video", "<u4"), ("frame_idx", "<u8")]
_FRAME += [("instance_id_start", "<u8"), ("instance_id_end", "<u8")]
_INSTANCE = [("instance_id", "<i8"), ("instance_type", "u1"), ("frame_id", "<u8"), ("skeleton", "<u4")]
_INSTANCE += [("track", "<i4"), ("from_predicted", "<i8"), ("score", "<f4")]
_INSTANCE += [("point_id_start", "<u8"), ("point_id_end", "<u8"), ("tracking_score", "<f4")]
_POINT = [("x", "<f8"), ("y", "<f8"), ("visible", "?"), ("complete", "?")]
_PREDICTED = [*_POINT, ("score", "<f8")]
_CSV = ["track", "frame_idx", "instance.score"]


def read_slp(path: str | Path) -> KeypointTable:
    """The labels of a .slp file; its predictions where nobody has labelled anything.

    Raises BadAnnotation with the file and the reason; MissingExtra without h5py.
    """
    h5py = require_h5py(f"reading {path}")
    try:
        with h5py.File(path, "r") as file:
            held = {name: file[name][:] for name in ("frames", "instances", "points", "pred_points")}
            about, version = json.loads(file["metadata"].attrs["json"]), file["metadata"].attrs["format_id"]
            videos, tracks = ([json.loads(row) for row in file[f"{n}_json"][:]] for n in ("videos", "tracks"))
        return _table(path, held, about, videos, [track[1] for track in tracks], float(version))
    except (OSError, KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise BadAnnotation(f"{path}: is no .slp file of SLEAP, or is damaged ({reason})") from error


def write_slp(path: str | Path, table: KeypointTable) -> None:
    """Write labels, or predictions where one of the scores is not 1. Rows without a point are left out."""
    h5py = require_h5py(f"writing {path}")
    path = Path(path)
    predicted = bool((table.score[table.labelled] != 1).any())
    videos, place = _videos(table, path.parent)
    tracks = sorted(set(table.individual.tolist()))
    rows = [np.flatnonzero((table.image == i) & table.labelled.any(1)) for i in range(len(table.images))]
    order = np.concatenate([*rows, np.zeros(0, np.int64)]).astype(np.int64)
    ends = np.cumsum([len(own) for own in rows])
    frames = np.zeros(len(rows), _FRAME)
    frames["frame_id"], frames["video"] = np.arange(len(rows)), [video for video, _ in place]
    frames["frame_idx"] = [index for _, index in place]
    frames["instance_id_start"], frames["instance_id_end"] = ends - [len(own) for own in rows], ends
    n, k = len(order), len(table.names)
    instances = np.zeros(n, _INSTANCE)
    instances["instance_id"], instances["instance_type"] = np.arange(n), int(predicted)
    instances["frame_id"], instances["from_predicted"] = table.image[order], -1
    instances["track"] = np.searchsorted(tracks, table.individual[order])
    instances["score"] = _scores(table, order) if predicted else np.nan
    instances["point_id_start"], instances["point_id_end"] = np.arange(n) * k, np.arange(1, n + 1) * k
    points = np.zeros(n * k, _PREDICTED if predicted else _POINT)
    there = table.labelled[order].ravel()
    for name, values in zip("xy", np.moveaxis(table.xy[order].reshape(-1, 2), -1, 0)):
        points[name] = np.where(there, values, np.nan)
    points["visible"] = there
    if predicted:
        points["score"] = np.where(there, table.score[order].ravel(), 0.0)
    empty = np.zeros(0, _POINT if predicted else _PREDICTED)
    with atomic_write(path) as temporary, h5py.File(temporary, "w") as file:
        about = file.create_group("metadata")
        about.attrs["format_id"] = _FORMAT
        about.attrs["json"] = np.bytes_(json.dumps(_about(table)))
        file["videos_json"] = [np.bytes_(json.dumps(video)) for video in videos]
        file["tracks_json"] = [np.bytes_(json.dumps([0, f"track_{track}"])) for track in tracks]
        file["suggestions_json"] = []
        file["frames"], file["instances"] = frames, instances
        file["points"], file["pred_points"] = (empty, points) if predicted else (points, empty)


def is_sleap_csv(path: str | Path) -> bool:
    """Whether a CSV begins as SLEAP's analysis files do."""
    return read_rows(path)[0][:2] == _CSV[:2]


def read_sleap_csv(path: str | Path) -> KeypointTable:
    """The analysis CSV of one clip: its frames are those of the clip of that name that lies beside the file.

    Raises BadAnnotation with the line and the column.
    """
    path = Path(path)
    header, *lines = read_rows(path)
    names, columns = _columns(path, header)
    images: dict[str, int] = {}
    rows: dict[tuple[int, int], int] = {}
    points: list[list[tuple[float, float, float] | None]] = []
    clip = _clip(path)
    tracks = _numbers([cells[0] for cells in lines if cells])
    for line, cells in enumerate(lines, 2):
        if len(cells) != len(header):
            raise BadAnnotation(f"{path}: line {line}: {len(cells)} cells, the header has {len(header)}")
        if not re.fullmatch(r"[0-9]{1,18}(\.0)?", cells[1]):
            raise BadAnnotation(f"{path}: line {line}, column frame_idx: {cells[1]!r} is no whole number")
        image = images.setdefault(f"{clip}#{int(float(cells[1]))}", len(images))
        individual = tracks.get(cells[0], 0)
        while rows.setdefault((image, individual), line) != line:
            individual += 1
        where = f"{path}: line {line}, column"
        points.append([read_point(f"{where} {n}", [cells[i] for i in own]) for n, own in zip(names, columns)])
    return point_table(path, names, list(images), list(rows), points)


def write_sleap_csv(path: str | Path, table: KeypointTable) -> None:
    """A line per individual that has a point. A frame is that of the clip; the place in the order of the
    pictures where they are files or come from several clips."""
    videos, place = _videos(table, Path(path).parent)
    one_clip = len(videos) == 1 and "filenames" not in videos[0]["backend"]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*_CSV, *(f"{name}.{part}" for name in table.names for part in ("x", "y", "score"))])
    score = _scores(table, np.arange(len(table)))
    for row in np.argsort(table.image, kind="stable").tolist():
        if not table.labelled[row].any():
            continue
        image = int(table.image[row])
        frame = place[image][1] if one_clip else image
        track = f"track_{int(table.individual[row])}"
        writer.writerow([track, frame, repr(float(score[row])), *point_cells(table, row, 3)])
    write_text(path, out.getvalue())


# ----------------------------------------------------------------------------------------------------- pieces


def require_h5py(purpose: str) -> Any:
    """The module. Raises MissingExtra, which says what to install."""
    try:
        import h5py
    except ImportError as error:
        raise MissingExtra("h5py", "sleap", purpose) from error
    return h5py


def _scores(table: KeypointTable, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """The mean score of each row's points."""
    there = table.labelled[rows]
    return np.where(there, table.score[rows], 0.0).sum(1) / np.maximum(there.sum(1), 1)


def _videos(table: KeypointTable, folder: Path) -> tuple[list[dict[str, Any]], list[tuple[int, int]]]:
    """SLEAP's videos, and (video, frame) of every picture: a clip is one, all files together are one more."""
    clips: dict[str, int] = {}
    files: list[str] = []
    place: list[tuple[str, int]] = []
    for name in table.images:
        clip, mark, frame = name.rpartition("#")
        if mark and frame.isascii() and frame.isdigit() and len(frame) < 18:
            clips.setdefault(relative_name(clip, folder), len(clips))
            place.append((relative_name(clip, folder), int(frame)))
        else:
            place.append(("", len(files)))
            files.append(relative_name(name, folder))
    backends: list[dict[str, Any]] = [
        {"filename": clip, "grayscale": False, "bgr": True, "dataset": "", "input_format": "channels_last"}
        for clip in clips
    ]
    if files:
        size = table.sizes[0] if len(set(table.sizes)) == 1 else (None, None)
        shape = {"height_": size[0], "width_": size[1], "channels_": 3}
        pictures = {"type": "ImageVideo", "filename": files[0], "filenames": files, "grayscale": False}
        backends.append(pictures | shape)
    videos = [{"filename": backend["filename"], "backend": backend} for backend in backends]
    return videos, [(clips.get(clip, len(clips)), frame) for clip, frame in place]


def _about(table: KeypointTable) -> dict[str, Any]:
    """SLEAP's metadata: one skeleton, whose links are edges (kind 1) and mirror pairs (kind 2)."""
    pairs = [(a, b, 1) for a, b in table.edges]
    pairs += [(a, b, 2) for a, b in enumerate(table.swap) if a < b]
    known: list[int] = []
    links = []
    for at, (a, b, kind) in enumerate(pairs):
        if kind in known:
            named: dict[str, Any] = {"py/id": known.index(kind) + 1}
        else:
            known.append(kind)
            named = {"py/reduce": [{"py/type": "sleap.skeleton.EdgeType"}, {"py/tuple": [kind]}]}
        links.append({"edge_insert_idx": at, "key": 0, "source": a, "target": b, "type": named})
    skeleton = {
        "directed": True,
        "graph": {"name": "Skeleton-0", "num_edges_inserted": len(links)},
        "links": links,
        "multigraph": True,
        "nodes": [{"id": i} for i in range(len(table.names))],
    }
    nodes = [{"name": name, "weight": 1.0} for name in table.names]
    lists = {"videos": [], "tracks": [], "suggestions": [], "negative_anchors": {}, "provenance": {}}
    return {"version": "2.0.0", "skeletons": [skeleton], "nodes": nodes, **lists}


def _skeleton(path: str | Path, about: dict[str, Any]) -> tuple[list[str], list[Any], tuple[int, ...]]:
    """Names, edges and mirror pairs."""
    if len(about["skeletons"]) != 1:
        raise BadAnnotation(f"{path}: skeletons: holds {len(about['skeletons'])}, wanted one")
    skeleton = about["skeletons"][0]
    skeleton = skeleton.get("nx_graph", skeleton)
    ids = [node["id"] for node in skeleton["nodes"]]
    names = [str(about["nodes"][i]["name"]) for i in ids]
    if not names or len(set(names)) != len(names):
        raise BadAnnotation(f"{path}: nodes: wanted names that differ, found {names}")
    known: list[int] = []
    edges, swap = [], list(range(len(names)))
    for link in skeleton["links"]:
        if "py/reduce" in link["type"]:
            known.append(int(link["type"]["py/reduce"][1]["py/tuple"][0]))
            kind = known[-1]
        else:
            number = int(link["type"]["py/id"])
            kind = known[number - 1] if 0 < number <= len(known) else number
        a, b = ids.index(link["source"]), ids.index(link["target"])
        if kind == 1 and a != b and (a, b) not in edges:
            edges.append((a, b))
        if kind == 2:
            swap[a], swap[b] = b, a
    mirrored = swap != list(range(len(names))) and all(swap[swap[i]] == i for i in range(len(names)))
    return names, edges, tuple(swap) if mirrored else infer_swap(names)


def _table(
    path: str | Path,
    held: dict[str, Any],
    about: dict[str, Any],
    videos: list[dict[str, Any]],
    tracks: list[str],
    version: float,
) -> KeypointTable:
    names, edges, swap = _skeleton(path, about)
    numbers, k = _numbers(tracks), len(names)
    frames = [_picture(videos[int(frame["video"])], int(frame["frame_idx"])) for frame in held["frames"]]
    if not frames:
        raise BadAnnotation(f"{path}: frames: is empty; there is nothing to learn from")
    images = list(dict.fromkeys(frames))
    index = {name: i for i, name in enumerate(images)}
    place = {int(frame["frame_id"]): index[name] for frame, name in zip(held["frames"], frames)}
    labels = bool((held["instances"]["instance_type"] == 0).any())
    rows: dict[tuple[int, int], None] = {}
    points: list[list[tuple[float, float, float] | None]] = []
    for one in held["instances"]:
        if (one["instance_type"] == 0) != labels:
            continue
        image, track = place[int(one["frame_id"])], int(one["track"])
        individual = numbers[tracks[track]] if track >= 0 else len(tracks)
        while (image, individual) in rows:
            individual += 1
        rows[image, individual] = None
        own = held["points" if labels else "pred_points"][int(one["point_id_start"]) :][:k]
        points.append([_point(point, 0.5 if version < 1.1 else 0.0, labels) for point in own])
        if len(own) != k or not np.isfinite([p for p in points[-1] if p is not None]).all():
            raise BadAnnotation(
                f"{path}: instance {len(points) - 1}: wanted {k} points, finite or not at all"
            )
    table = point_table(path, names, images, list(rows), points)
    return replace(table, edges=tuple(edges), swap=swap)


def _point(point: Any, corner: float, label: bool) -> tuple[float, float, float] | None:
    """x, y and score; `corner` is where older files have the centre of the first pixel."""
    x, y = float(point["x"]) - corner, float(point["y"]) - corner
    if not point["visible"] or math.isnan(x) or math.isnan(y):
        return None
    score = 1.0 if label else float(point["score"])
    return x, y, 1.0 if math.isnan(score) else score


def _picture(video: dict[str, Any], frame: int) -> str:
    backend = video.get("backend", video)
    if "filenames" in backend:
        return str(backend["filenames"][frame])
    return f"{backend.get('filename', video.get('filename'))}#{frame}"


def _numbers(tracks: list[str]) -> dict[str, int]:
    """track_3 is individual 3; other names count as they come, and no name is individual 0."""
    named = list(dict.fromkeys(track for track in tracks if track))
    matches = [re.fullmatch(r"track_(0|[1-9]\d{0,8})", name) for name in named]
    if all(matches):
        return {name: int(match[1]) for name, match in zip(named, matches) if match}
    return {name: i for i, name in enumerate(named)}


def _columns(path: Path, header: list[str]) -> tuple[list[str], list[list[int]]]:
    """Names of the points, and where x, y and, if there is one, the score of each are."""
    if header[:2] != _CSV[:2]:
        raise BadAnnotation(f"{path}: header: begins with {header[:2]}, wanted {', '.join(_CSV)}")
    at = {column: i for i, column in enumerate(header)}
    names = list(dict.fromkeys(c.rpartition(".")[0] for c in header[2:] if c.endswith((".x", ".y"))))
    columns = []
    for name in names:
        for part in ("x", "y"):
            if f"{name}.{part}" not in at:
                raise BadAnnotation(f"{path}: header: has no column {name}.{part}")
        columns.append([at[f"{name}.{part}"] for part in ("x", "y", "score") if f"{name}.{part}" in at])
    if not names:
        raise BadAnnotation(f"{path}: header: has no keypoints; wanted columns like nose.x, nose.y")
    return names, columns


def _clip(path: Path) -> str:
    """The clip an analysis file is about: clip.mp4 for clip.csv and for clip.analysis.csv."""
    stem = path.stem.removesuffix(".analysis")
    return next((stem + s for s in VIDEO_SUFFIXES if (path.parent / (stem + s)).is_file()), stem)
