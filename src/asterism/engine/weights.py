"""A method on disk: a folder with method.json and weights.safetensors. Strict, and never pickle.

method.json holds format, version, method, config, skeleton, how it was trained, and the SHA-256 of the
weights file; a folder in which one of the two was altered is refused.
"""

import contextlib
import hashlib
import json
import os
import shutil
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save

import asterism
from asterism.catalogue import method_class
from asterism.engine import attached
from asterism.errors import BadWeights, RequestError
from asterism.io.atomic import write_json
from asterism.methods.base import Method
from asterism.types import Skeleton

FORMAT = 1
_METHOD, _WEIGHTS = "method.json", "weights.safetensors"


def save_weights(
    folder: Path, method: Method, skeleton: Skeleton | None, trained: Mapping[str, Any], beside: Any = None
) -> None:
    """Write the folder wholly or not at all; one that was there is replaced.

    `trained` says how it was trained, in JSON's types. `beside(folder)` may write further files into the new
    folder before it takes the old one's place.
    """
    new = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    # Tied weights are written once per name: safetensors refuses shared memory.
    state = {k: v.detach().to("cpu", copy=True).contiguous() for k, v in method.state_dict().items()}
    (new / _WEIGHTS).write_bytes(save(state))  # save_file would forbid others to read it
    about = {
        "format": FORMAT,
        "version": asterism.__version__,
        "method": method.name,
        "config": asdict(method.config),
        "skeleton": None if skeleton is None else asdict(skeleton),
        "trained": dict(trained),
        "sha256": _sha256(new / _WEIGHTS),
    }
    write_json(new / _METHOD, about)
    if beside is not None:
        beside(new)
    _flush(new)
    _take_place(new, folder)


def load_weights(folder: Path, wanted: str | None = None) -> tuple[Method, Skeleton | None]:
    """The method, in eval mode on the CPU, and its skeleton.

    Raises BadWeights when the folder is incomplete or altered, was written by a newer format, or, where
    `wanted` names a method, belongs to another one.
    """
    about = read_about(folder)
    name = about["method"]
    if wanted is not None and name != wanted:
        raise BadWeights(f"{folder}: holds weights of '{name}', wanted '{wanted}'")
    method = _built(name, about["config"], folder / _METHOD)
    load_tensors(folder, method)
    skeleton = about["skeleton"]
    if skeleton is not None:
        skeleton = config_from_json(Skeleton, skeleton, folder / _METHOD)
    return method.eval(), skeleton


def _built(name: str, config: Any, path: Path) -> Method:
    """The method without its weights. An attached one holds the method that found its points."""
    if name == attached.NAME and isinstance(config, dict):
        inner = _class_of(str(config.get("method")), path)
        outer = config_from_json(attached.AttachedConfig, config, path)
        return attached.Attached(replace(outer, inner=config_from_json(inner.Config, outer.inner, path)))
    cls = _class_of(name, path)
    return cls(config_from_json(cls.Config, config, path))


def _class_of(name: str, path: Path) -> type[Method]:
    try:
        return method_class(name)
    except RequestError as error:
        raise BadWeights(f"{path}: field 'method': {error}") from error


def load_tensors(folder: Path, method: Method) -> None:
    """Weights of the folder into a method that stands already. Raises BadWeights where they do not fit."""
    tensors = _tensors(folder, read_about(folder)["sha256"])
    _check_names(folder, method.state_dict(), tensors)
    method.load_state_dict(tensors, strict=True)


def read_about(folder: Path) -> dict[str, Any]:
    """method.json as it stands. Raises BadWeights when it is absent, damaged or newer than this version."""
    recover(folder)
    path = folder / _METHOD
    if not path.is_file():
        raise BadWeights(f"{folder}: no {_METHOD} here; wanted a folder of weights, such as RUN/best")
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadWeights(f"{path}: is damaged: {error}") from error
    if not isinstance(about, dict):
        raise BadWeights(f"{path}: is damaged: wanted a JSON object, got {about!r:.40}")
    if missing := {"format", "method", "config", "skeleton", "sha256"} - set(about):
        raise BadWeights(f"{path}: lacks the fields {', '.join(sorted(missing))}")
    if about["format"] != FORMAT:
        raise BadWeights(
            f"{path}: field 'format' is {about['format']}, this version reads {FORMAT}; update asterism"
        )
    for name in ("method", "sha256"):
        if not isinstance(about[name], str):
            raise BadWeights(f"{path}: field '{name}' is {about[name]!r:.40}; wanted a text")
    return about


