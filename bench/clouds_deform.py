"""keypoint-deformer on unseen generated shapes: does the shape follow, does it keep its detail, do points
stay?

    asterism train keypoint-deformer "world:chairs?n=500" -k 12 -o CHAIRS
    asterism train keypoint-deformer "world:planes?n=500" -k 8 -o PLANES
    python bench/clouds_deform.py CHAIRS PLANES

Unseen shapes are of another seed of the same world. Chamfer is the mean of squared distances, both ways, in
the box of the shapes, on 1024 points of each, which leaves it above zero for two samples of one surface
(`floor`). Detail: the ratio of each edge's length after and before, over the shape's median ratio (a part
that is only made larger keeps its detail), and the change of the angle between neighbouring faces. Points: on
one half of the unseen shapes each true point is given to one index and none twice (Hungarian, by the mean
distance after the mean offset is taken away); measured on the other half. PCK@0.1 is of the longest side.
`same part`: the truth nearest to an index's keypoint (offset taken away) is the truth it was given.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import record
import torch

from asterism.data.cloud_sets import ShapeWorld, batch_of
from asterism.data.worlds.solids import Mesh, sample
from asterism.engine.deform import deformer, held
from asterism.losses.clouds import chamfer
from asterism.methods.clouds.keypoint_deformer import KeypointDeformer
from asterism.metrics.clouds import semantics
from asterism.ops.cloud_sampling import farthest_points

SEED, SHAPES, POINTS = 1000, 60, 1024  # of the unseen shapes


def unseen(kind):
    world = ShapeWorld(kind, SHAPES, SEED)
    return [(world.shape(i), world.cloud(i)) for i in range(SHAPES)]


def surface(cloud, seed):
    """Points in the cloud's own box, so that shapes of all sizes lie on each other."""
    return batch_of(cloud, POINTS, np.random.default_rng([seed, 7])).points[0].double()


def gap(a, b):
    return float(chamfer(a[None].float(), b[None].float())[0])


def detail(cloud, moved):
    """Mean change of the edges' lengths (as a share) and of the angles between faces (degrees)."""
    faces = cloud.faces
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    owner = np.tile(np.arange(len(faces)), 3)
    length = [np.linalg.norm(p[edges[:, 0]] - p[edges[:, 1]], axis=1) for p in (cloud.points, moved)]
    ratio = length[1] / np.maximum(length[0], 1e-12)
    key = np.sort(edges, axis=1)
    order = np.lexsort(key.T)
    twins = order.reshape(-1, 2)  # closed surfaces: every edge has two faces
    angles = []
    for p in (cloud.points, moved):
        a, b, c = (p[faces[:, i]] for i in range(3))
        normal = np.cross(b - a, c - a)
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
        one, two = normal[owner[twins[:, 0]]], normal[owner[twins[:, 1]]]
        angles.append(np.arccos(np.clip((one * two).sum(1), -1, 1)))
    return np.abs(np.log(ratio / np.median(ratio))).mean(), np.degrees(np.abs(angles[1] - angles[0]).mean())


def follow(method, prior, shapes):
    """Each shape is moved to the next one's keypoints."""
    rows = []
    for i, (_, cloud) in enumerate(shapes):
        other = shapes[(i + 1) % len(shapes)][1]
        here, there = held(method, prior, cloud), held(method, prior, other)
        targets = here.outside(there.inside(there.keypoints))
        moved = here.moved(targets)
        target = surface(other, 1)
        inside = here.inside(moved)
        after = torch.from_numpy(sampled(inside, cloud.faces))
        stretch = here.inside(cloud.points) * np.ptp(there.inside(other.points), axis=0)
        stretched = torch.from_numpy(
            sampled(stretch / np.ptp(here.inside(cloud.points), axis=0), cloud.faces)
        )
        edges, angle = detail(cloud, moved)
        rows.append(
            {
                "before": gap(surface(cloud, 0), target),
                "after": gap(after, target),
                "box_stretched": gap(stretched, target),
                "floor": gap(surface(other, 0), target),
                "edge_change": edges,
                "angle_change_deg": angle,
            }
        )
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def sampled(points, faces):
    return sample(Mesh(vertices=points, faces=faces), POINTS, np.random.default_rng(3))[0]


def points_of(method, shapes):
    """The trained network, the untrained one, and controls that know nothing; all in the unit box."""
    k, every = method.config.n_keypoints, {"farthest": [], "random": [], "trained": [], "untrained": []}
    torch.manual_seed(0)
    blank = KeypointDeformer(method.config).eval()
    truth, longest = [], []
    for i, (shape, cloud) in enumerate(shapes):
        dice = np.random.default_rng([i, 11])
        batch = batch_of(cloud, method.config.n_points, np.random.default_rng([0, i]))
        box = batch.to_source[0].double().numpy()
        truth.append((shape.points - box[:3, 3]) / box[0, 0])
        longest.append(2.0)
        points = surface(cloud, i).numpy()
        every["random"].append(points[dice.choice(len(points), k, replace=False)])
        lowest = int(points.sum(1).argmin())  # the same corner of every shape, or nothing could be consistent
        every["farthest"].append(points[farthest_points(points, k, lowest)])
        with torch.inference_mode():
            every["trained"].append(method(batch)[0].double().numpy())
            every["untrained"].append(blank(batch)[0].double().numpy())
    truth, longest = np.stack(truth), np.array(longest)
    every["mean position"] = list(np.repeat(truth[: len(truth) // 2].mean(0)[None], len(truth), axis=0))
    return {name: asdict(semantics(np.stack(found), truth, longest)) for name, found in every.items()}


def main(runs):
    rows = {}
    for run in runs:
        method, prior = deformer(Path(run))
        info = json.loads((Path(run) / "run.json").read_text())
        kind = info["data"]["path"].removeprefix("world:").split("?")[0]
        shapes = unseen(kind)
        trained = json.loads((Path(run) / "best" / "method.json").read_text())["trained"]
        about = {name: info[name] for name in ("preset", "seed")}
        about |= {"keypoints": method.config.n_keypoints, "steps": trained["steps"]}
        about["seconds_of_training"] = round(trained["seconds"])
        rows[kind] = {
            **about,
            "shapes": SHAPES,
            "deform": follow(method, prior, shapes),
            "points": points_of(method, shapes),
        }
        print(json.dumps({kind: rows[kind]}, indent=1))
    record.write("clouds_deform", rows, seeds=[SEED], quiet=True)


if __name__ == "__main__":
    main(sys.argv[1:])
