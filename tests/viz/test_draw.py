"""Where drawn things land, measured on the pixels."""

import numpy as np
import pytest

from asterism.viz import draw

GREY = np.full((101, 151, 3), 128, np.uint8)


def changed(before, after):
    return np.argwhere((before.astype(int) - after).any(-1))[:, ::-1]  # x, y


@pytest.mark.parametrize("at", [(40.0, 30.0), (75.25, 50.5), (149.0, 99.0)])
def test_a_point_is_centred_on_its_pixel(at):
    big = np.full((400, 400, 3), 128, np.uint8)
    spot = changed(big, draw.points(big, np.array([at])))
    assert np.abs(spot.mean(0) - at).max() <= 0.34  # a third is what the layer can place


def test_colours_are_distinct_and_steady():
    many = np.array(draw.colours(24), int)
    gaps = np.abs(many[:, None] - many[None]).sum(-1) + 1000 * np.eye(24, dtype=int)
    assert gaps.min() > 30
    assert draw.colours(5) == draw.colours(24)[:5]


def test_points_outside_missing_or_nan_leave_the_picture_alone():
    xy = np.array([[-500.0, 20.0], [np.nan, 3.0], [60.0, 60.0]])
    shown = np.array([True, True, False])
    assert np.array_equal(draw.points(GREY, xy, shown=shown, edges=[(0, 1), (1, 2)], names="abc"), GREY)


def test_a_sure_point_is_painted_more_strongly():
    def strength(score):
        return np.abs(
            draw.points(GREY, np.array([[50.0, 50.0]]), score=np.array([score])).astype(int) - 128
        ).sum()

    assert strength(1.0) > 1.5 * strength(0.0) > 0


def test_the_ellipse_holds_95_percent():
    big = np.full((401, 401, 3), 128, np.uint8)
    cov = np.diag([40.0**2, 15.0**2])[None]
    with_it = draw.points(big, np.array([[200.0, 200.0]]), cov=cov)
    spot = changed(draw.points(big, np.array([[200.0, 200.0]])), with_it)
    reach = (spot.max(0) - spot.min(0)) / 2
    # the radius of the 95 % ellipse is sqrt(5.991) standard deviations; the line is a few pixels wide
    np.testing.assert_allclose(reach, np.sqrt(5.991) * np.array([40.0, 15.0]), atol=2.5)


def test_truth_and_points_agree_on_the_place_and_the_colour():
    at = np.array([[70.0, 40.0], [30.0, 80.0]])
    both = [draw.points(GREY, at), draw.truth(GREY, at)]
    middles = [[p[40, 70], p[80, 30]] for p in both]
    np.testing.assert_array_equal(middles[0], middles[1])


def test_the_frame_is_drawn_where_it_says():
    spot = changed(GREY, draw.frame(GREY, (75.0, 50.0), 30.0, 0.0))
    assert np.abs(spot.min(0) - (45, 20)).max() <= 2 and np.abs(spot.max(0) - (105, 80)).max() <= 2


def test_fit_moves_points_with_the_picture():
    dot = np.zeros((60, 90, 3), np.uint8)
    dot[20:22, 40:42] = 255  # its centre is (40.5, 20.5)
    large = draw.fit(dot, 360)
    assert large.shape == (240, 360, 3)
    ys, xs = np.nonzero(large[..., 0] > 127)
    place = draw.moved(np.array([40.5, 20.5]), (60, 90), (240, 360))
    np.testing.assert_allclose([xs.mean(), ys.mean()], place, atol=0.3)


def test_contact_sheet_places_every_picture_and_refuses_none():
    sheet = draw.contact_sheet([np.full((10, 20, 3), v, np.uint8) for v in (10, 20, 30)], 2, gap=1)
    assert sheet.shape == (23, 43, 3)
    assert [sheet[5, 10, 0], sheet[5, 30, 0], sheet[15, 10, 0], sheet[15, 30, 0]] == [10, 20, 30, 255]
    with pytest.raises(ValueError, match="no pictures"):
        draw.contact_sheet([], 2)


def test_caption_adds_a_strip_and_keeps_the_picture():
    out = draw.caption(GREY, "frame 12")
    assert out.shape[0] > GREY.shape[0] and np.array_equal(out[:101], GREY)
