"""Calibrations of generated rings: exact where nothing is wrong, honest where something is."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from asterism.data.board_views import Ring
from asterism.engine import calibrate_start as start
from asterism.engine.calibrate import calibrate, judged
from asterism.errors import RequestError
from asterism.geometry import calibration, camera
from asterism.geometry.so3 import angle_between
from asterism.io.board import read_board
from asterism.io.corners import Corners, as_corners, without

BOARD = read_board("charuco:7x5:0.05:0.03")
CHESS = read_board("chess:6x4:0.05")
SMALL = Ring(views=3, moments=14, arc=50)
PAIR = Ring(views=2, moments=11, arc=30, noise=0.2)


def off(found, ring):
    """Relative focal errors, degrees, and metres, per camera."""
    truth = ring.cameras()
    pose = torch.from_numpy(found.table.cam_from_world)
    there = -(pose[:, :, :3].mT @ pose[:, :, 3:])[..., 0]
    return (
        np.abs(found.table.intrinsics[:, 0, 0] / truth.intrinsics[:, 0, 0].numpy() - 1),
        torch.rad2deg(angle_between(pose[..., :3], truth.cam_from_world[..., :3])).numpy(),
        (there - camera.centre(truth)).norm(dim=-1).numpy(),
    )


def renumbered(corners: Corners, which, number) -> Corners:
    """Corners of some rows have other numbers; sorted again."""
    seen = {name: [] for name in corners.names}
    for i in range(len(corners)):
        k = number(int(corners.corner[i])) if which[i] else int(corners.corner[i])
        x, y = corners.xy[i].tolist()
        seen[corners.names[corners.camera[i]]].append((int(corners.frame[i]), k, x, y))
    return as_corners(seen, dict(zip(corners.names, corners.sizes)), corners.source)


@pytest.fixture(scope="module")
def six():
    ring = Ring(views=6, moments=28, noise=0.3, seed=1)
    return ring, calibrate(ring.corners(BOARD), BOARD)


def test_perfect_corners_give_the_ring_back():
    ring = replace(PAIR, noise=0.0)
    found = calibrate(ring.corners(BOARD), BOARD)
    focal, degrees, metres = off(found, ring)
    assert max(focal.max(), metres.max()) < 1e-7 and degrees.max() < 1e-5
    np.testing.assert_allclose(found.table.distortion, ring.cameras().distortion.numpy(), atol=1e-6)
    assert found.table.names == ("cam0", "cam1") and found.table.sizes[0] == (720, 1280)


def test_six_cameras_within_their_own_sigmas(six):
    ring, found = six
    focal, degrees, metres = off(found, ring)
    assert focal.max() < 2e-3 and degrees.max() < 0.3 and metres.max() < 0.01
    for c, one in enumerate(found.report["cameras"].values()):
        assert abs(one["focal"][0] - float(ring.cameras().intrinsics[c, 0, 0])) < 4 * one["focal_sd"][0]
        assert degrees[c] <= 4 * one["turn_sd_degrees"] + 1e-9 and metres[c] <= 4 * one["place_sd"] + 1e-9
    assert found.report["noise_px"] == pytest.approx(0.3, rel=0.05)


def test_moments_kept_back_show_the_noise_and_what_adjusting_gained(six):
    _, found = six
    noise = 0.3 * math.sqrt(2 * math.log(2))
    ratio = []
    for one in found.report["cameras"].values():
        assert 0.7 * noise < one["held_out_own_px"]["median"] < 1.3 * noise
        assert one["held_out_others_px"]["median"] < 1.6 * noise
        ratio.append(one["held_out_chained_px"]["median"] / one["held_out_others_px"]["median"])
    assert min(ratio) > 0.95 and np.mean(ratio) > 1.15  # the chain without adjustment must lose


def test_a_nominal_lens_in_place_of_the_found_one_loses(six):
    """True places, but the lens of a data sheet: no distortion, the principal point in the middle."""
    ring, found = six
    truth = ring.cameras()
    k = start._usual(ring.size).repeat(6, 1, 1)
    k[:, [0, 1], [0, 1]] = truth.intrinsics[:, 0, 0, None].expand(6, 2)
    nominal = replace(truth, intrinsics=k, distortion=torch.zeros_like(truth.distortion))
    seen = start.usable(ring.corners(BOARD), BOARD)
    scene = calibration.Scene(nominal, ring.boards(BOARD)[torch.from_numpy(seen.frame)])
    held = judged(scene, scene, seen.views, torch.from_numpy(BOARD.points()), len(seen.frame))
    ours = max(one["held_out_others_px"]["median"] for one in found.report["cameras"].values())
    assert float(held.others[~held.others.isnan()].median()) > 5 * ours


def test_any_order_of_rows_and_cameras_gives_the_same_cameras():
    corners = PAIR.corners(BOARD)
    first = calibrate(corners, BOARD)
    rng = np.random.default_rng(0)
    for _ in range(3):
        seen: dict[str, list] = {name: [] for name in rng.permutation(corners.names).tolist()}
        for i in rng.permutation(len(corners)).tolist():
            x, y = corners.xy[i].tolist()
            row = (int(corners.frame[i]), int(corners.corner[i]), x, y)
            seen[corners.names[corners.camera[i]]].append(row)
        found = calibrate(as_corners(seen, dict(zip(corners.names, corners.sizes))), BOARD)
        for name in ("intrinsics", "cam_from_world", "distortion"):
            np.testing.assert_allclose(
                getattr(found.table, name), getattr(first.table, name), rtol=1e-9, atol=1e-9
            )


def test_other_names_of_the_cameras_move_the_world_and_nothing_else():
    """The world is the first camera's; lenses and relative poses are those of the same optimum."""
    corners = PAIR.corners(BOARD)
    first = calibrate(corners, BOARD).table
    seen: dict[str, list] = {"z": [], "a": []}
    new = dict(zip(corners.names, seen))
    for i in range(len(corners)):
        x, y = corners.xy[i].tolist()
        row = (int(corners.frame[i]), int(corners.corner[i]), x, y)
        seen[new[corners.names[corners.camera[i]]]].append(row)
    other = calibrate(as_corners(seen, dict.fromkeys(seen, (720, 1280))), BOARD).table
    assert other.names == ("a", "z")
    np.testing.assert_allclose(other.intrinsics[::-1], first.intrinsics, rtol=1e-4)
    assert np.linalg.norm(other.cam_from_world[1, :, 3]) == pytest.approx(
        np.linalg.norm(first.cam_from_world[1, :, 3]), rel=1e-3
    )


