"""d3feat on unseen rooms and a real pair of scans: are its points found again, and do its descriptors match?

    asterism train d3feat "world:room-pairs?n=300" --preset rooms -o RUN
    python bench/clouds_d3feat.py RUN
    python bench/clouds_d3feat.py --ablations        # trains four networks

worn        a generated room seen by a depth camera (world:rooms, another seed), 8192 of its points and 4096
            (half of them dropped), noise of 1 % of the longest side on both, the second turned at random.
            K = 64. Found again is within 3 % of the diagonal. `chance`: as many points as d3feat found, drawn
            at random from the two clouds. `harris` and `variation` (of the normal) take the 64 best points
            none of which is within .2 m of another, as d3feat does; their radii were chosen by `mutual` on 8
            clouds of a third seed.
views       two views of each of 20 unseen rooms that overlap by .3 to .8, no noise but the camera's, turned
            at random; `mutual` within the overlap, found again within .1 m.
matches     of these pairs: mutual nearest descriptors of up to 250 keypoints of each view. `inliers`: the
            share of matches within .1 m under the true motion, the mean over pairs, with its standard error;
            `recall` (feature matching recall): the share of pairs in which that is above .05; `number` of
            matches. FPFH and SHOT see points of a grid of 5 cm, normals towards the middle of the cloud (as
            d3feat's), with the radius that had most inliers on 8 rooms of a third seed, of random points. A
            detector's points are described where they are; d3feat's descriptor is that of the grid point
            nearest to them.
indoor      the same for one real pair of 3DMatch (overlap .45, ../shared/data/indoor_pair), each cloud turned
            at random and thinned to 12,000 points, ten times.
ablations   the preset `rooms`, --steps (600) on room pairs: as described; with neighbours counted whose
            features sum to more than zero; with a hardest negative that may lie within the safe radius (and
            the contrastive loss, whose only negative that is); and as that but with the safe radius.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import record
import torch
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from asterism.data.cloud_sets import CloudSamples, RoomPairs, open_clouds
from asterism.data.worlds.rooms import pair
from asterism.engine.weights import load_weights
from asterism.methods.clouds import d3feat
from asterism.methods.clouds.d3feat import D3Feat
from asterism.methods.clouds.harris3d import responses
from asterism.methods.clouds.iss import Iss, IssConfig
from asterism.metrics.clouds import chance, mutual_pairs, repeatability
from asterism.nets.kpconv import KPConv
from asterism.ops.cloud_keypoints import surface, variation
from asterism.ops.cloud_neighbours import normals
from asterism.ops.cloud_sampling import grid_subsample
from asterism.ops.cloud_spread import best_apart
from asterism.ops.fpfh import fpfh
from asterism.ops.shot import shot
from asterism.types import Clouds

SEED, ROOMS, POINTS, K, MANY = 1000, 20, 12_000, 64, 250
NEAR, APART, GRID = 0.1, 0.2, 0.05  # metres
RADII = (0.1, 0.2, 0.3, 0.4, 0.6)
FIRST = 5000  # rooms that nobody learned from
REAL = Path(__file__).parents[2] / "shared/data/indoor_pair"

Finder = Callable[[np.ndarray, int], np.ndarray]  # points and K -> keypoints
Teller = Callable[[np.ndarray, np.ndarray], np.ndarray]  # points and keypoints -> descriptors


@dataclass
class Two:
    """Two clouds, each in its own frame."""

    one: np.ndarray
    two: np.ndarray
    two_from_one: np.ndarray
    near: float = NEAR
    whole: bool = False

    def moved(self, points):
        return points @ self.two_from_one[:3, :3].T + self.two_from_one[:3, 3]


def worn(n=ROOMS, seed=SEED):
    world = open_clouds(f"world:rooms?n={n}&seed={seed}")
    for i in range(n):
        points, dice = world.cloud(i).points, np.random.default_rng([i, 21])
        extent = np.ptp(points, axis=0)
        one, two = (points[dice.permutation(len(points))[:count]] for count in (8192, 4096))
        one, two = (p + 0.01 * extent.max() * dice.standard_normal(p.shape) for p in (one, two))
        turn = np.eye(4)
        turn[:3, :3] = Rotation.random(rng=dice).as_matrix()
        yield Two(one, two @ turn[:3, :3].T, turn, 0.03 * float(np.linalg.norm(extent)), whole=True)


def views(n=ROOMS, first=FIRST):
    for seed in range(first, first + n):
        found, dice = pair(seed, (0.3, 0.8)), np.random.default_rng([seed, 23])
        one, two = (p[dice.permutation(len(p))[:POINTS]] for p in (found.a, found.b))
        yield Two(one, two, found.b_from_a)


def indoor(n=10):
    one, two, truth = (np.load(REAL / f"{name}.npy") for name in ("src", "ref", "gt"))
    for seed in range(n):
        dice, turn = np.random.default_rng([seed, 5]), np.eye(4)
        turn[:3, :3] = Rotation.random(rng=dice).as_matrix()
        a, b = (p[dice.permutation(len(p))[:POINTS]] for p in (one, two))
        yield Two(a @ turn[:3, :3].T, b, truth @ turn.T)


def batch_of(points):
    middle, matrix = points.mean(0), np.eye(4)
    matrix[:3, 3] = middle
    return Clouds(
        points=torch.from_numpy(points - middle)[None],
        valid=torch.ones(1, len(points), dtype=torch.bool),
        to_source=torch.from_numpy(matrix)[None],
    )


def finder_of(method) -> Finder:
    def find(points, k):
        method.config = replace(method.config, n_keypoints=k)
        found = method.predict(batch_of(points))
        return found.xyz[0][found.valid[0]].double().numpy()

    return find


def teller_of(method: D3Feat) -> Teller:
    def tell(points, asked):
        method.eval()
        batch = batch_of(points)
        with torch.no_grad():
            raw = method(batch)
        middle = batch.to_source[0, :3, 3].numpy()
        rows = cKDTree(raw.xyz.double().numpy()).query(asked - middle)[1]
        return raw.descriptor.numpy()[rows]

    return tell


def of_response(response) -> Finder:
    """The best points of a grid, apart from each other as d3feat's small presets take them."""

    def find(points, k):
        grid = grid_subsample(points, GRID)
        told, held = torch.from_numpy(response(grid))[None], torch.from_numpy(grid)[None]
        rows, kept = best_apart(held, told > -torch.inf, told, k, torch.tensor([APART]))
        return grid[rows[0][kept[0]].numpy()]

    return find