def config_from_json(cls: type, values: Any, path: Path) -> Any:
    """A frozen dataclass from JSON's types: lists become tuples where the field is a tuple, and so on down.

    Raises BadWeights, naming the file and the field, for unknown, missing or impossible ones.
    """
    if not isinstance(values, dict):
        raise BadWeights(f"{path}: wanted the fields of {cls.__name__}, got {values!r}")
    known = {f.name: f for f in fields(cls)}
    if unknown := sorted(set(values) - set(known)):
        raise BadWeights(f"{path}: {cls.__name__} has no fields {', '.join(unknown)}")
    needed = {n for n, f in known.items() if f.default is MISSING and f.default_factory is MISSING}
    if missing := sorted(needed - set(values)):
        raise BadWeights(f"{path}: {cls.__name__} lacks the fields {', '.join(missing)}")
    hints = typing.get_type_hints(cls)
    try:
        return cls(**{name: _restored(hints[name], v, path, name) for name, v in values.items()})
    except (TypeError, ValueError) as error:
        raise BadWeights(f"{path}: {cls.__name__}: {error}") from error


_PLAIN = {int: int, float: (int, float), str: str, bool: bool}  # JSON writes 1.0 as 1 in some hands


def _restored(hint: Any, value: Any, path: Path, name: str) -> Any:
    """JSON has no tuples and no dataclasses: the field's type says where they were."""
    if is_dataclass(hint) and isinstance(hint, type):
        return config_from_json(hint, value, path)
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        return _restored(next(a for a in inner if a is not type(None)), value, path, name)
    if origin is tuple and isinstance(value, list):
        each = [inner[0]] * len(value) if inner[-1] is Ellipsis else inner
        return tuple(_restored(h, v, path, name) for h, v in zip(each, value, strict=True))
    right = isinstance(value, _PLAIN.get(hint, object)) and (hint is bool or not isinstance(value, bool))
    if origin is tuple or (hint in _PLAIN and not right):
        wanted = getattr(hint, "__name__", None) if hint in _PLAIN else hint
        raise BadWeights(f"{path}: field '{name}' is {value!r:.40}; wanted {wanted}")
    return value


def _tensors(folder: Path, sha256: str) -> dict[str, torch.Tensor]:
    path = folder / _WEIGHTS
    if not path.is_file():
        raise BadWeights(f"{folder}: no {_WEIGHTS} here; the folder is incomplete, copy it again")
    if _sha256(path) != sha256:
        raise BadWeights(f"{path}: was altered or damaged: its SHA-256 is not the one in {_METHOD}")
    try:
        return load_file(path)
    except safetensors.SafetensorError as error:
        raise BadWeights(f"{path}: is damaged: {error}") from error


def _check_names(folder: Path, wanted: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """The same names with the same shapes. load_state_dict would say it in a page of lines."""
    if missing := sorted(set(wanted) - set(given)):
        raise BadWeights(f"{folder / _WEIGHTS}: lacks {len(missing)} tensors, the first is {missing[0]}")
    if unknown := sorted(set(given) - set(wanted)):
        raise BadWeights(f"{folder / _WEIGHTS}: {len(unknown)} tensors too many, the first is {unknown[0]}")
    for name, tensor in wanted.items():
        if tensor.shape != given[name].shape:
            shapes = f"{tuple(given[name].shape)}, wanted {tuple(tensor.shape)}"
            raise BadWeights(f"{folder / _WEIGHTS}: {name} has shape {shapes}")


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(folder: Path) -> None:
    for path in folder.iterdir():
        with open(path, "rb+") as file:
            os.fsync(file.fileno())


def _take_place(new: Path, folder: Path) -> None:
    """Swap folders. A kill between the two renames leaves the old one under a name that `recover` knows."""
    recover(folder)
    old = _old(folder)
    if folder.exists():
        os.replace(folder, old)
    try:
        os.replace(new, folder)
    except OSError:  # a reader in another process has just recovered the old one
        shutil.rmtree(folder)
        os.replace(new, folder)
    shutil.rmtree(old, ignore_errors=True)


def recover(folder: Path) -> None:
    """Finish a swap of folders that was cut short: the old folder, whole, takes its place again."""
    old = _old(folder)
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
    elif old.exists():
        with contextlib.suppress(OSError):  # a writer in another process was quicker
            os.replace(old, folder)


def _old(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")
