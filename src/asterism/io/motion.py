"""Points in space over time, in files: a wide CSV, TRC (OpenSim, Mokka, Pose2Sim) and NPZ.

CSV: a line per moment and individual. Columns frame, individual, unit, and of every point _x, _y, _z, _error
(pixels), _views (names of the cameras that agreed, joined by |) and the covariance _xx, _xy, _xz, _yy, _yz,
_zz. Empty cells are missing points. NPZ has the arrays of Motion by name. TRC has room for positions alone,
of one individual, and must say its unit. CSV and NPZ are read back exactly.
"""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asterism.errors import BadAnnotation, RequestError
from asterism.io.atomic import atomic_write, write_text
from asterism.io.csvfile import read_rows

UNITS = ("m", "cm", "mm", "px", "unknown")
MOTION_SUFFIXES = (".csv", ".trc", ".npz")
_UPPER = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
_PARTS = ("x", "y", "z", "error", "views", "xx", "xy", "xz", "yy", "yz", "zz")


@dataclass(frozen=True, kw_only=True)
class Motion:
    """T moments of K named points; missing ones are not `labelled`, beside zeros. Lengths are in `unit`."""

    names: tuple[str, ...]
    frame: NDArray[np.int64]  # T
    individual: NDArray[np.int64]  # T
    xyz: NDArray[np.float64]  # T K 3
    cov: NDArray[np.float64]  # T K 3 3
    labelled: NDArray[np.bool_]  # T K
    error: NDArray[np.float64]  # T K: pixels
    views: NDArray[np.bool_]  # T V K: which cameras agreed
    cameras: tuple[str, ...]
    unit: str = "unknown"
    rate: float = 0.0  # moments per second, 0 where unknown

    def __len__(self) -> int:
        return len(self.frame)


def check_motion(path: str | Path, unit: str, rate: float | int) -> None:
    """Raises RequestError, before any work, when `write_motion` would refuse."""
    suffix = Path(path).suffix.lower()
    if suffix not in MOTION_SUFFIXES:
        raise RequestError(f"{path}: points in space are written to {', '.join(MOTION_SUFFIXES)}")
    if unit not in UNITS:
        raise RequestError(f"unit '{unit}' is not known; choose one of {', '.join(UNITS)}")
    if suffix == ".trc" and (unit == "unknown" or not rate > 0):
        raise RequestError(f"{path}: TRC says its unit and its rate; add: --unit mm --rate 30")


def write_motion(path: str | Path, motion: Motion) -> None:
    """By the ending. Raises RequestError as check_motion does, and for several individuals in a TRC."""
    check_motion(path, motion.unit, motion.rate)
    suffix = Path(path).suffix.lower()
    if suffix == ".csv":
        write_text(path, _csv(motion))
    elif suffix == ".npz":
        fields = {name: np.asarray(getattr(motion, name)) for name in Motion.__dataclass_fields__}
        with atomic_write(path) as temporary:
            np.savez_compressed(temporary, allow_pickle=False, **fields)
    else:
        write_text(path, _trc(path, motion))


def read_motion(path: str | Path) -> Motion:
    """A .csv or .npz that write_motion wrote. Raises BadAnnotation naming the file and the field.

    From a CSV come the cameras that agreed on anything, in the order in which they occur.
    """
    path = Path(path)
    if path.suffix.lower() == ".csv":
        return _read_csv(path)
    if path.suffix.lower() != ".npz":
        raise BadAnnotation(f"{path}: points in space are read from .csv and .npz")
    try:
        with np.load(path, allow_pickle=False) as held:
            found = {name: held[name] for name in Motion.__dataclass_fields__}
    except FileNotFoundError as error:
        raise BadAnnotation(f"{path}: does not exist") from error
    except (OSError, ValueError, KeyError) as error:
        raise BadAnnotation(f"{path}: is no motion of this library ({error})") from error
    words = {name: tuple(map(str, found.pop(name))) for name in ("names", "cameras")}
    return Motion(**words, unit=str(found.pop("unit")), rate=float(found.pop("rate")), **found)


