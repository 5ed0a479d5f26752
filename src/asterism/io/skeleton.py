"""Skeletons by hand: a TOML file of names, edges, mirror pairs and OKS constants; and the published ones.

    names = ["nose", "left_ear", "right_ear", "tail"]
    edges = [["nose", "left_ear"], ["nose", "right_ear"], ["nose", "tail"]]   # optional: bones
    swaps = [["left_ear", "right_ear"]]         # optional: who becomes whom in a mirror; else from the names
    sigmas = [0.026, 0.035, 0.035, 0.107]       # optional: one per name, for OKS; without: unknown

Published ones lie in `io/skeletons` as files of this very form and are asked for by name, "coco-17". A file
there says where its sigmas come from, and has none where nobody has published any.
"""

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from asterism.errors import BadAnnotation
from asterism.io.atomic import write_text
from asterism.io.names import infer_swap
from asterism.io.table import KeypointTable

_FOLDER = Path(__file__).parent / "skeletons"
_KEYS = ("names", "edges", "swaps", "sigmas")


@dataclass(frozen=True, kw_only=True)
class Skeleton:
    """`types.Skeleton` without torch: indices count from 0; empty is unknown."""

    names: tuple[str, ...]
    edges: tuple[tuple[int, int], ...] = ()
    swap: tuple[int, ...] = ()
    sigma: tuple[float, ...] = ()


def skeleton_names() -> tuple[str, ...]:
    """What `published` knows."""
    return tuple(sorted(file.stem for file in _FOLDER.glob("*.toml")))


@cache
def published(name: str) -> Skeleton:
    """A skeleton by its name, such as "coco-17". Raises BadAnnotation that lists the names."""
    if name not in skeleton_names():
        raise BadAnnotation(f"skeleton '{name}' is not known; the published ones: {_listed()}")
    return read_skeleton(_FOLDER / f"{name}.toml")


def find_skeleton(what: str) -> Skeleton:
    """What a user types: a file that ends in .toml, or the name of a published one. Raises BadAnnotation."""
    if what.lower().endswith(".toml"):
        return read_skeleton(what)
    if what in skeleton_names():
        return published(what)
    raise BadAnnotation(
        f"skeleton '{what}' is neither a file that ends in .toml nor a published one: {_listed()}"
    )


def read_skeleton(path: str | Path) -> Skeleton:
    """The skeleton of a TOML file. Raises BadAnnotation naming the file, the key and the entry."""
    document = _toml(Path(path))
    if unknown := [key for key in document if key not in _KEYS]:
        raise BadAnnotation(f"{path}: '{unknown[0]}' is no key of a skeleton; it has {', '.join(_KEYS)}")
    names = _names(path, document.get("names"))
    edges = _pairs(path, document.get("edges", []), "edges", names)
    return Skeleton(
        names=names,
        edges=edges,
        swap=_swap(path, document["swaps"], names) if "swaps" in document else infer_swap(names),
        sigma=_sigma(path, document["sigmas"], names) if "sigmas" in document else (),
    )


def write_skeleton(path: str | Path, skeleton: Skeleton) -> None:
    """Write a file that `read_skeleton` gives back. An unknown swap is left out and then inferred from the
    names; one in which every point is its own mirror image is written as no pairs."""
    quoted = [_quoted(name) for name in skeleton.names]
    text = f"names = [{', '.join(quoted)}]\n"
    text += f"edges = [{', '.join(f'[{quoted[a]}, {quoted[b]}]' for a, b in skeleton.edges)}]\n"
    if skeleton.swap:
        pairs = [f"[{quoted[a]}, {quoted[b]}]" for a, b in enumerate(skeleton.swap) if a < b]
        text += f"swaps = [{', '.join(pairs)}]\n"
    if skeleton.sigma:
        text += f"sigmas = [{', '.join(map(repr, skeleton.sigma))}]\n"
    write_text(path, text)


def known_skeleton(names: Sequence[str]) -> Skeleton | None:
    """The published skeleton that has exactly these names in this order."""
    return _by_names().get(tuple(names))


def known_sigma(names: Sequence[str]) -> tuple[float, ...]:
    """The constants of OKS that are published for these names in this order, else empty."""
    found = known_skeleton(names)
    return found.sigma if found else ()


