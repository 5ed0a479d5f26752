"""Numbers for a run on labelled pictures: of a detector, or of discovered points; plain and turned."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from asterism.data.base import ImageSet
from asterism.data.sources import open_data
from asterism.data.splits import split
from asterism.engine.alive import health_of
from asterism.engine.audit import audit_points, check_protocol
from asterism.engine.flipped import flipped
from asterism.engine.ground import found, ground_of, labels_in_frames, points_in_frames
from asterism.engine.labels import with_labels_of
from asterism.engine.lesson import labelled_pictures
from asterism.engine.looks import Looked, in_source, labels_of, look_at, turned_looks
from asterism.engine.people import measure_people
from asterism.engine.predict import keypoints
from asterism.engine.runs import Run
from asterism.engine.view import View, frames_for, read_view
from asterism.engine.weights import load_weights
from asterism.errors import RequestError
from asterism.methods.base import Method
from asterism.metrics import oks, pixel
from asterism.metrics.landmarks import Labels, LandmarkReport, Points, PointsScore, evaluate_landmarks
from asterism.types import People2D


def evaluate_run(
    run: Path,
    data: str | None = None,
    *,
    protocol: str = "strict",
    everything: bool = False,
    device: str = "auto",
    flip: bool = False,
) -> dict[str, Any]:
    """Errors of run/best on labelled data, by default on the pictures of its own data that were kept back.

    A detector is measured against its labels, beside the mean position in the crop; points that were learned
    without labels by metrics.landmarks, beside the mean shape, an untrained network and the crop's own axes,
    and by the scores that need no labels (`health`). `rotated` repeats it on whole pictures turned by random
    angles. Another `protocol` than strict, or "all", tells what the same points are worth
    under papers' rules (engine.audit). `everything` tests a detector on all pictures, `flip` with the flip
    test. Raises RequestError where there are no labels, or those of other points.
    """
    check_protocol(protocol)
    info = Run(run).info()
    _check_kind(run, info)
    view = read_view(Run(run))
    method, skeleton = load_weights(run / "best")
    name = method.name
    if flip:
        method = flipped(method, skeleton)
    path = data or info["data"]["path"]
    images = open_data(path)
    if data is None:
        images = with_labels_of(info, images)
    if images.table is None:
        raise RequestError(
            f"{path}: has no labels to measure against; give labelled data: evaluate {run} DATA"
        )
    train, test, warnings = _pictures(info, images, everything)
    about = {"run": str(run), "data": path, "method": name, "test_pictures": len(test)}
    if method.gives is People2D and skeleton is not None:
        about |= {"warning": "; ".join(warnings)} if warnings else {}
        return about | measure_people(method, skeleton, images, test, view.size, device)
    frames = frames_for(images, view)
    look = look_at(images, view, test, frames)
    if look.frames.kind != view.kind:
        warnings.append(look.frames.why)
    about |= {"warning": "; ".join(warnings)} if warnings else {}
    about |= {"frame": look.frames.kind, "why": look.frames.why}
    if info["mean_shape"] is not None:  # it was learned from labels
        if protocol != "strict":
            raise RequestError(
                f"--protocol {protocol}: this run finds named points and needs no head; leave it out"
            )
        _check_names(path, images.table.names, skeleton.names if skeleton is not None else ())
        mean = np.array(info["mean_shape"])
        return about | measure_detector(method, view, images, test, mean, info["seed"], device)
    untrained = untrained_like(method, info["seed"])
    if protocol != "strict":
        asked = (train, test, info["seed"], protocol, device)
        return about | audit_points(method, untrained, view, images, *asked)
    report = measure_landmarks(method, untrained, view, images, train, test, info["seed"], device=device)
    alive = health_of(method, look, frames, view, device)
    return about | _short(report) | {"health": alive}


def _check_kind(run: Path, info: dict[str, Any]) -> None:
    if info.get("kind") == "clouds":
        raise RequestError(
            f"{run}: learned from shapes, which have no labels to measure against; look at what it finds: "
            f"asterism predict {run} ... --draw seen"
        )


def _check_names(path: str, given: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    if given != wanted:
        raise RequestError(f"{path}: has the points {', '.join(given)}; the run finds {', '.join(wanted)}")


def _pictures(
    info: dict[str, Any], images: ImageSet, everything: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], list[str]]:
    """Pictures to learn a head from, pictures to test on, and what the reader must be told.

    Raises RequestError where all pictures are asked for and some must teach the head.
    """
    assert images.table is not None
    labelled = labelled_pictures(images.table)
    same = info["data"]["fingerprint"] == images.fingerprint()
    warnings = [] if same else ["other data than those of the run"]
    if info["mean_shape"] is None and everything:
        raise RequestError(
            "--all: these points have no names, and what they are worth is told by a head that learns from "
            "some of the pictures and is tested on the others; leave it out"
        )
    if same and info["split"] is not None and info["split"]["test"] and not everything:
        return np.array(info["split"]["train"]), np.array(info["split"]["test"]), warnings
    if info["mean_shape"] is None:  # nothing was learned from labels, but the head will be
        fresh = split(labelled, seed=info["seed"])
        if same:
            warnings.append("the points (not the head) have seen the test pictures, without labels")
        return fresh.train, fresh.test, warnings
    if same:
        warnings.append("the pictures it was trained on are among those it is tested on")
    return labelled[:0], labelled, warnings


def measure_detector(
    method: Method,
    view: View,
    images: ImageSet,
    test: NDArray[np.int64],
    mean_shape: Float[np.ndarray, "K 2"],
    seed: int,
    device: str = "auto",
) -> dict[str, Any]:
    """Errors in source pixels on the pictures `test`, of the mean position in the crop, and turned."""
    look = look_at(images, view, test)
    xy, score = keypoints(method, look.images, look.frames, view.size, device=device)
    answer = _errors(xy, look.labels, seed) | _object_similarity(look, xy, score)
    answer["mean_position_px"] = _errors(in_source(mean_shape, look, view), look.labels, seed)["mean_px"]
    turned = turned_looks(images, view, test, seed)
    rotated = _errors(found(method, turned, view.size, device), labels_of(turned), seed)
    answer |= {f"rotated_{name}": rotated[name] for name in ("mean_px", "ci95", "pck_0.1")}
    named = zip(look.names, answer.pop("per_point_px"))
    return {**answer, "frame": look.frames.kind, "per_point_px": dict(named)}


def _object_similarity(
    look: Looked, xy: Float[np.ndarray, "N K 2"], score: Float[np.ndarray, "N K"]
) -> dict[str, Any]:
    """COCO's average precision when the objects' places are given, where each has an area or a box."""
    assert look.images.table is not None
    table, rows = look.images.table, look.frames.row
    area = oks.object_area(table.area[rows], table.box[rows], table.has_box[rows])
    if not (area > 0).all():
        return {}
    image, labels = table.image[rows], look.labels
    crowd = np.zeros(len(rows), bool)
    truth = oks.Truth(image, labels.xy, labels.labelled, area, table.box[rows], crowd)
    sigma, source = oks.sigmas_for(table.names, table.sigma)
    found = oks.Found(image, xy, score.mean(1))
    return {"oks_ap": oks.average_precision(truth, found, sigma)["AP"], "oks_sigma": source}


def _errors(xy: Float[np.ndarray, "N K 2"], labels: Labels, seed: int) -> dict[str, Any]:
    distance = pixel.distances(xy, labels.xy, labels.labelled)
    random = np.random.default_rng(seed)
    numbers = asdict(pixel.summarise(distance, labels.labelled, random, labels.image))
    sized = (labels.labelled & (labels.normaliser > 0)[:, None]).any()  # a lone point without a box is not
    pck = pixel.pck(distance, labels.labelled, labels.normaliser)["0.1"] if sized else None
    return numbers | {"pck_0.1": pck}


def measure_landmarks(
    method: Method,
    untrained: Method,
    view: View,
    images: ImageSet,
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    seed: int,
    protocol: str = "strict",
    device: str = "auto",
) -> LandmarkReport:
    """How well a linear head on the discovered points tells where the labelled ones are, and its controls.

    Points and labels are first moved into the frame the object is looked at in (turned and shifted, never
    scaled, so errors stay in source pixels): a head learned there turns with the object. Two mean shapes are
    told: the mean position in the source pictures, and the mean position in the frame, which knows as much
    as the frame does and is the harder control.
    """
    ground = ground_of(images, view, train, test, seed, frames_for(images, view))
    turned, sides = labels_of(ground.turned), ground.sides
    learned, judged, turned_in_frame = labels_in_frames(ground)
    h, w = view.size
    axes = np.array([[(w - 1) / 2, (h - 1) / 2], [w - 1.0, (h - 1) / 2], [(w - 1) / 2, h - 1.0]])
    places = Points(*(np.concatenate([in_source(axes, look, view) for look in looks]) for looks in sides))
    plain = evaluate_landmarks(  # for its mean shape, in source pixels, and the frame's own corners
        places,
        ground.learn.labels,
        ground.judge.labels,
        np.random.default_rng(seed),
        rotated=turned,
        protocol=protocol,
    )
    before = points_in_frames(lambda looks: found(untrained, looks, view.size, device), ground)
    report = evaluate_landmarks(
        points_in_frames(lambda looks: found(method, looks, view.size, device), ground),
        learned,
        judged,
        np.random.default_rng(seed),
        rotated=turned_in_frame,
        controls={"untrained": before},
        protocol=protocol,
    )
    own, in_frame, *controls = report.sets
    in_frame = replace(in_frame, name="mean shape in the frame")
    return replace(report, sets=(own, plain.sets[1], *controls, in_frame))


def untrained_like(method: Method, seed: int) -> Method:
    """The same network before it learned: what its architecture alone knows."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return type(method)(method.config).eval()


def _short(report: LandmarkReport) -> dict[str, Any]:
    """The numbers with all labelled pictures on top, and the whole report under "report"."""

    def last(score: PointsScore) -> dict[str, Any]:
        row = score.curve[-1]
        turned = row.rotated.mean_px if row.rotated is not None else None
        return {"mean_px": row.forward.mean_px, "rotated_mean_px": turned, "gain": row.gain}

    own = report.sets[0].curve[-1]
    return {
        **last(report.sets[0]),
        "median_px": own.forward.median_px,
        "p90_px": own.forward.p90_px,
        "pck_0.1": own.forward.pck,
        "n": own.forward.n,
        "ci95": own.forward.ci95,
        "nme": own.forward.nme,
        "head_pictures": own.n_images,
        "controls": {score.name: last(score) for score in report.sets[1:]},
        "report": asdict(report),
    }
