"""A file is the old one or the new one, whatever fails and when."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from asterism.errors import AsterismError, RequestError
from asterism.io.atomic import atomic_write, write_json, write_text
from asterism.io.images import read_image, write_image


def test_writes_and_leaves_nothing_behind(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    write_json(target, {"x": [1, 2.5], "name": "mäuse\udcff"})
    assert json.loads(target.read_text()) == {"x": [1, 2.5], "name": "mäuse\udcff"}
    write_text(target, "one\r\ntwo\n")
    assert target.read_bytes() == b"one\r\ntwo\n"
    assert os.listdir(tmp_path) == ["a.json"]


def test_the_temporary_is_beside_the_target_and_hidden(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "clip.mp4") as temporary:
        temporary.write_bytes(b"x")
        assert temporary.parent == tmp_path and temporary.suffix == ".mp4" and temporary.name.startswith(".")
        assert not (tmp_path / "clip.mp4").exists()


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), RequestError("mine")])
def test_an_exception_of_the_body_passes_through(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def body() -> None:
        with atomic_write(target) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)):
        body()
    assert target.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("name", ["fsync", "replace"])
@pytest.mark.parametrize("at", [1, 2, 3, 4])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_the_nth_system_call_fails(tmp_path, monkeypatch, name: str, at: int, number: int) -> None:
    """Two pictures are written; every flush and rename of them fails once."""
    black, white = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)
    targets = [tmp_path / "a.png", tmp_path / "b.png"]
    for target in targets:
        write_image(target, black)
    calls, real = 0, getattr(os, name)

    def failing(*args: object) -> object:
        nonlocal calls
        calls += 1
        if calls == at:
            raise OSError(number, os.strerror(number))
        return real(*args)

    monkeypatch.setattr(os, name, failing)
    messages = []
    for target in targets:
        try:
            write_image(target, white)
        except AsterismError as error:
            messages.append(str(error))
    assert all(os.strerror(number) in m and str(tmp_path) in m for m in messages)
    assert len(messages) == (at <= (4 if name == "fsync" else 2))
    for target in targets:
        picture = read_image(target)
        assert (picture == black).all() or (picture == white).all()
    assert sorted(os.listdir(tmp_path)) == ["a.png", "b.png"]


def test_a_full_disk_in_the_middle_of_writing(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")

    def body() -> None:
        with atomic_write(target) as temporary:
            temporary.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(AsterismError, match="unchanged") as caught:
        body()
    assert not isinstance(caught.value, RequestError)  # exit code 1: the work failed
    assert target.read_bytes() == b"old" and os.listdir(tmp_path) == ["a.bin"]


def test_a_body_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AsterismError, match="cannot be written"), atomic_write(tmp_path / "a"):
        pass


def test_refused_targets(tmp_path: Path) -> None:
    for target, message in [
        (tmp_path, "is a folder or a device"),
        (Path(os.devnull), "is a folder or a device"),
        (tmp_path / "none" / "a.txt", "mkdir -p"),
    ]:
        with pytest.raises(RequestError, match=message):
            write_text(target, "x")


def test_a_link_keeps_pointing(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("real.txt")
    write_text(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink() and (tmp_path / "real.txt").read_text() == "new"


def test_json_without_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", [float("nan")])
    assert os.listdir(tmp_path) == []
