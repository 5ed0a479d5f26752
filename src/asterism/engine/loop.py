"""The training loop, for every method: mixed precision, resuming, several processes.

Nothing random is carried from step to step: step s is seeded by (seed, s), its batch follows from (seed, s),
and the schedule from how much of the run is over. So a run that was killed and resumed ends with the bits
of one that was not, on one machine with one number of threads, when its length is given in steps.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from asterism.engine.bars import Progress
from asterism.engine.optim import Average, optimisers, rate
from asterism.engine.runs import Run
from asterism.engine.team import Team
from asterism.engine.weights import load_tensors, recover, save_weights
from asterism.errors import AsterismError
from asterism.methods.base import Trainable
from asterism.types import Recipe, Skeleton, Struct

_RECYCLE = 50  # steps between two calls of Trainable.recycle
_LOG = 20  # steps between two lines of the log
_VALIDATIONS = 10  # per run
_STATE = "state.pt"


@dataclass(kw_only=True)
class Loop:
    """A training under way: the arguments of train.train, and what changes from step to step."""

    method: Trainable
    recipe: Recipe
    run: Run
    team: Team
    seed: int
    steps: int
    minutes: float | None
    skeleton: Skeleton | None
    validate: Callable[[Trainable], float] | None
    asked: Callable[[], bool]
    progress: Progress | None
    save_seconds: float
    step: int = 0
    before: float = 0.0  # seconds of training before the last resume
    best: float = float("inf")
    judged: int = 0  # validations so far
    terms: dict[str, float] = field(default_factory=dict)  # of the last line of the log
    recent: list[dict[str, Tensor]] = field(default_factory=list)  # since then

    def __post_init__(self) -> None:
        self.gradient = torch.zeros(())  # norm of the last update's
        self.groups = self.method.groups()
        self.optimisers = optimisers(self.recipe, self.groups)
        self.average = Average(self.method, self.recipe.ema) if self.recipe.ema else None
        self.started = self.saved = time.monotonic()

    def seconds(self) -> float:
        return self.before + time.monotonic() - self.started

    def go(self, batches: Iterator[Struct], device: torch.device) -> None:
        """Steps until the run is over or somebody stops it, then the last checkpoint."""
        while True:
            over = self.step / self.steps if self.minutes is None else self.seconds() / (60 * self.minutes)
            over, stop = self.team.agree([over, float(self.asked())], device)
            if self.validate is not None and int(over * _VALIDATIONS) > self.judged:
                self.judged = int(over * _VALIDATIONS)
                self.judge()
            if stop or over >= 1 or time.monotonic() - self.saved > self.save_seconds:
                self.checkpoint()
            if stop:
                raise KeyboardInterrupt
            if over >= 1:
                break
            self.one_step(next(batches).to(device), over)
        if self.team.leads:
            load_tensors(self.run.best, self.method)
        self.team.follow(self.method)

    def one_step(self, batch: Struct, over: float) -> None:
        seeds = np.random.SeedSequence([self.seed, self.step, self.team.rank])
        torch.manual_seed(int(seeds.generate_state(1, np.uint64)[0]))
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = rate(self.recipe, over)
        terms = self.method.step(batch, self.update)
        self.step += 1
        self.recent.append({**terms, "gradient": self.gradient})
        if self.average is not None:
            self.average.update(self.method)
        if self.step % _RECYCLE == 0 and (words := self.recycle(batch, over)):
            self.log({"recycled": words})
        if self.step == 1 or self.step % _LOG == 0:
            self.report(over)
        elif self.gradient.device.type == "cpu":  # elsewhere a look at every step would wait for the device
            self.check()

    def update(self, loss: Tensor, group: str = "main") -> None:
        """What Trainable.step calls: one step of the optimiser of `group`."""
        optimiser, parameters = self.optimisers[group], self.groups[group]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.team.average(parameters)
        self.gradient = nn.utils.clip_grad_norm_(parameters, self.recipe.clip or float("inf"))
        optimiser.step()

    def recycle(self, batch: Struct, over: float) -> str:
        """The first process lets the method repair itself; the others take its weights."""
        words = self.method.recycle(batch, over) if self.team.leads else ""
        self.team.follow(self.method)
        return words

    def check(self) -> None:
        """Raises AsterismError when a term since the last line of the log, or the gradient, is no number."""
        first = self.step - len(self.recent) + 1
        for step, terms in enumerate(self.recent, first):
            for name, value in terms.items():
                if not torch.isfinite(value).all():
                    what = "the gradient" if name == "gradient" else f"the term '{name}' of the loss"
                    kept = f"{self.run.last} holds the last good weights; " if self.run.last.exists() else ""
                    raise AsterismError(
                        f"{self.method.name}: at step {step} {what} became {float(value)}; {kept}"
                        "look at the pictures and labels, or try another --seed"
                    )

    def report(self, over: float) -> None:
        self.check()
        means = {n: float(torch.stack([t[n] for t in self.recent]).mean()) for n in self.recent[-1]}
        self.recent.clear()
        self.terms = {name: value for name, value in means.items() if name != "gradient"}
        self.log({"seconds": round(self.seconds(), 3), "rate": rate(self.recipe, over), **means})
        if self.progress is not None:
            self.progress(over, f"step {self.step}, loss {sum(self.terms.values()):.4g}")

    def log(self, line: dict[str, Any]) -> None:
        if self.team.leads:
            self.run.log({"step": self.step, **line})

    def judge(self) -> None:
        """Validate the averaged weights and keep them when they are the best so far."""
        if not self.team.leads or self.validate is None:
            return
        with self.average.worn(self.method) if self.average else nullcontext():
            value = self.validate(self.method)
            self.log({"validation": value})
            if value < self.best or not self.run.best.exists():
                self.best = value
                save_weights(self.run.best, self.method, self.skeleton, self.trained())

    def trained(self) -> dict[str, Any]:
        about = {"steps": self.step, "seconds": self.seconds(), "seed": self.seed}
        return about | {"recipe": asdict(self.recipe)}

    def checkpoint(self) -> None:
        self.check()
        self.saved = time.monotonic()
        if not self.team.leads:
            return
        state = {
            "step": self.step,
            "seconds": self.seconds(),
            "best": self.best,
            "judged": self.judged,
            "optimisers": {name: o.state_dict() for name, o in self.optimisers.items()},
            "average": None if self.average is None else self.average.state,
            "updates": 0 if self.average is None else self.average.updates,
        }
        about = (self.method, self.skeleton, self.trained())
        save_weights(self.run.last, *about, beside=lambda folder: torch.save(state, folder / _STATE))
        if self.validate is None:
            with self.average.worn(self.method) if self.average else nullcontext():
                save_weights(self.run.best, *about)

    def restore(self) -> None:
        """Go on from run/last; a run killed before its first checkpoint begins anew."""
        recover(self.run.last)
        if not (self.run.last / _STATE).is_file():
            return
        load_tensors(self.run.last, self.method)
        state = torch.load(self.run.last / _STATE, map_location="cpu", weights_only=True)
        self.step, self.before = state["step"], state["seconds"]
        self.best, self.judged = state["best"], state["judged"]
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])
        if self.average is not None:
            self.average.updates = state["updates"]
            for key, value in state["average"].items():
                self.average.state[key].copy_(value)
        if self.team.leads:
            self.run.rewind(self.step)
