"""The table of a comparison for the eye: cells in words, a sheet of everybody's points, a page to open."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from asterism.data.gathered import pictures
from asterism.engine.compare import Comparison
from asterism.io.atomic import write_text
from asterism.io.images import write_image
from asterism.viz import draw
from asterism.viz.draw import Picture

HEAD = (
    *("", "learned from", "seeds", "error px", "turned px", "equivariance", "dead", "healthy", "on object"),
    *("jitter", "parameters", "seconds", "steps", "remark"),
)
_CELL = 240  # longer side of a picture of the sheet
_AROUND = 1.25  # of the frame's half side: what is cut out of a picture
_STYLE = """
body { font: 16px/1.55 system-ui, sans-serif; max-width: 76rem; margin: 2.5rem auto; padding: 0 1rem;
       color: #222; background: #fff }
h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; margin-top: 2.2rem } img { max-width: 100% }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .9rem .25rem 0; text-align: left; vertical-align: top }
tr + tr td { border-top: 1px solid #eee } tr.control td { color: #777 }
tr.first td { border-top: 2px solid #999 }
p.note { color: #555; font-size: .92rem }
"""
NOTE = (
    "Errors are means over the test pictures in source pixels, [95 % interval over pictures] and, with "
    "several seeds, ± their standard deviation. turned: the same pictures turned by random angles. "
    "equivariance: how far points are off when crops are turned by up to 15 degrees, scaled and shifted; "
    "jitter: how much they tremble from frame to frame; both as shares of the object's size. healthy: points "
    "that are alive, steady, on the object and apart. Controls, at the end, must lose."
)


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """One row of the table under HEAD."""
    parameters, seconds = row["parameters"], row["seconds"]
    points = row["points"]
    return (
        row["name"],
        row["learns_from"],
        " ".join(map(str, row["seeds"])),
        _error(row["forward"]),
        _error(row["rotated"]),
        _share(row["equivariance_error"]),
        "" if row["dead"] is None or points is None else f"{row['dead']:.3g} of {points:.0f}",
        "" if row["healthy"] is None else f"{row['healthy']:.3g}",
        _share(row["on_object"], 0),
        _share(row["jitter"], 2),
        "" if not parameters else f"{parameters:,}",
        "" if seconds is None else f"{seconds:.0f}",
        "" if row["steps"] is None else f"{row['steps']:.0f}",
        row["remark"],
    )


def columns(answer: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and cells without the columns that are empty in every row; the last one always stays."""
    table = [cells(row) for row in answer["rows"]]
    kept = [i for i in range(len(HEAD)) if i in (0, len(HEAD) - 1) or any(row[i] for row in table)]
    return tuple(HEAD[i] for i in kept), [tuple(row[i] for i in kept) for row in table]


def write_compared(folder: Path, comparison: Comparison) -> list[Path]:
    """points.png and report.html in the folder; what was written."""
    written = []
    if comparison.shown:
        write_image(folder / "points.png", sheet(comparison))
        written.append(folder / "points.png")
    write_text(folder / "report.html", _page(comparison.answer, bool(comparison.shown)))
    return [*written, folder / "report.html"]


def sheet(comparison: Comparison) -> Picture:
    """The same test pictures row by row, one row per entrant, cut out alike."""
    frames, images = comparison.frames, comparison.images
    seen = dict(pictures(images, set(frames.image.tolist())))
    rows = []
    for name, xy in comparison.shown.items():
        for i in range(len(frames)):
            picture = seen[int(frames.image[i])]
            corner, part = _cut(picture, frames.centre[i], float(frames.scale[i]) * _AROUND)
            cell = draw.fit(part, _CELL)
            cell = draw.points(cell, draw.moved(xy[i] - corner, part.shape[:2], cell.shape[:2]))
            rows.append(draw.caption(cell, name if i == 0 else images.name(int(frames.image[i]))))
    return draw.contact_sheet(rows, len(frames))


def _cut(picture: Picture, centre: np.ndarray, half: float) -> tuple[np.ndarray, Picture]:
    h, w = picture.shape[:2]
    left, top = (int(max(0, np.floor(c - half))) for c in centre)
    right, bottom = int(min(w, np.ceil(centre[0] + half))), int(min(h, np.ceil(centre[1] + half)))
    left, top = min(left, w - 1), min(top, h - 1)
    part = picture[top : max(bottom, top + 1), left : max(right, left + 1)]
    return np.array([left, top]), np.ascontiguousarray(part)


def _page(answer: Mapping[str, Any], with_sheet: bool) -> str:
    title = html.escape(answer["title"])
    head, table = columns(answer)
    kinds = [row["kind"] for row in answer["rows"]]
    parts = [f"<h1>{title}</h1>"]
    parts += [f"<p>{html.escape(sentence)}</p>" for sentence in answer["sentences"]]
    parts += ["<h2>The table</h2>", "<table>", _line("th", head, "")]
    for i, (kind, row) in enumerate(zip(kinds, table)):
        first = " first" if kind == "control" and kinds[i - 1] != "control" else ""
        parts.append(_line("td", row, f"{kind}{first}"))
    parts += ["</table>", f'<p class="note">{html.escape(NOTE)}</p>']
    if with_sheet:
        parts += [
            "<h2>The same test pictures, everybody's points</h2>",
            '<img src="points.png" alt="points">',
        ]
    top = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
    return f"{top}<style>{_STYLE}</style><body>\n" + "\n".join(parts) + "\n</body></html>\n"


def _line(tag: str, row: Sequence[str], kind: str) -> str:
    return f'<tr class="{kind}">' + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in row) + "</tr>"


def _error(error: Mapping[str, Any] | None) -> str:
    if error is None:
        return ""
    low, high = error["ci95"]
    spread = "" if error["sd"] is None else f" ±{error['sd']:.2f}"
    return f"{error['mean_px']:.2f} [{low:.2f} {high:.2f}]{spread}"


def _share(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{value:.{digits}%}"
