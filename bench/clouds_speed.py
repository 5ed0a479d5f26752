"""Speed of point-cloud operations beside the libraries that do the same: python bench/clouds_speed.py.

Clouds of 100,000 points: a generated room as its scans see it, merged and thinned, and a solid ball.
farthest   1,024 farthest points; beside fpsample's bucket method, which stands on the path for this only, and
           with the spacing that both reach (the least distance between two of the chosen)
nearest    16 neighbours of every point; beside scipy's tree asked directly, all cores for both
Times are medians of five, the two turn about.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import record
from scipy.spatial import cKDTree

from asterism.data.worlds.rooms import Sensor, pair
from asterism.ops.cloud_neighbours import nearest
from asterism.ops.cloud_sampling import farthest_points
from asterism.ops.icp import moved

POINTS, TURNS = 100_000, 5


def clouds() -> dict[str, np.ndarray]:
    found = pair(7, (0.3, 0.8), sensor=Sensor(pixels=(320, 480)))
    room = np.concatenate([moved(found.b_from_a, found.a), found.b])
    dice = np.random.default_rng(0)
    line = dice.standard_normal((POINTS, 3))
    ball = line / np.linalg.norm(line, axis=1, keepdims=True) * dice.random((POINTS, 1)) ** (1 / 3)
    return {"room": room[dice.permutation(len(room))[:POINTS]], "ball": ball}


def turn_about(ways: dict[str, Callable[[], Any]]) -> tuple[dict[str, float], dict[str, Any]]:
    spent: dict[str, list[float]] = {name: [] for name in ways}
    last: dict[str, Any] = {}
    for _ in range(TURNS):
        for name, way in ways.items():
            began = time.perf_counter()
            last[name] = way()
            spent[name].append(time.perf_counter() - began)
    return {name: round(statistics.median(s), 4) for name, s in spent.items()}, last


def spacing(points: np.ndarray) -> float:
    return float(cKDTree(points).query(points, k=2)[0][:, 1].min())


def main() -> None:
    figures: dict[str, Any] = {}
    for name, points in clouds().items():
        ways: dict[str, Callable[[], Any]] = {"ours": lambda points=points: farthest_points(points, 1024)}
        try:
            import fpsample

            ways["fpsample"] = lambda points=points: fpsample.bucket_fps_kdline_sampling(
                points, 1024, h=7, start_idx=0
            )
        except ImportError:
            pass
        seconds, chosen = turn_about(ways)
        reached = {way: spacing(points[np.asarray(rows, np.int64)]) for way, rows in chosen.items()}
        tree = cKDTree(points)
        beside, _ = turn_about(
            {
                "ours": lambda tree=tree, points=points: nearest(tree, points, 16),
                "scipy": lambda tree=tree, points=points: tree.query(points, 16, workers=-1),
            }
        )
        figures[name] = {
            "points": len(points),
            "farthest": {"seconds": seconds, "spacing": reached},
            "nearest": {"seconds": beside, "ratio": round(beside["ours"] / beside["scipy"], 3)},
        }
    record.write("clouds_speed", figures, seeds=[0])


if __name__ == "__main__":
    main()
