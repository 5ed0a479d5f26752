"""Lifted shapes as a picture: what was seen, and the shape from there, turned by 45 and by 90 degrees."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial.transform import Rotation

from asterism.io.images import write_image
from asterism.viz.draw import Picture, caption, contact_sheet, points

_SIDE, _EDGE, _ROWS = 320, 30, 4  # pixels of a panel, its margin; how many rows are shown
_TURNS = (0, 45, 90)  # degrees about the picture's vertical
_PAPER = 245


def draw_lifted(
    path: Path,
    xy: Float[np.ndarray, "N K 2"],
    seen: Bool[np.ndarray, "N K"],
    xyz: Float[np.ndarray, "N K 3"],
    cov: Float[np.ndarray, "N K 3 3"],
    names: Sequence[str],
    edges: Sequence[tuple[int, int]] = (),
) -> None:
    """A PNG of four rows of the table, evenly spread; ellipses hold 95 %, of seen points there are none."""
    chosen = np.unique(np.linspace(0, len(xy) - 1, min(_ROWS, len(xy))).round().astype(int)).tolist()
    panels: list[Picture] = []
    for n in chosen:
        middle = xyz[n].mean(0)
        size = 2 * float(np.linalg.norm(xyz[n] - middle, axis=1).max()) or 1.0
        scale = (_SIDE - 2 * _EDGE) / size
        panels.append(_panel(f"row {n}, as seen", scale * (xy[n] - middle[:2]), edges, shown=seen[n]))
        for angle in _TURNS:
            turn = Rotation.from_euler("y", angle, degrees=True).as_matrix()
            flat = scale * (xyz[n] - middle) @ turn.T
            doubt = scale**2 * (turn @ cov[n] @ turn.T)[:, :2, :2]
            panels.append(_panel(f"lifted, turned by {angle}", flat[:, :2], edges, cov=doubt))
    columns = 1 + len(_TURNS)
    key = _panel(
        "the points' names", np.stack([np.full(len(names), -110.0), _ladder(len(names))], 1), (), names
    )
    write_image(path, contact_sheet([*panels, key], columns))


def _ladder(count: int) -> Float[np.ndarray, " K"]:
    return np.linspace(-1, 1, count) * min(0.4 * _SIDE, 9.0 * count)


def _panel(
    title: str,
    xy: Float[np.ndarray, "K 2"],
    edges: Sequence[tuple[int, int]],
    names: Sequence[str] = (),
    *,
    shown: Bool[np.ndarray, " K"] | None = None,
    cov: Float[np.ndarray, "K 2 2"] | None = None,
) -> Picture:
    paper = np.full((_SIDE, _SIDE, 3), _PAPER, np.uint8)
    return caption(points(paper, xy + _SIDE / 2, shown=shown, cov=cov, edges=edges, names=names), title)
