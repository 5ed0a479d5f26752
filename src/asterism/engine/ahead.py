"""An iterator that works ahead in its own thread, so that reading, looking and putting together overlap."""

import queue
import threading
from collections.abc import Iterator
from typing import Any, TypeVar

T = TypeVar("T")
_END = object()


def ahead(items: Iterator[T], most: int = 2) -> Iterator[T]:
    """The same items in the same order; up to `most` of them are made before they are asked for.

    What `items` raises is raised here, where it was reached. When the caller stops early, so does the thread.
    """
    made: queue.Queue[Any] = queue.Queue(most)
    stop = threading.Event()

    def put(item: Any) -> bool:
        while not stop.is_set():
            try:
                made.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not put((item, None)):
                    return
            put((_END, None))
        except BaseException as error:  # KeyboardInterrupt included: the caller's to handle
            put((_END, error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            item, error = made.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        stop.set()
        thread.join()
