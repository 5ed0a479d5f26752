"""What a run remembers of how it looked at its pictures."""

import numpy as np
import pytest

from asterism.data.base import FrameTable
from asterism.data.frames import Memory
from asterism.data.sources import open_data
from asterism.engine.runs import Run
from asterism.engine.view import View, frames_for, read_view, view_of, write_view
from asterism.errors import BadImage, BadWeights, RequestError


def frames(kind, backgrounds=1, individuals=2):
    n = 6
    return FrameTable(
        kind=kind,
        why="",
        image=np.arange(n) // individuals,
        individual=np.arange(n) % individuals,
        row=np.full(n, -1),
        centre=np.zeros((n, 2)),
        scale=np.ones(n),
        angle=np.zeros(n),
        doubt=np.zeros(n),
        background=np.zeros(n, np.int64),
        found=np.ones(n, bool),
        backgrounds=tuple(np.full((4, 5, 3), b, np.uint8) for b in range(backgrounds)),
        look=np.eye(3, dtype=np.float32),
        objects=individuals if kind == "moments" else None,
    )


def test_round_trip(tmp_path):
    run = Run(tmp_path / "run")
    view = view_of(frames("moments"), (32, 48))
    assert view.memory.objects == 2
    run.start({"view": view.as_json()})
    write_view(run, view)
    again = read_view(run)
    assert (again.kind, again.size, again.memory.objects) == ("moments", (32, 48), 2)
    assert again.memory.background is not None and again.memory.look is not None
    assert np.array_equal(again.memory.background, frames("moments").backgrounds[0])
    assert np.array_equal(again.memory.look, np.eye(3))


def test_several_backgrounds_are_not_remembered():
    view = view_of(frames("whole", backgrounds=2), (8, 8))
    assert view.memory.background is None and view.memory.objects is None


def test_a_run_without_a_view(tmp_path):
    Run(tmp_path / "run").start({})
    with pytest.raises(BadWeights, match="do not say how it looks at pictures"):
        read_view(Run(tmp_path / "run"))


def test_moments_are_not_replaced_in_silence(labelled):
    images = open_data(labelled.replace("labels.json", "3.png"))
    with pytest.raises(RequestError, match=r"this run looks at what stands out .* give a clip"):
        frames_for(images, View(kind="moments", size=(8, 8), memory=Memory()))
    assert frames_for(images, View(kind="whole", size=(8, 8), memory=Memory())).kind == "whole"


def test_a_damaged_picture_speaks_for_itself(labelled, tmp_path):
    for n in range(20):
        (tmp_path / "set" / f"{n}.png").write_text("no picture")
    images = open_data(str(tmp_path / "set" / "3.png"))
    with pytest.raises(BadImage):
        frames_for(images, View(kind="moments", size=(8, 8), memory=Memory()))
