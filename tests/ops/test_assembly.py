"""Putting people together: cases worked by hand, and crowds on perfect maps."""

import numpy as np
import pytest
import torch

from asterism.data.worlds.crowds import crowd
from asterism.data.worlds.skeletons import BODY25
from asterism.ops import assembly
from asterism.ops.assembly import Least, global_best, global_greedy, hungarian, kept, limb_by_limb, nearest
from asterism.ops.assembly_pairs import (
    Integral,
    Pairs,
    Peaks,
    agreement,
    bridges,
    find_pairs,
    find_peaks,
    limbs_of,
    line_integral,
)
from asterism.ops.fields import limb_fields, people_maps

CHAIN = limbs_of(((0, 1), (1, 2)))
WAYS = [global_best, global_greedy, limb_by_limb, hungarian]


def peaks_of(rows, k):
    """Peaks from lists of (x, y) by part."""
    m = max(len(r) for r in rows)
    uv, valid = torch.zeros(k, m, 2), torch.zeros(k, m, dtype=torch.bool)
    for part, points in enumerate(rows):
        for i, at in enumerate(points):
            uv[part, i], valid[part, i] = torch.tensor(at, dtype=torch.float), True
    return Peaks(uv, valid.float(), valid)


def pairs_of(*rows):
    limb, first, second, score = zip(*rows)
    return Pairs(np.array(limb), np.array(first), np.array(second), np.array(score, float))


def members(found):
    return sorted(map(tuple, found.member.tolist()))


# ------------------------------------------------------------------------------------------------ skeletons


def test_a_limb_is_redundant_when_it_closes_a_circle():
    assert limbs_of(((0, 1), (1, 2), (2, 0), (3, 4), (3, 0))).redundant == {2}
    assert limbs_of(BODY25.edges).redundant == {18, 19}  # shoulders to ears
    assert limbs_of(()).ends == ()


def test_bridges_pass_over_one_part():
    assert bridges(((0, 1), (1, 2), (2, 3))) == ((0, 2), (1, 3))
    assert bridges(((0, 1), (1, 2), (2, 0))) == ()


# ---------------------------------------------------------------------------------------------------- peaks


def test_peaks_lie_between_cells():
    xy = torch.tensor([[[[20.3, 33.1], [60.0, 11.0]], [[50.2, 40.9], [1.4, 1.2]]]])
    maps = people_maps(xy, torch.ones(1, 2, 2, dtype=torch.bool), (16, 20), 4, 1.0)[0]
    peaks = find_peaks(maps)
    wanted = ((xy[0] + 0.5) / 4 - 0.5).transpose(0, 1)  # K P 2
    for part in range(2):
        got = peaks.uv[part][peaks.valid[part]]
        assert len(got) == 2
        assert torch.cdist(got, wanted[part]).amin(1).max() < 1e-3


def test_a_plateau_is_one_peak_and_an_empty_map_none():
    maps = torch.zeros(3, 6, 7)
    maps[0, 2:4, 2:5] = 0.5
    maps[1] = 0.04
    peaks = find_peaks(maps)
    assert peaks.valid.sum(1).tolist() == [1, 0, 0]
    assert find_peaks(torch.zeros(2, 4, 4)).uv.shape == (2, 0, 2)


def test_the_highest_come_first_and_only_so_many():
    maps = torch.zeros(1, 9, 9)
    for i, (x, y) in enumerate([(1, 1), (4, 4), (7, 7), (1, 7)]):
        maps[0, y, x] = 0.2 + 0.2 * i
    peaks = find_peaks(maps, most=3)
    torch.testing.assert_close(peaks.score, torch.tensor([[0.8, 0.6, 0.4]]))


def test_peaks_at_a_border_and_on_one_row():
    maps = torch.zeros(1, 5, 5)
    maps[0, 0, 4] = 1.0
    assert find_peaks(maps).uv[0, 0].round().tolist() == [4, 0]
    assert find_peaks(torch.tensor([[[0.1, 0.9, 0.2]]])).uv.tolist() == [[[1.0, 0.0]]]


# ---------------------------------------------------------------------------------------------------- pairs


def constant_field(x, y, size=(12, 12)):
    return torch.tensor([x, y])[:, None, None].expand(2, *size).clone()


@pytest.mark.parametrize("score", [line_integral, agreement])
def test_a_pair_along_its_field_scores_one(score):
    peaks = peaks_of([[(2.0, 3.0)], [(8.0, 3.0)]], 2)
    pairs = find_pairs(peaks, constant_field(1.0, 0.0), limbs_of(((0, 1),)), score=score)
    assert (pairs.limb.tolist(), pairs.first.tolist(), pairs.second.tolist()) == ([0], [0], [0])
    assert pairs.score == pytest.approx([1.0])


