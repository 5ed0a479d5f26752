"""An OBJ file with its vertices elsewhere: faces, texture coordinates and materials stay as they are."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from asterism.errors import BadCloud
from asterism.io.atomic import write_text
from asterism.io.points import Cloud


def write_moved_obj(path: Path, source: Path, cloud: Cloud, points: Float[np.ndarray, "V 3"]) -> None:
    """Write `source` again with the vertices at `points`; what stands behind x y z (colours) stays.

    Normals (vn) turn with the triangles that use them. Raises BadCloud when the file has changed since
    `cloud` was read from it.
    """
    lines = source.read_text(encoding="utf-8", errors="replace").splitlines()
    places = [i for i, line in enumerate(lines) if line.split()[:1] == ["v"]]
    if len(places) != len(points):
        raise BadCloud(f"{source}: has {len(places)} vertices now, and had {len(points)}; run it again")
    for i, xyz in zip(places, points.tolist(), strict=True):
        lines[i] = " ".join(["v", *map(repr, xyz), *lines[i].split()[4:]])
    for i, normal in _turned(lines, cloud.points, points).items():
        lines[i] = " ".join(["vn", *(f"{value:.6g}" for value in normal.tolist())])
    write_text(path, "\n".join(lines) + "\n")


def _turned(lines: list[str], before: np.ndarray, after: np.ndarray) -> dict[int, np.ndarray]:
    """Each line of a normal that is used, and the normal turned as the triangles around it turned."""
    places = [i for i, line in enumerate(lines) if line.split()[:1] == ["vn"]]
    total, seen, count = np.zeros((len(places), 3)), 0, 0
    for line in lines:
        words = line.split("#")[0].split()
        seen, count = seen + (words[:1] == ["v"]), count + (words[:1] == ["vn"])
        corners = [word.split("/") for word in words[1:]]
        if words[:1] != ["f"] or len(corners) < 3 or any(len(c) < 3 or not c[2] for c in corners):
            continue
        corner = [_number(c[0], seen) for c in corners[:3]]
        turn = _rotation(_normal(before[corner]), _normal(after[corner]))
        for k in (_number(c[2], count) for c in corners):
            if 0 <= k < len(places):
                total[k] += turn @ np.array(lines[places[k]].split()[1:4], dtype=np.float64)
    length = np.linalg.norm(total, axis=1)
    return {i: total[k] / length[k] for k, i in enumerate(places) if length[k] > 0}


def _number(word: str, seen: int) -> int:
    """OBJ counts from 1, or from the end of what has been said so far."""
    return int(word) - 1 if int(word) > 0 else seen + int(word)


def _normal(corners: np.ndarray) -> np.ndarray:
    cross = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    return cross / max(float(np.linalg.norm(cross)), 1e-300)


def _rotation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The smallest that takes direction a to b; none for triangles without area or turned over."""
    axis, cosine = np.cross(a, b), float(a @ b)
    if cosine < -0.999 or not a.any() or not b.any():
        return np.eye(3)
    x, y, z = axis
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + skew + skew @ skew / (1 + cosine)
