"""Named points from few labels: exact on planted cases, honest where the points say nothing."""

import json
from dataclasses import asdict, dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from asterism.data.folder import PictureFiles
from asterism.data.frames import find_frames
from asterism.data.sources import open_data
from asterism.data.subset import Unlabelled
from asterism.data.tables import take_pictures
from asterism.engine import attached, weights
from asterism.engine.attach import _backwards, attach, learn, shown_by
from asterism.engine.choice import challenged, choose, folds, is_better
from asterism.engine.evaluate import evaluate_run
from asterism.engine.fewshot import (
    LINEAR,
    Length,
    Shown,
    held_out,
    linear_ways,
    read_frame,
    read_head,
    read_turning,
)
from asterism.engine.labels import with_labels
from asterism.engine.lesson import unnamed
from asterism.engine.looks import look_at
from asterism.engine.predict import keypoints
from asterism.engine.predict_files import predict_to
from asterism.engine.refiner import GuidedSamples, Refiner, RefinerConfig, augmentation
from asterism.engine.runs import Run
from asterism.engine.view import frames_for, read_view, view_of, write_view
from asterism.engine.weights import load_weights, save_weights
from asterism.errors import BadAnnotation, RequestError
from asterism.geometry import affine
from asterism.geometry.coords import pixel_grid
from asterism.io.csvfile import write_csv
from asterism.io.keypoints import read_keypoints
from asterism.io.table import KeypointTable
from asterism.methods.base import Method
from asterism.metrics.heads import fit_local, fit_median
from asterism.types import Images, Keypoints2D

WORLD = "world:creatures?clips=1&n=30&size=64&background=textured&seed=3"
NAMES = ("nose", "belly", "tail")


@dataclass(frozen=True)
class ColoursConfig:
    n_keypoints: int = 3
    input_size: tuple[int, int] = (32, 32)


class Colours(Method[Images, torch.Tensor, Keypoints2D]):
    """The middle of each colour: three discovered points without any learning."""

    name = "colours"
    family = "landmarks"
    paper = link = ""
    Config = ColoursConfig
    presets: ClassVar = dict.fromkeys(("paper", "small", "tiny"), ColoursConfig())
    takes = Images
    gives = Keypoints2D

    def forward(self, batch):
        grid = pixel_grid((batch.image.shape[2], batch.image.shape[3]), like=batch.image)
        share = batch.image / batch.image.sum((2, 3), keepdim=True).clamp(min=1e-6)
        return torch.einsum("bkhw,hwi->bki", share, grid)

    def decode(self, raw, batch):
        return Keypoints2D(xy=affine.apply(batch.to_source, raw), score=torch.ones_like(raw[..., 0]))


@pytest.fixture(autouse=True)
def colours(known, monkeypatch):
    real = weights.method_class
    for module in (weights, attached):
        monkeypatch.setattr(module, "method_class", lambda n: Colours if n == "colours" else real(n))


def written_run(place, method, images, frames, path):
    run = Run(place)
    view = view_of(frames, method.config.input_size)
    about = {"method": method.name, "config": asdict(method.config), "view": view.as_json()}
    data = {"path": path, "fingerprint": images.fingerprint(), "pictures": len(images)}
    run.start({"kind": "discover", **about, "data": data, "split": None, "mean_shape": None, "seed": 0})
    write_view(run, view)
    save_weights(run.best, method, unnamed(method.config.n_keypoints), {})
    return place


@pytest.fixture
def dotted(tmp_path):
    """30 pictures of a red, a green and a blue dot, and a run whose points are these dots."""
    random = np.random.default_rng(1)
    y, x = np.mgrid[:64, :64]
    (tmp_path / "clip").mkdir()
    for n, points in enumerate(random.uniform(16, 48, (30, 3, 2))):
        layers = [np.exp(-((x - px) ** 2 + (y - py) ** 2) / 30) * 255 for px, py in points]
        Image.fromarray(np.stack(layers, -1).astype(np.uint8)).save(tmp_path / "clip" / f"img{n:03d}.png")
    path = str(tmp_path / "clip")
    images, method = open_data(path), Colours(ColoursConfig())
    run = written_run(tmp_path / "run", method, images, find_frames(images, "whole"), path)
    found, _ = keypoints(method, images, frames_for(images, read_view(Run(run))), (32, 32), device="cpu")
    return run, images, found


