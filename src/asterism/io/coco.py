"""COCO keypoint files: annotations in and out, and lists of results.

Coordinates are taken as they stand: whole numbers are pixel centres. `skeleton` counts from 1 in the file and
from 0 in a table. COCO says neither which points mirror each other nor OKS constants; they are read from the
category's `flip_pairs` and `sigmas` where a file has them (both are written) and from the names otherwise.
A skeleton that does not fit the keypoints is left out, or is the published one of these names: published
files carry one of another data set. What else they get wrong is set right by `cocosets`.
Annotations of crowds (iscrowd 1) are left out, too. In files without a single v = 2, v = 1 counts as visible:
they say "labelled" with it.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asterism.errors import BadAnnotation
from asterism.io.atomic import write_json
from asterism.io.cocosets import published_form
from asterism.io.fields import Entry, as_object, entries, kind, number, numbers, read_json, unique
from asterism.io.locate import locate, relative_name
from asterism.io.names import infer_swap
from asterism.io.skeleton import known_sigma, known_skeleton
from asterism.io.table import KeypointTable


def read_coco(path: str | Path) -> KeypointTable:
    """An annotation file (person_keypoints_*.json and its like). Raises BadAnnotation: file, field, why."""
    path = Path(path)
    document = _document(path)
    images = entries(path, document, "images")
    index = unique(path, images, "images", "id")
    files = _files(path, images)
    category, rows = published_form(path, *_rows(path, document))
    keypoints = _keypoints(path, rows, category)
    names = tuple(category.get("keypoints") or (f"point{k}" for k in range(keypoints.shape[1])))
    image = np.array([_image(path, index, i, row) for i, row in rows], dtype=np.int64)
    box = np.array([_box(path, i, row) for i, row in rows], dtype=np.float64).reshape(-1, 4)
    labelled = keypoints[..., 2] > 0
    visible = keypoints[..., 2] == 2 if (keypoints[..., 2] == 2).any() else labelled
    return KeypointTable(
        names=names,
        images=locate(files, path),
        image=image,
        individual=_individuals(path, rows, image),
        xy=np.where(labelled[..., None], keypoints[..., :2], 0.0),
        labelled=labelled,
        visible=visible,
        score=_scores(path, rows, labelled),
        box=box,
        has_box=np.all(box[:, 2:] > 0, axis=1),
        area=np.array([number(path, row.get("area", 0), f"annotations[{i}].area") for i, row in rows]),
        sizes=_sizes(path, images),
        edges=_edges(path, category, names),
        swap=_swap(path, category, names),
        sigma=_sigma(path, category, names),
        source=str(path),
    )


def write_coco(path: str | Path, table: KeypointTable) -> None:
    """Write a table so that `read_coco` gives it back; pycocotools reads it, too.

    Beyond COCO stand `track_id` (the individual), `keypoint_scores` (where one is not 1), and the category's
    `flip_pairs` and `sigmas`. An unknown box, area or size is left out.
    """
    path = Path(path)
    category: Entry = {"id": 1, "name": "object", "keypoints": list(table.names)}
    category["skeleton"] = [[a + 1, b + 1] for a, b in table.edges]
    if table.swap:
        category["flip_pairs"] = [[a, b] for a, b in enumerate(table.swap) if a < b]
    if table.sigma:
        category["sigmas"] = list(table.sigma)
    images: list[Entry] = []
    for i, name in enumerate(table.images):
        images.append({"id": i + 1, "file_name": relative_name(name, path.parent)})
        if table.sizes:
            images[-1]["height"], images[-1]["width"] = table.sizes[i]
    annotations = [_annotation(table, row) for row in range(len(table))]
    write_json(path, {"images": images, "annotations": annotations, "categories": [category]})


def write_coco_results(path: str | Path, table: KeypointTable, annotations: str | Path) -> None:
    """Write predictions as COCO's list of results, for `loadRes` of pycocotools.

    The ids of images and of the category are those of the file `annotations`. Raises BadAnnotation where
    the table has a picture that this file does not know. The third number of a point is its score.
    """
    document = _document(Path(annotations))
    ids = _image_ids(Path(annotations), document)
    category, _ = _rows(Path(annotations), document)
    results: list[Entry] = []
    for row, (image, labelled) in enumerate(zip(table.image, table.labelled)):
        name = table.images[image]
        if name not in ids:
            raise BadAnnotation(f"{annotations}: images: '{name}' is not among them; nothing was written")
        points = np.concatenate([table.xy[row], table.score[row][:, None]], axis=1)
        points = np.where(labelled[:, None], points, 0.0)
        score = float(table.score[row][labelled].mean()) if labelled.any() else 0.0
        results.append({"image_id": ids[name], "category_id": category.get("id", 1)})
        results[-1] |= {"keypoints": points.ravel().tolist(), "score": score}
    write_json(path, results)


def read_coco_results(path: str | Path, annotations: str | Path) -> KeypointTable:
    """A list of results about the pictures of `annotations`. A point that is 0, 0, 0 was not predicted."""
    path = Path(path)
    truth, found = read_coco(annotations), read_json(path)
    if not isinstance(found, list):
        raise BadAnnotation(f"{path}: wanted a list of results, found {kind(found)}")
    index = unique(annotations, entries(annotations, _document(Path(annotations)), "images"), "images", "id")
    rows = [(i, as_object(path, row, f"[{i}]")) for i, row in enumerate(found)]
    points = [
        numbers(path, row.get("keypoints"), f"[{i}].keypoints", 3 * len(truth.names)) for i, row in rows
    ]
    keypoints = np.array(points, dtype=np.float64).reshape(len(rows), len(truth.names), 3)
    for i, row in rows:
        if row.get("image_id") not in index:
            raise BadAnnotation(f"{path}: [{i}].image_id: {row.get('image_id')} is not in {annotations}")
    image = np.array([index[row["image_id"]] for _, row in rows], dtype=np.int64)
    labelled = (keypoints != 0).any(axis=-1)
    return KeypointTable(
        names=truth.names,
        images=truth.images,
        image=image,
        individual=_count_within(image),
        xy=keypoints[..., :2],
        labelled=labelled,
        visible=labelled,
        score=keypoints[..., 2],
        box=np.zeros((len(rows), 4)),
        has_box=np.zeros(len(rows), dtype=bool),
        area=np.zeros(len(rows)),
        sizes=truth.sizes,
        edges=truth.edges,
        swap=truth.swap,
        sigma=truth.sigma,
        source=str(path),
    )


# ----------------------------------------------------------------------------- the file, images, categories


def _document(path: Path) -> Entry:
    document = read_json(path)
    if isinstance(document, list):
        raise BadAnnotation(f"{path}: is a list (of results?); wanted annotations with 'images'")
    return as_object(path, document, "the file")


def _files(path: Path, images: list[Entry]) -> list[str]:
    files = list(unique(path, images, "images", "file_name"))
    for i, name in enumerate(files):
        if not isinstance(name, str):
            raise BadAnnotation(f"{path}: images[{i}].file_name: wanted a file's name, found {kind(name)}")
    return files


def _sizes(path: Path, images: list[Entry]) -> tuple[tuple[int, int], ...]:
    """(h, w) of every picture, or nothing when one of them does not say."""
    if not all("height" in image and "width" in image for image in images):
        return ()
    sizes = []
    for i, image in enumerate(images):
        for key in ("height", "width"):
            if not number(path, image[key], f"images[{i}].{key}") >= 1:
                raise BadAnnotation(f"{path}: images[{i}].{key}: wanted 1 or more, found {image[key]}")
        sizes.append((int(image["height"]), int(image["width"])))
    return tuple(sizes)


def _image_ids(path: Path, document: Entry) -> Entry:
    """Image id of every picture, by its name in the file and by the path where it was found."""
    images = entries(path, document, "images")
    files = _files(path, images)
    ids = [image.get("id") for image in images]
    return dict(zip(files, ids)) | dict(zip(locate(files, path), ids))


def _rows(path: Path, document: Entry) -> tuple[Entry, list[tuple[int, Entry]]]:
    """The one category with keypoints, and (place in the file, annotation) of what is used.

    Several categories may be used when their keypoints are the same (species, sexes). Left out are crowds
    and plain detections: annotations without keypoints of a category without keypoints.
    """
    categories = _categories(path, document)
    places = unique(path, categories, "categories", "id")
    annotations = entries(path, document, "annotations")
    if any("id" in row for row in annotations):
        unique(path, annotations, "annotations", "id")
    chosen: int | None = None
    rows: list[tuple[int, Entry]] = []
    for i, row in enumerate(annotations):
        said = row.get("category_id")
        place = 0 if said is None and len(categories) == 1 else None
        if isinstance(said, int | str):
            place = places.get(said)
        if categories and place is None:
            raise BadAnnotation(f"{path}: annotations[{i}].category_id: {kind(said)} is no category's id")
        named = place is not None and bool(categories[place].get("keypoints"))
        if row.get("iscrowd") or ("keypoints" not in row and not named):
            continue
        if place is not None:
            chosen = place if chosen is None else chosen
            if categories[place].get("keypoints") != categories[chosen].get("keypoints"):
                raise BadAnnotation(
                    f"{path}: categories[{place}].keypoints: differ from categories[{chosen}].keypoints; "
                    "split the file so that each has one kind of keypoints"
                )
        rows.append((i, row))
    if not rows:
        raise BadAnnotation(f"{path}: annotations: none has keypoints (are these boxes only?)")
    return (categories[chosen] if chosen is not None else {}), rows


def _categories(path: Path, document: Entry) -> list[Entry]:
    """All categories; what keypoints they have, have names of their own."""
    found = [] if document.get("categories") is None else document["categories"]
    if not isinstance(found, list):
        raise BadAnnotation(f"{path}: categories: wanted a list, found {kind(found)}")
    categories = [as_object(path, category, f"categories[{i}]") for i, category in enumerate(found)]
    for i, category in enumerate(categories):
        field, names = f"{path}: categories[{i}].keypoints", category.get("keypoints") or []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise BadAnnotation(f"{field}: wanted names, found {names}")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise BadAnnotation(f"{field}: {twice} occur twice; every keypoint needs a name of its own")
    return categories


def _pairs(path: Path, category: Entry, field: str) -> list[tuple[int, int]]:
    """Pairs of whole numbers as they stand in the file."""
    if not isinstance(pairs := category.get(field) or [], list):
        raise BadAnnotation(f"{path}: categories: {field}: wanted a list of pairs, found {kind(pairs)}")
    found = [numbers(path, pair, f"categories: {field}[{i}]", 2) for i, pair in enumerate(pairs)]
    return [(int(a), int(b)) for a, b in found]


def _edges(path: Path, category: Entry, names: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    pairs = _pairs(path, category, "skeleton")
    start = 0 if any(0 in pair for pair in pairs) else 1  # some published files count from 0
    edges = tuple((a - start, b - start) for a, b in pairs)
    fits = all(a in range(len(names)) and b in range(len(names)) and a != b for a, b in edges)
    if fits and edges:
        return edges
    known = known_skeleton(names)
    return known.edges if known and not fits else ()


def _swap(path: Path, category: Entry, names: tuple[str, ...]) -> tuple[int, ...]:
    if "flip_pairs" not in category:
        known = known_skeleton(names)
        return known.swap if known else infer_swap(names)
    swap = list(range(len(names)))
    for i, (a, b) in enumerate(_pairs(path, category, "flip_pairs")):
        field = f"{path}: categories: flip_pairs[{i}]"
        if a == b or a not in range(len(names)) or b not in range(len(names)):
            raise BadAnnotation(f"{field}: [{a}, {b}] does not join two of the keypoints 0..{len(names) - 1}")
        if swap[a] != a or swap[b] != b:
            raise BadAnnotation(f"{field}: [{a}, {b}] uses a keypoint that already has a partner")
        swap[a], swap[b] = b, a
    return tuple(swap)


def _sigma(path: Path, category: Entry, names: tuple[str, ...]) -> tuple[float, ...]:
    if "sigmas" not in category:
        return known_sigma(names)
    sigma = numbers(path, category["sigmas"], "categories: sigmas", len(names))
    if min(sigma) <= 0:
        raise BadAnnotation(f"{path}: categories: sigmas: wanted numbers above 0, found {min(sigma)}")
    return tuple(map(float, sigma))


# ------------------------------------------------------------------------------------------------ annotations


def _annotation(table: KeypointTable, row: int) -> Entry:
    labelled = table.labelled[row]
    v = np.where(labelled, np.where(table.visible[row], 2.0, 1.0), 0.0)
    keypoints = np.concatenate([np.where(labelled[:, None], table.xy[row], 0.0), v[:, None]], axis=1)
    entry: Entry = {"id": row + 1, "image_id": int(table.image[row]) + 1, "category_id": 1}
    entry |= {"iscrowd": 0, "track_id": int(table.individual[row]), "num_keypoints": int(labelled.sum())}
    entry["keypoints"] = [
        int(n) if n.is_integer() and abs(n) < 1e9 else n for n in keypoints.ravel().tolist()
    ]
    if (table.score[row] != labelled).any():
        entry["keypoint_scores"] = table.score[row].tolist()
    if table.has_box[row]:
        entry["bbox"] = table.box[row].tolist()
    if table.area[row] > 0:
        entry["area"] = float(table.area[row])
    return entry


def _keypoints(path: Path, rows: list[tuple[int, Entry]], category: Entry) -> NDArray[np.float64]:
    """N K 3: x, y, v, all checked."""
    first = rows[0][1].get("keypoints")
    count = len(category.get("keypoints") or []) or (len(first) // 3 if isinstance(first, list) else 0)
    for i, row in rows:
        numbers(path, row.get("keypoints"), f"annotations[{i}].keypoints", 3 * count)
        said = number(path, row.get("num_keypoints", 0), f"annotations[{i}].num_keypoints")
        if said > count:  # not compared with v: published files count only some of their points
            raise BadAnnotation(f"{path}: annotations[{i}].num_keypoints: {said:g} of {count} keypoints")
    keypoints = np.array([row["keypoints"] for _, row in rows], dtype=np.float64).reshape(len(rows), count, 3)
    for n, k in np.argwhere(~np.isin(keypoints[..., 2], (0, 1, 2)))[:1]:
        field = f"annotations[{rows[n][0]}].keypoints[{3 * k + 2}]"
        raise BadAnnotation(f"{path}: {field}: v is {keypoints[n, k, 2]:g}, wanted 0, 1 or 2")
    return keypoints


def _image(path: Path, index: dict[Any, int], i: int, row: Entry) -> int:
    name = row.get("image_id")
    if not isinstance(name, int | str) or name not in index:
        raise BadAnnotation(f"{path}: annotations[{i}].image_id: {name} is none of the {len(index)} images")
    return index[name]


def _box(path: Path, i: int, row: Entry) -> list[int | float]:
    if row.get("bbox") is None:
        return [0.0, 0.0, 0.0, 0.0]
    box = numbers(path, row["bbox"], f"annotations[{i}].bbox", 4)
    if min(box[2:]) < 0:
        raise BadAnnotation(f"{path}: annotations[{i}].bbox: {box} has a negative width or height")
    return box


def _individuals(path: Path, rows: list[tuple[int, Entry]], image: NDArray) -> NDArray[np.int64]:
    """`track_id` where every annotation has one, else counted within each picture."""
    if not all(isinstance(row.get("track_id"), int) for _, row in rows):
        return _count_within(image)
    seen: dict[tuple[int, int], int] = {}
    for (i, row), at in zip(rows, image):
        if abs(row["track_id"]) >= 2**63:
            raise BadAnnotation(f"{path}: annotations[{i}].track_id: does not fit 64 bits")
        if (other := seen.setdefault((int(at), row["track_id"]), i)) != i:
            raise BadAnnotation(
                f"{path}: annotations[{i}].track_id: {row['track_id']} is already annotations[{other}] "
                "in the same image"
            )
    return np.array([row["track_id"] for _, row in rows], dtype=np.int64)


def _count_within(image: NDArray) -> NDArray[np.int64]:
    """How many earlier rows show the same picture."""
    seen: dict[int, int] = {}
    counts = []
    for at in image.tolist():
        counts.append(seen.get(at, 0))
        seen[at] = counts[-1] + 1
    return np.array(counts, dtype=np.int64)


def _scores(path: Path, rows: list[tuple[int, Entry]], labelled: NDArray[np.bool_]) -> NDArray[np.float64]:
    """`keypoint_scores` where a file of predictions has them, else 1 for labelled points and 0 for others."""
    scores = labelled.astype(np.float64)
    for n, (i, row) in enumerate(rows):
        if "keypoint_scores" in row:
            field = f"annotations[{i}].keypoint_scores"
            scores[n] = numbers(path, row["keypoint_scores"], field, labelled.shape[1])
    return scores
