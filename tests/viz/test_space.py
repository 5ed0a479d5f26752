"""The picture of a scene: cameras and points are where they should be, nothing is lost at its edges."""

import numpy as np
import torch

from asterism.data.worlds import Rig
from asterism.viz.space import scene


def test_cameras_and_points_are_drawn_inside():
    rig = Rig(n=1, views=4, subjects=1, seed=3, size=(48, 64))
    k = rig.xyz.shape[1]
    cov, valid = np.tile(np.eye(3) * 1e-4, (k, 1, 1)), np.ones(k, bool)
    names = tuple(f"cam{v}" for v in range(4))
    full = scene(rig.cameras, names, rig.xyz[0], cov, valid)
    assert full.shape == (560, 1120, 3)
    assert (full[:, [0, -1]] == 255).all() and (full[-1] == 255).all()
    empty = scene(rig.cameras, names, rig.xyz[0], cov, valid & False)
    assert (full != empty).any() and torch.isfinite(torch.from_numpy(empty)).all()
