"""symmetric-keypoints on unseen generated chairs and planes: does a point stand for a part, whichever way the
shape faces, and are its halves mirror images?

    asterism train symmetric-keypoints "world:chairs?n=500" -o RUNS/chairs0
    asterism train symmetric-keypoints "world:planes?n=500" -o RUNS/planes0
    # and of chairs into RUNS/chairs1 with --seed 1 --steps 1000
    python bench/clouds_symmetric.py RUNS
    python bench/clouds_symmetric.py RUNS --ablations
    python bench/clouds_symmetric.py RUNS --picture docs/symmetric-keypoints.png

Unseen shapes are of another seed of the same world. On one half of them each true point is given to one index
and none twice (Hungarian); measured on the other half. PCK@0.1 is of the longest side. `offset`: after each
index's mean offset was taken away, `plain`: without that. `same_part`: the truth nearest to an index's
keypoint is the truth it was given. `upright`: shapes as the world makes them; `yaw`: each turned about the
vertical by any angle; `any turn`: by any rotation. Points are turned back before they are compared.
reflection      mean distance between a point, mirrored in the true plane x = 0, and its partner, a share of
                the longest side. `best pairs`: the partner is whichever index is nearest on average
                (Hungarian), which controls without pairs need.
nearest proposed   of the points that the node branch proposes, the nearest to each point of the model.
mean shape      the model as it is bent on average over the first half, turned by each shape's own heading and
                as large as its spread: what the heading alone is worth.
mean position   the mean of the true points of the first half: what a category's average knows (upright shapes
                alone; turned by yaw it is what somebody has who does not look).
apart           indices that `settle` leaves.
ablations       each trained anew for 400 steps on 400 chairs; measured under yaw, if nothing else is said.
"""

import argparse
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import record
import torch
from PIL import Image
from scipy.optimize import linear_sum_assignment
from scipy.spatial.transform import Rotation
from torch import nn

from asterism.data.cloud_sets import CloudSamples, ShapeWorld, batch_of, open_clouds
from asterism.engine.weights import load_weights
from asterism.io.cloud_points import CloudPoints
from asterism.methods.clouds.symmetric_keypoints import SymmetricKeypoints, about_y
from asterism.metrics.clouds import semantics
from asterism.nets.pointnet import PointNet
from asterism.ops.cloud_sampling import farthest_points
from asterism.ops.cloud_spread import spread
from asterism.types import Clouds
from asterism.viz.cloud import three_sides

SEED, SHAPES, STEPS = 1000, 60, 400
WAYS = ("upright", "yaw", "any turn")


def turns(way):
    dice = np.random.default_rng(5)
    if way == "upright":
        return np.repeat(np.eye(3)[None], SHAPES, 0)
    if way == "yaw":
        return Rotation.from_euler("y", dice.uniform(-np.pi, np.pi, (SHAPES, 1))).as_matrix()
    return Rotation.random(SHAPES, rng=dice).as_matrix()


def unseen(kind, way, n):
    """The turned clouds, the true points of the shapes before that, and the turns."""
    world, rows, truth = ShapeWorld(kind, SHAPES, SEED), [], []
    turn = turns(way)
    for i in range(SHAPES):
        one = batch_of(world.cloud(i), n, np.random.default_rng([0, i]))
        box = one.to_source[0].double().numpy()
        truth.append((world.shape(i).points - box[:3, 3]) / box[0, 0])
        rows.append(replace(one, points=one.points @ torch.from_numpy(turn[i].T).float()))
    return Clouds.cat(rows), np.stack(truth), turn