def labels_file(path, images, xy, pictures, labelled=None):
    n, k = xy.shape[:2]
    labelled = np.ones((n, k), bool) if labelled is None else labelled
    table = KeypointTable(
        names=NAMES[:k],
        images=tuple(images.name(i) for i in pictures),
        image=np.arange(n),
        individual=np.zeros(n, np.int64),
        xy=xy,
        labelled=labelled,
        visible=labelled,
        score=labelled.astype(float),
        box=np.zeros((n, 4)),
        has_box=np.zeros(n, bool),
        area=np.zeros(n),
    )
    write_csv(path, table)
    return str(path)


def planted(found):
    """Labels that are an exact linear function of the points, and not a similarity."""
    mix = np.array([[0.6, 0.4, 0.0], [0.1, 0.7, 0.2], [0.3, -0.3, 1.0]])
    stretch = np.array([[0.8, 0.1], [-0.2, 0.5]])
    return np.einsum("kp,npi,ij->nkj", mix, found, stretch) + [12.0, 20.0]


def shown_of(points, xy, labelled=None, image=None):
    n = len(points)
    nothing = Images(image=torch.zeros(n, 3, 8, 8), to_source=torch.eye(2, 3).repeat(n, 1, 1))
    return Shown(
        points=points,
        score=np.ones(points.shape[:2]),
        xy=xy,
        labelled=np.ones(xy.shape[:2], bool) if labelled is None else labelled,
        image=np.arange(n) if image is None else image,
        unit=np.ones(n),
        teaches=np.ones(n, bool),
        crops=nothing,
        wide=nothing,
        size=(8, 8),
        turned=False,
    )


def ways_of(shown):
    every = np.ones(len(shown.xy), bool)
    answers = {name: held_out(read, shown, every, 0) for name, read in LINEAR.items()}
    return {name: shown.distance(a.xy, a.known) for name, a in answers.items()}


# ---------------------------------------------------------------------------------------------------- choice


def test_exact_labels_take_the_head_and_have_no_error(dotted, tmp_path):
    run, images, found = dotted
    labels = labels_file(tmp_path / "labels.csv", images, planted(found)[:20], range(20))
    report = attach(run, labels, tmp_path / "named", minutes=0, device="cpu")
    assert {p["way"] for p in report["numbers"]["points"]} == {"head"}
    assert report["numbers"]["px"] < 0.1 < 2 < report["numbers"]["frame_px"]
    method, skeleton = load_weights(tmp_path / "named" / "best")
    assert skeleton is not None and skeleton.names == NAMES
    xy, score = keypoints(
        method, images, frames_for(images, read_view(Run(tmp_path / "named"))), (32, 32), device="cpu"
    )
    np.testing.assert_allclose(xy[20:], planted(found)[20:], atol=0.2)  # pictures without labels
    assert (score > 0.9).all()


def test_labels_that_the_points_do_not_tell_stay_where_they_usually_are():
    for seed in range(5):
        random = np.random.default_rng(seed)
        shown = shown_of(random.normal(30, 5, (10, 6, 2)), random.normal(40, 3, (10, 4, 2)))
        assert choose(ways_of(shown)).taken == ("frame",) * 4
    head = read_frame(shown, np.ones(10, bool))
    np.testing.assert_allclose(head(shown.points)[0], np.median(shown.xy, axis=0))


def test_a_point_that_follows_is_told_from_one_that_does_not():
    random = np.random.default_rng(0)
    points = random.normal(0, 5, (40, 6, 2))
    xy = np.stack([points[:, 0] + 3, random.normal(40, 3, (40, 2))], 1)
    assert choose(ways_of(shown_of(points, xy))).taken == ("head", "frame")


def test_five_labels_are_no_worse_than_the_frame():
    """Over many draws of a body that bends a little and is seen with noise."""
    ratios = []
    for seed in range(8):
        random = np.random.default_rng(seed)
        bend = random.normal(0, 3, (65, 1, 2)) + random.normal(0, 1.5, (65, 8, 2))
        points = np.linspace(0, 40, 16).reshape(8, 2) + bend
        xy = points[:, [1, 4, 6]] + [2, 5] + random.normal(0, 1.5, (65, 3, 2))
        shown = shown_of(points, xy)
        learn = np.arange(65) < 5
        taken = choose(ways_of(shown_of(points[learn], xy[learn]))).taken
        answers = [LINEAR[name](shown, learn)(points[~learn])[:, k] for k, name in enumerate(taken)]
        wrong = np.linalg.norm(np.stack(answers, 1) - xy[~learn], axis=-1).mean()
        frame = np.linalg.norm(read_frame(shown, learn)(points[~learn]) - xy[~learn], axis=-1).mean()
        ratios.append(wrong / frame)
    assert np.mean(ratios) < 0.9 and max(ratios) < 1.1