def test_scores_of_a_pair_at_an_angle():
    peaks = peaks_of([[(2.0, 2.0)], [(8.0, 8.0)]], 2)  # 45 degrees off
    field, limbs = constant_field(1.0, 0.0), limbs_of(((0, 1),))
    assert find_pairs(peaks, field, limbs, score=line_integral).score == pytest.approx([np.sqrt(0.5)])
    wanted = 1 - 2 * np.sin(np.pi / 8)
    assert find_pairs(peaks, field, limbs, score=agreement).score == pytest.approx([wanted])
    assert not len(find_pairs(peaks, -field, limbs).limb)


@pytest.mark.parametrize(("share", "taken"), [(0.4, True), (0.5, True), (0.6, False)])
def test_a_share_of_the_places_must_be_above(share, taken):
    field = constant_field(1.0, 0.0)
    field[:, :, 6:] = 0.0  # half of the pair's places
    peaks = peaks_of([[(1.0, 3.0)], [(10.0, 3.0)]], 2)
    pairs = find_pairs(peaks, field, limbs_of(((0, 1),)), Integral(10, 0.05, share))
    assert bool(len(pairs.limb)) == taken


def test_leaving_out_hopeless_pairs_early_changes_nothing():
    torch.manual_seed(0)
    peaks = peaks_of([(torch.rand(9, 2) * 11).tolist() for _ in range(3)], 3)
    field, limbs = torch.randn(6, 12, 12), limbs_of(((0, 1), (1, 2), (2, 0)))
    integral = Integral(8, 0.05, 0.5)
    pairs = find_pairs(peaks, field, limbs, integral, line_integral)
    from asterism.ops.sampling import sample

    wanted = {}
    for l, (a, b) in enumerate(limbs.ends):
        for i in range(9):
            for j in range(9):
                start, along = peaks.uv[a, i], peaks.uv[b, j] - peaks.uv[a, i]
                uv = start + along * torch.linspace(0, 1, 8)[:, None]
                flow = sample(field[None, 2 * l : 2 * l + 2], uv[None])[0] @ (along / along.norm())
                if (flow > 0.05).float().mean() >= 0.5:
                    wanted[l, i, j] = float(flow.mean())
    got = dict(
        zip(zip(pairs.limb.tolist(), pairs.first.tolist(), pairs.second.tolist()), pairs.score.tolist())
    )
    assert got.keys() == wanted.keys() and len(got) > 10
    assert all(got[key] == pytest.approx(wanted[key], abs=1e-5) for key in got)


# ------------------------------------------------------------------------------------------------- assembly


@pytest.mark.parametrize("way", WAYS)
def test_two_chains(way):
    peaks = peaks_of([[(0, 0), (0, 5)]] * 3, 3)
    pairs = pairs_of((0, 0, 0, 0.9), (0, 1, 1, 0.8), (1, 0, 1, 0.3), (1, 0, 0, 0.7), (1, 1, 1, 0.6))
    assert members(way(peaks, pairs, CHAIN)) == [(0, 0, 0), (1, 1, 1)]


def test_the_score_is_the_sum_over_parts_and_pairs_divided_by_their_number():
    peaks = peaks_of([[(0, 0)]] * 3, 3)
    found = global_greedy(peaks, pairs_of((0, 0, 0, 0.5), (1, 0, 0, 0.2)), CHAIN)
    assert found.score == pytest.approx([(3 + 0.7) / 5])


def test_people_are_merged_when_no_part_is_in_both():
    four = limbs_of(((0, 1), (1, 2), (2, 3)))
    peaks = peaks_of([[(0, 0)]] * 4, 4)
    pairs = pairs_of((0, 0, 0, 0.9), (2, 0, 0, 0.8), (1, 0, 0, 0.4))  # the ends first, then the middle
    assert members(global_greedy(peaks, pairs, four)) == [(0, 0, 0, 0)]


def test_people_who_share_a_kind_of_part_stay_two():
    peaks = peaks_of([[(0, 0)], [(0, 0), (1, 1)], [(0, 0)]], 3)
    pairs = pairs_of((0, 0, 0, 0.9), (1, 1, 0, 0.8), (0, 0, 1, 0.5), (1, 0, 0, 0.4))
    assert members(global_greedy(peaks, pairs, CHAIN)) == [(-1, 1, 0), (0, 0, -1)]


