"""Clips: what is written is read back, random access equals streaming, damage has a name."""

import builtins
import struct
from pathlib import Path

import numpy as np
import pytest

from asterism.errors import BadVideo, MissingExtra, RequestError
from asterism.io.video import Video, write_video

DATA = Path(__file__).parents[2] / "../shared/data"


def ramp(count: int, size: tuple[int, int]) -> list[np.ndarray]:
    """Frames whose brightness is their number."""
    return [np.full((*size, 3), 20 + 5 * i, np.uint8) for i in range(count)]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    write_video(path, ramp(30, (48, 64)), 25)
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".mov"])
def test_round_trip(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"clip{suffix}"
    write_video(path, iter(ramp(12, (48, 64))), 30000 / 1001)
    video = Video(path)
    assert video.size == (48, 64) and len(video) == 12
    assert video.fps == pytest.approx(30000 / 1001, rel=1e-4)
    means = [frame.mean() for frame in video]
    assert np.abs(np.array(means) - (20 + 5 * np.arange(12))).max() < 3
    assert len(video) == 12


def test_colours_keep_their_channels(tmp_path: Path) -> None:
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[..., 0] = 200
    write_video(tmp_path / "a.mp4", [picture] * 3, 10)
    red, green, blue = next(iter(Video(tmp_path / "a.mp4"))).mean(axis=(0, 1))
    assert red > 180 and green < 20 and blue < 20


def test_odd_sizes_gain_a_copy_of_the_last_row_and_column(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", ramp(3, (33, 47)), 10)
    video = Video(tmp_path / "a.mp4")
    assert video.size == (34, 48)
    assert np.abs(video.frames([2])[0].astype(int) - 30).max() <= 3


def test_one_frame(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", ramp(1, (16, 16)), 10)
    video = Video(tmp_path / "a.mp4")
    assert len(video) == 1 and len(list(video)) == 1


def test_random_access_equals_streaming(clip: Path) -> None:
    video = Video(clip)
    streamed = list(video)
    indices = [29, 0, 7, 7, 13]
    for index, frame in zip(indices, video.frames(indices)):
        assert (frame == streamed[index]).all()
    assert video.frames([]) == []
    one, other = iter(video), iter(video)  # two passes side by side
    assert (next(one) == next(other)).all() and (next(one) == streamed[1]).all()


@pytest.mark.parametrize("index", [30, -1])
def test_an_index_outside_the_clip(clip: Path, index: int) -> None:
    with pytest.raises(RequestError, match=f"clip.mp4: frame {index} was asked for"):
        Video(clip).frames([0, index])


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotation_of_the_container_is_applied(tmp_path: Path, degrees: int) -> None:
    """The matrix of the track header turns the shown picture clockwise by `degrees` (ISO 14496-12, 8.3.2)."""
    picture = np.zeros((32, 64, 3), np.uint8)
    picture[:16, :32] = 255  # white at the upper left
    path = tmp_path / "a.mp4"
    write_video(path, [picture] * 2, 10)
    raw = bytearray(path.read_bytes())
    cos, sin = round(np.cos(np.radians(degrees))), round(np.sin(np.radians(degrees)))
    at = raw.index(b"tkhd") + 4 + 40  # version 0: the matrix stands 40 bytes into the box
    one = 1 << 16
    raw[at : at + 36] = struct.pack(">9i", cos * one, sin * one, 0, -sin * one, cos * one, 0, 0, 0, 1 << 30)
    path.write_bytes(raw)
    video = Video(path)
    shown = np.rot90(picture, -degrees // 90)
    assert video.size == shown.shape[:2]
    assert np.abs(next(iter(video)).astype(int) - shown).mean() < 3


def test_a_header_that_lies_about_the_count(clip: Path) -> None:
    """stsz keeps the true number; the duration and nb_frames of the header are not asked."""
    raw = bytearray(clip.read_bytes())
    for box in (b"mvhd", b"mdhd"):
        at = raw.index(box) + 4 + 16
        raw[at : at + 4] = struct.pack(">I", 10**6)
    clip.write_bytes(raw)
    video = Video(clip)
    assert len(video) == 30 == len(list(video))


def test_what_is_no_clip_says_so(tmp_path: Path, clip: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("hello " * 100)
    (tmp_path / "list.mp4").write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nclip.mp4\n#EXT-X-ENDLIST\n"
    )
    (tmp_path / "cut.mp4").write_bytes(clip.read_bytes()[:500])
    for name, message in [
        ("none.mp4", "does not exist"),
        ("empty.mp4", "is empty"),
        ("text.mp4", "is no clip or is damaged"),
        ("list.mp4", "is no clip or is damaged"),
        ("cut.mp4", "is no clip or is damaged"),
        (".", "is a folder"),
    ]:
        with pytest.raises(BadVideo, match=message) as caught:
            Video(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


def test_sound_only_and_no_frames(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(BadVideo, match="holds no pictures"):
        Video(tmp_path / "sound.mp4")
    with av.open(str(tmp_path / "none.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height = stream.width = 16
        container.start_encoding()
    with pytest.raises(BadVideo, match=r"none\.mkv"):
        Video(tmp_path / "none.mkv")


def test_mutated_clips_give_frames_or_bad_video(clip: Path) -> None:
    rng = np.random.default_rng(3)
    whole, messages = clip.read_bytes(), []
    for trial in range(40):
        raw = bytearray(whole)
        if trial % 2:
            raw = raw[: rng.integers(1, len(raw))]
        else:
            for at in rng.integers(0, len(raw), 12):
                raw[at] ^= 1 << rng.integers(8)
        clip.write_bytes(raw)
        try:
            for frame in Video(clip):
                assert frame.dtype == np.uint8 and frame.ndim == 3
        except BadVideo as error:
            messages.append(str(error))
    assert len(messages) > 10 and all(str(clip) in message for message in messages)


@pytest.mark.parametrize("fps", [0, -5, float("nan"), float("inf")])
def test_impossible_rates(tmp_path: Path, fps: float | int) -> None:
    with pytest.raises(RequestError, match="fps"):
        write_video(tmp_path / "a.mp4", ramp(2, (16, 16)), fps)


def test_nothing_is_left_when_writing_fails(tmp_path: Path) -> None:
    for name, frames, message in [
        ("a.mp4", [], "no frames"),
        ("a.mp4", [*ramp(2, (16, 16)), *ramp(1, (16, 18))], "frame 2 has shape"),
        ("a.xyz", ramp(2, (16, 16)), "can be written as"),
    ]:
        with pytest.raises(RequestError, match=message):
            write_video(tmp_path / name, frames, 10)
    assert list(tmp_path.iterdir()) == []


def test_without_pyav(tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: object) -> object:
        if name == "av":
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match=r'pip install "asterism\[video\]"'):
        Video(clip)


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason="no shared data")
def test_real_clip() -> None:
    video = Video(DATA / "label_format_fixtures/demo.mp4")
    frames = list(video)
    assert len(video) == len(frames) == 5 and frames[0].shape == (*video.size, 3)
    assert (video.frames([3])[0] == frames[3]).all()
