"""A page to open in a browser: what was found, in words, numbers and pictures. One file, nothing to load."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from asterism.io.atomic import write_text
from asterism.viz.draw import Picture

_STYLE = """
body { font: 16px/1.55 system-ui, sans-serif; max-width: 60rem; margin: 2.5rem auto; padding: 0 1rem;
       color: #222; background: #fff }
h1 { font-size: 1.6rem; margin-bottom: .3rem } h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem }
img { max-width: 100%; border: 1px solid #ddd } figure { margin: 1.5rem 0 }
figcaption { color: #555; font-size: .92rem } table { border-collapse: collapse }
td { padding: .15rem 1.2rem .15rem 0; vertical-align: top } td + td { font-variant-numeric: tabular-nums }
tr + tr td { border-top: 1px solid #eee }
"""


@dataclass(frozen=True, kw_only=True)
class Page:
    """What a page shows, in this order. Numbers may hold mappings, which become tables of their own."""

    title: str
    sentences: Sequence[str] = ()
    pictures: Mapping[str, Picture] = field(default_factory=dict)  # by caption
    numbers: Mapping[str, Any] = field(default_factory=dict)


def write_report(path: Path, page: Page) -> None:
    """The page as one HTML file with its pictures inside."""
    parts = [f"<h1>{html.escape(page.title)}</h1>"]
    parts += [f"<p>{html.escape(sentence)}</p>" for sentence in page.sentences]
    for caption, picture in page.pictures.items():
        words = html.escape(caption)
        parts.append(f'<figure><img src="{_embedded(picture)}" alt="{words}">')
        parts.append(f"<figcaption>{words}</figcaption></figure>")
    if page.numbers:
        parts += ["<h2>Numbers</h2>", _table(page.numbers)]
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(page.title)}</title>'
    write_text(path, f"{head}<style>{_STYLE}</style><body>\n" + "\n".join(parts) + "\n</body></html>\n")


def _embedded(picture: Picture) -> str:
    held = io.BytesIO()
    Image.fromarray(picture).save(held, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(held.getvalue()).decode("ascii")


def _table(numbers: Mapping[str, Any]) -> str:
    rows = []
    for name, value in numbers.items():
        if isinstance(value, Mapping):
            cell = _table(value)
        elif isinstance(value, (list, tuple)) and value and isinstance(value[0], Mapping):
            cell = "".join(map(_table, value))
        else:
            cell = html.escape(_word(value))
        rows.append(f"<tr><td>{html.escape(str(name).replace('_', ' '))}</td><td>{cell}</td></tr>")
    return "<table>" + "".join(rows) + "</table>"


def _word(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_word, value)) or "none"
    return "unknown" if value is None else str(value)
