"""The user's own points from a few labels on top of a run that discovered points without names."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from asterism.data.base import FrameTable, ImageSet
from asterism.data.crops import Crops, frames_of
from asterism.data.sources import open_data
from asterism.engine.attached import NAME, Attached, AttachedConfig, flattened
from asterism.engine.bars import Progress, bar
from asterism.engine.choice import Choice, challenged, choose
from asterism.engine.expected import report_of
from asterism.engine.fewshot import (
    KEPT,
    LEAST,
    LINEAR,
    PARTS,
    Answers,
    Length,
    Shown,
    held_out,
    judge_refiners,
    learn_refiner,
    linear_ways,
)
from asterism.engine.labels import Relabelled, with_labels
from asterism.engine.lesson import labelled_pictures, mean_shape
from asterism.engine.looks import Looked, look_at
from asterism.engine.refiner import MARGIN, Refiner
from asterism.engine.runs import Run
from asterism.engine.view import View, frames_for, read_view, write_view
from asterism.engine.weights import load_weights, save_weights
from asterism.errors import RequestError
from asterism.geometry import affine
from asterism.io.atomic import write_json
from asterism.io.keypoints import read_keypoints
from asterism.methods.base import Method
from asterism.types import Images

_NEAR = 0.1  # of the object's size: what a score is the share of
_TURNED = 0.5  # of the distance to the usual layout: a row that fits so much better when turned about


def attach(
    run: Path,
    labels: str,
    output: Path,
    *,
    data: str | None = None,
    minutes: float | int | None = 3.0,
    steps: int | None = None,
    seed: int = 0,
    device: str = "auto",
) -> dict[str, Any]:
    """Learn the points of the file `labels` and write the run `output`; report: title, sentences, numbers.

    The labelled pictures are looked for in the run's own data, or in `data`. Up to `minutes` go into
    detectors that look at the picture (0 leaves them out; `steps` counts their updates instead). Nothing is
    written before all is learned. Raises RequestError for a run with named points, for labels that belong to
    other pictures, and where no labelled object is found.
    """
    info, view, method = _discovered(run)
    if Run(output).exists() or (output.is_dir() and any(output.iterdir())):
        raise RequestError(f"{output}: holds a run or other files already; name another folder with -o")
    path = data or info["data"]["path"]
    table = read_keypoints(labels)
    images = with_labels(open_data(path), table, labels)
    with bar("looking"):
        look = look_at(images, view, images.matched, frames_for(images, view))
        look, notes = _found_rows(look, len(table.images) - len(images.matched), view)
        shown = shown_by(method, look, view)
    notes += _backwards_note(shown)
    length = Length(minutes=None if steps else minutes, steps=steps, seed=seed, device=device)
    with bar("learning") as progress:
        learned = learn(shown, length, progress)
    if (steps or minutes) and "detector" not in learned.ways:
        notes.append(f"Fewer than {LEAST} labelled pictures: no detector was tried.")
    choice = learned.choice
    report = report_of(images.title, look.names, shown.labelled, shown.image, choice, notes, seed)
    about = _about(info, run, view, images, look, labels, path, seed, minutes, report)
    _write(output, build(method, shown, learned, look), images, view, about, report)
    return report


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What each way said of pictures that were held out, what was chosen, and the refiner if any point takes
    it."""

    ways: dict[str, Answers]
    choice: Choice
    refiner: Refiner | None


def learn(shown: Shown, length: Length, progress: Progress | None = None) -> Learned:
    """Judge every way, choose, and learn the refiner that is kept. Without any length none is tried."""

    def part(start: float, share: float) -> Progress:
        return lambda done, words: progress(start + share * done, words) if progress is not None else None

    every = np.ones(len(shown.xy), bool)
    linear = linear_ways(shown.turned, len(np.unique(shown.image)))
    ways = {name: held_out(read, shown, every, length.seed) for name, read in linear.items()}
    choice = choose({name: shown.distance(way.xy, way.known) for name, way in ways.items()})
    if (length.steps or length.minutes) and len(np.unique(shown.image)) >= LEAST:
        ways["detector"] = seen = judge_refiners(shown, length, part(0.0, 1 - KEPT))
        halves = {n: held_out(read, shown, every, length.seed, PARTS) for n, read in linear.items()}
        same = {n: shown.distance(way.xy, way.known) for n, way in halves.items()}
        choice = challenged(choice, "detector", shown.distance(seen.xy, seen.known), same)
    refiner = None
    if "detector" in choice.taken:
        refiner = learn_refiner(shown, shown.teaches, length.part(KEPT), part(1 - KEPT, KEPT))
    return Learned(ways=ways, choice=choice, refiner=refiner)


