"""Points in space by which two views tell the turn: python bench/lift3d_latent.py RUN...

RUN is of `asterism train latent-3d-keypoints world:cars?n=500 -o RUN` (planes, chairs). Judged are things
that nobody learned from (the same kind, seed 1): of --pairs of them two views from anywhere above the ground,
and of --things of them eight.

    turn       degrees between the turn that the points of two views tell (Kabsch) and the true one
    front      the same after the better of the turn and that turn with one view's thing turned about: where
               the two differ, front and back were taken for each other
    spread     of a point over eight views, in the thing's own coordinates, as a share of its diameter
    sideways   share of the pictures whose direction (front to the left or right) is told right
    supervised the same network, steps and data, told the true semantic points; its direction is the true one
    axis told  the same run, told the true axis in place of its own: what the points alone are worth
    untrained  a control; "no turn" another: the turn between two views itself
"""

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import record
import torch
from jaxtyping import Float
from torch import Tensor

from asterism.data.cloud_sets import ShapeWorld, unit_box
from asterism.data.posed import PosedSamples
from asterism.engine.runs import Run
from asterism.engine.train import train
from asterism.engine.weights import load_weights
from asterism.geometry import affine, rigid
from asterism.geometry.so3 import angle_between
from asterism.io.images import write_image
from asterism.methods.lift3d.latent_3d_keypoints import Latent3dKeypoints, _axis, _in_front
from asterism.types import Images, PosedViews, Skeleton
from asterism.viz.draw import contact_sheet, fit, moved, points


@dataclass(frozen=True, kw_only=True, repr=False)
class KnownViews(PosedViews):
    points: Float[Tensor, "B K 3"]  # of the thing, radius 1


@dataclass(frozen=True)
class KnownSamples(PosedSamples):
    """The same pictures, and where the thing's true points are."""

    def __getitem__(self, key: tuple[int, int], /) -> KnownViews:
        views = super().__getitem__(key)
        assert isinstance(self.things, ShapeWorld)
        shape = self.things.shape(int(self.rows[key[1]]))
        used = shape.mesh.vertices[np.unique(shape.mesh.faces)]
        middle = unit_box(used)[:3, 3]
        points = (shape.points - middle) / np.linalg.norm(used - middle, axis=1).max()
        fields = {k: getattr(views, k) for k in ("image", "inside", "intrinsics", "cam_from_thing")}
        return KnownViews(**fields, points=torch.from_numpy(points).float()[None])


def _sideways(ends: Float[Tensor, "B 2 2"]) -> Float[Tensor, " B"]:
    """1 where the thing looks to the right in the picture, -1 to the left."""
    return torch.where(ends[:, 0, 0] >= ends[:, 1, 0], 1.0, -1.0)


class Supervised(Latent3dKeypoints):
    """The network, told where the points are: squared distances in radii, and the maps' variance."""

    learns_from = KnownViews

    def loss(self, batch: KnownViews):  # pyright: ignore[reportIncompatibleMethodOverride]
        v = batch.image.shape[1]
        image, inner = batch.image.flatten(0, 1), batch.intrinsics.flatten(0, 1)
        pose = batch.cam_from_thing.flatten(0, 1)
        wanted, ends = _axis(inner, pose), self._ahead(image)
        c = self.config
        own = (float(self.progress) - c.own_from) / (c.own_to - c.own_from)
        raw = self._look(image, torch.lerp(wanted, ends.detach(), min(max(own, 0.0), 1.0)))
        found = _in_front(raw.xy, raw.depth + self.config.distance, inner)
        true = rigid.apply(pose, batch.points.repeat_interleave(v, 0))
        half = min(self.config.input_size) / 2
        ahead = ((ends - wanted) / half).square().sum(-1).mean()
        far = (found - true).square().sum(-1).mean()
        return {"points": far, "variance": 0.1 * raw.spread.mean() / half**2, "ahead": ahead}


class AxisTold(Latent3dKeypoints):
    """A trained one whose axis is the true one of the pictures it looks at next."""

    true_ends: Tensor

    def _ahead(self, image: Tensor) -> Tensor:
        return self.true_ends


def seen(method: Latent3dKeypoints, views: PosedViews) -> tuple[Tensor, Tensor]:
    """Points in each view's camera, "B V K 3", and whether the direction was told right, "B V"."""
    image = views.image.flatten(0, 1)
    if isinstance(method, AxisTold):
        method.true_ends = _axis(views.intrinsics.flatten(0, 1), views.cam_from_thing.flatten(0, 1))
    found = method.predict(Images(image=image, to_source=affine.identity(len(image), like=image)))
    with torch.inference_mode():
        told = _sideways(method._ahead(image))
    true = _sideways(_axis(views.intrinsics.flatten(0, 1), views.cam_from_thing.flatten(0, 1)))
    v = views.image.shape[1]
    return method.unprojected(found.xyz).unflatten(0, (-1, v)), (told == true).unflatten(0, (-1, v))


