"""Boards in words, corners in files: exact, in any order, and refused with a reason."""

import numpy as np
import pytest

from asterism.errors import BadAnnotation, RequestError
from asterism.io.board import read_board
from asterism.io.corners import read_corners, with_sizes, without, write_corners

LINES = ["cam10,0,3,1.5,2.25", "cam2,0,0,3,4", "cam2,0,3,5,6", "cam10,0,0,0.1,7"]


def test_boards():
    chess = read_board("chess:9x6:0.025")
    assert len(chess) == 54 and chess.half_turn
    np.testing.assert_allclose(chess.points()[[0, 1, 9, 53]][:, :2] / 0.025, [[0, 0], [1, 0], [0, 1], [8, 5]])
    board = read_board("charuco:7x5:0.04:0.03")
    assert (board.columns, board.rows, board.dictionary, board.half_turn) == (6, 4, "4X4_50", False)
    assert read_board("charuco:7x5:0.04:0.03:5X5_100").dictionary == "5X5_100"


@pytest.mark.parametrize(
    "words, told",
    [
        ("chess", "1 words"),
        ("chess:9x6", "2 words"),
        ("dots:9x6:1", "'dots'"),
        ("chess:9:1", "'9'"),
        ("chess:9x6:cm", "'cm'"),
        ("chess:9x6:-1", "not above zero"),
        ("chess:1x6:1", "1 x 6"),
        ("chess:6x6:1", "quarter turn"),
        ("charuco:7x5:0.03:0.04", "does not fit"),
    ],
)
def test_malformed_boards_are_refused(words, told):
    with pytest.raises(RequestError, match=told) as error:
        read_board(words)
    assert "chess:9x6:0.025" in str(error.value) and "charuco:7x5:0.04:0.03" in str(error.value)


def test_corners_are_the_same_in_any_order_and_read_back_exactly(tmp_path):
    for order in (LINES, LINES[::-1], sorted(LINES)):
        (tmp_path / "a.csv").write_text("\n".join(["camera,frame,corner,x,y", *order]))
        table = read_corners(tmp_path / "a.csv", 24)
        assert table.names == ("cam2", "cam10") and table.sizes == (None, None)
        assert table.camera.tolist() == [0, 0, 1, 1] and table.corner.tolist() == [0, 3, 0, 3]
        assert table.xy.tolist() == [[3, 4], [5, 6], [0.1, 7], [1.5, 2.25]]
    with pytest.raises(BadAnnotation, match="--size"):
        with_sizes(table, None)
    table = with_sizes(table, (480, 640))
    write_corners(tmp_path / "b.csv", table)
    again = read_corners(tmp_path / "b.csv", 24)
    assert again.sizes == ((480, 640), (480, 640)) and np.array_equal(again.xy, table.xy)
    left = without(again, ("cam2",))
    assert left.names == ("cam10",) and left.camera.tolist() == [0, 0]
    with pytest.raises(BadAnnotation, match="the cameras are cam2, cam10"):
        without(again, ("cam3",))


@pytest.mark.parametrize(
    "line, told",
    [
        ("cam2,0,0,3,4", "twice"),
        ("cam2,0,24,3,4", "0 to 23"),
        ("cam2,-1,4,3,4", "frame"),
        ("cam2,0,4,nan,4", "finite"),
        ("cam2,0,4,a,4", "no number"),
        (",0,4,1,4", "camera: is empty"),
        ("cam2,0,4,1", "4 cells"),
    ],
)
def test_malformed_corners_are_refused(tmp_path, line, told):
    (tmp_path / "a.csv").write_text("\n".join(["camera,frame,corner,x,y", *LINES, line]))
    with pytest.raises(BadAnnotation, match=told):
        read_corners(tmp_path / "a.csv", 24)
