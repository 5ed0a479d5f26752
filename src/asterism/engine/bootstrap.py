"""multiview-bootstrap: a few labels, several calibrated cameras, and a detector that teaches itself.

A point that is hidden or mistaken in one camera is seen in others. A detector learned from a few labels looks
at every camera's pictures; where at least three cameras agree on a point in space it is projected into all of
them, also into those that missed it, and the detector learns from these labels too. Again and again.

Tomas Simon, Hanbyul Joo, Iain Matthews, Yaser Sheikh, Hand Keypoint Detection in Single Images using
Multiview Bootstrapping, CVPR 2017, https://arxiv.org/abs/1704.07809.

    detection in all views           -> detected
    robust triangulation             -> geometry.triangulation.triangulate, through relabel.agree
    scoring, best frame per window   -> relabel.agree, relabel.best_of_windows
    reprojected labels               -> relabel.table_of
    retraining, rounds               -> learn, bootstrap

Departs from the paper:
- every pair of views is tried instead of a random sample: the result is the same each time, and with tens of
  cameras there are few pairs.
- each point is triangulated alone (the authors take a finger at a time), and nobody looks through the chosen
  frames; instead half of the views that are sure of a point must agree on it, and a share of a frame's points
  must be accepted.
- an inlier lies within four pixels of the network's input, told in source pixels, so that the rule does not
  change with the size of the pictures.
- a round goes on from the weights of the round before; the labels made by hand stay in every round.
- one individual at a time. Any detector that learns from labels will do; the authors' is a convolutional pose
  machine.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from asterism.data.base import FrameTable
from asterism.data.crops import Crops, frames_of
from asterism.data.frames import find_frames
from asterism.data.multiview import MultiView
from asterism.data.subset import Unlabelled
from asterism.data.tables import skeleton_of, take_pictures
from asterism.engine.bars import bar
from asterism.engine.held import held
from asterism.engine.labels import Relabelled
from asterism.engine.lesson import mean_shape, trainable
from asterism.engine.predict import keypoints
from asterism.engine.relabel import Agreed, Rule, agree, table_of, with_own
from asterism.engine.runs import Run
from asterism.engine.train import train
from asterism.engine.view import View, view_of, write_view
from asterism.engine.weights import load_tensors
from asterism.errors import RequestError
from asterism.geometry import affine
from asterism.io.atomic import write_json
from asterism.io.keypoints import write_keypoints
from asterism.io.table import KeypointTable
from asterism.methods.base import Method, Trainable
from asterism.types import LabelledImages

INLIER = 4.0  # network pixels


@dataclass(frozen=True, kw_only=True)
class Teaching:
    """How long and with what each round learns: `minutes`, or `steps`, of training per round."""

    method: str = "stacked-hourglass"
    preset: str = "fast"
    minutes: float | int | None = 2.0
    steps: int | None = None
    seed: int = 0
    frame: str = "auto"
    device: str = "auto"


@dataclass(frozen=True, kw_only=True)
class Ground:
    """The pictures of all views, one frame in each, and how a run looks at them."""

    images: MultiView
    frames: FrameTable  # row i is of picture i
    view: View


def bootstrap(
    images: MultiView,
    labels: KeypointTable,
    output: Path,
    *,
    rounds: int = 2,
    rule: Rule | None = None,
    teaching: Teaching | None = None,
) -> dict[str, Any]:
    """Learn from `labels`, then `rounds` times from what the views agree on; a report like attach's.

    `labels` name points in pictures of `images`. Writes output/round-0, round-1, ..., each a run, the labels
    that round i learned from beside them (labels-i.csv), and report.json. Raises RequestError for a method
    that does not learn from labels, several individuals, and when no moment is agreed on.
    """
    teaching = teaching or Teaching()
    if rounds < 1:
        raise RequestError(f"rounds={rounds}: wanted 1 or more; without any, use train")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise RequestError(f"{output}: holds other files already; name another folder with -o")
    if len(np.unique(labels.image)) < len(labels):
        raise RequestError(f"{labels.source}: a picture has several individuals; wanted one at a time")
    cls = trainable(teaching.method, teaching.preset)
    if cls.learns_from is not LabelledImages:
        raise RequestError(f"{cls.name} does not learn from labels of single pictures; see: asterism methods")
    with bar("looking"):
        ground = look(images, cls.presets[teaching.preset].input_size, teaching.frame)
    rule = rule or Rule()
    rule = replace(rule, inlier=rule.inlier or INLIER * _pixel(ground))
    names = tuple(images.name(i) for i in range(len(images)))
    known, before, lines = labels, None, []
    for turn, run in enumerate(Run(output / f"round-{i}") for i in range(rounds + 1)):
        method = learn(cls, ground, known, run, teaching, before)
        with bar(f"round {turn}: looking from all sides"):
            seen = agree(images.cameras, *detected(method, ground, teaching.device), images.sizes(), rule)
        lines.append({"round": turn, "pictures": len(np.unique(known.image)), **seen.numbers()})
        before = run
        if turn == rounds:
            break
        known = taught(seen, labels, names, ground, rule)
        write_keypoints(output / f"labels-{turn + 1}.csv", take_pictures(known, np.unique(known.image)))
    report = report_of(images, labels, lines, rule, output)
    write_json(output / "report.json", report)
    return report


def look(images: MultiView, size: tuple[int, int], frame: str) -> Ground:
    """The frames, found without any label. Raises RequestError unless there is one in every picture."""
    images = MultiView([held(Unlabelled(view)) for view in images.views], images.cameras)
    frames = find_frames(images, frame, objects=None if frame == "whole" else 1)
    frames = frames.rows(np.argsort(frames.image, kind="stable"))
    if not np.array_equal(frames.image, np.arange(len(images))):
        raise RequestError(f"{images.title}: wanted one individual in every picture; try --frame whole")
    return Ground(images=images, frames=frames, view=view_of(frames, size))


def _pixel(ground: Ground) -> float:
    """Source pixels per network pixel, the median over all frames."""
    every = frames_of(ground.frames, np.arange(len(ground.frames)))
    return float(affine.scale_of(affine.source_from_crop(every, ground.view.size)).median())


def learn(
    cls: type[Trainable],
    ground: Ground,
    labels: KeypointTable,
    run: Run,
    teaching: Teaching,
    before: Run | None,
) -> Method:
    """One run on these labels, from the weights of `before` or from the beginning."""
    images = Relabelled(ground.images, labels, np.unique(labels.image))
    row = np.full(len(ground.frames), -1)
    row[labels.image] = np.arange(len(labels))
    frames = replace(ground.frames, row=row).rows(row >= 0)
    config = replace(cls.presets[teaching.preset], n_keypoints=len(labels.names))
    recipe = cls.recipe_of(teaching.preset)
    recipe = replace(recipe, steps=teaching.steps or recipe.steps)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(teaching.seed)
        method = cls(config)
    if before is not None:
        load_tensors(before.best, method)
    run.start(
        {
            "kind": "bootstrap",
            **asdict(teaching),
            "objects": 1,
            "recipe": asdict(recipe),
            "config": asdict(config),
            "view": {**ground.view.as_json(), "why": frames.why},
            "data": {
                "path": ground.images.title,
                "fingerprint": ground.images.fingerprint(),
                "pictures": len(ground.images),
            },
            "split": {"train": images.matched.tolist(), "test": []},
            "trained_frames": len(frames),
            "mean_shape": mean_shape(frames, labels, ground.view.size).tolist(),
        }
    )
    write_view(run, ground.view)
    with bar(f"{run.folder.name}: {len(frames)} pictures") as progress:
        train(
            method,
            Crops(images, frames, ground.view.size, recipe.augment, teaching.seed),
            run,
            seed=teaching.seed,
            steps=teaching.steps,
            minutes=None if teaching.steps else teaching.minutes,
            recipe=recipe,
            skeleton=images.skeleton,
            device=teaching.device,
            progress=progress,
        )
    return method.eval()


def detected(
    method: Method, ground: Ground, device: str
) -> tuple[Float[Tensor, "T V K 2"], Float[Tensor, "T V K"]]:
    """What the method finds in every picture, and its scores; nothing where no object stood out."""
    places, scores = [], []
    every = np.arange(ground.images.moments)
    for v, view in enumerate(ground.images.views):  # a video is decoded in one pass
        frames = replace(ground.frames.rows(v * len(every) + every), image=every)
        xy, score = keypoints(method, view, frames, ground.view.size, device=device)
        places.append(torch.from_numpy(xy))
        scores.append(torch.from_numpy(np.where(frames.found[:, None], score, 0.0)))
    return torch.stack(places, dim=1), torch.stack(scores, dim=1)


def taught(
    seen: Agreed, labels: KeypointTable, names: tuple[str, ...], ground: Ground, rule: Rule
) -> KeypointTable:
    """What the next round learns from. Raises RequestError when the views agree on no moment."""
    if not len(seen.chosen):
        share = float(seen.points.valid.double().mean())
        raise RequestError(
            f"{ground.images.title}: in no moment {rule.least_points:.0%} of the points were agreed on by "
            f"{rule.least_views} views within {rule.inlier or 0:.3g} pixels ({share:.0%} of all points). "
            "Label more pictures, train longer, allow more pixels; are the cameras those of the inputs?"
        )
    return with_own(labels, table_of(seen, names, skeleton_of(labels)))


def report_of(
    images: MultiView, labels: KeypointTable, lines: list[dict[str, Any]], rule: Rule, output: Path
) -> dict[str, Any]:
    """Title, sentences and numbers."""
    best = str(output / f"round-{lines[-1]['round']}")
    return {
        "title": f"{images.title}, {len(np.unique(labels.image))} labelled pictures",
        "sentences": list(_sentences(lines, rule)),
        "numbers": {
            "rounds": lines,
            "rule": asdict(rule),
            "best": best,
        },
    }


def _sentences(lines: list[dict[str, Any]], rule: Rule) -> Iterator[str]:
    within = f"{rule.least_views} views agree within {rule.inlier or 0:.3g} pixels"
    yield f"A point is accepted where at least {within}."
    for line in lines:
        yield (
            f"Round {line['round']} learned from {line['pictures']} pictures: {line['accepted']:.0%} of all "
            f"points accepted, by {line['views_per_point']:.1f} views each, {line['reprojection_px']:.2g} "
            "pixels from where they were seen."
        )
    yield "Views can agree on a mistake that all of them make: look at the new labels before you trust them."
