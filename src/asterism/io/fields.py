"""Checked access to JSON documents: a complaint names the file and the field and says what was wanted."""

import json
import math
import sys
from pathlib import Path
from typing import Any, TypeGuard

from asterism.errors import BadAnnotation

Entry = dict[str, Any]
_LARGEST = sys.float_info.max


def read_json(path: str | Path) -> Any:
    """The value in a file. Raises BadAnnotation when it is absent, empty or no JSON."""
    text = ""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        return json.loads(text)
    except FileNotFoundError as error:
        raise BadAnnotation(f"{path}: does not exist") from error
    except json.JSONDecodeError as error:
        what = f"line {error.lineno}, column {error.colno}: {error.msg}" if text.strip() else "is empty"
        raise BadAnnotation(f"{path}: {what}; wanted JSON") from error
    except (OSError, ValueError, RecursionError) as error:
        raise BadAnnotation(f"{path}: cannot be read as JSON ({error})") from error


def kind(value: object) -> str:
    """What a value is, in words; a number is itself."""
    kinds = {dict: "an object", list: "a list", str: f"the text {value!r}", bool: "true or false"}
    return "nothing" if value is None else kinds.get(type(value), f"{value}")


def as_object(path: str | Path, value: object, field: str) -> Entry:
    if not isinstance(value, dict):
        raise BadAnnotation(f"{path}: {field}: wanted an object, found {kind(value)}")
    return value


def entries(path: str | Path, document: Entry, field: str) -> list[Entry]:
    """The objects of a list that must not be empty."""
    found = document.get(field)
    if not isinstance(found, list):
        raise BadAnnotation(f"{path}: {field}: wanted a list, found {kind(found)}")
    if not found:
        raise BadAnnotation(f"{path}: {field}: is empty; there is nothing to learn or to measure")
    return [as_object(path, entry, f"{field}[{i}]") for i, entry in enumerate(found)]


def unique(path: str | Path, found: list[Entry], field: str, key: str) -> dict[Any, int]:
    """The place of every `key`: it must be there, a whole number or a text, and occur once."""
    index: dict[Any, int] = {}
    for i, entry in enumerate(found):
        name = entry.get(key)
        if isinstance(name, bool) or not isinstance(name, int | str) or name == "":
            raise BadAnnotation(f"{path}: {field}[{i}].{key}: wanted a name or number, found {kind(name)}")
        if name in index:
            raise BadAnnotation(f"{path}: {field}[{i}].{key}: {name} is already {field}[{index[name]}].{key}")
        index[name] = i
    return index


def number(path: str | Path, value: object, field: str) -> float:
    """A finite number, 0 or more."""
    if not _finite(value) or value < 0:
        raise BadAnnotation(f"{path}: {field}: wanted a number, 0 or more, found {kind(value)}")
    return float(value)


def numbers(path: str | Path, value: object, field: str, count: int) -> list[int | float]:
    """`count` finite numbers, or an error that names the first that is none."""
    if not isinstance(value, list):
        raise BadAnnotation(f"{path}: {field}: wanted {count} numbers, found {kind(value)}")
    if len(value) != count:
        points = f" ({count // 3} keypoints x 3)" if field.endswith("keypoints") else ""
        raise BadAnnotation(f"{path}: {field}: {len(value)} numbers, wanted {count}{points}")
    for i, entry in enumerate(() if _all_finite(value) else value):
        if not _finite(entry):
            raise BadAnnotation(f"{path}: {field}[{i}]: wanted a finite number, found {kind(entry)}")
    return value


def _finite(value: object) -> TypeGuard[float]:
    """Also false for whole numbers that no float can hold."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -_LARGEST <= value <= _LARGEST


def _all_finite(value: list[Any]) -> bool:
    """A quick yes for large files; no means: look closer. fsum refuses what no float can hold."""
    try:
        return {*map(type, value)} <= {int, float} and math.isfinite(math.fsum(value))
    except (OverflowError, ValueError):
        return False
