"""Mutual nearest neighbours against brute force, ties and all."""

import pytest
import torch
from torch.nn.functional import normalize

from asterism.ops.nearest import mutual_nearest


def brute(a, b, ratio=1.0):
    s = a @ b.T
    to, back = s.argmax(1), s.argmax(0)
    pairs = [(i, int(j)) for i, j in enumerate(to) if back[j] == i]
    if ratio < 1:
        top = s.topk(2, dim=1).values
        far = (2 - 2 * top).clamp(min=0).sqrt()
        pairs = [(i, j) for i, j in pairs if far[i, 0] <= ratio * far[i, 1]]
    return pairs


def listed(found):
    return [tuple(pair) for pair in found[0].tolist()]


@pytest.mark.parametrize(("n", "m"), [(1, 1), (5, 3), (300, 410), (129, 128)])
def test_as_brute_force(n, m):
    g = torch.Generator().manual_seed(n)
    a, b = (normalize(torch.randn(size, 16, generator=g, dtype=torch.float64), dim=1) for size in (n, m))
    found = mutual_nearest(a, b)
    assert listed(found) == brute(a, b)
    torch.testing.assert_close(found[1], (a[found[0][:, 0]] * b[found[0][:, 1]]).sum(1))


def test_ties_go_to_the_first():
    g = torch.Generator().manual_seed(0)
    a, b = (torch.randint(-1, 2, (200, 4), generator=g).double() for _ in range(2))
    assert listed(mutual_nearest(a, b)) == brute(a, b)


def test_two_copies_of_everything():
    g = torch.Generator().manual_seed(0)
    half = torch.randint(-3, 4, (90, 8), generator=g).double()
    a, b = torch.cat([half, half]), torch.cat([half, half])[torch.randperm(180, generator=g)]
    assert listed(mutual_nearest(a, b)) == brute(a, b)


def test_the_ratio_test():
    g = torch.Generator().manual_seed(3)
    a = normalize(torch.randn(150, 6, generator=g, dtype=torch.float64), dim=1)
    b = normalize(a + 0.2 * torch.randn(150, 6, generator=g, dtype=torch.float64), dim=1)
    found = listed(mutual_nearest(a, b, ratio=0.8))
    assert found == brute(a, b, 0.8) and 0 < len(found) < len(brute(a, b))


def test_nothing_on_one_side():
    pairs, similarity = mutual_nearest(torch.zeros(0, 4), torch.ones(3, 4))
    assert pairs.shape == (0, 2) and similarity.shape == (0,)
