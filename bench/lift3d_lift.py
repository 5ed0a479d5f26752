"""`asterism lift` as it is used, from a table of keypoints: python bench/lift3d_lift.py [--only mouse ...].

mouse     172 hand-labelled moments of two mice (DANNCE's demonstration, 22 points), each of its six cameras
          alone: nothing is told but where the points are in that camera's pictures, which are no orthographic
          views. Mean distance in mm from the stored points in space, after the best similarity of each
          moment; one mirror image for all
chairs    KeypointNet's chairs as in lift3d_nrsfm.py, 831 views of as many chairs, in pixels; radii
one side  mirror-mouse-example: a head-fixed mouse and an obstacle, always from one side: to be refused

Controls: `flat` is what is seen, without depth; `mean` the mean of the true shapes, which has seen 3D.
`inside` is the share of true points that the 95 % ellipsoids hold. `hidden` and `hidden flat`, in pixels, are
the product's own judgement: keypoints that it hid from itself, against flat shapes that bend.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import record
import torch
from lift3d_chairs import F64, chairs
from lift3d_nrsfm import views
from lift3d_triangulation import DANNCE

from asterism.engine.lift import Asked, lift
from asterism.geometry import rigid
from asterism.io.keypoints import read_keypoints
from asterism.io.matlab import as_list, read_mat
from asterism.io.table import KeypointTable

MIRROR = Path(__file__).parents[1] / "../shared/data/mirror_mouse"
SWAP = (1, 0, 3, 2, 5, 4, 9, 8, 7, 6)
INSIDE = 7.815  # 95 % of chi square, three degrees of freedom


def table_of(xy: np.ndarray, swap: tuple[int, ...] = ()) -> KeypointTable:
    n, k, _ = xy.shape
    seen = np.isfinite(xy).all(-1)
    return KeypointTable(
        names=tuple(f"p{i}" for i in range(k)),
        images=tuple(f"{i}.png" for i in range(n)),
        image=np.arange(n),
        individual=np.zeros(n, np.int64),
        xy=np.where(seen[..., None], xy, 0.0),
        labelled=seen,
        visible=seen,
        score=seen.astype(float),
        box=np.zeros((n, 4)),
        has_box=np.zeros(n, bool),
        area=np.zeros(n),
        swap=swap,
    )


def mice() -> tuple[np.ndarray, np.ndarray]:
    """What six cameras saw "N 6 K 2", and the points in space "N K 3", mm."""
    seen, there = [], []
    for path in sorted(DANNCE.glob("*/label3d_dannce.mat")):
        labels = as_list(read_mat(path)["labelData"])
        n = len(labels[0]["data_2d"])
        seen.append(np.stack([each["data_2d"].reshape(n, -1, 2) for each in labels], axis=1))
        there.append(labels[0]["data_3d"].reshape(n, -1, 3))
    return np.concatenate(seen), np.concatenate(there)


def judged(table: KeypointTable, there: torch.Tensor) -> dict[str, object]:
    began = time.perf_counter()
    found = lift(table, Asked())
    seconds = time.perf_counter() - began
    full = torch.tensor([not reason for reason in found.reason]) & there.isfinite().all(-1).all(-1)
    a, b, cov = found.xyz[full], there[full], found.cov[full]
    signs = {s: a * torch.tensor([1.0, 1, s], dtype=F64) for s in (1, -1, 0)}
    far = {s: (rigid.apply(rigid.umeyama(x, b), x) - b).norm(dim=-1).mean(1) for s, x in signs.items()}
    sign = min((1, -1), key=lambda s: float(far[s].mean()))
    flip = torch.tensor([1.0, 1, sign], dtype=F64)
    off = a * flip - rigid.apply(rigid.umeyama(b, a * flip), b)
    square = (off[..., None, :] @ torch.linalg.solve(cov * flip[:, None] * flip, off[..., None]))[..., 0, 0]
    mean = b[0]
    for _ in range(5):
        mean = rigid.apply(rigid.umeyama(b, mean.expand(len(b), -1, -1)), b).mean(0)
    shape = mean.expand(len(b), -1, -1)
    setting = found.choice.setting
    return {
        "lifted": round(float(far[sign].mean()), 4),
        "flat": round(float(far[0].mean()), 4),
        "mean": round(float((rigid.apply(rigid.umeyama(shape, b), shape) - b).norm(dim=-1).mean()), 4),
        "radius": round(float((b - b.mean(1, keepdim=True)).square().sum(-1).mean().sqrt()), 4),
        "inside": round(float((square < INSIDE).double().mean()), 3),
        "rows": len(full),
        "rows judged": int(full.sum()),
        "hidden": round(found.choice.hidden[setting], 2),
        "hidden flat": round(found.choice.flat, 2),
        "setting": f"{setting.directions} directions, symmetric {setting.symmetric}, scale sd "
        f"{setting.scale_sd}, ridge {setting.ridge}",
        "refused": found.refused,
        "seconds": round(seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", default=["mouse", "chairs", "side"])
    args = parser.parse_args()
    torch.set_num_threads(1)
    figures: dict[str, object] = {}
    if "mouse" in args.only:
        seen, there = mice()
        for camera in range(seen.shape[1]):
            figures[f"mouse, camera {camera + 1}"] = judged(
                table_of(seen[:, camera]), torch.from_numpy(there)
            )
            print(figures, flush=True)
    if "chairs" in args.only:
        every = chairs()
        xyz = torch.cat([every["train"], every["test"]])
        xy = 100 * views(xyz, 0)[0] + 300
        figures["chairs"] = judged(table_of(xy.numpy(), SWAP), xyz)
        print(figures["chairs"], flush=True)
    if "side" in args.only:
        table = read_keypoints(next(MIRROR.rglob("CollectedData.csv")))
        xy = np.where(table.labelled[..., None], table.xy, np.nan)
        for name, side in (("from the side", "top"), ("from below", "bot")):
            found = lift(table_of(xy[:, [i for i, n in enumerate(table.names) if side in n]]), Asked())
            told = {"hidden": found.choice.hidden[found.choice.setting], "hidden flat": found.choice.flat}
            figures[f"one side, {name}"] = told | {"refused": found.refused}
            print(figures[f"one side, {name}"], flush=True)
    record.write("lift3d_lift", figures, seeds=[0])


if __name__ == "__main__":
    main()
