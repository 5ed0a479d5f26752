import pytest
import torch

from asterism.geometry import affine
from asterism.ops import places
from asterism.ops.readout import spatial_softmax
from asterism.types import Images


@pytest.mark.parametrize("k", [1, 3, 8, 10])
def test_places_lie_apart_in_the_middle_half(k):
    xy = places.jittered(k, (48, 64))
    assert xy.shape == (k, 2)
    low, high = torch.tensor([15.75, 11.75]), torch.tensor([47.25, 35.25])
    assert (xy >= low).all() and (xy <= high).all()
    assert len(xy.unique(dim=0)) == k


def test_farness_is_half_at_the_reach():
    start = torch.tensor([[2.5, 4.5], [10.5, 0.5]])  # centres of cells (1, 2) and (5, 0) at stride 2
    far = places.farness(start, (6, 8), 2, 4.0)
    assert far.shape == (2, 6, 8)
    assert far[0, 2, 1] == 0 and far[1, 0, 5] == 0
    assert far[0, 2, 3] == 0.5 and far[0, 4, 1] == 0.5  # two cells are four pixels


def test_a_hold_goes_evenly_and_ends():
    assert [places.hold_left(p, 0.25) for p in (0.0, 0.125, 0.25, 1.0)] == [1.0, 0.5, 0.0, 0.0]
    assert places.hold_left(0.0, 0.0) == 0.0


def test_the_score_is_0_for_a_flat_map_and_1_for_a_single_cell():
    logits = torch.zeros(1, 2, 24, 32)
    logits[0, 1, 3, 5] = 1e4
    shift = torch.tensor([[[2.0, 0.0, 7.0], [0.0, 2.0, -1.0]]])
    batch = Images(image=torch.zeros(1, 3, 48, 64), to_source=shift)
    found = spatial_softmax(logits, 1.0, 2)
    out = places.keypoints_by_spread(found, batch)
    assert out.cov is not None
    torch.testing.assert_close(out.score, torch.tensor([[0.0, 1.0]]), atol=5e-3, rtol=0)
    torch.testing.assert_close(out.xy, affine.apply(shift, found.xy))
    torch.testing.assert_close(out.cov, 4 * found.cov)