def at_random(seed=0) -> Finder:
    dice = np.random.default_rng(seed)
    return of_response(lambda grid: dice.random(len(grid)))


def facing(points):
    found = normals(points, points, 16)[0]
    return np.where(((points.mean(0) - points) * found).sum(1, keepdims=True) >= 0, found, -found)


def by_fpfh(radius) -> Teller:
    def tell(points, asked):
        grid = grid_subsample(points, GRID)
        return fpfh(grid, facing(grid), radius)[cKDTree(grid).query(asked)[1]]

    return tell


def by_shot(radius) -> Teller:
    def tell(points, asked):
        grid = grid_subsample(points, GRID)
        return shot(grid, facing(grid), asked, radius)

    return tell


def again(find: Finder, pairs, k=K):
    rows = []
    for two in pairs:
        a, b = two.moved(find(two.one, k)), find(two.two, k)
        clouds = None if two.whole else (two.moved(two.one), two.two)
        told = repeatability(a, b, two.near, clouds)
        rows.append((told.one_sided, told.mutual, told.points, (len(a) + len(b)) / 2))
    return np.array(rows)


def row_of(rows, names=("one_sided", "mutual", "points", "found")):
    told = dict(zip(names, rows.mean(0).round(3).tolist()))
    errors = (rows.std(0) / np.sqrt(len(rows))).round(3).tolist()
    return told | {f"{name}_standard_error": error for name, error in zip(names[:2], errors)}


def table(pairs, tuning, learned):
    finders = {name: finder_of(method) for name, method in learned.items()}
    finders["random, apart"] = at_random()
    ways = {"harris": lambda r: lambda p: responses(p, surface(p, r)[0], r)}
    ways["variation"] = lambda r: lambda p: variation(p, r)
    for name, way in ways.items():
        best = max(RADII, key=lambda r: again(of_response(way(r)), tuning)[:, 1].mean())
        finders[f"{name} tuned (radius {best} m), apart"] = of_response(way(best))
    finders["iss"] = finder_of(Iss(IssConfig(n_keypoints=K)))
    rows = {}
    for name, find in finders.items():
        began = time.perf_counter()
        rows[name] = row_of(again(find, pairs))
        rows[name]["seconds_per_cloud"] = round((time.perf_counter() - began) / (2 * len(pairs)), 3)
        print(name, rows[name], flush=True)
    many, dice = round(rows["d3feat"]["found"]), np.random.default_rng(0)
    told = [chance((p.moved(p.one), p.two), (many, many), p.near, dice, p.whole) for p in pairs]
    rows[f"chance, {many} points"] = row_of(np.array([(t.one_sided, t.mutual, t.points, many) for t in told]))
    return rows


