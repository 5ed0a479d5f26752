"""Corners of chessboards and charuco boards in pictures, by OpenCV, which is imported when it is asked."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asterism.errors import MissingExtra, RequestError
from asterism.io.board import Board

Found = list[tuple[int, float, float]]  # corner, x, y; whole numbers are the centres of pixels
_WINDOW = 5  # half the window in which a chessboard's corner is made exact, pixels
_BOARD = 0.25  # of the distance between two corners: no window reaches the next one


def finder(board: Board) -> Callable[[NDArray[np.uint8]], Found]:
    """What finds this board's corners in a picture "H W 3". Raises MissingExtra without OpenCV."""
    cv2 = _cv2()
    return _charuco(cv2, board) if board.kind == "charuco" else _chess(cv2, board)


def _cv2() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise MissingExtra("OpenCV", "boards", "finding corners of a board in pictures") from error
    return cv2


def _made(cv2: Any, board: Board) -> Any:
    name = f"DICT_{board.dictionary}"
    if not hasattr(cv2.aruco, name):
        known = sorted(n.removeprefix("DICT_") for n in dir(cv2.aruco) if n.startswith("DICT_"))
        told = f"--board: OpenCV has no dictionary '{board.dictionary}'; it has {', '.join(known)}"
        raise RequestError(told)
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, name))
    squares = (board.columns + 1, board.rows + 1)
    return cv2.aruco.CharucoBoard(squares, board.square, board.marker, dictionary)


def _charuco(cv2: Any, board: Board) -> Callable[[NDArray[np.uint8]], Found]:
    detector = cv2.aruco.CharucoDetector(_made(cv2, board))

    def find(picture: NDArray[np.uint8]) -> Found:
        corners, ids, _, _ = detector.detectBoard(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
        if ids is None:
            return []
        flat = np.asarray(corners, np.float64).reshape(-1, 2).tolist()
        return [(int(k), x, y) for k, (x, y) in zip(np.ravel(ids), flat)]

    return find


def _chess(cv2: Any, board: Board) -> Callable[[NDArray[np.uint8]], Found]:
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 30, 1e-3)

    def find(picture: NDArray[np.uint8]) -> Found:
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        flags = cv2.CALIB_CB_ADAPTIVE_THRESH | cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_FAST_CHECK
        there, corners = cv2.findChessboardCorners(grey, (board.columns, board.rows), flags=flags)
        if not there:
            return []
        grid = corners.reshape(board.rows, board.columns, 2)
        least = min(np.linalg.norm(np.diff(grid, axis=a), axis=-1).min() for a in (0, 1))
        half = int(np.clip(_BOARD * least, 1, _WINDOW))
        exact = cv2.cornerSubPix(grey, corners, (half, half), (-1, -1), stop)
        flat = exact.reshape(-1, 2).astype(np.float64).tolist()
        return [(k, x, y) for k, (x, y) in enumerate(flat)]

    return find
