"""Rays against solids by hand, and pairs of views whose truth is the truth."""

import numpy as np
import pytest

from asterism.data.cloud_sets import CloudSamples, open_clouds
from asterism.data.worlds.rooms import Solids, cast, overlap_of, pair, random_rigid


def solid(kind, centre, half):
    return Solids(
        kind=np.array([kind]), centre=np.array([centre]), half=np.array([half]), turn=np.eye(3)[None]
    )


@pytest.mark.parametrize("kind, expected", [(0, 4.0), (1, 4.0), (2, 4.0)])
def test_a_ray_stops_where_the_solid_begins(kind, expected):
    t, cosine = cast(
        solid(kind, (5.0, 0, 0), (1.0, 1.0, 1.0)), np.zeros(3), np.array([[1.0, 0, 0], [-1, 0, 0], [0, 0, 1]])
    )
    assert t.tolist() == [expected, 1e6, 1e6]
    assert cosine.tolist() == [1, 0, 0]


def test_a_cylinder_is_closed_and_a_ray_may_be_longer_than_one():
    t, cosine = cast(
        solid(2, (0.0, 0, 5.0), (1.0, 1.0, 1.0)), np.zeros(3), np.array([[0.0, 0, 2], [0.1, 0, 1]])
    )
    np.testing.assert_allclose(t, [2, 4])
    np.testing.assert_allclose(cosine, [1, 1 / 1.01**0.5])


def test_a_pair_is_what_it_says():
    found = pair(0)
    assert 0.3 <= found.overlap <= 0.8
    assert overlap_of(found.a, found.b, found.b_from_a, 0.07) == pytest.approx(found.overlap)
    again = pair(0)
    assert np.array_equal(found.a, again.a) and np.array_equal(found.b_from_a, again.b_from_a)
    np.testing.assert_allclose(found.b_from_a[:3, :3] @ found.b_from_a[:3, :3].T, np.eye(3), atol=1e-12)
    assert len(found.a) > 8000


def test_a_random_motion_is_no_reflection():
    assert np.linalg.det(random_rigid(np.random.default_rng(0), 1)[:3, :3]) == pytest.approx(1)


def test_the_world_of_rooms_is_a_set_of_clouds():
    rooms = open_clouds("world:rooms?n=3&seed=4")
    assert (rooms.title, len(rooms), rooms.name(2)) == ("world:rooms", 3, "rooms_00002")
    one, again = rooms.cloud(1).points, open_clouds("world:rooms?seed=4").cloud(1).points
    assert np.array_equal(one, again) and not np.array_equal(one[:9], rooms.cloud(2).points[:9])
    assert not np.array_equal(one[:9], open_clouds("world:rooms?seed=5").cloud(1).points[:9])
    assert len(one) > 8000 and one[:, 2].min() > 0 and one[:, 2].max() < 9  # ahead of the camera, in reach
    batch = CloudSamples(rooms, range(3), 500)[0, 1]
    assert batch.points.shape == (1, 500, 3)
    inside = batch.points[0].double().numpy() * batch.to_source[0, 0, 0].item()
    gap = np.abs((inside + batch.to_source[0, :3, 3].double().numpy())[:, None] - one).sum(2).min(1)
    assert gap.max() < 1e-4