def _discovered(run: Path) -> tuple[dict[str, Any], View, Method]:
    info = Run(run).info()
    if info.get("mean_shape") is not None:
        raise RequestError(
            f"{run}: finds named points already ({info.get('kind')}); attach wants a run whose points have "
            "no names. Make one with: asterism discover DATA -o RUN"
        )
    method, _ = load_weights(run / "best")
    return info, read_view(Run(run)), method


def _found_rows(look: Looked, others: int, view: View) -> tuple[Looked, list[str]]:
    """Rows in which an object stood out, and what the reader must be told."""
    notes = []
    if others:
        notes.append(f"{others} labelled pictures are not among the data and were left out.")
    if look.frames.kind != view.kind:
        notes.append(look.frames.why)
    there = look.frames.found
    if not there.any():
        raise RequestError(f"{look.images.title}: in none of the labelled pictures an object stands out")
    if (lost := int((~there).sum())) > 0:
        notes.append(f"In {lost} labelled rows no object stood out; they were left out.")
        part = {n: getattr(look.labels, n)[there] for n in ("xy", "labelled", "image", "normaliser")}
        look = replace(look, frames=look.frames.rows(there), labels=replace(look.labels, **part))
    return look, notes


# ----------------------------------------------------------------------------------------------- what is seen


def shown_by(method: Method, look: Looked, view: View) -> Shown:
    """The labelled rows as the method sees them. Raises RequestError where the labels lie far off."""
    n, every = len(look.frames), np.arange(len(look.frames))
    source_from_crop = affine.source_from_crop(frames_of(look.frames, every), view.size)
    crop_from_source = affine.inverse(source_from_crop)
    crops = _crops(look.images, look.frames, view.size)
    h, w = view.size
    wide_size = (round(MARGIN * h / 2) * 2, round(MARGIN * w / 2) * 2)
    grown = look.frames.scale * (min(wide_size) / min(view.size))
    wide = _crops(look.images, replace(look.frames, scale=grown), wide_size)
    found = [method.predict(crops[start : start + 32]) for start in range(0, n, 32)]
    points = affine.apply(crop_from_source, torch.cat([part.xy for part in found]).double()).numpy()
    labelled = look.labels.labelled
    xy = affine.apply(crop_from_source, torch.from_numpy(look.labels.xy)).numpy()
    xy = np.where(labelled[..., None], xy, 0.0)
    _check_near(xy, labelled, view.size, look)
    turned = look.frames.kind == "moments"
    return Shown(
        points=points,
        score=torch.cat([part.score for part in found]).double().numpy(),
        xy=xy,
        labelled=labelled,
        image=look.labels.image,
        unit=affine.scale_of(source_from_crop).numpy(),
        teaches=~_backwards(xy, labelled, view.size) if turned else np.ones(n, bool),
        crops=crops,
        wide=wide,
        size=view.size,
        turned=turned,
    )


def _crops(images: ImageSet, frames: FrameTable, size: tuple[int, int]) -> Images:
    cuts = Crops(images, replace(frames, row=np.full(len(frames), -1)), size)
    return Images.cat([cuts[i] for i in range(len(frames))])


def _check_near(
    xy: Float[np.ndarray, "N K 2"], labelled: Bool[np.ndarray, "N K"], size: tuple[int, int], look: Looked
) -> None:
    h, w = size
    inside = ((xy > -w / 2) & (xy < 1.5 * np.array([w, h]))).all(-1) & labelled
    if 2 * inside.sum() >= labelled.sum():
        return
    raise RequestError(
        f"{look.images.title}: {labelled.sum() - inside.sum()} of {labelled.sum()} labelled points lie far "
        "from the object; were these labels made on pictures of another size, or of other pictures?"
    )


def _backwards(
    xy: Float[np.ndarray, "N K 2"], labelled: Bool[np.ndarray, "N K"], size: tuple[int, int]
) -> NDArray[np.bool_]:
    """Rows looked at the wrong way round: turned half about, their labels fit the others' much better."""
    middle = np.array([(size[1] - 1) / 2, (size[0] - 1) / 2])
    usual = np.zeros(xy.shape[1:])
    for k in np.flatnonzero(labelled.any(0)):
        usual[k] = np.median(xy[labelled[:, k], k], axis=0)
    count = np.maximum(labelled.sum(1), 1)
    plain, about = (
        np.where(labelled, np.hypot(*np.moveaxis(each - usual, -1, 0)), 0.0).sum(1) / count
        for each in (xy, 2 * middle - xy)
    )
    wrong = (about < _TURNED * plain) & (labelled.sum(1) >= 2)
    return wrong if 3 * wrong.sum() < len(wrong) else np.zeros(len(wrong), bool)


