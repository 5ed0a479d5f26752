"""A calibration board in words, and where its corners are: numpy alone.

`chess:9x6:0.025` has 9 x 6 inner corners, 0.025 apart. `charuco:7x5:0.04:0.03` has 7 x 5 squares of 0.04
with markers of 0.03, so 6 x 4 inner corners; a fifth word names OpenCV's dictionary (4X4_50 without it).
Corner k is in row k // columns and column k % columns; x runs along rows, y down, z into the board. The unit
of the lengths becomes that of the cameras.
"""

import math
import re
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from asterism.errors import RequestError

_WANTED = (
    "wanted chess:COLUMNSxROWS:SQUARE with the inner corners counted, such as chess:9x6:0.025, or "
    "charuco:COLUMNSxROWS:SQUARE:MARKER with the squares counted, such as charuco:7x5:0.04:0.03"
)
_KINDS = {"chess": (3,), "charuco": (4, 5)}  # words of each


@dataclass(frozen=True, kw_only=True)
class Board:
    """`columns` x `rows` inner corners, `square` apart. Markers are of `marker`, from `dictionary`."""

    kind: str
    columns: int
    rows: int
    square: float
    marker: float = 0.0
    dictionary: str = ""

    def points(self) -> Float[np.ndarray, "K 3"]:
        y, x = np.mgrid[: self.rows, : self.columns]
        flat = np.stack([x, y, np.zeros_like(x)], axis=-1).reshape(-1, 3)
        return flat * self.square

    @property
    def half_turn(self) -> bool:
        """Whether corners may be numbered from either end: nothing on a chessboard says which is first."""
        return self.kind == "chess"

    def __len__(self) -> int:
        return self.columns * self.rows


def read_board(words: str) -> Board:
    """Raises RequestError, saying what is wrong and what to type."""

    def wrong(why: str) -> RequestError:
        return RequestError(f"--board {words}: {why}; {_WANTED}")

    kind, *rest = words.split(":")
    if kind not in _KINDS:
        raise wrong(f"no board is called '{kind}'")
    if len(rest) + 1 not in _KINDS[kind]:
        raise wrong(f"{len(rest) + 1} words between colons")
    count = re.fullmatch(r"(\d{1,3})x(\d{1,3})", rest[0])
    if count is None:
        raise wrong(f"'{rest[0]}' is no count of columns and rows")
    columns, rows = int(count[1]), int(count[2])
    square, *marker = [_length(word, wrong) for word in rest[1:3]]
    if kind == "charuco":
        if not marker[0] < square:
            raise wrong(f"a marker of {marker[0]:g} does not fit a square of {square:g}")
        columns, rows = columns - 1, rows - 1
    if min(columns, rows) < 2:
        raise wrong(f"{columns} x {rows} inner corners; wanted two rows and two columns or more")
    if kind == "chess" and columns == rows:
        raise wrong(f"a board of {columns} x {rows} looks the same after a quarter turn; take another")
    return Board(
        kind=kind,
        columns=columns,
        rows=rows,
        square=square,
        marker=marker[0] if marker else 0.0,
        dictionary=(rest[3] if len(rest) > 3 else "4X4_50") if kind == "charuco" else "",
    )


def _length(word: str, wrong) -> float:
    try:
        value = float(word)
    except ValueError:
        raise wrong(f"'{word}' is no length") from None
    if not (math.isfinite(value) and value > 0):
        raise wrong(f"the length {word} is not above zero")
    return value
