"""Keypoints from a clip or a folder without labels: choose the method for the data, train it, judge it, and
try again where the points are bad."""

import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asterism.catalogue import entry, method_class
from asterism.data.base import FrameTable, ImageSet
from asterism.data.foreground import otsu
from asterism.data.frames import find_frames
from asterism.data.gathered import Gathered, gather
from asterism.data.sources import open_data
from asterism.data.subset import Unlabelled
from asterism.engine.bars import bar
from asterism.engine.judge import Verdict, judge, objects_of
from asterism.engine.lesson import unnamed
from asterism.engine.predict import predict_table
from asterism.engine.runs import Run
from asterism.engine.train import train
from asterism.engine.view import view_of, write_view
from asterism.engine.weights import save_weights
from asterism.errors import RequestError
from asterism.geometry import affine
from asterism.io.keypoints import FORMATS, check_format, write_keypoints
from asterism.io.table import KeypointTable
from asterism.methods.base import Trainable
from asterism.metrics.health import points_to_cover
from asterism.types import Clips, LabelledImages, LabelledPeople

DEFAULT_K = 8
_TRIES = 2
_FIRST = 0.6  # of the minutes: the rest is for a second try, where the first has troubles
_LEAST_K, _MOST_K = 4, 16
_COUNTED = 24  # crops in which is counted how many points cover the object

