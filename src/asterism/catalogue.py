"""Names of methods and the modules that hold them. Listing them reads the source with ast: no torch.

A method is found by its file: methods/<family>/<name with underscores>.py. Nothing is registered by hand.
"""

import ast
import difflib
import functools
import importlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asterism.errors import RequestError

if TYPE_CHECKING:
    from asterism.methods.base import Method
    from asterism.methods.synchroniser import Synchroniser

_ROOT = Path(__file__).parent / "methods"
_CONSTANTS = ("name", "family", "paper", "link")
_NAMES = ("takes", "gives", "learns_from")
_CLASS = re.compile(
    r"^class .*?(?=^    (?:def|async|@)|^(?:class|def|@|[A-Za-z_])|\Z)", re.MULTILINE | re.DOTALL
)
_SYNCHRONISER = {"family": "matching", "takes": "Matches", "gives": "Tracks"}  # what that contract fixes


@dataclass(frozen=True)
class Entry:
    """What the source of a method says of itself, read without importing it."""

    name: str
    family: str
    paper: str
    link: str
    takes: str
    gives: str
    learns_from: str  # empty for a classical method
    idea: str  # the second paragraph of the file's docstring
    module: str
    cls: str


def _outline(text: str) -> ast.Module:
    """The docstring and the classes up to their first function: a third of the time that the whole takes."""
    quotes = text.find('"""', 3)
    parts = [text[: quotes + 3], *(f"{found.rstrip()}\n    pass\n" for found in _CLASS.findall(text))]
    return ast.parse("\n".join(parts))


def _entry(path: Path) -> Entry:
    tree = _outline(path.read_text(encoding="utf-8"))
    for node in tree.body:
        if not isinstance(node, ast.ClassDef):
            continue
        found = dict.fromkeys(_CONSTANTS + _NAMES, "")
        if any(isinstance(base, ast.Name) and base.id == "Synchroniser" for base in node.bases):
            found |= _SYNCHRONISER
        for line in node.body:
            if not isinstance(line, ast.Assign) or not isinstance(line.targets[0], ast.Name):
                continue
            key = line.targets[0].id
            if key in _CONSTANTS:
                found[key] = ast.literal_eval(line.value)
            elif key in _NAMES:
                found[key] = ast.unparse(line.value).split(".")[-1]
        if found["name"]:
            paragraphs = (ast.get_docstring(tree) or "").split("\n\n")
            idea = " ".join(paragraphs[1].split()) if len(paragraphs) > 1 else ""
            module = ".".join(("asterism", "methods", *path.relative_to(_ROOT).with_suffix("").parts))
            return Entry(**found, idea=idea, module=module, cls=node.name)
    raise ValueError(f"{path} holds no class with a `name`: copy methods/_template.py")


@functools.cache
def entries() -> dict[str, Entry]:
    """Every method by name, in the order of family and name."""
    files = sorted(p for p in _ROOT.glob("*/*.py") if not p.name.startswith("_"))
    return {entry.name: entry for entry in map(_entry, files)}


def entry(name: str) -> Entry:
    """One row. Raises RequestError with the nearest names when there is no such method."""
    if name in entries():
        return entries()[name]
    near = difflib.get_close_matches(name, entries(), n=3, cutoff=0.4) or list(entries())
    raise RequestError(
        f"no method is called '{name}'; did you mean {' or '.join(near)}? See: asterism methods"
    )


def method_class(name: str) -> "type[Method]":
    """The class of a method; this imports its file, and torch with it."""
    return _class(name)


def synchroniser(name: str) -> "type[Synchroniser]":
    """The class of a solver that takes Matches; this imports its file."""
    return _class(name)


def _class(name: str) -> Any:
    found = entry(name)
    return getattr(importlib.import_module(found.module), found.cls)
