"""Cameras and network streams: the newest picture whenever one is wanted, as uint8 RGB. PyAV reads them.

An address is webcam:0 (the first camera of this machine; on Windows webcam:NAME) or begins with rtsp:, rtmp:,
srt:, udp:, tcp:, http: or https:. Whoever is slower than the camera misses pictures and is never late.
"""

import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asterism.errors import BadVideo, MissingExtra, RequestError

SCHEMES = ("webcam", "rtsp", "rtmp", "srt", "udp", "tcp", "http", "https")
_WAIT = 10.0  # seconds without a picture after which a stream is given up
# The protocols that these schemes are built on, and no files: an address may hold a play list.
_PROTOCOLS = "rtsp,rtmp,srt,rtp,udp,tcp,tls,http,https,httpproxy,crypto"


def is_live(what: str) -> bool:
    """Whether `what` is a camera or a stream, and no path."""
    scheme, mark, rest = what.partition(":")
    return bool(mark) and scheme in SCHEMES and (scheme == "webcam" or rest.startswith("//"))


class LivePictures(Iterator[tuple[int, NDArray[np.uint8]]]):
    """Number and picture "H W 3" of a stream, the newest one each time; numbers count those left out, too.

    `fps` is what the stream says, 0 where it does not. close() lets the camera go. Raises BadVideo, naming
    the address, where nothing can be opened or nothing comes for ten seconds; MissingExtra without PyAV.
    """

    def __init__(self, address: str, every: int = 1) -> None:
        self.address, self.every = address, every
        self._container = _opened(address)
        video = self._container.streams.video
        if not video:
            raise BadVideo(f"{address}: sends no pictures (sound only?)")
        self.fps = float(video[0].average_rate or video[0].guessed_rate or 0)
        self._newest: tuple[int, Any] | None = None
        self._error: Exception | None = None
        self._ended = self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for index, frame in enumerate(self._container.decode(video=0)):
                if self._closed:
                    break
                if index % self.every == 0:
                    with self._changed:
                        self._newest = (index, frame)
                        self._changed.notify()
        except Exception as error:  # FFmpeg's own kinds: the address and its words are what helps
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify()

    def __next__(self) -> tuple[int, NDArray[np.uint8]]:
        with self._changed:
            if not self._changed.wait_for(lambda: self._newest is not None or self._ended, _WAIT):
                raise BadVideo(f"{self.address}: sent no picture for {_WAIT:g} seconds")
            newest, self._newest = self._newest, None
        if newest is None:
            if self._error is not None:
                raise BadVideo(f"{self.address}: broke off ({self._error})") from self._error
            raise StopIteration
        return newest[0], np.ascontiguousarray(newest[1].to_ndarray(format="rgb24"))

    def close(self) -> None:
        self._closed = True
        self._thread.join(timeout=1.0)
        self._container.close()


def live_pictures(address: str, every: int = 1) -> LivePictures:
    """The pictures of a camera or stream, each `every`-th one. Raises RequestError for an unknown address."""
    if not is_live(address):
        raise RequestError(
            f"{address}: wanted webcam:0 or an address that begins with {', '.join(SCHEMES[1:])}"
        )
    return LivePictures(address, every)


def _opened(address: str) -> Any:
    try:
        import av
    except ImportError as error:
        raise MissingExtra("PyAV", "video", f"reading {address}") from error
    scheme, _, rest = address.partition(":")
    try:
        if scheme == "webcam":
            return av.open(_device(rest), format=_SYSTEMS[sys.platform])
        return av.open(address, options={"protocol_whitelist": _PROTOCOLS}, timeout=_WAIT)
    except KeyError as error:
        raise BadVideo(
            f"{address}: cameras are known on {', '.join(_SYSTEMS)}, not {sys.platform}"
        ) from error
    except Exception as error:
        why = getattr(error, "strerror", None) or str(error)
        raise BadVideo(f"{address}: cannot be opened ({why}); is the camera there and free?") from error


_SYSTEMS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}


def _device(name: str) -> str:
    if sys.platform == "linux":
        return f"/dev/video{name}" if name.isdigit() else name
    return name if sys.platform == "darwin" else f"video={name}"
