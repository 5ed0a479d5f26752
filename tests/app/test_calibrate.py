"""`asterism calibrate`: corners or pictures in, cameras and a report out; then points in space from them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from asterism.app.cli import main
from asterism.data.board_views import Ring
from asterism.engine.board_corners import named
from asterism.errors import RequestError
from asterism.geometry import camera, rigid
from asterism.geometry.homography import Homography
from asterism.io.board import read_board
from asterism.io.cameras import read_cameras
from asterism.io.corners import read_corners, write_corners
from asterism.io.images import write_image
from asterism.io.motion import read_motion
from asterism.ops.sampling import warp_image

WORDS = "charuco:7x5:0.05:0.035"
BOARD = read_board(WORDS)
RING = Ring(views=3, moments=12, arc=40, noise=0.2)


@pytest.fixture
def corners(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_corners("corners.csv", RING.corners(BOARD))


def words(*more):
    return ["calibrate", "--board", WORDS, "--detections", "corners.csv", "-o", "rig.toml", *more]


def test_corners_become_cameras_that_triangulate(corners, capsys):
    assert main([*words("--save-detections", "again.csv"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert json.loads(Path("rig.report.json").read_text()) == told
    assert Path("again.csv").read_text() == Path("corners.csv").read_text()
    assert set(told["cameras"]) == {"cam0", "cam1", "cam2"} and told["noise_px"] < 0.25
    table = read_cameras("rig.toml")
    assert table.names == ("cam0", "cam1", "cam2") and table.sizes[0] == (720, 1280)
    xyz = torch.tensor([[0.1, 0.05, 1.2], [-0.1, 0.1, 1.0], [0, -0.1, 1.3], [0.05, 0, 1.1]]).double()
    for v in range(3):
        xy = camera.project(RING.cameras()[v], xyz[None])[0][0]
        lines = [f"clip.mp4#{t},0,{x!r},{y!r}" for t, (x, y) in enumerate(xy.tolist())]
        Path(f"{v}.csv").write_text("\n".join(["image,individual,nose_x,nose_y", *lines]) + "\n")
    keypoints = ["--keypoints", "0.csv", "1.csv", "2.csv"]
    assert main(["triangulate", "--cameras", "rig.toml", *keypoints, "-o", "xyz.csv"]) == 0
    assert np.abs(read_motion("xyz.csv").xyz[:, 0] - xyz.numpy()).max() < 0.01


def test_lines_and_the_ending_of_the_output(corners, capsys):
    assert main([*words("--leave-out", "cam2"), "-o", "a.json"]) == 0
    out = capsys.readouterr().out
    assert "held_out_others_px" in out and "focal_sd" in out and "cam2" not in out
    assert read_cameras("a.json").names == ("cam0", "cam1")


def test_wrong_requests(corners, capsys):
    for request, told in (
        (words("--board", "chess:6x6:1"), "quarter turn"),
        (words("-o", "rig.yml"), ".toml"),
        (words("--leave-out", "cam9"), "cam0, cam1, cam2"),
        (words("--most", "2"), "--most 2"),
        (words("--size", "12"), "--size 12"),
        (words("--board", "chess:3x2:0.05"), "0 to 5"),
        ([*words(), "clip.mp4"], "not both"),
        (["calibrate", "--board", WORDS, "-o", "rig.toml"], "--detections"),
    ):
        assert main(request) == 2
        assert told in capsys.readouterr().err
    plain = [line.rsplit(",", 2)[0] for line in Path("corners.csv").read_text().splitlines()]
    Path("corners.csv").write_text("\n".join(plain) + "\n")
    assert main(words()) == 2
    assert "--size" in capsys.readouterr().err


def test_what_is_missing_is_told(tmp_path, monkeypatch, capsys):
    import sys

    monkeypatch.setitem(sys.modules, "cv2", None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    assert main(["calibrate", "a", "--board", WORDS, "-o", "rig.toml"]) == 2
    assert 'pip install "asterism[boards]"' in capsys.readouterr().err


def test_inputs_are_named_after_files_and_folders(tmp_path):
    for name in ("cam10", "cam2", ".hidden"):
        (tmp_path / name).mkdir()
    assert list(named([str(tmp_path)])) == ["cam2", "cam10"]
    assert named(["left.mp4", "right.mp4"]) == {"left": "left.mp4", "right": "right.mp4"}
    with pytest.raises(RequestError, match="both would be called 'left'"):
        named(["left.mp4", "b/left.avi"])


def photographed(cv2, board, ring, folder):
    """Pictures of a board without lens distortion, each warped from its print; truth per view."""
    scale, edge = 30, 60  # pixels of a square, and of the grey around the print
    print_ = np.pad(printed(cv2, board, scale), edge, constant_values=128)
    cameras = replace(ring.cameras(), distortion=torch.zeros(ring.views, 5, dtype=torch.float64))
    h, w = ring.size
    source = np.full((max(h, print_.shape[0]), max(w, print_.shape[1])), 128, np.uint8)
    source[: print_.shape[0], : print_.shape[1]] = print_
    image = torch.from_numpy(source).double()[None, None]
    first = edge + (2 if board.kind == "chess" else 1) * scale  # pixels before the first inner corner
    pixel = board.square / scale
    shift = (first - 0.5) * pixel
    metres = torch.tensor([[pixel, 0, -shift], [0, pixel, -shift], [0, 0, 1]], dtype=torch.float64)
    truth = []
    for v in range(ring.views):
        (folder / f"cam{v}").mkdir(parents=True)
        for t, pose in enumerate(ring.boards(board)):
            cam = rigid.compose(cameras.cam_from_world[v][None], pose[None])[0]
            flat = cameras.intrinsics[v] @ cam[:, [0, 1, 3]] @ metres
            flat = flat / flat[2, 2]
            shown = warp_image(image, Homography(b_from_a=flat[None]))[0, 0, :h, :w]
            picture = shown.round().numpy().astype(np.uint8)
            write_image(folder / f"cam{v}" / f"{t:03}.png", np.repeat(picture[..., None], 3, axis=2))
            points = torch.from_numpy(board.points())[None]
            one = replace(cameras[v], cam_from_world=cam[None])
            truth.append(camera.project(one, points)[0][0].numpy())
    return cameras, np.stack(truth).reshape(ring.views, ring.moments, len(board), 2)


def printed(cv2, board, scale):
    """The board as it lies on paper: chessboards have a white margin of a square."""
    if board.kind == "charuco":
        from asterism.io.board_opencv import _made

        size = ((board.columns + 1) * scale, (board.rows + 1) * scale)
        return _made(cv2, board).generateImage(size, marginSize=0, borderBits=1)
    y, x = np.mgrid[: board.rows + 1, : board.columns + 1]
    squares = np.where((x + y) % 2, 255, 0).astype(np.uint8)
    return np.pad(np.kron(squares, np.ones((scale, scale), np.uint8)), scale, constant_values=255)


@pytest.mark.parametrize("spec", [WORDS, "chess:7x4:0.04"])
def test_pictures_of_a_board(spec, tmp_path, monkeypatch, capsys):
    """From pictures to cameras: corners to a quarter of a pixel, the focal length to half a per cent."""
    cv2 = pytest.importorskip("cv2")
    monkeypatch.chdir(tmp_path)
    board = read_board(spec)
    ring = Ring(views=2, moments=12, arc=30, size=(480, 640), tilt=0.35, seed=2)
    cameras, truth = photographed(cv2, board, ring, tmp_path / "rig")
    request = ["calibrate", "rig", "--board", spec, "-o", "rig.toml", "--save-detections", "c.csv", "--json"]
    assert main(request) == 0
    told = json.loads(capsys.readouterr().out)
    found = read_corners("c.csv", len(board))
    off = np.linalg.norm(found.xy - truth[found.camera, found.frame, found.corner], axis=1)
    if board.half_turn:  # whichever end was first
        other = truth[found.camera, found.frame, len(board) - 1 - found.corner]
        off = np.minimum(off, np.linalg.norm(found.xy - other, axis=1))
    assert len(found) > 150 and np.median(off) < 0.25
    focal = np.array([one["focal"][0] for one in told["cameras"].values()])
    assert np.abs(focal / cameras.intrinsics[:, 0, 0].numpy() - 1).max() < 5e-3
