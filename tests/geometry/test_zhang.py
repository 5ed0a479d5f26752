"""A camera's matrix from perfect corners is exact; from parallel boards there is none."""

import pytest
import torch

from asterism.geometry import so3, zhang

F64 = torch.float64
SIZE = (480, 640)
K = torch.tensor([[812.0, 0, 331], [0, 797, 226], [0, 0, 1]], dtype=F64)


def plane():
    y, x = torch.meshgrid(torch.arange(6, dtype=F64), torch.arange(9, dtype=F64), indexing="ij")
    return torch.stack([x, y], dim=-1).reshape(-1, 2) * 0.03


def seen(turns, k=K):
    """Boards at 0.8 m, turned about their own middle."""
    board = plane()
    flat = torch.cat([board - board.mean(0), torch.zeros(len(board), 1, dtype=F64)], dim=-1)
    cam = flat @ so3.exp(turns).mT + torch.tensor([0.02, -0.01, 0.8], dtype=F64)
    xy = cam @ k.T
    return xy[..., :2] / xy[..., 2:]


def turned(n, seed=0):
    g = torch.Generator().manual_seed(seed)
    return 0.6 * torch.randn(n, 3, generator=g, dtype=F64)


@pytest.mark.parametrize("n", [3, 10])
def test_perfect_corners_give_the_matrix(n):
    xy = seen(turned(n))
    h = zhang.homographies(plane(), xy, torch.ones(xy.shape[:2], dtype=torch.bool))
    found = zhang.intrinsics(h, SIZE)
    assert found is not None
    torch.testing.assert_close(found, K, rtol=1e-6, atol=1e-6)


def test_one_board_gives_the_focal_length_where_the_middle_is_known():
    k = torch.tensor([[700.0, 0, 319.5], [0, 700, 239.5], [0, 0, 1]], dtype=F64)
    xy = seen(torch.tensor([[0.5, 0.2, 0.1]], dtype=F64), k)
    h = zhang.homographies(plane(), xy, torch.ones(xy.shape[:2], dtype=torch.bool))
    found = zhang.focal_alone(h, SIZE)
    assert found is not None
    torch.testing.assert_close(found, k, rtol=1e-6, atol=1e-6)
    assert zhang.intrinsics(h, SIZE) is None  # two equations for four unknowns


def test_boards_parallel_to_the_picture_give_no_focal_length():
    turns = torch.zeros(5, 3, dtype=F64)
    turns[:, 2] = torch.linspace(0, 1, 5)
    xy = seen(turns)
    h = zhang.homographies(plane(), xy, torch.ones(xy.shape[:2], dtype=torch.bool))
    for found in (zhang.intrinsics(h, SIZE), zhang.focal_alone(h, SIZE)):
        assert found is None or (found[0, 0] / K[0, 0] - 1).abs() > 0.05  # nothing, or nonsense


def test_a_homography_survives_wrong_corners():
    xy = seen(turned(4))
    valid = torch.ones(xy.shape[:2], dtype=torch.bool)
    valid[0, :20] = False
    truth = zhang.homographies(plane(), xy, valid)
    bad = xy.clone()
    bad[:, ::9] += torch.tensor([60.0, -40.0], dtype=F64)
    bad[0, :20] = 1e4
    found = zhang.homographies(plane(), bad, valid)
    torch.testing.assert_close(found / found[:, 2:, 2:], truth / truth[:, 2:, 2:], rtol=1e-4, atol=1e-3)
