"""Tensors of a file that torch.save wrote, without ever running what is in it.

Such files are pickles, and a pickle can run any program. torch is told to accept tensors and plain containers
only (`weights_only`); a file that needs more is refused, and what it needs is named.
"""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asterism.errors import BadWeights

if TYPE_CHECKING:
    from torch import Tensor

_HOLDERS = ("state_dict", "model_state_dict", "model")  # where trainers put the weights, most common first


def read_torch(path: str | Path) -> "dict[str, Tensor]":
    """The tensors by name, on the CPU: of the whole file, or of its entry state_dict where it has one.

    Raises BadWeights where the file is damaged, holds classes that would have to be unpickled (they are
    named), or holds no names with tensors.
    """
    import torch

    if not Path(path).is_file():
        raise BadWeights(f"{path}: no such file; wanted a .pth or .pt file that torch.save wrote")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old forms of pickles, which the errors tell better
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what a damaged pickle makes of its reader can be any of them
        raise BadWeights(_refusal(path, error)) from error
    return _tensors(path, found)


def _refusal(path: str | Path, error: Exception) -> str:
    """What was found in the file that only unpickling could read."""
    import torch

    try:
        classes = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # damaged, or from before torch 1.6: those are not zips
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        classes = [named.group(1)] if named else []
    if not classes:
        first = (str(error).splitlines() or ["it ends too early"])[0]
        return f"{path}: is damaged or was not written by torch.save: {first:.200}"
    return (
        f"{path}: needs the classes {', '.join(sorted(classes))} to be unpickled, which could run anything; "
        "wanted tensors alone. Where you trust the file, load it in the program that wrote it and write its "
        "weights: torch.save(model.state_dict(), 'plain.pth')"
    )


def _tensors(path: str | Path, found: Any) -> "dict[str, Tensor]":
    import torch

    if isinstance(found, Mapping):
        held = [found[key] for key in _HOLDERS if isinstance(found.get(key), Mapping)]
        found = held[0] if held else found
    if not isinstance(found, Mapping) or not found:
        raise BadWeights(f"{path}: holds a {type(found).__name__}; wanted names with tensors (a state_dict)")
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise BadWeights(f"{path}: {name!r:.80} is a {type(value).__name__}; wanted a tensor with a name")
    return dict(found)
