"""OpenPose's JSON: a folder of NAME_keypoints.json, one per picture or frame, with people in it.

The body is BODY_25, COCO_18 or MPI_15, told by how many numbers there are; hands (21 points each) and face
(70) follow where somebody has them. A point 0, 0, 0 was not found; the third number is its confidence and
becomes the score, cut at 1. Numbers are taken as they stand, for OpenPose draws them so: its own refinement
adds half a pixel to what it has found on the network's map whatever the scale is, and that is neither
convention. Only --keypoint_scale 0, the default, gives pixels of the source; files scaled to 0..1 or -1..1
are refused.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from asterism.errors import BadAnnotation, RequestError
from asterism.io.atomic import write_json
from asterism.io.fields import Entry, as_object, kind, numbers, read_json
from asterism.io.images import IMAGE_SUFFIXES
from asterism.io.labelled import labelled_table
from asterism.io.skeleton import Skeleton, published
from asterism.io.table import KeypointTable
from asterism.io.video import VIDEO_SUFFIXES

_END = "_keypoints.json"
_BODIES = {25: "body-25", 18: "coco-18", 15: "mpi-15"}
_BODY, _FACE = "pose_keypoints_2d", "face_keypoints_2d"
_LEFT, _RIGHT = "hand_left_keypoints_2d", "hand_right_keypoints_2d"
_PARTS = {_FACE: ("face", 70), _LEFT: ("hand_left", 21), _RIGHT: ("hand_right", 21)}


def is_openpose(folder: Path) -> bool:
    """Whether a folder holds files of OpenPose."""
    return next(folder.glob("*" + _END), None) is not None


def read_openpose(path: str | Path) -> KeypointTable:
    """A folder of files, or one of them. Files without people count as pictures with nobody in them.

    The rows of a picture are its people in the order of the file; OpenPose does not follow anybody through a
    clip. Raises BadAnnotation naming the file, the person and the field.
    """
    path = Path(path)
    files = sorted(path.glob("*" + _END)) if path.is_dir() else [path]
    if not files:
        raise BadAnnotation(f"{path}: holds no files that end in {_END}")
    people = [(i, n, one) for i, file in enumerate(files) for n, one in enumerate(_people(file))]
    used: dict[str, int] = {}
    for i, n, one in people:
        for field in (_BODY, *_PARTS):
            _count(files[i], n, one, field, used)
    if _BODY not in used and not used:
        raise BadAnnotation(f"{path}: nobody was found in any of its {len(files)} files; there are no points")
    skeleton = _skeleton(used)
    rows = [
        [v for field in used for v in (one.get(field) or [0.0] * 3 * used[field])] for _, _, one in people
    ]
    values = np.array(rows, dtype=np.float64).reshape(len(people), len(skeleton.names), 3)
    labelled = values[..., 2] > 0
    if labelled.any() and np.abs(values[..., :2][labelled]).max() <= 1:
        raise BadAnnotation(
            f"{path}: {_BODY}: all numbers are within -1..1, so they are no pixels; write the files "
            f"again with "
            "--keypoint_scale 0"
        )
    return labelled_table(
        path,
        skeleton,
        [_picture(file) for file in files],
        [i for i, _, _ in people],
        values[..., :2],
        labelled,
        score=np.minimum(values[..., 2], 1.0),
        individual=[n for _, n, _ in people],
    )


def write_openpose(folder: str | Path, table: KeypointTable) -> None:
    """Write NAME_keypoints.json per picture into a folder, which is made. Names are those of the pictures.

    The table must have the names of body-25, coco-18 or mpi-15, and may have hands and a face after them, as
    `read_openpose` gives them. Raises RequestError for other points, and where two pictures have one name.
    """
    folder = Path(folder)
    fields = _fields(table.names)
    stems = [_stem(name) for name in table.images]
    if twice := sorted({stem for stem in stems if stems.count(stem) > 1})[:1]:
        raise RequestError(
            f"{folder}: two pictures would be written to {twice[0]}{_END}; give them own names"
        )
    people: list[list[Entry]] = [[] for _ in stems]
    for row in np.lexsort((table.individual, table.image)).tolist():
        values = np.concatenate([table.xy[row], table.score[row][:, None]], axis=1)
        values = np.where(table.labelled[row][:, None], values, 0.0)
        one: Entry = {"person_id": [-1]} | {field: [] for field in (_BODY, *_PARTS)}
        for field, (begin, end) in fields.items():
            one[field] = values[begin:end].ravel().tolist()
        people[int(table.image[row])].append(one)
    folder.mkdir(parents=True, exist_ok=True)
    for stem, found in zip(stems, people):
        write_json(folder / (stem + _END), {"version": 1.3, "people": found})


def _people(file: Path) -> list[Entry]:
    document = as_object(file, read_json(file), "the file")
    found = document.get("people")
    if not isinstance(found, list):
        raise BadAnnotation(f"{file}: people: wanted a list, found {kind(found)}")
    return [as_object(file, one, f"people[{n}]") for n, one in enumerate(found)]


def _count(file: Path, n: int, one: Entry, field: str, used: dict[str, int]) -> None:
    """Check a field and note how many points it has; an absent or empty one says nothing."""
    values: Any = one.get(field)
    if values is None or values == []:
        return
    where = f"people[{n}].{field}"
    if not isinstance(values, list) or len(values) % 3:
        raise BadAnnotation(f"{file}: {where}: wanted x, y, confidence for every point, found {kind(values)}")
    k = len(values) // 3
    numbers(file, values, where, 3 * k)
    wanted = tuple(_BODIES) if field == _BODY else (_PARTS[field][1],)
    if k not in wanted:
        raise BadAnnotation(f"{file}: {where}: {k} points, wanted {' or '.join(map(str, wanted))}")
    if used.setdefault(field, k) != k:
        raise BadAnnotation(f"{file}: {where}: {k} points, others have {used[field]}; read the models apart")


def _skeleton(used: dict[str, int]) -> Skeleton:
    """The body's, with the names of hands and face behind it. `used` is put in the order of the parts."""
    held = dict(used)
    used.clear()
    used |= {field: held[field] for field in (_BODY, *_PARTS) if field in held}
    body = published(_BODIES[used[_BODY]]) if _BODY in used else Skeleton(names=())
    if list(used) == [_BODY]:
        return body
    names, edges = body.names, body.edges
    for field in [part for part in used if part != _BODY]:
        name, k = _PARTS[field]
        if field != _FACE:
            start = len(names)
            edges += tuple((a + start, b + start) for a, b in published("hand-21").edges)
        names += tuple(f"{name}{i}" for i in range(k))
    return Skeleton(names=names, edges=edges)


