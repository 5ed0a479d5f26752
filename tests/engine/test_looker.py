"""Where a run looks: boxes from a file, people whom another run found, cameras; numbers through a clip."""

import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from tests.engine.test_people import Oracle

from asterism.catalogue import method_class
from asterism.data.boxed import Boxed
from asterism.data.frames import Memory
from asterism.data.tables import some_rows
from asterism.data.worlds.figures import Figures
from asterism.engine.ahead import ahead
from asterism.engine.looker import Looker, aligned, distinct
from asterism.engine.tracks import Tracker
from asterism.engine.view import View
from asterism.errors import BadVideo, RequestError
from asterism.io.stream import is_live, live_pictures


class Walk(Figures):
    """The same two people in every picture, in turn the one first and the other."""

    is_clip = True


def walking(n=6):
    world = Walk(n=n, seed=3, size=(64, 64), people=(2, 2))
    table = world.table
    first = table.xy[:2] + [[[0.0, 0.0]], [[30.0, 0.0]]]
    xy = np.concatenate([(first + 0.5 * t)[:: 1 if t % 2 == 0 else -1] for t in range(n)])
    every = np.ones_like(table.labelled)
    world.__dict__["table"] = replace(table, xy=xy, labelled=every, visible=every)
    return world


def whole(world, method, where=None):
    view = View(kind="whole", size=(32, 32), memory=Memory())
    return Looker(method=method, skeleton=world.skeleton, view=view, device="cpu", where=where)


def test_people_keep_their_numbers_through_a_clip():
    world = walking()
    looker = whole(world, Oracle(world.table))
    assert looker.follows
    found = looker.look(world, tracker=looker.tracker()).table
    assert found.individual.tolist() == [0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0]
    plain = whole(world, Oracle(world.table)).look(world).table
    assert plain.individual.tolist() == [0, 1] * 6


def test_a_tracker_goes_on_from_picture_to_picture_given_alone():
    world = walking(2)
    tracker = Tracker(world.skeleton.sigma)
    looker = whole(world, Oracle(world.table))
    one = looker.look(world, tracker=tracker).table
    two = whole(world, Oracle(world.table)).look(world, tracker=tracker).table
    assert set(one.individual) == set(two.individual) == {0, 1}


def test_rows_are_matched_to_pictures_by_name():
    world = Figures(n=4, seed=3, size=(64, 64))
    table = replace(world.table, image=world.table.image[::-1].copy(), source="boxes.csv")
    found = aligned(table, world)
    assert found.image.tolist() == [0, 1, 2, 3] and np.array_equal(found.xy, table.xy[::-1])
    other = replace(table, images=("a", "b", "c", "d"))
    with pytest.raises(RequestError, match=r"boxes\.csv: its pictures \(a, \.\.\.\) are not those of"):
        aligned(other, world)
    boxed = Boxed(world, found)
    assert len(boxed) == 4 and boxed.name(2) == world.name(2) and len(list(boxed)) == 4


def test_two_boxes_on_one_person_give_one_person():
    world = Figures(n=1, seed=5, size=(64, 64), people=(2, 2))
    table = world.table
    twice = np.array([0, 1, 0])
    columns = {n: getattr(table, n)[twice] for n in ("image", "xy", "labelled", "visible", "box", "has_box")}
    score = np.stack([np.full(17, s) for s in (0.5, 0.9, 0.8)])
    double = replace(table, **columns, score=score, individual=np.arange(3), area=np.zeros(3))
    assert distinct(double).individual.tolist() == [1, 2]  # of the two on one, the better


def test_an_iterator_ahead_gives_the_same_and_raises_in_its_place():
    assert list(ahead(iter(range(50)))) == list(range(50))

    def breaks():
        yield 1
        raise RequestError("here")

    got = ahead(breaks())
    assert next(got) == 1
    with pytest.raises(RequestError, match="here"):
        next(got)


def test_an_iterator_ahead_stops_when_nobody_asks():
    made = []

    def counting():
        for i in range(1000):
            made.append(i)
            yield i

    got = ahead(counting())
    next(got)
    got.close()
    assert len(made) < 10 and threading.active_count() < 20


def test_what_is_a_camera():
    assert is_live("webcam:0") and is_live("rtsp://10.0.0.4/1") and is_live("http://host/clip.ts")
    assert not is_live("clip.mp4") and not is_live("C:/clips/a.mp4") and not is_live("world:figures")
    with pytest.raises(RequestError, match="wanted webcam:0 or an address"):
        live_pictures("ftp://x")


def test_a_stream_gives_its_newest_pictures_and_their_numbers(tmp_path):
    pytest.importorskip("av")
    from asterism.io.video import write_video

    shades = [np.full((32, 48, 3), 8 * i, np.uint8) for i in range(30)]
    write_video(tmp_path / "clip.mp4", shades, 25)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *words):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_port}/clip.mp4"
        stream = live_pictures(address, every=2)
        got = list(stream)
        stream.close()
        with pytest.raises(BadVideo, match=r"none\.mp4: cannot be opened"):
            live_pictures(address.replace("clip", "none"))
    finally:
        server.shutdown()
        server.server_close()
    numbers = [n for n, _ in got]
    assert numbers == sorted(set(numbers)) and all(n % 2 == 0 for n in numbers) and numbers[-1] == 28
    assert all(abs(float(picture.mean()) - 8 * n) < 6 and picture.shape == (32, 48, 3) for n, picture in got)
    assert stream.fps == pytest.approx(25)


def test_boxes_around_the_people_that_another_run_found():
    world = walking(4)
    method = method_class("stacked-hourglass")
    config = replace(method.presets["tiny"], n_keypoints=17)
    view = View(kind="boxes", size=config.input_size, memory=Memory())
    finder = whole(world, Oracle(world.table))
    looker = Looker(method=method(config), skeleton=world.skeleton, view=view, device="cpu", where=finder)
    looked = looker.look(world, tracker=looker.tracker())
    assert looked.how == "boxes: around the people that oracle found" and looked.lost == 0
    assert len(looked.table) == 8 and looked.table.individual.tolist() == [0, 1, 1, 0] * 2
    boxes = (
        world.table.xy.min(1) - 12,
        world.table.xy.max(1) + 12,
    )
    assert ((looked.table.xy.mean(1) > boxes[0]) & (looked.table.xy.mean(1) < boxes[1])).all()
    from_file = Looker(
        method=method(config),
        skeleton=world.skeleton,
        view=view,
        device="cpu",
        where=some_rows(replace(world.table, source="b.csv"), np.arange(2)),
    )
    assert len(from_file.look(world).table) == 2