def test_wrong_corners_are_left_out_and_told():
    ring = replace(SMALL, noise=0.3, outliers=0.15)
    found = calibrate(ring.corners(BOARD), BOARD)
    focal, degrees, metres = off(found, ring)
    assert focal.max() < 8e-3 and degrees.max() < 0.5 and metres.max() < 0.01
    assert all(0.1 < one["left_out"] < 0.25 for one in found.report["cameras"].values())
    assert any("do not fit and were left out" in w for w in found.report["warnings"])


def test_a_chessboard_numbered_from_either_end_and_in_the_mirror():
    corners = PAIR.corners(CHESS)
    truth = calibrate(corners, CHESS)
    rng = np.random.default_rng(1)
    half = rng.random((2, 11)) < 0.5
    turned = renumbered(corners, half[corners.camera, corners.frame], lambda k: 23 - k)
    found = calibrate(turned, CHESS)
    np.testing.assert_allclose(found.table.cam_from_world, truth.table.cam_from_world, atol=1e-4)
    np.testing.assert_allclose(found.table.intrinsics, truth.table.intrinsics, rtol=1e-5)
    some = rng.random((2, 11)) < 0.2
    mirrored = renumbered(turned, some[corners.camera, corners.frame], lambda k: k // 6 * 6 + 5 - k % 6)
    found = calibrate(mirrored, CHESS)
    np.testing.assert_allclose(found.table.cam_from_world, truth.table.cam_from_world, atol=1e-4)
    assert any("mirrored" in w for w in found.report["warnings"])


def test_one_camera_numbering_all_boards_upside_down_is_found_from_the_boards_motion():
    ring, corners = PAIR, PAIR.corners(CHESS)
    found = calibrate(renumbered(corners, corners.camera == 1, lambda k: 23 - k), CHESS)
    _, degrees, _ = off(found, ring)
    assert degrees.max() < 0.5


def test_a_mirrored_camera_of_a_board_with_markers_is_refused():
    corners = SMALL.corners(BOARD)
    xy = corners.xy.copy()
    xy[corners.camera == 1, 0] = 1279 - xy[corners.camera == 1, 0]
    with pytest.raises(RequestError, match=r"camera cam1: .* mirrored"):
        calibrate(replace(corners, xy=xy), BOARD)


def test_cameras_that_never_see_the_board_together_are_named():
    corners = SMALL.corners(BOARD)
    frame = np.where(corners.camera == 1, corners.frame + 1000, corners.frame)
    rows = {name: [] for name in corners.names}
    for i in range(len(corners)):
        x, y = corners.xy[i].tolist()
        rows[corners.names[corners.camera[i]]].append((int(frame[i]), int(corners.corner[i]), x, y))
    apart = as_corners(rows, dict(zip(corners.names, corners.sizes)))
    with pytest.raises(RequestError, match=r"cam0, cam2 \| cam1.* --leave-out cam1"):
        calibrate(apart, BOARD)
    assert calibrate(without(apart, ("cam1",)), BOARD).table.names == ("cam0", "cam2")


def test_too_few_views_are_refused_and_few_are_warned_of():
    corners = SMALL.corners(BOARD)
    few = {n: getattr(corners, n)[corners.frame < 3] for n in ("camera", "frame", "corner", "xy")}
    with pytest.raises(RequestError, match=r"camera cam0: [23] views"):
        calibrate(replace(corners, **few), BOARD)
    found = calibrate(Ring(views=2, moments=7, arc=30, seed=3).corners(BOARD), BOARD)
    told = " ".join(found.report["warnings"])
    assert "views are few" in told and "keep some back" in told


def test_parallel_boards_are_refused():
    with pytest.raises(RequestError, match=r"its focal length is .* Tilt|no lens fits"):
        calibrate(replace(PAIR, tilt=0.002, arc=0.0, moments=6).corners(BOARD), BOARD)


def test_corners_in_the_middle_alone_are_warned_of():
    corners = PAIR.corners(BOARD)
    near = (np.abs(corners.xy - [639.5, 359.5]) < [330, 190]).all(-1)
    rows = {n: getattr(corners, n)[near] for n in ("camera", "frame", "corner", "xy")}
    found = calibrate(replace(corners, **rows), BOARD)
    assert sum("only in the middle" in w for w in found.report["warnings"]) == 2
    assert all(one["coverage"] < 0.5 for one in found.report["cameras"].values())


def test_one_camera_alone_is_calibrated():
    found = calibrate(without(PAIR.corners(BOARD), ("cam1",)), BOARD)
    one = found.report["cameras"]["cam0"]
    off = abs(one["focal"][0] - float(PAIR.cameras().intrinsics[0, 0, 0]))
    assert len(found.table) == 1 and off < min(4 * one["focal_sd"][0], 30)


def test_moments_are_chosen_for_what_they_cover():
    corners = replace(SMALL, moments=40).corners(BOARD)
    seen = start.usable(corners, BOARD)
    chosen = start.choose(seen, 12)
    assert len(chosen) == 12 and (np.diff(chosen) > 0).all()
    cells = [
        sum(
            len(set(start.cells_of(s.views.xy[i][s.views.valid[i]].numpy(), (720, 1280)).tolist()))
            for i in range(len(s.views))
        )
        for s in (seen.at(chosen), seen.at(np.arange(12)))
    ]
    assert cells[0] > cells[1]