def _fields(names: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    """Where in a table each field's points are."""
    fields: dict[str, tuple[int, int]] = {}
    at = 0
    for k, body in _BODIES.items():
        if names[:k] == published(body).names:
            fields[_BODY], at = (0, k), k
            break
    for field, (name, k) in _PARTS.items():
        if names[at : at + k] == tuple(f"{name}{i}" for i in range(k)):
            fields[field], at = (at, at + k), at + k
    if not fields or at != len(names):
        raise RequestError(
            f"OpenPose's files hold {', '.join(_BODIES.values())} with hands and face; these "
            f"{len(names)} points "
            f"({', '.join(names[:3])}, ...) are others. Write COCO (.json) or .csv instead"
        )
    return fields


def _stem(name: str) -> str:
    """a/b.png: b; clip.mp4#12: clip_000000000012, as OpenPose counts frames."""
    file, mark, frame = name.rpartition("#")
    return f"{Path(file).stem}_{int(frame):012d}" if mark and frame.isdigit() else Path(name).stem


def _picture(file: Path) -> str:
    """The picture or the frame of a clip that a file is about, where one lies beside it, else the bare
    name."""
    stem = file.name.removesuffix(_END) if file.name.endswith(_END) else file.stem
    frame = re.fullmatch(r"(.+)_(\d{12})", stem)
    for folder in (file.parent, file.parent.parent, file.parent.parent / "images"):
        for suffix in IMAGE_SUFFIXES:
            if (folder / (stem + suffix)).is_file():
                return str(folder / (stem + suffix))
        for suffix in VIDEO_SUFFIXES if frame else ():
            if frame and (folder / (frame[1] + suffix)).is_file():
                return f"{folder / (frame[1] + suffix)}#{int(frame[2])}"
    return stem
