"""Local features on pictures whose homography is known: is the same place found again, and are matches right?

Repeatability: of the best points that both pictures show (500 each), the share of the fewer that can be
paired one to one with points of the other picture, within 3 pixels, and within what Key.Net's authors count:
circles of radius 30 that overlap by 60 %. Harris and FAST stand here twice: with their usual suppression of
3 x 3 pixels, and with Key.Net's 15 x 15. Random points, and Key.Net before it learned, are the controls that
must lose. MMA: of mutual nearest neighbours of at most 2048 features, the share within 1 to 10 pixels of
where the homography puts them, averaged over pairs (a pair without a match counts 0).

Pairs: homographies of photographs of scikit-image's package that keynet did not learn from, turned by up to
20 degrees or by any angle; and Oxford's graffiti, 1 to 2 .. 6, where --graffiti names its folder.

    python bench/matching_features.py --keynet RUN... [--released RUN] [--graffiti DIR]
        [--peers DIR] [--workers N]

RUN is a run of keynet_train.py (several: seeds), or what asterism convert made of the authors' weights;
--peers is a folder with opencv-python-headless. Figures go to matching_features.json, the plot to a .png
beside it.
"""

import argparse
import importlib
import math
import multiprocessing
import statistics
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import record
import torch
from keynet_patches import LEARNED, photograph
from scipy.optimize import brentq
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from torch import Tensor

from asterism.engine.weights import load_weights
from asterism.geometry import affine, homography
from asterism.geometry.coords import image_centre
from asterism.io.images import read_image, write_image
from asterism.methods.base import Method
from asterism.methods.features.keynet import KeyNet
from asterism.methods.features.sift import Sift, SiftConfig
from asterism.ops.corners import corners
from asterism.ops.nearest import mutual_nearest
from asterism.ops.peaks import local_maxima
from asterism.ops.sampling import valid_pixels, warp_image
from asterism.types import Images
from asterism.viz.plot import Curve, chart

PHOTOS = ("astronaut", "camera", "rocket")
assert not set(PHOTOS) & set(LEARNED)
_POINTS, _FEATURES, _NEAR = 500, 2048, 3.0
_RADIUS, _OVERLAP = 30.0, 0.6
_WARPS = {"warped, up to 20 degrees": (1, 20.0, 0), "warped, any angle": (1, 180.0, 1)}  # each, degrees, seed
_APART = 15  # pixels of Key.Net's suppression
Points = Callable[[Tensor], Tensor]  # picture 3 H W -> M 2, best first
Described = Callable[[Tensor], tuple[Tensor, Tensor]]  # xy and descriptors, of length 1 or bits


@dataclass(frozen=True)
class Pair:
    kind: str
    a: Tensor  # 3 H W
    b: Tensor
    b_from_a: Tensor  # 1 3 3


def within_overlap() -> float:
    """The distance of two equal circles whose intersection is _OVERLAP of their union."""

    def gap(d: float) -> float:
        part = 2 * math.acos(d / 2) - d * math.sqrt(1 - d**2 / 4)
        return part / (2 * math.pi - part) - _OVERLAP

    return _RADIUS * float(brentq(gap, 0, 2))


def warped_pairs(kind: str) -> list[Pair]:
    """Photographs and their warps: turns, zoom 0.7 to 1.4, slant, and another brightness."""
    each, turn, seed = _WARPS[kind]
    g, pairs = torch.Generator().manual_seed(seed), []
    for name in PHOTOS:
        image = photograph(name)[None]
        size = (image.shape[2], image.shape[3])
        middle = homography.from_affine(affine.identity(1, like=image))
        middle[0, :2, 2] = image_centre(size, like=image)
        for _ in range(each):
            u = 2 * torch.rand(6, generator=g) - 1
            zoom = 0.7 * 2 ** (0.5 * (u[1] + 1))
            move = affine.similarity(math.radians(turn) * u[:1], zoom[None], 0.05 * min(size) * u[None, 2:4])
            slant = homography.from_affine(move)
            slant[0, 2, :2] = 0.3 / max(size) * u[4:6]
            there = homography.compose(middle, homography.compose(slant, homography.inverse(middle)))
            warp = homography.Homography(b_from_a=there)
            light, contrast = (
                0.1 * (2 * torch.rand(1, generator=g) - 1),
                0.8 + 0.4 * torch.rand(1, generator=g),
            )
            other = warp_image(image, warp) * valid_pixels(warp, size, like=image)[:, None]
            pairs.append(Pair(kind, image[0], (contrast * other[0] + light).clamp(0, 1), there.double()))
    return pairs


