"""The judge of discovered points, on animals made of numbers: the body turns, tail and head bend."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from asterism.errors import RequestError
from asterism.metrics import landmarks
from asterism.metrics.landmarks import Labels, Points, evaluate_landmarks

RNG = np.random.default_rng


def _turn(xy, angle):
    c, s = np.cos(angle), np.sin(angle)
    return np.einsum("nij,nkj->nki", np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], -2), xy)


def _animals(n, rng, largest_angle):
    """Labels (nose, body, tail base, tail tip) and outline (8 points) of n animals at (100, 100), 50 px."""
    head, tail = rng.normal(0, 0.5, n), rng.normal(0, 0.6, n)
    unit = lambda a: np.stack([np.cos(a), np.sin(a)], -1)  # noqa: E731
    zero = np.zeros((n, 2))
    base, neck = zero - [15, 0], zero + [12, 0]
    nose, tip = neck + 12 * unit(head), base - 20 * unit(tail)
    parts = np.stack([nose, zero, base, tip], 1)
    width = np.array([0.0, 7.0])
    outline = np.stack(
        [nose, neck + width, neck - width, zero + width, zero - width, base + width, base - width, tip], 1
    )
    angle = rng.uniform(-largest_angle, largest_angle, n)
    return _turn(parts, angle) + 100, _turn(outline, angle) + 100


def _labels(xy):
    n, k = xy.shape[:2]
    side = (xy.max(1) - xy.min(1)).max(1)
    return Labels(xy=xy, labelled=np.ones((n, k), bool), image=np.arange(n), normaliser=side)


def _corners(outline):
    """The four corners of the upright bounding box: points of the picture, not of the object."""
    low, high = outline.min(1), outline.max(1)
    return np.stack(
        [low, np.stack([high[:, 0], low[:, 1]], -1), high, np.stack([low[:, 0], high[:, 1]], -1)], 1
    )


def _ring(outline):
    """A fixed ring that trembles a little with the object: useless to look at, but a linear code of it."""
    angle = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    ring = 100 + 40 * np.stack([np.cos(angle), np.sin(angle)], -1)
    return ring + 0.02 * (outline - outline.mean((0, 1)))


def _judge(largest_angle=0.3, n=120, **options):
    """True parts, bounding box corners, a ring and noise on the same nearly upright animals."""
    rng = RNG(0)
    (train, train_outline), (test, test_outline), (turned, turned_outline) = (
        _animals(n, rng, largest_angle),
        _animals(80, rng, largest_angle),
        _animals(80, rng, np.pi),
    )
    outlines = (train_outline, test_outline, turned_outline)
    jitter = [o + rng.normal(0, 1.0, o.shape) for o in outlines]
    noise = [rng.uniform(70, 130, o.shape) for o in outlines]
    return evaluate_landmarks(
        Points(*jitter),
        _labels(train),
        _labels(test),
        rng,
        rotated=_labels(turned),
        controls={
            "corners": Points(*map(_corners, outlines)),
            "ring": Points(*map(_ring, outlines)),
            "noise": Points(*noise),
        },
        **options,
    )


@pytest.fixture(scope="module")
def report():
    return _judge(counts=(1, 5, 20), draws=6)


def test_the_table_has_the_points_the_mean_shape_and_every_control(report):
    assert [s.name for s in report.sets] == ["points", "mean shape", "corners", "ring", "noise"]
    assert (report.n_train_images, report.n_test_images) == (120, 80)
    for score in report.sets:
        assert [row.n_images for row in score.curve] == [1, 5, 20, 120]
        assert [row.draws for row in score.curve] == [6, 6, 6, 1]
        for row in score.curve:
            assert row.forward.ci95[0] <= row.forward.mean_px <= row.forward.ci95[1]
            assert sum(row.heads.values()) == row.draws
            assert row.forward.judged == 1.0
    json.dumps(asdict(report), allow_nan=False)


def test_true_parts_win_upright_and_far_more_when_turned(report):
    points, mean, corners, _, noise = (score.curve[-1] for score in report.sets)
    least = lambda row: min(px["rotated"] for px in row.by_head.values())  # noqa: E731
    for control in (mean, corners, noise):
        assert points.forward.ci95[1] < control.forward.ci95[0]
        assert least(control) > 4 * least(points)
    assert corners.rotated.mean_px > 4 * corners.forward.mean_px
    # The complex head does not notice the rotation at all.
    upright, turned = points.by_head["complex"]["forward"], points.by_head["complex"]["rotated"]
    assert turned == pytest.approx(upright, rel=0.15)


def test_gain_tells_a_code_from_a_point(report):
    gain = {score.name: score.curve[-1].gain for score in report.sets}
    assert 0.2 < gain["points"] < 2
    assert gain["ring"] > 20
    assert gain["mean shape"] == 0


def test_backward_error_tells_points_off_the_object(report):
    points, mean, _, _, noise = (score.backward for score in report.sets)
    assert mean is None
    assert points.mean_px < 2.0  # the jitter of 1 px per coordinate has a mean length of 1.25
    assert noise.mean_px > 10 * points.mean_px


def test_curve_falls_with_labels_and_nme_is_relative_to_the_normaliser(report):
    curve = report.sets[0].curve
    assert curve[0].forward.mean_px > curve[-1].forward.mean_px
    assert curve[-1].forward.nme == pytest.approx(curve[-1].forward.mean_px / 50, rel=0.25)
    assert len(report.sets[0].per_point_px) == 4


def test_the_mean_shape_row_is_the_mean_of_the_labels():
    rng = RNG(1)
    train, test = _labels(rng.uniform(0, 9, (15, 2, 2))), _labels(rng.uniform(0, 9, (7, 2, 2)))
    points = Points(rng.uniform(0, 9, (15, 3, 2)), rng.uniform(0, 9, (7, 3, 2)))
    row = evaluate_landmarks(points, train, test, rng, counts=()).sets[1].curve[0]
    wanted = np.linalg.norm(test.xy - train.xy.mean(0), axis=-1).mean()
    assert row.forward.mean_px == pytest.approx(wanted)
    assert row.rotated is None


def test_adding_a_control_changes_no_other_row():
    rng = RNG(2)
    train, test = _labels(rng.uniform(0, 9, (15, 2, 2))), _labels(rng.uniform(0, 9, (7, 2, 2)))
    points = Points(rng.uniform(0, 9, (15, 3, 2)), rng.uniform(0, 9, (7, 3, 2)))
    alone = evaluate_landmarks(points, train, test, RNG(3), counts=(5,), draws=5)
    beside = evaluate_landmarks(points, train, test, RNG(3), counts=(5,), draws=5, controls={"again": points})
    assert alone.sets[0] == beside.sets[0]
    assert beside.sets[2].curve[0].forward.mean_px == pytest.approx(
        alone.sets[0].curve[0].forward.mean_px, rel=0.3
    )


def test_missing_labels_are_handled_point_by_point():
    rng = RNG(4)
    source = rng.uniform(0, 100, (60, 5, 2))
    xy = source[:, :3] + 4.0  # exact: any head that sees enough rows answers without error
    labelled = rng.random((60, 3)) < 0.6
    labelled[:, 2] &= np.arange(60) >= 40  # point 2 is labelled in the test images alone
    labels = Labels(xy, labelled, np.arange(60), np.full(60, 50.0))
    first, last = np.arange(60) < 40, np.arange(60) >= 40
    cut = lambda rows: replace(  # noqa: E731
        labels,
        xy=xy[rows],
        labelled=labelled[rows],
        image=labels.image[rows],
        normaliser=labels.normaliser[rows],
    )
    report = evaluate_landmarks(Points(source[first], source[last]), cut(first), cut(last), rng, counts=())
    row = report.sets[0].curve[0]
    assert row.forward.mean_px < 1e-3
    assert row.forward.judged == pytest.approx(labelled[last][:, :2].sum() / labelled[last].sum())
    assert report.sets[0].per_point_px[2] is None
    assert report.sets[0].backward is not None


def test_imm_protocol_is_plain_least_squares():
    rng = RNG(5)
    train, test = _labels(rng.uniform(0, 9, (40, 2, 2))), _labels(rng.uniform(0, 9, (20, 2, 2)))
    points = Points(rng.uniform(0, 9, (40, 3, 2)), rng.uniform(0, 9, (20, 3, 2)))
    report = evaluate_landmarks(points, train, test, rng, counts=(), protocol="imm")
    weight = np.linalg.lstsq(points.train.reshape(40, -1), train.xy.reshape(40, -1), rcond=None)[0]
    wanted = (points.test.reshape(20, -1) @ weight).reshape(20, 2, 2) - test.xy
    assert report.protocol == "imm"
    assert report.sets[0].curve[0].heads == {"lstsq": 1}
    assert report.sets[0].curve[0].forward.mean_px == pytest.approx(np.linalg.norm(wanted, axis=-1).mean())


def test_imm_flatters_a_constant_point_and_strict_does_not():
    rng = RNG(6)
    train, test = _labels(rng.normal(60, 3, (50, 2, 2))), _labels(rng.normal(60, 3, (30, 2, 2)))
    useless = Points(rng.normal(0, 1, (50, 1, 2)), rng.normal(0, 1, (30, 1, 2)))
    still = Points(*(np.concatenate([p, np.full_like(p, 40.0)], 1) for p in (useless.train, useless.test)))
    px = {
        (protocol, name): evaluate_landmarks(p, train, test, RNG(7), counts=(), protocol=protocol)
        .sets[0]
        .curve[0]
        .forward.mean_px
        for protocol in landmarks.PROTOCOLS
        for name, p in {"useless": useless, "still": still}.items()
    }
    assert px["imm", "still"] < 0.2 * px["imm", "useless"]
    assert px["strict", "still"] == pytest.approx(px["strict", "useless"], rel=0.1)


def test_coordinates_in_another_unit_and_origin_give_the_same_table():
    rng = RNG(8)
    a, b = rng.uniform(0, 50, (30, 2, 2)), rng.uniform(0, 50, (9, 2, 2))
    p, q = rng.uniform(0, 50, (30, 4, 2)), rng.uniform(0, 50, (9, 4, 2))
    plain = evaluate_landmarks(Points(p, q), _labels(a), _labels(b), RNG(9), counts=(6,), draws=4)
    other = [3 * x - 70 for x in (p, q, a, b)]
    moved = evaluate_landmarks(
        Points(*other[:2]), _labels(other[2]), _labels(other[3]), RNG(9), counts=(6,), draws=4
    )
    for one, two in zip(plain.sets[0].curve, moved.sets[0].curve):
        assert two.forward.mean_px == pytest.approx(3 * one.forward.mean_px)
        assert two.forward.nme == pytest.approx(one.forward.nme)
        assert two.heads == one.heads


def test_wrong_requests_say_what_is_wanted():
    rng = RNG(10)
    labels, points = _labels(rng.uniform(0, 9, (5, 2, 2))), rng.uniform(0, 9, (5, 3, 2))
    with pytest.raises(RequestError, match="'lenient'; wanted one of strict, imm"):
        evaluate_landmarks(Points(points, points), labels, labels, rng, protocol="lenient")
    blank = replace(labels, labelled=np.zeros((5, 2), bool))
    with pytest.raises(RequestError, match="test images have no labelled point"):
        evaluate_landmarks(Points(points, points), labels, blank, rng)
    with pytest.raises(ValueError, match="4 rows of test points for 5 rows"):
        evaluate_landmarks(Points(points, points[1:]), labels, labels, rng)
    with pytest.raises(ValueError, match="not all finite"):
        evaluate_landmarks(Points(points, points * np.nan), labels, labels, rng)
    with pytest.raises(ValueError, match="rotated points are wanted"):
        evaluate_landmarks(Points(points, points), labels, labels, rng, rotated=labels)
    only_first, only_second = labels.labelled.copy(), labels.labelled.copy()
    only_first[:, 1], only_second[:, 0] = False, False
    one, two = replace(labels, labelled=only_first), replace(labels, labelled=only_second)
    with pytest.raises(RequestError, match="both in the train and in the test"):
        evaluate_landmarks(Points(points, points), one, two, rng)
