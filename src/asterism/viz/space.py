"""Cameras, points and ellipsoids in space, drawn flat: from above and from the side, with Pillow alone."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from asterism.geometry import camera
from asterism.geometry.triangulation import Points3D
from asterism.io.atomic import atomic_write
from asterism.io.cameras import CameraTable
from asterism.types import Cameras
from asterism.viz.draw import Picture, colours

_INK, _PAPER, _FAINT = (40, 40, 40), (255, 255, 255), (200, 200, 200)
_CHI = 7.815  # 95 % of chi square with three degrees of freedom
_SIDE, _EDGE, _FINE = 560, 48, 3  # pixels of a panel, its margin, and how much finer it is drawn
_LEAST = 7.0  # pixels: the largest ellipsoid is drawn at least so long
_DEPTH = 0.12  # how long a camera's pyramid is, of the distance between cameras and points


def scene(
    cameras: Cameras,
    names: tuple[str, ...],
    xyz: Float[np.ndarray, "K 3"],
    cov: Float[np.ndarray, "K 3 3"],
    valid: Bool[np.ndarray, " K"],
) -> Picture:
    """Two panels, from above and from the side; up is where most cameras have it.

    Ellipsoids hold 95 %; where they were too small to see all are drawn larger by one factor, which is told.
    """
    at = camera.centre(cameras).numpy()
    axes = _axes(cameras.cam_from_world[:, 1, :3].numpy(), at)
    some = xyz[valid]
    every = np.concatenate([at, some, _pyramids(cameras, some).reshape(-1, 3)])
    middle, reach = (every.max(0) + every.min(0)) / 2, np.abs(every - (every.max(0) + every.min(0)) / 2)
    scale = (_SIDE / 2 - _EDGE) / max(float(np.linalg.norm(reach, axis=1).max()), 1e-12)
    longest = float(np.sqrt(_CHI * np.linalg.eigvalsh(cov[valid])[:, -1].max())) if valid.any() else 0.0
    larger = max(1.0, _LEAST / max(scale * longest, 1e-12)) if longest else 1.0
    larger = 1.0 if larger < 1.5 else float(f"{larger:.1g}")
    panels = []
    for title, plane in (("from above", axes[[0, 2]]), ("from the side", axes[[0, 1]])):
        panels.append(_panel(title, plane, middle, scale, cameras, names, at, xyz, cov, valid, larger))
    return np.concatenate(panels, axis=1)


def draw_scene(path: Path, cameras: Cameras, table: CameraTable, points: Points3D) -> None:
    """The moment with most points, as a PNG."""
    t = int(points.valid.sum(1).argmax())
    picture = scene(
        cameras, table.names, points.xyz[t].numpy(), points.cov[t].numpy(), points.valid[t].numpy()
    )
    with atomic_write(path) as temporary:
        Image.fromarray(picture).save(temporary)


def _axes(down: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Right, down and away, "3 3": down as most cameras have it, right along the cameras' longest spread."""
    below = down.mean(0)
    below = below / max(float(np.linalg.norm(below)), 1e-12)
    flat = (at - at.mean(0)) @ (np.eye(3) - np.outer(below, below))
    right = np.linalg.svd(flat)[2][0]
    right = right - below * (right @ below)
    right = right / max(float(np.linalg.norm(right)), 1e-12)
    return np.stack([right, below, np.cross(right, below)])


def _pyramids(cameras: Cameras, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """V 4 3: the corners of what each camera sees, at a small depth; twice the principal point wide."""
    at = camera.centre(cameras).numpy()
    towards = points.mean(0) if len(points) else at.mean(0)
    depth = _DEPTH * float(np.median(np.linalg.norm(at - towards, axis=1)))
    k = cameras.intrinsics.numpy()
    half = np.stack([k[:, 0, 2] / k[:, 0, 0], k[:, 1, 2] / k[:, 1, 1]], axis=1)[:, None]
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * np.abs(half)
    ray = np.concatenate([corners, np.ones((len(at), 4, 1))], axis=2) * depth
    return camera.world_from_cam(cameras, torch.from_numpy(ray)).numpy()


def _panel(
    title: str,
    plane: NDArray[np.float64],
    middle: NDArray[np.float64],
    scale: float,
    cameras: Cameras,
    names: tuple[str, ...],
    at: NDArray[np.float64],
    xyz: NDArray[np.float64],
    cov: NDArray[np.float64],
    valid: NDArray[np.bool_],
    larger: float,
) -> Picture:
    image = Image.new("RGB", (_SIDE * _FINE, _SIDE * _FINE), _PAPER)
    pen = ImageDraw.Draw(image)

    def place(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return _FINE * (_SIDE / 2 + scale * (points - middle) @ plane.T)

    corners = place(_pyramids(cameras, xyz[valid]))
    for tip, base in zip(place(at), corners):
        for i in range(4):
            pen.line([tuple(base[i]), tuple(base[(i + 1) % 4])], fill=_INK, width=_FINE)
            pen.line([tuple(tip), tuple(base[i])], fill=_FAINT, width=_FINE)
    for where, spread, ok, colour in zip(place(xyz), cov, valid, colours(len(xyz))):
        if ok:
            ring = where + _FINE * scale * larger * _ring(plane @ spread @ plane.T)
            pen.polygon([tuple(p) for p in ring], outline=colour, width=_FINE)
            pen.ellipse([*(where - 2 * _FINE), *(where + 2 * _FINE)], fill=colour)
    image = image.resize((_SIDE, _SIDE), Image.Resampling.BOX)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(12)
    for tip, name in zip(place(at) / _FINE, names):
        pen.text((tip[0], tip[1] - 6), name, _INK, font=font, anchor="mb")
    told = "ellipsoids of 95 %" + (f", {larger:g} times as large" if larger > 1 else "")
    pen.text((_SIDE / 2, 8), f"{title} ({told})", _INK, font=font, anchor="ma")
    return np.asarray(image)


def _ring(cov: NDArray[np.float64]) -> NDArray[np.float64]:
    """The outline of an ellipsoid's shadow, "64 2": covariances project as they stand."""
    values, vectors = np.linalg.eigh(cov)
    turn = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    return circle * np.sqrt(_CHI * np.maximum(values, 0)) @ vectors.T
