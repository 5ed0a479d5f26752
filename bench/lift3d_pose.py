"""Pose from semantic points: python bench/lift3d_pose.py [--seeds 0 1 ...].

Chairs labelled by humans (KeypointNet, ten points, official split), 186 held-out chairs a seed, seen by a
pinhole camera of 800 px from five RMS radii, azimuth 0 to 360, elevation -10 to 50 degrees. Noise in
hundredths of the RMS radius as it is seen. Shapes: PCA of the 645 training chairs. Degrees; "mean shape" is
the control. starts      5 % noise, 5 directions: which start is needed, and the end that begins at the true
pose and shape converged   share of the fits that cost at most a thousandth more than the one that began at
the truth covariance  how many true poses the 68 and 95 % ellipsoids of six dimensions hold
"""

import argparse
import time
from typing import Any

import numpy as np
import record
import torch
from lift3d_chairs import F64, chairs, turns

from asterism.geometry import camera, pnp, shape_pose, so3
from asterism.types import Cameras

FOCAL, DISTANCE, CHI = 800.0, 5.0, (7.0369, 12.5916)


def seen(shapes: torch.Tensor, noise: float, seed: int) -> tuple[Cameras, torch.Tensor, float]:
    g = torch.Generator().manual_seed(seed)
    n = len(shapes)
    turn = turns(n, g)
    shift = torch.tensor([0, 0, DISTANCE], dtype=F64).expand(n, 3)
    k = torch.tensor([[FOCAL, 0, 319.5], [0, FOCAL, 239.5], [0, 0, 1]], dtype=F64).repeat(n, 1, 1)
    pose = torch.cat([turn, shift[..., None]], dim=-1)
    cams = Cameras(intrinsics=k, cam_from_world=pose, distortion=torch.zeros(n, 5, dtype=F64))
    sigma = noise * FOCAL / DISTANCE
    xy = camera.project(cams, shapes)[0]
    return cams, xy + sigma * torch.randn(xy.shape, generator=g, dtype=F64), sigma


def degrees(pose: torch.Tensor, cams: Cameras) -> torch.Tensor:
    return torch.rad2deg(so3.angle_between(pose[..., :3], cams.cam_from_world[..., :3]))


def held(found: shape_pose.ShapePose, cams: Cameras) -> list[np.ndarray]:
    turn = cams.cam_from_world[..., :3] @ found.cam_from_world[..., :3].mT
    small = torch.stack([turn[:, 2, 1] - turn[:, 1, 2], turn[:, 0, 2] - turn[:, 2, 0]], -1) / 2
    small = torch.cat([small, (turn[:, 1, 0] - turn[:, 0, 1])[:, None] / 2], dim=-1)
    miss = torch.cat([small, cams.cam_from_world[..., 3] - found.cam_from_world[..., 3]], dim=-1)
    square = (miss * torch.linalg.solve(found.cov, miss)).sum(-1)
    return [(square < c).numpy() for c in CHI]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    args = parser.parse_args()
    torch.set_num_threads(1)
    data, rows, cover = chairs(), dict[str, list](), dict[str, list]()
    models = {n: shape_pose.pca(data["train"], n) for n in (0, 3, 5, 8, 12, 16, 20)}
    test, times = data["test"], []
    every = torch.ones(test.shape[:2], dtype=torch.bool)

    def put(name: str, pose: torch.Tensor, cams: Cameras) -> None:
        off = degrees(pose, cams)
        rows.setdefault(name, []).append([float(off.median()), float(off.mean()), float(off.quantile(0.95))])

    for seed in args.seeds:
        for noise in (0.02, 0.05, 0.1):
            cams, xy, sigma = seen(test, noise, seed)
            start = pnp.sqpnp(cams, models[0].mean.expand(len(test), -1, -1), xy, every)
            mean = pnp.refine(cams, models[0].mean.expand(len(test), -1, -1), xy, every, start)
            put(f"noise {noise:.0%}, mean shape", mean, cams)
            put(
                f"noise {noise:.0%}, own shape known",
                pnp.refine(cams, test, xy, every, cams.cam_from_world),
                cams,
            )
            for n, model in models.items():
                began = time.process_time()
                found = shape_pose.fit(cams, model, xy, every, sigma=sigma)
                times.append(1e3 * (time.process_time() - began) / len(test))
                if n:
                    put(f"noise {noise:.0%}, {n} directions", found.cam_from_world, cams)
                if n not in (5, 16):
                    continue
                true = ((test - model.mean).flatten(1)) @ model.basis.flatten(1).T
                end = shape_pose.refine(cams, model, xy, every, cams.cam_from_world, true, sigma=sigma)
                good = (found.cost <= end[2] * (1 + 1e-3)).double().mean()
                rows.setdefault(f"noise {noise:.0%}, {n} directions, converged", []).append([float(good)])
                cover.setdefault(f"noise {noise:.0%}, {n} directions", []).append(held(found, cams))
                if noise == 0.05 and n == 5:
                    put("starts: the truth", end[0], cams)
                    nothing = xy.new_zeros(len(test), n)
                    ray, _ = camera.undistort(cams, xy)
                    convex = shape_pose.convex_start(model, ray, torch.ones_like(xy[..., 0]))
                    for name, at in (("mean shape's pose", start), ("convex", convex)):
                        put(f"starts: {name}, before refinement", at, cams)
                        end = shape_pose.refine(cams, model, xy, every, at, nothing, sigma=sigma)
                        put(f"starts: {name}", end[0], cams)
    figures: dict[str, Any] = {}
    for name, values in rows.items():
        spread = (np.ptp(values, axis=0) / 2).round(4).tolist()
        figures[name] = {"mean": np.mean(values, 0).round(4).tolist(), "half the range": spread}
    for name, parts in cover.items():
        both = [np.concatenate([part[i] for part in parts]) for i in (0, 1)]
        figures[f"covariance, {name}"] = {str(p): round(float(x.mean()), 4) for p, x in zip((68, 95), both)}
    one = [x[:1] for x in (xy, every)]
    alone = []
    for _ in range(10):
        began = time.process_time()
        shape_pose.fit(cams[:1], models[5], *one, sigma=sigma)
        alone.append(1e3 * (time.process_time() - began))
    figures["milliseconds a pose"] = {
        "batch of 186, longest": round(max(times), 3),
        "alone, least": round(min(alone), 3),
    }
    note = "degrees: median, mean, 95 %"
    record.write("lift3d_pose", figures, seeds=args.seeds, note=note)


if __name__ == "__main__":
    main()
