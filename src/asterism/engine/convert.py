"""Weights that other programs wrote -> a run folder like any other.

Strict: every tensor of the file is used or known to be dead, every tensor of ours is filled, every shape is
compared. What an origin does to pictures before its network sees them is in the run too: crops and their size
in the view, the decoder and the order of the colours in the config.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asterism.catalogue import method_class
from asterism.data.frames import Memory
from asterism.engine.origins import Origin, Tensors, network_of, origins_of, plain_skeleton
from asterism.engine.runs import Run
from asterism.engine.view import View, write_view
from asterism.engine.weights import save_weights
from asterism.errors import BadWeights, RequestError
from asterism.io.caffe import read_caffemodel
from asterism.io.tf_checkpoint import read_checkpoint
from asterism.io.torch_file import read_torch
from asterism.methods.base import Method
from asterism.ops.heatmap import CODECS
from asterism.types import Skeleton

_TRAINERS = ("model.module.", "module.", "model.")  # what DataParallel and trainers put before every name
_BLOBS = ("weight", "bias")
_COUNTER = ".num_batches_tracked"  # never read with a fixed momentum; files of torch 0.3 have none


@dataclass(frozen=True, kw_only=True)
class Filled:
    """A method with the file's weights; `dead` and `counters` are names of tensors left out or begun at 0."""

    method: Method
    origin: Origin
    dead: tuple[str, ...]
    counters: tuple[str, ...]
    used: int


def convert_file(
    file: Path,
    method: str,
    run: Path,
    *,
    preset: str | None = None,
    size: tuple[int, int] | None = None,
    codec: str | None = None,
    skeleton: str | None = None,
) -> dict[str, Any]:
    """Write the run of `file`'s weights in `method`; returns what to print.

    `size` (h, w), `codec` and `skeleton` are what files do not say: without them those of the origin's best
    known network. Raises BadWeights, naming the tensor, the shape given and the shape wanted, and
    RequestError, before anything is written.
    """
    filled = fill(read_tensors(file, origins_of(method)), file, method, preset=preset, size=size, codec=codec)
    built, origin = filled.method, filled.origin
    config = built.config
    points = _skeleton(skeleton, origin, config, file)
    view = View(kind=origin.frame, size=config.input_size, memory=Memory(objects=None), inside=origin.inside)
    h, w = config.input_size
    came = {"origin": origin.name, "licence": origin.licence, "input": origin.input}
    about = {
        "kind": "convert",
        "method": method,
        "preset": preset,
        "config": asdict(config),
        "view": view.as_json(),
        "data": {"path": str(file), "fingerprint": _sha256(file)},
        "split": None,
        "mean_shape": [[(w - 1) / 2, (h - 1) / 2]] * len(points),  # no labels were seen: the crop's middle
        "seed": 0,
        **came,
    }
    folder = Run(run)
    folder.start(about)
    write_view(folder, view)
    save_weights(folder.best, built, points, {"steps": None, **came})
    return {
        "run": str(run),
        "method": method,
        **came,
        "tensors": filled.used,
        "parameters": sum(p.numel() for p in built.parameters()),
        "left_out": _listed(filled.dead),
        "begun_at_0": _listed(filled.counters),
        "points": len(points),
        "size": list(config.input_size),
        "codec": getattr(config, "codec", None),
    }


def read_tensors(file: Path, origins: tuple[Origin, ...]) -> dict[str, Tensor]:
    """The file's tensors by name; blobs of a caffemodel as LAYER.weight and LAYER.bias; variables of
    TensorFlow's .index, kernels turned as torch has them.
    """
    if file.suffix == ".index":
        held = {name: torch.from_numpy(value) for name, value in read_checkpoint(file).items()}
        # Kernels are "height width in out" in TensorFlow.
        return {name: v.permute(3, 2, 0, 1).contiguous() if v.dim() == 4 else v for name, v in held.items()}
    if not any(origin.caffe for origin in origins):
        return read_torch(file)
    found = {}
    for layer, blobs in read_caffemodel(file).items():
        if len(blobs) > len(_BLOBS):
            raise BadWeights(f"{file}: layer '{layer}' has {len(blobs)} blobs, wanted a weight and a bias")
        for part, blob in zip(_BLOBS, blobs):
            found[f"{layer}.{part}"] = torch.from_numpy(blob)
    return found


