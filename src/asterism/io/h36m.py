"""Human3.6M as .npz: imgname, part (N K 3: x, y, seen) and, where they are there, center and scale.

17 joints are the usual choice of the data set's 32 (pelvis, right leg, left leg, spine up, left arm, right
arm); 24 are SPIN's. Numbers are what the cameras' projection gives and are taken as they stand. Files that
need pickle (VideoPose3D's, with dictionaries inside) are refused: unpickling runs what a stranger wrote.
"""

from pathlib import Path

import numpy as np

from asterism.errors import BadAnnotation
from asterism.io.labelled import labelled_table, placed
from asterism.io.names import infer_swap
from asterism.io.skeleton import Skeleton, published
from asterism.io.table import KeypointTable

_SIDE = 200.0  # scale counts in this many pixels, as MPII's
_SPIN = (
    *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "right_wrist"),
    *("right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist", "neck", "head_top"),
    *("pelvis", "thorax", "spine", "jaw", "head", "nose", "left_eye", "right_eye", "left_ear", "right_ear"),
)


def read_h36m_npz(path: str | Path) -> KeypointTable:
    """Raises BadAnnotation naming the file and the array."""
    held = _arrays(Path(path))
    for name in ("imgname", "part"):
        if name not in held:
            raise BadAnnotation(
                f"{path}: has no array '{name}'; wanted imgname and part (N K 3), as for Human3.6M"
            )
    part, n = held["part"], len(held["imgname"])
    if part.ndim != 3 or part.shape[0] != n or part.shape[2] != 3 or part.dtype.kind not in "fiu":
        raise BadAnnotation(f"{path}: part: has shape {part.shape}, wanted {n} x K x 3 numbers (x, y, seen)")
    k = part.shape[1]
    spin = Skeleton(names=_SPIN, swap=infer_swap(_SPIN))
    plain = Skeleton(names=tuple(f"point{i}" for i in range(k)))
    skeleton = {17: published("h36m-17"), 24: spin}.get(k, plain)
    box = np.zeros((n, 4))
    if "center" in held and "scale" in held:
        for name, shape in (("center", (n, 2)), ("scale", (n,))):
            if held[name].shape != shape:
                raise BadAnnotation(f"{path}: {name}: has shape {held[name].shape}, wanted {shape}")
        side = _SIDE * held["scale"][:, None]
        box = np.concatenate([held["center"] - side / 2, side, side], axis=1)
    images, image = placed([str(name) for name in held["imgname"].tolist()])
    return labelled_table(path, skeleton, images, image, part[..., :2], part[..., 2] > 0, box=box)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files if name in ("imgname", "part", "center", "scale")}
    except FileNotFoundError as error:
        raise BadAnnotation(f"{path}: does not exist") from error
    except Exception as error:  # zip, npy and numpy each raise their own
        raise BadAnnotation(
            f"{path}: cannot be read without pickle ({error}); nothing is ever unpickled here: save "
            f"plain arrays "
            "imgname and part with numpy.savez"
        ) from error