def test_a_tie_goes_to_the_simpler():
    error = np.random.default_rng(0).random((10, 3))
    assert choose({"frame": error, "head": error.copy()}).taken == ("frame",) * 3
    assert not is_better(error, error).any()
    assert is_better(error + 1, error + 2).all()


def test_two_still_points_do_not_speak_for_the_others():
    """A detector that reads to two pixels is bad for what never moves and good for what does."""
    random = np.random.default_rng(0)
    old = np.abs(random.normal([1, 1, 30, 30, 30, 30], [0.3, 0.3, 9, 9, 9, 9], (10, 6)))
    new = np.abs(random.normal([4, 4, 15, 15, 15, 15], [1, 1, 5, 5, 5, 5], (10, 6)))
    assert is_better(new, old).tolist() == [False, False, True, True, True, True]


def test_a_point_labelled_once_is_judged_by_the_others():
    random = np.random.default_rng(0)
    points = random.normal(0, 5, (12, 6, 2))
    labelled = np.ones((12, 2), bool)
    labelled[1:, 1] = False
    errors = ways_of(shown_of(points, points[:, :2] + 3, labelled))
    assert np.isnan(errors["head"][:, 1]).all()
    assert choose(errors).taken == ("head", "head")


def test_a_way_with_less_to_learn_from_is_compared_on_its_own_pictures():
    """On all pictures but a few the head is better, on half of them it is worse."""
    unit = np.random.default_rng(0).random((10, 2)) + 9
    choice = choose({"frame": unit, "head": unit - 5})
    same = {"frame": unit + 3, "head": unit - 1}
    assert challenged(choice, "detector", unit - 3, same).taken == ("detector", "detector")
    assert challenged(choice, "detector", unit, same).taken == ("head", "head")
    np.testing.assert_array_equal(challenged(choice, "detector", unit - 3, same).error, unit - 3)


def test_the_detector_needs_no_margin():
    """What is told by chance from nothing is enough for it, not for a linear way."""
    old = 9 + np.random.default_rng(0).random((10, 3))
    new = old - 0.1
    choice = choose({"frame": old})
    assert not is_better(new, old).any()
    assert challenged(choice, "detector", new, {"frame": old}).taken == ("detector",) * 3


def test_the_turning_head_is_tried_where_something_turns():
    assert list(linear_ways(False, 10)) == ["frame", "head", "turning"]
    assert list(linear_ways(False, 9)) == list(linear_ways(True, 50)) == ["frame", "head"]


def test_folds_keep_a_picture_together():
    image = np.repeat(np.arange(7), 2)
    parts = folds(image, 5, 0)
    assert len(parts) == 5 and (np.sum(parts, axis=0) == 1).all()
    assert all(part[::2].tolist() == part[1::2].tolist() for part in parts)
    assert len(folds(np.zeros(3, np.int64), 5, 0)) == 1


# ----------------------------------------------------------------------------------------------------- heads


def test_a_smooth_deformation_needs_few_labels():
    """Two labels between the points follow a body that is stretched about another place than was labelled."""
    base = np.stack(np.meshgrid(np.arange(4) * 8.0, np.arange(3) * 8.0), -1).reshape(-1, 2)
    shift = np.random.default_rng(0).normal(0, 4, (30, 1, 2))
    points, xy = base + shift, np.array([[4.0, 4], [20, 12]]) + shift
    labelled = np.ones((2, 2), bool)
    local = fit_local(points[:2], xy[:2], labelled)[0]
    still = fit_median(points[:2], xy[:2], labelled)[0]
    wrong = [np.linalg.norm(head(points) - xy, axis=-1).mean() for head in (local, still)]
    assert wrong[0] < 0.5 * wrong[1]


