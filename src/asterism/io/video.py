"""Clips: frames stream past as uint8 RGB, never all held. PyAV is imported when a clip is opened."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asterism.errors import BadVideo, MissingExtra, RequestError
from asterism.io.atomic import atomic_write

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv")
# No play lists and no network: FFmpeg would follow addresses that stand inside a file.
_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm,mpeg,mpegts,mpegvideo,m4v,asf,ogg",
}


class Video:
    """A clip on disk: `size` (h, w), `fps`, `len()`, iteration over frames "H W 3" and `frames(indices)`.

    Sizes and frames are upright (the rotation a phone writes into the file is applied). Every iteration
    opens the file anew, so that two can run side by side. Raises BadVideo, naming the file, when it is
    absent, no clip, damaged, or without frames; MissingExtra without PyAV.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._count: int | None = None
        with _stream(self.path) as (container, stream):
            first = next(_decoded(self.path, container, stream), None)
            if first is None:
                raise BadVideo(f"{self.path}: holds no frames; export it again")
            self.fps = float(stream.average_rate or stream.guessed_rate or 0)
        self.size: tuple[int, int] = _picture(first).shape[:2]

    def __len__(self) -> int:
        """Frames in the file, counted without decoding: what the header says is often an estimate."""
        if self._count is None:
            with _stream(self.path) as (container, stream):
                self._count = sum(p.size > 0 and not p.is_discard for p in container.demux(stream))
        return self._count

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        count = 0
        with _stream(self.path) as (container, stream):
            for frame in _decoded(self.path, container, stream):
                yield _picture(frame)
                count += 1
        self._count = count

    def frames(self, indices: Sequence[int]) -> list[NDArray[np.uint8]]:
        """Those frames, in the order asked for, in one pass: exactly what iteration gives at these places.

        Raises RequestError for an index that the clip does not have.
        """
        wanted = set(indices)
        if wanted and min(wanted) < 0:
            raise RequestError(f"{self.path}: frame {min(wanted)} was asked for; frames count from 0")
        found: dict[int, NDArray[np.uint8]] = {}
        with _stream(self.path) as (container, stream):
            frames = enumerate(_decoded(self.path, container, stream))
            while len(found) < len(wanted):
                at, frame = next(frames, (-1, None))
                if frame is None:
                    raise RequestError(
                        f"{self.path}: frame {max(wanted)} was asked for; it has frames 0 to {len(self) - 1}"
                    )
                if at in wanted:
                    found[at] = _picture(frame)
        return [found[index] for index in indices]


def write_video(path: str | Path, frames: Iterable[NDArray[np.uint8]], fps: float | int) -> None:
    """Write frames "H W 3" as H.264 in yuv420p, which every player knows. The file is whole or absent.

    yuv420p holds a colour per 2 x 2 pixels, so an odd height or width gains a row or column, a copy of its
    last one. Raises RequestError without frames, for frames of several sizes, or for fps <= 0.
    """
    with video_writer(path, fps) as add:
        for frame in frames:
            add(frame)


@contextmanager
def video_writer(path: str | Path, fps: float | int) -> Iterator[Callable[[NDArray[np.uint8]], None]]:
    """write_video for frames that come one by one: `with video_writer(path, 25) as add: add(frame)`."""
    av, path = _av(f"writing {path}"), Path(path)
    if not 0 < fps < float("inf"):
        raise RequestError(f"{path}: fps {fps} was given; wanted a finite number above 0")
    with atomic_write(path) as temporary:
        try:
            container = av.open(str(temporary), "w")
        except ValueError as error:
            raise RequestError(f"{path}: clips can be written as {', '.join(VIDEO_SUFFIXES)}") from error
        with container:
            rate = Fraction(fps).limit_denominator(1001)  # 1001: 29.97 is 30000/1001
            stream: Any = container.add_stream("libx264", rate=rate, options={"crf": "18"})  # 18: x264's
            stream.pix_fmt = "yuv420p"  # documentation calls it visually lossless
            shape, count = (0, 0, 3), 0

            def add(frame: NDArray[np.uint8]) -> None:
                nonlocal shape, count
                height, width = frame.shape[:2]
                if not count:
                    shape = frame.shape
                    stream.height, stream.width = height + height % 2, width + width % 2
                elif frame.shape != shape:
                    raise RequestError(f"{path}: frame {count} has shape {frame.shape}, frame 0 {shape}")
                even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
                container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
                count += 1

            yield add
            if not count:
                raise RequestError(f"{path}: there are no frames to write")
            container.mux(stream.encode())


def _av(purpose: str) -> Any:
    try:
        import av
    except ImportError as error:
        raise MissingExtra("PyAV", "video", purpose) from error
    return av


@contextmanager
def _stream(path: Path) -> Iterator[tuple[Any, Any]]:
    """The opened file and its first video stream."""
    av = _av(f"reading {path}")
    if not os.path.isfile(path):
        what = (
            "is a folder"
            if os.path.isdir(path)
            else "is no file"
            if os.path.exists(path)
            else "does not exist"
        )
        raise BadVideo(f"{path}: {what}; a clip is wanted")
    if path.stat().st_size == 0:
        raise BadVideo(f"{path}: is empty (0 bytes); copy or export it again")
    try:
        container = av.open(str(path.resolve()), options=_OPTIONS)  # absolute: "a:b.mp4" is no protocol
    except Exception as error:  # damage shows as FFmpegError, UnicodeDecodeError, IndexError, ValueError
        raise BadVideo(f"{path}: is no clip or is damaged ({_why(error)}); export it again as mp4") from error
    with container:
        if not container.streams.video:
            raise BadVideo(f"{path}: holds no pictures (sound only?); a clip is wanted")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        yield container, stream


def _decoded(path: Path, container: Any, stream: Any) -> Iterator[Any]:
    """Frames of PyAV in the order they are shown. BadVideo names the frame at which decoding failed."""
    count = 0
    frames = container.decode(stream)
    while True:
        try:
            frame = next(frames, None)
        except Exception as error:
            raise BadVideo(
                f"{path}: frame {count} cannot be decoded ({_why(error)}); cut or repair it, for example: "
                f"ffmpeg -err_detect ignore_err -i {path.name} repaired.mp4"
            ) from error
        if frame is None:
            return
        count += 1
        yield frame


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _picture(frame: Any) -> NDArray[np.uint8]:
    """A frame of PyAV -> "H W 3", upright. FFmpeg counts the rotation anticlockwise, as np.rot90 does."""
    picture = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(picture, round(frame.rotation / 90)))
