"""Mutual nearest neighbours beside the bare matrix product, torch, faiss and OpenCV, on one core.

Descriptors of unit length, 128 numbers; the second set is the first in another order with noise, so that
pairs exist. All ways of one size take turns within a round, so that a busy machine slows them alike; the
figure is the median over rounds of a way's time, and of its ratio to the bare product of the same round.
Every way must give the pairs of plain torch (the share that agrees is written down), and descriptors that
have nothing to do with each other are the control of the ratio test: it must drop nearly all of them.

Asked was at most 1.3 of the product, 1.6 with the ratio test: missed on a machine others used at the same
time (1.51 and 1.85 at 2048, 1.35 and 1.75 at 8192). Blocks of 32, 64 and 256 rows in place of 128 gave 1.74,
1.56 and 1.67 at 2048 and 1.83, 1.46 and 1.30 at 8192, so the size of the blocks is not what is lacking.

    python bench/matching_nearest.py [--peers FOLDER]

FOLDER holds faiss-cpu and opencv-python-headless; what cannot be imported is left out, and said so.
"""

import argparse
import importlib
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import record
import torch
from torch import Tensor
from torch.nn.functional import normalize

from asterism.ops.nearest import mutual_nearest

_WIDTH = 128
_NOISE = 0.06  # per number: twins are then at a distance of about 0.6, strangers at about 1.4
_RATIO = 0.8  # Lowe, IJCV 2004, section 7.1
_ROUNDS = {2048: 21, 8192: 5}
Pairs = set[tuple[int, int]]


