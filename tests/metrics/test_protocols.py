"""Every rule on planted points whose answer is known in closed form."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from asterism.errors import RequestError
from asterism.metrics import rules
from asterism.metrics.landmarks import Labels, Points, strict_answers
from asterism.metrics.protocols import PROTOCOLS, audit, exploits

RNG = np.random.default_rng
NO_INTERCEPT = ("imm", "zhang", "autolink", "autolink-h36m", "bkind-h36m", "dve")
CROSS = np.array([[0.4, 0], [-0.4, 0], [0, 0.4], [0, -0.4]])[:, None]  # four rows of one point about 0


def labels(xy, normaliser=1.0):
    n, k = xy.shape[:2]
    return Labels(np.asarray(xy, float), np.ones((n, k), bool), np.arange(n), np.full(n, normaliser))


def twice(x):
    return Points(x, x)


def table(rows):
    return {(row.protocol, row.points): row for row in rows}


def test_the_table_is_complete_and_plain():
    rng = RNG(0)
    points, truth = Points(rng.random((30, 3, 2)), rng.random((12, 3, 2))), rng.random((42, 2, 2))
    controls = {"noise": Points(rng.random((30, 3, 2)), rng.random((12, 3, 2)))}
    rows = audit(points, labels(truth[:30]), labels(truth[30:]), controls=controls)
    names = ["points", "points and a ring", "ring", "mean shape", "noise"]
    assert [(r.protocol, r.points) for r in rows] == [(p, n) for p in PROTOCOLS for n in names]
    assert len(PROTOCOLS) >= 7
    json.dumps([asdict(row) for row in rows], allow_nan=False)
    for row in rows:
        assert row.n == 24 and row.relative == pytest.approx(2 * row.side)
        assert (row.backward is not None) == (row.protocol == "mallis")
        assert (row.less is None) == (row.points == "points")


def test_a_ring_is_not_blamed_for_what_chance_does():
    rng = RNG(8)
    points, truth = Points(rng.random((40, 3, 2)), rng.random((30, 3, 2))), rng.random((70, 2, 2))
    rows = audit(points, labels(truth[:40]), labels(truth[40:]), protocols=["strict", "mallis"])
    assert not [words for words in exploits(rows) if "a ring" in words]
    for row in rows:
        if row.less is not None and row.points == "ring":
            low, high = row.less
            own = next(r for r in rows if r.protocol == row.protocol and r.points == "points")
            assert low <= own.side - row.side <= high


# ------------------------------------------------------------------------------- no intercept, and constants


def test_without_an_intercept_the_origin_decides():
    """Labels are the points shifted by d. About the centre the shift is all error; about the corner some of
    it is taken up by the position, least squares of x + d on x about c: what is left is known."""
    d, c = np.array([0.1, 0.05]), np.array([-1.0, -1.0])
    truth = labels(CROSS + d)
    rows = table(audit(twice(CROSS), truth, truth))
    assert rows["zhang", "points"].relative == pytest.approx(np.hypot(*d))
    assert rows["bkind-h36m", "points"].relative == pytest.approx(np.hypot(*d))
    x, y = (CROSS - c)[:, 0], (CROSS + d - c)[:, 0]
    left = y - x @ np.linalg.inv(x.T @ x) @ x.T @ y
    assert rows["imm", "points"].relative == pytest.approx(np.hypot(*left.T).mean())
    assert rows["imm", "points"].relative < rows["zhang", "points"].relative
    assert rows["strict", "points"].relative < 1e-4
    # zhang takes one half off: where the corner lies is nothing to it, but is to imm
    wide = table(audit(twice(CROSS), truth, truth, corner=(-1.0, -0.5)))
    assert wide["zhang", "points"] == rows["zhang", "points"]
    assert wide["imm", "points"].relative != pytest.approx(rows["imm", "points"].relative, rel=1e-3)


@pytest.mark.parametrize("name", NO_INTERCEPT)
def test_constant_points_serve_as_the_intercept_and_removing_them_worsens(name):
    many = np.tile(CROSS, (250, 1, 1))
    truth = labels(many + [0.1, 0.05])
    rows = table(audit(twice(many), truth, truth, protocols=("strict", "mallis", name)))
    with_ring, without = rows[name, "points and a ring"], rows[name, "points"]
    if name == "autolink":  # the ring makes X'X singular, and the identity that is added costs something
        assert with_ring.relative < 0.9 * without.relative
    else:
        assert with_ring.relative < 1e-6 < 0.02 < without.relative
    for fair in ("strict", "mallis"):
        assert rows[fair, "points and a ring"].relative == pytest.approx(
            rows[fair, "points"].relative, abs=1e-6
        )
    told = " ".join(exploits(rows.values()))
    assert f"{name}: a ring of points that never moves takes" in told and "strict: a ring" not in told


def test_a_ring_alone_is_the_mean_shape_under_every_rule():
    rng = RNG(1)
    truth = rng.normal(0.2, 0.2, (60, 3, 2))
    points = Points(rng.random((40, 4, 2)), rng.random((20, 4, 2)))
    rows = table(audit(points, labels(truth[:40]), labels(truth[40:])))
    mean = np.linalg.norm(truth[40:] - truth[:40].mean(0), axis=-1).mean()
    for name in ("strict", "imm", "zhang", "bkind-h36m", "mallis"):
        close = 0.01 if name == "strict" else 1e-9  # its other head shrinks the mean shape a little
        assert rows[name, "ring"].relative == pytest.approx(mean, rel=close)
        assert rows[name, "mean shape"].relative == pytest.approx(mean, rel=close)
    # dve stops where the test pictures like it best, which is never worse than the end
    assert rows["dve", "ring"].relative <= mean + 1e-12


def test_autolink_adds_the_identity_where_the_inverse_fails():
    """A constant c in every row: X'X = n c c' is singular, and the answer is the mean of the labels shrunk
    by n |c|^2 / (n |c|^2 + 1), in fractions of the picture."""
    n, place = 5, np.array([0.2, -0.4])
    truth = RNG(2).uniform(-0.5, 0.5, (n, 1, 2))
    outcome = rules.normal_equations(
        rules.Task(twice(np.tile(place, (n, 1, 1))), labels(truth), labels(truth))
    )
    power = n * (((place + 1) / 2) ** 2).sum()
    mean = (truth.mean(0) + 1) / 2 * power / (power + 1)
    answer = outcome.head(place[None, None])
    np.testing.assert_allclose(answer[0], 2 * mean - 1)


# ------------------------------------------------------------------------------------------------- swapping


def left_and_right(n, share, rng):
    """Points that are right on one side in `share` of the rows: there the truth is exchanged."""
    points = np.stack(
        [rng.uniform([-0.6, -0.5], [-0.2, 0.5], (n, 2)), rng.uniform([0.2, -0.5], [0.6, 0.5], (n, 2))], 1
    )
    exchanged = np.arange(n) < share * n
    return points, np.where(exchanged[:, None, None], points[:, ::-1], points), exchanged


def test_an_error_that_is_purely_left_and_right_vanishes_under_bkind_and_stays_under_strict():
    rng = RNG(3)
    train, truth, _ = left_and_right(50, 0, rng)
    points, exchanged_truth, exchanged = left_and_right(40, 0.5, rng)
    gap = np.linalg.norm(points[:, 0] - points[:, 1], axis=-1)
    both = (Points(train, points), labels(truth), labels(exchanged_truth))
    rows, blind = table(audit(*both, swap=(1, 0))), table(audit(*both))
    wanted = np.where(exchanged, gap, 0).mean()
    assert rows["strict", "points"].relative == pytest.approx(wanted, rel=1e-3)
    assert rows["strict", "points"] == blind["strict", "points"]
    for name in ("bkind-h36m", "autolink-h36m"):
        row = rows[name, "points"]
        assert row.relative < 1e-9 and row.swapped_test == 0.5
        assert row.plain == pytest.approx(wanted)  # what the same head makes of the truth as it was given
        assert blind[name, "points"].relative == pytest.approx(wanted)
    told = " ".join(exploits(rows.values()))
    assert "bkind-h36m FLATTERS" in told and "in 0% of the training and 50% of the test rows" in told
    assert "strict FLATTERS" not in told


def test_what_is_left_of_an_error_when_the_truth_is_exchanged():
    """Points moved three quarters of the way to the other side pay 3/4 of the gap, and 1/4 once the truth is
    exchanged."""
    truth = left_and_right(60, 0, RNG(4))[0]
    gap = np.linalg.norm(truth[:, 0] - truth[:, 1], axis=-1).mean()
    wrong = truth + 0.75 * (truth[:, ::-1] - truth)
    rows = table(audit(Points(truth, wrong), labels(truth), labels(truth), swap=(1, 0)))
    assert rows["bkind-h36m", "points"].plain == pytest.approx(0.75 * gap)
    assert rows["bkind-h36m", "points"].relative == pytest.approx(0.25 * gap)
    assert rows["strict", "points"].relative == pytest.approx(0.75 * gap, rel=1e-3)


def test_autolink_exchanges_the_truth_of_training_too_and_drops_outliers():
    rng = RNG(5)
    points, truth, _ = left_and_right(100, 0.3, rng)
    truth[99] = [[3.0, 3.0], [3.0, -3.0]]  # a slip of the annotator
    test, test_truth, _ = left_and_right(40, 0, rng)
    both = Points(points, test), labels(truth), labels(test_truth)
    rows = table(audit(*both, swap=(1, 0), protocols=("imm", "autolink-h36m")))
    row = rows["autolink-h36m", "points"]
    assert row.swapped_train == pytest.approx(0.3) and row.dropped == 0.01
    assert row.relative < 1e-9 and rows["imm", "points"].relative > 0.1
    # ten pictures or fewer stay as they are
    few, few_truth, _ = left_and_right(100, 0.1, rng)
    calm = audit(
        Points(few, few), labels(few_truth), labels(few_truth), swap=(1, 0), protocols=["autolink-h36m"]
    )
    assert calm[0].swapped_train == calm[0].swapped_test == 0


# ---------------------------------------------------------------------------------------- the other rules


def test_zhang_drops_rows_without_labels():
    truth = labels(np.concatenate([CROSS, CROSS]))
    truth = replace(truth, labelled=np.repeat([[True], [False]], 4, axis=0))
    points = np.concatenate([CROSS, np.full_like(CROSS, 9.0)])
    rows = table(audit(twice(points), truth, truth, protocols=["zhang", "imm"]))
    assert rows["zhang", "points"].dropped == 0.5 and rows["imm", "points"].dropped == 0
    assert rows["zhang", "points"].relative < 1e-12 and rows["zhang", "points"].n == 4


def test_mallis_shrinks_by_its_penalty_forward_and_backward():
    """Centred X'X = c 1, so that both maps are shrunk by 1 / (1 + penalty)."""
    truth = labels(CROSS + 0.3, normaliser=2.0)
    row = table(audit(twice(CROSS), truth, truth, protocols=["mallis"]))["mallis", "points"]
    assert row.relative == pytest.approx(0.4 * 0.001 / 1.001 / 2)
    assert row.backward == pytest.approx(0.4 * 0.1 / 1.1 / 2)
    hidden = replace(truth, labelled=np.array([[True], [True], [True], [False]]))
    assert audit(twice(CROSS), truth, hidden, protocols=["mallis"])[0].backward is not None


