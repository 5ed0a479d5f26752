"""From the maps and fields of pictures to the people in them."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from asterism.ops import peaks as tops
from asterism.ops.assembly import LEAST, Assemble, Assembled, Least, global_greedy, kept
from asterism.ops.assembly_pairs import (
    INTEGRAL,
    Integral,
    Limbs,
    Peaks,
    Score,
    agreement,
    find_pairs,
    find_peaks,
)

Found = tuple[Float[Tensor, "B P K 2"], Float[Tensor, "B P K"], Bool[Tensor, "B P"]]  # uv, score, valid


def people_in(
    maps: Float[Tensor, "B K h w"],
    fields: Float[Tensor, "B L2 h w"],
    limbs: Limbs,
    most: int,
    *,
    threshold: int | float = 0.05,
    integral: Integral = INTEGRAL,
    score: Score = agreement,
    assemble: Assemble = global_greedy,
    least: Least = LEAST,
) -> Found:
    """uv (cells), score and valid of at most `most` people per picture, the best first; 0 where nothing is.

    A point's score is its peak's height, cut to [0, 1]; a point that was not found has 0.
    """
    b, k = maps.shape[:2]
    uv, height = maps.new_zeros(b, most, k, 2), maps.new_zeros(b, most, k)
    valid = torch.zeros(b, most, dtype=torch.bool, device=maps.device)
    for i in range(b):
        peaks = find_peaks(maps[i], threshold)
        found = kept(assemble(peaks, find_pairs(peaks, fields[i], limbs, integral, score), limbs), least)
        p = min(len(found.member), most)
        uv[i, :p], height[i, :p] = _gathered(peaks, Assembled(found.member[:p], found.score[:p]))
        valid[i, :p] = True
    return uv, height.clamp(0, 1), valid


def person_in(maps: Float[Tensor, "B K h w"], most: int, threshold: int | float = 0.05) -> Found:
    """The same where there is one of a kind (a hand, a face): the highest peak of each map."""
    uv, height = tops.highest(maps)
    there = height > threshold
    uv = torch.where(there[..., None], tops.refine(maps.clamp(min=1e-3).log(), uv), 0.0)
    b, k = height.shape
    where, score = uv.new_zeros(b, most, k, 2), uv.new_zeros(b, most, k)
    valid = torch.zeros(b, most, dtype=torch.bool, device=uv.device)
    where[:, 0], score[:, 0], valid[:, 0] = uv, torch.where(there, height.clamp(0, 1), 0.0), there.any(1)
    return where, score, valid


def _gathered(peaks: Peaks, found: Assembled) -> tuple[Float[Tensor, "P K 2"], Float[Tensor, "P K"]]:
    member = torch.from_numpy(np.ascontiguousarray(found.member)).to(peaks.uv.device)
    there, row = member >= 0, member.clamp(min=0)
    part = torch.arange(peaks.uv.shape[0], device=peaks.uv.device).expand_as(row)
    if not peaks.uv.shape[1]:
        return peaks.uv.new_zeros(*member.shape, 2), peaks.uv.new_zeros(member.shape)
    uv, score = peaks.uv[part, row], peaks.score[part, row]
    return torch.where(there[..., None], uv, 0.0), torch.where(there, score, 0.0)
