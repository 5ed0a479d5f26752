"""OKS by hand, and average precision against pycocotools on random scenes."""

import contextlib
import io

import numpy as np
import pytest

from asterism.metrics import oks
from asterism.metrics.oks import Found, Truth, average_precision

coco = pytest.importorskip("pycocotools.coco")
cocoeval = pytest.importorskip("pycocotools.cocoeval")


def _scene(seed, k, images=6, ties=False):
    """Truths of all sizes, some crowds, some without labels; good, bad, missing and surplus detections."""
    rng = np.random.default_rng(seed)
    g = int(rng.integers(1, 5 * images))
    side = rng.choice([20.0, 60.0, 200.0], g) * rng.uniform(0.7, 1.3, g)
    corner = rng.uniform(0, 300, (g, 2))
    xy = corner[:, None] + rng.random((g, k, 2)) * side[:, None, None]
    labelled = rng.random((g, k)) < rng.choice([0.0, 0.5, 1.0], g, p=[0.15, 0.5, 0.35])[:, None]
    box = np.concatenate([corner, np.stack([side, side], 1)], 1)
    truth = Truth(
        image=rng.integers(0, images, g),
        xy=xy,
        labelled=labelled,
        area=side**2 * rng.uniform(0.3, 0.8, g),
        box=box,
        crowd=rng.random(g) < 0.15,
    )
    copies = np.repeat(np.arange(g), rng.integers(0, 4, g))
    noise = rng.choice([0.0, 0.02, 0.1, 0.4], len(copies))[:, None, None] * side[copies, None, None]
    seen = xy[copies] + noise * rng.normal(size=(len(copies), k, 2))
    astray = rng.uniform(0, 400, (int(rng.integers(0, 40)), k, 2))
    score = rng.random(len(copies) + len(astray))
    found = Found(
        image=np.concatenate([truth.image[copies], rng.integers(0, images, len(astray))]),
        xy=np.concatenate([seen, astray]),
        score=np.round(score, 1) if ties else score,
    )
    return truth, found


def _reference(truth, found, sigma):
    k = len(sigma)
    annotations = []
    for i in range(len(truth.image)):
        flat = np.concatenate([truth.xy[i], 2.0 * truth.labelled[i][:, None]], 1)
        flat[~truth.labelled[i]] = 0
        annotations.append(
            {
                "id": i + 1,
                "image_id": int(truth.image[i]) + 1,
                "category_id": 1,
                "keypoints": flat.ravel().tolist(),
                "num_keypoints": int(truth.labelled[i].sum()),
                "area": float(truth.area[i]),
                "bbox": truth.box[i].tolist(),
                "iscrowd": int(truth.crowd[i]),
            }
        )
    images = sorted({int(i) + 1 for i in np.concatenate([truth.image, found.image])})
    results = [
        {
            "image_id": int(image) + 1,
            "category_id": 1,
            "keypoints": np.concatenate([xy, np.ones((k, 1))], 1).ravel().tolist(),
            "score": float(score),
        }
        for image, xy, score in zip(found.image, found.xy, found.score)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        gt = coco.COCO()
        gt.dataset = {
            "info": {},
            "images": [{"id": i} for i in images],
            "categories": [{"id": 1}],
            "annotations": annotations,
        }
        gt.createIndex()
        run = cocoeval.COCOeval(gt, gt.loadRes(results), "keypoints")
        run.params.kpt_oks_sigmas = np.asarray(sigma)
        run.evaluate()
        run.accumulate()
        run.summarize()
    names = ["AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL"]
    return {name: None if v == -1 else pytest.approx(v, abs=1e-9) for name, v in zip(names, run.stats)}


@pytest.mark.parametrize("k", [1, 4, 17, 23])
@pytest.mark.parametrize("seed", range(8))
def test_average_precision_equals_pycocotools(seed, k):
    truth, found = _scene(100 * k + seed, k, ties=seed % 2 == 1)
    sigma = tuple(np.random.default_rng(seed).uniform(0.03, 0.12, k))
    if len(found.image) == 0:
        pytest.skip("pycocotools cannot load an empty list of results")
    assert average_precision(truth, found, sigma) == _reference(truth, found, sigma)


def test_the_scenes_are_not_trivial():
    numbers = [average_precision(*_scene(1700 + s, 17), oks.COCO_SIGMAS)["AP"] for s in range(6)]
    assert min(numbers) > 0.02
    assert max(numbers) < 0.98
    assert max(numbers) - min(numbers) > 0.05


def test_more_than_twenty_detections_in_an_image():
    truth, found = _scene(7, 5, images=1)
    more = Found(*(np.concatenate([getattr(found, n)] * 3) for n in ("image", "xy", "score")))
    assert len(more.image) > 40
    assert average_precision(truth, more, (0.08,) * 5) == _reference(truth, more, (0.08,) * 5)


def test_oks_by_hand():
    truth = Truth(
        image=np.zeros(2, np.int64),
        xy=np.array([[[0.0, 0.0], [10.0, 0.0], [5.0, 5.0]], [[0.0, 0.0]] * 3]),
        labelled=np.array([[True, True, False], [False, False, False]]),
        area=np.array([400.0, 100.0]),
        box=np.array([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 10.0]]),
        crowd=np.zeros(2, bool),
    )
    sigma = (0.05, 0.1, 0.1)
    xy = np.array([[[0.0, 3.0], [14.0, 0.0], [999.0, 999.0]], [[-10.0, 20.0], [5.0, 5.0], [23.0, 24.0]]])
    value = oks.oks(truth, xy, sigma)
    wanted = (np.exp(-9 / (2 * 0.01 * 400)) + np.exp(-16 / (2 * 0.04 * 400))) / 2
    assert value[0, 0] == pytest.approx(wanted)
    # Within the doubled box nothing is lost; the third point is 3 and 4 px outside of it.
    assert value[1, 1] == pytest.approx((2 + np.exp(-25 / (2 * 0.04 * 100))) / 3)


def test_perfect_none_and_nothing_wanted():
    truth, _ = _scene(3, 4)
    truth.crowd[:] = False
    truth.labelled[:] = True
    perfect = Found(truth.image, truth.xy, np.ones(len(truth.image)))
    score = average_precision(truth, perfect, (0.1,) * 4)
    assert score["AP"] == pytest.approx(1.0)
    assert score["AR"] == 1.0
    none = Found(np.zeros(0, np.int64), np.zeros((0, 4, 2)), np.zeros(0))
    assert average_precision(truth, none, (0.1,) * 4)["AP"] == 0.0
    truth.crowd[:] = True
    assert set(average_precision(truth, perfect, (0.1,) * 4).values()) == {None}
    with pytest.raises(ValueError, match="3 sigmas for 4 points"):
        average_precision(truth, perfect, (0.1,) * 3)


def test_where_the_sigmas_are_from_is_told():
    params = cocoeval.Params("keypoints")
    assert oks.sigmas_for(oks.COCO_NAMES) == (oks.COCO_SIGMAS, "COCO")
    assert np.allclose(oks.COCO_SIGMAS, params.kpt_oks_sigmas, rtol=0, atol=1e-15)
    assert oks.sigmas_for(("a", "b"), (0.2, 0.3)) == ((0.2, 0.3), "given")
    assert oks.sigmas_for(("a", "b")) == ((0.1, 0.1), "default 0.1")


def test_area_from_the_file_then_the_box_then_nothing():
    box = np.array([[0.0, 0.0, 10.0, 20.0]] * 3)
    area = oks.object_area(np.array([7.0, 0.0, 0.0]), box, np.array([True, True, False]))
    assert area == pytest.approx([7.0, 106.0, 0.0])
