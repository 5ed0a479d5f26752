"""Keypoints of clouds as files: a table (.csv), .json, and .ply, which every viewer of clouds opens."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from asterism.errors import RequestError
from asterism.io.atomic import write_json, write_text
from asterism.io.locate import relative_name

COLUMNS = ("file", "number", "x", "y", "z", "score", "sigma")


@dataclass(frozen=True, kw_only=True)
class CloudPoints:
    """P keypoints of one cloud, in the unit of its file.

    `number` tells them apart: methods that find the same points on every shape always give a point the same
    one; of other methods it is the rank. `sigma` is None where the method knows no doubt.
    """

    file: str
    number: Int[np.ndarray, " P"]
    xyz: Float[np.ndarray, "P 3"]
    score: Float[np.ndarray, " P"]
    sigma: Float[np.ndarray, " P"] | None = None


def check_points_format(path: Path, clouds: int) -> None:
    """Raises RequestError where so many clouds cannot be written into a file of that ending."""
    if path.suffix.lower() not in POINT_WRITERS:
        raise RequestError(f"-o {path}: wanted an ending of {', '.join(POINT_WRITERS)}")
    if path.suffix.lower() == ".ply" and clouds != 1:
        raise RequestError(f"-o {path}: a .ply holds one cloud, there are {clouds}; name a .csv or .json")


def write_points(path: Path, found: Sequence[CloudPoints], method: str) -> None:
    """Write wholly or not at all, with numbers that are read back exactly. Raises as check_points_format."""
    check_points_format(path, len(found))
    POINT_WRITERS[path.suffix.lower()](path, found, method)


def _rows(one: CloudPoints) -> list[tuple[int, list[float], float, float | None]]:
    sigma = [None] * len(one.number) if one.sigma is None else one.sigma.tolist()
    return list(zip(one.number.tolist(), one.xyz.tolist(), one.score.tolist(), sigma))


def _write_csv(path: Path, found: Sequence[CloudPoints], method: str) -> None:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in found:
        name = relative_name(one.file, path.parent)
        for number, xyz, score, sigma in _rows(one):
            writer.writerow(
                [name, number, *map(repr, xyz), repr(score), "" if sigma is None else repr(sigma)]
            )
    write_text(path, out.getvalue())


def _write_json(path: Path, found: Sequence[CloudPoints], method: str) -> None:
    clouds = [
        {
            "file": relative_name(one.file, path.parent),
            "points": [
                {"number": number, "xyz": xyz, "score": score, "sigma": sigma}
                for number, xyz, score, sigma in _rows(one)
            ],
        }
        for one in found
    ]
    write_json(path, {"format": 1, "method": method, "clouds": clouds})


def _write_ply(path: Path, found: Sequence[CloudPoints], method: str) -> None:
    (one,) = found
    names = ["x", "y", "z", "score", *([] if one.sigma is None else ["sigma"])]
    head = ["ply", "format ascii 1.0", f"comment keypoints of {method}", f"element vertex {len(one.number)}"]
    head += [*(f"property double {name}" for name in names), "property int number", "end_header"]
    lines = [
        " ".join([*map(repr, xyz), repr(score), *([] if sigma is None else [repr(sigma)]), str(number)])
        for number, xyz, score, sigma in _rows(one)
    ]
    write_text(path, "\n".join([*head, *lines]) + "\n")


POINT_WRITERS: Mapping[str, Callable[[Path, Sequence[CloudPoints], str], None]] = {
    ".csv": _write_csv,
    ".json": _write_json,
    ".ply": _write_ply,
}