def test_the_turning_head_turns_exactly():
    random = np.random.default_rng(0)
    points = random.normal(0, 9, (15, 5, 2))
    shown = shown_of(points, points[:, :3] @ [[0.9, 0.2], [-0.2, 0.9]])
    weight, intercept = attached.flattened(read_turning(shown, np.ones(15, bool)))
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    plain, turned = (np.einsum("npi,pikj->nkj", q, weight) + intercept for q in (points, points @ turn + 7))
    np.testing.assert_allclose(turned, plain @ turn + 7, atol=1e-9)


def test_the_shrunken_head_lies_between():
    random = np.random.default_rng(0)
    points = random.normal(0, 5, (6, 4, 2))
    shown = shown_of(points, points[:, :2] + random.normal(0, 2, (6, 2, 2)))
    every = np.ones(6, bool)
    head, frame = read_head(shown, every), read_frame(shown, every)
    assert np.abs(head.weight).sum() > 0
    middle = points.mean(0, keepdims=True)
    assert np.linalg.norm(head(middle) - frame(middle), axis=-1).max() < 3


def test_rows_seen_backwards_do_not_teach():
    usual = np.array([[4.0, 16], [16, 10], [28, 16]])
    xy = usual + np.random.default_rng(0).normal(0, 1, (10, 3, 2))
    xy[4] = 31 - xy[4]
    wrong = _backwards(xy, np.ones((10, 3), bool), (32, 32))
    assert np.flatnonzero(wrong).tolist() == [4]


# -------------------------------------------------------------------------------------------------- refiners


def refiner(**more):
    torch.manual_seed(0)
    return Refiner(RefinerConfig(n_keypoints=2, n_points=3, input_size=(20, 28), widths=(8, 16), **more))


def guided_batch(b=3):
    random = torch.Generator().manual_seed(0)
    xy = torch.rand(b, 2, 2, generator=random) * 16 + 2
    return attached.Guided(
        image=torch.rand(b, 3, 20, 28, generator=random),
        to_source=affine.identity(b, like=xy),
        change=torch.rand(b, 1, 20, 28, generator=random),
        xy=xy,
        labelled=torch.tensor([[True, False]] * b),
        visible=torch.tensor([[True, False]] * b),
        points=torch.rand(b, 3, 2, generator=random) * 16,
        guess=xy + 1,
    )


def test_an_untrained_refiner_answers_near_the_guess():
    method, batch = refiner(), guided_batch()
    method.error.fill_(0.5)
    found = method.predict(batch)
    assert float((found.xy - batch.guess).norm(dim=-1).max()) < 1.5
    assert found.cov is not None and ((found.score >= 0) & (found.score <= 1)).all()


def test_what_is_not_labelled_costs_nothing():
    method, batch = refiner(), guided_batch()
    terms = method.loss(batch)
    poisoned = replace(batch, xy=torch.where(batch.labelled[..., None], batch.xy, torch.nan))
    again = method.loss(poisoned)
    assert {n: float(t.detach()) for n, t in terms.items()} == {
        n: float(t.detach()) for n, t in again.items()
    }
    sum(again.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)
    none = replace(batch, labelled=torch.zeros_like(batch.labelled))
    assert float(sum(method.loss(none).values()).detach()) == 0


def test_samples_move_points_with_the_picture():
    """A bright dot stays under its label, its discovered point and its guess, whatever is drawn."""
    grid = pixel_grid((48, 60), like=torch.zeros(()))
    at = torch.tensor([15.0, 11])
    margin = torch.tensor([10.0, 8])  # of 60 x 48 about 40 x 32
    dot = (-(grid - at - margin).square().sum(-1) / 8).exp().expand(1, 3, 48, 60)
    wide = Images(image=dot, to_source=affine.identity(1, like=dot))
    place = at.double().numpy()[None, None]
    yes = np.ones((1, 1), bool)
    samples = GuidedSamples(wide, (32, 40), place, place, place, yes, augmentation(True), 0)
    for epoch in range(8):
        one = samples[epoch, 0]
        assert tuple(one.image.shape) == (1, 3, 32, 40)
        share = one.image[0, 0] / one.image[0, 0].sum()
        middle = torch.einsum("hw,hwi->i", share, pixel_grid((32, 40), like=share))
        torch.testing.assert_close(one.points, one.guess)
        torch.testing.assert_close(one.points[0, 0], middle, atol=0.3, rtol=0)
        if bool(one.labelled.all()):
            torch.testing.assert_close(one.xy, one.points)


