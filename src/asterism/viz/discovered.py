"""The pictures and the page of a run that found its keypoints without labels, for a person to judge them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from asterism.data.base import ImageSet
from asterism.io.images import write_image
from asterism.io.table import KeypointTable
from asterism.viz import overlay
from asterism.viz.report import Page, write_report

_SHOWN = 12  # pictures on a sheet: three rows of four fit a screen


def write_discovered(
    run: Path, images: ImageSet, table: KeypointTable, report: Mapping[str, Any]
) -> list[Path]:
    """overlay.png, frames.png, doubtful.png and report.html in the run folder; what was written.

    `report` holds title, sentences and numbers. The pictures are chosen evenly over the data, except the
    doubtful ones, which are those whose scores are lowest: a person should see the worst, too.
    """
    rows = overlay.rows_by_picture(images, table)
    found = sorted(rows)
    even = overlay.spread(found, _SHOWN)
    worst = sorted(found, key=lambda i: float(np.mean(table.score[rows[i]])))[:_SHOWN]
    sheets = {
        "overlay.png": (
            "The objects, evenly over the data. The same colour is the same keypoint.",
            overlay.close_ups(images, table, even),
        ),
        "frames.png": ("The same pictures whole.", overlay.sheet(images, table, even)),
        "doubtful.png": ("Where the method is least sure.", overlay.close_ups(images, table, worst)),
    }
    for name, (_, picture) in sheets.items():
        write_image(run / name, picture)
    page = Page(
        title=report["title"],
        sentences=report["sentences"],
        pictures=dict(sheets.values()),
        numbers=report["numbers"],
    )
    write_report(run / "report.html", page)
    return [run / name for name in (*sheets, "report.html")]
