"""Label Studio: its JSON export (keypoints, and boxes that hold them together), and pre-annotations for it.

Label Studio counts in percent of the picture from its upper left corner to its lower right, so 0 % is half a
pixel outside the first pixel's centre: x = percent / 100 x width, less a half. What is written is exact to
the rounding of a division.

Points of one label: who belongs together is said by `parentID`, the box a point was put into. Where a picture
has every label at most once, nobody need say it. Of several annotations of a task the first that was not
cancelled counts; `predictions` count where there is no annotation.
"""

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import numpy as np

from asterism.errors import BadAnnotation, RequestError
from asterism.io.atomic import write_json
from asterism.io.fields import Entry, as_object, kind, number, numbers
from asterism.io.images import image_size
from asterism.io.labelled import labelled_table
from asterism.io.locate import relative_name
from asterism.io.names import infer_swap
from asterism.io.skeleton import Skeleton, known_skeleton
from asterism.io.table import KeypointTable

_HALF = 0.5  # of a pixel: from a corner to the centre
_LOCAL = "/data/local-files/"


def read_label_studio(path: str | Path, tasks: list[Any]) -> KeypointTable:
    """The tasks of an export. Names come in the order in which the file first has them; give a skeleton file
    where the order matters. Raises BadAnnotation naming the task and the field."""
    images: list[str] = []
    sizes: list[tuple[int, int]] = []
    rows: list[tuple[int, dict[str, tuple[float, float, float]], list[float]]] = []
    names: dict[str, None] = {}
    for t, task in enumerate(tasks):
        where = f"[{t}]"
        images.append(_image(path, where, as_object(path, task, where)))
        results, score = _results(path, where, task)
        size, people = _people(path, where, results, score)
        sizes.append(size)
        for points, box in people:
            names |= dict.fromkeys(points)
            rows.append((t, points, box))
    if not names:
        raise BadAnnotation(f"{path}: no task has a result of type 'keypointlabels'; there are no points")
    if twice := sorted({name for name in images if images.count(name) > 1})[:1]:
        raise BadAnnotation(f"{path}: the picture '{twice[0]}' is in several tasks; wanted one task for each")
    skeleton = known_skeleton(tuple(names)) or Skeleton(names=tuple(names), swap=infer_swap(tuple(names)))
    values = np.array(
        [[points.get(name, (0.0, 0.0, 0.0)) for name in names] for _, points, _ in rows], dtype=np.float64
    )
    labelled = np.array([[name in points for name in names] for _, points, _ in rows], dtype=bool)
    return labelled_table(
        path,
        skeleton,
        images,
        [t for t, _, _ in rows],
        values[..., :2],
        labelled,
        score=values[..., 2],
        box=np.array([box for _, _, box in rows]),
        sizes=tuple(sizes) if all(min(size) > 0 for size in sizes) else (),
    )


def write_label_studio(path: str | Path, table: KeypointTable) -> None:
    """Write pre-annotations: tasks to import, with a prediction each, that people then correct.

    Every individual is a box (the table's, else the one around its points) with its points as children.
    Pictures are named for Label Studio's local storage, as seen from the file's folder. Raises RequestError
    where a picture's size is not known and the picture is not there to be measured.
    """
    path = Path(path)
    tasks: list[Entry] = []
    for i, name in enumerate(table.images):
        h, w = table.sizes[i] if table.sizes else _measured(name)
        rows = np.flatnonzero(table.image == i)
        found = [entry for row in rows for entry in _regions(table, int(row), h, w)]
        scores = [
            float(table.score[row][table.labelled[row]].mean()) for row in rows if table.labelled[row].any()
        ]
        prediction = {"model_version": "asterism", "score": float(np.mean(scores or [0.0])), "result": found}
        local = f"{_LOCAL}?d={quote(relative_name(name, path.parent))}"
        tasks.append({"data": {"image": local}, "predictions": [prediction]})
    write_json(path, tasks)


def label_studio_config(names: tuple[str, ...]) -> str:
    """The labelling interface that the pre-annotations of `write_label_studio` fit: paste it into
    Settings."""
    from xml.sax.saxutils import quoteattr

    labels = "\n".join(f"    <Label value={quoteattr(name)}/>" for name in names)
    return (
        '<View>\n  <Image name="image" value="$image"/>\n'
        f'  <KeyPointLabels name="keypoint" toName="image">\n{labels}\n  </KeyPointLabels>\n'
        '  <RectangleLabels name="box" toName="image">\n    <Label value="object"/>\n'
        "  </RectangleLabels>\n</View>\n"
    )


# ----------------------------------------------------------------------------------------------- reading


def _image(path: str | Path, where: str, task: Entry) -> str:
    data = as_object(path, task.get("data"), f"{where}.data")
    found = next((v for key, v in data.items() if key in ("image", "img", "url", "picture")), None)
    found = next((v for v in data.values() if isinstance(v, str)), None) if found is None else found
    if not isinstance(found, str) or not found:
        raise BadAnnotation(f"{path}: {where}.data.image: wanted a picture's address, found {kind(found)}")
    parts = urlsplit(found)
    if parts.path == _LOCAL and "d" in (query := parse_qs(parts.query)):
        return query["d"][0]
    if parts.path.startswith("/data/upload/"):  # eight letters and a hyphen stand before the name
        return re.sub(r"^[0-9a-f]{8}-", "", Path(parts.path).name)
    return Path(parts.path).name if parts.scheme else found


