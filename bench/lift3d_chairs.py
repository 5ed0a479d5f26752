"""KeypointNet's human-labelled chairs as the measurements use them: ten points, the official split."""

import json
from pathlib import Path

import torch

DATA = Path(__file__).parents[1] / "../shared/data/keypointnet_chair"
POINTS = (0, 1, 2, 3, 4, 5, 17, 18, 19, 20)  # semantic ids that nearly all chairs have: back, seat, legs
LEFT_RIGHT = (1, 0, 3, 2, 5, 4, 9, 8, 7, 6)  # where the reflection takes each
F64 = torch.float64


def chairs() -> dict[str, torch.Tensor]:
    """ "M 10 3" of train, val and test: chairs that have all ten points, about their mean, RMS radius one."""
    split = {}
    for part in ("train", "val", "test"):
        for line in (DATA / f"{part}.txt").read_text().split():
            split[line.split("-", 1)[1]] = part
    found: dict[str, list] = {"train": [], "val": [], "test": []}
    for chair in json.loads((DATA / "chair.json").read_text()):
        at = {point["semantic_id"]: point["xyz"] for point in chair["keypoints"]}
        if set(POINTS) <= set(at) and chair["model_id"] in split:
            found[split[chair["model_id"]]].append([at[i] for i in POINTS])
    return {part: unit(torch.tensor(rows, dtype=F64)) for part, rows in found.items()}


def unit(xyz: torch.Tensor) -> torch.Tensor:
    xyz = xyz - xyz.mean(1, keepdim=True)
    return xyz / xyz.square().sum(-1).mean(1).sqrt()[:, None, None]


def turns(count: int, g: torch.Generator) -> torch.Tensor:
    """Rotations to the camera, "M 3 3": azimuth 0 to 360, elevation -10 to 50 degrees, y up."""
    az = 2 * torch.pi * torch.rand(count, generator=g, dtype=F64)
    el = torch.deg2rad(-10 + 60 * torch.rand(count, generator=g, dtype=F64))
    away = -torch.stack([el.cos() * az.sin(), el.sin(), el.cos() * az.cos()], dim=-1)
    up = torch.tensor([[0, 1.0, 0]], dtype=F64).expand(count, 3)
    right = torch.nn.functional.normalize(torch.linalg.cross(away, up), dim=-1)
    return torch.stack([right, torch.linalg.cross(away, right), away], dim=1)
