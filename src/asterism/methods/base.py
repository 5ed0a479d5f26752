"""The contract that every method keeps: forward, decode, and for those that learn, loss.

A method is one file for one paper. It knows batches and results (types.py) and the floors below; it knows
no data set, no file, no device and no seed. Classical solvers are Methods without parameters.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Generic, Protocol, TypeVar, final, runtime_checkable

import torch
from torch import Tensor, nn

from asterism.types import Recipe, Skeleton, Struct

In = TypeVar("In", bound=Struct)
Raw = TypeVar("Raw")
Out = TypeVar("Out", bound=Struct)


@runtime_checkable  # the tests check annotations when a function is called
class Update(Protocol):
    """What the engine hands to Trainable.step: one optimiser step on a scalar loss."""

    def __call__(self, loss: Tensor, group: str = "main") -> None: ...


class Method(nn.Module, ABC, Generic[In, Raw, Out]):
    """A method of one paper.

    `Config` is a frozen dataclass whose fields are the paper's symbols and whose defaults are the paper's
    values. `presets` names other sizes; it always holds "paper", "small" (a CPU in minutes) and "tiny" (the
    contract tests). Class attributes are checked when the class is created, so a file that breaks the
    contract cannot be imported.
    """

    name: ClassVar[str]
    family: ClassVar[str]  # the folder: pose2d, landmarks, lift3d, clouds, matching
    paper: ClassVar[str]  # authors, title, venue and year, in one line
    link: ClassVar[str]
    Config: ClassVar[type]
    presets: ClassVar[Mapping[str, Any]]
    takes: ClassVar[type[Struct]]
    gives: ClassVar[type[Struct]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "forward" not in cls.__dict__:  # Trainable, or another abstract layer
            return
        wanted = ["name", "family", "paper", "link", "Config", "presets", "takes", "gives"]
        wanted += ["learns_from", "recipe"] if issubclass(cls, Trainable) else []
        if missing := [w for w in wanted if not hasattr(cls, w)]:
            raise TypeError(f"method {cls.__name__} lacks {', '.join(missing)}; copy methods/_template.py")
        if missing := {"paper", "small", "tiny"} - set(cls.presets):
            raise TypeError(f"method {cls.name} lacks the presets {', '.join(sorted(missing))}")

    def __init__(self, config: Any) -> None:
        super().__init__()
        if not isinstance(config, self.Config):
            raise TypeError(f"{self.name} wants a {self.Config.__name__}, got {type(config).__name__}")
        self.config = config

    @abstractmethod
    def forward(self, batch: In) -> Raw:
        """The network and nothing else. What it returns never leaves the method's file."""

    @abstractmethod
    def decode(self, raw: Raw, batch: In) -> Out:
        """The paper's inference rule. Coordinates come out in the source image or cloud."""

    @final
    def predict(self, batch: In) -> Out:
        """decode(forward(batch), batch) in inference mode; the module's train/eval state is restored."""
        training = self.training
        self.eval()
        try:
            with torch.inference_mode():
                return self.decode(self.forward(batch), batch)
        finally:
            self.train(training)


class Trainable(Method[In, Raw, Out]):
    """A method that learns. `loss` calls `forward` as often as it likes (two warps, three views)."""

    learns_from: ClassVar[type[Struct]]
    clip_length: ClassVar[int] = 1  # of Clips: frames it wants of one object, where the data have them
    recipe: ClassVar[Recipe]
    recipes: ClassVar[Mapping[str, Recipe]] = {}  # of presets that are trained otherwise than `recipe` says

    @classmethod
    def recipe_of(cls, preset: str) -> Recipe:
        """How a preset is trained."""
        return cls.recipes.get(preset, cls.recipe)

    @classmethod
    def config_for(cls, config: Any, skeleton: Skeleton) -> Any:
        """The preset's config for data with these points. Methods that use the edges override this."""
        return replace(config, n_keypoints=len(skeleton))

    @abstractmethod
    def loss(self, batch: Any) -> dict[str, Tensor]:
        """Weighted terms, named as in the paper; the objective is their sum."""

    def recycle(self, batch: Any, progress: float) -> str:
        """Called by the engine now and then while training; `progress` runs from 0 to 1.

        A method may repair itself here (a dead keypoint is moved to where the residual is). What it did is
        returned in words for the log; an empty string is nothing.
        """
        return ""

    def settle(self, kept: Iterable[Any]) -> str:
        """Called by the engine when training is over, in eval mode and without gradients, with batches of one
        sample each that were kept back: what is measured here (how far to trust a sigma) is not measured on
        what was learned. What it did is returned in words; an empty string is nothing.
        """
        return ""

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """Parameters by the name of the optimiser that moves them. Papers that alternate return several."""
        return {"main": list(self.parameters())}

    def step(self, batch: Any, update: Update) -> dict[str, Tensor]:
        """One update. `update(loss)` is the engine's: backward, average over processes, clip, step.

        Papers that alternate (GAN, EM) override this and call update(loss, group) once per group.
        """
        terms = self.loss(batch)
        update(torch.stack(list(terms.values())).sum(), "main")
        return {name: term.detach() for name, term in terms.items()}