def with_skeleton(table: KeypointTable, skeleton: Skeleton, source: str = "the skeleton") -> KeypointTable:
    """The table with edges, swap and sigma of a skeleton that has the same names, in any order.

    Points that the label file did not name (point0, point1, ...) get the names, in their order. Raises
    BadAnnotation that says which names differ.
    """
    k = len(table.names)
    if len(skeleton.names) == k and table.names == tuple(f"point{i}" for i in range(k)):
        table = replace(table, names=skeleton.names)
    ours, theirs = set(table.names), set(skeleton.names)
    if ours != theirs:
        only = "; ".join(
            f"only in {where}: {', '.join(sorted(rest)[:5])}{', ...' * (len(rest) > 5)}"
            for where, rest in (("the labels", ours - theirs), (source, theirs - ours))
            if rest
        )
        raise BadAnnotation(
            f"{table.source}: its {k} keypoints are not the {len(theirs)} of {source} ({only}); "
            "give a skeleton with the names of the labels"
        )
    at = [table.names.index(name) for name in skeleton.names]  # place in the table of each skeleton point
    back = [skeleton.names.index(name) for name in table.names]
    return replace(
        table,
        edges=tuple((at[a], at[b]) for a, b in skeleton.edges),
        swap=tuple(at[skeleton.swap[i]] for i in back) if skeleton.swap else (),
        sigma=tuple(skeleton.sigma[i] for i in back) if skeleton.sigma else (),
    )


# ------------------------------------------------------------------------------------------ pieces of a file


@cache
def _by_names() -> dict[tuple[str, ...], Skeleton]:
    return {published(name).names: published(name) for name in skeleton_names()}


def _listed() -> str:
    return ", ".join(skeleton_names())


def _quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=False).replace("\x7f", "\\u007f")


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise BadAnnotation(f"{path}: does not exist; published skeletons: {_listed()}") from error
    except tomllib.TOMLDecodeError as error:
        raise BadAnnotation(f"{path}: is no TOML: {error}") from error
    except (OSError, ValueError) as error:
        raise BadAnnotation(f"{path}: cannot be read as text ({error})") from error


def _names(path: str | Path, found: object) -> tuple[str, ...]:
    if found is None:
        raise BadAnnotation(f'{path}: names: is missing; wanted a list such as names = ["nose", "tail"]')
    if not isinstance(found, list) or not found:
        raise BadAnnotation(f"{path}: names: wanted a list of one name or more, found {found!r}")
    for i, name in enumerate(found):
        if not isinstance(name, str) or not name.strip():
            raise BadAnnotation(f"{path}: names[{i}]: wanted a name in quotes, found {name!r}")
    if twice := sorted({name for name in found if found.count(name) > 1}):
        raise BadAnnotation(f"{path}: names: {twice} occur twice; every keypoint needs a name of its own")
    return tuple(found)


def _pairs(path: str | Path, found: object, key: str, names: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    if not isinstance(found, list):
        raise BadAnnotation(f"{path}: {key}: wanted a list of pairs of names, found {found!r}")
    pairs: list[tuple[int, int]] = []
    for i, pair in enumerate(found):
        if not isinstance(pair, list) or len(pair) != 2:
            raise BadAnnotation(f"{path}: {key}[{i}]: wanted two names, found {pair!r}")
        for name in pair:
            if name not in names:
                hint = "" if isinstance(name, str) else " (names, not numbers)"
                raise BadAnnotation(f"{path}: {key}[{i}]: {name!r} is none of the names{hint}")
        a, b = (names.index(name) for name in pair)
        if a == b:
            raise BadAnnotation(f"{path}: {key}[{i}]: joins '{names[a]}' with itself")
        if (a, b) in pairs or (b, a) in pairs:
            raise BadAnnotation(f"{path}: {key}[{i}]: {pair!r} is there already")
        pairs.append((a, b))
    return tuple(pairs)


def _swap(path: str | Path, found: object, names: tuple[str, ...]) -> tuple[int, ...]:
    swap = list(range(len(names)))
    for i, (a, b) in enumerate(_pairs(path, found, "swaps", names)):
        for one in (a, b):
            if swap[one] != one:
                raise BadAnnotation(f"{path}: swaps[{i}]: '{names[one]}' already has a partner")
        swap[a], swap[b] = b, a
    return tuple(swap)


def _sigma(path: str | Path, found: object, names: tuple[str, ...]) -> tuple[float, ...]:
    if not isinstance(found, list) or len(found) != len(names):
        given = f"{len(found)} of them" if isinstance(found, list) else repr(found)
        raise BadAnnotation(
            f"{path}: sigmas: wanted {len(names)} numbers, one per name, found {given}; leave the key out "
            "where nobody has measured them"
        )
    for name, sigma in zip(names, found):
        if isinstance(sigma, bool) or not isinstance(sigma, int | float) or not 0 < sigma < float("inf"):
            raise BadAnnotation(f"{path}: sigmas: '{name}' has {sigma!r}, wanted a number above 0")
    return tuple(float(sigma) for sigma in found)
