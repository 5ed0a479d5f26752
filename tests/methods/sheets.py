"""Clouds for tests of methods: sheets that bend differently everywhere, so that every frame is sure."""

import torch

from asterism.types import Clouds


def bumpy(b=2, n=150, seed=0):
    g = torch.Generator().manual_seed(seed)
    xy = 2 * torch.rand(b, n, 2, generator=g) - 1
    z = 0.5 * (3 * xy[..., 0] + xy[..., 1] + torch.rand(b, 1, generator=g)).sin() + 0.3 * xy[..., 1] ** 2
    return clouds(torch.cat([xy, z[..., None]], dim=-1))


def clouds(points):
    b, n, _ = points.shape
    valid = torch.ones(b, n, dtype=torch.bool)
    return Clouds(points=points, valid=valid, to_source=torch.eye(4).to(points).expand(b, 4, 4).clone())