def _results(path: str | Path, where: str, task: Entry) -> tuple[list[Entry], float | None]:
    for field in ("annotations", "predictions"):
        held = task.get(field) or []
        if not isinstance(held, list):
            raise BadAnnotation(f"{path}: {where}.{field}: wanted a list, found {kind(held)}")
        for n, one in enumerate(held):
            one = as_object(path, one, f"{where}.{field}[{n}]")
            if one.get("was_cancelled"):
                continue
            found, name = one.get("result"), f"{where}.{field}[{n}].result"
            if not isinstance(found, list):
                raise BadAnnotation(f"{path}: {name}: wanted a list, found {kind(found)}")
            results = [as_object(path, entry, f"{name}[{i}]") for i, entry in enumerate(found)]
            return results, None if field == "annotations" else 1.0
    return [], None


_Person = tuple[dict[str, tuple[float, float, float]], list[float]]


def _people(
    path: str | Path, where: str, results: list[Entry], score: float | None
) -> tuple[tuple[int, int], list[_Person]]:
    """(h, w) and, per individual, its points (x, y, score) by name and its box."""
    size = (0, 0)
    boxes: dict[str, list[float]] = {}
    points: dict[str, dict[str, tuple[float, float, float]]] = {}
    for i, entry in enumerate(results):
        kind_of, field = entry.get("type"), f"{where}.result[{i}]"
        if kind_of not in ("keypointlabels", "rectanglelabels"):
            continue
        w, h = (
            int(number(path, entry.get(f"original_{n}"), f"{field}.original_{n}"))
            for n in ("width", "height")
        )
        if min(w, h) < 1:
            raise BadAnnotation(
                f"{path}: {field}.original_width: wanted a size of 1 or more, found {w} x {h}"
            )
        size = (h, w)
        value = as_object(path, entry.get("value"), f"{field}.value")
        x, y = numbers(path, [value.get("x"), value.get("y")], f"{field}.value.x, y", 2)
        at = [x / 100 * w - _HALF, y / 100 * h - _HALF]
        if kind_of == "rectanglelabels":
            sides = numbers(
                path, [value.get("width"), value.get("height")], f"{field}.value.width, height", 2
            )
            boxes[str(entry.get("id"))] = [*at, sides[0] / 100 * w, sides[1] / 100 * h]
            continue
        labels = value.get("keypointlabels")
        if not isinstance(labels, list) or len(labels) != 1 or not isinstance(labels[0], str):
            raise BadAnnotation(f"{path}: {field}.value.keypointlabels: wanted one name, found {labels}")
        own = points.setdefault(str(entry.get("parentID") or ""), {})
        if labels[0] in own:
            place = "box" if entry.get("parentID") else "picture"
            raise BadAnnotation(
                f"{path}: {field}: a second '{labels[0]}' in the same {place}; draw a box around each "
                "individual and drag its points into it"
            )
        sure = 1.0 if score is None else number(path, entry.get("score", score), f"{field}.score")
        own[labels[0]] = (at[0], at[1], sure)
    unknown = [0.0] * 4
    return size, [(own, boxes.get(parent, unknown)) for parent, own in points.items()]


# ----------------------------------------------------------------------------------------------- writing


def _regions(table: KeypointTable, row: int, h: int, w: int) -> list[Entry]:
    labelled = table.labelled[row]
    if not labelled.any():
        return []
    parent = f"box{row}"
    if table.has_box[row]:
        x, y, width, height = table.box[row].tolist()
    else:
        low, high = table.xy[row][labelled].min(0), table.xy[row][labelled].max(0)
        (x, y), (width, height) = low.tolist(), np.maximum(high - low, 1.0).tolist()
    about = {"to_name": "image", "original_width": w, "original_height": h, "image_rotation": 0}
    sides = {
        "width": 100 * width / w,
        "height": 100 * height / h,
        "rotation": 0,
        "rectanglelabels": ["object"],
    }
    place = {"x": 100 * (x + _HALF) / w, "y": 100 * (y + _HALF) / h}
    found: list[Entry] = [
        {"id": parent, "type": "rectanglelabels", "from_name": "box", **about, "value": place | sides}
    ]
    for k in np.flatnonzero(labelled).tolist():
        px, py = table.xy[row, k].tolist()
        value = {"x": 100 * (px + _HALF) / w, "y": 100 * (py + _HALF) / h, "width": 0.5}
        value |= {"keypointlabels": [table.names[k]]}
        entry = {"id": f"point{row}-{k}", "type": "keypointlabels", "from_name": "keypoint", **about}
        found.append(entry | {"parentID": parent, "score": float(table.score[row, k]), "value": value})
    return found


def _measured(name: str) -> tuple[int, int]:
    try:
        return image_size(name)
    except RequestError as error:
        raise RequestError(
            f"Label Studio counts in percent, and the size of '{name}' is neither in the labels nor to "
            f"be measured: {error}"
        ) from error