def graffiti(folder: Path) -> list[Pair]:
    pictures = [tensor(read_image(folder / f"img{i}.ppm")) for i in range(1, 7)]
    truth = [torch.from_numpy(np.loadtxt(folder / f"H1to{i}p.txt"))[None] for i in range(2, 7)]
    return [Pair("graffiti", pictures[0], b, h) for b, h in zip(pictures[1:], truth)]


def tensor(picture: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1).float() / 255


def described_by(method: Method) -> Described:
    """Each picture is looked at once."""
    seen: dict[int, tuple[Tensor, Tensor]] = {}
    kept: list[Tensor] = []  # so that no other picture takes its number

    def find(image: Tensor) -> tuple[Tensor, Tensor]:
        if id(image) not in seen:
            kept.append(image)
            found = method.predict(Images(image=image[None], to_source=affine.identity(1, like=image)))
            on = found.valid[0]
            seen[id(image)] = found.xy[0][on], found.descriptor[0][on]
        return seen[id(image)]

    return find


def points_of(find: Described) -> Points:
    """Where features are, best first; one with two directions counts once."""

    def places(image: Tensor) -> Tensor:
        xy = find(image)[0]
        first: dict[tuple[float, ...], int] = {}
        for i, at in enumerate(xy.tolist()):
            first.setdefault(tuple(at), i)
        return xy[list(first.values())]

    return places


def at_random(image: Tensor) -> Tensor:
    g = torch.Generator().manual_seed(int(1e6 * image.mean()))
    return torch.rand(4000, 2, generator=g) * torch.tensor([image.shape[2], image.shape[1]])


