import torch

from asterism.ops.peaks import highest, local_maxima, refine

F64 = torch.float64


def grid(h, w):
    v, u = torch.meshgrid(torch.arange(h, dtype=F64), torch.arange(w, dtype=F64), indexing="ij")
    return u, v


def test_highest_is_the_first_of_equals():
    maps = torch.zeros(1, 2, 3, 4)
    maps[0, 1, 2, 3] = maps[0, 1, 1, 1] = 5
    uv, value = highest(maps)
    assert uv[0].tolist() == [[0, 0], [1, 1]] and value[0].tolist() == [0, 5]


def test_refine_finds_the_top_of_a_tilted_parabola():
    u, v = grid(9, 8)
    for top in ([3.3, 4.2], [0.4, 7.7], [-0.3, 0.1], [6.6, 8.4]):  # on the border too
        du, dv = u - top[0], v - top[1]
        maps = -(du**2 + 0.2 * du * dv + 0.7 * dv**2)[None, None]
        found = refine(maps, highest(maps)[0])
        torch.testing.assert_close(found[0, 0], torch.tensor(top, dtype=F64), atol=1e-9, rtol=0)


def test_refine_stays_where_there_is_no_top():
    u, v = grid(5, 5)
    uv = torch.tensor([[[2.0, 2.0]]], dtype=F64)
    for maps in (torch.zeros_like(u), u + v, u**2 - v**2, (u - 2) ** 2 + (v - 2) ** 2):
        assert torch.equal(refine(maps[None, None], uv), uv)
    assert torch.equal(refine(torch.rand(1, 1, 2, 9, dtype=F64), uv), uv)


def test_local_maxima_are_sorted_suppressed_and_padded():
    maps = torch.zeros(1, 2, 10, 12)
    maps[0, 0, 2, 3], maps[0, 0, 2, 5], maps[0, 0, 9, 11], maps[0, 0, 0, 0] = 0.9, 0.8, 0.7, 0.95
    uv, value, valid = local_maxima(maps, threshold=0.1, radius=2, most=4)
    assert uv[0, 0, :3].tolist() == [[0, 0], [3, 2], [11, 9]]
    torch.testing.assert_close(value[0, 0], torch.tensor([0.95, 0.9, 0.7, 0.0]))
    assert valid[0].tolist() == [[True] * 3 + [False], [False] * 4]
    uv, _, valid = local_maxima(maps, threshold=0.75, radius=1, most=2)
    assert uv[0, 0].tolist() == [[0, 0], [3, 2]] and valid[0, 0].all()


def test_a_plateau_is_one_maximum():
    maps = torch.zeros(1, 1, 9, 9)
    maps[0, 0, 3:5, 3:6] = 0.5
    _, _, valid = local_maxima(maps, threshold=0.1, radius=2, most=5)
    assert valid.sum() == 1
