"""Two views of generated rooms as what methods of clouds learn from."""

import numpy as np
import torch
from scipy.spatial import cKDTree

from asterism.data.cloud_sets import CloudSamples, RoomPairs, open_clouds
from asterism.types import CloudPairs


def test_the_two_views_of_a_sample_lie_on_each_other_in_one_unit():
    rooms = open_clouds("world:room-pairs?n=3&seed=7")
    assert isinstance(rooms, RoomPairs) and len(rooms) == 3
    sample = CloudSamples(rooms, range(3), 4000)[0, 1]
    assert isinstance(sample, CloudPairs) and sample.points.shape == sample.others.shape == (1, 4000, 3)
    motion = sample.other_from_this[0]
    turn = motion[:3, :3]
    torch.testing.assert_close(turn @ turn.T, torch.eye(3), atol=1e-5, rtol=0)
    there = sample.points[0] @ turn.T + motion[:3, 3]
    unit = float(sample.to_source[0, 0, 0])
    gap = cKDTree(sample.others[0].numpy()).query(there.numpy())[0] * unit
    found = rooms.pair(1)
    assert abs((gap < 0.07).mean() - found.overlap) < 0.25
    longest = max(np.ptp(found.a, axis=0).max(), np.ptp(found.b, axis=0).max())
    assert abs(2 * unit - longest) < 1e-4
    first = sample.points[0] @ sample.to_source[0, :3, :3].T + sample.to_source[0, :3, 3]
    assert cKDTree(found.a).query(first.numpy())[0].max() < 1e-4
    assert len(rooms.cloud(1)) == len(found.a)
    again = CloudSamples(RoomPairs(3, 7), range(3), 4000)[0, 1]
    assert torch.equal(again.others, sample.others)