def spread(xy: Tensor, value: Tensor, image: Tensor) -> Tensor:
    """Points that none within Key.Net's window exceeds, best first."""
    maps = torch.zeros(1, 1, *image.shape[1:])
    x, y = xy.round().long().unbind(1)
    maps[0, 0, y, x] = value
    uv, _, valid = local_maxima(maps, threshold=0.0, radius=_APART // 2, most=4000)
    return uv[0, 0][valid[0, 0]]


def opencv_points(cv2: Any) -> dict[str, Points]:
    def grey(image: Tensor) -> np.ndarray:
        return cv2.cvtColor((255 * image.permute(1, 2, 0)).round().byte().numpy(), cv2.COLOR_RGB2GRAY)

    def harris(image: Tensor) -> tuple[Tensor, Tensor]:
        maps = torch.from_numpy(cv2.cornerHarris(grey(image).astype(np.float32) / 255, 3, 3, 0.04))
        uv, value, valid = local_maxima(maps[None, None], threshold=1e-7, radius=1, most=4000)
        return uv[0, 0][valid[0, 0]], value[0, 0][valid[0, 0]]

    def fast(image: Tensor) -> tuple[Tensor, Tensor]:
        found = sorted(cv2.FastFeatureDetector_create(10).detect(grey(image)), key=lambda k: -k.response)
        return torch.tensor([k.pt for k in found]).view(-1, 2), torch.tensor([k.response for k in found])

    held: dict[str, Points] = {}
    for name, find in (("harris", harris), ("fast", fast)):
        held[name] = lambda image, find=find: find(image)[0]
        held[f"{name}, 15 apart"] = lambda image, find=find: spread(*find(image), image)
    return held


def opencv_features(cv2: Any) -> dict[str, Described]:
    def with_(make: Callable[[], Any], bits: bool) -> Described:
        def find(image: Tensor) -> tuple[Tensor, Tensor]:
            grey = cv2.cvtColor((255 * image.permute(1, 2, 0)).round().byte().numpy(), cv2.COLOR_RGB2GRAY)
            points, told = make().detectAndCompute(grey, None)
            best = sorted(range(len(points)), key=lambda i: -points[i].response)[:_FEATURES]
            xy = torch.tensor([points[i].pt for i in best]).view(-1, 2)
            if told is None:
                return xy, torch.zeros(0, 1)
            if bits:  # +-1: the product falls as Hamming's distance grows
                told = 2.0 * np.unpackbits(told[best], axis=1).astype(np.float32) - 1
                return xy, torch.from_numpy(told) / math.sqrt(told.shape[1])
            return xy, torch.nn.functional.normalize(torch.from_numpy(told[best]), dim=1)

        return find

    held = {
        "SIFT (OpenCV)": with_(lambda: cv2.SIFT_create(_FEATURES), False),
        "ORB (OpenCV)": with_(lambda: cv2.ORB_create(_FEATURES), True),
    }
    if hasattr(cv2, "AKAZE_create"):  # OpenCV 5 has it in its contributed modules alone
        held["AKAZE (OpenCV)"] = with_(lambda: cv2.AKAZE_create(), True)
    return held


def inside(xy: Tensor, image: Tensor, border: float = 0) -> Tensor:
    size = torch.tensor([image.shape[2], image.shape[1]])
    return ((xy >= border) & (xy <= size - 1 - border)).all(1)


def repeatability(find: Points, pair: Pair, near: tuple[float, ...]) -> tuple[list[float], int]:
    """Shares of points found again within these distances, and of how many."""
    there, back = (lambda xy, h=h: homography.apply(h, xy[None].double())[0] for h in sides(pair))
    a, b = (find(image).double() for image in (pair.a, pair.b))
    a = a[inside(a, pair.a, _APART) & inside(there(a), pair.b, _APART)][:_POINTS]
    b = b[inside(b, pair.b, _APART) & inside(back(b), pair.a, _APART)][:_POINTS]
    fewer = min(len(a), len(b))
    if not fewer:
        return [0.0] * len(near), 0
    gap = torch.cdist(there(a), b)
    again = [maximum_bipartite_matching(csr_array((gap <= e).numpy())) >= 0 for e in near]
    return [int(found.sum()) / fewer for found in again], fewer


def sides(pair: Pair) -> tuple[Tensor, Tensor]:
    return pair.b_from_a, homography.inverse(pair.b_from_a)


def accuracy(find: Described, pair: Pair) -> tuple[list[float], int]:
    """Share of matches within 1 to 10 pixels, and how many matches there are."""
    (a, one), (b, two) = find(pair.a), find(pair.b)
    if not len(a) or not len(b):
        return [0.0] * 10, 0
    index, _ = mutual_nearest(one, two)
    off = homography.apply(pair.b_from_a, a[index[:, 0]][None].double())[0] - b[index[:, 1]].double()
    off = off.norm(dim=1)
    return [float((off <= e).double().mean()) if len(off) else 0.0 for e in range(1, 11)], len(index)


def keynets(runs: list[Path], released: Path | None) -> dict[str, KeyNet]:
    """Trained here by seed, the authors', and one that has not learned."""
    held = {f"keynet, seed {i}": load_weights(run / "best", "keynet")[0] for i, run in enumerate(runs)}
    if released is not None:
        held["keynet, released weights"] = load_weights(released / "best", "keynet")[0]
    torch.manual_seed(0)
    held["keynet, untrained"] = KeyNet(KeyNet.presets["small"]).eval()
    return held


def used(method: KeyNet, **other: Any) -> KeyNet:
    """The same weights, used otherwise."""
    new = KeyNet(replace(method.config, **other))
    new.load_state_dict(method.state_dict())
    return new.eval()


def mean(values: list[float]) -> float:
    return round(statistics.fmean(values), 4)


@dataclass(frozen=True)
class Work:
    """What the processes share."""

    pairs: list[Pair]
    detectors: dict[str, Points]
    features: dict[str, Described]


_WORK: list[Work] = []


def of_one(name: str) -> dict[str, Any]:
    """All rows of one detector or of one kind of features: each picture is looked at once."""
    torch.set_num_threads(1)
    work, near = _WORK[0], (_NEAR, within_overlap())
    told: dict[str, Any] = {"repeatability": {}, "mma": {}}
    for kind in sorted({pair.kind for pair in work.pairs}):
        pairs = [pair for pair in work.pairs if pair.kind == kind]
        if name in work.detectors:
            found = [repeatability(work.detectors[name], pair, near) for pair in pairs]
            told["repeatability"][kind] = {
                "within_3_px": mean([f[0][0] for f in found]),
                "overlapping": mean([f[0][1] for f in found]),
                "points": mean([f[1] for f in found]),
            }
        if name in work.features:
            right = [accuracy(work.features[name], pair) for pair in pairs]
            told["mma"][kind] = {
                "mma": [mean([f[0][e] for f in right]) for e in range(10)],
                "matches": mean([f[1] for f in right]),
                "right_at_3": mean([f[0][2] * f[1] for f in right]),
            }
    print(name, told, flush=True)
    return told


def measured(work: Work, workers: int) -> dict[str, Any]:
    """Both tables, by kind of pair."""
    _WORK.append(work)
    names = list(dict.fromkeys([*work.features, *work.detectors]))
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
        rows = dict(zip(names, pool.map(of_one, names)))
    kinds = [pair.kind for pair in work.pairs]
    table: dict[str, Any] = {"pairs": {kind: kinds.count(kind) for kind in sorted(set(kinds))}}
    for part in ("repeatability", "mma"):
        table[part] = {name: row[part] for name, row in rows.items() if row[part]}
    return table


def drawn(path: Path, table: dict[str, Any]) -> None:
    """MMA over all pairs, every kind counting the same."""
    curves = {}
    for name, row in table["mma"].items():
        curves[name.replace(" weights", "")] = Curve(
            x=range(1, 11), y=[statistics.fmean(v["mma"][e] for v in row.values()) for e in range(10)]
        )
    write_image(
        path, chart(curves, x_name="pixels", y_name="share of matches that are right", size=(420, 640))
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--keynet", type=Path, nargs="*", default=[])
    for option in ("--released", "--graffiti"):
        parser.add_argument(option, type=Path)
    parser.add_argument("--peers", default="")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    if given.peers:
        sys.path.append(given.peers)  # at the end: numpy and torch stay this environment's
    torch.set_num_threads(1)
    pairs = [pair for kind in _WARPS for pair in warped_pairs(kind)]
    pairs += graffiti(given.graffiti) if given.graffiti else []
    nets = keynets(given.keynet, given.released)
    features = {"sift": described_by(Sift(SiftConfig(n_keypoints=_FEATURES)))}
    features |= {n: described_by(used(m, n_keypoints=_FEATURES)) for n, m in nets.items()}
    detectors = {name: points_of(find) for name, find in features.items()}
    for name, method in nets.items():
        if "released" not in name:
            continue
        one = used(method, n_keypoints=_FEATURES, up=0, down=0, upright=True)
        detectors[f"{name}, one scale"] = points_of(described_by(one))
    detectors["shi-tomasi, 15 apart"] = lambda i: corners(i[None], most=4000, radius=_APART // 2)[0][0]
    detectors["random"] = at_random
    absent = ["kornia (ALIKED)"]
    try:
        cv2 = importlib.import_module("cv2")
        cv2.setNumThreads(1)
        detectors |= opencv_points(cv2)
        features |= opencv_features(cv2)
        absent += [] if "AKAZE (OpenCV)" in features else ["AKAZE"]
    except ImportError:
        absent.append("opencv")
    work = Work(pairs=pairs, detectors=detectors, features=features)
    table = measured(work, given.workers) | {"absent": absent}
    drawn(record.HERE / "matching_features.png", table)
    record.write("matching_features", table, seeds=[0, 1], note="one thread", quiet=True)


if __name__ == "__main__":
    main()