def twins(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Two sets of n descriptors, N D: the same in another order, with noise."""
    g = torch.Generator().manual_seed(seed)
    a = normalize(torch.randn(n, _WIDTH, generator=g), dim=1)
    b = a[torch.randperm(n, generator=g)]
    return a, normalize(b + _NOISE * torch.randn(n, _WIDTH, generator=g), dim=1)


def strangers(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Two sets of n descriptors that have nothing in common."""
    g = torch.Generator().manual_seed(seed)
    a, b = (normalize(torch.randn(n, _WIDTH, generator=g), dim=1) for _ in range(2))
    return a, b


def mutual(to: Tensor, back: Tensor) -> Tensor:
    """Pairs, P 2, of nearest neighbours both ways."""
    i = torch.arange(len(to))
    keep = back[to] == i
    return torch.stack([i[keep], to[keep]], dim=1)


def by_torch(a: Tensor, b: Tensor) -> Tensor:
    product = a @ b.T
    return mutual(product.argmax(1), product.argmax(0))


def by_torch_ratio(a: Tensor, b: Tensor) -> Tensor:
    product = a @ b.T
    value, index = product.topk(2, dim=1)
    pairs = mutual(index[:, 0], product.argmax(0))
    far = (2 - 2 * value[pairs[:, 0]]).clamp(min=0)
    return pairs[far[:, 0] <= _RATIO**2 * far[:, 1]]


def faiss_ways(faiss: Any) -> tuple[Callable, Callable]:
    """Flat search both ways; with the next best one way for the ratio."""
    faiss.omp_set_num_threads(1)

    def both(a: Tensor, b: Tensor) -> Tensor:
        _, to = faiss.knn(a.numpy(), b.numpy(), 1, metric=faiss.METRIC_INNER_PRODUCT)
        _, back = faiss.knn(b.numpy(), a.numpy(), 1, metric=faiss.METRIC_INNER_PRODUCT)
        return mutual(torch.from_numpy(to[:, 0]), torch.from_numpy(back[:, 0]))

    def ratio(a: Tensor, b: Tensor) -> Tensor:
        value, to = faiss.knn(a.numpy(), b.numpy(), 2, metric=faiss.METRIC_INNER_PRODUCT)
        _, back = faiss.knn(b.numpy(), a.numpy(), 1, metric=faiss.METRIC_INNER_PRODUCT)
        pairs = mutual(torch.from_numpy(to[:, 0]), torch.from_numpy(back[:, 0]))
        far = (2 - 2 * torch.from_numpy(value)[pairs[:, 0]]).clamp(min=0)
        return pairs[far[:, 0] <= _RATIO**2 * far[:, 1]]

    return both, ratio


def opencv_way(cv2: Any) -> Callable:
    """BFMatcher with its cross check."""
    cv2.setNumThreads(1)

    def cross(a: Tensor, b: Tensor) -> Tensor:
        found = cv2.BFMatcher(cv2.NORM_L2, crossCheck=True).match(a.numpy(), b.numpy())
        return torch.tensor([(m.queryIdx, m.trainIdx) for m in found]).reshape(-1, 2)

    return cross


def ways() -> tuple[dict[str, Callable], dict[str, Callable], list[str]]:
    """Ways to mutual pairs, ways with the ratio test, and the peers that are absent."""
    plain: dict[str, Callable] = {"ours": lambda a, b: mutual_nearest(a, b)[0], "torch": by_torch}
    tested: dict[str, Callable] = {
        "ours": lambda a, b: mutual_nearest(a, b, ratio=_RATIO)[0],
        "torch": by_torch_ratio,
    }
    absent = []
    for name in ("faiss", "cv2"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            absent.append(name)
            continue
        if name == "faiss":
            plain["faiss"], tested["faiss"] = faiss_ways(module)
        else:
            plain["opencv"] = opencv_way(module)
    return plain, tested, absent


def timed(work: Callable[[], Any]) -> float:
    """Milliseconds of one call."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


def race(a: Tensor, b: Tensor, entrants: dict[str, Callable], rounds: int) -> dict[str, Any]:
    """Times and ratios to the bare product, taking turns; and how far the pairs agree with plain torch's."""
    times: dict[str, list[float]] = {name: [] for name in ["product", *entrants]}
    out = torch.empty(len(a), len(b))
    for turn in range(rounds + 1):  # the first warms up and does not count
        spent = {"product": timed(lambda: torch.mm(a, b.T, out=out))}
        spent |= {name: timed(lambda way=way: way(a, b)) for name, way in entrants.items()}
        if turn:
            for name, ms in spent.items():
                times[name].append(ms)
    truth = listed(entrants["torch"](a, b))
    figures = {}
    for name, ms in times.items():
        ratios = sorted(t / p for t, p in zip(ms, times["product"], strict=True))
        low, high = ratios[len(ratios) // 4], ratios[(3 * len(ratios)) // 4]
        figures[name] = {
            "ms": round(statistics.median(ms), 2),
            "of_product": round(statistics.median(ratios), 2),
            "of_product_quartiles": [round(low, 2), round(high, 2)],
        }
        if name != "product":
            found = listed(entrants[name](a, b))
            figures[name]["agrees"] = round(len(found & truth) / max(len(found | truth), 1), 4)
    return figures


def listed(pairs: Tensor) -> Pairs:
    return {(int(i), int(j)) for i, j in pairs.tolist()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", default="")
    given = parser.parse_args()
    if given.peers:
        sys.path.append(given.peers)  # at the end: numpy and torch stay this environment's
    torch.set_num_threads(1)
    plain, tested, absent = ways()
    figures: dict[str, Any] = {"absent": absent}
    for n, rounds in _ROUNDS.items():
        a, b = twins(n, seed=0)
        x, y = strangers(n, seed=1)
        figures[f"{n}x{n}x{_WIDTH}"] = {
            "mutual": race(a, b, plain, rounds),
            "mutual_and_ratio": race(a, b, tested, rounds),
            "strangers": {
                "mutual_pairs": len(mutual_nearest(x, y)[0]),
                "left_by_the_ratio": len(mutual_nearest(x, y, ratio=_RATIO)[0]),
                "of_twins_left_by_the_ratio": len(mutual_nearest(a, b, ratio=_RATIO)[0]),
            },
        }
    record.write("matching_nearest", figures, seeds=[0, 1], note="one thread; medians over rounds in turns")


if __name__ == "__main__":
    main()