def test_a_redundant_limb_joins_what_a_missing_part_has_parted():
    circle = limbs_of(((0, 1), (1, 2), (2, 3), (3, 0)))
    peaks = peaks_of([[(0, 0)], [], [(0, 0)], [(0, 0)]], 4)
    pairs = pairs_of((2, 0, 0, 0.8), (3, 0, 0, 0.6))
    assert members(global_greedy(peaks, pairs, circle)) == [(0, -1, 0, 0)]
    assert members(limb_by_limb(peaks, pairs, circle)) == [(0, -1, 0, 0)]  # 0 alone fills a gap


def test_redundant_limbs_neither_begin_nor_merge_in_the_first_assembly():
    circle = limbs_of(((0, 1), (2, 3), (1, 2), (3, 0)))
    peaks = peaks_of([[(0, 0)]] * 4, 4)
    pairs = pairs_of((0, 0, 0, 0.8), (1, 0, 0, 0.8), (3, 0, 0, 0.9))
    assert members(limb_by_limb(peaks, pairs, circle)) == [(-1, -1, 0, 0), (0, 0, -1, -1)]
    assert members(global_greedy(peaks, pairs, circle)) == [(0, 0, 0, 0)]


def test_hungarian_takes_the_largest_sum_and_greedy_the_largest_pair():
    peaks, two = peaks_of([[(0, 0), (0, 5)]] * 2, 2), limbs_of(((0, 1),))
    pairs = pairs_of((0, 0, 0, 0.9), (0, 0, 1, 0.8), (0, 1, 0, 0.8))
    assert members(hungarian(peaks, pairs, two)) == [(0, 1), (1, 0)]
    assert members(limb_by_limb(peaks, pairs, two)) == [(0, 0)]


def test_no_pairs_is_nobody():
    nothing = find_peaks(torch.zeros(3, 5, 5))
    pairs = find_pairs(nothing, torch.zeros(4, 5, 5), CHAIN)
    for way in (*WAYS, nearest):
        found = way(nothing, pairs, CHAIN)
        assert found.member.shape == (0, 3) and found.score.shape == (0,)


def test_who_is_kept():
    found = assembly.Assembled(np.array([[0, 0, 0], [1, 1, -1], [2, 2, 2]]), np.array([0.9, 0.8, 0.3]))
    assert members(kept(found)) == [(0, 0, 0)]
    assert len(kept(found, Least(2, 0.1)).member) == 3


# --------------------------------------------------------------------------------------------------- crowds

STRIDE, SIZE = 4, (368, 656)


def drawn(xy, limbs):
    at = torch.from_numpy(xy)[None].float(), torch.ones(1, *xy.shape[:2], dtype=torch.bool)
    cells = (SIZE[0] // STRIDE, SIZE[1] // STRIDE)
    fields = limb_fields(*at, limbs.ends, cells, STRIDE, 1.0)[0]
    return find_peaks(people_maps(*at, cells, STRIDE, 7 / 8)[0]), fields


@pytest.mark.parametrize(("people", "seed"), [(1, 0), (8, 1), (30, 0), (30, 1)])
def test_everybody_of_a_crowd_is_recovered_and_nearest_parts_lose(people, seed):
    limbs = limbs_of(BODY25.edges)
    random = np.random.default_rng(seed)
    xy = crowd(random, BODY25, people, SIZE, apart=3 * STRIDE, alone=2.5 * STRIDE)
    peaks, fields = drawn(xy, limbs)
    assert peaks.valid.sum() == people * 25
    far = np.linalg.norm(((xy + 0.5) / STRIDE - 0.5)[:, :, None] - peaks.uv.numpy(), axis=-1)
    far = np.where(peaks.valid.numpy(), far, np.inf)
    assert far.min(-1).max() < 0.05  # cells
    wanted = sorted(map(tuple, far.argmin(-1).tolist()))
    pairs = find_pairs(peaks, fields, limbs)
    for way in WAYS:
        assert members(kept(way(peaks, pairs, limbs))) == wanted, way.__name__
    if people > 1:
        right = set(members(nearest(peaks, pairs, limbs))) & set(wanted)
        assert len(right) <= 0.9 * people


def test_a_crowd_keeps_its_distances():
    xy = crowd(np.random.default_rng(0), BODY25, 6, (200, 300), apart=10, alone=6)
    assert xy.shape == (6, 25, 2)
    assert (xy >= 0).all() and (xy <= (299, 199)).all()
    far = np.linalg.norm(xy[:, None] - xy, axis=-1)
    assert far[~np.eye(6, dtype=bool)].min() >= 10
    with pytest.raises(ValueError, match="do not fit"):
        crowd(np.random.default_rng(0), BODY25, 2, (64, 64), apart=80)