# What the data are like -> the method that suits them, and why. find_frames has looked before.
METHODS = {
    "still": ("video-difference", "the background is still, so what changes can be told from it"),
    "held": (
        "video-difference",
        "the camera moves, and held against the scene it saw, what changes can be told from it",
    ),
    "moving": ("video-difference", "the camera moves: what changes between two frames is redrawn"),
    "pictures": (
        "fse-landmarks",
        "single pictures without a common background: points must follow known warps",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One training and what came of it."""

    method: Trainable
    seed: int
    table: KeypointTable
    verdict: Verdict
    trained: dict[str, Any]


def discover(
    data: str,
    k: int | None,
    run: Path,
    *,
    minutes: float = 4.0,
    method: str | None = None,
    objects: int | None = None,
    frame: str = "auto",
    seed: int = 0,
    device: str = "auto",
    format: str | None = None,
) -> dict[str, Any]:
    """Find k keypoints, write the run and keypoints.csv, and report: title, sentences, numbers.

    All training together takes `minutes`: most of them for a first try; when its points come out dead,
    collapsed or off the object, the rest for a second one from another seed, and the better of the two is
    kept. Without k there are as many points as cover the object. `format` asks for a second file of
    keypoints in one of io.keypoints.FORMATS. Raises RequestError for data, a method or a format that cannot
    be used.
    """
    extra = None if format is None else run / f"keypoints-{format}{FORMATS.get(format, '')}"
    if extra is not None:
        check_format(extra, format)
    if method is not None:
        _class(method)
    images = Unlabelled(open_data(data))
    if len(images) < 2:
        raise RequestError(f"{data}: holds {len(images)} picture(s); points are found by comparing pictures")
    with bar("looking"):
        frames = find_frames(images, frame, objects)
    name, why = (method, "asked for") if method else choose_method(images, frames)
    cls = _class(name)
    size = cls.presets[preset_for(cls, frames)].input_size
    crops = gather(images, frames, size, clips=cls.learns_from is Clips, length=cls.clip_length)
    k, why_k = (k, "") if k else choose_k(crops, frames)
    view, folder = view_of(frames, size), Run(run)
    config = replace(cls.presets[preset_for(cls, frames)], n_keypoints=k)
    folder.start(_about(data, images, name, config, view.as_json(), seed, minutes))
    write_view(folder, view)
    attempts = _attempts(cls, config, crops, images, frames, folder, seed, minutes, device)
    best = min(range(len(attempts)), key=lambda i: attempts[i].verdict.badness)
    kept = attempts[best]
    if best:
        save_weights(folder.best, kept.method, unnamed(k), kept.trained)
    for turn in range(1, len(attempts)):
        shutil.rmtree(run / f"try{turn + 1}")
    write_keypoints(run / "keypoints.csv", kept.table)
    if extra is not None:
        write_keypoints(extra, kept.table, format)
    report = _report(data, images, frames, (name, why, why_k), attempts, best, minutes)
    folder.log({"report": report})
    return report


def choose_method(images: ImageSet, frames: FrameTable) -> tuple[str, str]:
    """What suits the data, and why."""
    if frames.backgrounds:
        return METHODS["still" if frames.placed is None else "held"]
    return METHODS["moving" if images.is_clip else "pictures"]


def choose_k(crops: Gathered, frames: FrameTable) -> tuple[int, str]:
    """How many points cover the object, as metrics.health measures it, and that in words.

    Counted in what differs from the background in an object's own frame; else there are the usual 8.
    """
    if crops.change is None or frames.kind != "moments":
        return DEFAULT_K, f"{DEFAULT_K} points, as usual: no object's shape is known here"
    which = np.unique(np.linspace(0, len(crops) - 1, _COUNTED).round().astype(int))
    seen = crops.images(which)
    assert seen.change is not None
    change = seen.change[:, 0].numpy() * 255
    level = otsu(change) / 2  # limbs differ less than the trunk
    size = objects_of(frames, crops.rows[which]).size / affine.scale_of(seen.to_source).numpy()
    needed = [points_to_cover(one > level, float(s)) for one, s in zip(change, size)]
    k = int(np.clip(np.median(needed), _LEAST_K, _MOST_K))
    return k, f"{k} points: so many cover what moves, to within 0.15 of its length"


def _attempts(
    cls: type[Trainable],
    config: Any,
    crops: Gathered,
    images: ImageSet,
    frames: FrameTable,
    folder: Run,
    seed: int,
    minutes: float,
    device: str,
) -> list[Attempt]:
    """One try, or two where the first has troubles; together they train for `minutes` at most."""
    attempts: list[Attempt] = []
    left = minutes
    for turn in range(_TRIES):
        learner = _built(cls, config, seed + turn)
        place = folder if turn == 0 else Run(folder.folder / f"try{turn + 1}")
        share = _FIRST * minutes if turn + 1 < _TRIES else left
        attempts.append(_attempt(learner, crops, images, frames, place, seed + turn, share, device))
        left -= attempts[-1].trained["seconds"] / 60
        if not attempts[-1].verdict.troubles or left <= 0:
            break
    return attempts


def _class(name: str) -> type[Trainable]:
    cls = method_class(name)
    if not issubclass(cls, Trainable) or issubclass(cls.learns_from, LabelledImages | LabelledPeople):
        raise RequestError(f"{name} needs labels ({entry(name).learns_from or 'it does not learn'})")
    return cls


def _built(cls: type[Trainable], config: Any, seed: int) -> Trainable:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return cls(config)


def preset_for(cls: type[Trainable], frames: FrameTable) -> str:
    """A whole picture is larger than an object in it: some methods have a preset for that."""
    return "whole" if frames.kind == "whole" and "whole" in cls.presets else "small"


def _about(
    data: str,
    images: ImageSet,
    name: str,
    config: Any,
    view: dict[str, Any],
    seed: int,
    minutes: float,
) -> dict[str, Any]:
    return {
        "kind": "discover",
        "method": name,
        "config": asdict(config),
        "view": view,
        "data": {"path": data, "fingerprint": images.fingerprint(), "pictures": len(images)},
        "split": None,
        "mean_shape": None,
        "seed": seed,
        "minutes": minutes,
    }


def _attempt(
    learner: Trainable,
    crops: Gathered,
    images: ImageSet,
    frames: FrameTable,
    place: Run,
    seed: int,
    minutes: float,
    device: str,
) -> Attempt:
    """Train, place the points in every picture, judge them."""
    skeleton = unnamed(learner.config.n_keypoints)
    with bar(f"learning (seed {seed})") as progress:
        trained = train(
            learner,
            crops,
            place,
            seed=seed,
            minutes=minutes,
            recipe=learner.recipe_of(preset_for(type(learner), frames)),
            skeleton=skeleton,
            device=device,
            progress=progress,
        )
    with bar("placing points") as progress:
        size = learner.config.input_size
        table = predict_table(learner, skeleton, images, frames, size, device=device, progress=progress)
    verdict = judge(learner, images, frames, crops, table)
    trained = {**trained, "seed": seed}
    return Attempt(method=learner, seed=seed, table=table, verdict=verdict, trained=trained)


def _report(
    data: str,
    images: ImageSet,
    frames: FrameTable,
    chosen: tuple[str, str, str],
    attempts: list[Attempt],
    best: int,
    minutes: float,
) -> dict[str, Any]:
    name, why, why_k = chosen
    kept = attempts[best]
    k, n = kept.table.xy.shape[1], int(frames.individual.max()) + 1
    sentences = [
        f"Method: {name} ({why}). Where it looked: {_place(frames)}.",
        *([f"{why_k[0].upper()}{why_k[1:]}."] if why_k else []),
        *kept.verdict.sentences,
    ]
    for index, attempt in enumerate(attempts[1:], 1):
        troubles = "; ".join(attempts[index - 1].verdict.troubles)
        better = "which is better and was kept" if best == index else "which was no better"
        sentences.append(f"Tried again from seed {attempt.seed} because of {troubles}: {better}.")
    used = sum(attempt.trained["seconds"] for attempt in attempts) / 60
    early = "; there was no trouble that a second try might cure" if len(attempts) == 1 else ""
    sentences.append(f"It learned for {used:.2g} of {minutes:g} minutes{early}.")
    lost = float(np.mean(~frames.found))
    if lost:
        sentences.append(f"In {lost:.1%} of the frames no object stood out; their points are left empty.")
    sentences.append(
        "No label was used: what the points are called is for you to say, and these numbers tell whether "
        "they are steady, not whether they are the anatomy you have in mind."
    )
    return {
        "title": f"{k} keypoints on {n} object{'s' if n > 1 else ''} in {len(images)} pictures of {data}",
        "sentences": sentences,
        "numbers": {
            "method": name,
            "frame": frames.kind,
            "objects": n,
            "pictures": len(images),
            "keypoints": k,
            "tries": [{"badness": a.verdict.badness, **a.trained} for a in attempts],
            **kept.verdict.numbers,
        },
    }


def _place(frames: FrameTable) -> str:
    words = {
        "whole": "the whole picture",
        "moments": "each object's own frame",
        "boxes": "the labelled boxes",
    }
    doubtful = float(np.mean(frames.doubt > 0.5))
    doubt = (
        f"; in {doubtful:.0%} of the frames front and back are in doubt" if frames.kind == "moments" else ""
    )
    return f"{words[frames.kind]} ({frames.why}{doubt})"