def _backwards_note(shown: Shown) -> list[str]:
    wrong = int((~shown.teaches).sum())
    if not wrong:
        return []
    return [
        f"In {wrong} labelled rows the object was looked at the wrong way round: nothing was learned from "
        "them, and the expected error counts them, as this will happen in other pictures too."
    ]


# ----------------------------------------------------------------------------------------------- what is kept


def build(method: Method, shown: Shown, learned: Learned, look: Looked) -> Attached:
    """The chosen way of every point, learned from all rows, with what its errors are expected to be."""
    choice, refiner = learned.choice, learned.refiner
    p, k = shown.points.shape[1], shown.xy.shape[1]
    config = AttachedConfig(
        method=method.name,
        inner=method.config,
        n_points=p,
        n_keypoints=k,
        input_size=shown.size,
        refiner=None if refiner is None else refiner.config,
    )
    out = Attached(config)
    out.inner.load_state_dict(method.state_dict())
    if out.refiner is not None and refiner is not None:
        out.refiner.load_state_dict(refiner.state_dict())
    heads = {name: flattened(read(shown, shown.teaches)) for name, read in LINEAR.items()}
    linear = ["head" if name == "detector" else name for name in choice.taken]
    weight = np.stack([heads[name][0][:, :, i] for i, name in enumerate(linear)], axis=2)
    intercept = np.stack([heads[name][1][i] for i, name in enumerate(linear)])
    side = np.where(look.labels.normaliser > 0, look.labels.normaliser, np.inf)[:, None]
    near = choice.error <= _NEAR * side
    values = {
        "weight": weight,
        "intercept": intercept,
        "refined": np.array([name == "detector" for name in choice.taken]),
        "cov": _covariance(shown, choice, learned.ways),
        "near": _share(near, np.isfinite(choice.error) & np.isfinite(side)),
        "usual": np.median(shown.score, axis=0),
    }
    for name, value in values.items():
        getattr(out, name).copy_(torch.from_numpy(value))
    return out.eval()


def _share(near: Bool[np.ndarray, "N K"], asked: Bool[np.ndarray, "N K"]) -> Float[np.ndarray, " K"]:
    """Of each point, beside one picture more that was right: nobody is never right or never wrong."""
    return ((near & asked).sum(0) + 1) / (asked.sum(0) + 1)


def _covariance(shown: Shown, choice: Choice, ways: dict[str, Answers]) -> Float[np.ndarray, "K 2 2"]:
    """Second moments of the held-out errors, in network pixels; those of all points for one that has none."""
    k = shown.xy.shape[1]
    gap = np.stack([ways[name].xy[:, i] - shown.xy[:, i] for i, name in enumerate(choice.taken)], axis=1)
    gap = np.where(np.isfinite(choice.error)[..., None], gap, 0.0)
    count = np.isfinite(choice.error).sum(0)
    own = np.einsum("nki,nkj->kij", gap, gap)
    usual = own.sum(0) / max(int(count.sum()), 1) if count.any() else np.eye(2) * (min(shown.size) / 4) ** 2
    return (own + 2 * usual) / (count + 2)[:, None, None] + 1e-6 * np.eye(2) * np.ones((k, 1, 1))


def _about(
    info: dict[str, Any],
    run: Path,
    view: View,
    images: Relabelled,
    look: Looked,
    labels: str,
    path: str,
    seed: int,
    minutes: float | int | None,
    report: dict[str, Any],
) -> dict[str, Any]:
    """run.json. Pictures that the data's own labels show, and these do not, are left to test on."""
    assert images.table is not None
    own = images.images.table
    rest = np.zeros(0, np.int64)
    if own is not None and own.names == images.table.names:
        rest = np.setdiff1d(labelled_pictures(own), images.matched)
    return {
        "kind": "attach",
        "method": NAME,
        "view": view.as_json(),
        "data": {
            "path": path,
            "fingerprint": images.fingerprint(),
            "pictures": len(images),
            "labels": labels,
        },
        "split": {"train": images.matched.tolist(), "test": rest.tolist()},
        "mean_shape": mean_shape(look.frames, images.table, view.size).tolist(),
        "seed": seed,
        "minutes": minutes,
        "discovered": {"run": str(run), "method": info["method"]},
        "expected": report["numbers"],
    }


def _write(
    output: Path,
    learned: Attached,
    images: Relabelled,
    view: View,
    about: dict[str, Any],
    report: dict[str, Any],
) -> None:
    folder = Run(output)
    folder.start(about)
    write_view(folder, view)
    trained = {"labels": about["data"]["labels"], "seed": about["seed"]}
    save_weights(folder.best, learned, images.skeleton, trained)
    folder.log({"report": report})
    write_json(output / "report.json", report)