def matched(find: Finder, tell: Teller, pairs):
    """Share and number of right matches."""
    rows = []
    for two in pairs:
        a, b = find(two.one, MANY), find(two.two, MANY)
        one, other = tell(two.one, a), tell(two.two, b)
        gap = np.linalg.norm(one[:, None] - other[None], axis=-1)
        i, j = mutual_pairs(gap, np.inf)
        right = np.linalg.norm(two.moved(a[i]) - b[j], axis=1) <= NEAR
        rows.append((right.mean() if len(i) else 0.0, len(i)))
    share, number = np.array(rows).T
    return {
        "inliers": round(float(share.mean()), 3),
        "standard_error": round(float(share.std() / np.sqrt(len(share))), 3),
        "recall": round(float((share > 0.05).mean()), 3),
        "number": round(float(number.mean()), 1),
    }


def most_inliers(way, pairs):
    return max((0.2, 0.3, 0.4, 0.6, 0.8), key=lambda r: matched(at_random(), way(r), pairs)["inliers"])


def matches(sets, tuning, learned):
    tellers = {name: teller_of(method) for name, method in learned.items()}
    for name, way in (("fpfh", by_fpfh), ("shot", by_shot)):
        radius = most_inliers(way, tuning)
        tellers[f"{name} (radius {radius} m)"] = way(radius)
    flat = of_response(lambda p: variation(p, 0.2))
    out = {}
    for name, pairs in sets.items():
        finders = {n: finder_of(m) for n, m in learned.items() if n != "untrained"}
        finders |= {"random, apart": at_random(), "variation (radius 0.2 m), apart": flat}
        out[name] = {}
        for detector, find in finders.items():
            for teller, tell in tellers.items():
                out[name][f"{detector} | {teller}"] = told = matched(find, tell, pairs)
                print(name, f"{detector} | {teller}", told, flush=True)
    return out


def as_counted(self, near, around):
    """As the authors' code counts: neighbours whose features sum to more than zero."""
    return (near.sum(2) > 0).sum(1).clamp_min(1)[:, None]


def anywhere(gap, apart, *margins):
    """The hardest negative is any other place, however near."""
    return CONTRASTIVE(gap, ~torch.eye(len(gap), dtype=torch.bool), *margins)


NUMBER, CONTRASTIVE = KPConv.number, d3feat.contrastive


def learned_in(steps, config, samples):
    torch.manual_seed(0)
    method = D3Feat(config).train()
    recipe = D3Feat.recipe_of("rooms")
    optimiser = torch.optim.Adam(method.parameters(), lr=recipe.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in range(steps):
        optimiser.zero_grad()
        torch.stack(list(method.loss(samples[divmod(step, len(samples))]).values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(method.parameters(), recipe.clip)
        optimiser.step()
        schedule.step()
    return method


def ablations(steps):
    rooms, config = RoomPairs(n=200), D3Feat.presets["rooms"]
    samples, pairs, out = CloudSamples(rooms, range(200), config.n_points), list(views()), {}
    ways = {
        "as described": (config, NUMBER, CONTRASTIVE),
        "neighbours counted whose features sum to more than 0": (config, as_counted, CONTRASTIVE),
        "contrastive loss, safe radius": (replace(config, scale=0.0), NUMBER, CONTRASTIVE),
        "contrastive loss, none": (replace(config, scale=0.0), NUMBER, anywhere),
    }
    for name, (changed, number, cost) in ways.items():
        KPConv.number, d3feat.contrastive = number, cost
        method = learned_in(steps, changed, samples)
        told = matched(finder_of(method), teller_of(method), pairs)
        fixed = matched(at_random(), teller_of(method), pairs)
        out[name] = {"own points": told, "random points": fixed}
        out[name]["found again"] = row_of(again(finder_of(method), pairs))
        print(name, out[name], flush=True)
    KPConv.number, d3feat.contrastive = NUMBER, CONTRASTIVE
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", nargs="?")
    parser.add_argument("--ablations", action="store_true")
    parser.add_argument("--steps", type=int, default=600)  # of an ablation
    args = parser.parse_args()
    if args.ablations:
        record.write("clouds_d3feat_ablations", ablations(args.steps), seeds=[0, FIRST])
        return
    method = load_weights(Path(args.run) / "best")[0]
    torch.manual_seed(0)
    learned = {"d3feat": method, "untrained": D3Feat(method.config)}
    seen, tuning = list(views()), list(views(8, FIRST + 100))
    figures = {"worn": table(list(worn()), list(worn(8, 2 * SEED)), learned)}
    print("views", flush=True)
    figures["views"] = table(seen, tuning, learned)
    sets = {"rooms": seen} | ({"indoor": list(indoor())} if REAL.is_dir() else {})
    figures["matches"] = matches(sets, tuning, learned)
    record.write("clouds_d3feat", figures, seeds=[0, SEED, FIRST])


if __name__ == "__main__":
    main()
