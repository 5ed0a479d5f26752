"""usip, changed in one thing at a time: each trained anew on 300 generated chairs, preset small, 200 steps.

    python bench/clouds_usip_ablations.py

All are used with the 64 regions they learned with.

ablations   `one_sided` and `mutual` as in clouds_usip.py, on 20 unseen chairs. `as published`: regions are
            looked at in the cloud's own axes, so that the network has to learn every turn. `neighbours in
            features`: as the paper's text has it, the authors' code has not. `from the node`: a region is
            looked at from the farthest point that began it, as in the text, not from the mean of its points.
field       what a region knows of: how many of the 64 regions it hears of, the radius of its frame as a share
            of the cloud's spread, and lambda, the weight of the point-to-point loss. `spread` is the root
            mean squared distance of the keypoints to their middle over that of the cloud's points: 0 is one
            point. `apart` is how many of the 64 keypoints are left when none may be within a tenth of the
            cloud's spread of another; `off` their mean distance to the surface, a share of the spread.
"""

from dataclasses import replace

import numpy as np
import record
import torch
from clouds_usip import SEED, found_again, row_of, samples

from asterism.data.cloud_sets import CloudSamples, open_clouds, surface_points, unit_box
from asterism.methods.clouds import usip
from asterism.methods.clouds.usip import Usip
from asterism.ops.cloud_spread import spread
from asterism.ops.farthest import farthest
from asterism.types import Clouds

STEPS, BATCH, SHAPES = 200, 4, 300


class InFeatures(Usip):
    """Neighbours are the regions whose features are nearest."""

    def _neighbours(self, centre, told, full):
        return super()._neighbours(told.detach(), told, full)


class FromNodes(Usip):
    """A region is looked at from the farthest point that began it: here the point of it nearest to that."""

    def regions_of(self, points, valid):
        owner, centre, full = super().regions_of(points, valid)
        return owner, self.nodes.view_as(centre), full


def untold(points, valid, centre, radius):
    """The cloud's own axes for every region."""
    return torch.eye(3).to(points).expand(*centre.shape[:2], 3, 3)


def remembering(method):
    """FromNodes keeps what `farthest` chose."""

    def kept(points, valid, k, first):
        method.nodes = farthest(points, valid, k, first)
        return method.nodes

    return kept


def learned(cls, config, pool, frames=usip._frames):
    torch.manual_seed(0)
    method, recipe = cls(config), Usip.recipe_of("small")
    usip._frames = frames
    usip.farthest = remembering(method) if cls is FromNodes else farthest
    optimiser = torch.optim.Adam(method.parameters(), lr=recipe.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    method.train()
    for _ in range(STEPS):
        rows = torch.randint(len(pool), (BATCH,))
        terms = method.loss(pool[rows])
        optimiser.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimiser.step()
        schedule.step()
    return method.eval()


def collapse(method, n=10):
    """Of unseen chairs: spread, points apart from each other, and distance to the surface."""
    world, rows = open_clouds(f"world:chairs?n={n}&seed={SEED}"), []
    for i in range(n):
        cloud = world.cloud(i)
        dense = surface_points(cloud, 20_000, np.random.default_rng(i))[0]
        matrix = unit_box(dense)
        points = torch.from_numpy((dense - matrix[:3, 3]) / matrix[0, 0]).float()[None]
        some = points[:, :1024]
        batch = Clouds(points=some, valid=torch.ones(1, 1024, dtype=torch.bool), to_source=torch.eye(4)[None])
        size = float(spread(some, batch.valid))
        with torch.no_grad():
            xyz = method(batch).xyz[0]
        off = torch.cdist(xyz, points[0]).amin(1).mean() / size
        wide = (xyz - xyz.mean(0)).square().sum(1).mean().sqrt() / size
        rows.append((float(wide), float(method.predict(batch).valid.sum()), float(off)))
    return dict(zip(("spread", "apart", "off"), np.mean(rows, axis=0).round(3).tolist()))


def main() -> None:
    told = CloudSamples(
        open_clouds(f"world:chairs?n={SHAPES}"), range(SHAPES), Usip.presets["small"].n_points
    )
    pool, pairs = Clouds.cat([told[0, i] for i in range(SHAPES)]), list(samples("chairs"))
    small = Usip.presets["small"]
    small, own = replace(small, nodes_used=small.nodes), usip._frames
    figures = {"ablations": {}, "field": {}}
    ways = {
        "as published, no frames": (Usip, untold),
        "neighbours in features": (InFeatures, own),
        "from the node": (FromNodes, own),
    }
    for name, (cls, frames) in ways.items():
        method = learned(cls, small, pool, frames)
        figures["ablations"][name] = row_of(found_again(method, pairs))
        print(name, figures["ablations"][name], flush=True)
    for weight in (small.weight, 0.0):
        for neighbours, frame in ((4, 0.3), (16, 0.6), (64, 2.0)):
            config = replace(small, neighbours=neighbours, frame=frame, weight=weight)
            method = learned(Usip, config, pool, own)
            row = row_of(found_again(method, pairs)) | collapse(method)
            name = f"{neighbours} regions, frame {frame}, lambda {weight:g}"
            figures["field"][name] = row
            print(name, row, flush=True)
    record.write("clouds_usip_ablations", figures, seeds=[0, SEED])


if __name__ == "__main__":
    main()
