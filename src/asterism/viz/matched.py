"""Two pictures side by side, and lines between the places that match."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image, ImageDraw

from asterism.io.images import write_image
from asterism.viz.draw import Picture, colours, fit, moved

_TALL, _GAP, _MOST = 640, 12, 200  # pixels of the longer side, between pictures; lines that are drawn
_FAINT = (150, 150, 150)


def draw_matches(
    path: Path,
    one: Picture,
    two: Picture,
    a: Float[np.ndarray, "P 2"],
    b: Float[np.ndarray, "P 2"],
    inlier: Bool[np.ndarray, " P"],
) -> None:
    """A PNG: matches that agree as lines, evenly chosen where there are many; the others as grey crosses."""
    pictures = [fit(picture, _TALL) for picture in (one, two)]
    places = [moved(xy, old.shape[:2], new.shape[:2]) for xy, old, new in zip((a, b), (one, two), pictures)]
    wide, tall = sum(p.shape[1] for p in pictures) + _GAP, max(p.shape[0] for p in pictures)
    canvas = np.full((tall, wide, 3), 255, np.uint8)
    shift = pictures[0].shape[1] + _GAP
    for picture, left in zip(pictures, (0, shift)):
        canvas[: picture.shape[0], left : left + picture.shape[1]] = picture
    places[1] = places[1] + [shift, 0]
    image = Image.fromarray(canvas)
    pen = ImageDraw.Draw(image)
    for xy in (place[~inlier] for place in places):
        for x, y in xy.tolist():
            pen.line([x - 2, y - 2, x + 2, y + 2], fill=_FAINT)
            pen.line([x - 2, y + 2, x + 2, y - 2], fill=_FAINT)
    rows = np.flatnonzero(inlier)
    chosen = (
        rows[np.linspace(0, len(rows) - 1, min(_MOST, len(rows))).round().astype(int)] if len(rows) else rows
    )
    for colour, row in zip(colours(len(chosen)), chosen.tolist()):
        (x, y), (u, v) = places[0][row], places[1][row]
        pen.line([x, y, u, v], fill=colour, width=1)
        for px, py in ((x, y), (u, v)):
            pen.ellipse([px - 2, py - 2, px + 2, py + 2], outline=colour)
    write_image(path, np.asarray(image))
