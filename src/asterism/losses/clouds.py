"""How far one cloud is from another, and from keypoints."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


def squared_distances(a: Float[Tensor, "B N 3"], b: Float[Tensor, "B M 3"]) -> Float[Tensor, "B N M"]:
    """Between all pairs, never below zero; squares, because the root has no gradient at zero."""
    gap = a.square().sum(-1)[:, :, None] + b.square().sum(-1)[:, None] - 2 * a @ b.mT
    return gap.clamp_min(0)


def chamfer(
    a: Float[Tensor, "B N 3"],
    b: Float[Tensor, "B M 3"],
    a_valid: Bool[Tensor, "B N"] | None = None,
    b_valid: Bool[Tensor, "B M"] | None = None,
) -> Float[Tensor, " B"]:
    """Mean squared distance to the nearest point of the other cloud, from a to b plus from b to a.

    Rows that are not valid (every row is, without the flags) are neither measured nor met.
    """
    gap = squared_distances(a, b)
    if a_valid is not None:
        gap = gap.masked_fill(~a_valid[:, :, None], float("inf"))
    if b_valid is not None:
        gap = gap.masked_fill(~b_valid[:, None], float("inf"))
    return _mean(gap.amin(2), a_valid) + _mean(gap.amin(1), b_valid)


def probabilistic_chamfer(
    a: Float[Tensor, "B N 3"],
    b: Float[Tensor, "B M 3"],
    a_sigma: Float[Tensor, "B N"],
    b_sigma: Float[Tensor, "B M"],
    a_valid: Bool[Tensor, "B N"] | None = None,
    b_valid: Bool[Tensor, "B M"] | None = None,
) -> Float[Tensor, " B"]:
    """How unlikely it is that keypoints lie as far as they do from the nearest of the other set: the mean of
    ln s + d / s over a, plus that over b. d is the distance and s the mean of the two points' sigmas, both in
    one unit: -ln of the density exp(-d / s) / s (Li, Lee, USIP, ICCV 2019; the sum there, the mean in the
    authors' code). Below zero where distances are short.

    Rows that are not valid (every row is, without the flags) are neither measured nor met; where one set has
    none the cost is 0.
    """
    one = _surprise(a, b, a_sigma, b_sigma, a_valid, b_valid)
    return one + _surprise(b, a, b_sigma, a_sigma, b_valid, a_valid)


def _surprise(
    a: Tensor, b: Tensor, a_sigma: Tensor, b_sigma: Tensor, a_valid: Tensor | None, b_valid: Tensor | None
) -> Tensor:
    away, row = _nearest(a, b, b_valid)
    sigma = (a_sigma + b_sigma.gather(1, row)) / 2
    kept = torch.ones_like(a_sigma, dtype=torch.bool) if a_valid is None else a_valid
    if b_valid is not None:
        kept = kept & b_valid.any(1, keepdim=True)
    return _mean(sigma.masked_fill(~kept, 1.0).log() + away / sigma.masked_fill(~kept, 1.0), kept)


def point_to_point(
    keypoints: Float[Tensor, "B K 3"],
    points: Float[Tensor, "B N 3"],
    keypoints_valid: Bool[Tensor, "B K"] | None = None,
    valid: Bool[Tensor, "B N"] | None = None,
) -> Float[Tensor, " B"]:
    """Mean distance, not squared, from each keypoint to the nearest point of its cloud.

    Rows that are not valid (every row is, without the flags) are neither measured nor met.
    """
    return _mean(_nearest(keypoints, points, valid)[0], keypoints_valid)


def _nearest(a: Tensor, b: Tensor, b_valid: Tensor | None) -> tuple[Tensor, Tensor]:
    """Distance from each of a to its nearest of b, and that one's row; at zero its gradient is zero."""
    with torch.no_grad():
        gap = squared_distances(a, b)
        row = (gap if b_valid is None else gap.masked_fill(~b_valid[:, None], torch.inf)).argmin(2)
    return torch.linalg.vector_norm(a - b.gather(1, row[..., None].expand(-1, -1, 3)), dim=-1), row


def inclusivity(
    keypoints: Float[Tensor, "B K 3"],
    points: Float[Tensor, "B N 3"],
    valid: Bool[Tensor, "B N"] | None = None,
) -> Float[Tensor, " B"]:
    """Mean squared distance from each keypoint to the nearest point of its cloud: keypoints stay on the
    shape.

    Rows of the cloud that are not valid (every row is, without the flags) are not met.
    """
    gap = squared_distances(keypoints, points)
    if valid is not None:
        gap = gap.masked_fill(~valid[:, None], float("inf"))
    return gap.amin(2).mean(1)


def coverage(
    keypoints: Float[Tensor, "B K 3"],
    points: Float[Tensor, "B N 3"],
    valid: Bool[Tensor, "B N"] | None = None,
) -> Float[Tensor, " B"]:
    """How much the keypoints' box and the cloud's differ in their sides: the smooth absolute difference (half
    its square below 1, less a half above), the mean over x, y and z.

    Rows of the cloud that are not valid (every row is, without the flags) are outside no box.
    """
    every = torch.ones_like(points[..., 0], dtype=torch.bool) if valid is None else valid
    low = points.masked_fill(~every[..., None], float("inf")).amin(1)
    high = points.masked_fill(~every[..., None], float("-inf")).amax(1)
    sides = keypoints.amax(1) - keypoints.amin(1)
    return nn.functional.smooth_l1_loss(sides, high - low, reduction="none").mean(1)


def _mean(nearest: Tensor, valid: Tensor | None) -> Tensor:
    if valid is None:
        return nearest.mean(1)
    return nearest.masked_fill(~valid, 0.0).sum(1) / valid.sum(1).clamp_min(1)
