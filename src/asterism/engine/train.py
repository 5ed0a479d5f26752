"""Training: of a method on samples (train), and of a method named by the user on data named by the user."""

from collections.abc import Callable
from contextlib import closing, nullcontext
from typing import Any

import torch

from asterism.engine.bars import Progress
from asterism.engine.batches import Samples, stream
from asterism.engine.interrupt import interruptible
from asterism.engine.loop import Loop
from asterism.engine.optim import forward_in_bfloat16
from asterism.engine.runs import Run
from asterism.engine.team import pick_device, team
from asterism.errors import RequestError
from asterism.methods.base import Trainable
from asterism.types import Recipe, Skeleton


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
    half = where.type == "cuda" and torch.cuda.is_bf16_supported()
    with (
        team(where) as processes,
        interruptible() as asked,
        torch.random.fork_rng(devices=[where] if where.type == "cuda" else []),
        forward_in_bfloat16(method.to(where).train(), where.type) if half else nullcontext(),
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
