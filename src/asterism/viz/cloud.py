"""A cloud from three sides with its keypoints: grey points, near ones dark, and marks in the colour of their
score, with Pillow alone.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from asterism.io.cloud_points import CloudPoints
from asterism.io.images import write_image
from asterism.viz.draw import Picture

_SIDE, _EDGE, _FINE = 520, 36, 2  # pixels of a panel, its margin, and how much finer it is drawn
_INK, _PAPER = (40, 40, 40), (255, 255, 255)
_NEAR, _FAR = 70.0, 215.0  # grey of the nearest and of the farthest points
_LOW, _HIGH = np.array([255, 205, 40]), np.array([200, 20, 60])  # colours of score 0 and 1
_BEHIND = 0.04  # of the cloud's size: points so far behind the surface are hidden by it
_NUMBERS = 24  # keypoints that are still numbered
# Title, and the axes to the right, up and towards the eye, with their signs: all three are right-handed.
_SIDES = (
    ("from +z: x right, y up", (0, 1, 2), (1, 1, 1)),
    ("from -y: x right, z up", (0, 2, 1), (1, 1, -1)),
    ("from +x: y right, z up", (1, 2, 0), (1, 1, 1)),
)


def three_sides(points: Float[np.ndarray, "N 3"], found: CloudPoints) -> Picture:
    """Three panels, all of one scale. A keypoint that the cloud hides is a ring, others are filled."""
    every = np.concatenate([points, found.xyz])
    middle = (every.max(0) + every.min(0)) / 2
    size = max(float(np.ptp(every, axis=0).max()), 1e-300)
    local, marks = (points - middle) / size, (found.xyz - middle) / size
    return np.concatenate([_panel(side, local, marks, found) for side in _SIDES], axis=1)


class CloudPainter:
    """Writes one PNG per cloud: `draw(name, points, found)`. `written` are the files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.written: list[Path] = []

    def __call__(self, name: str, points: Float[np.ndarray, "N 3"], found: CloudPoints) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{Path(name).stem}.png"
        if path in self.written:  # two folders may hold clouds of the same name
            path = path.with_name(f"{path.stem}-{len(self.written)}.png")
        write_image(path, three_sides(points, found))
        self.written.append(path)


def _panel(
    side: tuple[str, tuple[int, int, int], tuple[int, int, int]],
    points: NDArray[np.float64],
    marks: NDArray[np.float64],
    found: CloudPoints,
) -> Picture:
    title, axes, signs = side
    wide = _SIDE * _FINE
    scale = wide - 2 * _EDGE * _FINE

    def place(xyz: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        right, up, near = (sign * xyz[:, axis] for axis, sign in zip(axes, signs))
        return np.stack([wide / 2 + scale * right, wide / 2 - scale * up], axis=-1), near

    at, near = place(points)
    nearest, canvas = _surface(at, near, wide)
    image = Image.fromarray(canvas)
    pen = ImageDraw.Draw(image)
    radius = 5 * _FINE
    spots, depth = place(marks)
    for n in np.argsort(found.score, kind="stable").tolist():  # the best on top
        x, y = spots[n]
        colour = tuple(int(c) for c in (_LOW + found.score[n].clip(0, 1) * (_HIGH - _LOW)).round())
        hidden = nearest[int(y), int(x)] > depth[n] + _BEHIND
        box = (x - radius, y - radius, x + radius, y + radius)
        if hidden:
            pen.ellipse(box, outline=colour, width=_FINE)
        else:
            pen.ellipse(box, fill=colour, outline=_INK, width=_FINE)
    image = image.resize((_SIDE, _SIDE), Image.Resampling.BOX)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(12)
    if len(found.number) <= _NUMBERS:
        for (x, y), number in zip(spots / _FINE, found.number.tolist()):
            pen.text((x + 6, y - 6), str(number), _INK, font=font, anchor="lb")
    pen.text((_SIDE / 2, 8), title, _INK, font=font, anchor="ma")
    return np.asarray(image)


def _surface(
    at: NDArray[np.float64], near: NDArray[np.float64], wide: int
) -> tuple[NDArray[np.float64], Picture]:
    """The depth nearest to the eye at each pixel, and a picture of it. Few points are drawn larger."""
    reach = int(np.clip(round(0.35 * wide / np.sqrt(max(len(at), 1))), 1, 4 * _FINE))
    nearest = np.full((wide, wide), -np.inf)
    x, y = at.round().astype(np.int64).clip(reach, wide - 1 - reach).T
    for dx in range(-reach, reach + 1):
        for dy in range(-reach, reach + 1):
            if dx * dx + dy * dy <= reach * reach:
                np.maximum.at(nearest, (y + dy, x + dx), near)
    seen = np.isfinite(nearest)
    low, high = (float(near.min()), float(near.max())) if len(near) else (0.0, 1.0)
    share = (np.where(seen, nearest, low) - low) / max(high - low, 1e-12)
    grey = np.where(seen, _FAR + share * (_NEAR - _FAR), 255)
    return nearest, np.repeat(grey.round().astype(np.uint8)[..., None], 3, axis=2)
