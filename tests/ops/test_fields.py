"""Maps and fields of several people: worked by hand, and against the formula cell by cell."""

import math

import pytest
import torch

from asterism.ops.fields import cell_weight, limb_fields, people_maps, region_weight, with_background
from asterism.ops.heatmap import gaussian_maps


def people(points):
    """xy B=1 P K 2 and labelled for lists of points, None for one that is not labelled."""
    nowhere = (math.nan, math.nan)
    xy = torch.tensor([[[nowhere if p is None else p for p in person] for person in points]])
    return xy.float(), torch.tensor([[[p is not None for p in person] for person in points]])


def test_a_map_holds_the_nearest_of_everybody():
    xy, labelled = people([[(8.0, 8.0), None], [(20.0, 10.0), (3.0, 4.0)]])
    maps = people_maps(xy, labelled, (8, 8), 4, 1.0)
    alone = [gaussian_maps(xy[:, i, :1], (8, 8), 4, 1.0)[0, 0] for i in (0, 1)]
    torch.testing.assert_close(maps[0, 0], torch.maximum(*alone))
    torch.testing.assert_close(maps[0, 1], gaussian_maps(xy[:, 1, 1:], (8, 8), 4, 1.0)[0, 0])


def test_nobody_is_an_empty_map_and_all_background():
    maps = people_maps(torch.zeros(1, 0, 3, 2), torch.zeros(1, 0, 3, dtype=torch.bool), (4, 5), 4, 1.0)
    assert maps.shape == (1, 3, 4, 5) and not maps.any()
    assert (with_background(maps)[:, 3] == 1).all()


def test_the_background_is_what_no_part_is():
    maps = torch.rand(2, 3, 4, 5)
    torch.testing.assert_close(with_background(maps)[:, 3], 1 - maps.max(1).values)


def test_a_level_limb_on_cell_centres_by_hand():
    # cells of 1 pixel; from (2, 3) to (5, 3), half a cell wide: just the four cells between
    xy, labelled = people([[(2.0, 3.0), (5.0, 3.0)]])
    field = limb_fields(xy, labelled, [(0, 1)], (7, 8), 1, 0.5)
    wanted = torch.zeros(2, 7, 8)
    wanted[0, 3, 2:6] = 1.0
    torch.testing.assert_close(field[0], wanted)
    assert torch.equal(limb_fields(xy, labelled, [(1, 0)], (7, 8), 1, 0.5), -field)


def test_the_ends_are_round():
    xy, labelled = people([[(2.0, 3.0), (5.0, 3.0)]])
    field = limb_fields(xy, labelled, [(0, 1)], (7, 8), 1, 1.0)[0, 0]
    assert field[3, 1] == 1 and field[3, 6] == 1  # one cell beyond either end
    assert field[2, 1] == 0 and field[2, 2] == 1  # not the corners


def test_fields_stand_where_the_maps_stand():
    """Maps of both ends and the field of a limb move together by whole cells, at any stride."""
    xy, labelled = people([[(13.3, 20.1), (30.9, 27.4)]])
    for stride in (4, 8):
        here = limb_fields(xy, labelled, [(0, 1)], (12, 12), stride, 1.0)
        there = limb_fields(xy + stride, labelled, [(0, 1)], (12, 12), stride, 1.0)
        torch.testing.assert_close(there[..., 1:, 1:], here[..., :-1, :-1])
    # and both ends lie inside the band: the highest cell of each map has the limb's vector
    maps = people_maps(xy, labelled, (12, 12), 4, 1.0)
    field = limb_fields(xy, labelled, [(0, 1)], (12, 12), 4, 1.0)
    unit = (xy[0, 0, 1] - xy[0, 0, 0]) / (xy[0, 0, 1] - xy[0, 0, 0]).norm()
    for k in range(2):
        at = maps[0, k].flatten().argmax()
        torch.testing.assert_close(field[0].flatten(1)[:, at], unit)


def test_a_limb_shorter_than_a_cell_has_cells():
    xy, labelled = people([[(10.0, 10.0), (10.5, 10.0)]])
    assert limb_fields(xy, labelled, [(0, 1)], (6, 6), 4, 1.0)[0, 0].sum() >= 1


def test_crossing_limbs_are_averaged_over_those_that_are_there():
    xy, labelled = people([[(2.0, 5.0), (8.0, 5.0)], [(5.0, 2.0), (5.0, 8.0)]])
    field = limb_fields(xy, labelled, [(0, 1)], (11, 11), 1, 0.5)[0]
    assert field[:, 5, 5].tolist() == [0.5, 0.5]
    assert field[:, 5, 3].tolist() == [1.0, 0.0]
    assert field[:, 3, 5].tolist() == [0.0, 1.0]


@pytest.mark.parametrize("half_width", [0.7, 1.0, 2.0])
def test_against_the_definition_cell_by_cell(half_width):
    torch.manual_seed(0)
    xy = torch.rand(2, 3, 4, 2) * 40
    labelled = torch.rand(2, 3, 4) > 0.3
    limbs, stride = [(0, 1), (2, 3), (3, 0)], 4
    field = limb_fields(xy, labelled, limbs, (9, 10), stride, half_width)
    for b in range(2):
        for l, (i, j) in enumerate(limbs):
            for y in range(9):
                for x in range(10):
                    seen = []
                    for p in range(3):
                        if not (labelled[b, p, i] and labelled[b, p, j]):
                            continue
                        start, end = ((xy[b, p, k] + 0.5) / stride - 0.5 for k in (i, j))
                        t = (torch.tensor([x, y]) - start) @ (end - start) / (end - start).square().sum()
                        nearest = start + t.clamp(0, 1) * (end - start)
                        if (torch.tensor([x, y]) - nearest).norm() <= half_width:
                            seen.append((end - start) / (end - start).norm())
                    mean = torch.stack(seen).mean(0) if seen else torch.zeros(2)
                    torch.testing.assert_close(field[b, 2 * l : 2 * l + 2, y, x], mean)


def test_points_without_a_label_touch_nothing():
    xy, labelled = people([[(2.0, 3.0), None], [(4.0, 4.0), (9.0, 9.0)]])
    both = limb_fields(xy, labelled, [(0, 1)], (5, 5), 2, 1.0)
    alone = limb_fields(xy[:, 1:], labelled[:, 1:], [(0, 1)], (5, 5), 2, 1.0)
    assert torch.equal(both, alone) and both.isfinite().all()


def test_regions_of_people_without_labels_do_not_count():
    boxes = torch.tensor([[[2.0, 1.0, 3.0, 2.0], [0.0, 0.0, 8.0, 8.0]]])
    weight = region_weight(boxes, torch.tensor([[True, False]]), (8, 8))
    assert weight.shape == (1, 1, 8, 8)
    assert (1 - weight).sum() == 6 and weight[0, 0, 1:3, 2:5].sum() == 0
    cells = cell_weight(weight, (2, 2))
    assert cells.flatten().tolist() == [1 - 4 / 16, 1 - 2 / 16, 1.0, 1.0]
