"""Turned pictures: labels stay on what they label."""

import math

import numpy as np
import pytest
import torch

from asterism.data.rotated import Rotated, canvas, rotated_from_source
from asterism.geometry import affine


@pytest.mark.parametrize("angle", [0.0, 0.4, math.pi / 2, -2.5, math.pi])
def test_a_dot_and_its_label_turn_together(angle, labels, Held, blob, centroid):
    table = labels([[[70.0, 22.0]]], swap=())
    turned = Rotated(Held([blob((70, 22), (60, 91))], table), angle)
    assert turned.table is not None
    picture = turned.picture(0)
    assert picture.shape[:2] == canvas((60, 91), angle)
    at = centroid(torch.from_numpy(picture).movedim(-1, 0).float())
    np.testing.assert_allclose(at.numpy(), turned.table.xy[0, 0], atol=0.1)  # 8 bits cut the dot's tails
    assert all(np.array_equal(a, turned.picture(0)) for a in turned)


def test_a_quarter_turn_is_exact(Held):
    picture = np.random.default_rng(0).integers(0, 256, (5, 8, 3), dtype=np.uint8)
    turned = Rotated(Held([picture]), math.pi / 2)
    assert np.array_equal(turned.picture(0), np.rot90(picture, -1))  # x towards y is clockwise on the screen


def test_the_canvas_holds_all():
    for angle in np.linspace(-4, 4, 23):
        h, w = canvas((37, 60), float(angle))
        corners = torch.tensor(
            [[[-0.5, -0.5], [59.5, -0.5], [-0.5, 36.5], [59.5, 36.5]]], dtype=torch.float64
        )
        seen = affine.apply(rotated_from_source((37, 60), float(angle)), corners)[0]
        assert (seen > -0.5 - 1e-6).all() and (
            seen < torch.tensor([w - 0.5 + 1e-6, h - 0.5 + 1e-6], dtype=torch.float64)
        ).all()


def test_boxes_keep_their_size_and_their_middle(labels, Held):
    table = labels([[[30.0, 20.0]]], swap=())
    table = type(table)(**{**vars(table), "box": np.array([[20.0, 10, 21, 11]]), "has_box": np.array([True])})
    turned = Rotated(Held([np.zeros((60, 80, 3), np.uint8)], table), 1.0).table
    assert turned is not None
    assert turned.box[0, 2:].tolist() == [21, 21]
    middle = affine.apply(
        rotated_from_source((60, 80), 1.0), torch.tensor([[[30.0, 15.0]]], dtype=torch.float64)
    )
    np.testing.assert_allclose(turned.box[0, :2] + 10, middle[0, 0].numpy())


def test_the_size_is_known_without_a_look(labels, Held):
    held = Held([np.zeros((60, 80, 3), np.uint8)], labels([[[30.0, 20.0]]], swap=()))
    held.picture_size = lambda index: (60, 80)
    turned = Rotated(held, 1.0)
    assert turned.picture_size(0) == canvas((60, 80), 1.0)
    assert held.reads == 0
    assert turned.picture(0).shape[:2] == turned.picture_size(0)
