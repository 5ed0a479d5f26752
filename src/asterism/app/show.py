"""What several verbs print: JSON that every program can read, and tables that fit a terminal."""

import json
import math
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any


def as_json(answer: Mapping[str, Any]) -> str:
    """One JSON object. A number that does not exist (NaN, infinity) becomes null: JSON has no word for it."""
    return json.dumps(_plain(answer), indent=2, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if hasattr(value, "tolist"):  # numpy's and torch's numbers and arrays
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def as_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns under their heads; the last column is wrapped to the terminal's width."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head) - 1)]
    used = sum(widths) + 2 * len(widths)
    room = max(30, shutil.get_terminal_size((110, 24)).columns - used)
    lines = []
    for row in (head, *rows):
        start = "".join(f"{cell:<{width}}  " for cell, width in zip(row, widths))
        first, *more = textwrap.wrap(row[-1], room) or [""]
        lines += [(start + first).rstrip(), *(" " * used + line for line in more)]
    return "\n".join(lines)


def as_lines(answer: Mapping[str, Any]) -> str:
    """Names and values, one per line; a mapping inside is indented, numbers have four digits that count."""
    lines = []
    for key, value in _plain(answer).items():
        if isinstance(value, dict):
            lines += [f"{key}:", textwrap.indent(as_lines(value), "  ")]
        else:
            lines.append(f"{key}: {_word(value)}")
    return "\n".join(lines)


def as_report(report: Mapping[str, Any], written: Sequence[object]) -> str:
    """The title and the sentences of a report, wrapped, and the files to look at."""
    room = max(30, min(110, shutil.get_terminal_size((110, 24)).columns))
    lines = [str(report["title"]), ""]
    lines += [textwrap.fill(str(sentence), room) for sentence in report["sentences"]]
    return "\n".join([*lines, "", "written:", *(f"  {path}" for path in written)])


def _word(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(_word, value)) or "none"
    return "unknown" if value is None else str(value)
