"""Cameras of DANNCE's label3d_dannce.mat: `params`, a cell per camera, and `camnames`.

MATLAB's row vectors: K and r are transposed (x K, X r + t), RDistort is k1, k2 and perhaps k3, TDistort is
p1, p2; lengths are millimetres as a rule. Pixels are taken as they stand: the file's own labels agree with
its cameras. The size of the pictures is not in the file.
"""

from pathlib import Path

import numpy as np

from asterism.errors import BadAnnotation
from asterism.io.atomic import atomic_write
from asterism.io.camera_table import (
    Camera,
    CameraTable,
    array,
    as_table,
    five_terms,
    matrix_of,
    rotation_of,
)
from asterism.io.fields import Entry, kind
from asterism.io.matlab import as_list, read_mat


def read_dannce_cameras(path: Path) -> CameraTable:
    """Raises BadAnnotation naming the file and the field."""
    held = read_mat(path)
    if "params" not in held:
        raise BadAnnotation(f"{path}: holds {', '.join(held) or 'nothing'}; wanted params (DANNCE's cameras)")
    rows = as_list(held["params"])
    names = [str(name) for name in as_list(held.get("camnames"))]
    if len(names) != len(rows):
        names = [f"Camera{i}" for i in range(1, len(rows) + 1)]
    return as_table(
        path, [_camera(path, f"params{{{i}}}", n, r) for i, (n, r) in enumerate(zip(names, rows), 1)]
    )


def write_dannce_cameras(path: str | Path, table: CameraTable) -> None:
    """params and camnames, the cells that DANNCE reads; sizes have no place there."""
    from scipy.io import savemat

    cells, names = np.empty((len(table), 1), dtype=object), np.empty((1, len(table)), dtype=object)
    for v, name in enumerate(table.names):
        terms = table.distortion[v]
        cells[v, 0] = {
            "K": table.intrinsics[v].T,
            "RDistort": terms[[0, 1, 4]][None],
            "TDistort": terms[None, 2:4],
            "r": table.cam_from_world[v, :, :3].T,
            "t": table.cam_from_world[v, :, 3][None],
        }
        names[0, v] = name
    with atomic_write(path) as temporary:
        savemat(temporary, {"params": cells, "camnames": names})


def _camera(path: Path, field: str, name: str, given: object) -> Camera:
    if not isinstance(given, dict):
        raise BadAnnotation(f"{path}: {field}: wanted K, r, t, RDistort and TDistort, found {kind(given)}")
    entry: Entry = {key: np.transpose(value) if key in ("K", "r") else value for key, value in given.items()}
    radial = np.ravel(entry.get("RDistort", np.zeros(2))).astype(np.float64)
    tangential = np.ravel(entry.get("TDistort", np.zeros(2))).astype(np.float64)
    if len(radial) not in (2, 3) or len(tangential) != 2:
        raise BadAnnotation(
            f"{path}: {field}.RDistort, TDistort: wanted 2 or 3 and 2 numbers, found {len(radial)} and "
            f"{len(tangential)}"
        )
    terms = np.concatenate([radial[:2], tangential, radial[2:]])
    return Camera(
        name=name,
        matrix=matrix_of(path, entry, field, "K"),
        rotation=rotation_of(path, entry, field, "r"),
        translation=array(path, {"t": np.ravel(entry["t"]) if "t" in entry else "nothing"}, field, "t", (3,)),
        distortion=five_terms(path, terms, field, "RDistort"),
        size=None,
    )
