"""Maps and fields to people, batched."""

import torch

from asterism.ops.assembly import hungarian
from asterism.ops.assembly_pairs import limbs_of, line_integral
from asterism.ops.fields import limb_fields, people_maps
from asterism.ops.people import people_in, person_in

LIMBS = limbs_of(((0, 1), (1, 2), (2, 0)))


def drawn(xy, labelled):
    size = (16, 20)
    return people_maps(xy, labelled, size, 4, 1.0), limb_fields(xy, labelled, LIMBS.ends, size, 4, 1.0)


def scene():
    """Two pictures: two people who overlap, and one of whom a part is missing."""
    one = [[10.0, 10.0], [30.0, 12.0], [20.0, 40.0]]
    two = [[30.0, 26.0], [50.0, 28.0], [44.0, 50.0]]
    xy = torch.tensor([[one, two], [two, one]])
    labelled = torch.ones(2, 2, 3, dtype=torch.bool)
    labelled[1, 1] = False
    labelled[1, 0, 2] = False
    return xy, labelled


def test_people_come_back_padded_and_best_first():
    xy, labelled = scene()
    uv, score, valid = people_in(*drawn(xy, labelled), LIMBS, 4)
    assert valid.tolist() == [[True, True, False, False], [False] * 4]  # two parts are no person
    found = (uv[0, :2] + 0.5) * 4 - 0.5
    far = (found[:, None] - xy[0]).norm(dim=-1).amax(-1)
    assert far.amin(1).max() < 0.01 and set(far.argmin(1).tolist()) == {0, 1}
    assert not score[~valid].any() and not uv[~valid].any()


def test_a_point_that_is_missing_has_score_zero():
    xy, labelled = scene()
    labelled[:, :, 2] = False
    labelled[1] = labelled[0]
    from asterism.ops.assembly import Least

    _, score, valid = people_in(*drawn(xy, labelled), LIMBS, 2, least=Least(2, 0.4))
    assert valid.all()
    assert (score[..., 2] == 0).all() and (score[..., :2] > 0.8).all()


def test_only_so_many_and_other_assemblies():
    xy, labelled = scene()
    _, _, valid = people_in(*drawn(xy, labelled), LIMBS, 1, assemble=hungarian, score=line_integral)
    assert valid.tolist() == [[True], [False]]


def test_one_of_a_kind_needs_no_fields():
    xy, labelled = scene()
    maps, _ = drawn(xy[:, :1], labelled[:, :1])
    uv, score, valid = person_in(maps, 2)
    torch.testing.assert_close(((uv[0, 0] + 0.5) * 4 - 0.5), xy[0, 0], atol=0.01, rtol=0)
    assert valid.tolist() == [[True, False], [True, False]] and score[1, 0, 2] == 0
