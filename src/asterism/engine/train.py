"""Training: of a method on samples (train), and of a method named by the user on data named by the user."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from asterism.data.base import ImageSet
from asterism.data.crops import Crops
from asterism.data.gathered import Gathered, gather
from asterism.data.people import People
from asterism.data.sources import open_data
from asterism.engine.bars import Progress, bar
from asterism.engine.batches import Samples, stream
from asterism.engine.cloud_lesson import learns_from_clouds, train_on_clouds
from asterism.engine.interrupt import interruptible
from asterism.engine.lesson import Lesson, lesson_of, trainable
from asterism.engine.loop import Loop
from asterism.engine.optim import forward_in_bfloat16, has_bfloat16
from asterism.engine.runs import Run
from asterism.engine.team import leads, pick_device, team
from asterism.engine.view import View, write_view
from asterism.errors import RequestError
from asterism.methods.base import Trainable
from asterism.types import Clips, LabelledPeople, Recipe, Skeleton


def train(
    method: Trainable,
    samples: Samples,
    run: Run,
    *,
    seed: int = 0,
    steps: int | None = None,
    minutes: float | None = None,
    recipe: Recipe | None = None,
    skeleton: Skeleton | None = None,
    device: str = "auto",
    resume: bool = False,
    validate: Callable[[Trainable], float] | None = None,
    progress: Progress | None = None,
    save_seconds: float = 60.0,
) -> dict[str, Any]:
    """Train `method` in place, leave it with the weights of run/best, and say in numbers what happened.

    The run lasts `minutes`, or `steps`, or the recipe's steps. run/last holds the newest weights and the
    optimisers' state; run/best the averaged weights: those with the lowest `validate`, or the newest.
    Raises AsterismError, naming the term, when the loss is no number; KeyboardInterrupt after saving.
    """
    if not len(samples):
        raise RequestError(
            "there is nothing to learn from: no picture with a frame and, where wanted, labels"
        )
    run.folder.mkdir(parents=True, exist_ok=True)
    recipe = recipe or method.recipe
    where = pick_device(device)
    method = channels_last(method.to(where).train())
    with (
        team(where) as processes,
        interruptible() as asked,
        torch.random.fork_rng(devices=[where] if where.type == "cuda" else []),
        forward_in_bfloat16(method, where.type) if has_bfloat16(where) else nullcontext(),
    ):
        loop = Loop(
            method=method,
            recipe=recipe,
            run=run,
            team=processes,
            seed=seed,
            steps=steps or recipe.steps,
            minutes=minutes,
            skeleton=skeleton,
            validate=validate,
            asked=asked,
            progress=progress,
            save_seconds=save_seconds,
        )
        if resume:
            loop.restore()
        processes.follow(method)
        threads = 1 if where.type == "cpu" else 8
        place = (processes.rank, processes.world)
        with closing(stream(samples, loop.step, recipe.batch_size, seed, *place, threads)) as batches:
            loop.go(batches, where)
    return {"steps": loop.step, "seconds": loop.seconds(), "samples": len(samples), **loop.terms}


def channels_last(method: Trainable) -> Trainable:
    """Convolutions in the layout that is 1.4 times as fast on a CPU, and that tensor cores want."""
    for parameter in method.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return method


def train_on(
    data: str,
    method: str,
    run: Path,
    *,
    preset: str = "small",
    minutes: float | None = None,
    steps: int | None = None,
    seed: int = 0,
    frame: str = "auto",
    objects: int | None = None,
    resume: bool = False,
    device: str = "auto",
    points: int | None = None,
) -> dict[str, Any]:
    """Train the method called `method` on what `data` names and write the run; returns numbers to print.

    One labelled picture in five is kept back, chosen by the seed; `points`, how many to find, is for methods
    of clouds. Raises RequestError, before anything is written, when the method cannot learn from these data.
    """
    if learns_from_clouds(method):
        if frame != "auto" or objects is not None:
            raise RequestError(f"--frame and --objects are for pictures; {method} learns from shapes")
        options: dict[str, Any] = {"minutes": minutes, "steps": steps, "seed": seed, "resume": resume}
        return train_on_clouds(data, method, run, preset=preset, points=points, device=device, **options)
    if points is not None:
        raise RequestError(f"-k {points}: {method} has the points of its labels or preset; leave it out")
    folder, where = Run(run), pick_device(device)
    cls, images = trainable(method, preset), open_data(data)
    asked = {"method": method, "preset": preset, "seed": seed, "steps": steps, "minutes": minutes}
    asked |= {"frame": frame, "objects": objects}
    again = resume and folder.exists()
    if again:
        asked = _asked_before(folder, asked, images)
    recipe = cls.recipe_of(asked["preset"])
    recipe = replace(recipe, steps=asked["steps"] or recipe.steps)
    wanted = {key: asked[key] for key in ("seed", "frame", "objects")}
    lesson = lesson_of(cls, asked["preset"], images, data, **wanted)
    crops = _samples(cls, images, lesson, recipe, asked["seed"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(asked["seed"])
        built = cls(lesson.config)
    about = {"kind": "train", **asked, "recipe": asdict(recipe), **lesson.about}
    begun = nullcontext() if again or not leads() else _begun(folder, about, lesson.view)
    with begun, bar(f"train {method}") as progress:
        done = train(
            built,
            crops,
            folder,
            seed=asked["seed"],
            steps=asked["steps"],
            minutes=asked["minutes"],
            recipe=recipe,
            skeleton=lesson.skeleton,
            device=str(where),
            resume=resume,
            progress=progress,
        )
    return {"run": str(run), "method": method, "frame": lesson.frames.kind, "why": lesson.frames.why, **done}


def _samples(
    cls: type[Trainable], images: ImageSet, lesson: Lesson, recipe: Recipe, seed: int
) -> Gathered | Crops | People:
    """What the method learns from; one sample is read, so that pictures nobody can read are named now."""
    if cls.learns_from is Clips:
        return gather(images, lesson.frames, lesson.view.size, clips=True, length=cls.clip_length)
    kind = People if cls.learns_from is LabelledPeople else Crops
    crops = kind(images, lesson.frames, lesson.view.size, recipe.augment, seed)
    if not len(crops):
        raise RequestError(f"{images.title}: no picture with a frame and, where wanted, labels to learn from")
    crops[0, 0]
    return crops


@contextmanager
def _begun(folder: Run, about: dict[str, Any], view: View) -> Iterator[None]:
    """A run is written; one that ends before its first checkpoint is taken away again."""
    new = not folder.folder.exists()
    folder.start(about)
    try:
        write_view(folder, view)
        yield
    except BaseException:
        if not folder.last.exists():
            folder.remove_start(new)
        raise


def _asked_before(run: Run, asked: dict[str, Any], images: ImageSet) -> dict[str, Any]:
    """The request that began the run; a new length may be given.

    Raises RequestError when the method or the data are others than those of the run.
    """
    info = run.info()
    if info.get("kind") in ("discover", "compare"):  # the pictures they keep back are chosen otherwise
        raise RequestError(
            f"{run.folder}: was made by {info['kind']}, which does not go on; begin a new run with -o"
        )
    if info["method"] != asked["method"]:
        raise RequestError(f"{run.folder}: is a run of {info['method']}, not of {asked['method']}")
    if info["data"]["fingerprint"] != images.fingerprint():
        raise RequestError(
            f"{run.folder}: was trained on {info['data']['path']}, which has changed or is another set than "
            f"{images.title}; begin a new run with -o"
        )
    before = {key: info[key] for key in asked}
    if asked["steps"] is not None or asked["minutes"] is not None:
        before |= {"steps": asked["steps"], "minutes": asked["minutes"]}
    return before
