"""Where one scan may lie in another when only the turn is known: all shifts at once, by their spectra.

Both clouds become small grids of surface (the sum of unit normals in a cell) and of air. For every shift the
correlation of the grids tells how much surface comes to lie on surface that faces the same way, and how
much lies in the other's air; the convolution theorem gives all of them in a few transforms. Turns come from
frames: rooms, buildings and made things have surfaces in three directions at right angles, and two such
frames fit in 24 ways.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import fft, ndimage
from scipy.spatial.transform import Rotation

_SIDE = 32  # cells along the longest edge; the spectra have twice as many, so nothing wraps around
_AIR = 6.0  # what surface in the other's air costs, in surface on surface
_ROOM = 1.75  # sqrt(3): a turned box is longer
_NEAR = np.cos(np.deg2rad(8))
_SMOOTH = np.array([0.5, 1.0, 0.5], np.float32)
_ASKED = 300  # normals that are tried as an axis


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Points with one-sided unit normals, and places in the air before them (none where it is not known)."""

    points: Float[np.ndarray, "N 3"]
    normals: Float[np.ndarray, "N 3"]
    air: Float[np.ndarray, "M 3"]

    def turned(self, rotation: Float[np.ndarray, "3 3"]) -> "Seen":
        by = rotation.T
        return Seen(points=self.points @ by, normals=self.normals @ by, air=self.air @ by)


def frame(normal: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "3 3"]:
    """Three axes at right angles, as columns, along which most normals lie: the best one of those asked, then
    the best two across it. Sign and order are arbitrary.
    """
    asked = normal[np.linspace(0, len(normal) - 1, min(_ASKED, len(normal))).astype(int)]
    first = asked[(np.abs(asked @ normal.T) > _NEAR).sum(1).argmax()]
    for _ in range(5):
        first = _middle(normal, first, first)
    across = asked - np.outer(asked @ first, first)
    long = np.linalg.norm(across, axis=1)
    if long.max() < 1e-6:  # one plane: any direction in it
        across = np.eye(3) - np.outer(first, first)
        long = np.linalg.norm(across, axis=1)
    keep = long > 0.5 * long.max()
    across = across[keep] / long[keep][:, None]
    hits = (np.abs(across @ normal.T) > _NEAR) | (np.abs(np.cross(first, across) @ normal.T) > _NEAR)
    second = across[hits.sum(1).argmax()]
    for _ in range(5):
        other = np.cross(first, second)
        both = _sum(normal, second) + np.cross(_sum(normal, other), first)
        both -= first * (both @ first)
        second = both / max(float(np.linalg.norm(both)), 1e-300) if np.linalg.norm(both) > 0 else second
    return np.stack([first, second, np.cross(first, second)], axis=1)


def turns(a: Float[np.ndarray, "3 3"], b: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "24 3 3"]:
    """The rotations that bring the axes of one frame onto those of the other."""
    return b @ Rotation.create_group("O").as_matrix() @ a.T


def cell_for(a: Float[np.ndarray, "N 3"], b: Float[np.ndarray, "M 3"]) -> float:
    """The edge of the cells in which each of the clouds fits, however it is turned."""
    return _ROOM * float(max(np.ptp(a, axis=0).max(), np.ptp(b, axis=0).max())) / _SIDE


def places(
    a: Seen, b: Seen, rotations: Float[np.ndarray, "R 3 3"], cell: float, each: int = 3
) -> Float[np.ndarray, "S 4 4"]:
    """Motions b_from_a, `each` best shifts of each rotation to within a cell, the best first."""
    spectra, corner_b = _spectra(b, cell, smooth=True)
    found, worth = [], []
    for rotation in rotations:
        ours, corner_a = _spectra(a.turned(rotation), cell)
        total = sum(np.conj(x) * y for x, y in zip(ours[:3], spectra[:3]))
        total = total - _AIR * (np.conj(ours[3]) * spectra[4] + np.conj(ours[4]) * spectra[3])
        score = np.asarray(fft.irfftn(total, (2 * _SIDE,) * 3))
        for value, shift in _peaks(score, each):
            motion = np.eye(4)
            motion[:3, :3], motion[:3, 3] = rotation, corner_b - corner_a + shift * cell
            found.append(motion)
            worth.append(value)
    return np.stack(found)[np.argsort(-np.array(worth), kind="stable")]


def _peaks(score: NDArray[np.floating], each: int) -> list[tuple[float, Float[np.ndarray, "3"]]]:
    """The highest cells, not next to each other, as shifts in cells; `score` is used up."""
    out = []
    for _ in range(each):
        at = np.array(np.unravel_index(score.argmax(), score.shape))
        out.append((float(score[tuple(at)]), np.where(at >= _SIDE, at - 2 * _SIDE, at).astype(float)))
        score[np.ix_(*(np.arange(i - 2, i + 3) % (2 * _SIDE) for i in at))] = -np.inf
    return out


def _spectra(
    seen: Seen, cell: float, smooth: bool = False
) -> tuple[list[NDArray[np.complexfloating]], Float[np.ndarray, "3"]]:
    """Spectra of the three components of the normals, of surface, and of air, and the grid's corner."""
    corner = (seen.points.min(0) + seen.points.max(0)) / 2 - _SIDE / 2 * cell
    grids = _grids(seen.points, [*seen.normals.T, np.ones(len(seen.points))], corner, cell)
    if smooth:
        for axis in range(3):
            wide = [np.asarray(ndimage.convolve1d(g, _SMOOTH, axis=axis, mode="wrap")) for g in grids[:3]]
            grids = wide + grids[3:]
    grids += _grids(seen.air, [np.ones(len(seen.air))], corner, cell)
    return [np.asarray(fft.rfftn(g)) for g in grids], corner


def _grids(
    points: Float[np.ndarray, "N 3"], values: list[np.ndarray], corner: np.ndarray, cell: float
) -> list[NDArray[np.float32]]:
    """Means of the values in each cell; 0 where nothing is, and in the half that is only room to move."""
    at = np.floor((points - corner) / cell).astype(np.int64)
    here = ((at >= 0) & (at < _SIDE)).all(1)
    flat = (at[here] @ np.array([4 * _SIDE**2, 2 * _SIDE, 1])).astype(np.int64)
    size = (2 * _SIDE) ** 3
    count = np.maximum(np.bincount(flat, minlength=size), 1)
    shape = (2 * _SIDE,) * 3
    return [(np.bincount(flat, v[here], size) / count).reshape(shape).astype(np.float32) for v in values]


def _sum(normal: np.ndarray, axis: np.ndarray) -> np.ndarray:
    cosine = normal @ axis
    near = np.abs(cosine) > _NEAR
    return (normal[near] * np.sign(cosine[near])[:, None]).sum(0)


def _middle(normal: np.ndarray, axis: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    total = _sum(normal, axis)
    long = float(np.linalg.norm(total))
    return total / long if long > 0 else otherwise
