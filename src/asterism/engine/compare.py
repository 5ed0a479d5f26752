"""Several methods on one data set under one protocol: the same pictures, frames, split, minutes and seeds."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from asterism.catalogue import entry
from asterism.data.base import FrameTable, ImageSet
from asterism.data.crops import Crops
from asterism.data.gathered import gather
from asterism.data.sources import open_data
from asterism.data.subset import Unlabelled, thinned
from asterism.engine.arena import Arena, arena_of, controls_of, measure, shown, truth_shown
from asterism.engine.bars import bar
from asterism.engine.batches import Samples
from asterism.engine.discover import DEFAULT_K, preset_for
from asterism.engine.lesson import mean_shape, trainable, unnamed
from asterism.engine.runs import Run
from asterism.engine.scoreboard import Entrant, as_csv, row_of, verdict
from asterism.engine.train import train
from asterism.engine.view import View, write_view
from asterism.engine.weights import load_weights, read_about
from asterism.errors import AsterismError, RequestError
from asterism.io.atomic import write_json, write_text
from asterism.methods.base import Method, Trainable
from asterism.types import Clips, LabelledImages, LabelledPeople, Recipe, Skeleton

_SETTINGS = ("method", "preset", "config", "recipe", "minutes", "steps", "seed", "view", "data", "split")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One method from one seed, and where it is kept. `about` is what run.json will say."""

    cls: type[Trainable]
    config: Any
    recipe: Recipe
    seed: int
    minutes: float | int | None
    steps: int | None
    view: View
    skeleton: Skeleton
    run: Run
    about: dict[str, Any]

    @property
    def with_labels(self) -> bool:
        return self.cls.learns_from is LabelledImages

    def built(self) -> Trainable:
        """The network before it learns."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return self.cls(self.config)

    def finished(self) -> bool:
        if not self.run.best.exists():
            return False
        trained = read_about(self.run.best)["trained"]
        if self.minutes is None:
            return trained["steps"] >= self.steps
        return trained["seconds"] >= 60 * self.minutes


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """`answer` for JSON: title, sentences, protocol, rows. `shown`: the pictures of `frames` with the points
    of each entrant (its first seed), N P 2 in source pixels."""

    answer: dict[str, Any]
    images: ImageSet
    frames: FrameTable
    shown: dict[str, NDArray[np.float64]] = field(default_factory=dict)


def compare(
    data: str,
    methods: Sequence[str],
    folder: Path,
    *,
    minutes: float | int | None = None,
    steps: int | None = None,
    k: int | None = None,
    seeds: Sequence[int] = (0,),
    frame: str = "auto",
    objects: int | None = None,
    preset: str | None = None,
    device: str = "auto",
) -> Comparison:
    """Train each method from each seed, measure all on the same test pictures, and name the best in words.

    Runs are kept in folder/METHOD-sSEED; those that are there with the same settings are used, and gone on
    with where they were interrupted. folder/compare.csv and compare.json hold the table. A method that fails
    is a row with the reason. Raises RequestError, before anything is written, for data or methods that
    cannot be used, and for runs in the folder that were made otherwise.
    """
    if (minutes is None) == (steps is None):
        raise RequestError("compare: give minutes or steps, one of them")
    if not methods or not seeds or len(set(methods)) < len(methods) or len(set(seeds)) < len(seeds):
        raise RequestError("compare: wanted at least one method and one seed, and each of them once")
    for name in methods:
        if trainable(name, preset or "small").learns_from is LabelledPeople:
            raise RequestError(
                f"compare: {name} finds several people in one look and has no points to set beside the "
                f"others'; train {name} and evaluate it, or leave it out"
            )
    images = open_data(data)
    with bar("looking"):
        arena = arena_of(images, frame, objects, device)
    length = {"minutes": minutes, "steps": steps}
    plans = {
        name: [_plan(arena, data, name, folder, k or DEFAULT_K, seed, preset, length) for seed in seeds]
        for name in methods
        if images.table is not None or entry(name).learns_from != "LabelledImages"
    }
    _check_runs([plan for own in plans.values() for plan in own])
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {} if images.table is None else {"labels": truth_shown(arena)}
    entrants = [_entrant(arena, name, plans.get(name), drawn) for name in methods]
    untrained = {name: own[0].built() for name, own in plans.items() if not own[0].with_labels}
    with bar("controls"):
        entrants += controls_of(arena, untrained, drawn)
    answer = _answer(arena, data, folder, length, seeds, entrants)
    write_json(folder / "compare.json", answer)
    write_text(folder / "compare.csv", as_csv(answer["rows"]))
    return Comparison(answer=answer, images=arena.images, frames=arena.exhibits, shown=drawn)


# ------------------------------------------------------------------------------------------------- training


def _plan(
    arena: Arena,
    data: str,
    name: str,
    folder: Path,
    k: int,
    seed: int,
    preset: str | None,
    length: Mapping[str, Any],
) -> Plan:
    chosen = preset or preset_for(trainable(name, preset or "small"), arena.frames)
    cls, table, images = trainable(name, chosen), arena.images.table, arena.images
    named = images.skeleton if cls.learns_from is LabelledImages else None
    skeleton = named or unnamed(k)
    config, recipe = replace(cls.presets[chosen], n_keypoints=len(skeleton)), cls.recipe_of(chosen)
    view = replace(arena.view, size=config.input_size)
    mean = None
    if named is not None and arena.ground is not None and table is not None:
        mean = mean_shape(arena.ground.learn.frames, table, view.size).tolist()
    about = {
        "kind": "compare",
        "method": name,
        "preset": chosen,
        "seed": seed,
        **length,
        "frame": arena.view.kind,
        "objects": arena.view.memory.objects,
        "recipe": asdict(recipe),
        "config": asdict(config),
        "view": {**view.as_json(), "why": arena.frames.why},
        "data": {"path": data, "fingerprint": images.fingerprint(), "pictures": len(images)},
        "split": {"train": arena.parts.train.tolist(), "test": arena.parts.test.tolist()},
        "mean_shape": mean,
    }
    return Plan(
        cls=cls,
        config=config,
        recipe=recipe,
        seed=seed,
        minutes=length["minutes"],
        steps=length["steps"],
        view=view,
        skeleton=skeleton,
        run=Run(folder / f"{name}-s{seed}"),
        about=json.loads(json.dumps(about)),
    )


def _check_runs(plans: Sequence[Plan]) -> None:
    """Raises RequestError for runs that are in the way: made with other settings than is asked for now."""
    for plan in plans:
        if not plan.run.exists():
            if plan.run.folder.exists() and any(plan.run.folder.iterdir()):
                raise RequestError(
                    f"{plan.run.folder}: is no run, and not empty; name another folder with -o"
                )
            continue
        there, asked = _settings(plan.run.info()), _settings(plan.about)
        other = [key for key in _SETTINGS if there[key] != asked[key]]
        if other:
            raise RequestError(
                f"{plan.run.folder}: was made otherwise ({', '.join(other)}); name another folder with -o, "
                "or ask for the same again"
            )


def _settings(about: Mapping[str, Any]) -> dict[str, Any]:
    """What must be the same for a run to be the one asked for: no words, nor the path to the same data."""
    found = {key: about.get(key) for key in _SETTINGS}
    view, data = about.get("view") or {}, about.get("data") or {}
    return found | {"view": {**view, "why": ""}, "data": data.get("fingerprint")}


def _entrant(
    arena: Arena, name: str, plans: Sequence[Plan] | None, drawn: dict[str, NDArray[np.float64]]
) -> Entrant:
    """All seeds of a method, trained and measured; what fails is told in `remark` and stops no other."""
    if plans is None:
        why = "learns from labels, and these data have none"
        return Entrant(name=name, kind="method", learns_from="labels", seeds=(), measured=(), remark=why)
    measured, seeds, remarks = [], [], []
    for plan in plans:
        try:
            method, trained = _trained(arena, plan)
            with bar(f"measuring {name} (seed {plan.seed})"):
                measured.append(measure(method, arena, trained))
                seeds.append(plan.seed)
                if name not in drawn:
                    drawn[name] = shown(method, arena)
        except Exception as error:  # whatever a method does, the others are compared
            words = str(error) if isinstance(error, AsterismError) else f"{type(error).__name__}: {error}"
            remarks.append(f"seed {plan.seed} failed: {words}")
    return Entrant(
        name=name,
        kind="method",
        learns_from="labels" if plans[0].with_labels else "no labels",
        seeds=tuple(seeds),
        measured=tuple(measured),
        remark="; ".join(remarks),
    )


def _trained(arena: Arena, plan: Plan) -> tuple[Method, dict[str, Any]]:
    """The method with its best weights, and how it came by them; a run that is there is not begun again.

    What is measured is what was written: asked again, the table is the same to the last digit.
    """
    again = plan.run.exists()
    if not again:
        plan.run.start(plan.about)
        write_view(plan.run, plan.view)
    if not plan.finished():
        with bar(f"{plan.cls.name} (seed {plan.seed})") as progress:
            train(
                plan.built(),
                _samples(arena, plan),
                plan.run,
                seed=plan.seed,
                steps=plan.steps,
                minutes=plan.minutes,
                recipe=plan.recipe,
                skeleton=plan.skeleton,
                device=arena.device,
                resume=again,
                progress=progress,
            )
    return load_weights(plan.run.best)[0], read_about(plan.run.best)["trained"]


def _samples(arena: Arena, plan: Plan) -> Samples:
    """Every picture that is not kept back to test on, with its labels or without."""
    test = arena.parts.test
    if plan.with_labels:
        assert arena.ground is not None
        frames = thinned(arena.images, arena.ground.learn.frames)
        return Crops(arena.images, frames, plan.view.size, plan.recipe.augment, plan.seed)
    frames = arena.frames.rows(~np.isin(arena.frames.image, test))
    clips = plan.cls.learns_from is Clips
    blind = Unlabelled(arena.images)
    return gather(blind, frames, plan.view.size, clips=clips, length=plan.cls.clip_length)


# --------------------------------------------------------------------------------------------------- answer


def _answer(
    arena: Arena,
    data: str,
    folder: Path,
    length: Mapping[str, Any],
    seeds: Sequence[int],
    entrants: Sequence[Entrant],
) -> dict[str, Any]:
    methods = [e.name for e in entrants if e.kind == "method"]
    failed = [f"{e.name}: {e.remark}." for e in entrants if e.remark]
    return {
        "title": f"{len(methods)} methods on {data}",
        "sentences": [
            *_doubts(arena),
            *verdict(entrants, arena.tested),
            *failed,
            *_protocol_in_words(arena, length, seeds),
        ],
        "protocol": {
            "data": data,
            "fingerprint": arena.images.fingerprint(),
            "frame": arena.frames.kind,
            "why": arena.frames.why,
            **length,
            "seeds": list(seeds),
            "train_pictures": len(arena.parts.train),
            "test_pictures": len(arena.parts.test),
            "labels": None if arena.labels is None else int(arena.labels[0].labelled.any(1).sum()),
        },
        "rows": [row_of(entrant, arena.tested) for entrant in entrants],
        "runs": {
            e.name: [str(folder / f"{e.name}-s{seed}") for seed in e.seeds] for e in entrants if e.seeds
        },
    }


def _protocol_in_words(arena: Arena, length: Mapping[str, Any], seeds: Sequence[int]) -> list[str]:
    minutes, steps = length["minutes"], length["steps"]
    how_long = f"{minutes:g} minutes" if minutes is not None else f"{steps} steps"
    kept = len(arena.parts.test)
    told = [
        f"Each method learned for {how_long} per seed, looking at the pictures in the same frames "
        f"({arena.frames.kind}: {arena.frames.why}); {kept} of {len(arena.images)} pictures were kept back, "
        "the same for all, and everything is measured on these."
    ]
    if arena.labels is None:
        told.append("The data have no labels, so the table has only what can be measured without.")
    else:
        n = int(arena.labels[0].labelled.any(1).sum())
        told.append(
            "Points without names go through the strict linear head, which learned from the labels of "
            f"{n} training rows; methods that learn from labels saw the same ones, and need no head."
        )
    if arena.images.is_clip or arena.images.scenes_are_clips:
        told.append("The pictures kept back come from the same clips as the others: new clips are harder.")
    if len(seeds) == 1:
        told.append("One seed: how much training itself varies is not known; try --seeds 0 1 2.")
    return told


def _doubts(arena: Arena) -> list[str]:
    """What may be wrong with the frames that all looked through: bad ones make every method look bad."""
    told, table, seen = [], arena.images.table, arena.frames.objects
    if table is not None:
        labelled = int(np.bincount(table.image[table.labelled.any(1)]).max())
        if seen is not None and seen != labelled:
            told.append(
                f"WRONG FRAMES? {seen} moving objects were counted, the labels know {labelled} in a picture: "
                f"try --objects {labelled}, or --frame whole."
            )
        elif arena.frames.kind == "whole" and labelled > 1:
            told.append(
                f"WRONG FRAMES? Up to {labelled} objects are labelled in a picture, and whole pictures were "
                "looked at: points cannot tell the objects apart; try --frame boxes or --frame moments."
            )
    doubtful = float(np.mean(arena.frames.doubt > 0.5))
    if doubtful > 0.1:
        told.append(f"In {doubtful:.0%} of the frames front and back are in doubt.")
    return told
