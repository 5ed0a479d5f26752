"""Weights of other programs: random ones, written here in their layouts and under their authors' names."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from asterism.app.cli import main
from asterism.catalogue import method_class
from asterism.data.sources import open_data
from asterism.engine.convert import fill, read_tensors
from asterism.engine.origins import ORIGINS, network_of, origins_of
from asterism.engine.runs import Run
from asterism.engine.view import frames_for, read_view
from asterism.engine.weights import load_weights
from asterism.errors import BadWeights, RequestError
from asterism.nets import official
from asterism.types import Images

TINY = {
    "stacked-hourglass": {"n_keypoints": 16},
    "hrnet": {"n_keypoints": 17},
    "simple-baseline": {"n_keypoints": 17},
    "openpose": {},
}


def written(method, origin=None, seed=0, **changes):
    """A tiny method with random weights, and its tensors under the origin's own names."""
    cls = method_class(method)
    origin = origin or next(o for o in ORIGINS if o.method == method and not o.mark)
    random = torch.Generator().manual_seed(seed)
    built = cls(replace(cls.presets["tiny"], **TINY[method], **changes)).eval()
    for name, value in built.state_dict().items():
        if value.is_floating_point():
            spread = torch.rand(value.shape, generator=random)
            value.copy_(spread + 0.5 if "running_var" in name else (spread - 0.5) / 4)
    net = network_of(built)
    names = origin.names(net)
    return built, {names[ours]: value.clone() for ours, value in net.state_dict().items()}


def saved(path, tensors, front="", **beside):
    torch.save({"state_dict": {front + k: v for k, v in tensors.items()}, **beside}, path)
    return path


def with_dead(tensors):
    """The 1x1 convolutions that the authors register in modules of equal width and never use."""
    fronts = {k.removesuffix("conv3.conv.weight") for k in tensors if k.endswith("conv3.conv.weight")}
    lone = sorted(f for f in fronts if f + "skip_layer.conv.weight" not in tensors)
    dead = {f"{f}skip_layer.conv.{part}": torch.ones(1) for f in lone for part in ("weight", "bias")}
    return {**tensors, **dead}


def same(a, b):
    return all(torch.equal(value, b.state_dict()[name]) for name, value in a.state_dict().items())


# --- the tables, against names that the authors' files have (facts, section 5)


OFFICIAL = {
    "stacked-hourglass": {
        "n_stacks": 2,
        "depth": 4,
        "has": (
            "pre.0.conv.weight pre.0.bn.running_mean pre.1.bn1.weight pre.1.conv1.conv.bias "
            "pre.1.skip_layer.conv.weight hgs.0.0.up1.conv1.conv.weight hgs.1.0.low2.low2.low2.low2.bn3.bias "
            "features.1.0.conv2.conv.weight features.0.1.bn.running_var outs.1.conv.weight "
            "merge_features.0.conv.conv.weight merge_preds.0.conv.conv.bias"
        ),
    },
    "hrnet": {
        "has": (
            "conv1.weight bn1.weight conv2.weight bn2.running_var layer1.0.conv3.weight "
            "layer1.0.downsample.0.weight layer1.0.downsample.1.bias layer1.3.bn1.weight "
            "transition1.0.0.weight "
            "transition1.1.0.0.weight transition2.2.0.1.bias transition3.3.0.0.weight "
            "stage2.0.branches.1.3.conv2.weight stage3.3.fuse_layers.0.2.0.weight "
            "stage3.0.fuse_layers.2.0.0.0.weight stage3.0.fuse_layers.2.0.1.1.weight "
            "stage4.2.fuse_layers.0.3.1.weight final_layer.weight final_layer.bias"
        ),
    },
    "simple-baseline": {
        "has": (
            "conv1.weight bn1.bias layer1.0.downsample.0.weight layer2.3.conv3.weight layer3.5.bn3.weight "
            "layer4.2.conv2.weight deconv_layers.0.weight deconv_layers.1.running_mean "
            "deconv_layers.6.weight "
            "deconv_layers.7.num_batches_tracked final_layer.weight"
        ),
    },
}


@pytest.mark.parametrize("method", OFFICIAL)
def test_tables_give_the_names_in_the_authors_files(method):
    wanted = dict(OFFICIAL[method])
    has = wanted.pop("has").split()
    cls = method_class(method)
    with torch.device("meta"):
        net = network_of(cls(replace(cls.presets["paper"], **wanted)))
    origin = next(o for o in ORIGINS if o.method == method and not o.mark)
    names = list(origin.names(net).values())
    assert set(has) <= set(names)
    assert len(set(names)) == len(names) == (1754 if method == "hrnet" else len(names))  # facts 2.1


