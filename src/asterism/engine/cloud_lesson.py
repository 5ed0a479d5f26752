"""Training on shapes of one kind, as clouds or seen from several sides: one in five is kept back."""

import json
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from asterism.catalogue import method_class
from asterism.data.cloud_sets import CloudSamples, CloudSet, batch_of, open_clouds
from asterism.data.posed import PosedSamples
from asterism.data.splits import Split, split
from asterism.engine.bars import bar
from asterism.engine.runs import Run
from asterism.engine.team import leads, pick_device
from asterism.engine.weights import read_about, save_weights
from asterism.errors import RequestError
from asterism.io.atomic import write_json
from asterism.methods.base import Method, Trainable
from asterism.ops.shape_prior import ShapePrior, fit_prior
from asterism.types import Clouds, PosedViews, Skeleton

PRIOR = "prior.json"  # in the run's folder
_SETTLED = 100  # shapes of those that were kept back


def learns_from_clouds(method: str) -> bool:
    """Whether training leads here. Raises RequestError for an unknown method."""
    cls = method_class(method)
    return issubclass(cls, Trainable) and cls.learns_from in (Clouds, PosedViews)


def train_on_clouds(
    data: str,
    method: str,
    run: Path,
    *,
    preset: str = "small",
    points: int | None = None,
    minutes: float | int | None = None,
    steps: int | None = None,
    seed: int = 0,
    resume: bool = False,
    device: str = "auto",
) -> dict[str, Any]:
    """Train on the shapes that `data` names; `points` is how many keypoints, without it the preset's number.

    Raises RequestError, before anything is written, for an unknown preset, too few shapes, or a run to be
    resumed that was of something else.
    """
    from asterism.engine.train import train  # it imports this file for what it leads here

    cls = method_class(method)
    assert issubclass(cls, Trainable), f"{method} was led here by learns_from_clouds"
    if preset not in cls.presets:
        raise RequestError(f"--preset {preset}: {method} has {', '.join(cls.presets)}")
    folder, shapes = Run(run), open_clouds(data)
    if len(shapes) < 3:
        raise RequestError(f"{data}: holds {len(shapes)} shapes; wanted at least 3 of one kind")
    asked: dict[str, Any] = {"method": method, "preset": preset, "points": points, "seed": seed}
    asked |= {"steps": steps, "minutes": minutes}
    again = resume and folder.exists()
    asked = _asked_before(folder, asked, shapes) if again else asked
    config = cls.presets[asked["preset"]]
    config = config if asked["points"] is None else replace(config, n_keypoints=asked["points"])
    recipe = cls.recipe_of(asked["preset"])
    recipe = replace(recipe, steps=asked["steps"] or recipe.steps)
    kept = split(len(shapes), seed=asked["seed"])
    samples = _samples(cls, config, shapes, kept.train.tolist(), asked["seed"])
    samples[0, 0]  # a shape that nobody can read is named now
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(asked["seed"])
        built = cls(config)
    if leads() and not again:
        about = {"kind": "clouds", **asked, "config": asdict(config), "recipe": asdict(recipe)}
        folder.start(about | _about(data, shapes, kept))
    options: dict[str, Any] = {key: asked[key] for key in ("seed", "steps", "minutes")}
    options |= {"device": str(pick_device(device)), "resume": resume}
    names = Skeleton(names=tuple(f"point{i}" for i in range(config.n_keypoints)))
    with nullcontext() if again else _whole(folder), bar(f"train {method}") as progress:
        done = train(built, samples, folder, **options, recipe=recipe, skeleton=names, progress=progress)
    built = built.to("cpu").eval()
    if leads():
        _settle(folder, built, replace(samples, rows=kept.test.tolist()), names)
        if isinstance(samples, CloudSamples):
            write_prior(folder, fit_prior(keypoints_of(built, samples)))
    return {"run": str(run), "method": method, "points": config.n_keypoints, **done}


def _samples(
    cls: type[Trainable], config: Any, shapes: CloudSet, rows: list[int], seed: int
) -> CloudSamples | PosedSamples:
    """The shapes as the method learns from them: their surfaces' points, or pictures from two sides."""
    if cls.learns_from is Clouds:
        return CloudSamples(shapes, rows, config.n_points, seed)
    return PosedSamples(shapes, rows, config.input_size, config.field, config.distance, seed)


def _settle(run: Run, method: Trainable, kept: CloudSamples | PosedSamples, names: Skeleton) -> None:
    """The method measures on shapes that were kept back what it says of itself, and is written again."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(kept.seed)
        words = method.settle(kept[0, i] for i in range(min(len(kept), _SETTLED)))
    if words:
        save_weights(run.best, method, names, read_about(run.best)["trained"] | {"settled": words})


def _about(data: str, shapes: CloudSet, kept: Split) -> dict[str, Any]:
    """What run.json says of the shapes."""
    return {
        "data": {"path": data, "fingerprint": shapes.fingerprint(), "shapes": len(shapes)},
        "split": {"train": kept.train.tolist(), "test": kept.test.tolist()},
    }


class _whole:
    """A run that ends before its first checkpoint is taken away again."""

    def __init__(self, folder: Run) -> None:
        self.folder = folder

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and not self.folder.last.exists():
            self.folder.remove_start(folder_too=True)


def _asked_before(run: Run, asked: dict[str, Any], shapes: CloudSet) -> dict[str, Any]:
    """The request that began the run; a new length may be given."""
    info = run.info()
    if info.get("kind") != "clouds" or info["method"] != asked["method"]:
        raise RequestError(f"{run.folder}: is a run of {info.get('method')}, not of {asked['method']}")
    if info["data"]["fingerprint"] != shapes.fingerprint():
        raise RequestError(f"{run.folder}: was trained on {info['data']['path']}, not on these shapes")
    if asked["points"] not in (None, info["config"]["n_keypoints"]):
        raise RequestError(f"{run.folder}: has {info['config']['n_keypoints']} points; leave out -k")
    before = {key: info[key] for key in asked}
    if asked["steps"] is not None or asked["minutes"] is not None:
        before |= {"steps": asked["steps"], "minutes": asked["minutes"]}
    return before


def keypoints_of(method: Method, samples: CloudSamples, most: int = 500) -> Float[np.ndarray, "S K 3"]:
    """Keypoints of the shapes (at most so many), in the box of the shapes."""
    found = []
    for row in list(samples.rows)[:most]:
        batch = batch_of(samples.shapes.cloud(row), samples.n, np.random.default_rng([samples.seed, 0, row]))
        xyz = method.predict(batch).xyz[0].double().numpy()
        matrix = batch.to_source[0].double().numpy()
        found.append((xyz - matrix[:3, 3]) / matrix[0, 0])
    return np.stack(found)


def write_prior(run: Run, prior: ShapePrior) -> None:
    about = {"mean": prior.mean.tolist(), "basis": prior.basis.tolist(), "rest": prior.rest}
    write_json(run.folder / PRIOR, {"format": 1, **about})


def read_prior(run: Run) -> ShapePrior:
    """Raises RequestError where the run has none, or a damaged one."""
    path = run.folder / PRIOR
    if not path.is_file():
        raise RequestError(f"{run.folder}: has no {PRIOR}; train it to its end with --resume")
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        mean = np.array(held["mean"], dtype=np.float64)
        basis = np.array(held["basis"], dtype=np.float64).reshape(-1, *mean.shape)
        return ShapePrior(mean=mean, basis=basis, rest=float(held["rest"]))
    except (ValueError, KeyError, TypeError) as error:
        raise RequestError(f"{path}: is damaged: {error}") from error