def samples(kind: str, method: Latent3dKeypoints, n: int, views: int, seed: int) -> PosedSamples:
    c = method.config
    return PosedSamples(ShapeWorld(kind, n, 1), range(n), c.input_size, c.field, c.distance, seed, views)


def judged(kind: str, method: Latent3dKeypoints, pairs: int, things: int) -> dict[str, Any]:
    method.eval()
    turn, about, straight, right = [], [], [], []
    two = samples(kind, method, pairs, 2, 7)
    back = torch.diag(torch.tensor([-1.0, 1.0, -1.0]))  # half a turn about the upright
    for i in range(pairs):
        views = two[0, i]
        points, told = seen(method, views)
        pose = views.cam_from_thing[0]
        true = rigid.compose(pose[1:], rigid.inverse(pose[:1]))[..., :3]
        found = rigid.kabsch(points[0, :1], points[0, 1:])[..., :3]
        other = pose[1:, :, :3] @ back @ pose[:1, :, :3].mT
        angle = [float(angle_between(found, t).rad2deg()) for t in (true, other)]
        turn.append(angle[0])
        about.append(min(angle))
        straight.append(float(angle_between(torch.eye(3)[None], true).rad2deg()))
        right.append(float(told.double().mean()))
    spread, eight = [], samples(kind, method, things, 8, 8)
    for i in range(things):
        views = eight[0, i]
        points, _ = seen(method, views)
        own = rigid.apply(rigid.inverse(views.cam_from_thing[0]), points[0])  # 8 K 3
        spread.append(float((own - own.mean(0)).square().sum(-1).mean(0).sqrt().mean()) / 2)
    return {
        "turn, median": round(float(np.median(turn)), 2),
        "turn, mean": round(float(np.mean(turn)), 2),
        "within 10 degrees": round(float((np.array(turn) <= 10).mean()), 3),
        "front, median": round(float(np.median(about)), 2),
        "no turn, median": round(float(np.median(straight)), 2),
        "spread": round(float(np.mean(spread)), 4),
        "sideways": round(float(np.mean(right)), 3),
    }


def supervised(kind: str, like: Latent3dKeypoints, steps: int, folder: Path) -> Supervised:
    shape = ShapeWorld(kind, 1).shape(0)
    config = replace(like.config, n_keypoints=len(shape.names))
    rows = KnownSamples(
        ShapeWorld(kind, 500, 0), range(400), config.input_size, config.field, config.distance
    )
    torch.manual_seed(0)
    method, recipe = Supervised(config), Latent3dKeypoints.recipe_of("small")
    names = Skeleton(names=shape.names)
    train(method, rows, Run(folder), recipe=replace(recipe, steps=steps), skeleton=names, device="cpu")
    return method


def drawn(path: Path, kind: str, method: Latent3dKeypoints) -> None:
    """Five unseen things from four sides, every point in its own colour."""
    cells, views = [], samples(kind, method, 5, 4, 9)
    for i in range(5):
        image = views[0, i].image[0]
        found = method.predict(Images(image=image, to_source=affine.identity(4, like=image)))
        for v in range(4):
            picture = (255 * image[v].permute(1, 2, 0)).byte().numpy()
            big = fit(picture, 256)
            xy = moved(found.xyz[v, :, :2].double().numpy(), picture.shape[:2], big.shape[:2])
            cells.append(points(big, xy))
    write_image(path, contact_sheet(cells, 4))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--pairs", type=int, default=300)
    parser.add_argument("--things", type=int, default=40)
    parser.add_argument("--supervised", type=Path, help="folder for runs that are told the points")
    args = parser.parse_args()
    torch.set_num_threads(1)
    figures: dict[str, Any] = {}
    for folder in args.runs:
        run = Run(folder).info()
        kind = str(run["data"]["path"]).removeprefix("world:").partition("?")[0]
        method = load_weights(folder / "best", "latent-3d-keypoints")[0]
        assert isinstance(method, Latent3dKeypoints)
        steps = int(run["recipe"]["steps"])
        rows = {f"learned, seed {run['seed']}": judged(kind, method, args.pairs, args.things)}
        told = AxisTold(method.config)
        told.load_state_dict(method.state_dict())
        rows["axis told"] = judged(kind, told, args.pairs, args.things)
        torch.manual_seed(0)
        rows["untrained"] = judged(kind, Latent3dKeypoints(method.config), args.pairs, args.things)
        drawn(record.HERE / f"lift3d_latent_{kind}.png", kind, method)
        if args.supervised:
            began = time.process_time()
            told = supervised(kind, method, steps, args.supervised / kind)
            rows["supervised"] = judged(kind, told, args.pairs, args.things)
            print("supervised", round(time.process_time() - began), "s", flush=True)
        held = figures.setdefault(kind, {"steps": steps})
        held |= rows
        print(kind, held, flush=True)
    record.write("lift3d_latent", figures, seeds=[0], note="one thread")


if __name__ == "__main__":
    main()