def test_counts_of_tensors_are_the_authors():
    """Facts 2.1: 2752 tensors for 8 stacks, 742 for 2, dead ones included."""
    for stacks, count in ((8, 2752), (2, 742)):
        cls = method_class("stacked-hourglass")
        with torch.device("meta"):
            net = network_of(cls(replace(cls.presets["paper"], n_stacks=stacks)))
        names = {official.stacked_hourglass(ours): None for ours in net.state_dict()}
        assert len(with_dead(names)) == count


# --- round trips through files


@pytest.mark.parametrize("front", ["", "module.", "model.module."])
@pytest.mark.parametrize("method", ["stacked-hourglass", "hrnet", "simple-baseline"])
def test_checkpoints_come_back_whatever_trainers_put_before(tmp_path, method, front):
    built, tensors = written(method)
    given = with_dead(tensors) if method == "stacked-hourglass" else tensors
    file = saved(tmp_path / "a.pth", given, front, epoch=3, optimizer={"state": {0: torch.ones(2)}})
    filled = fill(read_tensors(file, origins_of(method)), file, method, preset="tiny")
    assert same(built, filled.method) and filled.used == len(tensors)
    assert len(filled.dead) == len(given) - len(tensors) and not filled.counters
    assert all("skip_layer" in name for name in filled.dead)


@pytest.mark.parametrize("head", ["head.", "keypoint_head."])
@pytest.mark.parametrize("method", ["hrnet", "simple-baseline"])
def test_mmpose_of_both_versions(tmp_path, method, head):
    built, tensors = written(method)
    ends = ("final_layer", "deconv_layers")
    given = {(head if k.startswith(ends) else "backbone.") + k: v for k, v in tensors.items()}
    file = saved(tmp_path / "a.pth", given, meta={"epoch": 1})
    filled = fill(read_tensors(file, origins_of(method)), file, method, preset="tiny")
    assert same(built, filled.method) and "mmpose" in filled.origin.name
    if method == "simple-baseline":
        assert filled.method.config.colours == (0, 1, 2)


def test_counters_that_old_torch_did_not_write_begin_at_0(tmp_path):
    built, tensors = written("hrnet")
    old = {k: v.double() for k, v in tensors.items() if not k.endswith("num_batches_tracked")}
    file = saved(tmp_path / "a.pth", old)
    filled = fill(read_tensors(file, origins_of("hrnet")), file, "hrnet", preset="tiny")
    assert same(built, filled.method) and len(filled.counters) == len(tensors) - len(old)


# --- strict


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda t: t.pop("pre.1.bn1.weight"),
            r"lacks 1 .*first is pre\.1\.bn1\.weight of shape \(4,\)",
        ),
        (
            lambda t: t.update(more=torch.ones(2, 3)),
            r"1 tensors have no .* more of shape \(2, 3\)",
        ),
        (
            lambda t: t.update({"pre.0.conv.bias": torch.ones(5)}),
            r"pre\.0\.conv\.bias has shape \(5,\), wanted \(4,\)",
        ),
        (lambda t: t["pre.0.conv.bias"].fill_(float("nan")), r"pre\.0\.conv\.bias holds NaN"),
        (
            lambda t: t.pop("outs.0.conv.weight"),
            r"lacks outs\.0\.conv\.weight, from which .*hourglass",
        ),
        (
            lambda t: t.update({"x.skip_layer.fc.weight": torch.ones(1)}),
            r"first is x\.skip_layer\.fc",
        ),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, change, words):
    _, tensors = written("stacked-hourglass")
    change(tensors)
    file = saved(tmp_path / "a.pth", tensors)
    with pytest.raises(BadWeights, match=words):
        fill(read_tensors(file, origins_of("stacked-hourglass")), file, "stacked-hourglass", preset="tiny")


def test_methods_without_published_weights_are_told():
    with pytest.raises(BadWeights, match="stacked-hourglass, hrnet, simple-baseline"):
        origins_of("imm")


# --- what the origins do to pictures


def batch_of(random, size):
    image = torch.rand((2, 3, *size), generator=random)
    return Images(image=image, to_source=torch.eye(2, 3).expand(2, 2, 3).clone())