def _csv(motion: Motion) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        ["frame", "individual", "unit", *(f"{n}_{part}" for n in motion.names for part in _PARTS)]
    )
    for t in range(len(motion)):
        cells: list[str] = []
        for k in range(len(motion.names)):
            if not motion.labelled[t, k]:
                cells += [""] * len(_PARTS)
                continue
            agreed = "|".join(n for n, on in zip(motion.cameras, motion.views[t, :, k]) if on)
            numbers = [*motion.xyz[t, k].tolist(), float(motion.error[t, k])]
            cells += [*map(repr, numbers), agreed, *(repr(float(motion.cov[t, k, i, j])) for i, j in _UPPER)]
        writer.writerow([int(motion.frame[t]), int(motion.individual[t]), motion.unit, *cells])
    return out.getvalue()


def _read_csv(path: Path) -> Motion:
    header, *rows = read_rows(path)
    n = len(_PARTS)
    names = tuple(column[:-2] for column in header[3::n])
    wanted = ["frame", "individual", "unit", *(f"{name}_{part}" for name in names for part in _PARTS)]
    if header != wanted:
        bad = next(
            (
                f"column {i + 1} is {a!r}, wanted {b!r}"
                for i, (a, b) in enumerate(zip(header, wanted))
                if a != b
            ),
            f"has {len(header)} columns, wanted {len(wanted)}",
        )
        raise BadAnnotation(f"{path}: header: {bad}")
    cells = np.array(rows, dtype=object).reshape(len(rows), -1)
    body = cells[:, 3:].reshape(len(rows), len(names), n)
    labelled = body[..., 0] != ""
    cameras = tuple(dict.fromkeys(c for text in body[..., 4][labelled] for c in text.split("|")))
    numbers = np.where(labelled[..., None], np.delete(body, 4, axis=-1), "0")
    try:
        values = numbers.astype(np.float64)
        frame, individual = (cells[:, i].astype(np.int64) for i in (0, 1))
    except ValueError as error:
        raise BadAnnotation(f"{path}: {error}; wanted numbers") from error
    cov = np.zeros((*labelled.shape, 3, 3))
    for at, (i, j) in enumerate(_UPPER, 4):
        cov[..., i, j] = cov[..., j, i] = values[..., at]
    views = np.array(
        [[[c in text.split("|") for text in row] for c in cameras] for row in body[..., 4]], bool
    )
    return Motion(
        names=names,
        frame=frame,
        individual=individual,
        xyz=values[..., :3],
        cov=cov,
        labelled=labelled,
        error=values[..., 3],
        views=views.reshape(len(rows), len(cameras), len(names)),
        cameras=cameras,
        unit=str(cells[0, 2]) if len(cells) else "unknown",
    )


def _trc(path: str | Path, motion: Motion) -> str:
    """The format of Motion Analysis as OpenSim documents it; empty cells are missing points."""
    if len(set(motion.individual.tolist())) > 1:
        raise RequestError(f"{path}: TRC holds one individual, found {len(set(motion.individual.tolist()))}")
    t, k = motion.labelled.shape
    rate = f"{motion.rate:g}"
    first = int(motion.frame[0]) if t else 0
    head = [
        "DataRate",
        "CameraRate",
        "NumFrames",
        "NumMarkers",
        "Units",
        "OrigDataRate",
        "OrigDataStartFrame",
    ]
    values = [rate, rate, str(t), str(k), motion.unit, rate, str(first), str(t)]
    lines = [
        f"PathFileType\t4\t(X/Y/Z)\t{Path(path).name}",
        "\t".join([*head, "OrigNumFrames"]),
        "\t".join(values),
    ]
    lines.append("Frame#\tTime\t" + "\t\t\t".join(motion.names) + "\t\t")
    lines += ["\t\t" + "\t".join(f"{axis}{i}" for i in range(1, k + 1) for axis in "XYZ"), ""]
    for i in range(t):
        cells = [
            repr(value) if motion.labelled[i, j] else ""
            for j in range(k)
            for value in motion.xyz[i, j].tolist()
        ]
        frame = int(motion.frame[i])
        lines.append("\t".join([str(frame), f"{(frame - first) / motion.rate:.6f}", *cells]))
    return "\n".join([*lines, ""])
