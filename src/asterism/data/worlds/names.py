"""Worlds by name, as they are typed on the command line: creatures, figures?n=500&people=1-3&size=128."""

from collections.abc import Callable
from typing import Any

from asterism.data.base import ImageSet
from asterism.data.worlds.creatures import Creatures, demo_clip
from asterism.data.worlds.figures import Figures
from asterism.data.worlds.rig import Rig
from asterism.errors import RequestError


def _span(text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    return int(low), int(high or low)


def _size(text: str) -> tuple[int, int]:
    h, _, w = text.partition("x")
    return int(h), int(w or h)


_Reader = Callable[[str], Any]
_WORLDS: dict[str, tuple[Callable[..., ImageSet], dict[str, _Reader]]] = {
    "creatures": (
        Creatures,
        {
            **{"n": int, "seed": int, "size": _size, "clips": int},
            **{"background": str, "individuals": int, "distractor": str},
        },
    ),
    "figures": (Figures, {"n": int, "seed": int, "size": _size, "people": _span, "skeleton": str}),
    "rig": (
        Rig,
        {"n": int, "views": int, "subjects": int, "seed": int, "size": _size, "skeleton": str},
    ),
    "demo": (demo_clip, {}),
}


def world(name: str) -> ImageSet:
    """The set called `name`, with options after a question mark: NAME?option=value&option=value.

    size is H or HxW; people is LOW or LOW-HIGH. Raises RequestError, listing what there is, for an unknown
    world or option and for a value that cannot be read.
    """
    kind, _, query = name.partition("?")
    if kind not in _WORLDS:
        known = ", ".join(_WORLDS)
        raise RequestError(f"no world is called '{kind}'; there are {known}; type for example world:figures")
    make, readers = _WORLDS[kind]
    options = {}
    for part in filter(None, query.split("&")):
        key, _, text = part.partition("=")
        if key not in readers:
            known = ", ".join(readers) or "none"
            raise RequestError(f"world:{kind} has no option '{key}'; its options are: {known}")
        try:
            options[key] = readers[key](text)
        except ValueError:
            raise RequestError(
                f"world:{kind}: {key}={text} cannot be read; "
                "wanted for example n=500, size=128 or size=128x160, people=1-3"
            ) from None
    return make(**options)