def test_a_refiner_finds_what_the_points_cannot_tell(dotted):
    """The labels are a dot, the points are those of other pictures: only the picture knows."""
    run, images, found = dotted
    method, _ = load_weights(run / "best")
    view = read_view(Run(run))
    table = replace(table_for([images.name(i) for i in range(30)]), xy=found[:, :1])
    labelled = with_labels(images, table, "l.csv")
    shown = shown_by(method, look_at(labelled, view, np.arange(30)), view)
    shown = replace(shown, points=np.roll(shown.points, 1, axis=0))
    length = Length(minutes=None, steps=150, seed=0, device="cpu")
    learned = learn(shown, length)
    assert learned.choice.taken == ("detector",) and learned.refiner is not None
    assert learned.choice.error.mean() < 0.7 * learned.choice.known["frame"].mean()


# --------------------------------------------------------------------------------------------- a run like any


@pytest.fixture(scope="module")
def creatures(tmp_path_factory):
    """A network that learned nothing, in the frames of a creature, and labels of 10 pictures."""
    place = tmp_path_factory.mktemp("attach")
    from asterism.catalogue import method_class

    cls = method_class("video-difference")
    torch.manual_seed(0)
    images = open_data(WORLD)
    run = written_run(
        place / "run", cls(cls.presets["tiny"]).eval(), images, find_frames(Unlabelled(images)), WORLD
    )
    assert images.table is not None
    write_csv(place / "labels.csv", take_pictures(images.table, range(0, 30, 3)))
    return run, str(place / "labels.csv")


@pytest.fixture(scope="module")
def named(creatures):
    run, labels = creatures
    out = run.parent / "named"
    return out, attach(run, labels, out, steps=2, device="cpu")


def test_the_run_predicts(named, tmp_path):
    out, _ = named
    answer = predict_to(out, [WORLD], tmp_path / "points.csv", device="cpu")
    table = read_keypoints(tmp_path / "points.csv")
    assert answer["points"] == len(table.names) == table.xy.shape[1]
    assert "nose" in table.names
    assert ((table.score >= 0) & (table.score <= 1)).all()


def test_the_run_is_measured_on_pictures_without_its_labels(named):
    out, report = named
    answer = evaluate_run(out, device="cpu")
    assert answer["test_pictures"] == 20 and "warning" not in answer
    assert abs(answer["rotated_mean_px"] / answer["mean_px"] - 1) < 0.15
    assert answer["mean_px"] < 1.6 * report["numbers"]["px"]
    info = Run(out).info()
    assert info["kind"] == "attach" and info["discovered"]["method"] == "video-difference"
    assert info["expected"]["px"] == report["numbers"]["px"]


def test_the_report_says_what_was_taken_and_why(named):
    _, report = named
    json.dumps(report, allow_nan=False)
    said = " ".join(report["sentences"])
    assert "Expected error" in said and "95 % interval" in said and "Taken for" in said
    assert "10 labelled pictures" in report["title"]
    for point in report["numbers"]["points"]:
        assert f"{point['name']}: " in said
        assert point["labels"] == 0 or point["ci95"] is None or point["ci95"][0] <= point["px"]


def test_what_is_loaded_is_what_was_saved(named, tmp_path):
    out, _ = named
    method, skeleton = load_weights(out / "best")
    save_weights(tmp_path / "again", method, skeleton, {})
    again, _ = load_weights(tmp_path / "again")
    batch = Images(image=torch.rand(2, 3, 32, 32), to_source=affine.identity(2, like=torch.zeros(())))
    first, second = method.predict(batch), again.predict(batch)
    torch.testing.assert_close(first.xy, second.xy, atol=0, rtol=0)
    torch.testing.assert_close(first.score, second.score, atol=0, rtol=0)