def test_simple_baseline_sees_blue_first_as_its_authors_do(tmp_path):
    """cv2.imread's bytes, ToTensor, then the mean and deviation of RGB on channels in the order BGR."""
    built, tensors = written("simple-baseline")
    file = saved(tmp_path / "a.pth", tensors)
    method = fill(read_tensors(file, origins_of(built.name)), file, built.name, preset="tiny").method
    batch = batch_of(torch.Generator().manual_seed(1), (32, 32))
    bytes_bgr = (batch.image * 255).numpy()[:, ::-1]
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    theirs = (bytes_bgr / 255 - mean[:, None, None]) / deviation[:, None, None]
    wanted = built.net(torch.from_numpy(theirs.astype(np.float32)))
    torch.testing.assert_close(method(batch), wanted, rtol=1e-4, atol=1e-5)


def test_hourglass_sees_and_reads_as_its_authors_do(tmp_path):
    """RGB / 255; a quarter of a cell towards the higher neighbour, half a cell more, times 4: from the
    corner of the picture, so that a pixel's centre is half less.
    """
    built, tensors = written("stacked-hourglass")
    file = saved(tmp_path / "a.pth", tensors)
    method = fill(read_tensors(file, origins_of(built.name)), file, built.name, preset="tiny").method
    batch = batch_of(torch.Generator().manual_seed(1), (32, 32))
    maps = built.net(batch.image)[-1].detach()
    found = method.predict(batch).xy
    checked = 0
    for b, k in np.ndindex(*maps.shape[:2]):
        y, x = np.unravel_index(int(maps[b, k].argmax()), maps.shape[2:])
        if not (0 < x < 7 and 0 < y < 7):
            continue
        m = maps[b, k]
        along = 0.25 * np.sign([m[y, x + 1] - m[y, x - 1], m[y + 1, x] - m[y - 1, x]])
        wanted = (np.array([x, y]) + along + 0.5) * 4 - 0.5
        np.testing.assert_allclose(found[b, k].numpy(), wanted, atol=1e-5)
        checked += 1
    assert checked > 3


