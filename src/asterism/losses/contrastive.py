"""Costs that make descriptors of one part alike and those of different parts of one image different."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def margin_within_images(
    descriptor: Float[Tensor, "N D"],
    label: Int[Tensor, " N"],
    image: Int[Tensor, " N"],
    margin: int | float,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """(positives, negatives): d^2 over pairs of one label, relu(margin - d)^2 over pairs of different labels.

    Mallis et al., Unsupervised Learning of Object Landmarks via Self-Training Correspondence, NeurIPS 2020.
    Pairs of different labels count only INSIDE an image: two images may show one part under two labels,
    but two places of one image are never the same part. Each is averaged over its pairs; without any, 0.
    """
    same = label[:, None] == label
    apart = ~same & (image[:, None] == image)
    positive, negative = _square(descriptor, same), _square(descriptor, apart)
    # The slope of a root is not defined at 0, where two places look the same: held just above it.
    distance = negative.clamp(min=torch.finfo(negative.dtype).eps).sqrt()
    return _mean(positive), _mean((margin - distance).relu().square())


def _square(descriptor: Float[Tensor, "N D"], pairs: Bool[Tensor, "N N"]) -> Float[Tensor, " P"]:
    """Squared distances of the pairs above the diagonal."""
    a, b = torch.nonzero(pairs.triu(1), as_tuple=True)
    return (descriptor[a] - descriptor[b]).square().sum(-1)


def _mean(cost: Float[Tensor, " P"]) -> Float[Tensor, ""]:
    return cost.sum() / max(len(cost), 1)
