"""k-means of descriptors from images: planted clusters come back, and an image has one member at most."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asterism.ops.cluster import (
    assign,
    at_most_one,
    best_per_image,
    kmeans,
    lloyd,
    nearest,
    plus_plus,
    radii,
    two_way,
)

F64 = torch.float64


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def planted(k, images, noise, seed=0):
    """One descriptor of each of k parts in each image: descriptors, parts, images."""
    g = generator(seed)
    parts = torch.nn.functional.normalize(torch.randn(k, 16, generator=g, dtype=F64), dim=-1)
    part = torch.arange(k).repeat(images)
    image = torch.arange(images).repeat_interleave(k)
    return parts[part] + noise * torch.randn(k * images, 16, generator=g, dtype=F64), part, image


def same_partition(label, part):
    pairs = set(zip(label.tolist(), part.tolist()))
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def test_planted_clusters_are_recovered():
    point, part, _ = planted(7, 40, 0.05)
    centre = kmeans(point, 7, attempts=5, generator=generator())
    label, distance = nearest(point, centre)
    assert same_partition(label, part)
    means = torch.stack([point[part == p].mean(0) for p in range(7)])
    torch.testing.assert_close(
        torch.cdist(centre, means).amin(1), torch.zeros(7, dtype=F64), atol=1e-9, rtol=0
    )
    torch.testing.assert_close(distance, (point - centre[label]).norm(dim=-1))


def test_the_same_generator_gives_the_same_centres():
    point = torch.randn(300, 5, generator=generator(3))
    one, two = (kmeans(point, 9, generator=generator(4)) for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, kmeans(point, 9, generator=generator(5)))


def test_every_iteration_costs_less_and_more_attempts_never_cost_more():
    point = torch.randn(400, 6, generator=generator(), dtype=F64)
    start = plus_plus(point, 12, generator())
    costs = [float(nearest(point, lloyd(point, start, n))[1].square().sum()) for n in range(8)]
    assert all(after <= before + 1e-9 for before, after in pairwise(costs))
    few, many = (kmeans(point, 12, attempts=n, generator=generator()) for n in (1, 6))
    assert nearest(point, many)[1].square().sum() <= nearest(point, few)[1].square().sum()


def test_first_centres_are_points_that_differ():
    point, _, _ = planted(6, 10, 0.0)
    start = plus_plus(point, 6, generator())
    assert nearest(start, point)[1].max() == 0
    assert torch.pdist(start).min() > 0.1  # a place that is taken has weight 0
    assert plus_plus(torch.ones(3, 2), 3, generator()).tolist() == [[1, 1]] * 3


def test_an_empty_cluster_goes_to_the_worst_served_point():
    point = torch.tensor([[0.0], [1.0], [10.0], [30.0]])
    centre = lloyd(point, torch.tensor([[4.0], [1000.0]]), 5)
    assert sorted(centre[:, 0].tolist()) == pytest.approx([11 / 3, 30.0])


def test_too_few_points_are_refused():
    with pytest.raises(ValueError, match="5 clusters"):
        kmeans(torch.zeros(4, 2), 5)


def test_radii_are_mean_plus_deviation():
    label, distance = torch.tensor([0, 0, 0, 2]), torch.tensor([1.0, 2.0, 3.0, 5.0])
    wanted = torch.tensor([2 + (2 / 3) ** 0.5, 0.0, 5.0])
    torch.testing.assert_close(radii(label, distance, 3), wanted)
    torch.testing.assert_close(radii(label, distance, 3, 0), torch.tensor([2.0, 0.0, 5.0]))


def test_the_nearest_of_an_image_is_kept_and_of_equals_the_first():
    label = torch.tensor([1, 1, 0, 1, 1, 0])
    image = torch.tensor([7, 7, 7, 3, 3, 3])
    distance = torch.tensor([0.4, 0.2, 0.9, 0.5, 0.5, 0.1])
    assert best_per_image(label, distance, image).tolist() == [False, True, True, True, False, True]
    none = torch.zeros(0, dtype=torch.long)
    assert best_per_image(none, torch.zeros(0), none).tolist() == []


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 12), st.integers(1, 60))
def test_an_image_never_has_two_members_of_a_cluster(seed, k, images, n):
    g = generator(seed)
    point = torch.randint(0, 4, (max(n, k), 3), generator=g).float()  # many at equal distances
    image = torch.randint(0, images, (len(point),), generator=g)
    coarse, fine = two_way(point, image, k, 3 * k, iterations=3, generator=g)
    again = assign(point, image, coarse.centre, coarse.radius)
    for found in (coarse, fine, again):
        pairs = list(zip(image[found.member].tolist(), found.label[found.member].tolist()))
        assert len(pairs) == len(set(pairs))
    assert torch.equal(again.member, coarse.member)
    assert len(coarse.centre) == k
    assert not (fine.member & ~coarse.member).any()


def test_what_lies_further_than_usual_is_no_member():
    point, part, image = planted(4, 50, 0.02)
    point[5] += 0.3
    centre = torch.stack([point[part == p].mean(0) for p in range(4)])
    found = at_most_one(point, image, centre)
    assert not found.member[5]
    assert 0.7 < found.member.double().mean() < 0.95  # mean + std of about normal distances
    assert at_most_one(point, image, centre, 3.0).member.double().mean() > 0.97


def test_k_is_fixed_first_and_then_told_apart_more_finely():
    """Four parts that look one of two ways each: K = 4 joins the ways, M = 8 tells them apart."""
    point, part, image = planted(4, 60, 0.01)
    way = (image % 2).to(point)
    direction = torch.zeros(1, 16, dtype=F64)
    direction[0, 0] = 0.25
    point = point + way[:, None] * direction
    coarse, fine = two_way(point, image, 4, 8, attempts=10, deviations=3.0, generator=generator())
    assert same_partition(coarse.label, part)
    alive = fine.member
    assert alive.double().mean() > 0.9
    assert same_partition(fine.label[alive], 2 * part[alive] + way[alive].long())


def test_with_few_survivors_each_is_a_cluster():
    point, _, image = planted(3, 4, 0.01)
    _, fine = two_way(point, image, 3, 100, generator=generator())
    assert 3 <= len(fine.centre) <= 12
