"""Numbers stay with people: through crossings, gaps and shuffled detections."""

import numpy as np

from asterism.engine.tracks import PATIENCE, Tracker, followed

K = 5
SIGMA = (0.07,) * K
SHAPES = np.random.default_rng(0).normal(size=(4, K, 2)) * 12
AREA = 1200.0


def crossing(frames: int = 40) -> np.ndarray:
    """T 2 K 2: two people who walk through each other, 4 pixels apart in height."""
    t = np.linspace(-60, 60, frames)[:, None, None]
    right, left = t * np.array([1.0, 0]) + [0, 2], t * np.array([-1.0, 0]) - [0, 2]
    return np.stack([SHAPES[0] + right, SHAPES[1] + left], axis=1)


def test_two_people_who_cross_keep_their_numbers():
    tracker, rng = Tracker(SIGMA), np.random.default_rng(1)
    tracker.update(crossing()[0], np.full(2, AREA))
    for people in crossing()[1:]:
        order = rng.permutation(2)
        found = people[order] + rng.normal(size=(2, K, 2))
        np.testing.assert_array_equal(tracker.update(found, np.full(2, AREA)), order)


def test_who_walks_by_the_gap_between_two_is_known_by_the_motion():
    """And the control: nobody can tell from two pictures alone."""
    people = np.stack([SHAPES[0], SHAPES[0] + [9.0, 0]])  # the same shape twice
    tracker = Tracker(SIGMA)
    for x in (0, 2, 6, 12, 20, 29, 38):
        np.testing.assert_array_equal(tracker.update(people + [x, 0], np.full(2, AREA)), [0, 1])
    blind = Tracker(SIGMA)
    blind.update(people, np.full(2, AREA))
    assert blind.update(people + [9.0, 0], np.full(2, AREA))[0] == 1


def test_a_gap_is_bridged_up_to_the_patience():
    walk = SHAPES[0][None] + np.arange(60)[:, None, None] * [0.5, 0]
    for gap, same in ((PATIENCE, True), (PATIENCE + 1, False)):
        tracker = Tracker(SIGMA)
        for t in range(10):
            tracker.update(walk[t : t + 1], np.full(1, AREA))
        for _ in range(gap):
            assert len(tracker.update(np.zeros((0, K, 2)), np.zeros(0))) == 0
        number = tracker.update(walk[10:11], np.full(1, AREA))
        assert bool(number[0] == 0) == same


def test_a_newcomer_gets_a_number_of_their_own():
    tracker = Tracker(SIGMA)
    far = SHAPES[:2] + [[[0, 0]], [[300, 0]]]
    np.testing.assert_array_equal(tracker.update(far, np.full(2, AREA)), [0, 1])
    three = np.concatenate([far[::-1], SHAPES[2:3] + [0, 300]])
    np.testing.assert_array_equal(tracker.update(three, np.full(3, AREA)), [1, 0, 2])


def test_points_that_do_not_count_are_not_compared():
    tracker = Tracker(SIGMA)
    tracker.update(SHAPES[:1], np.full(1, AREA))
    wild = SHAPES[:1].copy()
    wild[0, 0] += 1000
    counts = np.ones((1, K), bool)
    assert Tracker(SIGMA).update(wild, np.full(1, AREA), counts)[0] == 0
    counts[0, 0] = False
    np.testing.assert_array_equal(tracker.update(wild, np.full(1, AREA), counts), [0])


def test_a_whole_clip_in_any_order():
    people = crossing()
    picture = np.repeat(np.arange(len(people)), 2)
    xy, who = people.reshape(-1, K, 2), np.tile([0, 1], len(people))
    order = np.random.default_rng(2).permutation(len(xy))
    numbers = followed(
        picture[order] + 7, xy[order], np.full(len(xy), AREA), np.ones((len(xy), K), bool), SIGMA
    )
    for person in (0, 1):
        assert len(set(numbers[who[order] == person].tolist())) == 1
    assert len(set(numbers.tolist())) == 2
    assert len(followed(picture[:0], xy[:0], np.zeros(0), np.zeros((0, K), bool), SIGMA)) == 0
