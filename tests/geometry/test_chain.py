"""Relative poses through strays and half turns of the board, and the tree that joins cameras."""

import torch

from asterism.geometry import chain, rigid, so3

F64 = torch.float64
EYE = torch.eye(3, 4, dtype=F64)[None]
# Half a turn about the middle (0.1, 0.07) of the board.
HALF = torch.tensor([[[-1.0, 0, 0, 0.2], [0, -1, 0, 0.14], [0, 0, 1, 0]]], dtype=F64)


def poses(n, seed=0):
    g = torch.Generator().manual_seed(seed)
    turn = so3.exp(0.5 * torch.randn(n, 3, generator=g, dtype=F64))
    at = torch.tensor([0, 0, 1.0], dtype=F64) + 0.2 * torch.randn(n, 3, generator=g, dtype=F64)
    return torch.cat([turn, at[..., None]], dim=-1)


def pair(n=12):
    b_from_a = torch.cat(
        [so3.exp(torch.tensor([[0.1, 0.9, -0.2]], dtype=F64)), torch.tensor([[[-0.8], [0.1], [0.4]]])], dim=-1
    ).double()
    a = poses(n)
    return a, rigid.compose(b_from_a.expand(n, -1, -1), a), rigid.inverse(b_from_a)[0]


def test_the_relative_pose_is_exact_and_survives_strays():
    a, b, truth = pair()
    b[:4] = poses(4, seed=5)
    found = chain.relative(a, b, EYE)
    torch.testing.assert_close(found.a_from_b, truth, rtol=0, atol=1e-9)
    assert found.agree.tolist() == [False] * 4 + [True] * 8 and found.rival < 4


def test_half_turns_are_found_where_the_board_moves_and_are_a_rival_where_it_stands():
    a, b, truth = pair()
    b[::2] = rigid.compose(b[::2], HALF.expand(6, -1, -1))
    a[:3] = rigid.compose(a[:3], HALF.expand(3, -1, -1))
    both = torch.cat([EYE, HALF])
    found = chain.relative(a, b, both)
    torch.testing.assert_close(found.a_from_b, truth, rtol=0, atol=1e-9)
    assert found.agree.all() and found.rival <= 3
    lost = chain.relative(a, b, EYE)  # without the half turn half of the moments are lost
    assert int(lost.agree.sum()) < 8
    still = chain.relative(a[5:6].expand(9, -1, -1), b[5:6].expand(9, -1, -1), both)
    assert still.rival == 9


def test_boards_are_placed_by_most_cameras():
    world = torch.cat([EYE, poses(4, seed=3)])
    board = poses(1, seed=4)
    seen = rigid.compose(world, board.expand(5, -1, -1))
    seen[2] = rigid.compose(seen[2:3], HALF)[0]
    seen[3] = poses(1, seed=9)[0]
    found, which, far = chain.placed(world, seen, torch.cat([EYE, HALF]))
    torch.testing.assert_close(found, board[0], rtol=0, atol=1e-9)
    assert which[[0, 1, 2, 4]].tolist() == [0, 0, 1, 0] and far[3] > 0.2 and far[[0, 1, 2, 4]].max() < 1e-6


def test_the_tree_takes_the_heaviest_edges_and_tells_the_parts():
    w = torch.zeros(5, 5, dtype=torch.int64)
    for i, j, n in ((0, 1, 3), (0, 2, 9), (1, 2, 7), (3, 4, 5)):
        w[i, j] = w[j, i] = n
    edges, parts = chain.tree(w)
    assert edges == [(0, 2), (2, 1), (3, 4)] and parts == [[0, 1, 2], [3, 4]]