def test_dve_never_errs_more_in_the_test_than_the_end_of_its_training():
    rng = RNG(6)
    train, test = rng.normal(0, 0.3, (12, 4, 2)), rng.normal(0, 0.3, (50, 4, 2))
    noisy = Points(train + rng.normal(0, 0.3, train.shape), test + rng.normal(0, 0.3, test.shape))
    rows = table(audit(noisy, labels(train[:, :2]), labels(test[:, :2])))
    assert rows["dve", "points"].relative < 0.95 * rows["bkind-h36m", "points"].relative
    task = rules.Task(noisy, labels(train[:, :2]), labels(test[:, :2]))
    one = rules._descended(task, 1).weight.reshape(8, 4)
    x, y = noisy.train.reshape(12, 8), train[:, :2].reshape(12, 4)
    np.testing.assert_allclose(one, x.T @ y / np.linalg.norm(x, 2) ** 2)  # one step from zero
    many, end = rules._descended(task, 2**40), rules._least_squares(task, np.zeros(2), task.train)
    np.testing.assert_allclose(many.weight, end.weight, atol=1e-6)


def test_strict_is_the_strict_protocol_of_the_house():
    rng = RNG(7)
    points, truth = Points(rng.random((30, 3, 2)), rng.random((12, 3, 2))), rng.random((42, 2, 2))
    train, test = labels(truth[:30]), labels(truth[30:])
    answers = strict_answers(points, train, test, RNG(0))
    row = audit(points, train, test, protocols=["strict"])[0]
    assert row.relative == pytest.approx(answers.forward.mean()) and row.gain == answers.gain
    assert answers.judged.all() and answers.rotated is None
    turned = strict_answers(replace(points, rotated=points.test), train, test, RNG(0), rotated=test)
    np.testing.assert_array_equal(turned.rotated, turned.forward)


def test_wrong_requests_are_named():
    truth = labels(CROSS)
    with pytest.raises(RequestError, match="'lenient'; wanted one of strict, imm"):
        audit(twice(CROSS), truth, truth, protocols=["lenient"])
    blank = replace(truth, labelled=np.zeros((4, 1), bool))
    with pytest.raises(RequestError, match="both in the train and in the test"):
        audit(twice(CROSS), truth, blank)