def test_answers_turn_with_the_frame(named):
    """The crop is the object's frame: turning the picture moves only to_source, and the answer along."""
    method, _ = load_weights(named[0] / "best")
    random = torch.Generator().manual_seed(0)
    still = affine.identity(2, like=torch.zeros(()))
    batch = Images(
        image=torch.rand(2, 3, 32, 32, generator=random),
        change=torch.rand(2, 1, 32, 32, generator=random),
        to_source=still,
    )
    turn = affine.similarity(
        torch.tensor([0.7, -2.0]), torch.tensor([1.5, 0.6]), torch.tensor([[3.0, 9]] * 2)
    )
    plain, turned = method.predict(batch), method.predict(replace(batch, to_source=turn))
    torch.testing.assert_close(turned.xy, affine.apply(turn, plain.xy), atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(turned.score, plain.score)
    m = turn[:, None, :, :2]
    assert plain.cov is not None and turned.cov is not None
    torch.testing.assert_close(turned.cov, m @ plain.cov @ m.mT, atol=1e-4, rtol=1e-4)


# ---------------------------------------------------------------------------------------------------- labels


def table_for(names, xy=5.0):
    n = len(names)
    return KeypointTable(
        names=("nose",),
        images=tuple(names),
        image=np.arange(n),
        individual=np.zeros(n, np.int64),
        xy=np.full((n, 1, 2), xy),
        labelled=np.ones((n, 1), bool),
        visible=np.ones((n, 1), bool),
        score=np.ones((n, 1)),
        box=np.zeros((n, 4)),
        has_box=np.zeros(n, bool),
        area=np.zeros(n),
    )


class Named(PictureFiles):
    """Pictures that are only names."""

    def __init__(self, names):
        super().__init__("set", tuple(names))

    def picture_size(self, index):
        return 20, 30


@pytest.mark.parametrize(
    ("data", "label"),
    [
        ("/videos/clip.mp4#7", "clip.mp4#7"),
        ("/videos/clip.mp4#7", "labeled-data/clip/img0007.png"),
        ("/a/b/img07.png", "elsewhere/b/img07.png"),
        ("/a/b/img07.png", "img07.png"),
        ("creature000#7", "creature000#7"),
    ],
)
def test_pictures_are_known_by_their_names(data, label):
    images = Named(["/other/x.png", data, "/other/y.png"])
    assert with_labels(images, table_for([label]), "l.csv").matched.tolist() == [1]


def test_a_name_that_two_pictures_share_is_no_name():
    images = Named(["/a/img1.png", "/b/img1.png"])
    with pytest.raises(BadAnnotation, match="none of its 1"):
        with_labels(images, table_for(["img1.png"]), "l.csv")
    assert with_labels(images, table_for(["b/img1.png"]), "l.csv").matched.tolist() == [1]


def test_labels_of_other_pictures_are_named(dotted, tmp_path):
    run, _, _ = dotted
    write_csv(tmp_path / "other.csv", table_for(["u.png", "v.png", "w.png", "z.png"]))
    with pytest.raises(BadAnnotation) as told:
        attach(run, str(tmp_path / "other.csv"), tmp_path / "named")
    for word in ("'u.png', 'v.png', 'w.png', ...", "img000.png", "--data", "none of its 4", "of the 30"):
        assert word in str(told.value)
    assert not (tmp_path / "named").exists()


def test_labels_of_another_size_are_refused():
    images = Named(["/a/img1.png", "/a/img2.png"])
    sized = replace(table_for(["img1.png"]), sizes=((40, 60),))
    with pytest.raises(BadAnnotation, match=r"60 x 40 pixels.*30 x 20"):
        with_labels(images, sized, "l.json")
    with pytest.raises(BadAnnotation, match="made on larger pictures"):
        with_labels(images, table_for(["img1.png"], xy=50.0), "l.csv")


def test_only_runs_without_names_are_taken(named, creatures, tmp_path):
    with pytest.raises(RequestError, match="finds named points already"):
        attach(named[0], creatures[1], tmp_path / "more")
    with pytest.raises(RequestError, match="holds a run"):
        attach(creatures[0], creatures[1], named[0])
    with pytest.raises(BadAnnotation, match="does not exist"):
        attach(creatures[0], str(tmp_path / "none.csv"), tmp_path / "more")
    assert not (tmp_path / "more").exists()


def test_a_single_label_is_told_to_be_too_few(dotted, tmp_path):
    run, images, found = dotted
    labels = labels_file(tmp_path / "one.csv", images, found[:1], [0])
    report = attach(run, labels, tmp_path / "named", device="cpu")
    said = " ".join(report["sentences"])
    assert "Too few labels" in said and "no detector was tried" in said and "label more" in said
    assert report["numbers"]["px"] is None
    xy = load_weights(tmp_path / "named" / "best")[0]
    assert torch.isfinite(xy.weight).all()