def fill(
    tensors: Tensors,
    file: Path,
    method: str,
    *,
    preset: str | None = None,
    size: tuple[int, int] | None = None,
    codec: str | None = None,
) -> Filled:
    """The method, built to the sizes of the tensors, with the tensors in it."""
    origin, tensors = _layout(tensors, origins_of(method), file)
    cls = method_class(method)
    if preset is not None and preset not in cls.presets:
        raise RequestError(f"--preset {preset}: {method} has {', '.join(cls.presets)}")
    try:
        config = origin.config(cls.presets[preset or "paper"], tensors)
        config = _asked(config, method, size, codec)
        built = cls(config)
    except (BadWeights, ValueError) as error:
        raise BadWeights(f"{file}: {error}; wanted weights of {origin.name} ({origin.files})") from error
    net = network_of(built)
    wanted, theirs = net.state_dict(), origin.names(net)
    dead = tuple(k for k in sorted(set(tensors) - set(theirs.values())) if k.endswith(origin.dead or "\0"))
    begun = (_COUNTER, *origin.begun)
    counters = tuple(k for k in sorted(theirs.values()) if k.endswith(begun) and k not in tensors)
    _check(file, wanted, theirs, {k: v for k, v in tensors.items() if k not in dead}, counters)
    state = {
        ours: value if theirs[ours] in counters else tensors[theirs[ours]].to(value.dtype)
        for ours, value in wanted.items()
    }
    net.load_state_dict(state, strict=True)
    used = len(state) - len(counters)
    return Filled(method=built.eval(), origin=origin, dead=dead, counters=counters, used=used)


def _layout(tensors: Tensors, origins: tuple[Origin, ...], file: Path) -> tuple[Origin, dict[str, Tensor]]:
    """Which of a method's origins wrote these names, and the tensors by that origin's own names."""
    front = next((p for p in _TRAINERS if all(name.startswith(p) for name in tensors)), "")
    plain = {name.removeprefix(front): value for name, value in tensors.items()}
    marked = [o for o in origins if o.mark and any(name.startswith(o.mark) for name in plain)]
    origin = marked[0] if marked else next(o for o in origins if not o.mark)
    found: dict[str, Tensor] = {}
    for name, value in plain.items():
        old, new = next((r for r in origin.renamed if name.startswith(r[0])), ("", ""))
        key = new + name[len(old) :]
        if key in found:
            raise BadWeights(f"{file}: {name} and another tensor are both {key} of {origin.name}")
        found[key] = value
    return origin, found


def _asked(config: Any, method: str, size: tuple[int, int] | None, codec: str | None) -> Any:
    """The config with the user's words; targets have the same share of larger pictures, as the origins'."""
    if codec is not None:
        known = ", ".join(CODECS) if hasattr(config, "codec") else "none to choose"
        if codec not in known.split(", "):
            raise RequestError(f"--codec {codec}: {method} has {known}")
        config = replace(config, codec=codec)
    if size is None:
        return config
    if min(size) < 1:
        raise RequestError(f"--size {size[0]} {size[1]}: wanted height and width, such as --size 384 288")
    grown = {"sigma": config.sigma * size[0] / config.input_size[0]} if hasattr(config, "codec") else {}
    return replace(config, input_size=size, **grown)


def _check(
    file: Path,
    wanted: Mapping[str, Tensor],
    theirs: Mapping[str, str],
    given: Tensors,
    counters: tuple[str, ...],
) -> None:
    """Raises BadWeights for the first tensor that is absent, unknown, of another shape, or no number."""
    shapes = {theirs[ours]: tuple(value.shape) for ours, value in wanted.items()}
    if missing := [k for k in shapes if k not in given and k not in counters]:
        raise BadWeights(
            f"{file}: lacks {len(missing)} tensors, the first is {missing[0]} of shape {shapes[missing[0]]}"
        )
    if unknown := [k for k in given if k not in shapes]:
        first = f"{unknown[0]} of shape {tuple(given[unknown[0]].shape)}"
        raise BadWeights(f"{file}: {len(unknown)} tensors have no place, the first is {first}")
    for name, value in given.items():
        if tuple(value.shape) != shapes[name]:
            raise BadWeights(f"{file}: {name} has shape {tuple(value.shape)}, wanted {shapes[name]}")
        if value.is_floating_point() and not value.isfinite().all():
            raise BadWeights(f"{file}: {name} holds NaN or infinity; the file is damaged")


def _skeleton(asked: str | None, origin: Origin, config: Any, file: Path) -> Skeleton:
    """What the points are called. Raises RequestError where nobody says so, or another number is named."""
    n = config.n_keypoints
    if asked is None:
        found = origin.skeleton(config)
        if found is None:
            raise RequestError(
                f"{file}: has {n} points and does not say what they are called; name a skeleton: --skeleton "
                "coco-17, or a file of names that ends in .toml"
            )
        return found
    found = plain_skeleton(asked)
    if len(found) != n:
        raise RequestError(f"--skeleton {asked}: has {len(found)} points, and {file} has {n}")
    return found


def _listed(names: tuple[str, ...]) -> str:
    return f"{len(names)} tensors, the first {names[0]}" if names else "none"


def _sha256(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
