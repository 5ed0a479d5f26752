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
from asterism.data.frames import find_frames
from asterism.data.gathered import Gathered, gather
from asterism.data.sources import open_data
from asterism.data.subset import Unlabelled
from asterism.engine.bars import bar
from asterism.engine.judge import Verdict, judge
from asterism.engine.lesson import unnamed
from asterism.engine.predict import predict_table
from asterism.engine.runs import Run
from asterism.engine.train import train
from asterism.engine.view import view_of, write_view
from asterism.engine.weights import save_weights
from asterism.errors import RequestError
from asterism.io.keypoints import write_keypoints
from asterism.io.table import KeypointTable
from asterism.methods.base import Trainable
from asterism.types import Clips, LabelledImages

DEFAULT_K = 8
_TRIES = 2


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
) -> dict[str, Any]:
    """Find k keypoints, write the run and keypoints.csv, and report: title, sentences, numbers.

    A method is trained for `minutes`; when points come out dead, collapsed or off the object it is trained
    once more from another seed and the better of the two is kept. Raises RequestError for data or a method
    that cannot be used.
    """
    images = Unlabelled(open_data(data))
    if len(images) < 2:
        raise RequestError(f"{data}: holds {len(images)} picture(s); points are found by comparing pictures")
    with bar("looking"):
        frames = find_frames(images, frame, objects)
    name, why = (method, "asked for") if method else choose_method(images, frames)
    learner = _build(name, frames, k or DEFAULT_K, seed)
    view = view_of(frames, learner.config.input_size)
    folder = Run(run)
    folder.start(_about(data, images, name, learner, view.as_json(), seed, minutes))
    write_view(folder, view)
    in_time = learner.learns_from is Clips
    crops = gather(images, frames, learner.config.input_size, clips=in_time, length=learner.clip_length)
    attempts: list[Attempt] = []
    for turn in range(_TRIES):
        place = folder if turn == 0 else Run(run / f"try{turn + 1}")
        attempts.append(_attempt(learner, crops, images, frames, place, seed + turn, minutes, device))
        if not attempts[-1].verdict.troubles:
            break
        if turn + 1 < _TRIES:
            learner = _build(name, frames, k or DEFAULT_K, seed + turn + 1)
    best = min(range(len(attempts)), key=lambda i: attempts[i].verdict.badness)
    kept = attempts[best]
    if best:
        save_weights(folder.best, kept.method, unnamed(learner.config.n_keypoints), kept.trained)
    for turn in range(1, len(attempts)):
        shutil.rmtree(run / f"try{turn + 1}")
    write_keypoints(run / "keypoints.csv", kept.table)
    report = _report(data, images, frames, name, why, attempts, best)
    folder.log({"report": report})
    return report


def choose_method(images: ImageSet, frames: FrameTable) -> tuple[str, str]:
    """What suits the data, and why."""
    if frames.backgrounds:
        return "video-difference", "the background is still, so what changes can be told from it"
    if images.is_clip:
        return "video-difference", "the camera moves: what changes between two frames is redrawn"
    return "fse-landmarks", "single pictures without a common background: points must follow known warps"


def _build(name: str, frames: FrameTable, k: int, seed: int) -> Trainable:
    cls = method_class(name)
    if not issubclass(cls, Trainable) or issubclass(cls.learns_from, LabelledImages):
        raise RequestError(f"{name} needs labels ({entry(name).learns_from or 'it does not learn'})")
    preset = preset_for(cls, frames)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return cls(replace(cls.presets[preset], n_keypoints=k))


def preset_for(cls: type[Trainable], frames: FrameTable) -> str:
    """A whole picture is larger than an object in it: some methods have a preset for that."""
    return "whole" if frames.kind == "whole" and "whole" in cls.presets else "small"


def _about(
    data: str,
    images: ImageSet,
    name: str,
    learner: Trainable,
    view: dict[str, Any],
    seed: int,
    minutes: float,
) -> dict[str, Any]:
    return {
        "kind": "discover",
        "method": name,
        "config": asdict(learner.config),
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
    name: str,
    why: str,
    attempts: list[Attempt],
    best: int,
) -> dict[str, Any]:
    kept = attempts[best]
    k, n = kept.table.xy.shape[1], int(frames.individual.max()) + 1
    sentences = [
        f"Method: {name} ({why}). Where it looked: {_place(frames)}.",
        *kept.verdict.sentences,
    ]
    for index, attempt in enumerate(attempts[1:], 1):
        troubles = "; ".join(attempts[index - 1].verdict.troubles)
        better = "which is better and was kept" if best == index else "which was no better"
        sentences.append(f"Tried again from seed {attempt.seed} because of {troubles}: {better}.")
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
