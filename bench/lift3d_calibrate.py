"""Cameras from a board: python bench/lift3d_calibrate.py [--seeds 0 1 2] [--peers FOLDER].

Generated rings (data.board_views.Ring: 1280 x 720, 40 moments of a charuco board of 7 x 5 squares of 50 mm,
lenses with distortion), corners with known noise and strays. Rows, the median and the worst over all cameras
and seeds:
focal  relative error of fx in per mille     degrees, mm   of every camera's pose against the first's
held   median distance in pixels, on moments that were kept back, to the board as the other cameras see it;
       "chained" with the cameras before they are adjusted together, the control
sure   how many of all fx, fy, cx and cy lie within 1.96 of their standard deviations (asked: .95)
opencv calibrateCamera per camera, and stereoCalibrate of each with the first, on the same corners
nominal: true places and focal length, no distortion, the centre in the middle: held-out pixels of a lens
       taken from a data sheet, which must lose
shuffles: the largest difference of any number of the cameras over ten orders of the rows
"""

import argparse
import sys
import time
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import record
import torch

from asterism.data.board_views import Ring
from asterism.engine import calibrate_start as start
from asterism.engine.calibrate import Calibrated, calibrate, judged
from asterism.geometry import calibration, camera
from asterism.geometry.so3 import angle_between
from asterism.io.board import Board, read_board
from asterism.io.corners import Corners, as_corners

BOARD = read_board("charuco:7x5:0.05:0.035")
RINGS = {
    "4 cameras, .1 px": Ring(moments=40, noise=0.1),
    "4 cameras, .3 px": Ring(moments=40, noise=0.3),
    "4 cameras, 1 px": Ring(moments=40, noise=1.0),
    "3 cameras, .3 px": Ring(views=3, moments=40, arc=60),
    "6 cameras, .3 px": Ring(views=6, moments=40),
    "4 cameras, .3 px, 5 % strays": Ring(moments=40, outliers=0.05),
    "4 cameras, .3 px, 15 % strays": Ring(moments=40, outliers=0.15),
}


def off(k: np.ndarray, pose: torch.Tensor, ring: Ring) -> np.ndarray:
    """ "V 3": per mille, degrees, millimetres."""
    truth = ring.cameras()
    there = -(pose[:, :, :3].mT @ pose[:, :, 3:])[..., 0]
    focal = 1e3 * np.abs(k[:, 0, 0] / truth.intrinsics[:, 0, 0].numpy() - 1)
    degrees = torch.rad2deg(angle_between(pose[..., :3], truth.cam_from_world[..., :3])).numpy()
    return np.stack([focal, degrees, 1e3 * (there - camera.centre(truth)).norm(dim=-1).numpy()], axis=1)


def sure(found: Calibrated, ring: Ring) -> np.ndarray:
    """ "V 4": errors of fx, fy, cx, cy in their standard deviations."""
    truth = ring.cameras().intrinsics.numpy()
    out = []
    for c, one in enumerate(found.report["cameras"].values()):
        told = np.array([*one["focal"], *one["centre"]])
        sd = np.array([*one["focal_sd"], *one["centre_sd"]])
        out.append((told - truth[c][[0, 1, 0, 1], [0, 1, 2, 2]]) / sd)
    return np.array(out)


def nominal(corners: Corners, ring: Ring) -> float:
    """Held-out pixels of a lens from a data sheet."""
    truth = ring.cameras()
    k = start._usual(ring.size).repeat(ring.views, 1, 1)
    k[:, [0, 1], [0, 1]] = truth.intrinsics[:, 0, 0, None].expand(ring.views, 2)
    flat = replace(truth, intrinsics=k, distortion=torch.zeros_like(truth.distortion))
    seen = start.usable(corners, BOARD)
    scene = calibration.Scene(flat, ring.boards(BOARD)[torch.from_numpy(seen.frame)])
    held = judged(scene, scene, seen.views, torch.from_numpy(BOARD.points()), len(seen.frame))
    return float(held.others[~held.others.isnan()].median())


