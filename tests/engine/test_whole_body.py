"""Hands and faces: where they are looked for, the mirror for left hands, and the columns that come out."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from tests.engine.test_looker import whole
from tests.engine.test_people import Oracle

from asterism.data.frames import Memory
from asterism.data.worlds.figures import Figures
from asterism.engine.looker import Looker
from asterism.engine.predict_files import predict_to
from asterism.engine.view import View
from asterism.engine.whole_body import Part, WholeBody, squares_of
from asterism.errors import RequestError
from asterism.geometry import affine
from asterism.io.skeleton import published
from asterism.methods.base import Method
from asterism.types import Images, Keypoints2D, Skeleton

WORLD = Figures(n=2, seed=3, size=(96, 96), people=(2, 2))


@dataclass(frozen=True)
class CornerConfig:
    n_keypoints: int = 2


class Corner(Method[Images, Images, Keypoints2D]):
    """Points at (2, 5) and (9, 5) of every crop: a right hand's two points."""

    name = "corner"
    family = "control"
    paper = link = ""
    Config = CornerConfig
    presets: ClassVar = dict.fromkeys(("paper", "small", "tiny"), CornerConfig())
    takes = Images
    gives = Keypoints2D

    def forward(self, batch):
        return batch

    def decode(self, raw, batch):
        xy = torch.tensor([[2.0, 5.0], [9.0, 5.0]]).expand(len(batch), 2, 2)
        return Keypoints2D(xy=affine.apply(batch.to_source, xy), score=torch.ones(len(batch), 2))


def part(prefix, mirrored=False):
    view = View(kind="boxes", size=(12, 12), memory=Memory())
    skeleton = Skeleton(names=("thumb", "pinky"), edges=((0, 1),))
    looker = Looker(method=Corner(CornerConfig()), skeleton=skeleton, view=view, device="cpu")
    return Part(looker=looker, prefix=prefix, mirrored=mirrored)


def body(**places):
    """One row of coco-17 with these points."""
    names = published("coco-17").names
    table = replace(
        WORLD.table,
        image=np.zeros(1, np.int64),
        **{n: getattr(WORLD.table, n)[:1] for n in ("individual", "box", "has_box", "area")},
        xy=np.zeros((1, 17, 2)),
        labelled=np.zeros((1, 17), bool),
        visible=np.zeros((1, 17), bool),
        score=np.zeros((1, 17)),
    )
    for name, at in places.items():
        table.xy[0, names.index(name)] = at
        table.labelled[0, names.index(name)] = True
        table.score[0, names.index(name)] = 1.0
    return table


def test_a_hand_is_a_third_of_the_forearm_beyond_the_wrist():
    arm = {"left_shoulder": (10, 10), "left_elbow": (10, 40), "left_wrist": (30, 40)}
    centre, side, there = squares_of(body(**arm), "hand_left")
    assert there[0] and centre[0] == pytest.approx([30 + 0.33 * 20, 40])
    assert side[0] == pytest.approx(1.5 * 0.9 * 30)  # the upper arm is the longer
    assert not squares_of(body(**{k: v for k, v in arm.items() if k != "left_elbow"}), "hand_left")[2][0]
    assert not squares_of(body(**arm), "hand_right")[2][0]


def test_a_face_is_about_what_was_found_of_it():
    face = {"nose": (50, 30), "left_eye": (54, 26), "right_eye": (46, 26)}
    centre, side, there = squares_of(body(**face), "face")
    assert there[0] and centre[0] == pytest.approx([50, 82 / 3]) and side[0] == pytest.approx(2.2 * 8)
    neck = {"left_shoulder": (60, 60), "right_shoulder": (40, 60)}
    assert squares_of(body(**face, **neck), "face")[1][0] == pytest.approx(1.3 * 30)
    assert not squares_of(body(nose=(50, 30)), "face")[2][0]


def test_a_body_without_arms_is_refused_by_name():
    table = replace(body(), names=tuple(f"p{k}" for k in range(17)))
    with pytest.raises(RequestError, match="the body has no point 'left_wrist'"):
        squares_of(table, "hand_left")


def test_columns_of_both_hands_follow_the_body_and_the_left_one_is_seen_in_the_mirror():
    finder = whole(WORLD, Oracle(replace(WORLD.table, labelled=np.ones_like(WORLD.table.labelled))))
    every = WholeBody(body=finder, parts=(part("hand_left", True), part("hand_right")))
    drawn = []
    table = every.look(WORLD, draw=lambda s, i, p, t: drawn.append((i, len(t), t.names))).table
    assert len(table.names) == 17 + 4 and table.names[17:] == (
        "hand_left0",
        "hand_left1",
        "hand_right0",
        "hand_right1",
    )
    assert [(i, n) for i, n, _ in drawn] == [(0, 2), (1, 2)] and drawn[0][2] == table.names
    seen = 0
    for row in range(len(table)):
        for side, at in (("hand_left", 17), ("hand_right", 19)):
            centre, size, there = (x[row] for x in squares_of(replace(table, names=table.names[:17]), side))
            assert there == table.labelled[row, at]
            if there:
                step, way = size / 12, -1 if side == "hand_left" else 1
                wanted = centre + step * np.array([[way * (2 - 5.5), -0.5], [way * (9 - 5.5), -0.5]])
                np.testing.assert_allclose(table.xy[row, at : at + 2], wanted, atol=1e-3)
                seen += 1
    assert seen >= 4
    again = whole(WORLD, Oracle(replace(WORLD.table, labelled=np.ones_like(WORLD.table.labelled))))
    parts_alone = replace(every, body=again, with_body=False).look(WORLD).table
    assert parts_alone.names == table.names[17:] and len(parts_alone) == len(table)
    np.testing.assert_array_equal(parts_alone.xy, table.xy[:, 17:])


def test_without_body_hands_and_face_nothing_is_left_to_look_for(tmp_path):
    with pytest.raises(RequestError, match="name a run with --hands or --face"):
        predict_to(tmp_path, ["a.png"], tmp_path / "a.csv", body=False)
