"""A page on this machine in which a shape's keypoints are dragged and the shape follows (viser)."""

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from asterism.engine.deform import Held, write_moved
from asterism.errors import RequestError


class Page:
    """The page's state. Raises RequestError where viser is not installed."""

    def __init__(self, shape: Held, source: Path, port: int) -> None:
        try:
            import viser
        except ImportError:
            raise RequestError("the page needs viser: pip install viser; or give --move and -o") from None
        self.shape, self.source = shape, source
        self.keypoints = shape.keypoints.copy()
        self.lock, self.quiet = threading.Lock(), False
        self.server = viser.ViserServer(host="127.0.0.1", port=port, verbose=False)
        self.size = float(shape.box[0, 0])
        self.prior = self.server.gui.add_checkbox("the rest follow (prior)", initial_value=False)
        self.server.gui.add_button("start again").on_click(lambda _: self.put(shape.keypoints.copy()))
        self.number = self.server.gui.add_number("new shape number", initial_value=0, min=0, step=1)
        self.server.gui.add_button("new shape").on_click(
            lambda _: self.put(shape.drawn(int(self.number.value)))
        )
        self.server.gui.add_button("save").on_click(lambda _: self.save())
        self.said = self.server.gui.add_markdown("")
        self.handles = [self._handle(k) for k in range(len(self.keypoints))]
        self.draw()

    def _handle(self, k: int) -> Any:
        handle = self.server.scene.add_transform_controls(
            f"/points/{k}", scale=0.15 * self.size, disable_rotations=True, position=tuple(self.keypoints[k])
        )
        self.server.scene.add_label(f"/points/{k}/label", str(k))
        handle.on_update(lambda _: self.dragged(k))
        return handle

    def dragged(self, k: int) -> None:
        """One handle was moved by hand; with the prior, the others go along."""
        with self.lock:
            if self.quiet:
                return
            to = np.array(self.handles[k].position, dtype=np.float64)
            if self.prior.value:
                inside = self.shape.follow_from(self.keypoints, {k: to})
                self._place(inside, but=k)
            else:
                self.keypoints[k] = to
        self.draw()

    def put(self, keypoints: np.ndarray) -> None:
        with self.lock:
            self._place(keypoints)
        self.draw()

    def _place(self, keypoints: np.ndarray, but: int | None = None) -> None:
        self.quiet = True  # the handles' own news of this are not a drag
        self.keypoints = keypoints
        for k, handle in enumerate(self.handles):
            if k != but:
                handle.position = tuple(keypoints[k])
        self.quiet = False

    def draw(self) -> None:
        points, faces = self.shape.moved(self.keypoints).astype(np.float32), self.shape.cloud.faces
        if faces is None:
            self.server.scene.add_point_cloud(
                "/shape", points, np.full_like(points, 0.6), point_size=0.01 * self.size
            )
        else:
            self.server.scene.add_mesh_simple("/shape", points, faces.astype(np.uint32), side="double")

    def save(self) -> None:
        path = self.source.with_name(f"{self.source.stem}_moved{self.source.suffix}")
        write_moved(path, self.source, self.shape, self.shape.moved(self.keypoints))
        self.said.content = f"written: {path}"


def serve(shape: Held, source: Path, port: int) -> None:
    """Show the page until interrupted (Ctrl-C)."""
    page = Page(shape, source, port)
    print(f"open http://127.0.0.1:{page.server.get_port()} and drag the points; Ctrl-C ends")
    while True:
        time.sleep(1.0)