def test_hrnet_reads_cells_as_its_authors_do(tmp_path):
    """RGB under ImageNet's mean and deviation; cell times 4, from the pixel's centre."""
    built, tensors = written("hrnet")
    file = saved(tmp_path / "a.pth", tensors)
    method = fill(read_tensors(file, origins_of("hrnet")), file, "hrnet", preset="tiny").method
    batch = batch_of(torch.Generator().manual_seed(2), (32, 32))
    mean, deviation = (torch.tensor(c)[:, None, None] for c in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    maps = built.net((batch.image - mean) / deviation).detach()
    found = method.predict(batch).xy
    padded = F.pad(maps, (1, 1, 1, 1))
    for b, k in np.ndindex(*maps.shape[:2]):
        y, x = np.unravel_index(int(maps[b, k].argmax()), maps.shape[2:])
        if 1 < x < 7 and 1 < y < 7:
            m = padded[b, k]
            slope = [m[y + 1, x + 2] - m[y + 1, x], m[y + 2, x + 1] - m[y, x + 1]]
            wanted = (np.array([x, y]) + 0.25 * np.sign(slope)) * 4
            np.testing.assert_allclose(found[b, k].numpy(), wanted, atol=1e-4)


# --- the verb


@pytest.fixture
def hourglass(tmp_path):
    _, tensors = written("stacked-hourglass")
    return saved(tmp_path / "a.pth", with_dead(tensors), "model.module.")


def converted(file, run, *more):
    return main(["convert", str(file), "--preset", "tiny", "-o", str(run), *map(str, more)])


def test_a_run_like_any_other(tmp_path, hourglass, capsys):
    run = tmp_path / "run"
    assert converted(hourglass, run, "--to", "stacked-hourglass", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert "BSD" in told["licence"] and "skip_layer" in told["left_out"] and told["points"] == 16
    method, skeleton = load_weights(run / "best")
    assert method.name == "stacked-hourglass" and skeleton is not None and "right_ankle" in skeleton.names[0]
    picture = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "p.png")
    assert main(["predict", str(run), str(tmp_path / "p.png"), "-o", str(tmp_path / "out.csv")]) == 0
    assert len((tmp_path / "out.csv").read_text().splitlines()) > 1


def labelled(folder, names, boxes):
    """A COCO file, and a picture for each box."""
    folder.mkdir()
    random, k = np.random.default_rng(0), len(names)
    document = {"images": [], "annotations": []}
    document["categories"] = [{"id": 1, "name": "p", "keypoints": list(names)}]
    for i, box in enumerate(boxes):
        Image.fromarray(random.integers(0, 255, (128, 128, 3), np.uint8)).save(folder / f"{i}.png")
        document["images"].append({"id": i, "file_name": f"{i}.png", "width": 128, "height": 128})
        points = np.concatenate([random.uniform(8, 30, (k, 2)), np.full((k, 1), 2)], 1)
        row = {"id": i + 1, "image_id": i, "category_id": 1, "keypoints": points.ravel().tolist()}
        document["annotations"].append({**row, "bbox": box, "area": 900, "iscrowd": 0})
    (folder / "a.json").write_text(json.dumps(document))
    return folder / "a.json"


def test_it_is_measured_on_labels(tmp_path, hourglass, capsys):
    run = tmp_path / "run"
    assert converted(hourglass, run, "--to", "stacked-hourglass") == 0
    names = load_weights(run / "best")[1].names
    labels = labelled(tmp_path / "labels", names, [[5, 5, 30, 30]] * 3)
    capsys.readouterr()
    assert main(["evaluate", str(run), str(labels), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["test_pictures"] == 3 and told["frame"] == "boxes" and told["mean_px"] > 0


def test_boxes_fill_crops_that_are_not_square_as_hrnets_do(tmp_path):
    _, tensors = written("hrnet")
    run = tmp_path / "run"
    words = ["--to", "hrnet", "--size", 64, 48]
    assert converted(saved(tmp_path / "a.pth", tensors), run, *words) == 0
    view = read_view(Run(run))
    assert view.inside and view.size == (64, 48)
    boxes = [[10, 10, 20, 100], [10, 10, 90, 20]]
    images = open_data(str(labelled(tmp_path / "labels", load_weights(run / "best")[1].names, boxes)))
    frames = frames_for(images, view)
    # lib/dataset/coco.py: the box is widened to the crop's shape, then by a quarter
    np.testing.assert_allclose(frames.scale, [100 * 48 / 64 * 1.25 / 2, 90 * 1.25 / 2])


def test_larger_pictures_have_wider_targets(tmp_path):
    _, tensors = written("hrnet")
    run = tmp_path / "run"
    assert converted(saved(tmp_path / "a.pth", tensors), run, "--to", "hrnet", "--size", 96, 64) == 0
    config = load_weights(run / "best")[0].config
    assert (config.sigma, config.input_size, config.codec) == (3.0, (96, 64), "rounded")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--to", "stacked-hourglas"], "did you mean stacked-hourglass"),
        (["--to", "imm"], "no published weights are known"),
        (["--to", "hrnet"], "final_layer.weight"),
        (["--to", "stacked-hourglass", "--codec", "best"], "--codec best"),
        (["--to", "stacked-hourglass", "--skeleton", "coco-17"], "has 17 points"),
        (["--to", "stacked-hourglass", "--skeleton", "nobody"], "nobody"),
        (["--to", "stacked-hourglass", "--size", "0", "32"], "--size 0 32"),
    ],
)
def test_wrong_requests_leave_nothing(tmp_path, hourglass, capsys, words, message):
    assert converted(hourglass, tmp_path / "run", *words) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_points_that_nobody_named_need_a_skeleton(tmp_path, capsys):
    _, tensors = written("stacked-hourglass")
    for name in ("outs.0.conv", "outs.1.conv"):
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = torch.ones(3, 16, 1, 1), torch.ones(3)
    tensors["merge_preds.0.conv.conv.weight"] = torch.ones(16, 3, 1, 1)
    file = saved(tmp_path / "a.pth", tensors)
    assert converted(file, tmp_path / "run", "--to", "stacked-hourglass") == 2
    assert "--skeleton" in capsys.readouterr().err
    (tmp_path / "s.toml").write_text('names = ["a", "b", "c"]\n')
    words = ["--to", "stacked-hourglass", "--skeleton", str(tmp_path / "s.toml")]
    assert converted(file, tmp_path / "run", *words) == 0
    with pytest.raises(RequestError, match="paper"):
        fill(tensors, file, "stacked-hourglass", preset="vast")


def test_run_json_says_where_it_came_from(tmp_path, hourglass):
    run = tmp_path / "run"
    assert converted(hourglass, run, "--to", "stacked-hourglass") == 0
    info = Run(run).info()
    assert info["view"] == {"frame": "boxes", "size": [32, 32], "objects": None}
    assert info["kind"] == "convert" and info["origin"].startswith("princeton-vl")
