"""The points of a run under the evaluation rules of papers: the same points, another number each time."""

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asterism.data.base import ImageSet
from asterism.engine.ground import found, in_picture
from asterism.engine.looks import Looked, look_at
from asterism.engine.view import View, frames_for
from asterism.errors import RequestError
from asterism.methods.base import Method
from asterism.metrics.landmarks import Labels, Points
from asterism.metrics.protocols import PROTOCOLS, audit, exploits


def check_protocol(name: str) -> None:
    """Raises RequestError for a rule that nobody knows."""
    if name not in ("all", *PROTOCOLS):
        raise RequestError(f"unknown protocol {name!r}; wanted all, or one of {', '.join(PROTOCOLS)}")


def audit_points(
    method: Method,
    untrained: Method,
    view: View,
    images: ImageSet,
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    seed: int,
    protocol: str,
    device: str = "auto",
) -> dict[str, Any]:
    """`audit` and `rules` for JSON, and `sentences`: what the table shows.

    Points and labels are told in the coordinates of the crop the method looks at, which is the picture that
    the papers' rules speak of. One rule is told beside the strict one; "all" tells every rule.
    """
    frames = frames_for(images, view)
    looks = [look_at(images, view, pictures, frames) for pictures in (train, test)]

    def places(by: Method) -> Points:
        return Points(
            *(in_picture(found(by, [look], view.size, device), look, view.size)[0] for look in looks)
        )

    names = tuple(PROTOCOLS) if protocol == "all" else tuple(dict.fromkeys((protocol, "strict")))
    swap = images.skeleton.swap if images.skeleton is not None else ()
    h, w = view.size
    rows = audit(
        places(method),
        *(_labels(look, view) for look in looks),
        controls={"untrained": places(untrained)},
        swap=swap,
        corner=(-w / max(h, w), -h / max(h, w)),
        protocols=names,
        seed=seed,
    )
    sentences = exploits(rows)
    if not swap:
        sentences.append(
            "These labels do not say which points are left and right: nothing could be exchanged."
        )
    told = ("paper", "source", "rule", "leaves_out", "flatters")
    rules = {name: {key: getattr(PROTOCOLS[name], key) for key in told} for name in names}
    return {"audit": [asdict(row) for row in rows], "sentences": sentences, "rules": rules}


def _labels(look: Looked, view: View) -> Labels:
    given = look.labels
    xy, unit = in_picture(given.xy, look, view.size)
    xy = np.where(given.labelled[..., None], xy, 0.0)
    return Labels(xy, given.labelled, given.image, given.normaliser / unit)
