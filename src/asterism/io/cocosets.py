"""What published files in COCO's form leave out, put elsewhere, or get wrong, set right before they are read.

- COCO-WholeBody keeps feet, face and hands in fields of their own (foot_kpts, face_kpts, lefthand_kpts,
  righthand_kpts): they are joined to 133 points, and a part whose `..._valid` is false is not labelled (its
  numbers are guesses of a network, with confidences where v should be). A file with feet alone gives 23.
- The foot annotations have 23 points under a category with the names of 17.
- Faces (68, 98 points) and Halpe (136) come without names in several published files.
- Human3.6M files that call the second point left_hip have exchanged the names of the legs: in their
  pictures it lies on the side of right_shoulder. The names are put right; points and mirror pairs are as
  they were.
"""

from pathlib import Path
from typing import Any

from asterism.io.fields import Entry, numbers
from asterism.io.skeleton import Skeleton, published

_PARTS = {"foot": 6, "face": 68, "lefthand": 21, "righthand": 21}
_NAMELESS = {(68, "face"): "300w-68", (98, "face"): "wflw-98", (136, "person"): "halpe-136"}
_LEGS = ("left_hip", "left_knee", "left_foot", "right_hip", "right_knee", "right_foot")

Rows = list[tuple[int, Entry]]


def published_form(path: Path, category: Entry, rows: Rows) -> tuple[Entry, Rows]:
    """The category and (place in the file, annotation) of a file, as COCO's own form has them."""
    names = tuple(category.get("keypoints") or ())
    first = rows[0][1].get("keypoints")
    count = len(first) // 3 if isinstance(first, list) else 0
    body = names in ((), published("coco-17").names) and count == 17
    present = [part for part in _PARTS if all(f"{part}_kpts" in row for _, row in rows)]
    if body and present == list(_PARTS):
        return _called(category, published("coco-wholebody-133")), _joined(path, rows, present)
    if body and present == ["foot"]:
        return _called(category, published("coco-foot-23")), _joined(path, rows, present)
    if names == published("coco-17").names and count == 23:
        return _called(category, published("coco-foot-23")), rows
    if not names and (count, category.get("name")) in _NAMELESS:
        return _called(category, published(_NAMELESS[count, str(category["name"])])), rows
    if len(names) == 17 and names[1:7] == _LEGS and names[11] == "left_shoulder" and "pelvis" in names[0]:
        return _called(category, published("h36m-17")), rows
    return category, rows


def _called(category: Entry, skeleton: Skeleton) -> Entry:
    said: dict[str, Any] = {"keypoints": list(skeleton.names)}
    said["skeleton"] = [[a + 1, b + 1] for a, b in skeleton.edges]
    said["flip_pairs"] = [[a, b] for a, b in enumerate(skeleton.swap) if a < b]
    kept = {key: value for key, value in category.items() if key != "sigmas"}
    return kept | said | ({"sigmas": list(skeleton.sigma)} if skeleton.sigma else {})


def _joined(path: Path, rows: Rows, parts: list[str]) -> Rows:
    """Annotations whose `keypoints` are body and parts. A part that never says v = 2 means labelled by v
    > 0."""
    joined: list[list[int | float]] = [
        _part(list(numbers(path, row["keypoints"], f"annotations[{i}].keypoints", 51)), True)
        for i, row in rows
    ]
    for part in parts:
        fields = [
            numbers(path, row[f"{part}_kpts"], f"annotations[{i}].{part}_kpts", 3 * _PARTS[part])
            for i, row in rows
        ]
        valid = [row.get(f"{part}_valid", True) is not False for _, row in rows]
        says_two = any(2 in values[2::3] for values, ok in zip(fields, valid) if ok)
        for whole, values, ok in zip(joined, fields, valid):
            whole += _part(list(values), says_two) if ok else [0] * len(values)
    return [(i, row | {"keypoints": whole}) for (i, row), whole in zip(rows, joined)]


def _part(values: list[int | float], says_two: bool) -> list[int | float]:
    """v of 0, 1 or 2 where it was a confidence or only ever 1."""
    if not says_two:
        values[2::3] = [2 if v > 0 else 0 for v in values[2::3]]
    return values
