"""What errors to expect of points that were learned from few labels, in numbers and in words."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from asterism.engine.choice import Choice
from asterism.metrics.pixel import bootstrap_interval, by_image

_FEW = 2  # labels of a point that are too few to judge it
WORDS = {
    "frame": "the usual place in the frame",
    "head": "a linear head on the discovered points",
    "turning": "a linear head that turns with the discovered points",
    "detector": "a detector that looks at the picture",
}


def report_of(
    title: str,
    names: tuple[str, ...],
    labelled: Bool[np.ndarray, "N K"],
    image: Int[np.ndarray, " N"],
    choice: Choice,
    notes: list[str],
    seed: int,
) -> dict[str, Any]:
    """title, sentences, numbers. Errors are in pixels of the source pictures, on pictures held out."""
    random = np.random.default_rng(seed)
    frame = choice.known["frame"]
    every = _error(choice.error, image, random)
    points = []
    for k, name in enumerate(names):
        own, simple = _error(choice.error[:, k : k + 1], image, random), _mean(frame[:, k])
        labels = len(np.unique(image[labelled[:, k]]))
        ways = {way: _mean(error[:, k]) for way, error in choice.known.items()}
        point = {"name": name, "labels": labels, "way": choice.taken[k], **own, "frame_px": simple}
        points.append(point | {"ways": ways})
    numbers = {
        "pictures": len(np.unique(image)),
        **every,
        "frame_px": _mean(frame),
        "ways": {way: _mean(error) for way, error in choice.known.items()},
        "points": points,
    }
    sentences = [_whole(numbers), *_taken(names, choice), *map(_point, points), *notes, *_warnings(points)]
    n = numbers["pictures"]
    return {
        "title": f"{len(names)} named points from {n} labelled picture{'s' if n != 1 else ''} of {title}",
        "sentences": sentences,
        "numbers": numbers,
    }


def _error(
    error: Float[np.ndarray, "N k"], image: Int[np.ndarray, " N"], random: np.random.Generator
) -> dict[str, Any]:
    asked = np.isfinite(error)
    if not asked.any():
        return {"px": None, "ci95": None}
    sums, counts = by_image(np.where(asked, error, 0.0).sum(1), asked.sum(1), image)
    interval = bootstrap_interval(sums[None], counts[None], random) if (counts > 0).sum() > 1 else None
    return {"px": float(error[asked].mean()), "ci95": interval}


def _mean(error: np.ndarray) -> float | None:
    asked = np.isfinite(error)
    return float(error[asked].mean()) if asked.any() else None


def _px(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f} px"


def _between(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f" (95 % interval {interval[0]:.1f} to {interval[1]:.1f})"


def _whole(numbers: dict[str, Any]) -> str:
    if numbers["px"] is None:
        return "No error can be expected from a single labelled picture: label more."
    ways = ", ".join(f"{WORDS[way]} {_px(px)}" for way, px in numbers["ways"].items())
    return (
        f"Expected error on other pictures like these: {_px(numbers['px'])}{_between(numbers['ci95'])}, "
        f"measured on labelled pictures that were held out. Of all points together: {ways}."
    )


def _taken(names: tuple[str, ...], choice: Choice) -> list[str]:
    """Which way for which points, and why."""
    said = []
    for way in choice.known:
        mine = [k for k, taken in enumerate(choice.taken) if taken == way]
        if not mine:
            continue
        listed = "all points" if len(mine) == len(names) else ", ".join(names[k] for k in mine)
        error, frame = (_mean(choice.known[w][:, mine]) for w in (way, "frame"))
        why = "nothing that is less simple was clearly better"
        if way != "frame":
            why = f"held out, it is wrong by {_px(error)} where the usual place is wrong by {_px(frame)}"
        said.append(f"Taken for {listed}: {WORDS[way]} ({why}).")
    return said


def _point(point: dict[str, Any]) -> str:
    return (
        f"{point['name']}: {_px(point['px'])}{_between(point['ci95'])}, {point['labels']} labels; "
        f"the usual place {_px(point['frame_px'])}."
    )


def _warnings(points: list[dict[str, Any]]) -> list[str]:
    said = []
    few = [p["name"] for p in points if 0 < p["labels"] <= _FEW]
    none = [p["name"] for p in points if not p["labels"]]
    stuck = [p["name"] for p in points if p["way"] == "frame" and p["labels"] > _FEW]
    if none:
        said.append(f"Never labelled, so its places mean nothing: {', '.join(none)}.")
    if few:
        said.append(f"Too few labels to judge (one or two): {', '.join(few)}. Label them in more pictures.")
    if stuck:
        said.append(
            f"No better than the usual place in the frame: {', '.join(stuck)}. More labels may change that."
        )
    return said