def opencv(
    cv2: Any, corners: Corners, board: Board, size: tuple[int, int]
) -> tuple[np.ndarray, torch.Tensor]:
    """Each camera alone, then each against the first."""
    points, views = board.points().astype(np.float32), []
    for c in range(len(corners.names)):
        mine = corners.camera == c
        seen = {}
        for t in np.unique(corners.frame[mine]):
            rows = mine & (corners.frame == t)
            if rows.sum() >= 6:
                seen[int(t)] = (corners.corner[rows], corners.xy[rows].astype(np.float32))
        views.append(seen)
    lens = []
    for seen in views:
        objects = [points[ids] for ids, _ in seen.values()]
        lens.append(
            cv2.calibrateCamera(objects, [xy for _, xy in seen.values()], size[::-1], None, None)[1:3]
        )
    pose = [torch.eye(4, dtype=torch.float64)[:3]]
    for c in range(1, len(views)):
        objects, one, two = [], [], []
        for t in views[0].keys() & views[c].keys():
            ids, a, b = np.intersect1d(views[0][t][0], views[c][t][0], return_indices=True)
            if len(ids) >= 6:
                objects.append(points[ids])
                one.append(views[0][t][1][a])
                two.append(views[c][t][1][b])
        flags = cv2.CALIB_FIX_INTRINSIC
        told = cv2.stereoCalibrate(objects, one, two, *lens[0], *lens[c], size[::-1], flags=flags)
        pose.append(torch.from_numpy(np.concatenate([told[5], told[6].reshape(3, 1)], axis=1)))
    return np.stack([k for k, _ in lens]), torch.stack(pose)


def row(ring: Ring, seeds: list[int], cv2: Any) -> dict[str, Any]:
    told: dict[str, list] = {}
    for seed in seeds:
        one = replace(ring, seed=seed)
        corners = one.corners(BOARD)
        began = time.process_time()
        found = calibrate(corners, BOARD)
        told.setdefault("seconds", []).append(time.process_time() - began)
        told.setdefault("off", []).append(
            off(found.table.intrinsics, torch.from_numpy(found.table.cam_from_world), one)
        )
        told.setdefault("sure", []).append(sure(found, one))
        for key in ("held_out_others_px", "held_out_chained_px"):
            each = [c[key]["median"] for c in found.report["cameras"].values()]
            told.setdefault(key, []).append(each)
        told.setdefault("nominal", []).append(nominal(corners, one))
        if cv2 is not None:
            began = time.process_time()
            k, pose = opencv(cv2, corners, BOARD, one.size)
            told.setdefault("opencv seconds", []).append(time.process_time() - began)
            told.setdefault("opencv", []).append(off(k, pose, one))
    out: dict[str, Any] = {"asterism": _said(np.concatenate(told["off"]))}
    if cv2 is not None:
        out["opencv"] = _said(np.concatenate(told["opencv"]))
        out["opencv seconds"] = round(float(np.median(told["opencv seconds"])), 2)
    out["within 1.96 standard deviations"] = round(
        float((np.abs(np.concatenate(told["sure"])) < 1.96).mean()), 3
    )
    out["held px"] = round(float(np.median(np.concatenate(told["held_out_others_px"]))), 3)
    out["held px, chained only"] = round(float(np.median(np.concatenate(told["held_out_chained_px"]))), 3)
    out["held px, nominal lens"] = round(float(np.median(told["nominal"])), 3)
    out["seconds"] = round(float(np.median(told["seconds"])), 2)
    return out


def _said(values: np.ndarray) -> dict[str, list[float]]:
    """Median and worst; the first camera is the world and has no pose error."""
    names = ("focal per mille", "degrees", "mm")
    rows = (values[:, 0], values[values[:, 2] > 0, 1], values[values[:, 2] > 0, 2])
    return {n: [round(float(np.median(v)), 4), round(float(v.max()), 4)] for n, v in zip(names, rows)}


def shuffles(orders: int) -> float:
    """The largest difference in lens (relative), turn and place over orders of the rows."""
    corners = replace(RINGS["4 cameras, .3 px"], moments=20).corners(BOARD)
    rng, tables = np.random.default_rng(0), []
    for _ in range(orders):
        seen: dict[str, list] = {name: [] for name in rng.permutation(corners.names).tolist()}
        for i in rng.permutation(len(corners)).tolist():
            x, y = corners.xy[i].tolist()
            seen[corners.names[corners.camera[i]]].append(
                (int(corners.frame[i]), int(corners.corner[i]), x, y)
            )
        tables.append(calibrate(as_corners(seen, dict(zip(corners.names, corners.sizes))), BOARD).table)
    return max(
        float(np.abs(getattr(a, name) / scale - getattr(b, name) / scale).max())
        for a, b in pairwise(tables)
        for name, scale in (("intrinsics", 1e3), ("cam_from_world", 1.0), ("distortion", 1.0))
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--peers", default="")
    given = parser.parse_args()
    cv2 = None
    if given.peers:
        sys.path.append(given.peers)  # at the end: numpy and torch stay this environment's
        import cv2
    torch.set_num_threads(1)
    figures: dict[str, Any] = {name: row(ring, given.seeds, cv2) for name, ring in RINGS.items()}
    figures["shuffles: largest difference"] = shuffles(10)
    note = f"opencv {cv2.__version__}" if cv2 else "without opencv"
    record.write("lift3d_calibrate", figures, seeds=given.seeds, note=note)


if __name__ == "__main__":
    main()
