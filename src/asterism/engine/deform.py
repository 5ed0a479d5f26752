"""A shape held by its keypoints: move them, and every vertex of the mesh follows its cage."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from asterism.data.cloud_sets import batch_of
from asterism.engine.cloud_lesson import read_prior
from asterism.engine.runs import Run
from asterism.engine.weights import load_weights
from asterism.errors import RequestError
from asterism.io.cloud import write_cloud
from asterism.io.obj_lines import write_moved_obj
from asterism.io.points import Cloud
from asterism.methods.clouds.keypoint_deformer import KeypointDeformer
from asterism.ops.mean_value import mean_value_coordinates
from asterism.ops.shape_prior import ShapePrior

_ROWS = 2000  # vertices whose weights are worked out at once: 80 faces of each fill some tens of megabytes


@dataclass(frozen=True, kw_only=True)
class Held:
    """A cloud or mesh with V points in its own unit. `pull[v, k]` is how far point v goes with keypoint k."""

    cloud: Cloud
    keypoints: Float[np.ndarray, "K 3"]
    pull: Float[np.ndarray, "V K"]
    box: Float[np.ndarray, "4 4"]  # source_from_unit
    prior: ShapePrior

    def moved(self, keypoints: Float[np.ndarray, "K 3"]) -> Float[np.ndarray, "V 3"]:
        """Where the points are when the keypoints are there."""
        return self.cloud.points + self.pull @ (keypoints - self.keypoints)

    def follow(self, targets: Mapping[int, Float[np.ndarray, "3"]]) -> Float[np.ndarray, "K 3"]:
        """The keypoints when some are put there, and the others go where the category expects them then."""
        return self.follow_from(self.keypoints, targets)

    def follow_from(
        self, keypoints: Float[np.ndarray, "K 3"], targets: Mapping[int, Float[np.ndarray, "3"]]
    ) -> Float[np.ndarray, "K 3"]:
        """The same, beginning with keypoints that have moved already."""
        moved = np.array(sorted(targets), dtype=np.int64)
        to = np.stack([targets[k] for k in moved.tolist()])
        return self.outside(self.prior.follow(self.inside(keypoints), moved, self.inside(to)))

    def drawn(self, seed: int) -> Float[np.ndarray, "K 3"]:
        """Keypoints of a new shape of the category."""
        return self.outside(self.prior.draw(np.random.default_rng(seed)))

    def inside(self, xyz: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
        """Places in the shape's box, whose longest side goes from -1 to 1."""
        return (xyz - self.box[:3, 3]) / self.box[0, 0]

    def outside(self, xyz: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
        """The reverse of `inside`."""
        return xyz * self.box[0, 0] + self.box[:3, 3]


def deformer(run: Path) -> tuple[KeypointDeformer, ShapePrior]:
    """The method of the run and its prior. Raises RequestError where the run is of another method."""
    method, _ = load_weights(Run(run).best)
    if not isinstance(method, KeypointDeformer):
        raise RequestError(
            f"{run}: is a run of {method.name}; wanted one of: asterism train keypoint-deformer SHAPES"
        )
    return method, read_prior(Run(run))


def held(method: KeypointDeformer, prior: ShapePrior, cloud: Cloud) -> Held:
    """Find the keypoints of a shape and tie its vertices to them. The same cloud gives the same numbers."""
    batch = batch_of(cloud, method.config.n_points, np.random.default_rng(0))
    box = batch.to_source[0].double().numpy()
    inside = torch.from_numpy((cloud.points - box[:3, 3]) / box[0, 0])
    with torch.inference_mode():
        xyz = method.forward(batch)
        cage = method.cage_of(batch)
        influence, _ = method.influence_of(batch, xyz, cage)
        parts = [
            mean_value_coordinates(part[None], cage.double(), method.faces)[0] for part in inside.split(_ROWS)
        ]
        pull = torch.cat(parts) @ influence[0].double().mT
    keypoints = xyz[0].double().numpy() * box[0, 0] + box[:3, 3]
    return Held(cloud=cloud, keypoints=keypoints, pull=pull.numpy(), box=box, prior=prior)


def write_moved(path: Path, source: Path, shape: Held, points: Float[np.ndarray, "V 3"]) -> None:
    """Write the shape with its points there. From .obj to .obj every other line stays as it is."""
    if path.suffix.lower() == source.suffix.lower() == ".obj":
        write_moved_obj(path, source, shape.cloud, points)
    else:
        write_cloud(path, replace(shape.cloud, points=points, normals=None))