def told(found, truth, turn, pairs=None):
    """Of points found on turned shapes."""
    back = np.einsum("skc,scd->skd", found, turn)
    row = asdict(semantics(back, truth, np.full(SHAPES, 2.0)))
    gap = np.linalg.norm((back * [-1.0, 1.0, 1.0])[:, :, None] - back[:, None], axis=-1).mean(0) / 2
    row["reflection_best_pairs"] = gap[linear_sum_assignment(gap)].mean()
    if pairs:
        k = np.arange(len(gap))
        row["reflection"] = gap[k, (k + len(k) // 2) % len(k)].mean()
    return {name: round(float(value), 3) for name, value in row.items()}


def modelled(method, clouds):
    with torch.no_grad():
        return method.eval()(clouds).modelled.double().numpy()


def proposed_nearest(method, clouds):
    """The proposed point that is nearest to each point of the model."""
    with torch.no_grad():
        raw = method.eval()(clouds)
    row = torch.cdist(raw.modelled, raw.proposed).argmin(2, keepdim=True).expand(-1, -1, 3)
    return raw.proposed.gather(1, row).double().numpy()


def mean_shape(method, clouds):
    """The model, bent everywhere as it is on average."""
    with torch.no_grad():
        raw = method.eval()(clouds)
    turn, middle = about_y(raw.heading), clouds.points.mean(1, keepdim=True)
    size = spread(clouds.points, clouds.valid)[:, None, None]
    held = ((raw.modelled - middle) / size) @ turn
    return (held[: SHAPES // 2].mean(0) @ turn.mT * size + middle).double().numpy()


def controls(clouds, truth, k):
    """Points that learned nothing."""
    dice, random, farthest = np.random.default_rng(11), [], []
    for points in clouds.points.double().numpy():
        random.append(points[dice.choice(len(points), k, replace=False)])
        highest = int(points[:, 1].argmax())  # a beginning that no turn about the vertical changes
        farthest.append(points[farthest_points(points, k, highest)])
    mean = np.repeat(truth[: SHAPES // 2].mean(0)[None], SHAPES, axis=0)
    return {"farthest": np.stack(farthest), "random": np.stack(random), "mean position": mean}


def measured(methods, kind):
    """Every method and control, each way the shapes may face."""
    first = next(iter(methods.values()))
    torch.manual_seed(0)
    methods = methods | {"untrained": SymmetricKeypoints(first.config)}
    rows = {}
    for way in WAYS:
        clouds, truth, turn = unseen(kind, way, first.config.n_points)
        for name, method in methods.items():
            rows.setdefault(name, {})[way] = told(modelled(method, clouds), truth, turn, pairs=True)
        others = controls(clouds, truth, first.config.n_keypoints)
        others["nearest proposed, first seed"] = proposed_nearest(first, clouds)
        others["mean shape, first seed"] = mean_shape(first, clouds)
        for name, found in others.items():
            rows.setdefault(name, {})[way] = told(found, truth, turn)
    return rows


# ------------------------------------------------------------------------------------------------- ablations


class Detached(SymmetricKeypoints):
    """The heading gets no gradient, as released."""

    def heading(self, points, valid):
        return super().heading(points, valid).detach()


class Published(SymmetricKeypoints):
    """The pose branch as published: a network that has to learn every turn; a plane that begins at random."""

    def __init__(self, config):
        super().__init__(config)
        self.pose = nn.Sequential(nn.Linear(128, 64), nn.LeakyReLU(0.1), nn.Linear(64, 2))
        self.pose_trunk = PointNet((32, 64, 128))
        nn.init.normal_(self.plane)

    def heading(self, points, valid):
        return nn.functional.normalize(self.pose(self.pose_trunk(points, valid)), dim=1)


class PublishedDetached(Published):
    def heading(self, points, valid):
        return super().heading(points, valid).detach()


class Lopsided(SymmetricKeypoints):
    """A basis of all points, without a mirror."""

    def __init__(self, config):
        super().__init__(config)
        self.shapes = nn.Parameter(torch.rand(config.basis, config.n_keypoints, 3) - 0.5)

    def modelled(self, points, valid, heading):
        turn = about_y(heading)
        bent = self.bend_head(self.bend(points @ turn, valid))
        return torch.einsum("bk,kmc->bmc", bent, self.shapes) @ turn.mT


class AnyTurn(SymmetricKeypoints):
    """Learns from shapes turned in any way, though it can only turn its model about the vertical."""

    def _turned(self, batch):
        seen = super()._turned(batch)
        turn = Rotation.random(
            len(batch), rng=np.random.default_rng(int(torch.randint(2**31, (1,))))
        ).as_matrix()
        return replace(seen, points=seen.points @ torch.from_numpy(turn).float())


ABLATIONS = {
    "as it is": (SymmetricKeypoints, {}),
    "heading gets no gradient": (Detached, {}),
    "pose branch as published": (Published, {}),
    "pose branch as published, no gradient": (PublishedDetached, {}),
    "without coverage": (SymmetricKeypoints, {"lambda_coverage": 0.0}),
    "coverage times 100": (SymmetricKeypoints, {"lambda_coverage": 100.0}),
    "2 basis shapes": (SymmetricKeypoints, {"basis": 2}),
    "5 basis shapes": (SymmetricKeypoints, {"basis": 5}),
    "20 basis shapes": (SymmetricKeypoints, {"basis": 20}),
    "symmetric deformations (two sets)": (SymmetricKeypoints, {"sets": 2}),
    "no symmetry": (Lopsided, {}),
    "learns from, and measured under, any turn": (AnyTurn, {}),
}


def learned(cls, changes, kind="chairs", n=400):
    """Trained as the small preset is, for fewer steps."""
    recipe = SymmetricKeypoints.recipe_of("small")
    torch.manual_seed(0)
    method = cls(replace(SymmetricKeypoints.presets["small"], **changes))
    optimiser = torch.optim.Adam(method.parameters(), lr=recipe.lr)
    fade = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    samples = CloudSamples(open_clouds(f"world:{kind}?n={n}"), range(n), method.config.n_points)
    pool = Clouds.cat([samples[epoch, i] for epoch in range(3) for i in range(n)])
    for _ in range(STEPS):
        terms = method.loss(pool[torch.randint(len(pool), (recipe.batch_size,))])
        optimiser.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimiser.step()
        fade.step()
    return method


def ablations(names, kind="chairs"):
    rows = {}
    for name in names:
        cls, changes = ABLATIONS[name]
        began = time.process_time()
        method = learned(cls, changes, kind)
        way = "any turn" if cls is AnyTurn else "yaw"
        clouds, truth, turn = unseen(kind, way, method.config.n_points)
        row = told(modelled(method, clouds), truth, turn, pairs=True)
        rows[name] = row | {"seconds_of_the_processor": round(time.process_time() - began)}
        print(name, rows[name], flush=True)
        record.write("clouds_symmetric_ablations", {kind: rows}, seeds=[0, SEED], quiet=True)


def trained(run):
    method = load_weights(run / "best")[0]
    assert isinstance(method, SymmetricKeypoints), f"{run} is a run of {method.name}"
    return method


def picture(runs, path):
    """Unseen shapes, each turned otherwise, looked at from one side and a little from above, as small as it
    can be read.
    """
    look, rows = Rotation.from_euler("x", 25, degrees=True).as_matrix(), []
    for kind in ("chairs", "planes"):
        method = trained(runs / f"{kind}0")
        clouds, _, _ = unseen(kind, "yaw", method.config.n_points)
        dense, _, _ = unseen(kind, "yaw", 6000)
        xyz, number, panels = modelled(method, clouds), np.flatnonzero(method.kept.numpy()), []
        for i in (0, 1, 3):
            points, seen = (p @ look.T for p in (dense.points[i].double().numpy(), xyz[i, number]))
            ones = np.ones(len(number))
            found = CloudPoints(file="", number=number, xyz=seen, score=ones, sigma=None)
            sides = three_sides(points, found)
            panels.append(sides[28:, : sides.shape[1] // 3])
        row = np.concatenate(panels, axis=1)
        drawn = np.flatnonzero((row < 250).any((1, 2)))
        rows.append(row[max(drawn[0] - 20, 0) : drawn[-1] + 20])
    image = Image.fromarray(np.concatenate(rows))
    image = image.resize((1200, round(1200 * image.height / image.width)), Image.Resampling.LANCZOS)
    image.quantize(96, Image.Quantize.FASTOCTREE).save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--ablations", action="store_true")
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    if args.picture:
        picture(args.runs, args.picture)
        return
    if args.ablations:
        ablations(ABLATIONS)
        return
    figures = {}
    for kind in ("chairs", "planes"):
        runs = sorted(args.runs.glob(f"{kind}[0-9]"))
        methods = {f"trained, seed {run.name[-1]}": trained(run) for run in runs}
        figures[kind] = measured(methods, kind)
        figures[kind]["apart"] = {name: int(m.kept.sum()) for name, m in methods.items()}
    record.write("clouds_symmetric", figures, seeds=[0, 1, SEED])


if __name__ == "__main__":
    main()
