"""What the names of keypoints give away: who is whose mirror image."""

import re
from collections.abc import Sequence

_WORD = re.compile(r"left|right", re.IGNORECASE)
# The one letter of a side: eye_l, LShoulder, eyeL, paw1LH (hind, fore, middle limbs), FL_paw.
_LETTERS = (
    re.compile(r"(?<![A-Za-z])[lLrR](?![A-Za-z])"),
    re.compile(r"(?<![A-Za-z])[LR](?=[A-Z][a-z])"),
    re.compile(r"(?<=[a-z0-9])[LR](?![A-Za-z])"),
    re.compile(r"(?<![A-Z])[LR](?=[HFM](?![A-Za-z]))"),
    re.compile(r"(?<=(?<![A-Z])[FHMB])[LR](?![A-Za-z])"),
)
# Patterns so plain that a name which has one and no partner makes the whole guess doubtful.
_PLAIN = (re.compile(r"(?<![A-Za-z])(?:left|right)(?![a-z])|Left|Right"), _LETTERS[0], _LETTERS[3])


def infer_swap(names: Sequence[str]) -> tuple[int, ...]:
    """For each name the index of its left-right mirror image, itself on the midline; empty when in doubt.

    In doubt means: no pair at all, a name with two possible partners, or one that plainly names a side
    and has no partner. Numbers may differ within a pair where that is unique: paw1LH and paw4RH.
    """
    sides = [_sides(name) for name in names]
    swap = list(range(len(names)))
    for i, mine in enumerate(sides):
        partners = _partners(mine, sides) or _partners(_bare(mine), [_bare(other) for other in sides])
        if len(partners) > 1:
            return ()
        if partners:
            swap[i] = partners.pop()
        elif any(pattern.search(names[i]) for pattern in _PLAIN):
            return ()
    if swap == list(range(len(names))) or any(swap[swap[i]] != i for i in range(len(names))):
        return ()
    return tuple(swap)


def _sides(name: str) -> set[tuple[str, str]]:
    """All readings of a name as (side, the name with the side taken out)."""
    found = {
        (m[0][0].lower(), f"{name[: m.start()]}*{name[m.end() :]}".lower()) for m in _WORD.finditer(name)
    }
    for pattern in _LETTERS:
        found |= {(m[0].lower(), f"{name[: m.start()]}*{name[m.end() :]}") for m in pattern.finditer(name)}
    return found


def _bare(sides: set[tuple[str, str]]) -> set[tuple[str, str]]:
    return {(side, re.sub(r"\d+", "", rest)) for side, rest in sides}


def _partners(mine: set[tuple[str, str]], sides: list[set[tuple[str, str]]]) -> set[int]:
    mirrored = {("r" if side == "l" else "l", rest) for side, rest in mine}
    return {i for i, other in enumerate(sides) if mirrored & other}
