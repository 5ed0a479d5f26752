"""Registration of scans: python bench/clouds_register.py [--rooms 20] [--calibrate].

Rooms are generated (data/worlds/rooms.py): two views of one room with an overlap of 30 to 80 %, of 12 to 25
%, and views of two rooms that have nothing to do with each other. A motion is right within 5 degrees and
0.2 m at the middle of the cloud. "indoor" is a real pair of 45 % overlap (../shared/data/indoor_pair),
moved at random.
right      shares of pairs whose motion is right and not refused; wrong: used and wrong; refused: the rest
scale      the same pairs in other units: the largest difference of a motion, degrees and shares of the
extent
controls   a random motion; ICP alone from the identity after the middles were laid together
thinned    pairs thinned to an even density, so that nothing tells from where they were taken
worn       pairs bent by up to 2 cm and thinned, as scans are that were fused from many frames
--calibrate fits the rule that refuses on rooms 1000 and above, which no figure uses, and prints it
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import record
from scipy.optimize import minimize
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from asterism.data.worlds.rooms import Sensor, pair, random_rigid
from asterism.engine.register import register
from asterism.ops import icp
from asterism.ops.cloud_neighbours import normals
from asterism.ops.cloud_sampling import grid_subsample
from asterism.ops.cloud_scale import extent, voxel_for

REAL = Path(__file__).parents[2] / "shared/data/indoor_pair"
HIGH, LOW = (0.3, 0.8), (0.12, 0.25)
FIRST = 5000  # rooms below were looked at while the settings were chosen
Scans = tuple[np.ndarray, np.ndarray, np.ndarray]  # a, b, b_from_a


def rooms(first: int, n: int, overlap: tuple[float, float]) -> Iterator[Scans]:
    for seed in range(first, first + n):
        found = pair(seed, overlap)
        yield found.a, found.b, found.b_from_a


def strangers(first: int, n: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for seed in range(first, first + n):
        yield pair(seed, HIGH).a, pair(seed + 500_000, HIGH).b


def indoor(n: int) -> Iterator[Scans]:
    if REAL.is_dir():
        a, b, truth = (np.load(REAL / f"{name}.npy") for name in ("src", "ref", "gt"))
        for seed in range(n):
            move = random_rigid(np.random.default_rng([seed, 5]), 5.0)
            yield icp.moved(move, a), b, truth @ np.linalg.inv(move)


def errors(found: np.ndarray, truth: np.ndarray, a: np.ndarray) -> tuple[float, float]:
    turn = np.rad2deg(Rotation.from_matrix(found[:3, :3] @ truth[:3, :3].T).magnitude())
    middle = a.mean(0, keepdims=True)
    return float(turn), float(np.linalg.norm(icp.moved(found, middle) - icp.moved(truth, middle)))


def right(found: np.ndarray, truth: np.ndarray, a: np.ndarray) -> bool:
    turn, shift = errors(found, truth, a)
    return turn <= 5 and shift <= 0.2


def measured(pairs: Iterator[Scans]) -> dict[str, Any]:
    rows = []
    for a, b, truth in pairs:
        found = register(a, b)
        turn, shift = errors(found.b_from_a, truth, a)
        good = turn <= 5 and shift <= 0.2
        spread = np.sqrt(np.diag(found.covariance))
        sigma = np.rad2deg(np.linalg.norm(spread[:3])), np.linalg.norm(spread[3:])
        rows.append((good, bool(found.refused), turn, shift, *sigma, found.seconds))
    if not rows:
        return {"pairs": 0}
    table = np.array(rows, dtype=float)
    good, refused = table[:, 0] > 0, table[:, 1] > 0
    used = good & ~refused
    names = ("turn_degrees", "shift_m", "sigma_turn_degrees", "sigma_shift_m")
    middle = (
        {n: round(float(np.median(table[used, i])), 4) for i, n in enumerate(names, 2)} if used.any() else {}
    )
    return {
        "pairs": len(table),
        "right": round(float(used.mean()), 3),
        "wrong": round(float((~good & ~refused).mean()), 3),
        "refused": round(float(refused.mean()), 3),
        "right_before_refusing": round(float(good.mean()), 3),
        "seconds_median": round(float(np.median(table[:, 6])), 2),
        "seconds_most": round(float(table[:, 6].max()), 2),
        "median_of_those_right": middle,
    }


def scaled(pairs: Iterator[Scans]) -> dict[str, float]:
    worst = {}
    kept = list(pairs)
    plain = [register(a, b).b_from_a for a, b, _ in kept]
    for scale in (1e-3, 1e3):
        gaps = []
        for (a, b, _), before in zip(kept, plain):
            found = register(a * scale, b * scale).b_from_a
            found[:3, 3] /= scale
            turn, shift = errors(found, before, a)
            gaps.append((turn, shift / extent(a)))
        worst[f"x{scale:g}"] = [float(f"{v:.2g}") for v in np.max(gaps, 0)]
    return worst


def alone(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """ICP from the identity, after the middles were laid together."""
    voxel = max(voxel_for(a, 5000), voxel_for(b, 5000))
    surfaces = []
    for points in (a, b):
        few = grid_subsample(points, voxel)
        surfaces.append(icp.Surface(points=few, normals=normals(few, few, 12)[0], tree=cKDTree(few)))
    start = np.eye(4)
    start[:3, 3] = b.mean(0) - a.mean(0)
    return icp.refine(*surfaces, start, 10 * voxel, smallest=voxel, rounds=40)


def other(pairs: Iterator[Scans], way: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> dict[str, float]:
    good, spent = [], []
    for a, b, truth in pairs:
        began = time.perf_counter()
        found = way(a, b)
        spent.append(time.perf_counter() - began)
        good.append(right(found, truth, a))
    return {"right": round(float(np.mean(good)), 3), "seconds_median": round(float(np.median(spent)), 2)}


def chance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    move = random_rigid(np.random.default_rng(len(a)), 0.0)
    move[:3, 3] = b.mean(0) - move[:3, :3] @ a.mean(0)
    return move


def kiss(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    import kiss_matcher

    config = kiss_matcher.KISSMatcherConfig(max(voxel_for(a, 5000), voxel_for(b, 5000)))
    found = kiss_matcher.KISSMatcher(config).estimate(a.astype(np.float32), b.astype(np.float32))
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = np.array(found.rotation), np.array(found.translation).ravel()
    return out


def open3d_ransac(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    import open3d as o3d

    voxel, reg = max(voxel_for(a, 5000), voxel_for(b, 5000)), o3d.pipelines.registration
    clouds, words = [], []
    for points in (a, b):
        cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points)).voxel_down_sample(voxel)
        cloud.estimate_normals(o3d.geometry.KDTreeSearchParamHybrid(2 * voxel, 30))
        words.append(reg.compute_fpfh_feature(cloud, o3d.geometry.KDTreeSearchParamHybrid(5 * voxel, 100)))
        clouds.append(cloud)
    near = 1.5 * voxel
    checks = [
        reg.CorrespondenceCheckerBasedOnEdgeLength(0.9),
        reg.CorrespondenceCheckerBasedOnDistance(near),
    ]
    kind = reg.TransformationEstimationPointToPoint(False)
    stop = reg.RANSACConvergenceCriteria(100_000, 0.999)
    return reg.registration_ransac_based_on_feature_matching(
        *clouds, *words, True, near, kind, 3, checks, stop
    ).transformation


def thinned(pairs: Iterator[Scans]) -> Iterator[Scans]:
    for a, b, truth in pairs:
        yield grid_subsample(a, 0.04), grid_subsample(b, 0.04), truth


def worn(pairs: Iterator[Scans]) -> Iterator[Scans]:
    """Bent by up to 2 cm over 0.7 to 2.5 m and thinned, as scans are that were fused from many frames."""
    for number, (a, b, truth) in enumerate(pairs):
        dice = np.random.default_rng([number, 77])
        yield _bent(dice, a), _bent(dice, b), truth


def _bent(dice: np.random.Generator, points: np.ndarray) -> np.ndarray:
    few = grid_subsample(points, dice.uniform(0.02, 0.04))
    off = np.zeros_like(few)
    for _ in range(6):
        wave = dice.standard_normal(3)
        phase = few @ (wave / np.linalg.norm(wave)) * 2 * np.pi / dice.uniform(0.7, 2.5)
        off += np.sin(phase + dice.uniform(0, 2 * np.pi))[:, None] * dice.standard_normal(3)
    return few + off / np.sqrt(3) * dice.uniform(0.005, 0.02)


def calibrate(n: int) -> dict[str, Any]:
    """The rule by maximum likelihood with a small penalty, wrong and right weighing the same."""
    half = n // 2
    known = [rooms(1000, n, HIGH), rooms(2000, n, LOW), thinned(rooms(1000 + n, half, HIGH))]
    known += [worn(rooms(1500, n, HIGH)), worn(rooms(2500, half, LOW))]
    unknown = [((a, b, None) for a, b in strangers(3000, n))]
    unknown.append(worn((a, b, None) for a, b in strangers(3500, n)))
    rows, good = [], []
    for pairs in known + unknown:
        for a, b, truth in pairs:
            found = register(a, b)
            rows.append(found.evidence.row())
            good.append(truth is not None and right(found.b_from_a, truth, a))
    x, y = np.array(rows), np.array(good)
    middle, spread = x.mean(0), x.std(0) + 1e-9
    z = (x - middle) / spread
    weight = np.where(y, 0.5 / max(y.sum(), 1), 0.5 / max((~y).sum(), 1))

    def cost(w: np.ndarray) -> float:
        value = np.where(y, 1, -1) * (w[0] + z @ w[1:])
        return float((weight * np.logaddexp(0, -value)).sum() + 0.002 * (w[1:] ** 2).sum())

    # both supports and the lead may only speak for a motion; air, error and not knowing only against it
    more, less = (0, None), (None, 0)
    bounds = [(None, None), more, more, less, less, less, more, less]
    w = minimize(cost, np.zeros(1 + x.shape[1]), bounds=bounds, method="L-BFGS-B").x
    rule = [w[0] - (w[1:] * middle / spread).sum(), *(w[1:] / spread)]
    passed = rule[0] + x @ rule[1:] >= 0
    return {
        "rule": [round(float(v), 3) for v in rule],
        "right kept": float(passed[y].mean()),
        "wrong kept": float(passed[~y].mean()),
        "right": int(y.sum()),
        "wrong": int((~y).sum()),
    }


def large() -> dict[str, float]:
    """Two scans of a million points each."""
    found = pair(7, HIGH, sensor=Sensor(pixels=(860, 1320)))
    began = time.perf_counter()
    answer = register(found.a, found.b)
    spent = time.perf_counter() - began
    turn, shift = errors(answer.b_from_a, found.b_from_a, found.a)
    return {"points": len(found.a), "seconds": round(spent, 2), "turn_degrees": turn, "shift_m": shift}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rooms", type=int, default=20)
    parser.add_argument("--calibrate", action="store_true")
    parser.add_argument(
        "--peers", action="store_true", help="only the peers, printed; they need their packages"
    )
    args = parser.parse_args()
    n = args.rooms
    if args.calibrate:
        print(calibrate(n))
        return
    if args.peers:
        for name, way in (("kiss-matcher", kiss), ("open3d", open3d_ransac)):
            print(name, other(rooms(FIRST, n, HIGH), way), other(indoor(n), way), flush=True)
        return
    apart = [register(a, b) for a, b in strangers(FIRST + 200, n)]
    figures = {
        "rooms": measured(rooms(FIRST, n, HIGH)),
        "rooms of low overlap": measured(rooms(FIRST + 100, n, LOW)),
        "rooms, thinned": measured(thinned(rooms(FIRST, n, HIGH))),
        "rooms, worn": measured(worn(rooms(FIRST + 300, n, HIGH))),
        "indoor": measured(indoor(n)),
        "strangers refused": round(float(np.mean([bool(f.refused) for f in apart])), 3),
        "scale": scaled(rooms(FIRST, 3, HIGH)),
        "controls": {way.__name__: other(rooms(FIRST, n, HIGH), way) for way in (chance, alone)},
        "million": large(),
    }
    record.write("clouds_register", figures, seeds=list(range(n)))


if __name__ == "__main__":
    main()
