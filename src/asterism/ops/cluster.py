"""Clusters of descriptors that come from images: k-means, and at most one descriptor per image and cluster.

N descriptors of length D, K centres, distances Euclidean. `image` says which image a descriptor is from.
Random choices come from `generator`, or from torch's global one when it is None; the same state gives the
same clusters.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Clusters:
    """Centres, how far from a centre its members may lie, and for every descriptor its centre, how far that
    is, and whether it is a member: near enough, and the nearest of its image."""

    centre: Float[Tensor, "K D"]
    radius: Float[Tensor, " K"]
    label: Int[Tensor, " N"]
    distance: Float[Tensor, " N"]
    member: Bool[Tensor, " N"]


def nearest(
    point: Float[Tensor, "N D"], centre: Float[Tensor, "K D"]
) -> tuple[Int[Tensor, " N"], Float[Tensor, " N"]]:
    """The nearest centre of each point and its distance."""
    # Not by way of a product: equal rows must be at distance 0, and as near as other equal rows.
    distance, label = torch.cdist(point, centre, compute_mode="donot_use_mm_for_euclid_dist").min(-1)
    return label, distance


def plus_plus(
    point: Float[Tensor, "N D"], k: int, generator: torch.Generator | None = None
) -> Float[Tensor, "K D"]:
    """k of the points as first centres, each drawn by its squared distance from those before it.

    Arthur, Vassilvitskii, k-means++: The Advantages of Careful Seeding, SODA 2007. With fewer than k
    different points some are drawn again.
    """
    first = torch.randint(len(point), (1,), generator=generator, device=point.device)
    chosen = [point[first]]
    distance = (point - chosen[0]).square().sum(-1)
    for _ in range(k - 1):
        weight = distance if distance.sum() > 0 else torch.ones_like(distance)
        chosen.append(point[torch.multinomial(weight, 1, generator=generator)])
        distance = torch.minimum(distance, (point - chosen[-1]).square().sum(-1))
    return torch.cat(chosen)


def lloyd(point: Float[Tensor, "N D"], centre: Float[Tensor, "K D"], iterations: int) -> Float[Tensor, "K D"]:
    """Centres moved to the means of what is nearest to them; an empty one goes to the worst served point."""
    for _ in range(iterations):
        label, distance = nearest(point, centre)
        one_hot = F.one_hot(label, len(centre)).to(point)
        count = one_hot.sum(0)
        moved = one_hot.mT @ point / count.clamp(min=1)[:, None]  # a sum in a fixed order, on a GPU too
        empty = torch.nonzero(count == 0)[:, 0]
        if len(empty):
            far = distance.topk(min(len(empty), len(point))).indices
            moved[empty[: len(far)]] = point[far]
        if torch.equal(moved, centre):
            break
        centre = moved
    return centre


def kmeans(
    point: Float[Tensor, "N D"],
    k: int,
    *,
    iterations: int = 20,
    attempts: int = 1,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "K D"]:
    """Centres of k-means++ and Lloyd's iterations; of several attempts the one with the least cost.

    ValueError when there are fewer points than clusters.
    """
    if len(point) < k:
        raise ValueError(f"kmeans: wanted at least {k} points for {k} clusters, got {len(point)}")
    best, least = point[:k], torch.inf
    for _ in range(attempts):
        centre = lloyd(point, plus_plus(point, k, generator), iterations)
        cost = float(nearest(point, centre)[1].square().sum())
        if cost < least:
            best, least = centre, cost
    return best


def radii(
    label: Int[Tensor, " N"], distance: Float[Tensor, " N"], k: int, deviations: int | float = 1.0
) -> Float[Tensor, " K"]:
    """Mean plus `deviations` standard deviations of the members' distances, per cluster; 0 without any."""
    one_hot = F.one_hot(label, k).to(distance)
    count = one_hot.sum(0).clamp(min=1)
    mean = distance @ one_hot / count
    spread = ((distance - mean[label]).square() @ one_hot / count).sqrt()
    return mean + deviations * spread


def best_per_image(
    label: Int[Tensor, " N"], distance: Float[Tensor, " N"], image: Int[Tensor, " N"]
) -> Bool[Tensor, " N"]:
    """True for the nearest descriptor of each image in each cluster; of equally near ones, the first."""
    if not len(label):
        return torch.zeros_like(label, dtype=torch.bool)
    group = image * (int(label.max()) + 1) + label
    order = distance.argsort(stable=True)
    order = order[group[order].argsort(stable=True)]  # by group, in a group by distance
    sorted_group = group[order]
    first = torch.ones_like(order, dtype=torch.bool)
    first[1:] = sorted_group[1:] != sorted_group[:-1]
    return torch.zeros_like(first).scatter(0, order, first)


def assign(
    point: Float[Tensor, "N D"],
    image: Int[Tensor, " N"],
    centre: Float[Tensor, "K D"],
    radius: Float[Tensor, " K"],
) -> Clusters:
    """Every point to its nearest centre; members are within its radius and the nearest of their image."""
    label, distance = nearest(point, centre)
    member = best_per_image(label, distance, image) & (distance <= radius[label])
    return Clusters(centre=centre, radius=radius, label=label, distance=distance, member=member)


def at_most_one(
    point: Float[Tensor, "N D"],
    image: Int[Tensor, " N"],
    centre: Float[Tensor, "K D"],
    deviations: int | float = 1.0,
) -> Clusters:
    """Members of given centres: the nearest of each image, unless further than the usual distance of those.

    The radius is the mean distance of the nearest ones plus `deviations` standard deviations.
    """
    label, distance = nearest(point, centre)
    best = best_per_image(label, distance, image)
    radius = radii(label[best], distance[best], len(centre), deviations)
    member = best & (distance <= radius[label])
    return Clusters(centre=centre, radius=radius, label=label, distance=distance, member=member)


def two_way(
    point: Float[Tensor, "N D"],
    image: Int[Tensor, " N"],
    k: int,
    m: int,
    *,
    iterations: int = 20,
    attempts: int = 1,
    deviations: int | float = 1.0,
    generator: torch.Generator | None = None,
) -> tuple[Clusters, Clusters]:
    """k clusters of all points, and m clusters of the members of those: what looks different of one part.

    Mallis et al., From Keypoints to Object Landmarks via Self-Training Correspondence, TPAMI 2023. The first
    step fixes how many points an image can have, the second how finely they are told apart. The members of
    the finer clusters are members of the coarse ones. With fewer than m survivors, each is a cluster.
    """
    coarse = at_most_one(
        point,
        image,
        kmeans(point, k, iterations=iterations, attempts=attempts, generator=generator),
        deviations,
    )
    alive = coarse.member
    m = min(m, int(alive.sum()))
    centre = kmeans(point[alive], m, iterations=iterations, attempts=attempts, generator=generator)
    survivors = at_most_one(point[alive], image[alive], centre, deviations)
    label, distance, member = (torch.zeros_like(t) for t in (coarse.label, coarse.distance, alive))
    label[alive], distance[alive], member[alive] = survivors.label, survivors.distance, survivors.member
    return coarse, replace(survivors, label=label, distance=distance, member=member)
